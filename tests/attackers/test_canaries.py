"""Secrets with unmistakable names go through every route and every failure of a provider: where do they come out?

They may stand in the answer to whoever sent them, upstream, and prompts in the row of their own request. Nowhere else:
not in the log, the metrics, the spans, another column of the database, or what an error says.
"""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.attackers.conftest import MASTER, PROVIDER_KEY, Served
from tests.attackers.routes import callers
from tests.fake_verbs import Images, Links, Raw, Refuse, Reset, Status, Truncated, Verb, garbage

PROMPT = "canary-prompt-61c0d2"
NEGATIVE = "canary-negative-0b77fa"
END_USER = "canary-user-93e1aa"
OWN_KEY = "sk-canary-own-key-5d20c9"
BAD_KEY = "igk_live_canarybadkey" + "a" * 36
QUERY = "canary-query-7e4401"
PICTURE_URL = "https://nowhere.invalid/a.png?signature=canary-picture-e0925b"
HOOK = "https://hooks.invalid/canary-hook-4471dd"
EXTRA = "canary-extra-2f1c88"
UPSTREAM = f"upstream says: {PROMPT}, {PROVIDER_KEY}, {OWN_KEY}, Bearer {PROVIDER_KEY}"
MODEL = "openai/gpt-image-2.5-flare"
BODY: dict[str, Any] = {
    "prompt": f"a fox, {PROMPT}",
    "negative_prompt": NEGATIVE,
    "user": END_USER,
    "invented": EXTRA,
    "model": MODEL,
    "quality": "low",
    "size": "1024x1024",
}
FAILURES: tuple[Verb, ...] = (
    Images(),
    Status(
        400, {"error": {"message": UPSTREAM, "type": "invalid_request_error", "param": None, "code": "x"}}
    ),
    Status(
        401, {"error": {"message": UPSTREAM, "type": "invalid_request_error", "param": None, "code": "y"}}
    ),
    Status(429, {"error": {"message": UPSTREAM, "type": "requests", "param": None, "code": "z"}}),
    Status(500, {"error": {"message": UPSTREAM, "type": "server_error", "param": None, "code": None}}),
    Status(503, UPSTREAM.encode(), headers={"content_type": "text/html"}),
    Status(302, b"", headers={"location": f"http://127.0.0.1:1/{PROVIDER_KEY}"}),
    Status(200, {"created": 1, "data": [{"b64_json": UPSTREAM}]}),
    Status(200, {"created": 1, "data": UPSTREAM}),
    Status(200, {UPSTREAM: UPSTREAM}),
    Raw(f"HTTP/1.1 200 {UPSTREAM}\r\n{PROMPT}\r\n\r\n".encode()),
    Raw(UPSTREAM.encode()),
    Refuse(),
    Links(f"http://127.0.0.1:1/a.png?key={PROVIDER_KEY}"),
    Links(f"http://nowhere.invalid/{PROMPT}"),
    Truncated(),
    Reset(),
    garbage(),
)
OF_REQUESTS = (PROMPT, NEGATIVE, END_USER, EXTRA, "canary-picture-e0925b", "canary-hook-4471dd")
"""What a caller says. It is kept where the request is kept, and until it is purged."""
KEPT_AT = {("generations", "request"), ("generations", "job"), ("webhook_outbox", "url")}


@dataclass(frozen=True)
class Played:
    """Everything was sent. secrets: what is never kept. answers: of all requests."""

    served: Served
    secrets: tuple[str, ...]
    answers: list[Response]


