"""What has been kept long enough: whose images, whose prompts, and how far they have been removed.

Each account has marks in `retention_marks`: of all its generations up to there, in the order of their ids, the images
or the prompts are removed. So nobody looks through a history. A mark is never moved past a generation that is still
being made or kept, but for one: where an account's time was made shorter, `ahead` passes over the images that were
promised the longer one, and finds younger ones that are due before them.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import Literal
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

What = Literal["images", "ahead", "prompts"]

BEGINNING = UUID(int=0)

BY_IMAGES = """coalesce((SELECT max(i.expires_at) FROM images i
            WHERE (i.account_id, i.env, i.generation_id) = (g.account_id, g.env, g.id)), {by_age})"""
BY_AGE = "g.created_at + each.keep_h * interval '1 hour'"
KEPT_LONGER = "> g.settled_at + each.keep_h * interval '1 hour' + interval '1 minute'"
"""Than an image of its age is kept by now: the time has been made shorter since."""

DUE = """
    SELECT each.account_id, each.env, each.keep_h, each.until FROM (
        SELECT a.id AS account_id, e.env, coalesce(a.{keep}, :usual_h) AS keep_h, coalesce((
            SELECT m.until FROM retention_marks m
            WHERE m.account_id = a.id AND m.env = e.env AND m.what IN ({marks}) ORDER BY m.until DESC LIMIT 1
        ), '00000000-0000-0000-0000-000000000000'::uuid) AS until
        FROM accounts a CROSS JOIN (VALUES ('live'), ('test')) AS e(env)
    ) AS each CROSS JOIN LATERAL (
        SELECT g.* FROM generations g WHERE g.account_id = each.account_id AND g.env = each.env AND g.id > each.until
        ORDER BY g.id LIMIT 1
    ) AS g
    WHERE g.settled_at IS NOT NULL AND ({kept_until} <= now() OR {passed})
    ORDER BY random() LIMIT :rows
"""
"""Who can go on. In no order, so that several processes seldom take the same account up."""

NEXT = """
    SELECT g.id, g.epoch, g.settled_at IS NOT NULL AND {kept_until} <= now() AS due,
        g.settled_at IS NOT NULL AND ({passed}) AS passed
    FROM generations g CROSS JOIN (SELECT CAST(:keep_h AS integer) AS keep_h) AS each
    WHERE g.account_id = :account_id AND g.env = :env AND g.id > :until
    ORDER BY g.id LIMIT :rows
"""

HELD = text(
    """
    INSERT INTO retention_marks AS m (account_id, env, what, until) VALUES (:account_id, :env, :what, :until)
    ON CONFLICT (account_id, env, what) DO UPDATE SET until = greatest(m.until, excluded.until)
    RETURNING until
    """
)


def statements(pattern: str) -> dict[What, TextClause]:
    images = {"keep": "keep_images_h", "kept_until": BY_IMAGES.format(by_age=BY_AGE)}
    prompts = {"keep": "keep_prompts_h", "kept_until": BY_AGE}
    longer = f"{images['kept_until']} {KEPT_LONGER}"
    return {
        "images": text(pattern.format(**images, marks="'images'", passed="false")),
        "ahead": text(pattern.format(**images, marks="'images', 'ahead'", passed=longer)),
        "prompts": text(pattern.format(**prompts, marks="'prompts'", passed="false")),
    }


DUE_FOR, NEXT_FOR = statements(DUE), statements(NEXT)


@dataclass(frozen=True, slots=True)
class Wallet:
    """An account in one environment. until: the last generation that is done with; keep_h: hours."""

    account_id: UUID
    env: str
    keep_h: int
    until: UUID


@dataclass(frozen=True, slots=True)
class Step:
    """A generation that a mark can be moved past. due: its time is over; else it is left for another mark."""

    id: UUID
    epoch: int
    due: bool


async def due_wallets(connection: AsyncConnection, what: What, usual_h: int, rows: int) -> list[Wallet]:
    """At most `rows` whose mark can be moved. usual_h: for accounts that have no time of their own."""
    found = await connection.execute(DUE_FOR[what], {"usual_h": usual_h, "rows": rows})
    return [Wallet(row.account_id, row.env, row.keep_h, row.until) for row in found]


async def next_steps(connection: AsyncConnection, what: What, wallet: Wallet, rows: int) -> list[Step]:
    """The next generations of an account, at most `rows`, up to the first that its mark cannot be moved past."""
    asked = {
        "account_id": wallet.account_id,
        "env": wallet.env,
        "keep_h": wallet.keep_h,
        "until": wallet.until,
        "rows": rows,
    }
    found = (await connection.execute(NEXT_FOR[what], asked)).all()
    going = takewhile(lambda row: row.due or row.passed, found)
    return [Step(row.id, row.epoch, row.due) for row in going]


async def move_mark(tx: AsyncConnection, what: What, wallet: Wallet, until: UUID) -> UUID:
    """All up to `until` is done with. A mark never goes back. It stays locked until `tx` ends; returns where it is."""
    asked = {"account_id": wallet.account_id, "env": wallet.env, "what": what, "until": until}
    return UUID(str((await tx.execute(HELD, asked)).scalar_one()))
