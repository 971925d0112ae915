"""A loopback proxy before PostgreSQL's socket, which does to its connections what networks do.

It understands no more of PostgreSQL than whether a transaction is open, and looks for words in what a client sends, so
that a fault can strike exactly there.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self

from sqlalchemy.engine import make_url

COMMIT = b"COMMIT"
IN_TRANSACTION, IDLE = b"Z\0\0\0\5T", b"Z\0\0\0\5I"
"""How each answer of the server ends: «ready for query», and whether a transaction is open."""
RESET_AT_ONCE = struct.pack("ii", 1, 0)
PIECE_BYTES = 256 * 1024


class Fault(Enum):
    """What happens, at once to every connection or, for the last two, to the one that commits.

    BLACKHOLE: bytes are taken and nothing is passed on, not even the end of a connection.
    """

    NONE = "none"
    DELAY = "delay"
    BLACKHOLE = "blackhole"
    RESET = "reset"
    LOSE_ANSWER = "lose the answer to the commit"
    LOSE_COMMIT = "lose the commit"


@dataclass(frozen=True)
class Trap:
    """Springs once, before the server sees what is sent: as a client sends `word`, or as it commits what had the word.

    Outside a transaction a statement commits itself, so there both are one.
    """

    word: bytes
    fault: Fault
    at_commit: bool = False


@dataclass(eq=False)
class Link:
    """One client's connection and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    sent: bytearray = field(default_factory=bytearray)
    answered: bytes = b""
    dark: bool = False
    losing_answer: bool = False


class FaultProxy:
    """`async with FaultProxy(folder_of_the_socket) as proxy:`; `url` leads through it, `heal` ends every fault."""

    def __init__(self, socket_dir: Path, delay_s: float = 0.1) -> None:
        self._path = socket_dir / ".s.PGSQL.5432"
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trap: Trap | None = None
        self._fault = Fault.NONE
        self._delay_s = delay_s
        self.sprung = asyncio.Event()
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, direct: str) -> str:
        """The database URL `direct`, which names the socket's folder, through this proxy."""
        through = make_url(direct).set(host="127.0.0.1", port=self.port, query={})
        return through.render_as_string(hide_password=False)

    def strike(self, fault: Fault) -> None:
        """From now on, for every connection."""
        self._fault = fault
        for link in set(self._links):
            link.dark = link.dark or fault is Fault.BLACKHOLE
            if fault is Fault.RESET:
                reset(link.client)

    def heal(self) -> None:
        """New connections are sound again. What was lost in a black hole stays lost; its ends learn that now."""
        self._trap, self._fault = None, Fault.NONE
        for link in {link for link in self._links if link.dark}:
            reset(link.client)
            link.server.close()

    def arm(self, trap: Trap) -> None:
        self._trap = trap
        self.sprung.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            if self._fault is Fault.RESET:
                reset(writer)
                return
            answers, server = await asyncio.open_unix_connection(str(self._path))
            link = Link(writer, server, dark=self._fault is Fault.BLACKHOLE)
            self._links.add(link)
            await self._carry(link, reader, answers)
        except OSError:
            writer.close()
        except asyncio.CancelledError:
            reset(writer)
        finally:
            self._tasks.discard(task)

    async def _carry(self, link: Link, asked: asyncio.StreamReader, answers: asyncio.StreamReader) -> None:
        """Until either end is gone; then, unless it is dark, the other end learns it."""
        ways = {asyncio.create_task(self._up(link, asked)), asyncio.create_task(self._down(link, answers))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            while link.dark and self._fault is Fault.BLACKHOLE:
                await asyncio.sleep(0.01)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._links.discard(link)
            for end in (link.client, link.server):
                end.close()

    async def _up(self, link: Link, asked: asyncio.StreamReader) -> None:
        """From the client to the server."""
        while piece := await asked.read(PIECE_BYTES):
            link.sent += piece
            if self._springs(link):
                self._spring(link)
            if self._fault is Fault.DELAY:
                await asyncio.sleep(self._delay_s)
            if not link.dark:
                link.server.write(piece)
                await link.server.drain()

    async def _down(self, link: Link, answers: asyncio.StreamReader) -> None:
        """From the server to the client."""
        while piece := await answers.read(PIECE_BYTES):
            link.answered = (link.answered + piece)[-len(IDLE) :]
            if link.answered == IDLE:
                link.sent.clear()
            if link.losing_answer:
                if link.answered == IDLE:
                    reset(link.client)
                    return
            elif not link.dark:
                link.client.write(piece)
                await link.client.drain()

    def _springs(self, link: Link) -> bool:
        trap = self._trap
        if trap is None or trap.word not in link.sent:
            return False
        return not trap.at_commit or link.answered == IDLE or COMMIT in link.sent

    def _spring(self, link: Link) -> None:
        assert self._trap is not None
        fault, self._trap = self._trap.fault, None
        if fault is Fault.LOSE_ANSWER:
            link.losing_answer = True
        elif fault is Fault.LOSE_COMMIT:
            link.dark = True  # the server must not see it, and rolls back as its connection ends
            reset(link.client)
        else:
            self.strike(fault)
        self.sprung.set()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection so that its peer sees «connection reset», not an orderly end."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
    writer.transport.abort()
