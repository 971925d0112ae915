"""Messages signed as Standard Webhooks says (https://www.standardwebhooks.com, read 2026-11-21).

`webhook-signature` is `v1,` and the base64 of HMAC-SHA-256 over `{webhook-id}.{webhook-timestamp}.{body}`; while
several secrets hold, one such signature each, with a space between them. A secret is written as `whsec_` and the base64
of its 24 to 64 bytes.
"""

import binascii
import hmac
from collections.abc import Sequence

import pybase64

PREFIX = "whsec_"
SHORTEST_BYTES, LONGEST_BYTES = 24, 64


def signed_headers(
    secrets: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """timestamp_s: when this try is made, in seconds since 1970; receivers refuse old ones."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    signatures = [pybase64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature.decode('ascii')}" for signature in signatures),
    }


def write_secret(secret: bytes) -> str:
    return PREFIX + pybase64.b64encode(secret).decode("ascii")


def read_secret(text: str) -> bytes:
    """Raises ValueError."""
    secret = binascii.a2b_base64(text.strip().removeprefix(PREFIX), strict_mode=True)
    if not SHORTEST_BYTES <= len(secret) <= LONGEST_BYTES:
        raise ValueError(f"a secret has {SHORTEST_BYTES} to {LONGEST_BYTES} bytes")
    return secret
