"""URLs into places that are none of a caller's business: one answer for all of them, and nobody is connected to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient, Response

from imagegate.outbound import open_outbound
from imagegate.outbound.inputs import NOT_ALLOWED
from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.line.hostile_urls import corpus
from tests.line.test_edits import FIELDS, PATH, PNG, data_url
from tests.line.test_inputs import InputImage, refusal

URLS = tuple(corpus(8))
"""8 stands for the listener's port, which is not known yet."""
SLOWEST_S = 5.0

Attempts = list[tuple[Any, ...]]


@pytest.fixture
async def listener() -> AsyncIterator[tuple[int, list[object]]]:
    """A port of loopback, and who came there."""
    came: list[object] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


@pytest.fixture
async def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    """Every connection that is begun to a web server's port, or to another machine; none of these comes about."""
    begun: Attempts = []
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and (address[0] not in ("127.0.0.1", "::1") or address[1] in (80, 443)):
            begun.append(address[:2])
            raise ConnectionRefusedError
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    return begun


def told(response: Response) -> tuple[int, str, str, dict[str, Any]]:
    """The answer without what is its own in every answer: the request's id, and the name of the field."""
    error = response.json()["error"]
    message = error.pop("message").replace(response.headers["x-request-id"], "ID")
    return response.status_code, error.pop("param"), message, error


async def test_every_forbidden_url_is_answered_alike_and_nobody_is_connected_to(
    client: AsyncClient, account: Account, listener: tuple[int, list[object]], attempts: Attempts
) -> None:
    port, came = listener
    urls = tuple(corpus(port))
    assert len(urls) > 130

    answers: dict[str, Response] = {}
    for url in urls:
        answers[url] = await client.post(PATH, json=FIELDS | {"images": [{"image_url": url}]})

    by_answer: dict[str, list[str]] = {}
    for url, response in answers.items():
        status, param, message, rest = told(response)
        assert param in ("image", "images[0]"), url
        by_answer.setdefault(f"{status} {message} {rest}", []).append(url)
    assert len(by_answer) == 1, {answer: found[:5] for answer, found in by_answer.items()}
    (answer,) = by_answer
    assert answer.startswith(f"400 {NOT_ALLOWED}")
    assert "image_url_not_allowed" in answer
    assert max(response.elapsed.total_seconds() for response in answers.values()) < SLOWEST_S
    assert came == []
    assert attempts == []
    assert await account.balance() == (LIVE_TOKENS, 0)


ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "a generation's image_url": ("/v1/images/generations", {"image_url": "{url}"}),
    "a generation's references": ("/v1/images/generations", {"input_references": ["{url}"]}),
    "a reference's url": (
        "/v1/images/generations",
        {"input_references": [{"image_url": {"url": "{url}"}}]},
    ),
    "an edit's image": (PATH, {"image": "{url}"}),
    "an edit's second image": (PATH, {"images": [data_url(PNG), {"image_url": "{url}"}]}),
    "an edit's mask": (PATH, {"image": data_url(PNG), "mask": "{url}"}),
    "an edit's mask as an object": (PATH, {"image": data_url(PNG), "mask": {"image_url": "{url}"}}),
    "a variation": ("/v1/images/variations", {"image": "{url}"}),
    "under another prefix": ("/openai/v1/images/edits", {"image": "{url}"}),
    "Lunos's image": ("/v1/image/generations", {"image": "{url}"}),
    "Lunos's edit": ("/v1/image/edits", {"image": "{url}"}),
    "Lunos's mask": ("/v1/image/edits", {"image": data_url(PNG), "mask": "{url}"}),
    "Lunos's variation": ("/v1/image/variations", {"image": "{url}"}),
    "Langbase's image": ("/v1/images", {"image_url": "{url}", "model": "sandbox:sandbox"}),
}
REPRESENTATIVE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:127.0.0.1]/",
    "http://0x7f.1/",
    "http://public.example@127.0.0.1/",
    "http://nowhere.invalid/",
    "file:///etc/passwd",
)


def filled(value: Any, url: str) -> Any:
    if isinstance(value, dict):
        return {name: filled(inner, url) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, url) for inner in value]
    return url if value == "{url}" else value


