import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from httpx import ASGITransport, AsyncClient

from imagegate.admin import operators
from imagegate.app import create_app
from imagegate.cli.proxies import behind_proxies
from imagegate.identity import console
from imagegate.identity.audit import Actor
from imagegate.services import Services
from tests.admin.conftest import Issue
from tests.admin.console.conftest import Enter, Seat, csrf_in, link_of
from tests.conftest import Account

COOKIE = "imagegate_console"
SIGN_IN = "/console/sign-in"


async def test_a_link_signs_in_once(services: Services, browser: AsyncClient) -> None:
    token = link_of(services)

    shown = await browser.get(SIGN_IN, params={"token": token})
    first = await browser.post(SIGN_IN, data={"token": token})
    browser.cookies.clear()
    again = await browser.post(SIGN_IN, data={"token": token})

    assert (shown.status_code, first.status_code, again.status_code) == (200, 303, 401)
    assert "imagegate console link" in again.text
    assert COOKIE not in again.cookies


async def test_of_two_who_use_a_link_at_once_one_comes_in(services: Services, browser: AsyncClient) -> None:
    token = link_of(services)

    answers = await asyncio.gather(*(browser.post(SIGN_IN, data={"token": token}) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [303, 401, 401, 401]


async def test_a_link_that_is_over_forged_or_of_another_kind_opens_nothing(
    services: Services, browser: AsyncClient
) -> None:
    key, link = services.keyring.console, console.new_link("write", "console:tests")
    over = replace(link, until=datetime.now(UTC) - timedelta(seconds=1))
    session = console.write(key, console.new_session("write", "console:tests"))
    said, _, signature = console.write(key, link).partition(".")
    other = console.write(key, console.new_link("read", "console:tests")).partition(".")[0]
    wrong = (
        console.write(key, over),
        console.write(bytes(32), link),
        f"{other}.{signature}",
        said,
        session,
        "",
        ".",
        "ä.ö",
        "a" * 5000,
    )

    answers = [await browser.post(SIGN_IN, data={"token": token}) for token in wrong]

    assert {answer.status_code for answer in answers} == {401}


async def test_the_cookie_is_out_of_reach_of_scripts_and_lasts_twelve_hours(
    services: Services, browser: AsyncClient
) -> None:
    entered = await browser.post(SIGN_IN, data={"token": link_of(services)})

    parts = {part.strip().lower() for part in entered.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/console", "max-age=43200"} <= parts
    assert "secure" not in parts


async def test_behind_https_the_cookie_is_secure(
    services: Services, serve: Callable[[Services], Awaitable[str]]
) -> None:
    public = services.settings.model_copy(update={"public_url": "https://images.example.com"})
    url = await serve(replace(services, settings=public))

    async with AsyncClient(base_url=url, headers={"origin": "https://images.example.com"}) as http:
        entered = await http.post(SIGN_IN, data={"token": link_of(services)})

    assert entered.status_code == 303
    assert "; secure" in entered.headers["set-cookie"].lower()


async def test_a_cookie_from_before_the_sign_in_is_not_kept(services: Services, browser: AsyncClient) -> None:
    first = await browser.post(SIGN_IN, data={"token": link_of(services)})
    second = await browser.post(SIGN_IN, data={"token": link_of(services)})

    assert first.cookies[COOKIE] != second.cookies[COOKIE]


async def test_whoever_signs_out_is_out_with_every_copy_of_the_cookie(writer: Seat) -> None:
    kept = writer.http.cookies[COOKIE]

    left = await writer.post("/console/sign-out")
    writer.http.cookies.set(COOKIE, kept, path="/console")
    after = await writer.get("/console")

    assert left.status_code == 303
    assert (after.status_code, after.headers["location"]) == (303, SIGN_IN)


async def test_without_a_session_pages_lead_to_the_sign_in_and_data_is_refused(browser: AsyncClient) -> None:
    page, data = await browser.get("/console/keys"), await browser.get("/console/keys.json")
    post = await browser.post("/console/keys", data={"account": "x", "env": "test"})

    assert (page.status_code, page.headers["location"]) == (303, SIGN_IN)
    assert (data.status_code, data.json()["error"]["code"]) == (403, "signed_out")
    assert post.status_code == 403


async def test_an_operator_key_signs_in_with_its_scopes(browser: AsyncClient, issue: Issue) -> None:
    plain = (await issue("read")).headers["authorization"].removeprefix("Bearer ")

    entered = await browser.post(SIGN_IN, data={"key": plain})
    page = await browser.get("/console/keys")
    refused = await browser.post(
        "/console/keys", data={"csrf": csrf_in(page.text), "account": "x", "env": "test"}
    )

    assert entered.status_code == 303
    assert "Make a key" not in page.text
    assert (refused.status_code, "read_only" in refused.text) == (403, True)


async def test_a_session_ends_with_its_operator_key(
    browser: AsyncClient, issue: Issue, services: Services
) -> None:
    client = await issue("read", "keys:write")
    await browser.post(SIGN_IN, data={"key": client.headers["authorization"].removeprefix("Bearer ")})
    before = await browser.get("/console/welcome")

    async with services.engine.begin() as tx:
        await operators.revoke_operator(tx, client.headers["x-operator"], Actor("cli:tests", "a test"))
    after = await browser.get("/console/welcome")

    assert (before.status_code, after.status_code) == (200, 303)


async def test_the_key_of_an_account_finds_nothing_here(
    browser: AsyncClient, account: Account, reader: Seat
) -> None:
    pasted = await browser.post(SIGN_IN, data={"key": account.key})
    sent = await browser.get("/console", headers={"authorization": f"Bearer {account.key}"})
    both = await reader.http.get("/console/keys", headers={"authorization": f"Bearer {account.key}"})

    assert {pasted.status_code, sent.status_code, both.status_code} == {404}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1:1"])
async def test_a_form_of_another_site_is_refused(writer: Seat, origin: str) -> None:
    forged = await writer.http.post(
        "/console/accounts", data={"csrf": writer.csrf, "name": "forged"}, headers={"origin": origin}
    )

    assert (forged.status_code, "foreign_origin" in forged.text) == (403, True)


async def test_a_form_without_its_token_or_with_another_s_is_refused(writer: Seat, enter: Enter) -> None:
    other = await enter("write")

    answers = [
        await writer.http.post("/console/accounts", data={"name": "forged", **fields})
        for fields in ({}, {"csrf": ""}, {"csrf": other.csrf}, {"csrf": "é"})
    ]

    assert {answer.status_code for answer in answers} == {403}


@asynccontextmanager
async def behind_a_proxy(services: Services, role: str, peer: str) -> AsyncIterator[AsyncClient]:
    """A browser whose requests come in from `peer`, which says that they are alice's. 10.0.0.1 is trusted."""
    named = {"console_sso_header": "X-Forwarded-User", "console_sso_role": role}
    told = replace(services, settings=services.settings.model_copy(update=named))
    shell = create_app(services=told)
    shell.api.state.services = told
    headers = {"x-forwarded-user": "alice", "x-forwarded-for": "203.0.113.9", "origin": "http://gateway.test"}
    transport = ASGITransport(behind_proxies(shell, "10.0.0.1"), client=(peer, 4711))
    async with AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers) as http:
        yield http


async def test_only_a_trusted_proxy_says_who_is_there(services: Services) -> None:
    async with behind_a_proxy(services, "read", "10.0.0.1") as http:
        page = await http.get("/console/welcome")
        refused = await http.post("/console/accounts", data={"csrf": csrf_in(page.text), "name": "x"})
    async with behind_a_proxy(services, "read", "203.0.113.9") as http:
        stranger = await http.get("/console/welcome")

    assert (page.status_code, refused.status_code, stranger.status_code) == (200, 403, 303)
    assert "console:alice" in page.text


async def test_whom_a_proxy_names_may_change_things_until_it_names_another(services: Services) -> None:
    async with behind_a_proxy(services, "write", "10.0.0.1") as http:
        http.cookies.set(COOKIE, "over", domain="gateway.test", path="/console")
        csrf = csrf_in((await http.get("/console/welcome")).text)
        opened = await http.post(
            "/console/accounts", data={"csrf": csrf, "name": f"by proxy {uuid4().hex[:8]}"}
        )
        bob = {"x-forwarded-user": "bob"}
        other = await http.post("/console/accounts", data={"csrf": csrf, "name": "x"}, headers=bob)
        kept = http.cookies[COOKIE]
    async with behind_a_proxy(services, "write", "203.0.113.9") as http:
        http.cookies.set(COOKIE, kept, domain="gateway.test", path="/console")
        stolen = await http.get("/console/welcome")

    assert (opened.status_code, other.status_code, stolen.status_code) == (303, 403, 303)
