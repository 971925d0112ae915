"""Prices that begin at a later moment: by the database's clock, and noticed by whoever holds prices in memory."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.catalogue.prices import (
    PRICES,
    Note,
    Price,
    append,
    bump_version,
    find_in_force,
    list_versions,
    load,
    load_coming,
    read_versions,
    set_price,
)
from imagegate.catalogue.terms import PerToken, Terms
from imagegate.domain import Size, UsageRates
from imagegate.errors import OperatorError

SQUARE, WIDE = Size(1024, 1024), Size(1536, 1024)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def model() -> str:
    return f"acme/{uuid4().hex}"


async def write(engine: AsyncEngine, model: str, tokens: int, valid_from: datetime | None = None) -> Price:
    async with engine.begin() as tx:
        await bump_version(tx, PRICES)
        note = Note("a test", "tester", valid_from=valid_from)
        return (await append(tx, {model: Terms({(None, None): tokens})}, note))[0]


async def in_force(connection: AsyncConnection, model: str) -> int:
    price = (await load(connection))[model]
    return price.quote(model=model, size=SQUARE, quality=None, n=1).hold_tokens


async def until_begun(connection: AsyncConnection, price: Price) -> None:
    async with asyncio.timeout(10):
        while (await load(connection))[price.model].version != price.version:
            await asyncio.sleep(0.01)


async def test_a_dated_price_takes_force_when_its_moment_comes_and_the_counter_tells(
    engine: AsyncEngine, model: str
) -> None:
    await write(engine, model, 5)
    async with engine.connect() as connection:
        soon = (
            await connection.execute(select(func.clock_timestamp() + timedelta(seconds=0.5)))
        ).scalar_one()
        price = await write(engine, model, 6, soon)
        counted = (await read_versions(connection))[PRICES]

        assert await in_force(connection, model) == 5
        assert price in await load_coming(connection)

        await until_begun(connection, price)
        assert (await read_versions(connection))[PRICES] == counted + 1
        assert await in_force(connection, model) == 6
        assert price not in await load_coming(connection)


async def test_a_change_for_now_does_not_take_the_dated_one_for_the_present(
    engine: AsyncEngine, model: str
) -> None:
    await write(engine, model, 5)
    dated = await write(engine, model, 6, TOMORROW)

    async with engine.begin() as tx:
        now = await set_price(tx, model, SQUARE, None, 7, "a test", "tester")

    assert (dated.version, now.version) == (2, 3)
    assert now.terms == Terms({(None, None): 5, (SQUARE, None): 7})
    async with engine.connect() as connection:
        assert (await load(connection))[model] == now
        assert (await load(connection, TOMORROW))[model] == dated
        assert await find_in_force(connection, model, TOMORROW) == dated
        assert [price.version for price in await list_versions(connection, model)] == [3, 2, 1]


async def test_of_two_that_begin_at_one_moment_the_later_version_counts(
    engine: AsyncEngine, model: str
) -> None:
    await write(engine, model, 5, TOMORROW)
    corrected = await write(engine, model, 6, TOMORROW)

    async with engine.connect() as connection:
        assert await find_in_force(connection, model) is None
        assert await find_in_force(connection, model, TOMORROW) == corrected


async def test_a_price_cannot_begin_in_the_past(engine: AsyncEngine, model: str) -> None:
    with pytest.raises(OperatorError, match="past"):
        await write(engine, model, 5, datetime.now(UTC) - timedelta(seconds=5))

    async with engine.connect() as connection:
        assert await list_versions(connection, model) == []


async def test_a_price_that_waited_for_another_begins_after_it(engine: AsyncEngine, model: str) -> None:
    async with engine.connect() as early, early.begin():
        await early.execute(select(func.now()))  # its transaction is the older one
        await write(engine, model, 5)
        await bump_version(early, PRICES)
        last = (await append(early, {model: Terms({(None, None): 6})}, Note("a test", "tester")))[0]
        await early.commit()

    async with engine.connect() as connection:
        assert (await load(connection))[model] == last


async def test_a_price_by_usage_survives_the_database(engine: AsyncEngine, model: str) -> None:
    usage = PerToken(UsageRates(5, 8, 30), {(SQUARE, "high"): 4_160, (WIDE, None): 6_240}, 1_000, 500)
    terms = Terms({}, None, "token", usage)

    async with engine.begin() as tx:
        await append(tx, {model: terms}, Note("a test", "tester"))

    async with engine.connect() as connection:
        assert (await load(connection))[model].terms == terms
