"""Usage from sums is usage from rows, whatever happens late, and however many make the sums at once."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import open_engine
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.generation import rollup
from imagegate.generation.usage import (
    BUCKETS,
    DIMENSIONS,
    Bucket,
    Dimension,
    Usage,
    Wanted,
    read_latest,
    read_usage,
)
from imagegate.generation.usage_series import read_series
from imagegate.identity import keys
from imagegate.identity.keys import Labels
from imagegate.ids import new_id
from imagegate.journal import purging
from imagegate.ledger import wallets
from imagegate.settings import Settings

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEW = text(
    """
    INSERT INTO generations (account_id, env, id, key_id, app_id, idempotency_key, state, epoch, expires_at,
        hold_tokens, model, price_version, quote, request, created_at)
    VALUES (:account, :env, :id, :key, :app, :idempotency_key, 'running', 1, now(), 1000, :model, 1,
        jsonb_build_object('n', 3, 'size', CAST(:size AS text), 'quality', CAST(:quality AS text)),
        jsonb_build_object('prompt', 'a hill', 'user', CAST(:user AS text)), :at)
    """
)
END = text(
    """
    UPDATE generations SET state = :state, outcome = :outcome, settled_at = now(), answer_code = :code,
        charged_tokens = CAST(:charged AS bigint),
        billed = CASE WHEN CAST(:charged AS bigint) > 0 THEN jsonb_build_object('count', 3) END
    WHERE id = :id
    """
)
REOPEN = text(
    "UPDATE generations SET state = 'running', outcome = NULL, settled_at = NULL, epoch = epoch + 1 WHERE id = :id"
)
TRY = text(
    """
    INSERT INTO attempts (account_id, env, generation_id, epoch, seq, provider, offering, class, images, cost_usd,
        at_risk_usd, started_at, ms)
    SELECT account_id, env, id, epoch, :seq, :provider, 'm', :class, :images, :cost, :risk, now(), 9
    FROM generations WHERE id = :id
    """
)


@dataclass
class Shop:
    """Two accounts with keys in two teams, and generations that are still open, by id."""

    engine: AsyncEngine
    keys: list[tuple[UUID, str, UUID, str | None]]
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    open: list[UUID] = field(default_factory=list)
    lost: list[UUID] = field(default_factory=list)

    async def begin(self, at: datetime, **more: Any) -> UUID:
        account, env, key, app = self.chance.choice(self.keys)
        id_ = id_of(at)
        row = {
            "id": id_,
            "account": account,
            "env": env,
            "key": key,
            "app": app,
            "model": self.chance.choice(("m1", "m2")),
            "size": self.chance.choice(("512x512", "1024x1024")),
            "quality": self.chance.choice(("high", None)),
            "user": self.chance.choice(("ada", None)),
            "idempotency_key": None,
            "at": at,
        }
        async with self.engine.begin() as tx:
            await tx.execute(NEW, row | more)
        self.open.append(id_)
        return id_

    async def end(self, id_: UUID, how: str) -> None:
        """how: captured, failed, cancelled or lost."""
        self.open.remove(id_)
        captured = how == "captured"
        named = {"captured": None, "lost": "lost"}
        row = {
            "id": id_,
            "state": "captured" if captured else "voided",
            "outcome": named.get(how, "final"),
            "charged": 1000 if captured else 0,
            "code": how if how == "cancelled" else None,
        }
        async with self.engine.begin() as tx:
            await tx.execute(END, row)
            first = {"id": id_, "seq": 0, "provider": "p1", "class": "REFUSED_UNBILLED", "images": 0}
            await tx.execute(TRY, {**first, "cost": None, "risk": self.chance.choice((None, 1))})
            for seq, images in ((1, 1), (2, 2)) if captured else ():
                made = {
                    "provider": f"p{seq}",
                    "class": "DELIVERED",
                    "images": images,
                    "cost": images,
                    "risk": None,
                }
                await tx.execute(TRY, {"id": id_, "seq": seq, **made})
        if how == "lost":
            self.lost.append(id_)

    async def reopen(self, id_: UUID) -> None:
        self.lost.remove(id_)
        async with self.engine.begin() as tx:
            await tx.execute(REOPEN, {"id": id_})
        self.open.append(id_)


def id_of(at: datetime) -> UUID:
    """As it is made at that moment: ids are in the order of time."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | new_id().int & (1 << 80) - 1)


