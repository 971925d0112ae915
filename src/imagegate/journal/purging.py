"""Marks a generation as purged: its prompt goes, its images expire; what was billed, charged and tried stays."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.errors import Conflict, NotFound
from imagegate.ids import public_id

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
                || coalesce(result, '{}') - 'parameters',
            moderation = moderation - 'verdicts'
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
OWN = "FROM generations WHERE account_id = :account_id AND env = :env AND id = :id"
PURGED = text(f"SELECT result ->> 'purged_at' {OWN} FOR UPDATE")
STANDS = text(f"SELECT 1 {OWN}")


@dataclass(frozen=True, slots=True)
class Purged:
    """A generation that is marked. purged_at: when it was purged first. images: how many it had."""

    account_id: UUID
    env: str
    generation_id: UUID
    epoch: int
    images: int
    purged_at: datetime


async def is_purged(tx: AsyncConnection, account_id: UUID, env: str, generation_id: UUID) -> bool:
    """Whether it was purged before. The generation stays locked until `tx` ends."""
    owner = {"account_id": account_id, "env": env, "id": generation_id}
    return (await tx.execute(PURGED, owner)).scalar() is not None


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
