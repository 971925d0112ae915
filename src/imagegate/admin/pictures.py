"""What operators see of pictures that were made: where they are kept, and from which prompts."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin.generations import image_json
from imagegate.ids import public_id
from imagegate.journal.tables import images


async def pictures_of(
    connection: AsyncConnection, rows: Sequence[Row[Any]]
) -> dict[str, list[dict[str, Any]]]:
    """By `gen_…` the pictures that were stored, as `image_json`, in their order. rows: of generations."""
    i = images.c
    keys = [(row.account_id, row.env, row.id) for row in rows]
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if keys:
        query = select(images).where(tuple_(i.account_id, i.env, i.generation_id).in_(keys)).order_by(i.idx)
        for row in await connection.execute(query):
            found[public_id("gen", row.generation_id)].append(image_json(row))
    return found


def prompt_of(row: Row[Any]) -> str | None:
    """None: it was purged."""
    prompt: str | None = row.request.get("prompt")
    return prompt
