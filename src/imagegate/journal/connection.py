"""The journal's own connection: asyncpg itself, since SQLAlchemy's layers cost as much again as a small batch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.db.base import LOST, READ_ONLY, is_gone

BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, *LOST)
"""All that a transaction may end with when the database is at fault, or refuses a row."""


TUNED = (
    "SET plan_cache_mode = force_generic_plan; SET jit = off; "
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
)
"""The lane's statements are planned once, and by their indexes: planning took longer than running them."""
PLANNED_FOR = 256
"""Batches, after which they are planned anew. A plan made while a table was empty may read all of it, and the database
itself looks again a minute later at the earliest."""


class NotCommitted(Exception):
    """The connection broke before COMMIT was sent: nothing of the transaction is there."""


class LaneConnection:
    """Kept open between batches. After any failure it is thrown away, which rolls back, and the next is fresh."""

    def __init__(self, engine: AsyncEngine, *, tuned: bool = True) -> None:
        """tuned: whether the session is ours to set; behind a transaction pooler it is not."""
        self._engine = engine
        self._tuned = tuned
        self._held: AsyncConnection | None = None
        self._batches = 0

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncIterator[Any]:
        """An asyncpg connection between `begin`, a script that begins a transaction, and COMMIT.

        Raises NotCommitted, or one of BROKEN: then see `is_unknown`.
        """
        committing = False
        try:
            driver = await self._driver()
            await driver.execute(begin)
            yield driver
            committing = True
            await driver.execute("COMMIT")
        except BaseException as error:
            await self.close(broken=True)
            if not committing and isinstance(error, BROKEN) and is_unknown(error):
                raise NotCommitted from error
            raise

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Any]:
        """An asyncpg connection for one statement, which is a transaction by itself: one round trip."""
        try:
            yield await self._driver()
        except (asyncpg.DivisionByZeroError, asyncpg.UniqueViolationError):
            raise  # rolled back, and the session is sound
        except BaseException:
            await self.close(broken=True)
            raise

    async def _driver(self) -> Any:
        self._batches += 1
        if self._held is None:
            self._held = await self._engine.connect()
            self._batches = 0
        driver: Any = (await self._held.get_raw_connection()).driver_connection
        if self._tuned and self._batches % PLANNED_FOR == 0:
            await driver.execute("DISCARD PLANS" if self._batches else TUNED)
        return driver

    async def close(self, *, broken: bool = False) -> None:
        held, self._held = self._held, None
        if held is not None:
            with suppress(*BROKEN):
                if broken:
                    await held.invalidate()
                await held.close()


def is_unknown(error: BaseException) -> bool:
    """True when it cannot be told whether the transaction was committed; or the server takes no writes for now."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state[:2] in ("", "08", "57", "53", "58") or state == READ_ONLY
    if isinstance(error, asyncpg.InterfaceError):
        return True
    return is_gone(error) or isinstance(error, SQLAlchemyError)


def sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""
