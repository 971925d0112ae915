"""Prices in force: dated rows in the database, a book of them in memory.

A price is appended as the next version and never changed. Every change counts up the `prices` version in the
same transaction; that row is also the lock under which versions are numbered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, localcontext
from fractions import Fraction

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.pricing import DefaultPrice, Terms, default_terms, quote, with_price
from imagegate.catalogue.tables import prices, versions
from imagegate.domain import Model, Quote, Size
from imagegate.errors import OperatorError, Unpriced
from imagegate.settings import Settings

PRICES = "prices"


@dataclass(frozen=True, slots=True)
class Price:
    """One version of a model's price. terms None: it has ended, the model cannot be bought."""

    model: str
    version: int
    terms: Terms | None
    source: str
    source_date: date | None
    reason: str
    actor: str
    rate: Decimal | None
    valid_from: datetime

    def quote(self, *, model: str, size: Size, quality: str | None, n: int) -> Quote:
        """The price of one request for `model`, which may be a retired one that this price stands in for."""
        if self.terms is None:
            raise Unpriced(no_price(model))
        return quote(self.terms, model=model, price_version=self.version, size=size, quality=quality, n=n)


class PriceBook:
    """The prices in force, in memory. Whoever holds it brings it up to date with `replace`."""

    def __init__(self, current: Mapping[str, Price] | None = None) -> None:
        self._current: Mapping[str, Price] = dict(current or {})

    @property
    def current(self) -> Mapping[str, Price]:
        return self._current

    def replace(self, current: Mapping[str, Price]) -> None:
        self._current = dict(current)

    def find(self, model: Model, catalogue: Catalogue) -> Price:
        """The model's own price; a retired model without one costs what its successor costs. Raises Unpriced.

        An ended price is a price: a retired model whose own has ended does not fall to its successor.
        """
        entry = catalogue.entries[model.id]
        price = self._current.get(entry.model.id)
        while price is None and entry.retired and entry.model.successor:
            entry = catalogue.entries[entry.model.successor]
            price = self._current.get(entry.model.id)
        if price is None or price.terms is None:
            raise Unpriced(no_price(model.id))
        return price


def no_price(model: str) -> str:
    return f"{model} has no price, so it cannot be used. Its operator can set one. Nothing was charged."


async def seed(connection: AsyncConnection, catalogue: Catalogue, settings: Settings) -> int:
    """Give every model that never had a price its default; returns how many. The caller owns the transaction.

    Seeded prices are never rewritten, whatever becomes of the currency, the rate or the markup.
    """
    defaults = {id_: price for id_, e in catalogue.entries.items() if (price := default_terms(e, settings))}
    known = set((await connection.execute(select(prices.c.model).distinct())).scalars())
    missing = {id_: price for id_, price in defaults.items() if id_ not in known}
    if not missing:
        return 0
    await bump_version(connection, PRICES)
    rows = [seed_row(id_, price) for id_, price in missing.items()]
    statement = insert(prices).values(rows).on_conflict_do_nothing().returning(prices.c.model)
    return len((await connection.execute(statement)).all())


def seed_row(model: str, price: DefaultPrice) -> dict[str, object]:
    return {
        "model": model,
        "version": 1,
        "terms": price.terms.to_json(),
        "source": price.source,
        "source_date": date.fromisoformat(price.source_date) if price.source_date else None,
        "reason": "seeded",
        "actor": "imagegate",
        "rate": decimal_from(price.rate),
    }


def decimal_from(number: Fraction | None) -> Decimal | None:
    if number is None:
        return None
    with localcontext(prec=50):
        return Decimal(number.numerator) / Decimal(number.denominator)


async def load(connection: AsyncConnection) -> dict[str, Price]:
    """The price of each model in force now by the database's clock.

    Read `read_versions` before this, never after: then a change between the two is noticed the next time.
    """
    # Not now(), when this transaction began: a price set since then is visible and must not look future.
    in_force = prices.c.valid_from <= func.clock_timestamp()
    newest_first = select(prices).where(in_force).order_by(prices.c.model, prices.c.version.desc())
    rows = await connection.execute(newest_first.ext(distinct_on(prices.c.model)))
    return {row.model: price_from(row) for row in rows}


async def read_versions(connection: AsyncConnection) -> dict[str, int]:
    """How often each configuration that processes hold in memory has changed."""
    return {row.name: row.n for row in await connection.execute(select(versions))}


async def bump_version(connection: AsyncConnection, name: str) -> int:
    """Count a change of one configuration. Others who change it wait until this transaction ends."""
    statement = insert(versions).values(name=name, n=1)
    counted = statement.on_conflict_do_update(index_elements=[versions.c.name], set_={"n": versions.c.n + 1})
    return int((await connection.execute(counted.returning(versions.c.n))).scalar_one())


async def set_price(
    connection: AsyncConnection,
    model: str,
    size: Size | None,
    quality: str | None,
    tokens: int,
    reason: str,
    actor: str,
) -> Price:
    """Append the next version of a model's price, with one price set as in `with_price`.

    The caller owns the transaction; until it ends every other change of prices waits, so none is lost.
    """
    await bump_version(connection, PRICES)
    latest = await find_latest(connection, model)
    terms = with_price(latest.terms if latest else None, size, quality, tokens)
    return await append(connection, model, latest, terms, reason, actor)


async def end_price(connection: AsyncConnection, model: str, reason: str, actor: str) -> Price:
    """From now on the model has no price and cannot be bought. Raises OperatorError when it has none."""
    await bump_version(connection, PRICES)
    latest = await find_latest(connection, model)
    if latest is None or latest.terms is None:
        raise OperatorError(
            f"{model} has no price of its own that could end. `imagegate prices list` shows all."
        )
    return await append(connection, model, latest, None, reason, actor)


async def find_latest(connection: AsyncConnection, model: str) -> Price | None:
    # A statement of its own after the lock: its snapshot holds what the last holder of the lock committed.
    statement = select(prices).where(prices.c.model == model).order_by(prices.c.version.desc()).limit(1)
    row = (await connection.execute(statement)).one_or_none()
    return price_from(row) if row else None


async def append(
    connection: AsyncConnection,
    model: str,
    latest: Price | None,
    terms: Terms | None,
    reason: str,
    actor: str,
) -> Price:
    row = {
        "model": model,
        "version": latest.version + 1 if latest else 1,
        "terms": terms.to_json() if terms else None,
        "source": "operator",
        "reason": reason,
        "actor": actor,
    }
    result = await connection.execute(insert(prices).values(row).returning(prices))
    return price_from(result.one())


def price_from(row: Row[tuple[object, ...]]) -> Price:
    return Price(
        model=row.model,
        version=row.version,
        terms=Terms.from_json(row.terms) if row.terms is not None else None,
        source=row.source,
        source_date=row.source_date,
        reason=row.reason,
        actor=row.actor,
        rate=row.rate,
        valid_from=row.valid_from,
    )
