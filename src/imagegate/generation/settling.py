"""How a generation ends: captured for the images that are stored, or voided."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from imagegate import failpoints
from imagegate.domain import Generation, Image, Plan, Reservation
from imagegate.errors import SettlementPending
from imagegate.generation import previews, records
from imagegate.generation.moderating import recorded
from imagegate.generation.progress import Execution
from imagegate.ids import public_id
from imagegate.journal.books import OPEN_STATES
from imagegate.journal.items import Settle, Settled
from imagegate.services import Services

PATIENCE_S = 10.0


async def capture(services: Services, reservation: Reservation, plan: Plan, run: Execution) -> Generation:
    """Debit for the images there are. Raises SettlementPending: recovery rolls it forward."""
    quote, who = plan.quote, reservation.principal
    tokens = quote.tokens_for_usage(run.usage or None, len(run.images), previews.counted(run))
    wanted = Settle(
        who.account_id,
        who.env,
        reservation.generation_id,
        reservation.epoch,
        tokens=tokens,
        price_version=quote.price_version,
        row=records.captured_row(plan, run) | judged(run),
        images=records.image_rows(run.images, who.keep_images_h or services.settings.keep_images_h),
        attempts=records.attempt_rows(run.attempts),
    )
    failpoints.reach(services.settings, "before_settle")
    outcome = await services.spans.over("settle", services.journal.settle(wanted, patience_s=PATIENCE_S))
    failpoints.reach(services.settings, "after_settle")
    if not isinstance(outcome, Settled):
        if outcome.state not in OPEN_STATES:  # else whoever took it over may have found them
            await discard(services, reservation, run.images)
        raise SettlementPending(public_id("gen", reservation.generation_id))
    charged = min(tokens, reservation.hold_tokens)
    balance = outcome.available_tokens if outcome.available_tokens >= 0 else None
    return records.completed(reservation, plan, run, charged, balance)


async def void(
    services: Services, reservation: Reservation, outcome: str, error: Exception, run: Execution
) -> None:
    """Give the hold back. Raises SettlementPending when the ledger cannot be reached: then nothing is final."""
    who = reservation.principal
    wanted = Settle(
        who.account_id,
        who.env,
        reservation.generation_id,
        reservation.epoch,
        outcome=outcome,
        row=records.voided_row(error) | judged(run),
        attempts=records.attempt_rows(run.attempts),
    )
    await services.spans.over("settle", services.journal.settle(wanted, patience_s=PATIENCE_S))


def judged(run: Execution) -> dict[str, Any]:
    """The verdicts that the generation's row has not got yet; the journal appends them."""
    fresh = run.verdicts[run.verdicts_kept :]
    return {"moderation": recorded(fresh)} if fresh else {}


USED = text(
    "SELECT object FROM images WHERE account_id = :account_id AND env = :env AND object = ANY(:names)"
)


async def discard(services: Services, reservation: Reservation, made: Sequence[Image]) -> None:
    """Remove what was stored in vain: all but what its generation was captured with, once that has ended."""
    who, names = reservation.principal, [image.object for image in made]
    owner = {"account_id": who.account_id, "env": who.env, "names": names}
    async with services.engine.connect() as connection:
        used = set((await connection.execute(USED, owner)).scalars())
    for name in names:
        if name not in used:
            await services.store.delete(name)
