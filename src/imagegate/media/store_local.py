"""Images in a folder of this machine.

    {root}/{account}/{env}/{first 8 digits of the generation}/{generation}.{epoch}.{idx}-{sha256}.{format}

The first 8 digits of a UUIDv7 change every 65 s, so that a new folder is seldom needed, and none grows large.
Small images are written by a child process, larger ones by threads.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import UUID

from imagegate.errors import NotFound, OperatorError, StorageUnavailable
from imagegate.ids import new_id
from imagegate.media.folders import Folders, sync_folder
from imagegate.media.group_writer import GroupWriter
from imagegate.media.objects import (
    ID_FILE,
    STORED,
    TIMEOUT_S,
    StoredImage,
    checked,
    checked_prefix,
    mime_of,
    read_id,
    split_aside,
)
from imagegate.media.writer_process import SMALL_BYTES, WriterProcess
from imagegate.pool import WorkPool

P = ParamSpec("P")
T = TypeVar("T")

CHUNK_BYTES = 2 * 1024 * 1024
READ_THREADS = 4
FOLDER_DIGITS = 8
SWEEP_AFTER_S = 2 * 3600
"""A folder that is this old gets no new images, and leftovers that are this old belong to no writer."""


class LocalStore:
    def __init__(self, root: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        """Makes the folder, private to this user. Raises OperatorError when it cannot."""
        self._root = str(root.absolute())
        self._incoming = f"{self._root}/.incoming"
        self._timeout_s = timeout_s
        try:
            root.absolute().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folders = Folders(os.path.dirname(self._root))
            folders.make(self._incoming)
            sweep_incoming(self._incoming)
        except OSError as error:
            raise OperatorError(f"The image folder {root} cannot be used: {error.strerror}.") from None
        self._large = GroupWriter(folders, self._incoming)
        self._small = WriterProcess(os.path.dirname(self._root), self._incoming)
        self._readers = WorkPool(threads=READ_THREADS, name="store-read")

    async def put(self, name: str, data: bytes) -> None:
        folder, file = self._place(checked(name))
        try:
            if len(data) <= SMALL_BYTES:
                await self._small.write(folder, file, data, self._timeout_s)
            else:
                async with asyncio.timeout(self._timeout_s):
                    await self._large.write(folder, file, data)
        except OSError:
            raise StorageUnavailable from None

    async def get(self, name: str) -> bytes:
        return await self._read(self._path(name).read_bytes)

    async def open(self, name: str) -> StoredImage:
        path = self._path(name)
        size_bytes, first = await self._read(read_first, path)
        return StoredImage(size_bytes, mime_of(name), self._chunks(path, size_bytes, first))

    async def exists(self, name: str) -> bool:
        return await self._read(self._path(name).is_file)

    async def delete(self, name: str) -> None:
        await self._read(remove, self._path(name))

    async def list(self, prefix: str) -> list[str]:
        held, place = split_aside(checked_prefix(prefix))
        account, env, generation, epoch, *_ = [*place.split("/"), ""]
        folder = f"{self._root}/{held}{account}/{env}/{generation[:FOLDER_DIGITS]}"
        files = await self._read(scan, folder, f"{generation}.{epoch}." if epoch else f"{generation}.")
        names = (f"{held}{account}/{env}/{file.replace('.', '/', 2)}" for file in files)
        return sorted(name for name in names if STORED.fullmatch(name))

    async def identify(self) -> UUID:
        return read_id(await self._read(find_or_make_id, self._root, self._incoming))

    async def close(self) -> None:
        await self._small.close(self._timeout_s)
        await asyncio.to_thread(self._large.close, self._timeout_s)
        await asyncio.to_thread(self._readers.close)

    def local_path(self, name: str) -> Path | None:
        """The file, for servers that send files by themselves; None when it is not there."""
        path = self._path(name)
        return path if path.is_file() else None

    def _place(self, name: str) -> tuple[str, str]:
        """Folder and file of an object."""
        held, place = split_aside(name)
        account, env, generation, epoch, rest = place.split("/")
        return (
            f"{self._root}/{held}{account}/{env}/{generation[:FOLDER_DIGITS]}",
            f"{generation}.{epoch}.{rest}",
        )

    def _path(self, name: str) -> Path:
        return Path(*self._place(checked(name)))

    async def _read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._readers.run(work, *args, **kwargs)
        except FileNotFoundError:
            raise NotFound("This image does not exist any more.") from None
        except OSError:
            raise StorageUnavailable from None

    async def _chunks(self, path: Path, size_bytes: int, first: bytes) -> AsyncIterator[bytes]:
        sent, chunk = 0, first
        while chunk:
            yield chunk
            sent += len(chunk)
            chunk = await self._read(read_at, path, sent) if sent < size_bytes else b""


def read_first(path: Path) -> tuple[int, bytes]:
    """Size and first chunk in one go: most images are no longer."""
    with path.open("rb", buffering=0) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        return size_bytes, file.read(min(size_bytes, CHUNK_BYTES))


def read_at(path: Path, position: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(position)
        return file.read(CHUNK_BYTES)


def scan(folder: str, begins: str) -> list[str]:
    """The files of a folder whose names begin so."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.name.startswith(begins)]
    except FileNotFoundError:
        return []


def remove(path: Path) -> None:
    """The file, and its folder when that is old and this was the last one in it."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    folder = path.parent
    sync_folder(str(folder))
    began_s = (int(folder.name, 16) << (48 - 4 * FOLDER_DIGITS)) / 1000
    if time.time() - began_s > SWEEP_AFTER_S:
        with suppress(OSError):
            folder.rmdir()


def sweep_incoming(incoming: str) -> None:
    """Remove what writers left behind that were killed."""
    with os.scandir(incoming) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > SWEEP_AFTER_S:
                    os.unlink(entry.path)


def find_or_make_id(root: str, incoming: str) -> bytes:
    """What the id file says. A link into place is atomic and fails where another process was first."""
    path = Path(root, ID_FILE)
    with suppress(FileNotFoundError):
        return path.read_bytes()
    draft = Path(incoming, f"id-{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(f"{new_id()}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(root)
    return path.read_bytes()
