"""Object names for tests."""

from hashlib import sha256
from uuid import UUID, uuid4

from imagegate.ids import new_id
from imagegate.media.objects import object_name

ACCOUNT = uuid4()


def name_of(data: bytes, generation: UUID | None = None, *, epoch: int = 0, index: int = 0) -> str:
    return object_name(
        ACCOUNT,
        "live",
        generation or new_id(),
        epoch=epoch,
        index=index,
        sha256=sha256(data).digest(),
        format="png",
    )
