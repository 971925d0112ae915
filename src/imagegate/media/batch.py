"""Files that go to the disk together: content first, then names, then folders.

It runs in the gateway's threads and in the writer's process, so it imports little.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count

from imagegate.media.folders import Folders, sync_folder

BATCH_FILES = 64
BATCH_BYTES = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class NewFile:
    """One file on its way. `error` is what kept it from being durable; `temporary` exists until the rename."""

    folder: str
    name: str
    data: bytes
    temporary: str | None = None
    fd: int = -1
    error: Exception | None = None


class BatchWriter:
    """Safe in many threads, as long as each has a batch of its own. Temporary files lie in `incoming`."""

    def __init__(self, folders: Folders, incoming: str) -> None:
        self._folders = folders
        self._incoming = incoming
        self._mark = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._number = count()

    def write(self, batch: Sequence[NewFile]) -> None:
        """Afterwards every file without an `error` is durable, with its name and folder; of one with an error
        nothing is left, unless it was there before or the folder's own sync failed."""
        try:
            self._write(batch)
        except Exception as error:  # a waiter must never wait for a thread that died
            for file in batch:
                file.error = file.error or error

    def _write(self, batch: Sequence[NewFile]) -> None:
        """Whatever a crash in between leaves under a name is whole."""
        for file in batch:
            with _blamed(file):
                self._stage(file)
        for file in _healthy(batch):
            with _blamed(file):
                os.fsync(file.fd)
        for file in _healthy(batch):
            with _blamed(file):
                self._publish(file)
        by_folder: dict[str, list[NewFile]] = {}
        for file in _healthy(batch):
            by_folder.setdefault(file.folder, []).append(file)
        for folder, files in by_folder.items():
            with _blamed(*files):
                sync_folder(folder)
        for file in batch:
            _clean_up(file)

    def _stage(self, file: NewFile) -> None:
        file.temporary = f"{self._incoming}/{self._mark}-{next(self._number)}"
        file.fd = os.open(file.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        rest = memoryview(file.data)
        while rest:
            rest = rest[os.write(file.fd, rest) :]
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)  # starts writing now, waits for nothing

    def _publish(self, file: NewFile) -> None:
        assert file.temporary is not None
        path = f"{file.folder}/{file.name}"
        self._folders.make(file.folder)
        try:
            os.rename(file.temporary, path)
        except FileNotFoundError:  # the folder was swept away since it was last used
            self._folders.forget()
            self._folders.make(file.folder)
            os.rename(file.temporary, path)
        file.temporary = None


@contextmanager
def _blamed(*files: NewFile) -> Iterator[None]:
    """What goes wrong inside happened to these files, and to no other of the batch."""
    try:
        yield
    except OSError as error:
        for file in files:
            file.error = error


def _healthy(batch: Iterable[NewFile]) -> list[NewFile]:
    return [file for file in batch if file.error is None]


def _clean_up(file: NewFile) -> None:
    if file.fd >= 0:
        with suppress(OSError):
            os.close(file.fd)
    if file.temporary is not None:
        with suppress(OSError):
            os.unlink(file.temporary)
