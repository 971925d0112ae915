"""Where webhooks may go: never to a private address unless the operator allows it, whatever the URL looks like."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from imagegate.errors import InvalidRequest
from imagegate.outbound import HookAnswer, Outbound, open_outbound
from imagegate.outbound.hooks import NOT_ALLOWED, check_hook_url
from imagegate.services import Services
from imagegate.webhooks.delivery import Courier
from imagegate.worker import courier_of
from tests.certificates import certificate_for
from tests.webhooks.conftest import Put, deliver, row_of
from tests.webhooks.receiver import Receiver

FORBIDDEN = HookAnswer(None, "its URL is not one that webhooks may go to")

PRIVATE = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[fe80::1]",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "localhost",
    "LOCALHOST.",
    "it.localhost",
    "10.0.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
]


@pytest.mark.parametrize("host", PRIVATE)
async def test_a_private_address_is_refused_in_every_spelling(host: str, opened: Services) -> None:
    url = f"https://{host}/hook"

    with pytest.raises(InvalidRequest) as refused:
        check_hook_url(url, allow_private=False)
    answer = await post(opened.outbound, url)

    error = refused.value
    assert (error.message, error.code, error.param) == (NOT_ALLOWED, "webhook_url_not_allowed", "webhook_url")
    assert answer == FORBIDDEN


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://name:word@hooks.example.com/",
        "https://name@hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "https:///hook",
        "hooks.example.com",
        "https://hooks%2eexample.com/",
        "https://hooks.example.com/\x00",
        "https://hooks.example.com/\n",
        "https://hooks.example.com/" + "x" * 2048,
        "",
    ],
)
async def test_what_is_no_public_https_url_is_refused_with_one_text(url: str, opened: Services) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_hook_url(url, allow_private=False)
    answer = await post(opened.outbound, url)

    assert refused.value.message == NOT_ALLOWED
    assert answer == FORBIDDEN


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com:443/a?b=c",
        "https://8.8.8.8/",
        "https://bücher.example/",
    ],
)
def test_a_public_https_url_is_let_through(url: str) -> None:
    check_hook_url(url, allow_private=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hook", "http://localhost/", "https://[::1]:8443/"])
def test_an_operator_can_allow_private_receivers(url: str) -> None:
    check_hook_url(url, allow_private=True)


async def test_a_name_that_resolves_to_loopback_is_refused(
    opened: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = own_names(monkeypatch, ["127.0.0.1"])

    answer = await post(opened.outbound, "https://hooks.example.com/")

    assert answer == FORBIDDEN
    assert looked_up == ["hooks.example.com"]


async def test_one_private_address_among_public_ones_is_enough_to_refuse(
    opened: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_names(monkeypatch, ["93.184.215.14", "10.0.0.7"])

    assert await post(opened.outbound, "https://hooks.example.com/") == FORBIDDEN


async def test_a_name_is_looked_up_once_a_try_and_anew_at_the_next(
    opened: Services, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = own_names(monkeypatch, ["127.0.0.1"])
    url = f"http://hooks.example.com:{receiver.port}/hook"

    taken = await post(opened.outbound, url, allow_private=True)
    again = await post(opened.outbound, url, allow_private=True)

    assert (taken.status, again.status) == (204, 204)
    assert looked_up == ["hooks.example.com"] * 2
    assert receiver.requests[0].headers["host"] == f"hooks.example.com:{receiver.port}"


async def test_a_private_receiver_gets_nothing_without_the_setting(
    services: Services, courier: Courier, receiver: Receiver, put: Put
) -> None:
    event = await put(receiver.url + "/hook")

    await deliver(courier_of(services))

    assert receiver.requests == []
    row = await row_of(courier.engine, event)
    assert (row.state, row.last_status, row.last_error) == ("pending", None, FORBIDDEN.error)


async def test_a_certificate_that_nobody_vouches_for_gets_nothing(opened: Services, tmp_path: Path) -> None:
    async with Receiver(certificate_for("127.0.0.1", tmp_path)) as receiver:
        answer = await post(opened.outbound, f"https://127.0.0.1:{receiver.port}/", allow_private=True)

        assert answer == HookAnswer(None, "could not be reached: TLS failed")
        assert receiver.requests == []


@pytest.mark.parametrize(("name", "taken"), [("hooks.test", True), ("other.test", False)])
async def test_a_certificate_must_be_the_name_s_own(
    name: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certificate_for("hooks.test", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    own_names(monkeypatch, ["127.0.0.1"])

    async with Receiver(context) as receiver, open_outbound() as outbound:
        answer = await post(outbound, f"https://{name}:{receiver.port}/", allow_private=True)

        assert (answer.error is None, len(receiver.requests)) == (taken, int(taken))


async def test_a_dead_receiver_and_a_name_that_is_none_are_told(
    opened: Services, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = await post(opened.outbound, f"http://127.0.0.1:{unused_tcp_port}/", allow_private=True)
    own_names(monkeypatch, [])
    nameless = await post(opened.outbound, "https://hooks.example.com/")

    assert dead == HookAnswer(None, "could not be reached: no connection")
    assert nameless == HookAnswer(None, "its name does not resolve")


async def test_a_slow_name_costs_no_more_than_the_time_of_one_try(
    opened: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, blocked = asyncio.get_running_loop(), asyncio.Event()
    own_names(
        monkeypatch, ["8.8.8.8"], wait=lambda: asyncio.run_coroutine_threadsafe(blocked.wait(), loop).result()
    )
    began = loop.time()

    answer = await post(opened.outbound, "https://hooks.example.com/", timeout_s=0.2)

    blocked.set()
    assert answer == HookAnswer(None, "gave no answer within 0.2 s")
    assert loop.time() - began < 1


async def post(
    outbound: Outbound, url: str, *, allow_private: bool = False, timeout_s: float = 2.0
) -> HookAnswer:
    return await outbound.post_hook(
        url, body=b"{}", headers={}, timeout_s=timeout_s, allow_private=allow_private
    )


def own_names(monkeypatch: pytest.MonkeyPatch, addresses: list[str], wait: Any = lambda: None) -> list[str]:
    """A name service of the test's own, by which every name has these addresses; gives what is looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        wait()
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked
