"""Price rows on real PostgreSQL: appended, dated, counted, and never lost to a rival.

The database is shared with running gateways, so each test prices models of its own and leaves others alone.
"""

import asyncio
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.catalogue.catalogue import Catalogue, load_catalogue
from imagegate.catalogue.entries import Entry
from imagegate.catalogue.prices import (
    Price,
    PriceBook,
    bump_version,
    end_price,
    load,
    read_versions,
    seed,
    set_price,
)
from imagegate.catalogue.pricing import default_terms
from imagegate.catalogue.tables import prices
from imagegate.domain import Size
from imagegate.errors import OperatorError, Unpriced
from imagegate.settings import Settings

PACKAGED = load_catalogue()
USD = Settings(_env_file=None)
TAKA = Settings(
    _env_file=None, currency="BDT", currency_per_usd=Decimal("122.5"), tokens_per_currency_unit=500
)
SQUARE = Size(1024, 1024)
GPT = "openai/gpt-image-2"


class Shop:
    """The packaged catalogue under names that no other test uses."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.tag = f"@{uuid4().hex}"
        entries = {self.id(id_): self.tagged(entry) for id_, entry in PACKAGED.entries.items()}
        models = {id_: entry.model for id_, entry in entries.items()}
        self.catalogue: Catalogue = replace(PACKAGED, entries=entries, models=models)

    def id(self, model: str) -> str:
        return model + self.tag

    def tagged(self, entry: Entry) -> Entry:
        successor = entry.model.successor and self.id(entry.model.successor)
        return replace(entry, model=replace(entry.model, id=self.id(entry.model.id), successor=successor))

    def without(self, model: str) -> Catalogue:
        entries = {id_: entry for id_, entry in self.catalogue.entries.items() if id_ != self.id(model)}
        return replace(self.catalogue, entries=entries)

    async def seed(self, catalogue: Catalogue | None = None, settings: Settings = USD) -> int:
        async with self.engine.begin() as tx:
            return await seed(tx, catalogue or self.catalogue, settings)

    async def change(self, tokens: int, size: Size | None = None, quality: str | None = None) -> Price:
        async with self.engine.begin() as tx:
            return await set_price(tx, self.id(GPT), size, quality, tokens, "a test", "tester")

    async def end(self) -> Price:
        async with self.engine.begin() as tx:
            return await end_price(tx, self.id(GPT), "too dear", "tester")

    async def current(self) -> dict[str, Price]:
        """By packaged id."""
        async with self.engine.connect() as connection:
            found = await load(connection)
        return {id_.removesuffix(self.tag): price for id_, price in found.items() if id_.endswith(self.tag)}

    async def count(self) -> int:
        async with self.engine.connect() as connection:
            return (await read_versions(connection)).get("prices", 0)

    def find(self, current: dict[str, Price], model: str) -> Price:
        book = PriceBook({self.id(id_): price for id_, price in current.items()})
        return book.find(self.catalogue.models[self.id(model)], self.catalogue)


@pytest.fixture
def shop(engine: AsyncEngine) -> Shop:
    return Shop(engine)


def tokens_of(price: Price, quality: str | None = None, size: Size = SQUARE, n: int = 1) -> int:
    return price.quote(model="any", size=size, quality=quality, n=n).hold_tokens


async def until_somebody_waits(engine: AsyncEngine) -> None:
    """Until one session of this database waits for another's row."""
    sessions = "pg_stat_activity WHERE datname = current_database()"
    waiting = text(f"SELECT count(*) FROM {sessions} AND wait_event_type = 'Lock'")
    async with engine.connect() as connection, asyncio.timeout(10):
        while (await connection.execute(waiting)).scalar_one() == 0:
            await connection.rollback()  # a transaction sees one state of the statistics


async def test_seeding_prices_every_model_once(shop: Shop) -> None:
    expected = {id_ for id_, entry in PACKAGED.entries.items() if default_terms(entry, USD)}
    counted = await shop.count()

    first, second = await shop.seed(), await shop.seed()

    found = await shop.current()
    assert (first, second) == (len(expected), 0)
    assert set(found) == expected
    assert {price.version for price in found.values()} == {1}
    assert await shop.count() == counted + 1
    assert tokens_of(found["openai/dall-e-3"], "high", n=2) == 160_000
    assert (found["openai/dall-e-3"].rate, found[GPT].rate) == (None, Decimal(1_000_000))
    assert found[GPT].source_date is not None


async def test_another_currency_after_seeding_rewrites_no_price(shop: Shop) -> None:
    await shop.seed(shop.without("google/gemini-3-pro-image"))
    before = await shop.current()

    assert await shop.seed(settings=TAKA) == 1

    after = await shop.current()
    assert after.pop("google/gemini-3-pro-image").rate == Decimal(61_250)
    assert after == before


async def test_processes_that_seed_at_once_make_one_set_of_rows(shop: Shop) -> None:
    counts = await asyncio.gather(*(shop.seed() for _ in range(4)))

    assert sum(counts) == len(await shop.current())


async def test_a_price_is_appended_and_the_old_one_kept(shop: Shop) -> None:
    await shop.seed()
    old = (await shop.current())[GPT]

    new = await shop.change(9, SQUARE, "high")

    assert (await shop.current())[GPT] == new
    assert (new.version, new.reason, new.actor, new.source) == (2, "a test", "tester", "operator")
    assert (tokens_of(new, "high"), tokens_of(new, "low")) == (9, 6_000)
    async with shop.engine.connect() as connection:
        rows = (await connection.execute(select(prices).where(prices.c.model == shop.id(GPT)))).all()
    assert old.terms
    assert {row.version: row.terms for row in rows}[1] == old.terms.to_json()


async def test_rivals_who_set_different_cells_lose_none(shop: Shop) -> None:
    widths = range(100, 120)
    counted = await shop.count()

    set_ = await asyncio.gather(*(shop.change(width, Size(width, width)) for width in widths))

    last = (await shop.current())[GPT]
    assert sorted(price.version for price in set_) == list(range(1, 21))
    assert last.terms
    assert last.terms.cells == {(Size(width, width), None): width for width in widths}
    assert await shop.count() == counted + 20


async def test_a_change_that_is_rolled_back_leaves_no_trace(shop: Shop) -> None:
    await shop.change(5)
    counted = await shop.count()

    async with shop.engine.connect() as connection:
        await set_price(connection, shop.id(GPT), None, None, 6, "a test", "tester")
        await connection.rollback()

    assert tokens_of((await shop.current())[GPT]) == 5
    assert await shop.count() == counted


async def test_seeding_beside_an_operator_who_sets_a_price_keeps_the_operators(shop: Shop) -> None:
    async with shop.engine.connect() as operator:
        await set_price(operator, shop.id(GPT), None, None, 5, "a test", "tester")
        seeding = asyncio.ensure_future(shop.seed())
        await until_somebody_waits(shop.engine)
        await operator.commit()
        await seeding

    assert tokens_of((await shop.current())[GPT], "low") == 5


async def test_an_operator_beside_a_seeding_process_builds_on_the_seed(shop: Shop) -> None:
    async with shop.engine.connect() as starting:
        await seed(starting, shop.catalogue, USD)
        setting = asyncio.ensure_future(shop.change(9, SQUARE, "high"))
        await until_somebody_waits(shop.engine)
        await starting.commit()
        price = await setting

    assert price.version == 2
    assert tokens_of(price, "low") == 6_000


async def test_an_ended_price_refuses_until_one_is_set_again(shop: Shop) -> None:
    await shop.change(5)

    ended = await shop.end()

    assert (ended.version, ended.terms) == (2, None)
    with pytest.raises(Unpriced):
        shop.find(await shop.current(), GPT)
    with pytest.raises(Unpriced):
        tokens_of(ended)
    again = await shop.change(6, SQUARE)
    assert again.version == 3
    assert shop.find(await shop.current(), GPT) == again


async def test_an_ended_price_is_not_seeded_again(shop: Shop) -> None:
    await shop.change(5)
    await shop.end()

    await shop.seed()

    assert (await shop.current())[GPT].terms is None


async def test_a_price_that_is_not_there_cannot_end(shop: Shop) -> None:
    with pytest.raises(OperatorError, match=GPT):
        await shop.end()


async def test_a_retired_model_costs_what_its_successor_costs_unless_it_has_a_price(shop: Shop) -> None:
    await shop.seed()
    current = await shop.current()

    assert shop.find(current, "openai/gpt-image-1") == current["openai/gpt-image-2.5-flare"]
    assert tokens_of(shop.find(current, "black-forest-labs/flux-1.1-pro")) == 40_000
    assert shop.find(current, "openai/dall-e-3") == current["openai/dall-e-3"]
    assert shop.find(current, "openai/gpt-image-1.5") == current["openai/gpt-image-1.5"]
    with pytest.raises(Unpriced, match="qwen-image-3-pro"):
        shop.find(current, "qwen/qwen-image-3-pro")


async def test_a_live_model_without_a_price_does_not_fall_to_its_successor(shop: Shop) -> None:
    await shop.seed(shop.without("openai/gpt-image-1.5"))

    with pytest.raises(Unpriced):
        shop.find(await shop.current(), "openai/gpt-image-1.5")


async def test_a_book_that_is_replaced_forgets_the_old_prices(shop: Shop) -> None:
    model = shop.catalogue.models[shop.id(GPT)]
    book = PriceBook({model.id: await shop.change(5)})
    book.replace({})

    with pytest.raises(Unpriced):
        book.find(model, shop.catalogue)


async def test_a_price_of_tomorrow_is_not_in_force(shop: Shop) -> None:
    price = await shop.change(5)
    row = {"model": price.model, "version": 2, "terms": None, "source": "s", "reason": "r", "actor": "a"}
    async with shop.engine.begin() as tx:
        tomorrow = func.now() + text("interval '1 day'")
        await tx.execute(prices.insert().values(**row, valid_from=tomorrow))

    assert (await shop.current())[GPT] == price


async def test_a_price_set_during_a_long_transaction_is_seen_by_it(shop: Shop) -> None:
    async with shop.engine.connect() as connection:
        counted = (await read_versions(connection)).get("prices", 0)
        price = await shop.change(5)

        assert (await read_versions(connection))["prices"] == counted + 1
        assert (await load(connection))[shop.id(GPT)] == price


async def test_counters_are_kept_by_name(shop: Shop) -> None:
    one, other = f"one{shop.tag}", f"other{shop.tag}"

    async with shop.engine.begin() as tx:
        assert [await bump_version(tx, name) for name in (one, one, other)] == [1, 2, 1]
        counters = await read_versions(tx)

    assert (counters[one], counters[other]) == (2, 1)


@pytest.mark.parametrize("fault", [{"version": 0}, {"terms": [1]}])
async def test_the_database_refuses_a_row_that_is_no_price(shop: Shop, fault: dict[str, object]) -> None:
    row = {"model": shop.id(GPT), "version": 1, "terms": {}, "source": "s", "reason": "r", "actor": "a"}

    async with shop.engine.connect() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(prices.insert().values(**{**row, **fault}))
