"""Refusals that a connection gives before there is a request, on raw sockets."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from httpx import AsyncClient

from imagegate.cli.heads import HeadsInTime
from imagegate.load import SMALL_BYTES, Load
from imagegate.services import Services
from tests.conftest import Account
from tests.overload.test_heads import all_of, connected

PATH = "/v1/images/generations"
BODY = b'{"prompt": "a heron", "model": "sandbox", "size": "256x256"}'


@pytest.fixture
async def gateway(services: Services, serve: Callable[[Services], Awaitable[str]]) -> tuple[Load, str]:
    """A gateway that sheds, and its address."""
    gateway = replace(services, load=Load(services.settings))
    url = await serve(gateway)
    gateway.load.shedding = True
    return gateway.load, url


def ask(account: Account, *lines: str, body: bytes = BODY, path: str = PATH, version: str = "1.1") -> bytes:
    usual = (f"POST {path} HTTP/{version}", "host: gateway", f"authorization: Bearer {account.key}")
    length = (
        ()
        if any(line.startswith("transfer-encoding") for line in lines)
        else (f"content-length: {len(body)}",)
    )
    return "\r\n".join((*usual, *length, *lines, "", "")).encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    status, *lines = head.strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def plain(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], str]:
    """Without what no two answers have in common."""
    own = re.compile(r"req_[0-9A-Za-z]+")
    differing = ("date", "x-request-id", "openai-processing-ms", "content-length")
    return {name: value for name, value in headers.items() if name not in differing}, own.sub(
        "", body.decode()
    )


async def test_it_is_the_answer_that_the_line_gives(gateway: tuple[Load, str], account: Account) -> None:
    load, url = gateway
    async with connected(int(url.rpartition(":")[2])) as (reader, writer):
        writer.write(ask(account))
        status, headers, body = await read_answer(reader)
        writer.write(ask(account, path="/openai" + PATH))
        from_the_line = await read_answer(reader)

    assert status == from_the_line[0] == 503
    assert plain(headers, body) == plain(*from_the_line[1:])
    assert set(headers) == set(from_the_line[1])
    assert json.loads(body)["error"]["code"] == "overloaded"
    assert headers["x-request-id"] in json.loads(body)["error"]["message"]
    assert load.shed["late"] == 2


async def test_a_kept_connection_goes_on_wherever_its_body_was_cut(
    gateway: tuple[Load, str], account: Account, services: Services
) -> None:
    load, url = gateway
    whole = ask(account, "x-request-id: mine-1")
    told = []
    async with connected(int(url.rpartition(":")[2])) as (reader, writer):
        for cut in (len(whole), len(whole) - 1, len(whole) - len(BODY), 30):
            writer.write(whole[:cut])
            await asyncio.sleep(0.02)
            writer.write(whole[cut:])
            told.append(await read_answer(reader))
        writer.write(whole + whole)
        told += [await read_answer(reader), await read_answer(reader)]
        load.shedding = False
        writer.write(whole)
        drawn, _, _ = await read_answer(reader)

    assert [status for status, _, _ in told] == [503] * 6
    assert {headers["x-request-id"] for _, headers, _ in told} == {"mine-1"}
    assert drawn == 200


async def test_a_caller_who_wants_the_connection_closed_has_it_closed(
    gateway: tuple[Load, str], account: Account
) -> None:
    _, url = gateway
    port = int(url.rpartition(":")[2])
    answers = []
    for request in (ask(account, "connection: close"), ask(account, version="1.0")):
        async with connected(port) as (reader, writer):
            writer.write(request)
            answers.append(await all_of(reader))

    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
    assert all(b"\r\nconnection: close\r\n" in answer for answer in answers)


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("x-long: no", b" " * (SMALL_BYTES + 1)),
        ("transfer-encoding: chunked", b"3c\r\n%s\r\n0\r\n\r\n" % BODY),
        ("expect: 100-continue", BODY),
    ],
)
async def test_what_the_connection_cannot_read_past_is_refused_by_the_line(
    gateway: tuple[Load, str], account: Account, line: str, body: bytes
) -> None:
    load, url = gateway
    async with connected(int(url.rpartition(":")[2])) as (reader, writer):
        writer.write(ask(account, line, body=body))
        status, headers, told = await read_answer(reader)

    assert (status, json.loads(told)["error"]["code"]) == (503, "overloaded")
    assert headers["retry-after"] == "1"
    assert load.shed["late"] == 1


async def test_refusals_wait_for_the_answer_before_them(gateway: tuple[Load, str], account: Account) -> None:
    load, url = gateway
    models = (
        f"GET /v1/models HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {account.key}\r\n\r\n".encode()
    )
    async with connected(int(url.rpartition(":")[2])) as (reader, writer):
        writer.write(models + ask(account) + models)
        statuses = [(await read_answer(reader))[0] for _ in range(3)]

    assert statuses == [200, 503, 200]
    assert load.shed["late"] == 1


async def test_each_is_counted(gateway: tuple[Load, str], account: Account) -> None:
    _, url = gateway
    async with AsyncClient(base_url=url, headers={"authorization": f"Bearer {account.key}"}) as http:
        await asyncio.gather(*(http.post(PATH, content=BODY) for _ in range(5)))
        told = (await http.get("/metrics")).text

    assert f'imagegate_requests_total{{method="POST",route="{PATH}",status="503"}} 5.0' in told
    assert 'imagegate_shed_total{reason="late"} 5.0' in told


@pytest.mark.parametrize("shedding", [True, False])
async def test_a_body_that_comes_after_its_answer_leaves_no_connection_open_for_ever(
    gateway: tuple[Load, str], account: Account, monkeypatch: pytest.MonkeyPatch, shedding: bool
) -> None:
    load, url = gateway
    load.shedding = shedding
    begin = HeadsInTime.connection_made

    def impatient(protocol: HeadsInTime, transport: asyncio.Transport) -> None:
        begin(protocol, transport)
        protocol.timeout_keep_alive = 0.2  # type: ignore[assignment]

    monkeypatch.setattr(HeadsInTime, "connection_made", impatient)
    whole = ask(account) if shedding else ask(account).replace(b"Bearer igk_", b"Bearer other_")
    async with connected(int(url.rpartition(":")[2])) as (reader, writer):
        writer.write(whole[: -len(BODY)])
        status, _, _ = await read_answer(reader)
        writer.write(BODY)
        rest = await all_of(reader)

    assert (status, rest) == (503 if shedding else 401, b"")