@pytest.fixture(scope="module")
async def played(served: Served) -> Played:
    answers: list[Response] = []
    async with served.client() as live, served.client(served.account.test_key) as test:
        for verb in FAILURES:
            served.fake.then(verb)
            answers.append(await live.post("/v1/images/generations", json=BODY))
            served.fake.forget()
        answers += [answer async for answer in every_route(test)]
        own = {"x-provider-key": OWN_KEY}
        forced = BODY | {"model": f"openai:{MODEL}"}
        for verb in (Images(), Status(401), Status(500)):
            served.fake.then(verb)
            answers.append(await live.post("/v1/images/generations", json=forced, headers=own))
            served.fake.forget()
        job = BODY | {"async": True, "webhook_url": HOOK}
        answers.append(await live.post("/v1/images/generations", json=job))
        answers.append(await live.post("/v1/images/edits", json=BODY | {"image": PICTURE_URL}))
        link = answers[0].json()["data"][0].get("url") or await link_of(live, answers[0])
        path = link.partition("/media/")[2]
        answers.append(await live.get(f"/media/{path}"))
        answers.append(await live.get(f"/media/{path}x"))
        await ended(live, answers[-4].json()["id"])
    async with AsyncClient(base_url=served.url, headers={"x-api-key": BAD_KEY}) as nobody:
        answers.append(await nobody.post("/v1/images/generations", json=BODY))
        answers.append(await nobody.get("/admin/v1/accounts"))
    hook_secret = await with_operator(served, answers)
    account = served.account
    url = re.search(r"//[^:]+:([^@]+)@", served.database_url)
    assert url is not None
    secrets = (MASTER, PROVIDER_KEY, OWN_KEY, BAD_KEY, account.key, account.test_key, served.operator_key)
    return Played(served, (*secrets, hook_secret, path, url[1], "sk-canary-added-8802"), answers)


async def every_route(client: AsyncClient) -> AsyncIterator[Response]:
    """Each with a body that holds all there is to hide, and with a query that does."""
    for operation in callers():
        body = BODY if operation.kinds else None
        url = f"{operation.at()}?q={QUERY}"
        yield await client.request(operation.method, url, json=body)


async def link_of(client: AsyncClient, answer: Response) -> str:
    id_ = answer.json()["metadata"]["id"]
    found = (await client.get(f"/v1/images/generations/{id_}")).json()
    return str(found["data"][0]["url"])


async def ended(client: AsyncClient, job: str) -> None:
    async with asyncio.timeout(20):
        while (await client.get(f"/v1/images/generations/{job}")).json()["status"] in (
            "queued",
            "in_progress",
        ):
            await asyncio.sleep(0.05)


async def with_operator(served: Served, answers: list[Response]) -> str:
    """What an operator does with secrets; gives the one of webhooks."""
    async with AsyncClient(
        base_url=f"{served.url}/admin/v1", headers={"authorization": f"Bearer {served.operator_key}"}
    ) as admin:
        name, why = served.account.name, {"reason": "a test"}
        shown = await admin.post("/webhooks/secret", json={"account": name, **why})
        key = {"name": "second", "key": "sk-canary-added-8802", **why}
        added = await admin.post("/providers/openai/keys", json=key)
        listed = [await admin.get(path) for path in ("/providers", "/providers/openai", "/audit", "/keys")]
        wrong = await admin.post("/accounts", json={"name": "\x01" + PROMPT, **why})
    assert [shown.status_code, added.status_code] == [200, 201], (shown.text, added.text)
    answers += [added, *listed, wrong]
    found = re.search(r"whsec_[A-Za-z0-9+/=_-]+", shown.text)
    assert found, shown.text
    return found[0]


def spoken(played: Played) -> tuple[str, ...]:
    return (*played.secrets, *OF_REQUESTS, QUERY)


async def test_what_was_played_reached_every_end(played: Played) -> None:
    statuses = {answer.status_code for answer in played.answers}

    assert statuses >= {200, 202, 400, 401, 403, 404, 502}
    assert len(played.answers) > 50
    assert not statuses & {500}, [a.text for a in played.answers if a.status_code == 500]


async def test_no_answer_holds_what_its_caller_did_not_say(played: Played) -> None:
    """Nor does an error repeat what its caller did say."""
    for answer in played.answers:
        for secret in played.secrets:
            in_links = secret in answer.text.replace("\\/", "/") and "/media/" in secret
            assert in_links or secret not in answer.text or answer.status_code == 200, (secret, answer.text)
        for secret in (MASTER, PROVIDER_KEY, OWN_KEY, BAD_KEY, played.served.operator_key):
            assert secret not in answer.text + str(answer.headers), (secret, answer.text[:500])
        if answer.status_code >= 400:
            for said in (*OF_REQUESTS, QUERY):
                assert said not in answer.text + str(answer.headers), (said, answer.text)


async def test_nothing_of_it_is_in_the_log(played: Played) -> None:
    async with asyncio.timeout(5):
        while played.served.said().count('"event":"generation"') < 20:
            await asyncio.sleep(0.05)
    said = played.served.said()

    assert "unhandled" not in said
    assert [secret for secret in spoken(played) if secret in said] == []


