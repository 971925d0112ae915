"""Messages signed as Standard Webhooks says: by hand, and by the reference library."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from imagegate.signing import read_secret, signed_headers, write_secret

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
BODY = b'{"type": "image.generation.completed"}'


def by_hand(secret: bytes) -> str:
    signed = b"msg_1.1800000000." + BODY
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def test_id_moment_and_body_are_signed_once_for_each_secret() -> None:
    assert signed_headers([ONE], "msg_1", 1_800_000_000, BODY) == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1800000000",
        "webhook-signature": by_hand(ONE),
    }
    both = signed_headers([ONE, TWO], "msg_1", 1_800_000_000, BODY)
    assert both["webhook-signature"] == f"{by_hand(ONE)} {by_hand(TWO)}"


def test_the_reference_library_accepts_it_with_either_secret() -> None:
    now = int(datetime.now(UTC).timestamp())
    headers = signed_headers([ONE, TWO], "msg_1", now, BODY)

    for secret in (ONE, TWO):
        assert Webhook(write_secret(secret)).verify(BODY.decode(), headers)["type"]


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_of_24_to_64_bytes_is_read_as_it_was_written(length: int) -> None:
    secret = bytes(range(100, 100 + length))

    assert write_secret(secret) == "whsec_" + base64.b64encode(secret).decode()
    assert read_secret(write_secret(secret)) == secret
    assert read_secret(f"  {write_secret(secret)}\n") == secret
    assert read_secret(base64.b64encode(secret).decode()) == secret


@pytest.mark.parametrize(
    "text",
    [
        write_secret(bytes(23)),
        write_secret(bytes(65)),
        "whsec_",
        "whsec_" + "A" * 41,
        "whsec_" + "é" * 40,
        "whsec_!" + base64.b64encode(ONE).decode(),
        base64.b64encode(ONE).decode() + "\n" + base64.b64encode(ONE).decode(),
    ],
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_secret(text)


def test_a_secret_of_another_length_is_told_the_bounds() -> None:
    with pytest.raises(ValueError, match=r"^a secret has 24 to 64 bytes$"):
        read_secret(write_secret(bytes(23)))
