"""Small images, written by a child process: what its threads do takes no turn from the event loop.

A file is half a dozen system calls, and a thread of the gateway gives the interpreter's lock back and fights for it
again at each of them. Here the gateway only hands the image to a socket and reads the answer; see `writer_child`.

Measured with 64 writers of 4 KB on two busy cores, with some 0.4 ms of Python between two images of each: a write by
threads costs the gateway 0.37 ms of CPU, a write by the child 0.09 ms, and the child 0.21 ms; 1,170 images/s became
1,470. The whole gateway went from 2.4 to 1.4 ms of CPU per request. At 256 KB the gateway pays 0.2 instead of 1.3 ms,
but the child pays 1.4 ms, most of it for copying: larger images stay with the threads. The child answers for the
first time after 50 ms, and holds 14 MB, 6 of them its own (some 23 MB when all images have 256 KB).
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import cast

import structlog

import imagegate
from imagegate.media.writer_child import ANSWER, REQUEST

log = structlog.get_logger()

SMALL_BYTES = 256 * 1024
MAX_WAITING_BYTES = 256 * 1024 * 1024
BUFFER_BYTES = 1024 * 1024
RESTART_S = 1.0
"""A child that dies is replaced at once, but never twice in this time."""
END_S = 5.0
"""How long a killed child is waited for."""
LARGEST_NUMBER = 0xFFFFFFFF

PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from imagegate.media.writer_child import main; "
    "main(int(sys.argv[2]), sys.argv[3], sys.argv[4])"
)
"""With -I and -S: no PYTHON variable, working directory or start-up file of site-packages has a say in it."""


class WriterProcess:
    """`write` returns when content, name and folder are on the disk. For one event loop.

    The child starts with the first file. When it dies, the files that it had not answered for fail.
    """

    def __init__(self, root: str, incoming: str, *, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        """root, incoming: as of Folders and BatchWriter."""
        self._folders = (root, incoming)
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: dict[int, tuple[asyncio.Future[None], int]] = {}
        self._waiting_bytes = 0
        self._numbers = count()
        self._unsent: list[bytes] = []
        self._transport: asyncio.WriteTransport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._started_at = float("-inf")
        self._closed = False

    async def write(self, folder: str, name: str, data: bytes, timeout_s: float) -> None:
        """Raises OSError, also when the child died, or took longer than `timeout_s`; such a write goes on to its end.

        So does one whose waiter is cancelled.
        """
        if self._closed:
            raise OSError("the store is closed")
        if self._waiting_bytes + len(data) > self._max_waiting_bytes:
            raise OSError("too much is waiting for the disk")
        loop = asyncio.get_running_loop()
        path = os.fsencode(f"{folder}/{name}")
        number = next(self._numbers) & LARGEST_NUMBER
        done = loop.create_future()
        self._waiting[number] = done, len(data)
        self._waiting_bytes += len(data)
        if not self._unsent:
            loop.call_soon(self._flush)
        self._unsent += REQUEST.pack(number, len(path), len(data)) + path, data
        expiry = loop.call_later(timeout_s, expire, done)
        try:
            await done
        finally:
            expiry.cancel()

    async def close(self, timeout_s: float) -> None:
        """Write what waits, then let the child end. One that the disk holds is killed, or left to its fate."""
        self._closed = True
        if waiting := [done for done, _ in self._waiting.values() if not done.done()]:
            await asyncio.wait(waiting, timeout=timeout_s)
        if self._starting is not None:
            await self._starting
        if self._transport is not None:
            self._transport.close()
        if self._process is not None:
            await asyncio.to_thread(end, self._process, timeout_s)

    def _flush(self) -> None:
        """All files of one turn of the loop go out together; those that find no child wait for one."""
        if not self._unsent:
            return
        if self._transport is not None:
            self._transport.writelines(self._unsent)
            self._unsent = []
        elif self._starting is None:
            self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(self._started_at + RESTART_S - loop.time())
            self._started_at = loop.time()
            if self._process is not None:
                await asyncio.to_thread(end, self._process, 0)
            ours, self._process = await asyncio.to_thread(start, *self._folders)
            await loop.create_unix_connection(
                lambda: Answers(self._found, self._answered, self._lost), sock=ours
            )
        except Exception as error:  # whatever it is, nobody may wait for a child that did not start
            log.warning("image_writer_not_started", error=repr(error))
            self._fail()
        finally:
            self._starting = None
        self._flush()

    def _found(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    def _answered(self, number: int, errno: int) -> None:
        done, size_bytes = self._waiting.pop(number)
        self._waiting_bytes -= size_bytes
        if done.done():
            return
        if errno:
            done.set_exception(OSError(errno, os.strerror(errno)))
        else:
            done.set_result(None)

    def _lost(self) -> None:
        self._transport = None
        if not self._closed:
            log.warning("image_writer_gone", files_waiting=len(self._waiting))
        self._fail()

    def _fail(self) -> None:
        """Nothing can be said of what waits; the next file starts another child."""
        self._unsent = []
        waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
        for done, _ in waiting.values():
            if not done.done():
                done.set_exception(OSError("the process that writes images is gone"))


def expire(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_exception(TimeoutError("the disk took too long"))


class Answers(asyncio.Protocol):
    """The gateway's end of the socket. `lost` is called once, after the last `answered`."""

    def __init__(
        self,
        found: Callable[[asyncio.WriteTransport], None],
        answered: Callable[[int, int], None],
        lost: Callable[[], None],
    ) -> None:
        self._found = found
        self._answered = answered
        self._lost = lost
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._found(cast(asyncio.WriteTransport, transport))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % ANSWER.size
        self._rest = data[whole:]
        for number, errno in ANSWER.iter_unpack(data[:whole]):
            self._answered(number, errno)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()


def start(root: str, incoming: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Our end of the child's socket, and the child. Raises OSError. Takes some milliseconds."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            package = Path(imagegate.__file__).absolute().parents[1]
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", PROGRAM, package, str(theirs.fileno()), root, incoming],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return ours, process


def end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait for a child whose socket is closed; kill it when it takes longer."""
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
