"""Log lines go out in order, in a thread of their own; nobody waits for a reader that does not read."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from imagegate.telemetry.lines import LONGEST_LINE_BYTES, Handler, Lines, line_of

PIPE_BYTES = 64 * 1024
"""What Linux keeps of a pipe that nobody reads."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with suppress(OSError):
            os.close(end)


def test_lines_are_written_in_their_order(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = Lines(writer)

    for number in range(100):
        lines.put(line_of({"event": "generation", "number": number}))
    lines.flush()

    read = [json.loads(line)["number"] for line in os.read(reader, PIPE_BYTES).splitlines()]
    assert (read, lines.dropped) == (list(range(100)), 0)


def test_a_pipe_that_nobody_reads_delays_nobody_and_what_is_missing_is_counted(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines, line = Lines(writer, most=50), b"x" * 4095 + b"\n"

    began = time.monotonic()
    for _ in range(5000):
        lines.put(line)
    took_s = time.monotonic() - began
    while lines.waiting:
        dropped = lines.dropped
        os.read(reader, PIPE_BYTES)
    lines.put(line_of({"event": "later"}))
    said = b""
    while b'"later"' not in said:
        said += os.read(reader, PIPE_BYTES)

    assert took_s < 1
    assert dropped > 4000
    assert said.index(b'"event":"log_lines_dropped"') < said.index(b'"later"')


def test_without_a_reader_lines_are_dropped_and_the_writer_lives_on(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    lines = Lines(writer)

    for _ in range(3):
        lines.put(b"nobody reads this\n")
        lines.flush()

    assert lines.dropped == 3


def test_a_line_that_is_too_long_is_dropped(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1])

    lines.put(b"x" * (LONGEST_LINE_BYTES + 1))

    assert lines.dropped == 1


@pytest.mark.parametrize("value", ["\ud800", b"\xff", object(), float("nan"), {"a": {1, 2}}])
def test_whatever_is_in_an_event_is_one_line_of_json(value: object) -> None:
    line = line_of({"event": "odd", "value": value})

    assert line.count(b"\n") == 1
    assert "odd" in json.loads(line)["event"]


def test_what_libraries_log_goes_the_same_way(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = Lines(writer)
    handler = Handler(lines)

    handler.handle(logging.makeLogRecord({"msg": "a library says %s", "args": ("this",)}))
    lines.flush()

    assert os.read(reader, PIPE_BYTES) == b"a library says this\n"


PROGRAM = """
import asyncio, os, sys, time
import structlog
from imagegate.cli.logs import log_to_stderr
lines = log_to_stderr(sys.argv[1])
log = structlog.get_logger()

async def main():
    began = time.monotonic()
    for number in range(30_000):
        log.info("generation", number=number, prompt_free="x" * 200)
    print(time.monotonic() - began, lines.dropped, flush=True)

asyncio.run(main())
os._exit(0)
"""


@pytest.mark.parametrize(("level", "dropped"), [("INFO", True), ("WARNING", False)])
def test_the_event_loop_never_waits_for_a_stderr_that_is_full(level: str, dropped: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, level], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        took_s, missing = process.stdout.readline().split()
        process.kill()

    assert float(took_s) < 8
    assert (int(missing) > 0) is dropped
