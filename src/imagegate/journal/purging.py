"""Marks a generation as purged: its prompt goes, its images expire; what was billed, charged and tried stays.

And takes the prompts, but not the images, of generations whose prompts have been kept long enough.
"""

from collections.abc import Sequence
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

SCRUB = """
    WITH scrubbed AS (
        UPDATE generations SET
            request = (SELECT coalesce(jsonb_object_agg(said.key, said.value), '{{}}')
                FROM jsonb_each(request) AS said WHERE said.key = ANY(:kept)),
            result = {result} - 'parameters',
            moderation = moderation - 'verdicts',
            job = job - 'webhook_url'
        WHERE account_id = :account_id AND env = :env AND id = ANY(:ids) AND state IN ('captured', 'voided')
        RETURNING id, epoch, result ->> 'purged_at' AS purged_at
    ), bared AS (
        UPDATE images SET revised_prompt = NULL, expires_at = {expires_at}
        WHERE account_id = :account_id AND env = :env AND generation_id IN (SELECT id FROM scrubbed) {bared}
        RETURNING 1
    ), unlinked AS (
        UPDATE attempts SET upstream_url = NULL
        WHERE account_id = :account_id AND env = :env AND generation_id IN (SELECT id FROM scrubbed)
            AND upstream_url IS NOT NULL
    )
    SELECT epoch, purged_at, (SELECT count(*) FROM bared) AS images FROM scrubbed
"""
PURGED_NOW = """jsonb_build_object('purged_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
                || coalesce(result, '{}')"""
MARK = text(SCRUB.format(result=PURGED_NOW, expires_at="least(expires_at, now())", bared=""))
FORGET = text(SCRUB.format(result="result", expires_at="expires_at", bared="AND revised_prompt IS NOT NULL"))
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
    row = (await tx.execute(MARK, {**owner, "ids": [generation_id], "kept": list(KEPT)})).one_or_none()
    if row is not None:
        purged_at = datetime.fromisoformat(row.purged_at)
        return Purged(account_id, env, generation_id, row.epoch, row.images, purged_at)
    if (await tx.execute(STANDS, owner)).first() is None:
        raise NotFound("There is no such generation.")
    named = public_id("gen", generation_id)
    raise Conflict(f"{named} is still being made. Purge it once it has ended.", code="generation_in_progress")


async def forget(tx: AsyncConnection, account_id: UUID, env: str, ids: Sequence[UUID]) -> int:
    """Remove what a purge removes, but for the images, which stay as long as they are kept. Again is no error.

    Returns how many generations that were: those that are still being made are left as they are.
    """
    wanted = {"account_id": account_id, "env": env, "ids": list(ids), "kept": list(KEPT)}
    return len((await tx.execute(FORGET, wanted)).all())
