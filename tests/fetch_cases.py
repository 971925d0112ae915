"""What the tests of fetching share: a name service of their own, and a short way to fetch."""

import asyncio
import socket
from typing import Any

import pytest

from imagegate.outbound import Outbound

Names = dict[str, list[str]]


def own_names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A name service of the test's own: name → addresses; each look-up takes one list, the last one stays."""
    table: Names = {}

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        answers = table[host]
        text = answers.pop(0) if len(answers) > 1 else answers[0]
        kinds = [socket.AF_INET6 if ":" in a else socket.AF_INET for a in text.split()]
        return [
            (kind, socket.SOCK_STREAM, 6, "", (a, port)) for kind, a in zip(kinds, text.split(), strict=True)
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return table


async def fetch(
    outbound: Outbound, url: str, *trusted: str, max_bytes: int = 1_000_000, timeout_s: float = 5.0
) -> bytes:
    return await outbound.fetch(
        url, trusted_hosts=frozenset(trusted), timeout_s=timeout_s, max_bytes=max_bytes, provider="fake"
    )
