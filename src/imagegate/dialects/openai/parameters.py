"""`?schema=true` at the models' routes: every parameter's type, limits, and what becomes of it at each provider."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from imagegate.dialects.openai.body import GenerationBody
from imagegate.domain import Model, Offering
from imagegate.generation.describing import describe
from imagegate.services import Services

TOLD = ("type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "description")
OURS = ("prompt", "model", "size_policy", "routing", "stream", "strict")
"""Parameters that no provider treats."""
FURTHER: dict[str, dict[str, Any]] = {
    "image": {"type": "array", "description": "Pictures to work from; at /v1/images/edits."},
    "mask": {
        "type": "string",
        "description": "Transparent where the first picture is to be redrawn; at /v1/images/edits.",
    },
}


_KNOWN: dict[tuple[str, str], tuple[Model, Sequence[Offering], dict[str, Any]]] = {}
"""By model and environment, with what it was found from: finding it takes milliseconds."""


def parameters_object(services: Services, model: Model, env: str) -> dict[str, Any]:
    """By parameter: `type`, limits, and under `treatment` by provider `passed`, `renamed`, `converted`, and so on."""
    served = services.catalogue.served(model)
    offerings = services.catalogue.shelf(env).get(served.id, ())
    known = _KNOWN.get((served.id, env))
    if known is None or known[0] is not served or known[1] is not offerings:
        known = _KNOWN[served.id, env] = served, offerings, schema_of(served, offerings)
    return known[2]


def schema_of(served: Model, offerings: Sequence[Offering]) -> dict[str, Any]:
    found = {name: dict(fields()[name]) for name in OURS}
    if served.max_prompt_chars:
        found["prompt"]["maxLength"] = served.max_prompt_chars
    for name, told in describe(served, offerings).items():
        found[name] = {**fields().get(name, {}), **told}
    return found


@cache
def fields() -> dict[str, dict[str, Any]]:
    """What the dialect itself checks of each field."""
    properties = GenerationBody.model_json_schema()["properties"]
    return {name: said_of(schema) for name, schema in properties.items()} | FURTHER


def said_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the `null` that every field may be."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    whole = {**(kinds[0] if kinds else {}), **schema}
    return {name: whole[name] for name in TOLD if name in whole}
