"""Sealed keys in the database: whoever may write to it cannot move one to where another was meant."""

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.identity import provider_keys

KEY = bytes(range(32))
PLAIN = "sk-live-0123456789"


async def test_keys_whose_rows_were_swapped_in_the_database_open_nothing(engine: AsyncEngine) -> None:
    """By somebody who may write to it: to let us pay with one provider's key where another's was meant."""
    async with engine.connect() as tx:
        first = await provider_keys.add(tx, (KEY,), "bfl", "first", PLAIN, "tests")
        second = await provider_keys.add(tx, (KEY,), "fal", "second", "sk-live-9876543210", "tests")
        read = await tx.execute(
            text("SELECT id, sealed FROM provider_keys WHERE id IN (:a, :b)"), {"a": first.id, "b": second.id}
        )
        sealed = {row.id: row.sealed for row in read}
        table = provider_keys.provider_keys
        for to, of in ((first.id, second.id), (second.id, first.id)):
            await tx.execute(update(table).where(table.c.id == to).values(sealed=sealed[of]))
        swapped = [key for key in await provider_keys.load(tx, (KEY,)) if key.id in sealed]
        await tx.execute(
            update(table).where(table.c.id == first.id).values(sealed=sealed[first.id], provider="fal")
        )
        moved = [key for key in await provider_keys.load(tx, (KEY,)) if key.id == first.id]
        await tx.rollback()

    assert [(key.secret, key.fault) for key in [*swapped, *moved]] == [(None, "is damaged")] * 3
