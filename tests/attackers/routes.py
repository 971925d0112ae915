"""Every route there is, read from the description of the API, so that a new one is attacked without being named."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from httpx import Response
from pydantic import SecretStr

from imagegate.app import create_app
from imagegate.settings import Settings

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ADMIN = "/admin/v1/"
OWN_HEADERS = ("x-request-id", "openai-processing-ms", "date", "content-length")
"""What differs between two answers that say the same."""


@dataclass(frozen=True)
class Operation:
    """One method of one path. ids, query: names of parameters. scope: of an operator's key."""

    method: str
    path: str
    ids: tuple[str, ...]
    query: tuple[str, ...]
    kinds: tuple[str, ...]
    scope: str | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_admin(self) -> bool:
        return self.path.startswith(ADMIN)

    def at(self, **names: str) -> str:
        """The path with these in its braces, and `x` in the others."""
        return re.sub(r"{(\w+)}", lambda brace: names.get(brace[1], "x"), self.path)


@lru_cache
def schema() -> dict[str, Any]:
    return create_app(Settings(secret=SecretStr("x" * 40))).api.openapi()


@lru_cache
def operations() -> tuple[Operation, ...]:
    return tuple(
        operation_of(method.upper(), path, said)
        for path, methods in schema()["paths"].items()
        for method, said in methods.items()
    )


def operation_of(method: str, path: str, said: Mapping[str, Any]) -> Operation:
    parameters = said.get("parameters", ())
    scope = re.search(r"operator key with the scope `([a-z:]+)`", said.get("description", ""))
    return Operation(
        method,
        path,
        tuple(p["name"] for p in parameters if p["in"] == "path"),
        tuple(p["name"] for p in parameters if p["in"] == "query"),
        tuple(said.get("requestBody", {}).get("content", ())),
        scope[1] if scope else None,
    )


def callers() -> list[Operation]:
    return [operation for operation in operations() if not operation.is_admin]


def admins() -> list[Operation]:
    return [operation for operation in operations() if operation.is_admin]


def shape(response: Response, *own: str) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers without what is each answer's own: the request's id, and the texts named."""
    body = response.text
    for text in (response.headers.get("x-request-id", ""), *own):
        body = body.replace(text, "…") if text else body
    headers = {name: value for name, value in response.headers.items() if name not in OWN_HEADERS}
    return response.status_code, body, headers
