"""Headers of `web/ratelimit.py`, purely."""

import pytest

from imagegate.errors import NotFound
from imagegate.identity.limits import Level, RateLimited
from imagegate.web.ratelimit import duration, limit_headers, refusal_headers


def test_a_caller_without_limits_gets_no_headers() -> None:
    assert limit_headers(()) == {}
    assert refusal_headers(NotFound("nothing")) == {}


def test_openai_s_headers_show_the_limit_that_is_nearest_to_its_end() -> None:
    levels = (
        Level("requests", "account", 100, 40, 36_000),
        Level("requests", "key", 60, 59, 1_000),
        Level("images", "account", 200, 150, 15_120),
    )

    headers = limit_headers(levels)

    assert headers["x-ratelimit-limit-requests"] == "100"
    assert headers["x-ratelimit-remaining-requests"] == "40"
    assert headers["x-ratelimit-reset-requests"] == "36s"
    assert headers["x-ratelimit-limit-images"] == "200"
    assert headers["x-ratelimit-remaining-images"] == "150"
    assert headers["x-ratelimit-reset-images"] == "15.12s"


def test_the_ietf_s_fields_show_all_limits() -> None:
    levels = (Level("requests", "key", 60, 59, 1_001), Level("slots", "account", 10, 3, 0))

    headers = limit_headers(levels)

    assert headers["ratelimit-policy"] == (
        '"account-slots";q=10;qu="concurrent-requests", "key-requests";q=60;w=60'
    )
    assert headers["ratelimit"] == '"account-slots";r=3, "key-requests";r=59;t=2'
    assert "x-ratelimit-limit-images" not in headers


def test_a_refusal_shows_how_the_limits_stand() -> None:
    error = RateLimited("no", (Level("images", "key", 10, 0, 60_000),), 6)

    assert refusal_headers(error)["x-ratelimit-reset-images"] == "1m0s"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1s"),
        (8640, "8.64s"),
        (60_000, "1m0s"),
        (72_500, "1m12.5s"),
    ],
)
def test_times_are_written_as_openai_writes_them(ms: int, text: str) -> None:
    assert duration(ms) == text
