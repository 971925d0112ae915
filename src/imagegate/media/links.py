"""Signed links to stored images: the path carries object name and expiry, so that media needs no database.

    /media/{expiry, unix seconds}/{signature}/{object name}

The signature is the first 144 bits of HMAC-SHA-256 over a label with a version, the expiry and the name, in
base64url: 18 bytes fill 24 characters exactly, so that no two texts stand for one signature.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence

from imagegate.errors import InvalidSignature
from imagegate.media.objects import NAME

LABEL = "imagegate-media-1"
PATH = re.compile(r"/media/([1-9][0-9]{0,10})/([A-Za-z0-9_-]{24})/(.{1,300})")


def mint(keys: Sequence[bytes], object_name: str, expires_at: int, base_url: str) -> str:
    """A link that is valid until `expires_at` (unix seconds), signed with the first key."""
    if not NAME.fullmatch(object_name):
        raise ValueError(f"{object_name!r} is not an object name")
    return f"{base_url}/media/{expires_at}/{_sign(keys[0], str(expires_at), object_name)}/{object_name}"


def verify(keys: Sequence[bytes], path: str, now: float) -> str:
    """The object name in a path, `/media/…`. Any of the keys may have signed it. Raises InvalidSignature.

    path: as it stood in the request line, not percent-decoded; a minted path has nothing to decode.
    """
    match = PATH.fullmatch(path)
    if match is None:
        raise InvalidSignature
    expires_at, signature, name = match.groups()
    if not NAME.fullmatch(name) or now >= int(expires_at):
        raise InvalidSignature
    if not any(hmac.compare_digest(signature, _sign(key, expires_at, name)) for key in keys):
        raise InvalidSignature
    return name


def _sign(key: bytes, expires_at: str, name: str) -> str:
    message = f"{LABEL}\n{expires_at}\n{name}".encode("ascii")
    return urlsafe_b64encode(hmac.digest(key, message, "sha256")[:18]).decode("ascii")
