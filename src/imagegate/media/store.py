"""Where images are kept: the data directory, or a bucket when IMAGEGATE_STORE_URL names one."""

from typing import Protocol
from uuid import UUID

from imagegate.media.objects import StoredImage
from imagegate.media.store_bucket import open_bucket
from imagegate.media.store_local import LocalStore
from imagegate.settings import Settings


class ImageStore(Protocol):
    """Names are those of `objects`; another name raises ValueError.

    Every method raises StorageUnavailable when the store is down, full, forbidden or silent for 20 s.
    """

    async def put(self, name: str, data: bytes) -> None:
        """Durable when it returns. Nothing can be seen under the name before the whole image can."""

    async def get(self, name: str) -> bytes:
        """Raises NotFound."""

    async def open(self, name: str) -> StoredImage:
        """For sending it in pieces. Raises NotFound."""

    async def exists(self, name: str) -> bool: ...

    async def delete(self, name: str) -> None:
        """Fine when it is gone already."""

    async def list(self, prefix: str) -> list[str]:
        """The objects of one generation (`{account}/{env}/{generation}/`) or of one epoch of it, sorted.

        Those in quarantine have a prefix of their own, `quarantine/…`.
        """

    async def identify(self) -> UUID:
        """The store's own id, made on the first call. Raises OperatorError when the id file is damaged."""

    async def close(self) -> None: ...


def open_store(settings: Settings) -> ImageStore:
    """Raises OperatorError when the setting is not understood or the folder cannot be made."""
    if settings.store_url is None:
        return LocalStore(settings.data_dir / "images")
    return open_bucket(settings.store_url)
