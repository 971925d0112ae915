"""Identifiers: UUIDv7 inside, a prefix and 32 hex digits outside."""

import os
import re
import time
from datetime import UTC, datetime
from uuid import UUID

FIXED = 0xF << 76 | 0x3 << 62
VERSION_7 = 0x7 << 76 | 0x2 << 62


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): milliseconds since 1970 in front, so that ids of one day lie together."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & ~FIXED | VERSION_7)


def made_at(id_: UUID) -> datetime:
    """When a UUIDv7 was made, to the millisecond, by the clock of the process that made it."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)


def public_id(kind: str, id_: UUID) -> str:
    """`gen` and a UUID → `gen_0190…`: what callers see."""
    return f"{kind}_{id_.hex}"


def image_id(generation_id: UUID, index: int) -> str:
    """By which an image that was made can be handed in again: `gen_…_0`."""
    return f"{public_id('gen', generation_id)}_{index}"


def parse_image_id(text: str) -> tuple[str, int] | None:
    """The generation's public id, and the image's place in it."""
    match = re.fullmatch(r"(gen_[0-9a-f]{32})_(\d{1,2})", text)
    return (match[1], int(match[2])) if match else None


def parse_public_id(kind: str, text: str) -> UUID | None:
    match = re.fullmatch(rf"{kind}_([0-9a-f]{{32}})", text)
    return UUID(hex=match[1]) if match else None
