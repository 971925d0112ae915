"""Counts as Prometheus reads them: cumulative buckets, exact sums, and how late the event loop is."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

from prometheus_client.parser import text_string_to_metric_families

from imagegate.domain import Attempt
from imagegate.telemetry import Reading, Telemetry
from imagegate.telemetry.counts import LAG_S, UPSTREAM_S, Buckets, Counts
from imagegate.telemetry.lag import watch


def told(counts: Counts) -> dict[str, float]:
    text = Telemetry().render(Reading(in_flight=0, counts=counts)).decode()
    return {
        "/".join((sample.name, *(sample.labels[name] for name in sorted(sample.labels)))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def attempt(provider: str, ms: int, cost: str | None = None, images: int = 1) -> Attempt:
    cost_usd = None if cost is None else Decimal(cost)
    return Attempt(0, provider, "m", "DELIVERED", images, datetime.now(UTC), ms, cost_usd=cost_usd)


def test_a_call_is_in_every_bucket_above_it() -> None:
    counts = Counts()
    for ms in (500, 501, 45_000, 700_000):
        counts.attempted(attempt("bfl", ms))

    said = told(counts)

    upstream = [said[f"imagegate_upstream_seconds_bucket/{float(bound)}/bfl"] for bound in UPSTREAM_S]
    assert upstream == [1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3]
    assert (
        said["imagegate_upstream_seconds_bucket/+Inf/bfl"]
        == said["imagegate_upstream_seconds_count/bfl"]
        == 4
    )
    assert said["imagegate_upstream_seconds_sum/bfl"] == 746.001


def test_what_providers_charge_is_added_exactly() -> None:
    counts = Counts()
    for _ in range(1000):
        counts.attempted(attempt("openai", 10, "0.001"))
    counts.delivered(attempt("openai", 10, None, images=2))

    said = told(counts)

    assert said["imagegate_provider_cost_usd_total/openai"] == 1.0
    assert said["imagegate_images_total/openai"] == 1002
    assert said["imagegate_upstream_seconds_count/openai"] == 1000


def test_tokens_are_told_by_environment() -> None:
    counts = Counts()
    counts.ended("completed", "live", 7)
    counts.ended("completed", "test", 5)

    said = told(counts)

    assert (said["imagegate_charged_tokens_total/live"], said["imagegate_charged_tokens_total/test"]) == (
        7,
        5,
    )
    assert said["imagegate_generations_total/completed"] == 2


async def test_an_event_loop_that_was_blocked_was_late() -> None:
    counts = Counts()
    watching = asyncio.create_task(watch(counts.lag, lambda late_s: None))
    await asyncio.sleep(0)

    time.sleep(0.4)  # noqa: ASYNC251 what nobody may do
    async with asyncio.timeout(5):
        while not told(counts)["imagegate_event_loop_lag_seconds_count"]:
            await asyncio.sleep(0.01)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching

    said = told(counts)
    assert said["imagegate_event_loop_lag_seconds_sum"] >= 0.25
    assert (
        said["imagegate_event_loop_lag_seconds_bucket/0.1"] < said["imagegate_event_loop_lag_seconds_count"]
    )


def test_the_bounds_of_a_histogram_grow() -> None:
    assert list(UPSTREAM_S) == sorted(set(UPSTREAM_S))
    assert list(LAG_S) == sorted(set(LAG_S))
    assert isinstance(Counts().lag, Buckets)
