"""The process that writes small images: files come in through a socket, answers go back once they are durable.

Only the standard library and its two neighbours are imported, and nothing is read from the environment. Integers
are little-endian. A request is REQUEST, the file's path, its content; an answer is ANSWER. The process ends when the
other end of the socket is gone, after it has written every whole request that had arrived.
"""

import errno
import os
import signal
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass

from imagegate.media.batch import BATCH_BYTES, BATCH_FILES, BatchWriter, NewFile
from imagegate.media.folders import Folders

REQUEST = struct.Struct("<IHI")
"""Number, bytes of the path, bytes of the content."""
ANSWER = struct.Struct("<Ii")
"""Number of the request, errno or 0."""
THREADS = 2
READ_BYTES = 1024 * 1024


@dataclass(slots=True, eq=False, kw_only=True)
class Requested(NewFile):
    number: int


class Inbox:
    """What arrives, cut into batches. The threads take turns at it; each writes and answers what it took."""

    def __init__(self, socket: int) -> None:
        self._socket = socket
        self._turn = threading.Lock()
        self._arrived = bytearray()

    def take(self) -> list[Requested]:
        """Waits for a file, and takes all that are there, up to a batch. Empty when no more can come."""
        with self._turn:
            while not (batch := self._cut()):
                try:
                    read = os.read(self._socket, READ_BYTES)
                except ConnectionError:
                    return []
                if not read:
                    return []
                self._arrived += read
            return batch

    def _cut(self) -> list[Requested]:
        batch: list[Requested] = []
        end = 0
        with memoryview(self._arrived) as arrived:
            while len(batch) < BATCH_FILES and end < BATCH_BYTES and len(arrived) - end >= REQUEST.size:
                number, path_bytes, data_bytes = REQUEST.unpack_from(arrived, end)
                path_at = end + REQUEST.size
                data_at = path_at + path_bytes
                if data_at + data_bytes > len(arrived):
                    break
                end = data_at + data_bytes
                folder, _, name = os.fsdecode(bytes(arrived[path_at:data_at])).rpartition("/")
                batch.append(Requested(folder, name, bytes(arrived[data_at:end]), number=number))
        del self._arrived[:end]
        return batch


def errno_of(error: Exception | None) -> int:
    if error is None:
        return 0
    return getattr(error, "errno", None) or errno.EIO


def serve(socket: int, root: str, incoming: str) -> None:
    """Until the other end is gone. root, incoming: as of Folders and BatchWriter."""
    inbox = Inbox(socket)
    writer = BatchWriter(Folders(root), incoming)
    answering = threading.Lock()

    def work() -> None:
        while batch := inbox.take():
            writer.write(batch)
            answers = b"".join(ANSWER.pack(file.number, errno_of(file.error)) for file in batch)
            with answering, suppress(ConnectionError):  # without a gateway, what has arrived is still written
                while answers:
                    answers = answers[os.write(socket, answers) :]

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def give_up(failure: threading.ExceptHookArgs) -> None:
    """A gateway that sees the socket close starts another child; one whose answers stay away would only wait."""
    print(f"The process that writes images failed: {failure.exc_value!r}", file=sys.stderr, flush=True)
    os._exit(1)


def main(socket: int, root: str, incoming: str) -> None:
    """A stopping gateway still sends images, so what stops it must not stop this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.excepthook = give_up
    serve(socket, root, incoming)