@pytest.fixture(scope="module")
async def database(postgres: EmbeddedPostgres, settings: Settings) -> AsyncIterator[AsyncEngine]:
    owner, app = postgres.create_database("rollup")
    await asyncio.to_thread(upgrade, owner, lambda line: None)
    engine = open_engine(app, settings)
    yield engine
    await engine.dispose()


@pytest.fixture
async def shop(database: AsyncEngine) -> Shop:
    """Nothing was made in it yet."""
    made = []
    async with database.begin() as tx:
        for table in ("attempts", "generations", "usage_hours", "usage_days", "usage_reach"):
            await tx.execute(text(f"DELETE FROM {table}"))
        for _ in range(2):
            account = await keys.create_account(tx, f"account-{new_id().hex}")
            await wallets.create_wallets(tx, account)
            for env, team, app in (("live", "blue", "web"), ("live", None, None), ("test", "blue", "web")):
                key, _ = await keys.create_key(tx, b"pepper" * 6, account, env, Labels(team, app, None), None)
                made.append((account, env, key, app))
    return Shop(database, made)


def questions(shop: Shop, now: datetime) -> list[Wanted]:
    """Every dimension and bucket, of everybody and of one, with ends in the middle of hours and at their beginnings."""
    spans = (
        (now - 5 * DAY, now),
        (now - 50 * HOUR - timedelta(minutes=17), now - 2 * HOUR - timedelta(minutes=3)),
    )
    sides = ((None, "live"), (shop.keys[0][0], "live"), (None, None))
    groups: list[tuple[Dimension, ...]] = [(), *((name,) for name in DIMENSIONS), ("model", "size")]
    asked = [
        Wanted(since, until, by, bucket, account, env)
        for account, env in sides
        for since, until in spans
        for by in groups
        for bucket in BUCKETS
    ]
    return asked[:33] + asked[33::4]


async def from_rows(engine: AsyncEngine, wanted: Sequence[Wanted]) -> list[list[Usage]]:
    async with engine.connect() as connection:
        await connection.execute(text("DELETE FROM usage_reach"))
        found = [await read_usage(connection, one) for one in wanted]
        await connection.rollback()
    return found


async def from_sums(engine: AsyncEngine, wanted: Sequence[Wanted]) -> list[list[Usage]]:
    async with engine.connect() as connection:
        return [await read_usage(connection, one) for one in wanted]


async def reached(engine: AsyncEngine) -> datetime:
    reach = await rollup.read_reach(engine)
    assert reach is not None
    return reach


async def close_all(engine: AsyncEngine) -> int:
    closed = 0
    while step := await rollup.close_due(engine):
        closed += step
    return closed


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


async def test_sums_are_what_the_rows_say_by_every_dimension(shop: Shop) -> None:
    for number in range(60):
        id_ = await shop.begin(hours_ago(96 - 1.5 * number))
        await shop.end(id_, ("captured", "captured", "failed", "cancelled", "lost")[number % 5])
    wanted = questions(shop, datetime.now(UTC))
    before = await from_rows(shop.engine, wanted)

    closed = await close_all(shop.engine)

    assert closed >= 94
    assert await from_sums(shop.engine, wanted) == before
    async with shop.engine.begin() as tx:  # so it is the sums that tell it
        await tx.execute(text("UPDATE usage_hours SET generations = generations + 1000"))
        await tx.execute(text("UPDATE usage_days SET generations = generations + 1000"))
    changed = [now != then for now, then in zip(await from_sums(shop.engine, wanted), before, strict=True)]
    assert sum(changed) > len(changed) / 2


async def test_an_hour_waits_for_what_is_open_in_it(shop: Shop) -> None:
    late = await shop.begin(hours_ago(40))
    await shop.end(await shop.begin(hours_ago(39)), "captured")
    await close_all(shop.engine)
    waiting = await reached(shop.engine)

    await shop.end(late, "captured")
    await close_all(shop.engine)

    assert waiting <= hours_ago(40) < waiting + HOUR
    assert await reached(shop.engine) > hours_ago(2)
    wanted = questions(shop, datetime.now(UTC))
    assert await from_sums(shop.engine, wanted) == await from_rows(shop.engine, wanted)


