"""The process that decodes what strangers sent: one work after the other, within limits that the kernel keeps.

A request is a pickle of function, arguments and keyword arguments; an answer is ANSWER and as many bytes. It ends when
the other end of the socket is gone.
"""

import os
import pickle
import resource
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import process_time

ANSWER = struct.Struct("<BQ")
"""DONE or REFUSED, and how many bytes follow: the result, or what is wrong in UTF-8."""
DONE, REFUSED = 0, 1

UNKNOWN = "cannot be decoded"
NICE = 5
"""A request that is waited for goes first."""


def main(number: int, room_bytes: int, cpu_s: int) -> None:
    """number: of the socket. room_bytes: of address space, for good. cpu_s: for each work anew."""
    confine(room_bytes)
    with socket.socket(fileno=number) as ours, ours.makefile("rb") as reader, ours.makefile("wb") as writer:
        while True:
            with suppress(OSError):
                limit(resource.RLIMIT_CPU, int(process_time()) + 1 + cpu_s)
            try:
                work, args, kwargs = pickle.load(reader)  # noqa: S301  our own parent writes it
            except EOFError:
                return
            kind, answer = done(work, args, kwargs)
            del work, args, kwargs
            writer.write(ANSWER.pack(kind, len(answer)))
            writer.write(answer)
            writer.flush()


def done(
    work: Callable[..., bytes], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[int, bytes]:
    """Decoders meet hostile bytes with all kinds of exceptions; the text of a ValueError is meant for the caller."""
    try:
        return DONE, work(*args, **kwargs)
    except ValueError as error:
        return REFUSED, (str(error) or UNKNOWN).encode("utf-8", "replace")
    except Exception:
        return REFUSED, UNKNOWN.encode()


def confine(room_bytes: int) -> None:
    """What a system does not know, it does not limit: macOS has no bound on address space."""
    os.nice(NICE)
    with suppress(OSError):  # when memory runs out, this process is the one to go
        Path("/proc/self/oom_score_adj").write_text("1000")
    for name, most in (
        (resource.RLIMIT_AS, room_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(OSError, ValueError):
            limit(name, most)


def limit(name: int, most: int) -> None:
    _, hard = resource.getrlimit(name)
    resource.setrlimit(name, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
