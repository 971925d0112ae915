"""What OpenAPI is told of the admin API's routes."""

import re
from typing import Any

from pydantic import BaseModel

from imagegate.admin.http.problems import MEDIA_TYPE, SCHEMA

SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "igo_…",
    "description": "An operator key: `imagegate operators create NAME --scope read`.",
}
PATH = {
    "account": "`acc_…`, or the name where it has no slash.",
    "alias": "A name that an operator gave; it may have slashes.",
    "allowance": "`alw_…`",
    "env": "`live` or `test`.",
    "generation": "`gen_…`",
    "key": "`key_…`",
    "model": "Any name of a model; it may have slashes.",
    "operator": "`opk_…`",
    "provider": "As the catalogue names it, such as `openai`.",
    "provider_key": "`pvk_…`",
}


def operation(path: str, query: type[BaseModel] | None, body: type[BaseModel] | None) -> dict[str, Any]:
    """`openapi_extra` of one route."""
    found: dict[str, Any] = {
        "security": [{"operator": []}],
        "parameters": [path_parameter(name) for name in re.findall(r"\{(\w+)", path)],
        "responses": {"default": {"description": "A problem", "content": {MEDIA_TYPE: {"schema": SCHEMA}}}},
    }
    if query is not None:
        found["parameters"] += query_parameters(schema_of(query))
    if body is not None:
        content = {"application/json": {"schema": schema_of(body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def path_parameter(name: str) -> dict[str, Any]:
    said = {"description": PATH[name]} if name in PATH else {}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, **said}


def query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": described}
        for name, described in schema.get("properties", {}).items()
    ]


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema, in one piece."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    inlined: dict[str, Any] = without_references(schema, definitions)
    return inlined


def without_references(part: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [without_references(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return without_references(definitions[part["$ref"].rpartition("/")[2]], definitions)
    return {name: without_references(item, definitions) for name, item in part.items()}
