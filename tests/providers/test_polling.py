"""Asking about accepted work: what is asked again, what ends it, and where our key may go."""

from collections.abc import Awaitable, Callable

import pytest

from imagegate.domain import ProviderImage, UpstreamJob
from imagegate.errors import Ambiguous
from imagegate.outbound import Answer
from imagegate.providers import polling
from tests.providers.wire_cases import BASE_URL, call_from

JOB = UpstreamJob("job-1")
OWN = f"{BASE_URL}/jobs/job-1"


def answering(*statuses: int) -> tuple[Callable[[], Awaitable[Answer]], list[int]]:
    """Answers in order, the last again and again; a status of 0 is a poll that fails on the way."""
    left, asked = list(statuses), list[int]()

    async def ask() -> Answer:
        status = left.pop(0) if len(left) > 1 else left[0]
        asked.append(status)
        if not status:
            raise Ambiguous("slow", "broke off")
        return Answer(status, {}, b"")

    return ask, asked


async def poll(ask: Callable[[], Awaitable[Answer]], poll_s: float = 5.0) -> str:
    return await polling.poll(
        "slow",
        call_from({}, poll_s=poll_s),
        JOB,
        ask,
        lambda answer: "made" if answer.status == 200 else None,
        first_wait_s=0.001,
        is_lost=lambda answer: answer.status == 404,
    )


async def test_what_tells_nothing_of_the_work_is_asked_again() -> None:
    ask, asked = answering(0, 429, 502, 202, 200)

    assert await poll(ask) == "made"
    assert asked == [0, 429, 502, 202, 200]


async def test_work_that_is_unknown_for_good_ends_long_before_the_window() -> None:
    ask, asked = answering(202, 404)

    with pytest.raises(Ambiguous, match="knows nothing") as caught:
        await poll(ask, poll_s=3600.0)

    assert asked == [202] + [404] * polling.LOST_AFTER
    assert caught.value.upstream_id == "job-1"


async def test_work_that_is_unknown_for_a_moment_is_not_lost() -> None:
    ask, asked = answering(404, 404, 404, 202, 404, 404, 404, 502, 200)

    assert await poll(ask) == "made"
    assert len(asked) == 9


async def test_the_end_of_the_window_is_ambiguous() -> None:
    ask, asked = answering(202)

    with pytest.raises(Ambiguous, match="had not finished") as caught:
        await poll(ask, poll_s=0.05)

    assert len(asked) > 1
    assert caught.value.upstream_id == "job-1"


@pytest.mark.parametrize(
    "given",
    [
        "https://stranger.test/v1/jobs/job-1",
        "https://provider.test.stranger.test/v1/jobs/job-1",
        "https://provider.test@stranger.test/v1/jobs/job-1",
        "https://user@provider.test/v1/jobs/job-1",
        "https://provider.test:8443/v1/jobs/job-1",
        "http://provider.test/v1/jobs/job-1",
        "//stranger.test/v1/jobs/job-1",
        "https://provider.test/\r\nx-key: 1",
        f"{BASE_URL}/{'x' * polling.MAX_URL_CHARS}",
        "",
        None,
        7,
    ],
)
def test_our_key_goes_nowhere_else_than_home(given: object) -> None:
    assert polling.place(call_from({}), given, OWN) == OWN


@pytest.mark.parametrize("host", ["provider.test", "api.eu.provider.test"])
def test_an_address_at_home_is_followed_as_it_was_given(host: str) -> None:
    call = call_from({}, trusted_hosts=frozenset({"api.eu.provider.test"}))

    assert polling.place(call, f"https://{host}/v2/jobs?id=1", OWN) == f"https://{host}/v2/jobs?id=1"


@pytest.mark.parametrize("given", [None, 7, "", "../1", "a b", "a\x00", "x" * 65, ["1"]])
def test_work_without_a_usable_id_is_ambiguous(given: object) -> None:
    with pytest.raises(Ambiguous):
        polling.job_id("slow", Answer(200, {}, b""), given)


def test_an_image_is_a_link_or_inline_and_nothing_else() -> None:
    assert polling.image_at("https://cdn.test/a.png") == ProviderImage(url="https://cdn.test/a.png")
    assert polling.image_at("DATA:image/png;base64,aGk=") == ProviderImage(b64="aGk=")
    nothing: object
    for nothing in (None, "", "a.png", "file:///etc/passwd", "data:image/png;base64,", "data:,x", 7, {}):
        assert polling.image_at(nothing) is None