async def test_nothing_of_it_is_in_the_metrics(played: Played) -> None:
    async with played.served.client() as client:
        said = (await client.get("/metrics")).text

    assert 'imagegate_generations_total{outcome="completed"}' in said
    assert [secret for secret in spoken(played) if secret in said] == []
    assert played.served.account.name not in said


async def test_nothing_of_it_is_in_a_span(played: Played) -> None:
    async with asyncio.timeout(10):
        while b"settle" not in (said := sent(played.served)):
            await asyncio.sleep(0.1)

    assert said.count(b"attempt") > 10
    assert [secret for secret in spoken(played) if secret.encode() in said] == []


def sent(served: Served) -> bytes:
    return b"".join(gzip.decompress(body) if kind == "gzip" else body for body, kind in list(served.spans))


async def places_of(engine: AsyncEngine, secrets: tuple[str, ...]) -> dict[str, set[tuple[str, str]]]:
    """In which columns of which tables each of them stands: as text, in hexadecimal, or in base64 of its own."""
    found: dict[str, set[tuple[str, str]]] = {secret: set() for secret in secrets}
    async with engine.connect() as connection:
        tables = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        for (table,) in tables.all():
            rows = await connection.execute(text(f'SELECT to_jsonb(t) FROM "{table}" t'))
            for row in rows.scalars():
                for column, value in row.items():
                    kept = str(value)
                    for secret in secrets:
                        if secret in kept or secret.encode().hex() in kept:
                            found[secret].add((table, column))
    return found


async def test_nothing_of_it_is_in_the_database_but_requests_in_their_own_rows(played: Played) -> None:
    found = await places_of(played.served.engine, spoken(played))

    assert {secret: places for secret, places in found.items() if places and secret not in OF_REQUESTS} == {}
    for said in OF_REQUESTS:
        assert found[said] <= KEPT_AT, said
    assert found[PROMPT] == {("generations", "request")}, "nothing was kept, so nothing was looked at"


async def test_a_request_that_is_purged_is_nowhere(played: Played) -> None:
    body = BODY | {"prompt": "canary-purged-a94b07", "model": "sandbox", "size": "256x256"}
    async with played.served.client() as client:
        made = (await client.post("/v1/images/generations", json=body)).json()["metadata"]["id"]
        before = await places_of(played.served.engine, ("canary-purged-a94b07",))
        gone = await client.delete(f"/v1/requests/{made}/payloads")

    after = await places_of(played.served.engine, ("canary-purged-a94b07",))
    assert gone.status_code == 200
    assert before["canary-purged-a94b07"] == {("generations", "request")}
    assert after["canary-purged-a94b07"] == set()


@asynccontextmanager
async def refused_by(engine: AsyncEngine, table: str) -> AsyncIterator[None]:
    """A table that takes no row with a canary in it: a bug that makes the database show what it was given."""
    rule = f"ALTER TABLE {table} ADD CONSTRAINT never CHECK ({table}::text NOT LIKE '%canary-bug%') NOT VALID"
    async with engine.begin() as tx:
        await tx.execute(text(rule))
    try:
        yield
    finally:
        async with engine.begin() as tx:
            await tx.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT never"))


async def test_a_bug_in_the_database_s_hands_shows_no_row(played: Played, services: Services) -> None:
    served = played.served
    prompt = "canary-bug-prompt-b8d6\nDETAIL: canary-bug-second-line"
    body = BODY | {"prompt": prompt, "model": "sandbox", "size": "256x256"}
    operator = {"authorization": f"Bearer {served.operator_key}"}

    async with refused_by(served.engine, "generations"), served.client() as client:
        made = await client.post("/v1/images/generations", json=body)
    async with refused_by(served.engine, "webhook_endpoints"), AsyncClient(base_url=served.url) as admin:
        hook = {"account": served.account.name, "env": "live", "url": "https://hooks.invalid/canary-bug-77"}
        opened = await admin.post(
            "/admin/v1/webhooks/endpoints", json=hook | {"reason": "a test"}, headers=operator
        )

    assert (made.status_code, opened.status_code) == (500, 500), (made.text, opened.text)
    async with asyncio.timeout(5):
        while served.said().count("unhandled") < 2:
            await asyncio.sleep(0.05)
    assert "violates check constraint" in served.said(), "the log says nothing of what went wrong"
    for said in (served.said(), made.text, opened.text):
        assert "canary-bug" not in said
