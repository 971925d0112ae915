"""What a sweeper does with generations whose worker is gone.

What a provider still works on is asked about further; what was stored is captured; a job waits for another worker; the
rest is voided as lost. Any number of sweepers may run: each end is a compare-and-set in the journal, and the second
one changes nothing.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text

from imagegate.domain import Attempt, Image, Quote
from imagegate.errors import ImagegateError, NotFound, WorkerLost
from imagegate.generation import quotes, records, resuming, summary
from imagegate.ids import public_id
from imagegate.journal.books import MOST_EPOCHS
from imagegate.journal.items import Done, Requeue, Settle, Settled
from imagegate.media import images, objects
from imagegate.media.formats import NotAnImage
from imagegate.services import Services

log = structlog.get_logger()

BATCH_ROWS = 1000
AT_ONCE = 16
OWN_AGE_S = 30.0
PATIENCE_S = 10.0

LOST = text(
    """
    SELECT g.account_id, g.env, g.id, g.key_id, g.epoch, g.model, g.price_version, g.quote, g.request, g.hold_tokens,
        g.moderation, g.job, extract(epoch FROM now() - g.created_at)::double precision AS age_s,
        g.worker_id, w.id IS NULL AS unknown, w.lease_until, g.worker_id = :me AS own, a.keep_images_h
    FROM generations g JOIN accounts a ON a.id = g.account_id LEFT JOIN workers w ON w.id = g.worker_id
    WHERE g.state IN ('running', 'in_doubt')
        AND (w.id IS NULL OR w.lease_until < now()
            OR g.worker_id = :me)
    ORDER BY g.id LIMIT :rows
    """
)

TRIED = text(
    """
    SELECT * FROM attempts WHERE account_id = :account_id AND env = :env AND generation_id = :id
        AND (epoch = :epoch OR (class = 'IN_FLIGHT' AND upstream_id IS NOT NULL))
    ORDER BY epoch, seq
    """
)


@dataclass(slots=True)
class Deaths:
    """Who is dead: a worker whose lease has run out and was read unchanged twice, one lease apart.

    So an outage of the database, in which nobody can renew a lease, kills nobody. A worker without a row is dead.
    """

    lease_s: float
    _seen: dict[UUID, tuple[datetime, float]] = field(default_factory=dict)
    _orphans: dict[tuple[UUID, int], float] = field(default_factory=dict)

    def is_dead(self, worker: UUID, lease_until: datetime) -> bool:
        known = self._seen.get(worker)
        if known is None or known[0] != lease_until:
            self._seen[worker] = (lease_until, monotonic())
            return False
        return monotonic() - known[1] >= self.lease_s

    def note_orphans(self, rows: Iterable[Any]) -> None:
        """rows: our own generations that no task of ours works on, all of them."""
        now = monotonic()
        self._orphans = {(row.id, row.epoch): self._orphans.get((row.id, row.epoch), now) for row in rows}

    def is_orphan(self, row: Any) -> bool:
        """A task may be about to begin, so an orphan is one that was so for a while."""
        return monotonic() - self._orphans[row.id, row.epoch] >= OWN_AGE_S


async def sweep(services: Services, deaths: Deaths) -> int:
    """End what nobody works on any more, or go on with it; returns how many generations that were."""
    columns = {"me": services.journal.worker_id, "rows": BATCH_ROWS}
    async with services.engine.connect() as connection:
        rows = (await connection.execute(LOST, columns)).all()
    deaths.note_orphans(row for row in rows if row.own and row.id not in services.status.running)
    lost = [row for row in rows if is_lost(services, deaths, row)]
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(row: Any) -> bool:
        async with slots:
            return await recover(services, row)

    ends = await asyncio.gather(*(one(row) for row in lost), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return sum(1 for end in ends if end is True)


def is_lost(services: Services, deaths: Deaths, row: Any) -> bool:
    if row.own:
        return row.id not in services.status.running and deaths.is_orphan(row)
    return bool(row.unknown or deaths.is_dead(row.worker_id, row.lease_until))


async def recover(services: Services, row: Any) -> bool:
    """Go on, capture what is stored, or void as lost. False when somebody else was quicker.

    Work that was accepted in an earlier epoch, and taken over since, is still the same work.
    """
    owner = {"account_id": row.account_id, "env": row.env, "id": row.id, "epoch": row.epoch}
    async with services.engine.connect() as connection:
        tried = [records.attempt_from(t) for t in (await connection.execute(TRIED, owner)).all()]
    accepted = [attempt for attempt in tried if attempt.outcome == "IN_FLIGHT" and attempt.upstream_id]
    found: list[Image] = []
    for epoch in range(min((a.epoch or row.epoch for a in accepted), default=row.epoch), row.epoch + 1):
        found = resuming.joined(found, await stored_images(services, row, epoch), row.quote["n"])
    missing = len(found) < row.quote["n"]
    if missing and accepted and await resuming.take(services, row, accepted, found):
        return True
    wanted = rescue(services, row, found, tried) if found else loss(services, row, tried)
    if not found and not accepted and (waits_again := again(services, row, wanted.attempts)):
        outcome = await services.journal.change(waits_again, patience_s=PATIENCE_S)
        return isinstance(outcome, Done)
    outcome = await services.journal.settle(wanted, patience_s=PATIENCE_S)
    won = isinstance(outcome, Settled)
    if won:
        log.warning("generation_recovered", generation=public_id("gen", row.id), images=len(found))
        charged = min(wanted.tokens, row.hold_tokens) if found else 0
        summary.swept(services, row, "recovered" if found else "lost", len(found), charged)
    return won


def rescue(services: Services, row: Any, found: Sequence[Image], tried: Sequence[Attempt]) -> Settle:
    """Capture the images there are: they were paid for and they can be fetched."""
    quote = quotes.quote_from(row.model, row.quote)
    known = [replace(attempt, outcome="DELIVERED", images=len(found)) for attempt in tried]
    return Settle(
        row.account_id,
        row.env,
        row.id,
        row.epoch,
        tokens=quote.tokens_for(len(found)),
        price_version=row.price_version,
        row=rescued_row(quote, len(found)),
        images=records.image_rows(found, row.keep_images_h or services.settings.keep_images_h),
        attempts=records.attempt_rows(known or [unknown_attempt(services, row, "DELIVERED", len(found))]),
        abandoned=True,
    )


def loss(services: Services, row: Any, tried: Sequence[Attempt]) -> Settle:
    """Nothing is there. Whether a provider was asked died with the worker, so its cost is at risk."""
    known = [
        replace(
            attempt, outcome="AMBIGUOUS", detail=WORKER_GONE, at_risk_usd=resuming.worst_cost(services, row)
        )
        for attempt in tried
    ]
    return Settle(
        row.account_id,
        row.env,
        row.id,
        row.epoch,
        outcome="lost",
        row=records.voided_row(WorkerLost()),
        attempts=records.attempt_rows(known or [unknown_attempt(services, row, "AMBIGUOUS", 0)]),
    )


def again(services: Services, row: Any, attempts: Sequence[Mapping[str, Any]]) -> Requeue | None:
    """A job that was lost with its worker waits for the next one, while it has epochs and time left."""
    left_s = services.settings.job_expires_s - row.age_s
    if row.job is None or row.epoch >= MOST_EPOCHS or left_s <= 0:
        return None
    owner = (row.account_id, row.env, row.id)
    return Requeue(*owner, row.epoch, ttl_s=left_s, died=True, attempts=attempts)


WORKER_GONE = "the worker was gone; a provider may have billed this"


def rescued_row(quote: Quote, count: int) -> dict[str, Any]:
    billed = {"unit": quote.unit, "size": str(quote.size), "quality": quote.quality, "count": count}
    return {"billed": billed, "result": {"recovered": True}, "answer_status": 200}


def unknown_attempt(services: Services, row: Any, outcome: str, count: int) -> Attempt:
    """Which provider was asked died with the worker; that it may have billed is kept."""
    risk = resuming.worst_cost(services, row) if outcome == "AMBIGUOUS" else None
    return Attempt(
        0, "unknown", row.model, outcome, count, datetime.now(UTC), 0, detail=WORKER_GONE, at_risk_usd=risk
    )


async def stored_images(services: Services, row: Any, epoch: int) -> list[Image]:
    """The epoch's objects that are whole: their name holds their checksum."""
    prefix = objects.epoch_prefix(row.account_id, row.env, row.id, epoch)
    found = []
    for name in sorted(await services.store.list(prefix), key=index_of):
        try:
            data = await services.store.get(name)
            probe = images.probe(data)
        except (NotFound, NotAnImage):
            continue
        sha256 = hashlib.sha256(data).digest()
        if sha256.hex() in name:
            found.append(Image(name, sha256, len(data), probe.size, probe.mime))
    return found


def index_of(name: str) -> int:
    return int(name.rpartition("/")[2].partition("-")[0])


def is_passing(error: BaseException) -> bool:
    """An error after which the next sweep tries again: the database or the store is away."""
    return (
        isinstance(error, ImagegateError | OSError | TimeoutError) or "sqlalchemy" in type(error).__module__
    )
