"""Images in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure.

Credentials, region and endpoint come from the provider's usual environment variables (AWS_…, GOOGLE_…, AZURE_…);
an endpoint that begins with http:// is taken as wanted.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store, from_url

from imagegate.errors import NotFound, OperatorError, StorageUnavailable
from imagegate.ids import new_id
from imagegate.media.objects import (
    ID_FILE,
    STORED,
    TIMEOUT_S,
    StoredImage,
    checked,
    checked_prefix,
    mime_of,
    read_id,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig  # types alone: not there at run time

CHUNK_BYTES = 1024 * 1024
RETRIES = 3
ENDPOINTS = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
)

Bucket = S3Store | GCSStore | AzureStore | MemoryStore


class BucketStore:
    def __init__(self, bucket: Bucket, *, timeout_s: float = TIMEOUT_S) -> None:
        self._bucket = bucket
        self._timeout_s = timeout_s

    async def put(self, name: str, data: bytes) -> None:
        """A bucket's «ok» is not believed alone: an image that it has not kept must not be paid for."""
        checked(name)
        content_type = {"Content-Type": mime_of(name)}
        try:
            async with self._limited():
                # One request, never parts: parts of a broken upload would stay in the bucket unseen.
                await obstore.put_async(
                    self._bucket, name, data, attributes=content_type, use_multipart=False
                )
                kept = await obstore.head_async(self._bucket, name)
        except NotFound:
            raise StorageUnavailable from None  # the bucket is not there, or has not kept what it took
        if kept["size"] != len(data):
            raise StorageUnavailable

    async def get(self, name: str) -> bytes:
        checked(name)
        async with self._limited():
            found = await obstore.get_async(self._bucket, name)
            return bytes(await found.bytes_async())

    async def open(self, name: str) -> StoredImage:
        checked(name)
        async with self._limited():
            found = await obstore.get_async(self._bucket, name)
        return StoredImage(found.meta["size"], mime_of(name), self._chunks(found))

    async def exists(self, name: str) -> bool:
        checked(name)
        try:
            async with self._limited():
                await obstore.head_async(self._bucket, name)
        except NotFound:
            return False
        return True

    async def delete(self, name: str) -> None:
        checked(name)
        with suppress(NotFound):
            async with self._limited():
                await obstore.delete_async(self._bucket, name)

    async def list(self, prefix: str) -> list[str]:
        checked_prefix(prefix)
        async with self._limited():
            found = [entry["path"] async for page in obstore.list(self._bucket, prefix) for entry in page]
        return sorted(name for name in found if STORED.fullmatch(name))

    async def identify(self) -> UUID:
        """Of two replicas that make the id at once, the bucket lets one win, and both read the winner's."""
        try:
            return read_id(await self._id_file())
        except NotFound:
            pass
        draft = f"{new_id()}\n".encode()
        try:
            async with self._limited():
                with suppress(AlreadyExistsError, PreconditionError):
                    await obstore.put_async(self._bucket, ID_FILE, draft, mode="create", use_multipart=False)
            return read_id(await self._id_file())
        except NotFound:
            raise StorageUnavailable from None  # the bucket itself is not there

    async def close(self) -> None:
        """Nothing is held open: obstore ends its connections with the process."""

    async def _id_file(self) -> bytes:
        async with self._limited():
            found = await obstore.get_async(self._bucket, ID_FILE)
            return bytes(await found.bytes_async())

    async def _chunks(self, found: "obstore.GetResult") -> AsyncIterator[bytes]:
        stream = aiter(found.stream(CHUNK_BYTES))
        while True:
            async with self._limited():
                chunk = await anext(stream, None)
            if chunk is None:
                return
            yield chunk

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        """Bounds the time, and turns obstore's errors into ours. Its messages may hold parts of answers."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except FileNotFoundError:
            raise NotFound("This image does not exist any more.") from None
        except (BaseError, OSError):
            raise StorageUnavailable from None


def open_bucket(url: str, *, timeout_s: float = TIMEOUT_S) -> BucketStore:
    """A bucket by its URL, s3://bucket/prefix, gs://… or az://…. Raises OperatorError."""
    limit = timedelta(seconds=timeout_s)
    # The whole of a download may take long, when its reader does; a silent bucket may not.
    client: ClientConfig = {
        "timeout": timedelta(minutes=5),
        "read_timeout": limit,
        "connect_timeout": limit / 4,
    }
    if any(os.environ.get(variable, "").startswith("http://") for variable in ENDPOINTS):
        client["allow_http"] = True
    retry: RetryConfig = {"max_retries": RETRIES, "retry_timeout": limit / 2}
    wrong = f"IMAGEGATE_STORE_URL is not usable: {url.partition('?')[0]!r}"
    try:
        bucket = from_url(url, client_options=client, retry_config=retry)
    except (BaseError, ValueError) as error:
        raise OperatorError(f"{wrong}. {str(error).partition(chr(10))[0]}.") from None
    if not isinstance(bucket, S3Store | GCSStore | AzureStore):
        raise OperatorError(
            f"{wrong}. Give an s3://, gs:// or az:// URL, or leave it out to use the data directory."
        )
    return BucketStore(bucket, timeout_s=timeout_s)
