"""Child processes for what may crash, hang or swell: decoding pictures that strangers sent.

A child starts with the first work, some 0.2 s, and does one work after the other. When it dies, the work that it was
at fails and the next one finds another child. What comes back is bytes or a text, and never unpickled: whoever takes a
decoder over has taken over a process without secrets, whose word counts no more than the picture's did.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import structlog

import imagegate
from imagegate.errors import Overloaded
from imagegate.pool.child import ANSWER, DONE

log = structlog.get_logger()

END_S = 5.0
TOO_MUCH = "cannot be decoded within this gateway's limits"

PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from imagegate.pool.child import main; "
    "main(*map(int, sys.argv[2:]))"
)
"""With -I: no PYTHON variable and no working directory has a say in it. Its environment holds no secret."""
KEPT_VARIABLES = ("LD_LIBRARY_PATH", "TMPDIR")
LONGEST_ANSWER_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one work may take, apart from everything else.

    room_bytes: of address space; the most that a picture of 40 megapixels was seen to need is 0.9 GB (PNG of 16 bits
    with alpha). cpu_s: whole seconds; such a picture was seen to need 4. patience_s: altogether, where CPU time is
    short or something is waited for that never comes.
    """

    room_bytes: int = 1536 * 1024 * 1024
    cpu_s: int = 10
    patience_s: float = 60.0


class Unworkable(ValueError):
    """The work could not be done. The message says why, as the end of a sentence about the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    process: "subprocess.Popen[bytes]"
    socket: socket.socket
    reader: BinaryIO
    writer: BinaryIO


class Children:
    """As many as there are threads that ask, each at one work."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._all: set[Child] = set()
        self._idle: list[Child] = []
        self._lock = Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._all)

    def ask(self, work: Callable[..., bytes], *args: object, **kwargs: object) -> bytes:
        """Blocking. Raises Unworkable, Overloaded."""
        child = self._take()
        try:
            kind, answer = converse(child, (work, args, kwargs))
        except (OSError, EOFError):
            self._drop(child)
            raise Unworkable(TOO_MUCH) from None
        except BaseException:
            self._drop(child)
            raise
        with self._lock:
            self._idle.append(child)
        if kind != DONE:
            raise Unworkable(answer.decode("utf-8", "replace"))
        return answer

    def close(self) -> None:
        """Kill them: whoever still waits for one finds it gone."""
        with self._lock:
            self._closed = True
            left, self._all = self._all, set()
        for child in left:
            child.process.kill()
        for child in left:
            end(child)

    def _take(self) -> Child:
        while child := self._rested():
            if child.process.poll() is None:
                return child
            self._drop(child)
        try:
            child = start(self._bounds)
        except OSError as error:
            log.warning("picture_process_not_started", error=repr(error))
            text = "This gateway cannot start a process to read the picture with. Try again in a moment."
            raise Overloaded(text) from None
        with self._lock:
            if not self._closed:
                self._all.add(child)
                return child
        end(child)
        raise Overloaded("This gateway is stopping.")

    def _rested(self) -> Child | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _drop(self, child: Child) -> None:
        end(child)
        with self._lock:
            known = child in self._all
            self._all.discard(child)
        if known:
            log.warning("picture_process_gone", ended_by=cause(child.process.returncode))


def converse(child: Child, work: object) -> tuple[int, bytes]:
    """Raises OSError (also TimeoutError) or EOFError when the child does not answer. Long bytes are not copied."""
    pickle.dump(work, child.writer, protocol=5)
    child.writer.flush()
    kind, size = ANSWER.unpack(exactly(child.reader, ANSWER.size))
    if size > LONGEST_ANSWER_BYTES:
        raise EOFError
    return kind, exactly(child.reader, size)


def exactly(reader: BinaryIO, size: int) -> bytes:
    read = reader.read(size)
    if len(read) < size:
        raise EOFError
    return read


def start(bounds: Bounds) -> Child:
    """Raises OSError. The child is ready later; what it is asked waits."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            package = Path(imagegate.__file__).absolute().parents[1]
            numbers = (theirs.fileno(), bounds.room_bytes, bounds.cpu_s)
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", PROGRAM, package, *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment(),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    ours.settimeout(bounds.patience_s)
    return Child(process, ours, ours.makefile("rb"), ours.makefile("wb"))


def environment() -> dict[str, str]:
    """One arena: what its threads reserve would count as memory."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "MALLOC_ARENA_MAX": "1"}


def end(child: Child) -> None:
    """However far it is. Does not raise."""
    child.process.kill()
    for opened in (child.writer, child.reader, child.socket):
        with suppress(OSError):
            opened.close()
    with suppress(subprocess.TimeoutExpired):
        child.process.wait(END_S)


def cause(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"exit {returncode}"
    with suppress(ValueError):
        return signal.Signals(-returncode).name
    return f"signal {-returncode}"
