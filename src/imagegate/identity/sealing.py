"""Secrets sealed at rest: AES-256-GCM under a key derived from the master secret, which they name.

The bytes: one for the form (1), eight that name the key, twelve of a nonce, then the ciphertext with its tag. What the
secret belongs to is bound in and not kept, so sealed bytes cannot be moved to another row.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from imagegate.errors import OperatorError

FORM = b"\x01"
KEY_ID_BYTES = 8
NONCE_BYTES = 12
HEAD_BYTES = len(FORM) + KEY_ID_BYTES


class CannotOpen(OperatorError):
    """Sealed bytes that this key does not open. The message says why, and continues the name of what was sealed."""


def key_id(key: bytes) -> bytes:
    """Eight bytes that tell a sealing key from others, and nothing else of it."""
    return hmac.digest(key, b"imagegate sealing key id", hashlib.sha256)[:KEY_ID_BYTES]


def seal(keys: Sequence[bytes], plain: str, belongs_to: bytes) -> bytes:
    """keys: of 32 bytes; the first seals. belongs_to: the same when it is opened: the column and the row's id."""
    key, nonce = keys[0], secrets.token_bytes(NONCE_BYTES)
    head = FORM + key_id(key)
    return head + nonce + AESGCM(key).encrypt(nonce, plain.encode(), head + belongs_to)


def unseal(keys: Sequence[bytes], sealed: bytes, belongs_to: bytes) -> str:
    """Any of the keys may have sealed it.

    Raises CannotOpen: under another master secret, in a form of a later version, or damaged.
    """
    head, nonce = sealed[:HEAD_BYTES], sealed[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES]
    if len(nonce) < NONCE_BYTES or head[:1] != FORM:
        raise CannotOpen("is not sealed in a form this version knows")
    key = next((known for known in keys if head[1:] == key_id(known)), None)
    if key is None:
        raise CannotOpen("was sealed under another IMAGEGATE_SECRET")
    try:
        return AESGCM(key).decrypt(nonce, sealed[HEAD_BYTES + NONCE_BYTES :], head + belongs_to).decode()
    except (InvalidTag, ValueError):
        raise CannotOpen("is damaged") from None


def is_sealed_with(key: bytes, sealed: bytes) -> bool:
    return sealed[len(FORM) : HEAD_BYTES] == key_id(key)
