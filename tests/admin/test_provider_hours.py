from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.admin.provider_hours import ALL, SOME, Did, bounds, count, places
from tests.conftest import Account

SEED = text("""
    INSERT INTO attempts (account_id, env, generation_id, epoch, seq, slot, provider, offering, class, images, detail,
        started_at, ms)
    SELECT :id, 'live', gen_random_uuid(), 1, 0, 0, :provider, 'one',
        CASE n % 4 WHEN 0 THEN 'AMBIGUOUS' WHEN 1 THEN 'REJECTED' ELSE 'DELIVERED' END, 1, NULL,
        CAST(:end AS timestamptz) - make_interval(mins => n * 7 + 1), n * 10 FROM generate_series(1, 400) n
""")


def told(found: list[Did]) -> list[object]:
    return sorted((did.to_json() for did in found), key=lambda row: (row["at"] or "", row["provider"]))


async def test_a_sample_that_is_large_enough_is_everything(engine: AsyncEngine, account: Account) -> None:
    """They are taken back: no generation made these attempts."""
    at, provider = places(24), f"provider-{uuid4().hex[:8]}"
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)

    async with engine.connect() as connection:
        await connection.execute(SEED, {"id": account.id, "provider": provider, "end": end})
        every = await count(connection, ALL, bounds(at, provider))
        some = await count(connection, SOME, bounds(at, provider))
        few = await count(connection, SOME, bounds(at, provider) | {"most_an_hour": 3})
        await connection.rollback()

    (whole,) = [did for did in every if did.at is None]
    assert told(every) == told(some)
    assert whole.attempts == 24 * 60 // 7
    assert whole.success is not None
    assert 0.6 < whole.success < 0.7  # two of three that say something
    assert {did.at for did in every} == {None, *at}
    assert {did.attempts for did in few if did.at is not None} == {3}
