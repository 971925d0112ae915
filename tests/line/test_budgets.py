"""Budgets: what an account, a team, a key or an app may spend in a day or a month, counted with the hold itself."""

import asyncio

from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import limits
from imagegate.identity import keys
from imagegate.identity.audit import Actor
from imagegate.identity.limit_rows import Scope
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account, Speak
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status, Wait

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox with a purse", "model": "dall-e-2", "size": "256x256"}
COST = 5_000
WHY = Actor("tests", "a test")
WHOLE = Scope("account", "")


async def set_budget(engine: AsyncEngine, account: Account, scope: Scope = WHOLE, **tokens: int) -> None:
    async with engine.begin() as tx:
        await limits.set_limits(tx, account.name, "live", scope, tokens, WHY)


async def budgets_of(engine: AsyncEngine, account: Account) -> dict[tuple[str, int], tuple[int, int]]:
    """(scope, length of the period's name) → (spent, held)."""
    async with engine.connect() as connection:
        query = text("SELECT * FROM budgets WHERE account_id = :id")
        rows = (await connection.execute(query, {"id": account.id})).all()
    return {(row.scope, len(row.period)): (row.spent_tokens, row.held_tokens) for row in rows}


DAY, MONTH = len("2026-01-01"), len("2026-01")


async def test_a_budget_is_spent_up_to_its_last_token_and_not_beyond(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    await set_budget(engine, account, day_tokens=2 * COST + 1, month_tokens=100 * COST)

    answers = [await client.post(PATH, json=BODY) for _ in range(3)]

    assert [a.status_code for a in answers] == [200, 200, 429]
    error = answers[2].json()["error"]
    assert (error["code"], error["type"]) == ("budget_exceeded", "rate_limit_error")
    assert "5000 tokens" in error["message"]
    assert "daily budget of this account has 1 left" in error["message"]
    assert answers[2].headers["x-should-retry"] == "false"
    assert len(fake.requests) == 2
    assert await account.balance() == (LIVE_TOKENS - 2 * COST, 0)
    assert await budgets_of(engine, account) == {
        ("account", DAY): (2 * COST, 0),
        ("account", MONTH): (2 * COST, 0),
    }


async def test_parallel_requests_do_not_pass_a_budget(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    await set_budget(engine, account, month_tokens=5 * COST)

    answers = await asyncio.gather(*(client.post(PATH, json=BODY) for _ in range(20)))

    assert sorted(a.status_code for a in answers) == [200] * 5 + [429] * 15
    assert await account.balance() == (LIVE_TOKENS - 5 * COST, 0)


async def test_what_is_held_counts_and_a_failure_gives_it_back(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    gate = asyncio.Event()
    fake.then(Wait(gate, Status(400, code="invalid_size", type="invalid_request_error")))
    await set_budget(engine, account, day_tokens=COST)
    failing = asyncio.create_task(client.post(PATH, json=BODY))
    await fake.arrived(1)

    meanwhile = await client.post(PATH, json={**BODY, "prompt": "another"})
    held = await budgets_of(engine, account)
    gate.set()
    await failing
    after = await client.post(PATH, json={**BODY, "prompt": "a third"})

    assert (meanwhile.status_code, held["account", DAY]) == (429, (0, COST))
    assert ((await failing).status_code, after.status_code) == (400, 200)
    assert (await budgets_of(engine, account))["account", DAY] == (COST, 0)


async def test_a_team_an_app_and_a_key_have_budgets_of_their_own(
    services: Services, account: Account, engine: AsyncEngine, speaking: Speak, fake: FakeProvider
) -> None:
    await set_budget(engine, account, Scope("team", "blue"), day_tokens=COST)
    await set_budget(engine, account, Scope("app", "shop"), day_tokens=COST)

    async with (
        speaking(keys.Labels(team="blue", app="shop")) as both,
        speaking(keys.Labels(team="blue")) as blue,
        speaking(keys.Labels(team="red")) as red,
    ):
        answers = [await one.post(PATH, json=BODY) for one in (both, blue, red, red)]

    assert [a.status_code for a in answers] == [200, 429, 200, 200]
    assert "daily budget of this team" in answers[1].json()["error"]["message"]


async def test_a_budget_that_is_set_later_knows_what_was_spent_and_held_before(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    await client.post(PATH, json=BODY)
    gate = asyncio.Event()
    fake.then(Wait(gate))
    running = asyncio.create_task(client.post(PATH, json=BODY))
    await fake.arrived(2)

    await set_budget(engine, account, day_tokens=3 * COST - 1)
    refused = await client.post(PATH, json=BODY)
    gate.set()
    await running

    assert ((await running).status_code, refused.status_code) == (200, 429)
    assert (await budgets_of(engine, account))["account", DAY] == (2 * COST, 0)


async def test_a_lost_generation_that_runs_again_is_counted_once(
    client: AsyncClient, account: Account, engine: AsyncEngine, fake: FakeProvider
) -> None:
    await set_budget(engine, account, day_tokens=COST)
    fake.then(Status(401, code="invalid_api_key"))
    headers = {"idempotency-key": "lost"}

    answers = [await client.post(PATH, json=BODY, headers=headers) for _ in range(3)]

    assert [a.status_code for a in answers] == [502, 200, 200]
    assert (await budgets_of(engine, account))["account", DAY] == (COST, 0)
