"""Fetching links: what is sent, what is believed, and what is certain when it fails."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegate.errors import Ambiguous, BilledInvalid
from imagegate.outbound import Outbound, open_outbound
from tests.certificates import certificate_for
from tests.fake_provider import FakeProvider
from tests.fetch_cases import Names, fetch, own_names


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with open_outbound() as outbound:
        yield outbound


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return own_names(monkeypatch)


async def test_a_dead_address_is_passed_over_for_the_next(
    outbound: Outbound, names: Names, fake: FakeProvider
) -> None:
    names["images.test"] = ["127.0.0.66 127.0.0.1"]

    assert await fetch(outbound, f"http://images.test:{fake.port}/pictures/64x64.png", "images.test")


async def test_no_credential_leaves_with_a_fetch(outbound: Outbound, fake: FakeProvider) -> None:
    await fetch(outbound, f"{fake.origin}/pictures/64x64.png", "127.0.0.1")

    headers = fake.fetched[0].headers
    assert headers.keys() == {"host", "user-agent", "accept", "accept-encoding"}
    assert headers["user-agent"].startswith("imagegate/")
    assert headers["accept-encoding"] == "identity"


async def test_a_signed_link_arrives_byte_for_byte(outbound: Outbound, fake: FakeProvider) -> None:
    path = "/a%2Fb/c%20d.png?sig=a%2Bb%3D%3D&scope=x%2Fy&t=%7E&at=%40"
    fake.pages[path] = (200, {}, b"image")

    assert await fetch(outbound, fake.origin + path, "127.0.0.1") == b"image"


async def test_a_redirect_is_followed(outbound: Outbound, fake: FakeProvider) -> None:
    fake.pages["/start"] = (302, {"location": "/pictures/64x64.png"}, b"")

    assert (await fetch(outbound, f"{fake.origin}/start", "127.0.0.1")).startswith(b"\x89PNG")


async def test_redirects_end_after_three(outbound: Outbound, fake: FakeProvider) -> None:
    fake.pages["/round"] = (302, {"location": "/round"}, b"")

    with pytest.raises(BilledInvalid, match="more than 3 times"):
        await fetch(outbound, f"{fake.origin}/round", "127.0.0.1")

    assert len(fake.fetched) == 4


async def test_a_link_that_answers_404_is_billed_and_invalid(outbound: Outbound, fake: FakeProvider) -> None:
    with pytest.raises(BilledInvalid, match="answers 404"):
        await fetch(outbound, f"{fake.origin}/gone", "127.0.0.1")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_link_that_may_work_later_is_ambiguous(
    outbound: Outbound, fake: FakeProvider, status: int
) -> None:
    fake.pages["/busy"] = (status, {}, b"")

    with pytest.raises(Ambiguous, match=f"answers {status}"):
        await fetch(outbound, f"{fake.origin}/busy", "127.0.0.1")


async def test_an_image_that_is_too_large_is_refused(outbound: Outbound, fake: FakeProvider) -> None:
    fake.pages["/large"] = (200, {}, b"x" * 5000)

    with pytest.raises(BilledInvalid, match="more than 4999 bytes"):
        await fetch(outbound, f"{fake.origin}/large", "127.0.0.1", max_bytes=4999)

    assert len(await fetch(outbound, f"{fake.origin}/large", "127.0.0.1", max_bytes=5000)) == 5000


async def test_an_endless_image_is_cut_off(outbound: Outbound) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    running = await asyncio.start_server(pour, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]

    with pytest.raises(BilledInvalid, match="more than 1000000 bytes"):
        await fetch(outbound, f"http://127.0.0.1:{port}/", "127.0.0.1")
    running.close()


async def test_a_compressed_image_is_not_unpacked(outbound: Outbound, fake: FakeProvider) -> None:
    fake.pages["/bomb"] = (200, {"content_encoding": "gzip"}, b"\x1f\x8b as it came")

    assert await fetch(outbound, f"{fake.origin}/bomb", "127.0.0.1") == b"\x1f\x8b as it came"


async def test_an_image_that_is_said_to_be_too_large_is_not_waited_for(outbound: Outbound) -> None:
    over = asyncio.Event()

    async def promise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000001\r\n\r\n")
        await over.wait()
        writer.close()

    running = await asyncio.start_server(promise, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]

    with pytest.raises(BilledInvalid, match="more than 1000000 bytes"):
        await fetch(outbound, f"http://127.0.0.1:{port}/", "127.0.0.1")
    over.set()
    running.close()


async def test_a_server_that_hangs_is_ambiguous_and_the_link_is_not_told(outbound: Outbound) -> None:
    over = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    running = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]

    with pytest.raises(Ambiguous, match=r"within 0\.2 s") as failed:
        await fetch(outbound, f"http://127.0.0.1:{port}/?sig=secret", "127.0.0.1", timeout_s=0.2)
    over.set()
    running.close()
    assert "secret" not in str(failed.value)


async def test_a_name_that_does_not_resolve_is_ambiguous(outbound: Outbound) -> None:
    with pytest.raises(Ambiguous):
        await fetch(outbound, "http://nowhere.invalid/a.png")


@pytest.mark.parametrize(("name", "trusted"), [("images.test", True), ("other.test", False)])
async def test_a_certificate_is_checked_against_the_name_of_the_link(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nimage")
        writer.close()

    context = certificate_for("images.test", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://{name}:{running.sockets[0].getsockname()[1]}/a.png"
    names[name] = ["127.0.0.1"]

    async with open_outbound() as outbound:
        if trusted:
            assert await fetch(outbound, url, name) == b"image"
        else:
            with pytest.raises(Ambiguous):
                await fetch(outbound, url, name)
    running.close()
