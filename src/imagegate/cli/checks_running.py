"""Looks at what is under way: gateways, holds, jobs, webhooks, the clock, and Redis where limits are shared."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imagegate.cli.checks import Check
from imagegate.errors import OperatorError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from imagegate.settings import Settings

LONGEST_SKEW_S = 2.0
LONGEST_JOB_WAIT_S = 300.0
LONGEST_PING_S = 2.0
GATEWAYS = "SELECT count(*) FROM workers WHERE lease_until > now()"
WEBHOOKS = """
    SELECT count(*) FILTER (WHERE state = 'pending' AND last_error IS NOT NULL) AS retried,
        count(*) FILTER (WHERE state = 'failed' AND ended_at > now() - interval '24 hours') AS failed
    FROM webhook_outbox WHERE state <> 'delivered'
"""


async def check_running(tx: "AsyncConnection", settings: "Settings") -> AsyncIterator[Check]:
    from sqlalchemy import text

    yield await check_clock(tx)
    gateways = int((await tx.execute(text(GATEWAYS))).scalar_one())
    yield Check("workers", "ok", f"{gateways:,} live, or ended within {settings.worker_lease_s:g} s")
    async for check in check_holds(tx, settings, gateways):
        yield check
    seen = (await tx.execute(text(WEBHOOKS))).one()
    if seen.retried or seen.failed:
        detail = f"{seen.retried:,} are tried again, {seen.failed:,} were given up within 24 hours"
        yield Check("webhooks", "warn", detail, "imagegate webhooks list --account NAME --state failed")
    else:
        yield Check("webhooks", "ok", "none fails")


async def check_clock(tx: "AsyncConnection") -> Check:
    """By the database's clock between two looks at ours."""
    from sqlalchemy import text

    before = datetime.now(UTC)
    theirs = (await tx.execute(text("SELECT clock_timestamp()"))).scalar_one()
    ours = before + (datetime.now(UTC) - before) / 2
    skew_s = (ours - theirs).total_seconds()
    if abs(skew_s) > LONGEST_SKEW_S:
        detail = f"{abs(skew_s):,.1f} s {'ahead of' if skew_s > 0 else 'behind'} the database's"
        return Check("clock", "warn", detail, "set both by the same time server")
    return Check("clock", "ok", f"the database's within {max(abs(skew_s), 0.1):.1f} s")


async def check_holds(tx: "AsyncConnection", settings: "Settings", gateways: int) -> AsyncIterator[Check]:
    """What a provider has accepted is asked about for `poll_window_s`; older holds are nobody's."""
    from imagegate.ledger.gauges import read_gauges

    seen = await read_gauges(tx)
    if seen.imbalances:
        detail = f"{seen.imbalances:,} wallets hold other sums than their open generations"
        yield Check("ledger", "fail", detail, "imagegate ledger verify")
    late_s = settings.poll_window_s + settings.deadline_s + settings.worker_lease_s
    idle = "" if gateways else "; no gateway runs to end it"
    if seen.oldest_open_hold_s > late_s or (seen.oldest_open_hold_s > settings.deadline_s and idle):
        detail = f"the oldest of {seen.open_holds:,} is {seen.oldest_open_hold_s:,.0f} s old{idle}"
        advice = "imagegate generations list --status in_progress" if gateways else "imagegate serve"
        yield Check("holds", "warn", detail, advice)
    else:
        oldest = f", the oldest {seen.oldest_open_hold_s:,.0f} s old" if seen.oldest_open_hold_s else ""
        yield Check("holds", "ok", f"{seen.open_holds:,} open{oldest}")
    waiting = f"{seen.jobs_waiting:,} wait"
    if seen.jobs_waiting and (not gateways or seen.oldest_job_s > LONGEST_JOB_WAIT_S):
        detail = f"{waiting}, the oldest for {seen.oldest_job_s:,.0f} s{idle.replace('end it', 'make them')}"
        advice = "imagegate generations list --status queued" if gateways else "imagegate serve"
        yield Check("jobs", "warn", detail, advice)
    else:
        yield Check("jobs", "ok", waiting)


async def check_redis(settings: "Settings") -> Check:
    if settings.redis_url is None:
        return Check("redis", "ok", "not configured: every process keeps its own limits")
    from redis.exceptions import RedisError

    from imagegate.identity.limits_redis import open_client

    advice = "correct IMAGEGATE_REDIS_URL; meanwhile every process keeps its own share of the limits"
    try:
        client = open_client(settings.redis_url.get_secret_value(), LONGEST_PING_S)
    except OperatorError as error:
        return Check("redis", "fail", error.message, advice)
    try:
        await client.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return Check("redis", "fail", f"it does not answer ({type(error).__name__})", advice)
    finally:
        await client.aclose()
    return Check("redis", "ok", "it answers")
