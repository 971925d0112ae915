"""The page of the reference on HTTP, as Markdown, from what the application says of its routes to OpenAPI."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

HEAD = """# HTTP

Written by `imagegate reference http` from the OpenAPI description, which every gateway has at `/openapi.json`, to be
tried out at `/docs`; a test compares it with the code. The paths below `/v1` are also at `/openai/v1` and `/api/v1`.
Errors: [the catalogue](errors.md). What becomes of a parameter at each model: [parameters](../providers/parameters.md).

Besides these every gateway has `/healthz`, `/readyz`, `/metrics`, `/docs`, and `/media/…` for signed links.
"""
PARTS = (
    ("images", "OpenAI", "The canonical dialect; [what is special about it](../dialects/openai.md)."),
    ("langbase", "Langbase", "[The dialect](../dialects/langbase.md)."),
    ("lumenfall", "Lumenfall", "[The dialect](../dialects/lumenfall.md)."),
    ("luntrex", "luntrex", "[The dialect](../dialects/luntrex.md)."),
    ("lunos", "Lunos", "[The dialect](../dialects/lunos.md)."),
    ("admin", "Operators", "With operators' keys, never with an account's: [the admin API](../admin.md)."),
)
ALIAS = "/v1/async/"
"""Second addresses of the same routes; told once."""

Schema = Mapping[str, Any]


def routes() -> str:
    from imagegate.app import create_app
    from imagegate.settings import Settings

    described = create_app(Settings()).api.openapi()
    return written(described)


def written(described: Schema) -> str:
    lines = [HEAD]
    known = {tag for tag, _, _ in PARTS}
    for tag, title, about in PARTS:
        lines += [f"## {title}\n", f"{about}\n"]
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                (first, *_) = operation["tags"]
                assert first in known, f"{path}: {first} is no part of this page"
                if first == tag and not path.startswith(ALIAS):
                    lines += route(method.upper(), path, operation)
    return "\n".join(lines).rstrip("\n") + "\n"


def route(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"### {method} {path}\n"
    yield f"{' '.join(operation.get('description', operation['summary']).split())}\n"
    content = operation.get("requestBody", {}).get("content", {})
    read = content.get("application/json", {})
    rows = [parameter(one) for one in operation.get("parameters", ())]
    rows += [
        field(name, of, read["schema"]) for name, of in read.get("schema", {}).get("properties", {}).items()
    ]
    if rows:
        yield "| name | where | type | |"
        yield "|---|---|---|---|"
        yield from rows
        yield ""
    if "multipart/form-data" in content:
        yield "The same fields are taken as a form, with pictures as files.\n"
    yield from example(method, path, operation, read)


def parameter(one: Schema) -> str:
    told = one.get("description") or one["schema"].get("description", "")
    return cells(one["name"], one["in"], one["schema"], told, needed=bool(one.get("required")))


def field(name: str, of: Schema, body: Schema) -> str:
    return cells(name, "body", of, of.get("description", ""), needed=name in body.get("required", ()))


def cells(name: str, where: str, schema: Schema, told: str, *, needed: bool) -> str:
    text = " ".join(told.split()).replace("|", "\\|")
    return f"| `{name}`{'*' if needed else ''} | {where} | {kind(schema)} | {text} |"


def kind(schema: Schema) -> str:
    """`integer, 1 to 10`, `low` or `high`, `string or list`."""
    if "enum" in schema:
        return " ".join(f"`{plain(value)}`" for value in schema["enum"] if value is not None)
    if "const" in schema:
        return f"`{plain(schema['const'])}`"
    if "anyOf" in schema:
        told = [kind(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(told))
    if "$ref" in schema:
        return "object"
    said = schema.get("type", "any")
    named = "list" if said == "array" else " or ".join(said) if isinstance(said, list) else said
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{named}, {low} to {high}"
    return (
        f"{named}, at least {low}"
        if low is not None
        else f"{named}, at most {high}"
        if high is not None
        else named
    )


def least(body: Schema) -> dict[str, Any]:
    """What has to be said at least, each by a value of its kind."""
    return {name: value_of(body["properties"][name]) for name in body.get("required", ())}


def value_of(schema: Schema) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return value_of(schema["anyOf"][0])
    match schema.get("type"):
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [value_of(schema.get("items", {}))]
        case "object":
            return least(schema) if "properties" in schema else {}
        case _:
            return "…"


def plain(value: object) -> str:
    """As it stands in JSON, texts without their quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def example(method: str, path: str, operation: Schema, read: Schema) -> Iterator[str]:
    if read:
        key = "$OPERATOR_KEY" if path.startswith("/admin") else "$KEY"
        body = json.dumps(read.get("example") or least(read["schema"]), ensure_ascii=False).replace(
            "'", "'\\''"
        )
        yield "```"
        yield f'curl http://127.0.0.1:8080{path} -H "Authorization: Bearer {key}" \\'
        yield f"  -H \"Content-Type: application/json\" -d '{body}'"
        yield "```\n"
    for status, answer in operation["responses"].items():
        told = answer.get("content", {}).get("application/json", {}).get("example")
        if status.startswith("2") and told is not None:
            yield f"Answers {status}:\n"
            yield f"```json\n{json.dumps(told, ensure_ascii=False, indent=1)}\n```\n"