@pytest.mark.parametrize(("hours", "key", "waits"), [(20, "k", True), (30, "k", False), (20, None, False)])
async def test_what_was_lost_is_awaited_while_it_may_run_again(
    shop: Shop, hours: int, key: str | None, waits: bool
) -> None:
    lost = await shop.begin(hours_ago(hours), idempotency_key=key)
    await shop.end(lost, "lost")

    await close_all(shop.engine)

    assert (await reached(shop.engine) <= hours_ago(hours)) == waits


async def test_nothing_is_closed_that_a_running_transaction_may_still_write(shop: Shop) -> None:
    async with shop.engine.begin() as writer:
        began = (await writer.execute(text("SELECT now()"))).scalar_one()
        async with shop.engine.begin() as tx:
            during = await rollup.find_horizon(tx, timedelta(0))
    async with shop.engine.begin() as tx:
        after = await rollup.find_horizon(tx, timedelta(0))

    assert during <= began < after


async def test_many_who_close_at_once_close_each_hour_once(shop: Shop) -> None:
    for number in range(30):
        await shop.end(await shop.begin(hours_ago(3 + 3 * number)), "captured")
    wanted = questions(shop, datetime.now(UTC))
    before = await from_rows(shop.engine, wanted)

    async def look() -> None:
        for _ in range(3):
            assert await from_sums(shop.engine, wanted[::7]) == before[::7]

    await asyncio.gather(close_all(shop.engine), close_all(shop.engine), close_all(shop.engine), look())
    await asyncio.gather(rollup.rebuild(shop.engine), rollup.rebuild(shop.engine), look())

    assert await from_sums(shop.engine, wanted) == before


async def test_sums_are_made_anew_from_the_rows(shop: Shop) -> None:
    for number in range(20):
        await shop.end(await shop.begin(hours_ago(3 + 4 * number)), "captured")
    await close_all(shop.engine)
    async with shop.engine.begin() as tx:
        await tx.execute(text("UPDATE usage_hours SET images = images + 1"))
        await tx.execute(text("DELETE FROM usage_days WHERE value = 'm1'"))
    await shop.end(await shop.begin(hours_ago(110)), "captured")  # older than all, as from a backup

    hours = await rollup.rebuild(shop.engine)

    wanted = questions(shop, datetime.now(UTC))
    assert hours >= 107
    assert await from_sums(shop.engine, wanted) == await from_rows(shop.engine, wanted)


async def test_sums_outlive_their_rows(shop: Shop) -> None:
    for number in range(10):
        await shop.end(await shop.begin(hours_ago(3 + 8 * number)), "captured")
    await close_all(shop.engine)
    wanted = [Wanted(hours_ago(200), datetime.now(UTC), ("model",), bucket) for bucket in BUCKETS]
    before = await from_sums(shop.engine, wanted)

    async with shop.engine.begin() as tx:
        old = {"until": (datetime.now(UTC) - 2 * DAY).replace(hour=0, minute=0, second=0, microsecond=0)}
        await tx.execute(text("DELETE FROM generations WHERE created_at < :until"), old)
    await rollup.rebuild(shop.engine)

    assert await from_sums(shop.engine, wanted) == before


async def test_a_purge_changes_no_sum_but_takes_the_user(shop: Shop) -> None:
    id_ = await shop.begin(hours_ago(30), user="ada")
    await shop.end(id_, "captured")
    await close_all(shop.engine)
    owner = await owner_of(shop, id_)
    groups: tuple[tuple[Dimension, ...], ...] = (("user",), ("model",))
    wanted = [Wanted(hours_ago(90), datetime.now(UTC), by) for by in groups]
    (users, models) = await from_sums(shop.engine, wanted)

    async with shop.engine.begin() as tx:
        await purging.mark(tx, *owner)

    (nobody, same) = await from_sums(shop.engine, wanted)
    assert ([one.values for one in users], [one.values for one in nobody]) == ([("ada",)], [(None,)])
    assert same == models