@pytest.mark.parametrize("field", ROUTES)
async def test_every_field_that_takes_a_url_refuses_alike(
    client: AsyncClient, account: Account, attempts: Attempts, field: str
) -> None:
    path, change = ROUTES[field]

    answers = [await client.post(path, json=FIELDS | filled(change, url)) for url in REPRESENTATIVE]

    found = {(status, message, rest["code"]) for status, _, message, rest in map(told, answers)}
    assert found == {(400, *next(iter(found))[1:])}
    assert next(iter(found))[1].startswith(NOT_ALLOWED)
    assert next(iter(found))[2] == "image_url_not_allowed"
    assert attempts == []
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize("part", ["image", "mask"])
@pytest.mark.parametrize("url", REPRESENTATIVE)
async def test_a_part_of_a_form_that_holds_a_url_refuses_alike(
    client: AsyncClient, account: Account, attempts: Attempts, part: str, url: str
) -> None:
    files = {"image": PNG} | {part: url.encode()}

    status, param, message, rest = told(await client.post(PATH, data=FIELDS, files=files))

    assert (status, param, rest["code"]) == (400, part, "image_url_not_allowed")
    assert message.startswith(NOT_ALLOWED)
    assert attempts == []
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(
    "text", ["data:text/html,<b>", "data:image/png,abc", "//127.0.0.1/a.png", "/etc/passwd"]
)
async def test_what_is_no_url_at_all_is_read_as_no_picture(client: AsyncClient, text: str) -> None:
    response = await client.post(PATH, json=FIELDS | {"image": text})

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_image")
    assert "passwd" not in response.text


def rebinding(monkeypatch: pytest.MonkeyPatch, name: str, addresses: list[str]) -> list[str]:
    """A name that leads somewhere else at each look-up; gives the look-ups that are left."""
    left, others = list(addresses), socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != name:
            return others(host, port, *args, **options)
        found = left.pop(0).split()
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in found]
        return [(k, socket.SOCK_STREAM, 6, "", (a, port)) for k, a in zip(kinds, found, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return left


@pytest.mark.parametrize(
    ("addresses", "connected"),
    [
        (["93.184.215.14", "127.0.0.1"], [("93.184.215.14", 80)]),
        (["127.0.0.1", "93.184.215.14"], []),
        (["93.184.215.14 169.254.169.254", "93.184.215.14"], []),
        (["93.184.215.14 2606:4700::1111", "::1"], [("93.184.215.14", 80), ("2606:4700::1111", 80)]),
    ],
)
async def test_a_name_that_changes_between_two_look_ups_gains_nothing(
    client: AsyncClient,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    attempts: Attempts,
    addresses: list[str],
    connected: list[tuple[str, int]],
) -> None:
    left = rebinding(monkeypatch, "rebind.example", addresses)

    response = await client.post(PATH, json=FIELDS | {"image": "http://rebind.example/a.png"})

    code = "invalid_image" if connected else "image_url_not_allowed"
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)
    assert left == addresses[1:], "the name was looked up twice"
    assert attempts == connected
    assert await account.balance() == (LIVE_TOKENS, 0)


LOCATIONS = (
    "http://169.254.169.254/",
    "http://localhost/",
    "file:///etc/passwd",
    "//[::1]/",
    "http://2130706433/",
)


@pytest.mark.parametrize(
    "location", [*LOCATIONS, "http://user@1.1.1.1/", "gopher://1.1.1.1/", "http://1.1.1.1:22/"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_leads_nowhere_that_the_url_itself_may_not(
    opened: Services, fake: FakeProvider, attempts: Attempts, status: int, location: str
) -> None:
    fake.pages["/a"] = (302, {"location": "/b"}, b"")
    fake.pages["/b"] = (status, {"location": location}, b"")

    async with open_outbound(allow_private_hosts=frozenset({f"127.0.0.1:{fake.port}"})) as outbound:
        refused = await refusal(replace(opened, outbound=outbound), InputImage(url=f"{fake.origin}/a"))

    assert (refused.code, refused.message, refused.param) == ("image_url_not_allowed", NOT_ALLOWED, "image")
    assert attempts == []


@pytest.mark.parametrize("hops", [["/a"], ["/b", "/c", "/d", "/e"]])
async def test_redirects_without_end_are_left_after_three(
    opened: Services, fake: FakeProvider, hops: list[str]
) -> None:
    for start, end in zip(["/a", *hops], [*hops, "/a"], strict=True):
        fake.pages[start] = (302, {"location": end}, b"")
    fake.fetched.clear()

    async with open_outbound(allow_private_hosts=frozenset({f"127.0.0.1:{fake.port}"})) as outbound:
        refused = await refusal(replace(opened, outbound=outbound), InputImage(url=f"{fake.origin}/a"))

    assert refused.code == "image_url_not_allowed"
    assert len(fake.fetched) == 4
