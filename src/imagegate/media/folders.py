"""Folders that outlive a power cut: each is named in its parent, and the parent is synced."""

import os
from contextlib import suppress

MAX_KNOWN = 10_000


class Folders:
    """Makes folders under a root that exists, and remembers which of them are on the disk already.

    A folder that another process has just made is synced once more by the first one here that uses it.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._known = {root}

    def make(self, folder: str) -> None:
        """From any thread. When it returns, the folder and all above it are durable. Raises OSError."""
        if folder in self._known:
            return
        parent = os.path.dirname(folder)
        self.make(parent)
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        sync_folder(parent)
        if len(self._known) >= MAX_KNOWN:
            self.forget()
        self._known.add(folder)

    def forget(self) -> None:
        self._known = {self._root}


def sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
