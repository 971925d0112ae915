"""Purging a generation: its prompt and images go; what was billed, charged and tried stays.

Two steps, in this order. `mark` in a transaction: from its commit on nobody is given the images any more. Then
`remove_objects`: a crash between the two leaves objects that nothing links to, and the next purge removes them.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.domain import Generation
from imagegate.errors import Conflict, NotFound
from imagegate.ids import public_id
from imagegate.media.store import ImageStore

GONE = "The images of this generation have expired or were purged. What was charged for them stands."
KEPT = (
    "model",
    "n",
    "size",
    "quality",
    "style",
    "response_format",
    "output_format",
    "output_compression",
    "background",
    "moderation",
    "seed",
    "strict",
)
"""Fields of a request that a purge leaves: those that say nothing of what was drawn or for whom."""

MARK = text(
    """
    WITH marked AS (
        UPDATE generations SET
            request = (SELECT coalesce(jsonb_object_agg(said.key, said.value), '{}')
                FROM jsonb_each(request) AS said WHERE said.key = ANY(:kept)),
            result = jsonb_build_object('purged_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
                || coalesce(result, '{}') - 'parameters'
        WHERE account_id = :account_id AND env = :env AND id = :id AND state IN ('captured', 'voided')
        RETURNING epoch, result ->> 'purged_at' AS purged_at
    ), bared AS (
        UPDATE images SET revised_prompt = NULL, expires_at = least(expires_at, now())
        WHERE account_id = :account_id AND env = :env AND generation_id = :id AND EXISTS (SELECT FROM marked)
        RETURNING 1
    ), unlinked AS (
        UPDATE attempts SET upstream_url = NULL
        WHERE account_id = :account_id AND env = :env AND generation_id = :id AND EXISTS (SELECT FROM marked)
    )
    SELECT epoch, purged_at, (SELECT count(*) FROM bared) AS images FROM marked
    """
)
STANDS = text("SELECT 1 FROM generations WHERE account_id = :account_id AND env = :env AND id = :id")


@dataclass(frozen=True, slots=True)
class Purged:
    """A generation that is marked. purged_at: when it was purged first. images: how many it had."""

    account_id: UUID
    env: str
    generation_id: UUID
    epoch: int
    images: int
    purged_at: datetime


async def mark(tx: AsyncConnection, account_id: UUID, env: str, generation_id: UUID) -> Purged:
    """Remove prompt, user, parameters and all else that tells what was drawn; its images expire now. Again is no error.

    Raises NotFound; Conflict while the generation is still being made.
    """
    owner = {"account_id": account_id, "env": env, "id": generation_id}
    row = (await tx.execute(MARK, {**owner, "kept": list(KEPT)})).one_or_none()
    if row is not None:
        purged_at = datetime.fromisoformat(row.purged_at)
        return Purged(account_id, env, generation_id, row.epoch, row.images, purged_at)
    if (await tx.execute(STANDS, owner)).first() is None:
        raise NotFound("There is no such generation.")
    named = public_id("gen", generation_id)
    raise Conflict(f"{named} is still being made. Purge it once it has ended.", code="generation_in_progress")


async def remove_objects(store: ImageStore, purged: Purged) -> int:
    """Delete what the store has of a generation whose mark is committed; returns how many objects that were.

    A later epoch's are left: it may run again under its idempotency key. Raises StorageUnavailable: purge once more.
    """
    removed = 0
    for name in await store.list(f"{purged.account_id.hex}/{purged.env}/{purged.generation_id.hex}/"):
        if int(name.split("/")[3]) <= purged.epoch:
            await store.delete(name)
            removed += 1
    return removed


def is_gone(generation: Generation, now: datetime) -> bool:
    """True when it had images that have expired or were purged."""
    return any(image.expires_at is not None and image.expires_at <= now for image in generation.images)


def check_kept(generation: Generation, now: datetime) -> Generation:
    """The generation itself. Raises Conflict 410 `result_gone` when its images are no longer kept."""
    if is_gone(generation, now):
        raise Conflict(GONE, code="result_gone", status=410)
    return generation
