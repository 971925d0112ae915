"""How every test of a fault ends."""

import asyncio
import base64
import hashlib
from collections.abc import Sequence

from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import snapshot
from imagegate.ledger.verify import verify
from tests.conftest import Account

PATH = "/v1/images/generations"
LONGEST_S = 40.0

OPEN = text(
    "SELECT count(*) FROM generations WHERE account_id = ANY(:ids) AND state IN ('queued', 'running', 'in_doubt')"
)
HELD = text("SELECT coalesce(sum(held_tokens), 0) FROM wallets WHERE account_id = ANY(:ids)")
CAPTURED = text(
    "SELECT count(*) FROM transfers WHERE account_id = ANY(:ids) AND kind = 'capture' AND generation_id = :generation"
)
RECORDED = text("SELECT sha256 FROM images WHERE generation_id = :generation ORDER BY idx")


async def until_nothing_is_open(engine: AsyncEngine, ids: Sequence[object]) -> None:
    async with asyncio.timeout(LONGEST_S), engine.connect() as connection:
        while (await connection.execute(OPEN, {"ids": ids})).scalar_one():
            await asyncio.sleep(0.05)


async def nothing_is_amiss(
    engine: AsyncEngine, url: str, accounts: Sequence[Account], answers: Sequence[Response]
) -> None:
    """`answers` to any of the accounts; url: of a gateway that is well."""
    ids = [account.id for account in accounts]
    await until_nothing_is_open(engine, ids)
    async with engine.connect() as connection:
        assert (await connection.execute(HELD, {"ids": ids})).scalar_one() == 0
    async with snapshot(engine) as connection:
        report = await verify(connection)
    assert report.ok, report.to_json()
    async with AsyncClient(base_url=url, timeout=30) as http:
        for answer in answers:
            if answer.status_code == 200:
                await is_paid_and_there(engine, http, ids, answer)


async def is_paid_and_there(
    engine: AsyncEngine, http: AsyncClient, ids: Sequence[object], answer: Response
) -> None:
    body = answer.json()
    generation = body["metadata"]["id"].removeprefix("gen_")
    async with engine.connect() as connection:
        said = {"ids": ids, "generation": generation}
        assert (await connection.execute(CAPTURED, said)).scalar_one() == 1
        rows = (await connection.execute(RECORDED, {"generation": generation})).scalars()
        recorded = [sha256.hex() for sha256 in rows]
    links = [entry["url"].split("/media/")[1] for entry in body["data"]]
    fetched = [await http.get(f"/media/{link}") for link in links]
    assert [sum_of(image.content) for image in fetched] == recorded
    told = [sum_of(base64.b64decode(e["b64_json"])) for e in body["data"] if "b64_json" in e]
    assert told in ([], recorded)


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
