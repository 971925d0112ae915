"""Requests that two servers in a row could cut differently, and values that would break out of a header."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from tests.attackers.conftest import Served

HOST = b"Host: 127.0.0.1\r\n"
HIDDEN = b"GET /v1/hidden-route HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
"""What must never be answered as a request of its own."""
NEXT = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
POST = b"POST /v1/images/generations HTTP/1.1\r\n" + HOST
JSON = b"Content-Type: application/json\r\n"
PATIENCE_S = 1.0


async def exchange(port: int, *pieces: bytes, patience_s: float = PATIENCE_S) -> bytes:
    """What comes back on one connection until it is closed, or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        while part := await asyncio.wait_for(reader.read(65536), patience_s):
            got += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return got


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def sized(body: bytes, *more: bytes) -> bytes:
    return POST + JSON + b"".join(more) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(raw: bytes, te: bytes = b"Transfer-Encoding: chunked\r\n") -> bytes:
    return POST + JSON + te + b"\r\n" + raw


CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"
SMUGGLED: dict[str, bytes] = {
    "length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "two lengths in one": POST + b"Content-Length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "twice the same length": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "a length with a plus": POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "a length below nothing": POST + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "a hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n" + HIDDEN,
    "a length with an underscore": POST + b"Content-Length: 0_0\r\n\r\n" + HIDDEN,
    "a length that overflows": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + HIDDEN,
    "an empty length": POST + b"Content-Length: \r\n\r\n" + HIDDEN,
    "a blank before the colon": POST + b"Content-Length : %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an unknown coding": chunked(b"0\r\n\r\n" + HIDDEN, b"Transfer-Encoding: xchunked\r\n"),
    "chunks, then another": chunked(b"0\r\n\r\n" + HIDDEN, b"Transfer-Encoding: chunked, identity\r\n"),
    "another line of codings": chunked(
        b"0\r\n\r\n" + HIDDEN, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"
    ),
    "chunks in quotes": chunked(b"0\r\n\r\n" + HIDDEN, b'Transfer-Encoding: "chunked"\r\n'),
    "chunks after a vertical tab": chunked(b"0\r\n\r\n" + HIDDEN, b"Transfer-Encoding: \x0bchunked\r\n"),
    "a coding on the next line": chunked(b"0\r\n\r\n" + HIDDEN, b"Transfer-Encoding:\r\n chunked\r\n"),
    "a folded header": POST + b"X-A: b\r\n Content-Length: 5\r\n\r\n" + HIDDEN,
    "a header that begins with a blank": POST + b" Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a bare line feed between headers": POST + b"X-A: b\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a bare carriage return": POST + b"X-A: b\rContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a bare line feed at the end": POST + b"Content-Length: 0\r\n\n" + HIDDEN,
    "a NUL in a name": POST + b"Content-\0Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a NUL in a value": POST + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "a colon too few": POST + b"Content-Length 0\r\n\r\n" + HIDDEN,
    "no name": POST + b": 0\r\n\r\n" + HIDDEN,
    "bytes in a name": POST + b"Content\xffLength: 0\r\n\r\n" + HIDDEN,
    "a chunk without a size": chunked(b"\r\n\r\n" + HIDDEN),
    "a chunk below nothing": chunked(b"-1\r\n\r\n" + HIDDEN),
    "a chunk with 0x": chunked(b"0x0\r\n\r\n" + HIDDEN),
    "a chunk that overflows": chunked(b"10000000000000002\r\n{}\r\n0\r\n\r\n" + HIDDEN),
    "a chunk longer than it says": chunked(b"1\r\n{}\r\n0\r\n\r\n" + HIDDEN),
    "a chunk after a bare line feed": chunked(b"2\n{}\n0\n\n" + HIDDEN),
    "a size with a blank": chunked(b"2 \r\n{}\r\n0 \r\n\r\n" + HIDDEN),
    "a NUL in an extension": chunked(b"2;a=\0\r\n{}\r\n0\r\n\r\n" + HIDDEN),
    "an unknown version": b"GET /v1/models HTTP/1.9\r\n" + HOST + b"\r\n" + HIDDEN,
    "a blank in the path": b"GET /v1/models HTTP/1.1 HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a NUL in the path": b"GET /v1/\0models HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a line feed in the path": b"GET /v1/mo\ndels HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "an unknown method": b"SMUGGLE /v1/models HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "TLS on the plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "HTTP/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
}


OLD = b"GET /v1/nothing-here\r\n\r\n" + HIDDEN
"""HTTP/0.9 has neither headers nor a second request on a connection."""
UPGRADES = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n",
)
MB = 1024 * 1024


async def test_what_two_servers_could_cut_differently_is_refused_and_ends_the_connection(
    served: Served,
) -> None:
    answers = await asyncio.gather(*(exchange(served.port, raw, NEXT) for raw in SMUGGLED.values()))

    assert len(SMUGGLED) > 40
    for name, answer in zip(SMUGGLED, answers, strict=True):
        assert statuses(answer) == [400], (name, answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"connection: close" in head, name
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}, name
        assert b"hidden-route" not in answer, name


