"""Which answers put the blame on our key, so that another key of ours may be tried."""

from typing import Any

import pytest
from pydantic_core import to_json

from imagegate.domain import ProviderCall, Size
from imagegate.errors import RefusedUnbilled
from imagegate.outbound import Answer
from imagegate.providers import google, openrouter, xai
from imagegate.providers import openai_wire as wire


def answer(status: int, body: Any = None) -> Answer:
    return Answer(status, {}, to_json(body or {}))


@pytest.mark.parametrize(
    ("status", "code", "bad"),
    [
        (401, "invalid_api_key", True),
        (402, None, True),
        (403, None, True),
        (429, "insufficient_quota", True),
        (400, "billing_hard_limit_reached", True),
        (404, "model_not_found", False),
        (405, None, False),
        (429, "rate_limit_exceeded", False),
        (503, None, False),
    ],
)
def test_a_key_that_is_unknown_or_without_credit_is_bad(status: int, code: str | None, bad: bool) -> None:
    error = wire.failure("acme", answer(status), wire.Complaint(code=code))

    assert isinstance(error, RefusedUnbilled)
    assert (error.bad_key, error.busy) == (bad, not bad and status in (429, 503))


def test_googles_own_words_for_a_bad_key_are_known() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    told = {"code": 400, "status": "INVALID_ARGUMENT", "details": details}

    bad = google.failure(answer(400), told)
    denied = google.failure(answer(403), {"code": 403, "status": "PERMISSION_DENIED"})

    for error in (bad, denied):
        assert isinstance(error, RefusedUnbilled)
        assert error.bad_key


def test_an_error_inside_of_a_200_may_be_the_sellers_key() -> None:
    ours = openrouter.failure(answer(401), openrouter.Failure(401, None), None)
    sellers = openrouter.failure(answer(200), openrouter.Failure(401, None), None)

    assert isinstance(ours, RefusedUnbilled)
    assert isinstance(sellers, RefusedUnbilled)
    assert (ours.bad_key, sellers.bad_key) == (True, False)


def test_xai_says_with_a_400_that_a_key_is_wrong() -> None:
    body = {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: sk***90."}
    call = ProviderCall("grok-imagine-image", "a fox", 1, Size(1024, 1024), "https://api.x.ai/v1", 10.0)

    with pytest.raises(RefusedUnbilled) as raised:
        xai.read_answer(answer(400, body), call)

    assert raised.value.bad_key
