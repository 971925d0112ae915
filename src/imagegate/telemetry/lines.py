"""Log lines go out in a thread of their own: whoever logs never waits for whoever reads."""

import logging
import os
import select
import time
from collections.abc import Mapping
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from pydantic_core import to_json

MOST_LINES = 8192
LONGEST_LINE_BYTES = 64 * 1024
GATHER_S = 0.02
"""Lines that come within so much of each other are written at once."""
FLUSH_S = 2.0


class Lines:
    """A bounded queue before a file descriptor. What finds it full is dropped, and counted."""

    def __init__(self, fd: int, *, most: int = MOST_LINES) -> None:
        self._fd = fd
        self._most = most
        self._queue: SimpleQueue[bytes | Event] = SimpleQueue()
        self._told = 0
        self.dropped = 0
        Thread(target=self._write, name="log lines", daemon=True).start()

    def put(self, line: bytes) -> None:
        """line: with the newline at its end. Returns at once, and never raises."""
        if self._queue.qsize() >= self._most or len(line) > LONGEST_LINE_BYTES:
            self.dropped += 1
        else:
            self._queue.put(line)

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def flush(self) -> None:
        """Wait until what was put so far is written, a moment at most."""
        written = Event()
        self._queue.put(written)
        written.wait(FLUSH_S)

    def _write(self) -> None:
        while True:
            batch = [self._queue.get()]
            if isinstance(batch[0], bytes) and self._queue.empty():
                time.sleep(GATHER_S)
            while not self._queue.empty() and len(batch) < self._most:
                batch.append(self._queue.get())
            self._out(b"".join(part for part in batch if isinstance(part, bytes)) + self._missing())
            for part in batch:
                if isinstance(part, Event):
                    part.set()

    def _missing(self) -> bytes:
        """A line that says how many are missing, once there is room again."""
        dropped, self._told = self.dropped - self._told, self.dropped
        return (
            line_of({"event": "log_lines_dropped", "level": "warning", "lines": dropped}) if dropped else b""
        )

    def _out(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                select.select((), (self._fd,), ())
            except OSError:  # nobody will ever read them
                self.dropped += data.count(b"\n")
                self._told = self.dropped
                return


class Handler(logging.Handler):
    """What libraries log goes the same way."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            forget_rows(record.exc_info[1])
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self._lines.put(text.encode("utf-8", "replace") + b"\n")


def forget_rows(error: BaseException | None) -> None:
    """Take the rows out of an error and all that led to it: PostgreSQL shows what it refuses, prompts and all."""
    left: list[Any] = [error]
    seen: set[int] = set()
    while left:
        found = left.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        if getattr(found, "detail", None) is not None and hasattr(found, "sqlstate"):
            found.detail = None
        left += [found.__cause__, found.__context__]


def line_of(event: Mapping[str, Any]) -> bytes:
    """One JSON object and a newline, whatever is in it."""
    try:
        return to_json(event, fallback=repr, inf_nan_mode="strings") + b"\n"
    except ValueError:  # bytes that are no UTF-8, or a lone surrogate
        return to_json({name: ascii(value) for name, value in event.items()}) + b"\n"
