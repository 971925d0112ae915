"""How the database runs the lane's statements: by their indexes, however few rows there were when it planned them."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import open_engine
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.journal.connection import LaneConnection
from imagegate.journal.items import Abandon
from imagegate.journal.reading import questions, read
from imagegate.journal.statements import FREE_KEYS, READ, apply_statement
from imagegate.services import Services
from imagegate.settings import Settings
from tests.journal.customers import Customer, MakeWorker
from tests.journal.machine_workers import said

COLUMNS = {
    "pk_generations": ("account_id", "env", "id"),
    "uq_generations_idempotency_key": ("account_id", "env", "idempotency_key"),
    "ix_generations_fingerprint": ("account_id", "env", "quarter_hour", "fingerprint"),
    "ix_generations_abandoned": ("account_id", "env", "abandoned_at"),
    "pk_api_keys": ("account_id", "env", "id"),
    "uq_api_keys_id": ("id",),
    "pk_accounts": ("id",),
    "pk_wallets": ("account_id", "env"),
    "pk_limits": ("account_id", "env"),
    "pk_budgets": ("account_id", "env"),
}
"""What each index is asked by: fewer columns, and it would be read in great part."""
CAPTURE = apply_statement(("wallets", "updated", "images", "attempts", "budgets", "transfers"))
OPEN = apply_statement(("wallets", "opened", "budgets"))


async def planned(engine: AsyncEngine, statement: str, types: list[str]) -> list[dict[str, Any]]:
    """All parts of its plan, as the lane would have it planned."""
    lane = LaneConnection(engine)
    async with lane.transaction("BEGIN") as driver:
        await driver.execute(f"PREPARE one ({', '.join(types)}) AS {statement}")
        told = await driver.fetchval(
            f"EXPLAIN (FORMAT json) EXECUTE one ({', '.join(['NULL'] * len(types))})"
        )
        await driver.execute("DEALLOCATE one")
    await lane.close()
    return list(walk(told[0]["Plan"]))


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for part in node.get("Plans", ()):
        yield from walk(part)


OWNERS = ["uuid[]", "text[]"]
READ_TYPES = [*OWNERS, "uuid[]", *OWNERS, *OWNERS, "text[]", *OWNERS]
READ_TYPES += ["bytea[]", "boolean[]", "uuid[]", *OWNERS]


@pytest.fixture(scope="module")
async def young(postgres: EmbeddedPostgres, settings: Settings) -> AsyncIterator[AsyncEngine]:
    """A database that nothing was ever written to."""
    owner, app = postgres.create_database("statements")
    upgrade(owner, lambda line: None)
    made = open_engine(app, settings)
    yield made
    await made.dispose()


@pytest.mark.parametrize(
    ("statement", "types"),
    [
        pytest.param(READ, READ_TYPES, id="read"),
        pytest.param(FREE_KEYS, ["uuid[]", "text[]", "uuid[]"], id="free keys"),
        pytest.param(OPEN, ["text"] * 3 + ["bigint"], id="open"),
        pytest.param(CAPTURE, ["text"] * 6 + ["bigint"], id="capture"),
    ],
)
async def test_every_table_is_asked_by_all_columns_of_an_index(
    young: AsyncEngine, statement: str, types: list[str]
) -> None:
    assert len(questions([])) == len(READ_TYPES)
    nodes = await planned(young, statement, types)

    kinds = {node["Node Type"] for node in nodes}
    assert not kinds & {"Seq Scan", "Hash Join", "Merge Join"}
    assert ("Index Scan" in kinds) is ("WHERE" in statement)
    for node in nodes:
        if name := node.get("Index Name"):
            assert [column for column in COLUMNS[name] if column not in node.get("Index Cond", "")] == [], (
                node
            )


async def test_callers_who_left_do_not_make_the_batches_of_others_longer(
    services: Services, customer: Customer, worker: MakeWorker
) -> None:
    """In an outage hundreds leave within minutes. What they left is read for those alone who ask the same."""
    here = worker()
    left = [customer.wanted(here, 1) for _ in range(20)]
    for item in left:
        assert (await said(here.journal.open(item)))[0] == "held"
        gone = Abandon(item.account_id, "live", item.generation_id)
        assert await said(here.journal.change(gone, patience_s=5)) == ("done",)
    again = customer.wanted(here, 1, fingerprint=left[3].fingerprint)

    lane = LaneConnection(services.engine)
    async with lane.transaction("BEGIN") as driver:
        other = await read(driver, [customer.wanted(here, 1)])
        keyed = await read(driver, [replace(again, idempotency_key="order")])
        equal = await read(driver, [again])
    await lane.close()

    assert [len(books.generations) for books in (other, keyed, equal)] == [0, 0, 1]
    assert list(equal.generations) == [left[3].generation_id]
    assert {*other.left, *keyed.left, *equal.left} == {(customer.account.id, "live")}
    for books in (other, keyed, equal):
        (told,) = books.left.values()
        assert sorted(told) == sorted(item.fingerprint for item in left)
