"""`GET /v1/models/{id}?schema=true`: every parameter's type, limits, and what becomes of it at each provider."""

from functools import cache
from typing import Any

from imagegate.dialects.openai.body import GenerationBody
from imagegate.domain import Model
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


def parameters_object(services: Services, model: Model, env: str) -> dict[str, Any]:
    """By parameter: `type`, limits, and under `treatment` by provider `passed`, `renamed`, `converted`, and so on."""
    served = services.catalogue.served(model)
    offerings = services.catalogue.shelf(env).get(served.id, ())
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
