"""Limits as an operator sets them, and budgets that begin in the middle of a period."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin import limits
from imagegate.admin.limits import Shown, read_scope
from imagegate.errors import BudgetExceeded, InvalidRequest, NotFound
from imagegate.identity.audit import Actor
from imagegate.identity.limit_rows import Scope
from imagegate.ids import new_id, public_id
from imagegate.journal.items import Held, Open, Settle
from imagegate.services import Services
from tests.conftest import Account
from tests.ledger import paying

BY = Actor("tests", "a contract")
OWN = Scope()


@pytest.fixture
async def key_id(account: Account, engine: AsyncEngine) -> UUID:
    """A live key of the team `art`."""
    async with engine.begin() as tx:
        return await paying.make_key(tx, account.id, team="art")


async def set_limits(
    engine: AsyncEngine, account: Account, changes: Mapping[str, int | None], scope: Scope = OWN
) -> Shown:
    async with engine.begin() as tx:
        return await limits.set_limits(tx, account.name, "live", scope, changes, BY)


async def clear(engine: AsyncEngine, account: Account, scope: Scope = OWN, **more: Any) -> Shown:
    async with engine.begin() as tx:
        return await limits.clear_limits(tx, account.name, "live", scope, BY, **more)


async def budgets(engine: AsyncEngine, account: Account) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Spent and held tokens by scope, scope id and period."""
    query = text(
        "SELECT scope, scope_id, period, spent_tokens, held_tokens FROM budgets WHERE account_id = :id"
    )
    async with engine.connect() as connection:
        rows = await connection.execute(query, {"id": account.id})
        return {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}


async def revision(engine: AsyncEngine, account: Account) -> int:
    query = text("SELECT revision FROM wallets WHERE account_id = :id AND env = 'live'")
    async with engine.connect() as connection:
        return int((await connection.execute(query, {"id": account.id})).scalar_one())


async def end(services: Services, account: Account, generation_id: UUID, tokens: int = 0) -> None:
    """Settle a hold by the journal: captured with `tokens`, or voided."""
    image = {"idx": 0, "object": "o", "sha256": "\\x00", "bytes": 1, "width_px": 1, "height_px": 1}
    image |= {"mime": "image/png", "keep_h": 24}
    how: dict[str, Any] = {"outcome": "final"}
    if tokens:
        how = {"tokens": tokens, "price_version": 1, "row": {"answer_status": 200}, "images": [image]}
    await services.journal.settle(Settle(account.id, "live", generation_id, 1, **how), patience_s=5)


async def open_hold(services: Services, account: Account, key_id: UUID, tokens: int, **labels: Any) -> UUID:
    """Take a hold by the journal. Raises BudgetExceeded."""
    row = {"worker_id": services.journal.worker_id, "ttl_s": 60, "model": "imagegate/sandbox"}
    row |= {
        "price_version": 1,
        "quote": {"price_version": 1, "n": 1},
        "request": {},
        "app_id": labels.get("app"),
    }
    wanted = Open(account.id, "live", new_id(), key_id, tokens, row=row, **labels)
    assert isinstance(await services.journal.open(wanted), Held)
    return wanted.generation_id


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def this_month() -> str:
    return today()[:7]


async def test_a_budget_begins_with_what_was_spent_and_is_held_already(
    account: Account, engine: AsyncEngine, services: Services, key_id: UUID
) -> None:
    async with engine.begin() as tx:
        await paying.capture(tx, account.id, key_id, 300)
        await paying.capture(tx, account.id, key_id, 5000, days_ago=40)
        held = await paying.hold(tx, account.id, key_id, 70)

    shown = (await set_limits(engine, account, {"day_tokens": 1000, "month_tokens": 9000})).to_json()

    assert await budgets(engine, account) == {
        ("account", "", today()): (300, 70),
        ("account", "", this_month()): (300, 70),
    }
    used = {"period": today(), "spent_tokens": 300, "held_tokens": 70, "left_tokens": 630}
    assert (shown["day_tokens"], shown["day"]) == (1000, used)
    await end(services, account, held, tokens=50)
    assert (await budgets(engine, account))["account", "", today()] == (350, 0)


async def test_each_scope_counts_what_belongs_to_it(
    account: Account, engine: AsyncEngine, services: Services, key_id: UUID
) -> None:
    async with engine.begin() as tx:
        other = await paying.make_key(tx, account.id)
        await paying.capture(tx, account.id, key_id, 1)
        await paying.capture(tx, account.id, key_id, 10, app_id="shop")
        await paying.capture(tx, account.id, other, 100, app_id="shop")
        open_ones = [
            await paying.hold(tx, account.id, key_id, 1000, app_id="shop"),
            await paying.hold(tx, account.id, other, 10_000),
        ]
    scopes = read_scope(key=public_id("key", key_id)), read_scope(team="art"), read_scope(app="shop"), OWN

    for scope in scopes:
        await set_limits(engine, account, {"day_tokens": 50_000}, scope)

    assert await budgets(engine, account) == {
        ("key", str(key_id), today()): (11, 1000),
        ("team", "art", today()): (11, 1000),
        ("app", "shop", today()): (110, 1000),
        ("account", "", today()): (111, 11_000),
    }
    for one in open_ones:
        await end(services, account, one)
    assert {held for _, held in (await budgets(engine, account)).values()} == {0}


