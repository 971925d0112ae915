"""How a question to an operator's own moderator is signed, and how its answer is read."""

from typing import Any

import pytest
from pydantic import SecretStr

from imagegate.errors import OperatorError
from imagegate.moderation.verdicts import ModeratorFailed
from imagegate.moderation.webhook import read_answer, read_secret
from imagegate.signing import signed_headers

EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification."""
    key = read_secret(SecretStr(EXAMPLE))

    headers = signed_headers((key,), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", [None, "", "whsec_", "whsec_c2hvcnQ=", "plain words", "whsec_****"])
def test_a_secret_that_is_none_refuses_the_start(secret: str | None) -> None:
    with pytest.raises(OperatorError, match="MODERATION_WEBHOOK_SECRET"):
        read_secret(SecretStr(secret) if secret is not None else None)


@pytest.mark.parametrize(
    ("body", "flagged", "categories", "reason"),
    [
        ({"flagged": False, "categories": ["x"]}, False, (), None),
        ({"flagged": True, "categories": ["x", "x", 7, " "], "reason": "r" * 900}, True, ("x",), "r" * 500),
        ({"flagged": True, "categories": "x", "reason": 3}, True, (), None),
    ],
)
def test_how_an_answer_is_read(
    body: dict[str, Any], flagged: bool, categories: tuple[str, ...], reason: str | None
) -> None:
    found = read_answer(body)

    assert (found.flagged, found.categories, found.reason) == (flagged, categories, reason)


@pytest.mark.parametrize("body", [None, [], {}, {"flagged": "no"}, {"flagged": 0}])
def test_an_answer_that_says_nothing_is_a_failure(body: Any) -> None:
    with pytest.raises(ModeratorFailed):
        read_answer(body)
