"""The lane's own connection: asyncpg itself, since SQLAlchemy's layers cost as much again as a small batch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.settings import Settings

BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""All that a transaction may end with when the database is at fault, or refuses a row."""


class LaneConnection:
    """Kept open between batches. After any failure it is thrown away, which rolls back, and the next is fresh.

    It belongs to the loop that uses it first.
    """

    def __init__(self, engine: AsyncEngine, settings: Settings) -> None:
        _, where = engine.dialect.create_connect_args(engine.url)
        limits = {"timeout": settings.database_timeout_s, "command_timeout": settings.database_timeout_s}
        unnamed = {"statement_cache_size": 0} if settings.database_pooler else {}
        self._options = {**where, **limits, **unnamed}
        self._held: Any = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """An asyncpg connection within BEGIN and COMMIT."""
        try:
            if self._held is None:
                self._held = await asyncpg.connect(**self._options)
            await self._held.execute("BEGIN")
            yield self._held
            await self._held.execute("COMMIT")
        except BaseException:
            held, self._held = self._held, None
            if held is not None:
                held.terminate()
            raise

    async def close(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with suppress(*BROKEN):
                await held.close(timeout=2)


def is_unknown(error: BaseException) -> bool:
    """True when it cannot be told whether the transaction was committed."""
    return not isinstance(error, asyncpg.PostgresError) or sqlstate(error)[:2] in ("", "08", "53", "57", "58")


def sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""
