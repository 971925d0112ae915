"""What OpenAPI is told of the routes of all dialects."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from imagegate.web.estimate import PARAMETER

JSON = "application/json"
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]
TEXT = {"type": "string"}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {**TEXT, "description": "What, why, what next, and the request's id."},
                "type": TEXT,
                "param": {"type": ["string", "null"], "description": "The parameter at fault."},
                "code": TEXT,
            },
        }
    },
}
"""OpenAI's error object."""
EMPTY = 402
STATUSES: dict[int, str] = {
    400: "The request is not right, or moderation refuses it. Nothing is charged, as with every error.",
    401: "No API key, or one that is not valid.",
    EMPTY: "The wallet holds less than the call may cost.",
    404: "The model, or what the request names, is not known.",
    409: "The same request is still running.",
    413: "The body is too large.",
    415: "The body is of another type than this route reads.",
    429: "A limit or a budget is reached.",
    502: "No provider made the images.",
    503: "The gateway cannot take the request now.",
    504: "It is not known what became of the call at the provider.",
}


def described(
    body: type[BaseModel],
    *,
    said: Mapping[str, Any],
    told: Mapping[str, Any],
    form: Mapping[str, Any] | None = None,
    parameters: Sequence[Mapping[str, Any]] = (),
    more: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] = ERROR,
    empty: int = EMPTY,
) -> dict[str, Any]:
    """`openapi_extra` of a route.

    said, told: a body and an answer as examples. form: the schema of a multipart body, where one is taken as well.
    more: kinds of answers beside JSON, by media type. error: the schema of every error. empty: the status of an empty
    wallet.
    """
    read: dict[str, Any] = {"multipart/form-data": {"schema": form}} if form else {}
    read[JSON] = {"schema": body.model_json_schema(), "example": said}
    written = {**example_of(told), **(more or {})}
    errors = {str(empty if status == EMPTY else status): failed(status, error) for status in STATUSES}
    return {
        "requestBody": {"required": True, "content": read},
        "parameters": [PARAMETER, *parameters],
        "responses": {"200": {"description": "The images.", "content": written}, **errors},
        "security": SECURITY,
    }


def answered(told: Mapping[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that needs a key and tells something. told: an answer as an example."""
    return {"security": SECURITY, "responses": {"200": {"content": example_of(told)}}}


def example_of(told: Mapping[str, Any]) -> dict[str, Any]:
    return {JSON: {"schema": {"type": "object"}, "example": told}}


def failed(status: int, error: Mapping[str, Any] = ERROR) -> dict[str, Any]:
    return {"description": STATUSES[status], "content": {JSON: {"schema": error}}}


def complete(schema: dict[str, Any]) -> None:
    """Add what routes that read the request themselves cannot be asked for: parameters of paths, and usual errors."""
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            said = operation.setdefault("parameters", [])
            known = {parameter["name"] for parameter in said if parameter["in"] == "path"}
            named = [name for name in re.findall(r"{(\w+)", path) if name not in known]
            said += [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in named]
            answers = operation["responses"]
            if "default" in answers or any(status.startswith("4") for status in answers):
                continue
            usual = {400: bool(said), 401: "security" in operation, 404: bool(said), 503: True}
            made = STATUSES if "requestBody" in operation else [s for s, applies in usual.items() if applies]
            answers |= {str(status): failed(status) for status in made}
