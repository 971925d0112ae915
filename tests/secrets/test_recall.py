"""What a request that was made before is told, word by word: while it runs, and when it failed."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from imagegate.domain import Asked, Attempt, Generation
from imagegate.errors import Conflict, GenerationPending, ImagegateError
from imagegate.generation.recall import KINDS, _descendants, check_same, encoded, in_progress, remembered
from imagegate.media.objects import object_name

FAILED = Generation(UUID(int=1), "failed", datetime(2026, 11, 22, tzinfo=UTC), "m", {}, {})
RUNS = "gen_1 is still being made. Ask again shortly, or fetch it: GET /v1/images/generations/gen_1"


def told(error: ImagegateError) -> tuple[int, str, str, str, bool, int | None]:
    return error.status, error.code, error.type, error.message, error.should_retry, error.retry_after_s


def test_a_twin_of_what_still_runs_is_told_where_to_look() -> None:
    with_key, without = (
        in_progress(Asked("images", idempotency_key="k"), "gen_1"),
        in_progress(Asked("images"), "gen_1"),
    )

    assert isinstance(with_key, Conflict)
    assert (with_key.message, with_key.code, with_key.status) == (RUNS, "idempotency_in_progress", 409)
    assert with_key.retry_after_s == 5
    assert isinstance(without, GenerationPending)
    assert without.message == RUNS


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (
            {},
            (
                500,
                "internal_error",
                "server_error",
                "The generation failed. Nothing was charged.",
                False,
                None,
            ),
        ),
        (
            {"error_code": "unheard_of", "error_status": 499, "error_message": "so it was"},
            (499, "unheard_of", "invalid_request_error", "so it was", False, None),
        ),
        (
            {"error_code": "unheard_of", "error_status": 500},
            (500, "unheard_of", "server_error", "The generation failed. Nothing was charged.", False, None),
        ),
        (
            {"error_code": "moderation_blocked", "error_status": 400, "error_message": "refused"},
            (400, "moderation_blocked", "image_generation_user_error", "refused", False, None),
        ),
        (
            {"error_code": "overloaded", "error_status": 503, "error_message": "busy"},
            (503, "overloaded", "server_error", "busy", True, 5),
        ),
    ],
)
def test_a_failure_is_told_again_as_it_was_told_first(ended: dict[str, Any], expected: object) -> None:
    assert told(remembered(replace(FAILED, **ended))) == expected


def test_every_error_with_a_code_is_known_however_deep_it_stands() -> None:
    def below(kind: type[ImagegateError]) -> set[type[ImagegateError]]:
        return {kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))}

    coded = {kind.code for kind in below(ImagegateError) - {ImagegateError} if "code" in vars(kind)}
    assert set(_descendants(ImagegateError)) == below(ImagegateError) - {ImagegateError}
    assert coded <= set(KINDS)
    assert any(ImagegateError not in kind.__bases__ for kind in KINDS.values())


def test_a_key_stands_for_one_request_alone() -> None:
    check_same(None, b"a")
    check_same(b"a", b"a")

    with pytest.raises(Conflict) as raised:
        check_same(b"a", b"b")

    assert (raised.value.status, raised.value.code) == (422, "idempotency_key_reused")
    assert raised.value.message == (
        "This Idempotency-Key was used with another request. Use a new key for a new request. Nothing was charged."
    )


def test_other_bytes_than_were_stored_are_not_told() -> None:
    place = {"epoch": 0, "index": 0, "sha256": sha256(b"picture").digest(), "format": "png"}
    name = object_name(UUID(int=1), "live", UUID(int=2), **place)

    assert encoded(name, b"picture") == b"cGljdHVyZQ=="
    assert encoded(name, b"Picture") is None


@pytest.mark.parametrize(
    ("code", "status", "epochs", "again"),
    [
        ("overloaded", 408, (), True),
        ("overloaded", 409, (), True),
        ("overloaded", 429, (None,), True),
        ("overloaded", 503, (1, 2), True),
        ("overloaded", 503, (3, 1), False),
        ("overloaded", 500, (), False),
        ("moderation_blocked", 503, (), False),
    ],
)
def test_only_what_may_end_otherwise_is_worth_another_try(
    code: str, status: int, epochs: tuple[int | None, ...], again: bool
) -> None:
    tries = [Attempt(n, "p", "m", "NOT_SENT", 0, FAILED.created_at, 1, epoch=e) for n, e in enumerate(epochs)]

    error = remembered(replace(FAILED, error_code=code, error_status=status, attempts=tuple(tries)))

    assert (error.should_retry, error.retry_after_s) == (again, 5 if again else None)
