"""What the description of the API allows, and what it forbids, sent to every route: always an answer in its shape.

schemathesis makes the requests out of the OpenAPI document, the same ones in every run.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from tests.attackers.conftest import MASTER, PROVIDER_KEY, Served
from tests.attackers.routes import ADMIN, callers, operations, schema

FEW, MANY = 1, 150
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
PROBLEM = {"type", "title", "status", "detail", "code", "param", "request_id"}
LUNTREX = "/v1/images/generate"

Answer = requests.Response


def described() -> dict[str, Any]:
    """The document, without what it says of our keys: those are sent as they are."""
    told = {**schema(), "components": {**schema().get("components", {}), "securitySchemes": {}}}
    told["paths"] = {
        path: {method: {k: v for k, v in said.items() if k != "security"} for method, said in methods.items()}
        for path, methods in schema()["paths"].items()
    }
    return told


def attack(served: Served, examples: int) -> Iterator[tuple[str, int]]:
    """Every route in both modes; gives each route's name and status."""
    seen: list[tuple[str, int]] = []
    with requests.Session() as session:
        session.trust_env = False
        for found in schemathesis.openapi.from_dict(described()).get_all_operations():
            operation = found.ok()
            said = schema()["paths"][operation.path][operation.method]
            free = "requestBody" in said or any(p["in"] == "query" for p in said.get("parameters", ()))
            for mode in MODES if free else MODES[:1]:
                bombard(served, session, operation, mode, examples, seen)
    yield from seen


def bombard(
    served: Served,
    session: requests.Session,
    operation: Any,
    mode: GenerationMode,
    examples: int,
    seen: list[tuple[str, int]],
) -> None:
    name = f"{operation.method.upper()} {operation.path}"
    key = served.operator_key if operation.path.startswith(ADMIN) else served.account.test_key
    bounds = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @seed(7)
    @bounds
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url=served.url)
        kept = {n: v for n, v in (sent.pop("headers", None) or {}).items() if is_sendable(n, v)}
        sent.pop("cookies", None)
        answer = session.request(
            **sent, headers={**kept, "x-api-key": key}, timeout=30, allow_redirects=False
        )
        check(served, operation.path, operation.method, answer)
        seen.append((name, answer.status_code))

    with suppress(Unsatisfiable):  # of some routes nothing is wrong that can be written
        send()


def is_sendable(name: str, value: Any) -> bool:
    """Other keys than ours, and what no client could write on the wire, belong to other tests."""
    return (
        name.lower() not in ("authorization", "x-api-key", "api-key", "cookie") and str(value).isprintable()
    )


def check(served: Served, path: str, method: str, answer: Answer) -> None:
    where = (method, path, answer.status_code, answer.request.url, answer.request.body, answer.text[:500])
    assert answer.status_code < 500, where
    assert answer.headers["x-request-id"], where
    assert answer.headers["x-content-type-options"] == "nosniff", where
    for secret in (MASTER, PROVIDER_KEY, served.operator_key, served.account.key, served.account.test_key):
        assert secret not in answer.text + str(answer.headers), where
    if answer.status_code >= 400:
        check_error(path, answer, where)
    told = schema()["paths"][path][method]["responses"]
    content = told.get(str(answer.status_code), told.get("default", {})).get("content", {})
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind.endswith("json") and "schema" in content.get(kind, ()):
        jsonschema.validate(json_of(answer, where), content[kind]["schema"])
    assert str(answer.status_code) in told or "default" in told or answer.status_code == 405, where


def json_of(answer: Answer, where: object) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise AssertionError(where) from None


def check_error(path: str, answer: Answer, where: object) -> None:
    if path.startswith(ADMIN):
        assert answer.headers["content-type"] == "application/problem+json", where
        assert set(answer.json()) == PROBLEM, where
        return
    assert answer.headers["content-type"] == "application/json", where
    if path == LUNTREX:
        assert set(answer.json()) == {"error", "status"}, where
        return
    assert set(answer.json()["error"]) - {"status"} == {"message", "type", "param", "code"}, where


async def test_every_route_answers_whatever_it_is_asked(served: Served) -> None:
    await bombarded(served, FEW)


@pytest.mark.long
async def test_every_route_answers_whatever_it_is_asked_at_length(served: Served) -> None:
    await bombarded(served, MANY)


async def bombarded(served: Served, examples: int) -> None:
    before = served.said().count("unhandled")

    seen = await asyncio.to_thread(lambda: list(attack(served, examples)))

    routes = {operation.name for operation in operations()}
    assert {name for name, _ in seen} == routes
    assert {status for _, status in seen} >= {200, 400, 404}
    assert len([name for name, status in seen if status == 200]) >= len(callers()) // 3
    assert served.said().count("unhandled") == before