async def test_an_answer_to_http_0_9_is_the_last_on_its_connection(served: Served) -> None:
    answer = await exchange(served.port, OLD, NEXT)

    assert len(statuses(answer)) <= 1
    assert b"hidden-route" not in answer


@pytest.mark.parametrize("upgrade", UPGRADES, ids=["h2c", "websocket"])
async def test_what_follows_a_wish_to_speak_otherwise_is_not_passed_by(
    served: Served, upgrade: bytes
) -> None:
    asks = b"GET /healthz HTTP/1.1\r\n" + HOST + upgrade + b"\r\n"

    answer = await exchange(served.port, asks + HIDDEN)

    assert 101 not in statuses(answer)
    assert set(statuses(answer)) <= {200, 400, 404, 426}
    assert statuses(answer)[:1] != [404], "the hidden one was answered in place of the first"


async def test_requests_behind_each_other_are_answered_in_their_order(served: Served) -> None:
    ask = b"".join(b"GET /v1/none-%d HTTP/1.1\r\n" % number + HOST + b"\r\n" for number in range(20))

    answer = await exchange(served.port, ask, NEXT)

    assert statuses(answer) == [404] * 20 + [200]


@pytest.mark.parametrize("name", ["Authorization: Bearer", "X-Api-Key:", "Api-Key:"])
async def test_a_key_behind_the_body_is_no_key(served: Served, name: str) -> None:
    trailer = f"{name} {served.account.key}\r\n\r\n".encode()

    at_once = await exchange(served.port, chunked(CHUNKS[:-2] + trailer), NEXT)
    later = await exchange(served.port, chunked(CHUNKS[:-2]), trailer, NEXT)

    assert statuses(at_once) == [401, 200], at_once
    assert statuses(later)[0] == 401, later


async def test_headers_behind_the_body_change_nothing(served: Served) -> None:
    """Neither who asks nor what a repetition is; and they are not answered."""
    key = b"X-Api-Key: " + served.account.test_key.encode() + b"\r\n"
    trailers = b"X-Request-Id: from-a-trailer\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n"

    answer = await exchange(
        served.port, chunked(CHUNKS[:-2] + trailers, b"Transfer-Encoding: chunked\r\n" + key)
    )

    assert statuses(answer)[:1] == [400]
    assert b"from-a-trailer" not in answer


def memory_bytes(served: Served) -> int:
    pages = int(Path(f"/proc/{served.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("a header without end", POST + b"X-Big: "),
        ("a name without end", POST),
        ("a path without end", b"GET /"),
        ("a trailer without end", chunked(b"2\r\n{}\r\n0\r\nX-Big: ")),
        ("an extension without end", chunked(b"2;a=")),
    ],
)
async def test_what_has_no_end_is_cut_off_and_not_kept(served: Served, name: str, begin: bytes) -> None:
    before = memory_bytes(served)

    answer = await exchange(served.port, begin, *([b"a" * MB] * 40), NEXT)

    assert memory_bytes(served) - before < 16 * MB, name
    assert set(statuses(answer)) <= {400, 401, 413, 431}, name


async def test_what_is_no_request_is_not_answered_in_place_of_the_one_before(served: Served) -> None:
    """Whoever sends both on one connection would take the refusal for the answer to the first."""
    key = b"X-Api-Key: " + served.account.test_key.encode() + b"\r\n"
    first = sized(b'{"prompt":"a slow one","model":"sandbox","size":"1024x1024"}', key)

    for rest in (b"GARBAGE\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nX : y\r\n\r\n", b"GET /" + b"a" * 70_000):
        at_once, later = await asyncio.gather(
            exchange(served.port, first + rest), exchange(served.port, first, rest)
        )
        assert statuses(at_once) == []
        assert statuses(later) in ([], [200])


async def test_a_thousand_headers_are_too_many_bytes(served: Served) -> None:
    many = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 40) for number in range(1_000))

    answer = await exchange(served.port, POST + many + b"Content-Length: 0\r\nConnection: close\r\n\r\n")

    assert statuses(answer) == [431]


@pytest.mark.parametrize("header", ["Authorization: Bearer", "X-Api-Key:", "Api-Key:"])
async def test_two_credentials_in_one_kind_of_header_are_one_too_many(served: Served, header: str) -> None:
    """A server in front may have looked at the other."""
    mine, other = (f"{header} {key}\r\n".encode() for key in (served.account.key, "igk_live_" + "a" * 49))

    for pair in (mine + other, other + mine):
        ask = b"GET /v1/balance HTTP/1.1\r\n" + HOST + pair + b"Connection: close\r\n\r\n"
        answer = await exchange(served.port, ask)
        assert statuses(answer) == [400], answer
        assert b"ambiguous_credentials" in answer


async def test_two_keys_of_idempotency_are_one_too_many(served: Served) -> None:
    body = b'{"prompt":"a","model":"sandbox","size":"256x256"}'
    key = b"X-Api-Key: " + served.account.test_key.encode() + b"\r\nConnection: close\r\n"
    twice = b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"

    answer = await exchange(served.port, sized(body, key + twice), patience_s=10)

    assert statuses(answer) == [400]
    assert b"invalid_idempotency_key" in answer
