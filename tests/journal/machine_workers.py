"""Workers that come and go, what their lanes ask of the database, and what they say in the model's words."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from asyncpg import DivisionByZeroError, UniqueViolationError
from pydantic_core import from_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import BudgetExceeded, ImagegateError, InsufficientFunds, Unauthenticated
from imagegate.ids import new_id
from imagegate.journal.connection import LaneConnection
from imagegate.journal.items import Existing, Fenced, Held, Reopened, Settled
from imagegate.journal.journal import Journal
from imagegate.journal.memory import Memory
from tests.journal.machine_model import Said


class Spied:
    """An asyncpg connection whose statements are counted."""

    def __init__(self, driver: Any, counts: Counter[str]) -> None:
        self._driver, self._counts = driver, counts

    async def fetch(self, *asked: Any) -> Any:
        self._counts["statements"] += 1
        return await self._driver.fetch(*asked)

    async def execute(self, *asked: Any) -> Any:
        self._counts["statements"] += 1
        return await self._driver.execute(*asked)


class Counting(LaneConnection):
    """Counts batches: `looked` were read under locks, `bets` had one statement, `lost` of them were read after all.

    broken: what a batch ended with that was no answer.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.counts: Counter[str] = Counter()
        self.broken: list[BaseException] = []
        self.pids: set[int] = set()

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncIterator[Any]:
        self.counts["looked"] += 1
        try:
            async with super().transaction(begin) as driver:
                self.pids.add(driver.get_server_pid())
                yield Spied(driver, self.counts)
        except BaseException as error:
            self.broken.append(error)
            raise

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Any]:
        self.counts["bets"] += 1
        try:
            async with super().alone() as driver:
                yield Spied(driver, self.counts)
        except (DivisionByZeroError, UniqueViolationError):
            self.counts["lost"] += 1
            raise
        except BaseException as error:
            self.broken.append(error)
            raise


class Worker:
    """A process, as far as the ledger can tell: a journal and its lane."""

    def __init__(self, engine: AsyncEngine, *, shared_s: float = 0) -> None:
        self.id = new_id()
        self.memory = Memory(shared_s)
        self.journal = Journal(engine, self.id, memory=self.memory)
        self.connection = Counting(engine)
        self.journal.connection = self.connection
        self.lane = asyncio.create_task(self.journal.run())

    async def crash(self, engine: AsyncEngine) -> None:
        """Gone without a word, and its connection with it."""
        self.lane.cancel()
        with suppress(asyncio.CancelledError):
            await self.lane
        await self.connection.close(broken=True)
        query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(:pids)")
        async with asyncio.timeout(5), engine.connect() as connection:
            while (await connection.execute(query, {"pids": list(self.connection.pids)})).scalar_one():
                await asyncio.sleep(0.002)

    async def close(self) -> None:
        self.journal.close()
        await self.lane


async def said(answer: Coroutine[Any, Any, Any]) -> Said:
    """An answer of the journal as the model says it."""
    try:
        outcome = await answer
    except ImagegateError as error:
        outcome = error
    return said_by(outcome)


def said_by(outcome: Any) -> Said:
    match outcome:
        case None:
            return ("absent",)
        case Held():
            return "held", outcome.available_tokens
        case Reopened():
            version = from_json(outcome.quote)["price_version"]
            return "reopened", outcome.generation_id, outcome.epoch, outcome.hold_tokens, version
        case Existing():
            return "existing", outcome.generation_id, outcome.state
        case Settled():
            return "settled", outcome.available_tokens
        case Fenced():
            return "fenced", outcome.state
        case InsufficientFunds():
            return "insufficient", outcome.needed_tokens, outcome.available_tokens
        case BudgetExceeded():
            return ("over budget",)
        case Unauthenticated():
            return ("refused",)
        case _:
            return (type(outcome).__name__.lower(),)
