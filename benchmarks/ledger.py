"""The ledger alone: one hot wallet beside many, a sweep, a proof and a preview over a full database.

    python -m benchmarks.ledger                   # about five minutes, with a million generations
    python -m benchmarks.ledger --rows 100000

Everything runs on an embedded PostgreSQL of its own in the temporary directory, with fsync. Figures go to stdout as a
table; a ratio is taken within one run.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from time import perf_counter
from typing import Any
from uuid import UUID

import uvloop
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin.price_preview import preview
from imagegate.admin.price_tools import propose_set
from imagegate.cli.logs import log_to_stderr
from imagegate.db.base import open_engine, snapshot
from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.generation import recovery
from imagegate.identity import keys
from imagegate.ids import new_id
from imagegate.journal.items import Open, Settle
from imagegate.journal.journal import Journal
from imagegate.ledger import wallets
from imagegate.ledger.verify import verify
from imagegate.services import Services, open_services
from imagegate.settings import Settings

SECONDS = 4.0
AT_ONCE = 64
MANY = 1000
PRICE = 5000
Customer = tuple[UUID, UUID]
"""Account and key."""

SEED = (
    """
    INSERT INTO generations (account_id, env, id, key_id, state, epoch, expires_at, hold_tokens, charged_tokens,
        model, price_version, quote, billed, request, result, answer_status, created_at, settled_at)
    SELECT :account, 'live', id(i), :key, 'captured', 1, now(), 5000, 5000, 'imagegate/sandbox', 1,
        '{"unit": "megapixel", "image_tokens": "5000", "n": 1, "size": "256x256", "quality": null, "price_version": 1}',
        '{"unit": "megapixel", "size": "256x256", "quality": null, "count": 1}', '{"prompt": "seed"}', '{}', 200,
        now() - i * interval '0.5 seconds', now() - i * interval '0.5 seconds'
    FROM generate_series(1, :rows) AS i
    """,
    """
    INSERT INTO images (account_id, env, generation_id, idx, object, sha256, bytes, width_px, height_px, mime,
        expires_at)
    SELECT :account, 'live', id(i), 0, 'seed', decode(repeat('00', 32), 'hex'), 4096, 256, 256, 'image/png',
        now() + interval '1 day'
    FROM generate_series(1, :rows) AS i
    """,
    """
    INSERT INTO transfers (account_id, env, id, wallet_version, debit, credit, tokens, kind, generation_id,
        price_version, balance_after)
    SELECT :account, 'live', id(i), i + w.version, 'wallet', 'revenue', 5000, 'capture', id(i), 1,
        w.posted_tokens - CAST(i AS bigint) * 5000
    FROM generate_series(1, :rows) AS i, wallets w WHERE w.account_id = :account AND w.env = 'live'
    """,
    """
    UPDATE wallets SET posted_tokens = posted_tokens - CAST(:rows AS bigint) * 5000, version = version + :rows
    WHERE account_id = :account AND env = 'live'
    """,
)
SEED_ID = """
    CREATE FUNCTION id(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid $$
"""


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Services, AsyncEngine]]:
    """A gateway's insides on a database of its own, and its owner's connections."""
    with tempfile.TemporaryDirectory(prefix="igl", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        with EmbeddedPostgres(Path(folder), print) as server:
            owner, app = server.create_database("ledger")
            upgrade(owner, print)
            settings = Settings(
                secret=SecretStr(token_urlsafe(48)),
                data_dir=Path(folder) / "gateway",
                database_url=SecretStr(app),
            )
            engine = open_engine(owner, settings, statement_timeout_s=3600)
            async with open_services(settings) as services:
                yield services, engine
            await engine.dispose()


async def customers(services: Services, engine: AsyncEngine, count: int) -> list[Customer]:
    made = []
    async with engine.begin() as tx:
        for _ in range(count):
            account = await keys.create_account(tx, f"customer-{new_id().hex}")
            await wallets.create_wallets(tx, account)
            funding = wallets.Funding()
            await wallets.top_up(tx, account, "live", 10**13, reason="seed", actor="bench", funding=funding)
            pepper = services.keyring.key_pepper
            key, _ = await keys.create_key(tx, pepper, account, "live", keys.Labels(), None)
            made.append((account, key))
    return made


def an_open(journal: Journal, customer: Customer) -> Open:
    quote = {
        "unit": "image",
        "image_tokens": str(PRICE),
        "n": 1,
        "size": "256x256",
        "quality": None,
        "price_version": 1,
    }
    row = {
        "worker_id": journal.worker_id,
        "ttl_s": 300,
        "model": "imagegate/sandbox",
        "price_version": 1,
        "quote": quote,
        "request": {"prompt": "bench"},
    }
    return Open(customer[0], "live", new_id(), customer[1], PRICE, fingerprint=new_id().bytes, row=row)


async def pair(journal: Journal, customer: Customer) -> None:
    """A hold, and its capture with one image."""
    wanted = an_open(journal, customer)
    await journal.open(wanted)
    image = {
        "idx": 0,
        "object": "bench",
        "sha256": "\\x" + "00" * 32,
        "bytes": 4096,
        "width_px": 256,
        "height_px": 256,
        "mime": "image/png",
        "revised_prompt": None,
        "keep_h": 24,
    }
    settle = Settle(
        customer[0],
        "live",
        wanted.generation_id,
        1,
        tokens=PRICE,
        price_version=1,
        row={"billed": {"unit": "image", "size": "256x256", "count": 1}, "answer_status": 200},
        images=[image],
    )
    await journal.settle(settle, patience_s=30)


async def throughput(journal: Journal, who: Sequence[Customer]) -> float:
    """Pairs a second of 64 callers, who take turns at the wallets."""
    done, until = 0, perf_counter() + SECONDS

    async def caller(number: int) -> None:
        nonlocal done
        turn = number
        while perf_counter() < until:
            await pair(journal, who[turn % len(who)])
            turn += AT_ONCE
            done += 1

    began = perf_counter()
    await asyncio.gather(*(caller(number) for number in range(AT_ONCE)))
    return done / (perf_counter() - began)


async def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = perf_counter()
    result = await work()
    return perf_counter() - began, result


async def sweep_a_thousand(services: Services, customer: Customer) -> float:
    """Generations of a worker that never lived, and the sweep that voids them."""
    dead = Journal(services.engine, new_id())
    lane = asyncio.create_task(dead.run())
    await asyncio.gather(*(dead.open(an_open(dead, customer)) for _ in range(1000)))
    dead.close()
    await lane
    seconds, ended = await timed(lambda: recovery.sweep(services, recovery.Deaths(0)))
    assert ended == 1000, ended
    return seconds


async def main(rows: int) -> None:
    log_to_stderr("ERROR")
    async with opened() as (services, engine):
        many = await customers(services, engine, MANY)
        journal = services.journal
        await throughput(journal, many[:1])
        turns = [(await throughput(journal, many[:1]), await throughput(journal, many)) for _ in range(3)]
        hot, spread = (sorted(turn[side] for turn in turns)[1] for side in (0, 1))
        ratio = sorted(one / other for one, other in turns)[1]
        print(f"| holds and captures, one wallet, {AT_ONCE} at once | {hot:,.0f}/s |")
        print(f"| the same over {MANY:,} wallets | {spread:,.0f}/s |")
        print(f"| one wallet of many wallets | {ratio:.0%} |")
        account, key = many[0]
        async with engine.begin() as tx:
            await tx.execute(text(SEED_ID))
            for statement in SEED:
                named = {"account": account, "key": key, "rows": rows}
                known = {name: value for name, value in named.items() if f":{name}" in statement}
                await tx.execute(text(statement), known)
        seconds = await sweep_a_thousand(services, many[1])
        print(f"| sweep: 1,000 lost generations among {rows:,} | {seconds:.1f} s |")
        async with snapshot(engine) as connection:
            seconds, report = await timed(lambda: verify(connection))
        assert report.ok, report.to_json()
        print(f"| ledger verify, {report.checked['transfers']:,} transfers | {seconds:.1f} s |")
        async with engine.connect() as connection:
            current = services.prices.current
            proposal = propose_set(current, services.catalogue, "sandbox", None, None, 7000)
            looking = partial(preview, connection, services.catalogue, current, proposal)
            seconds, _ = await timed(looking)
        print(f"| prices preview, 7 days | {seconds:.1f} s |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="generations that are there already")
    uvloop.run(main(parser.parse_args().rows))
