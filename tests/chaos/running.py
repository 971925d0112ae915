"""A run: faults one after the other while customers live, then healing, draining, and the reckoning."""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from sqlalchemy import text

from imagegate.db.base import snapshot
from imagegate.ledger.verify import verify
from tests.chaos.callers import Call, Customer, lives
from tests.chaos.judging import Books, World, contradictions
from tests.chaos.providers import FIRST_TOKENS, PAINTED_MODEL
from tests.chaos.world import FAULTS, Place, open_place, strike_on

CALM_S = 5.0
"""The last seconds have no fault, so that less is open when it is over."""
LONGEST_DRAIN_S = 75.0
OPEN = text("SELECT count(*) FROM generations WHERE state IN ('queued', 'running', 'in_doubt')")


@dataclass
class Run:
    """What came of it. world: all that was held against each other."""

    seed: int
    world: World
    faults: Counter[str] = field(default_factory=Counter)
    violations: Sequence[str] = ()
    seconds: float = 0.0

    def summary(self) -> str:
        answers = Counter(told.status or "nothing" for call in self.world.calls for told in call.told)
        told = ", ".join(f"{number} × {status}" for status, number in sorted(answers.items(), key=str))
        struck = ", ".join(f"{number} × {fault}" for fault, number in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: {len(self.world.calls)} calls in {self.seconds:.0f} s, told {told}; "
            f"{len(self.world.books.captures)} captures, {len(self.world.invoice)} lines of invoices; "
            f"faults: {struck}"
        )


async def run(folder: Path, seed: int, load_s: float) -> Run:
    began = monotonic()
    async with open_place(folder, seed) as place:
        calls: list[Call] = []
        faults: Counter[str] = Counter()
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        async with httpx.AsyncClient(timeout=12, limits=limits) as http:
            await live_through(place, calls, faults, http, load_s)
            await place.heal()
            await drained(place)
            world = await taken_stock(place, calls, http)
    return Run(seed, world, faults, contradictions(world), monotonic() - began)


async def live_through(
    place: Place, calls: list[Call], faults: Counter[str], http: httpx.AsyncClient, load_s: float
) -> None:
    over = asyncio.Event()
    urls = [replica.url for replica in place.replicas]
    customers = [
        Customer(account, key, urls, calls, random.Random(f"{place.seed} {number}"), Keyed(http, key))
        for number, (account, key) in enumerate(place.accounts.items())
    ]
    living = [asyncio.create_task(lives(customer, over)) for customer in customers]
    meanwhile = [asyncio.create_task(work) for work in (fund_for_ever(place), price_for_ever(place))]
    await strike_for(place, faults, load_s - CALM_S)
    await asyncio.sleep(min(CALM_S, load_s))
    over.set()
    _, late = await asyncio.wait(living, timeout=2.5)
    await ended([*late, *meanwhile])
    for task in living:
        if not task.cancelled():
            task.result()


class Keyed:
    """The one HTTP client of all customers, with one customer's key."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self._http, self._headers = http, {"authorization": f"Bearer {key}"}

    async def get(self, url: str) -> httpx.Response:
        return await self._http.get(url, headers=self._headers)

    async def post(self, url: str, headers: dict[str, str] | None = None, **said: Any) -> httpx.Response:
        return await self._http.post(url, headers={**self._headers, **(headers or {})}, **said)


async def ended(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            task.result()


async def strike_for(place: Place, faults: Counter[str], seconds: float) -> None:
    until = monotonic() + seconds
    bag: list[str] = []
    while monotonic() < until:
        await asyncio.sleep(min(place.chance.uniform(1.0, 3.0), max(until - monotonic(), 0)))
        if monotonic() >= until:
            break
        bag = bag or place.chance.sample(FAULTS, len(FAULTS))
        faults[fault := bag.pop()] += 1
        await strike_on(place, fault)


async def fund_for_ever(place: Place) -> None:
    """Wallets run dry before somebody pays again."""
    chance, number = random.Random(f"{place.seed} payments"), 0
    while True:
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        number += 1
        account = chance.choice(list(place.accounts))
        paying = place.fund(account, chance.randrange(1, 10) * FIRST_TOKENS, f"payment-{number}")
        await asyncio.shield(asyncio.ensure_future(paying))


async def price_for_ever(place: Place) -> None:
    while True:
        await asyncio.sleep(1.5)
        await asyncio.shield(asyncio.ensure_future(place.change_price()))


async def drained(place: Place) -> None:
    """Until nothing is open. What is left open by then is a violation, not an error."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_DRAIN_S):
            while await count_open(place):
                await asyncio.sleep(0.25)


async def count_open(place: Place) -> int:
    async with place.engine.connect() as connection:
        return int((await connection.execute(OPEN)).scalar_one())


async def taken_stock(place: Place, calls: Sequence[Call], http: httpx.AsyncClient) -> World:
    links = {link for call in calls for told in call.told for link in told.links}
    slots = asyncio.Semaphore(8)

    async def read(link: str) -> tuple[str, str | None]:
        async with slots:
            answer = await http.get(link)
        whole = answer.status_code == 200
        return link, hashlib.sha256(answer.content).hexdigest() if whole else f"{answer.status_code}"

    given = dict(await asyncio.gather(*(read(link) for link in sorted(links))))
    books = await books_of(place)
    complaints = [says for fake in place.fakes.values() for says in fake.violations]
    return World(list(calls), books, list(place.invoice.lines), given, dict(place.funded), complaints)


QUERIES = {
    "generations": "SELECT id, account_id, state, outcome, epoch, request ->> 'prompt' AS prompt FROM generations",
    "captures": "SELECT account_id, generation_id, tokens FROM transfers WHERE kind = 'capture'",
    "images": "SELECT generation_id, object, sha256 FROM images ORDER BY generation_id, idx",
    "attempts": "SELECT generation_id, epoch, seq, provider, upstream_id, class AS outcome FROM attempts "
    "ORDER BY generation_id, epoch, seq",
    "wallets": "SELECT account_id, posted_tokens, held_tokens FROM wallets WHERE env = 'live'",
}
PRICES = """
    SELECT version, CAST(terms -> 'cells' -> 0 ->> 'tokens' AS bigint) AS tokens FROM prices WHERE model = :model
"""
"""The other model's only version costs what the first of this one does."""


async def books_of(place: Place) -> Books:
    async with snapshot(place.engine) as connection:
        report = await verify(connection)
        found = {name: (await connection.execute(text(query))).all() for name, query in QUERIES.items()}
        priced = (await connection.execute(text(PRICES), {"model": PAINTED_MODEL})).all()
    said = [f"{v.invariant}: {v.says} {v.row}" for v in report.violations]
    return Books(**found, prices={row.version: row.tokens for row in priced}, unproved=said)