async def owner_of(shop: Shop, id_: UUID) -> tuple[UUID, str, UUID]:
    async with shop.engine.connect() as connection:
        found = await connection.execute(
            text("SELECT account_id, env FROM generations WHERE id = :id"), {"id": id_}
        )
        account, env = found.one()
    return account, env, id_


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 6))])
async def test_usage_is_right_at_every_moment_of_any_history(shop: Shop, seed: int) -> None:
    chance = shop.chance = random.Random(seed)
    wanted = questions(shop, datetime.now(UTC))
    for number in range(40):
        match chance.choice(("begin", "begin", "end", "end", "reopen", "close")):
            case "begin":
                since = await rollup.read_reach(shop.engine) or hours_ago(100)
                at = since + (datetime.now(UTC) - since) * chance.random() ** 2
                await shop.begin(at, idempotency_key=chance.choice((None, f"k{number}")))
            case "end" if shop.open:
                how = chance.choice(("captured", "captured", "failed", "lost"))
                await shop.end(chance.choice(shop.open), how)
            case "reopen" if again := await retryable(shop):
                await shop.reopen(chance.choice(again))
            case "close":
                await rollup.close_next(shop.engine)
        some = chance.sample(wanted, 2)
        assert await from_sums(shop.engine, some) == await from_rows(shop.engine, some)
    await close_all(shop.engine)
    assert await from_sums(shop.engine, wanted) == await from_rows(shop.engine, wanted)


async def retryable(shop: Shop) -> list[UUID]:
    """As the journal lets a retry run what was lost: under its key, within a day, and three times at most."""
    query = """
        SELECT id FROM generations WHERE outcome = 'lost' AND epoch < 3 AND idempotency_key IS NOT NULL
            AND created_at >= now() - interval '24 hours'
    """
    async with shop.engine.connect() as connection:
        return list((await connection.execute(text(query))).scalars())


async def test_the_last_rows_are_the_end_of_all_rows(shop: Shop) -> None:
    for number in range(40):
        await shop.end(await shop.begin(hours_ago(1 + 2 * number)), "captured")
    await close_all(shop.engine)

    buckets: tuple[Bucket, ...] = ("hour", "day")
    for bucket in buckets:
        wanted = Wanted(hours_ago(100), datetime.now(UTC), ("model",), bucket, None, None)
        async with shop.engine.connect() as connection:
            whole = await read_usage(connection, wanted)
            assert await read_latest(connection, wanted, 5) == whole[-5:]
            assert await read_latest(connection, wanted, 500) == whole


async def test_lines_are_the_rows_of_the_largest_groups_and_the_others_together(shop: Shop) -> None:
    """`None` is a group like any other, also as the largest: most keys have no app."""
    for number in range(36):
        id_ = await shop.begin(hours_ago(100 - 2 * number))
        await shop.end(id_, ("captured", "captured", "failed")[number % 3])
    await close_all(shop.engine)
    dimensions: tuple[Dimension, ...] = ("key", "app", "model")
    for by, most in itertools.product(dimensions, (1, 2, 50)):
        wanted = Wanted(hours_ago(110), datetime.now(UTC), (by,), "day", None, "live")
        async with shop.engine.connect() as connection:
            rows = await read_usage(connection, wanted)
            sums = await read_usage(connection, replace(wanted, bucket="none"))
            series = await read_series(connection, wanted, "images", most)

        assert sorted(series.sums, key=str) == sorted(sums, key=str)
        largest = sorted((row for row in sums if row.images), key=lambda row: -row.images)[:most]
        named = {row.values for row in series.lines if row.values}
        assert sorted(sum(row.images for row in sums if row.values == values) for values in named) == sorted(
            row.images for row in largest
        )
        assert [row for row in series.lines if row.values] == sorted(
            (row for row in rows if row.values in named), key=place_of(series.lines)
        )
        rest = [row for row in series.lines if not row.values]
        for row in rest:
            alike = [one for one in rows if one.at == row.at and one.values not in named]
            assert row.images == sum(one.images for one in alike)
            assert row.cost_usd == sum(one.cost_usd for one in alike)
        assert sum(row.generations for row in series.lines) == sum(row.generations for row in rows) > 0
        assert series.lines[len(series.lines) - len(rest) :] == rest


def place_of(lines: Sequence[Usage]) -> Callable[[Usage], Any]:
    """Groups as they stand in the lines, each in the order of time."""
    groups = list(dict.fromkeys(row.values for row in lines))
    return lambda row: (groups.index(row.values), row.at)
