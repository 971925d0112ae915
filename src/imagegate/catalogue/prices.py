"""Prices in force: dated rows in the database, a book of them in memory.

A price is appended as the next version and never changed. Every change counts up the `prices` version in the
same transaction; that row is also the lock under which versions are numbered. Of a model's rows the one that began
last is in force, and of two that begin at one moment the higher version; only the database's clock is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Row, Select, func, literal, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.pricing import NO_INPUTS, DefaultPrice, Terms, default_terms, quote, with_price
from imagegate.catalogue.tables import prices, versions
from imagegate.domain import Inputs, Model, Quote, Size
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

    def quote(
        self,
        *,
        model: str,
        size: Size,
        quality: str | None,
        n: int,
        inputs: Inputs = NO_INPUTS,
        previews: int = 0,
    ) -> Quote:
        """The price of one request for `model`, which may be a retired one that this price stands in for."""
        if self.terms is None:
            raise Unpriced(no_price(model))
        return quote(
            self.terms,
            model=model,
            price_version=self.version,
            size=size,
            quality=quality,
            n=n,
            inputs=inputs,
            previews=previews,
        )


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept beside every price that is written.

    rate: tokens per USD, where USD were converted. valid_from: None = at once; else a moment still to come.
    """

    reason: str
    actor: str
    source: str = "operator"
    source_date: date | None = None
    rate: Decimal | None = None
    valid_from: datetime | None = None


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
    known = set((await connection.execute(select(prices.c.model).distinct())).scalars())
    unknown = {id_: entry for id_, entry in catalogue.entries.items() if id_ not in known}
    missing = {id_: price for id_, e in unknown.items() if (price := default_terms(e, settings))}
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


async def load(connection: AsyncConnection, at: datetime | None = None) -> dict[str, Price]:
    """The price of each model in force now by the database's clock, or as it will be at a later moment.

    Read `read_versions` before this, never after: then a change between the two is noticed the next time.
    """
    # Not now(), when this transaction began: a price set since then is visible and must not look future.
    statement = last_begun(prices.c.valid_from <= (at if at else func.clock_timestamp()))
    return {row.model: price_from(row) for row in await connection.execute(statement)}


def last_begun(condition: ColumnElement[bool]) -> Select[Any]:
    """Of each model's rows that meet the condition the one in force."""
    order = (prices.c.model, prices.c.valid_from.desc(), prices.c.version.desc())
    return select(prices).where(condition).order_by(*order).ext(distinct_on(prices.c.model))


async def load_coming(connection: AsyncConnection) -> list[Price]:
    """The prices that are written and not yet in force, in the order of their beginning."""
    coming = select(prices).where(prices.c.valid_from > func.clock_timestamp())
    rows = await connection.execute(coming.order_by(prices.c.valid_from, prices.c.model, prices.c.version))
    return [price_from(row) for row in rows]


async def list_versions(
    connection: AsyncConnection, model: str, limit: int = 200, before: int | None = None
) -> list[Price]:
    """Every price the model ever had or is to have, the newest version first; `before`: only lower versions."""
    statement = select(prices).where(prices.c.model == model).order_by(prices.c.version.desc()).limit(limit)
    if before is not None:
        statement = statement.where(prices.c.version < before)
    return [price_from(row) for row in await connection.execute(statement)]


async def read_versions(connection: AsyncConnection) -> dict[str, int]:
    """How often each configuration that processes hold in memory has changed.

    A price that was written for a later moment counts once when it is written, and again when its moment has come.
    """
    dated = prices.c.valid_from > prices.c.created_at
    begun = prices.c.valid_from <= func.clock_timestamp()
    came = select(func.count()).select_from(prices).where(dated, begun).scalar_subquery()
    statement = select(versions.c.name, versions.c.n, came.label("came"))
    rows = await connection.execute(statement)
    return {row.name: row.n + row.came * (row.name == PRICES) for row in rows}


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
    current = await find_in_force(connection, model)
    terms = with_price(current.terms if current else None, size, quality, tokens)
    return (await append(connection, {model: terms}, Note(reason, actor)))[0]


async def end_price(connection: AsyncConnection, model: str, reason: str, actor: str) -> Price:
    """From now on the model has no price and cannot be bought. Raises OperatorError when it has none."""
    await bump_version(connection, PRICES)
    current = await find_in_force(connection, model)
    if current is None or current.terms is None:
        raise OperatorError(nothing_to_end(model))
    return (await append(connection, {model: None}, Note(reason, actor)))[0]


def nothing_to_end(model: str) -> str:
    return f"{model} has no price of its own that could end. `imagegate prices list` shows all."


async def find_in_force(connection: AsyncConnection, model: str, at: datetime | None = None) -> Price | None:
    """The model's own price now, or as it will be at a later moment. Ask after the lock, never in its statement."""
    # A statement of its own after the lock: its snapshot holds what the last holder of the lock committed.
    begun = prices.c.valid_from <= (at if at else func.clock_timestamp())
    row = (await connection.execute(last_begun((prices.c.model == model) & begun))).one_or_none()
    return price_from(row) if row else None


async def append(connection: AsyncConnection, terms: Mapping[str, Terms | None], note: Note) -> list[Price]:
    """Write the next version of each model's price; terms None: it ends. The caller holds the lock of `bump_version`.

    Raises OperatorError when `note.valid_from` has passed already.
    """
    if note.valid_from is not None and not await is_to_come(connection, note.valid_from):
        raise OperatorError("A price cannot begin in the past. Leave its moment out, and it begins at once.")
    numbered = select(prices.c.model, func.max(prices.c.version).label("last")).group_by(prices.c.model)
    rows = await connection.execute(numbered.where(prices.c.model.in_(list(terms))))
    last = {row.model: row.last for row in rows}
    begins = note.valid_from if note.valid_from else func.statement_timestamp()
    written = []
    for model, its_terms in terms.items():
        row = {
            "model": model,
            "version": last.get(model, 0) + 1,
            "terms": its_terms.to_json() if its_terms else None,
            "source": note.source,
            "source_date": note.source_date,
            "reason": note.reason,
            "actor": note.actor,
            "rate": note.rate,
            # One clock for both, so that only what is dated begins after it was written.
            "valid_from": begins,
            "created_at": func.statement_timestamp(),
        }
        result = await connection.execute(insert(prices).values(row).returning(prices))
        written.append(price_from(result.one()))
    return written


async def is_to_come(connection: AsyncConnection, moment: datetime) -> bool:
    """By the database's clock."""
    asked = select(literal(moment, DateTime(timezone=True)) > func.clock_timestamp())
    return bool((await connection.execute(asked)).scalar_one())


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
