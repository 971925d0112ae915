"""What the errors of a lost connection mean for the journal."""

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import is_gone
from imagegate.errors import BillingUnavailable
from imagegate.journal.connection import BROKEN, PLANNED_FOR, LaneConnection, NotCommitted, is_unknown
from imagegate.web.outages import OUTAGES, outage

IN_THE_MIDDLE = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")


@pytest.mark.parametrize(
    "error",
    [
        IN_THE_MIDDLE,
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.InterfaceError(""),
        ConnectionResetError(),
    ],
)
def test_a_connection_that_broke_leaves_it_open_whether_it_was_committed(error: Exception) -> None:
    assert isinstance(error, BROKEN)
    assert is_unknown(error)


def test_what_the_driver_says_of_a_connection_that_broke_in_its_work_is_an_outage_for_callers() -> None:
    assert is_gone(IN_THE_MIDDLE)
    assert isinstance(IN_THE_MIDDLE, OUTAGES)
    assert isinstance(outage(IN_THE_MIDDLE), BillingUnavailable)


async def test_a_break_before_the_commit_is_told_as_nothing_committed_and_the_next_batch_has_a_fresh_connection(
    engine: AsyncEngine,
) -> None:
    lane = LaneConnection(engine)

    with pytest.raises(NotCommitted):
        async with lane.transaction("BEGIN"):
            raise IN_THE_MIDDLE
    with pytest.raises(asyncpg.InternalClientError):
        async with lane.alone():
            raise IN_THE_MIDDLE

    async with lane.transaction("BEGIN") as driver:
        assert await driver.fetchval("SELECT 1") == 1
    await lane.close()


async def test_plans_that_were_made_while_a_table_was_empty_do_not_outlive_its_growth(
    engine: AsyncEngine,
) -> None:
    """Vacuumed when it was empty, it is believed to be so: reading all of it seems to cost less than its index."""
    lane = LaneConnection(engine)
    async with lane.alone() as driver:
        await driver.execute("CREATE TEMP TABLE grown (id integer PRIMARY KEY)")
        await driver.execute("VACUUM ANALYZE grown")
        await driver.execute(
            "PREPARE find (integer[]) AS SELECT id FROM grown WHERE id IN (SELECT * FROM unnest($1))"
        )

    async def reads_all() -> bool:
        async with lane.alone() as driver:
            told = await driver.fetch("EXPLAIN EXECUTE find('{7,8}')")
        return not any("Index Cond" in row[0] for row in told)

    assert await reads_all()
    async with lane.alone() as driver:
        await driver.execute("INSERT INTO grown SELECT generate_series(1, 20000)")
    assert await reads_all()
    for _ in range(PLANNED_FOR):
        async with lane.alone():
            pass

    assert not await reads_all()
    await lane.close()
