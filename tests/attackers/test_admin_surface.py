"""The operators' side, attacked by customers, by operators who may less, and by pages of other sites."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import Route

from imagegate.admin.console.routes import ROUTES
from imagegate.identity import operators
from imagegate.services import Services
from tests.admin.conftest import BASE, Issue, issue
from tests.admin.console.conftest import Enter, Seat, browser, csrf_in, enter, link_of, reader, writer
from tests.admin.test_door import count
from tests.attackers.routes import Operation, admins, shape
from tests.conftest import Account, open_account

__all__ = ["browser", "enter", "issue", "reader", "writer"]

COOKIE = "imagegate_console"
SIGN_IN = "/console/sign-in"
PUBLIC = ("/console/static/{name:path}",)
"""What whoever is not signed in may have: style and script of the sign-in page."""
GATHER = 16


def places(method: str) -> list[str]:
    """Every route of the console that takes the method, with something in its braces."""
    return [filled(r) for r in ROUTES if method in (r.methods or ()) and r.path not in PUBLIC]


def filled(route: Route) -> str:
    names = dict.fromkeys(route.param_convertors, "x")
    return str(route.url_path_for(route.name, **names)) if names else route.path


async def test_the_key_of_an_account_finds_none_of_the_operators_routes(
    account: Account, base_url: str, engine: AsyncEngine
) -> None:
    assert len(admins()) > 60
    before = await count(engine, "audit_log")
    nothing = None

    carried = (
        {"authorization": f"Bearer {account.key}"},
        {"x-api-key": account.test_key},
        {"api-key": "igk_live_" + "a" * 49},
    )
    for headers in carried:
        async with AsyncClient(base_url=base_url, headers=headers) as http:
            for operation in admins():
                body = None if operation.method == "GET" else {"reason": "x", "name": "x"}
                answer = await http.request(operation.method, operation.at(), json=body)
                said = answer.json()
                assert (answer.status_code, said["code"]) == (404, "not_found"), operation.name
                nothing = nothing or shape(answer)
                assert shape(answer) == nothing, operation.name

    assert await count(engine, "audit_log") == before


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_key_of_an_account_finds_no_page_of_the_console(
    account: Account, base_url: str, engine: AsyncEngine, method: str
) -> None:
    before = await count(engine, "audit_log")
    headers = {"authorization": f"Bearer {account.key}", "origin": base_url}

    async with AsyncClient(base_url=base_url, headers=headers) as http:
        for path in places(method):
            answer = await http.request(method, path, data={"csrf": "x"} if method == "POST" else None)
            assert answer.status_code == 404, (path, answer.text[:300])
            assert "set-cookie" not in answer.headers, path

    assert await count(engine, "audit_log") == before


async def test_a_scope_opens_its_own_routes_and_no_other(issue: Issue, engine: AsyncEngine) -> None:
    """Whoever has all scopes but one is shut out by that one; whoever has it alone comes in."""
    assert {operation.scope for operation in admins()} == set(operators.SCOPES), "a scope that opens nothing"
    alone = {scope: await issue(scope) for scope in operators.SCOPES}
    without = {scope: await issue(*(set(operators.SCOPES) - {scope})) for scope in operators.SCOPES}
    before = await count(engine, "audit_log")

    async def check(operation: Operation) -> None:
        path, scope = operation.at().removeprefix(BASE), operation.scope or ""
        body = None if operation.method == "GET" else {}
        refused = await without[scope].request(operation.method, path, json=body)  # type: ignore[index]
        let_in = await alone[scope].request(operation.method, path, json=body)  # type: ignore[index]
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope"), operation.name
        assert scope in refused.json()["detail"]
        assert let_in.status_code in (200, 400, 404), (operation.name, let_in.text)

    for start in range(0, len(admins()), GATHER):
        await asyncio.gather(*(check(operation) for operation in admins()[start : start + GATHER]))

    assert await count(engine, "audit_log") == before


def test_whoever_may_only_read_changes_nothing_by_any_route() -> None:
    for operation in admins():
        if operation.method == "GET":
            assert operation.scope == "read", operation.name
    asking = {
        operation.path for operation in admins() if operation.method != "GET" and operation.scope == "read"
    }

    assert asking == {
        "/admin/v1/prices/preview",
        "/admin/v1/providers/{provider}/test",
        "/admin/v1/webhooks/test",
    }


async def test_no_form_of_the_console_is_taken_without_its_session_s_token(
    writer: Seat, enter: Enter, base_url: str, engine: AsyncEngine
) -> None:
    forms = [path for path in places("POST") if path != SIGN_IN]
    other = await enter("write")
    before = await count(engine, "audit_log")
    assert len(forms) >= 12

    for path in forms:
        for token in ({}, {"csrf": other.csrf}, {"csrf": writer.csrf[:-1]}):
            fields = {"name": "forged", "reason": "forged", **token}
            answer = await writer.http.post(path, data=fields)
            assert answer.status_code == 403, (path, token, answer.text[:300])
        for origin in ("null", f"{base_url}.evil.example"):
            fields = {"csrf": writer.csrf, "name": "forged"}
            answer = await writer.http.post(path, data=fields, headers={"origin": origin})
            assert answer.status_code == 403, (path, origin, answer.text[:300])
        in_query = await writer.http.post(f"{path}?csrf={writer.csrf}", data={"name": "forged"})
        assert in_query.status_code == 403, path
        as_json = await writer.http.post(path, json={"csrf": writer.csrf, "name": "forged"})
        assert 400 <= as_json.status_code < 500, path

    assert await count(engine, "audit_log") == before
    assert (await writer.get("/console/welcome")).status_code == 200, "the sign-out was forged"


async def test_whoever_may_only_look_gets_no_form_of_the_console_taken(
    reader: Seat, engine: AsyncEngine
) -> None:
    before = await count(engine, "audit_log")

    for path in places("POST"):
        if path not in (SIGN_IN, "/console/sign-out"):
            answer = await reader.post(path, name="forged", account="x", env="test")
            assert (answer.status_code, "read_only" in answer.text) == (403, True), path

    assert await count(engine, "audit_log") == before


async def test_a_link_to_a_form_s_address_does_nothing(writer: Seat, engine: AsyncEngine) -> None:
    before = await count(engine, "audit_log")
    pages = set(places("GET"))

    for path in places("POST"):
        if path not in pages:
            answer = await writer.http.get(f"{path}?csrf={writer.csrf}&name=forged")
            assert answer.status_code in (404, 405), path

    assert await count(engine, "audit_log") == before
    assert (await writer.get("/console/welcome")).status_code == 200


async def test_a_session_that_was_planted_is_not_the_one_that_signs_in(
    services: Services, browser: AsyncClient, enter: Enter
) -> None:
    thief = await enter("read")
    planted = thief.http.cookies[COOKIE]
    browser.cookies.set(COOKIE, planted, path="/console")

    entered = await browser.post(SIGN_IN, data={"token": link_of(services, "write")})
    mine = entered.cookies[COOKIE]
    theirs = await thief.post("/console/accounts", name="stolen")

    assert mine != planted
    assert (theirs.status_code, "read_only" in theirs.text) == (403, True), "the planted session has risen"


async def test_a_cookie_of_one_s_own_making_opens_nothing(
    services: Services, browser: AsyncClient, writer: Seat
) -> None:
    good = writer.http.cookies[COOKIE]
    said, _, signature = good.partition(".")
    raw = bytearray(decoded(said))
    forged = ["", ".", "x", f"{said}.", f".{signature}", f"{signature}.{said}", good[:-4], good.upper()]
    for position in range(len(raw)):
        raw[position] ^= 1
        forged.append(f"{encoded(bytes(raw))}.{signature}")
        raw[position] ^= 1
    mac = bytearray(decoded(signature))
    for position in range(len(mac)):
        mac[position] ^= 0x80
        forged.append(f"{said}.{encoded(bytes(mac))}")
        mac[position] ^= 0x80

    for cookie in forged:
        page = await browser.get("/console/overview", headers={"cookie": f"{COOKIE}={cookie}"})
        assert (page.status_code, page.headers["location"]) == (303, SIGN_IN), cookie

    kept = await browser.get("/console/overview", headers={"cookie": f"{COOKIE}={good}"})
    assert kept.status_code == 200


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_the_csrf_token_of_one_session_says_nothing_of_another_s(writer: Seat, enter: Enter) -> None:
    again = await enter("write")
    page = await writer.get("/console/accounts")

    assert csrf_in(page.text) == writer.csrf
    assert writer.csrf != again.csrf
    assert writer.csrf not in writer.http.cookies[COOKIE]


async def test_an_operator_s_ids_are_none_of_a_customer_s(
    services: Services, engine: AsyncEngine, base_url: str, issue: Issue
) -> None:
    """The key of an operator in a customer's routes is a key that was never issued."""
    admin = await issue(*operators.SCOPES)
    other = await open_account(services, engine)
    never = f"igk_live_{uuid4().hex}{'a' * 17}"

    answers = []
    for key in (admin.headers["authorization"].removeprefix("Bearer "), never):
        async with AsyncClient(base_url=base_url, headers={"x-api-key": key}) as http:
            answers.append(shape(await http.get("/v1/balance")))

    assert answers[0] == answers[1]
    assert answers[0][0] == 401
    assert await other.balance()
