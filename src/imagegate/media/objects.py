"""What lies in a store: the names of the objects, and one that is opened for reading.

    {account}/{env}/{generation}/{epoch}/{idx}-{sha256}.{format}

What moderation keeps back has `quarantine/` before its name, and a picture that was handed in with a job `inputs/`,
so that no link can be made to them. A thumbnail has `thumbs/` before its picture's name, and is WebP.
Ids are 32 hex digits. A name says what its bytes are, so an object is never overwritten with other ones; that of a
thumbnail says of which picture it is.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from imagegate.errors import NotFound, OperatorError

PLACE = r"[0-9a-f]{32}/[a-z0-9][a-z0-9_-]{0,31}/[0-9a-f]{32}"
NUMBER = r"(?:0|[1-9][0-9]{0,8})"
NAME = re.compile(rf"{PLACE}/{NUMBER}/{NUMBER}-[0-9a-f]{{64}}\.(?:png|jpeg|webp|gif|avif)")
QUARANTINE, INPUTS, THUMBS = "quarantine/", "inputs/", "thumbs/"
ASIDE = rf"(?:{QUARANTINE}|{INPUTS}|{THUMBS})?"
STORED = re.compile(rf"{ASIDE}{NAME.pattern}")
PREFIX = re.compile(rf"{ASIDE}{PLACE}/(?:{NUMBER}/)?")
ID_FILE = ".imagegate-store-id"
TIMEOUT_S = 20.0
"""The longest one operation of a store may take, before it counts as down."""
INLINE_BYTES = 96 * 1024
"""A longer chunk is summed in a thread."""
HARMED = "The store gave other bytes than were put there."


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One object, opened. `chunks` can be read once."""

    size_bytes: int
    mime: str
    chunks: AsyncIterator[bytes]


def object_name(
    account_id: UUID, env: str, generation_id: UUID, *, epoch: int, index: int, sha256: bytes, format: str
) -> str:
    return f"{epoch_prefix(account_id, env, generation_id, epoch)}{index}-{sha256.hex()}.{format}"


def epoch_prefix(account_id: UUID, env: str, generation_id: UUID, epoch: int) -> str:
    """What all objects of one epoch begin with, for `list`."""
    return f"{account_id.hex}/{env}/{generation_id.hex}/{epoch}/"


def quarantined(name: str) -> str:
    """An object's name, or a prefix, in quarantine."""
    return QUARANTINE + name


def handed_in(name: str) -> str:
    """An object's name, or a prefix, among the pictures that were handed in."""
    return INPUTS + name


def thumbnails(prefix: str) -> str:
    """A prefix among the thumbnails."""
    return THUMBS + prefix


def thumbnail_of(name: str) -> str:
    """The name that the thumbnail of a stored image has."""
    return f"{THUMBS}{name.rpartition('.')[0]}.webp"


def split_aside(name: str) -> tuple[str, str]:
    """`quarantine/`, `inputs/`, `thumbs/` or nothing, and the rest."""
    aside = next((aside for aside in (QUARANTINE, INPUTS, THUMBS) if name.startswith(aside)), "")
    return aside, name[len(aside) :]


def is_unharmed(name: str, data: bytes) -> bool:
    """Whether these are the bytes that the object was named after."""
    return f"-{hashlib.sha256(data).hexdigest()}." in name


def checked_bytes(name: str, data: bytes) -> bytes:
    """The bytes themselves. Blocking. Raises NotFound where they are not what the object was named after."""
    if not is_unharmed(name, data):
        raise NotFound(HARMED)
    return data


async def unharmed(name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks. Raises NotFound instead of the last one where they are not what the object was named after."""
    digest, held = hashlib.sha256(), b""
    async for chunk in chunks:
        if held:
            yield held
        held = chunk
        if len(chunk) > INLINE_BYTES:
            await asyncio.to_thread(digest.update, chunk)
        else:
            digest.update(chunk)
    if f"-{digest.hexdigest()}." not in name:
        raise NotFound(HARMED)
    yield held


def mime_of(name: str) -> str:
    return f"image/{name.rpartition('.')[2]}"


def checked(name: str) -> str:
    """The name itself. Raises ValueError when it is none: names come from us, so that is a bug."""
    if not STORED.fullmatch(name):
        raise ValueError(f"{name!r} is not an object name")
    return name


def checked_prefix(prefix: str) -> str:
    """One generation's prefix or one epoch's, itself. Raises ValueError for any other."""
    if not PREFIX.fullmatch(prefix):
        raise ValueError(f"{prefix!r} is not the prefix of a generation or of an epoch")
    return prefix


def read_id(content: bytes) -> UUID:
    """What an id file says. Raises OperatorError when it is no UUID."""
    try:
        return UUID(content.decode("ascii").strip())
    except ValueError:
        raise OperatorError(
            f"The id file {ID_FILE} of the image store is damaged. Put the id back that the database knows, "
            "or remove the file to begin with an empty store."
        ) from None