async def test_the_journal_obeys_a_budget_from_the_commit_on(
    account: Account, engine: AsyncEngine, services: Services, key_id: UUID
) -> None:
    first = await open_hold(services, account, key_id, 600, team="art")
    await set_limits(engine, account, {"day_tokens": 1000}, read_scope(team="art"))

    with pytest.raises(BudgetExceeded):
        await open_hold(services, account, key_id, 401, team="art")
    second = await open_hold(services, account, key_id, 400, team="art")

    assert await budgets(engine, account) == {("team", "art", today()): (0, 1000)}
    await end(services, account, first, tokens=600)
    await end(services, account, second)
    assert await budgets(engine, account) == {("team", "art", today()): (600, 0)}


async def test_a_budget_set_again_is_counted_anew_and_no_hold_twice(
    account: Account, engine: AsyncEngine, services: Services, key_id: UUID
) -> None:
    await set_limits(engine, account, {"day_tokens": 1000})
    counted = await open_hold(services, account, key_id, 100)
    await clear(engine, account)
    uncounted = await open_hold(services, account, key_id, 30)
    assert await budgets(engine, account) == {("account", "", today()): (0, 100)}

    await set_limits(engine, account, {"day_tokens": 2000})
    await set_limits(engine, account, {"day_tokens": 3000})

    assert await budgets(engine, account) == {("account", "", today()): (0, 130)}
    await end(services, account, counted, tokens=100)
    await end(services, account, uncounted, tokens=30)
    assert await budgets(engine, account) == {("account", "", today()): (130, 0)}


async def test_limits_that_are_not_named_stay(account: Account, engine: AsyncEngine) -> None:
    before = await revision(engine, account)
    await set_limits(engine, account, {"requests_per_min": 60, "concurrent": 4})
    await set_limits(engine, account, {"concurrent": None, "images_per_min": 0})

    async with engine.connect() as connection:
        (shown,) = [found.to_json() for found in await limits.show_limits(connection, account.name, "live")]
        assert await limits.show_limits(connection, account.name, "test") == []
    assert (shown["requests_per_min"], shown["images_per_min"], shown["concurrent"]) == (60, 0, None)
    assert (shown["scope"], shown["scope_id"], shown["day"]) == ("account", None, None)
    assert await revision(engine, account) == before + 2


async def test_cleared_limits_are_gone_and_the_log_tells_what_they_were(
    account: Account, engine: AsyncEngine
) -> None:
    await set_limits(engine, account, {"requests_per_min": 60, "day_tokens": 5})

    assert (await clear(engine, account, only=["day_tokens"])).limits.values()["requests_per_min"] == 60
    await clear(engine, account)

    with pytest.raises(NotFound):
        await clear(engine, account)
    async with engine.connect() as connection:
        assert await limits.show_limits(connection, account.name, "live") == []
        query = text("SELECT action, detail FROM audit_log WHERE account_id = :id ORDER BY id")
        entries = (await connection.execute(query, {"id": account.id})).all()
    assert [action for action, _ in entries] == ["limits.set", "limits.clear", "limits.clear"]
    assert entries[1].detail["before"]["day_tokens"] == 5
    assert entries[1].detail["after"]["day_tokens"] is None


async def test_holds_and_a_budget_at_once_are_counted_exactly_once(
    account: Account, engine: AsyncEngine, services: Services, key_id: UUID
) -> None:
    opening = [open_hold(services, account, key_id, 10) for _ in range(30)]

    *opened, _ = await asyncio.gather(*opening, set_limits(engine, account, {"day_tokens": 100_000}))

    assert await budgets(engine, account) == {("account", "", today()): (0, 300)}
    await asyncio.gather(*[end(services, account, one, tokens=10) for one in opened if isinstance(one, UUID)])
    assert await budgets(engine, account) == {("account", "", today()): (300, 0)}


@pytest.mark.parametrize(
    ("scope", "changes"),
    [
        (OWN, {}),
        (OWN, {"per_hour": 5}),
        (OWN, {"day_tokens": -1}),
        (OWN, {"day_tokens": 2**53}),
        (OWN, {"requests_per_min": 1_000_001}),
        (OWN, {"concurrent": True}),
        (Scope("team", "art"), {"requests_per_min": 5}),
        (Scope("app", "shop"), {"concurrent": 5}),
        (Scope("team", ""), {"day_tokens": 5}),
        (Scope("team", "x" * 201), {"day_tokens": 5}),
        (Scope("planet", "x"), {"day_tokens": 5}),
        (Scope("account", "x"), {"day_tokens": 5}),
    ],
)
async def test_what_cannot_be_a_limit_is_refused(
    account: Account, engine: AsyncEngine, scope: Scope, changes: dict[str, int | None]
) -> None:
    with pytest.raises(InvalidRequest):
        await set_limits(engine, account, changes, scope)

    assert await budgets(engine, account) == {}


async def test_a_key_of_somebody_else_has_no_limits_here(
    account: Account, engine: AsyncEngine, services: Services
) -> None:
    async with engine.begin() as tx:
        test_key = await paying.make_key(tx, account.id, env="test")

    for key in (public_id("key", test_key), public_id("key", new_id()), "nonsense"):
        with pytest.raises(NotFound):
            await set_limits(engine, account, {"day_tokens": 5}, read_scope(key=key))
    with pytest.raises(InvalidRequest):
        read_scope(key=public_id("key", test_key), team="art")
