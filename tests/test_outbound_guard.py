"""Links into places that are none of their business: every one is refused before a connection is made."""

from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest

from imagegate.errors import BilledInvalid
from imagegate.outbound import Outbound, open_outbound
from imagegate.outbound.guard import is_public
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


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://127。0。0。1/",
        "http://①②⑦.0.0.1/",
        "http://0.0.0.0/",
        "http://0/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://100.100.100.200/latest/meta-data",
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/latest/meta-data",
        "http://168.63.129.16/",
        "http://192.0.0.192/",
        "http://198.18.0.1/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://[::]/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[64:ff9b:1::a00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://[2001:0:7f00:1::]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fec0::1]/",
        "http://[2606:4700::1111%25eth0]/",
        "http://[ff02::1]/",
        "http://[2001:db8::1]/",
        "http://1.1.1.1:22/",
        "http://1.1.1.1:0/",
        "https://1.1.1.1:80/",
        "http://user@1.1.1.1/",
        "http://user:password@1.1.1.1/",
        "http://1.1.1.1\\@127.0.0.1/",
        "http://1.1.1.1%2f@127.0.0.1/",
        "http://1.1.1.1:99999/",
        "http://1.1.1.1\r\nhost: x/",
        "file:///etc/passwd",
        "ftp://1.1.1.1/",
        "gopher://127.0.0.1:6379/_x",
        "data:image/png;base64,AAAA",
        "//127.0.0.1/",
        "/etc/passwd",
        "http:///",
        "http:127.0.0.1",
        "",
    ],
)
async def test_a_link_to_a_forbidden_place_is_refused(outbound: Outbound, url: str) -> None:
    with pytest.raises(BilledInvalid, match="fake gave a link"):
        await fetch(outbound, url, timeout_s=2.0)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::1"]
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("addresses", ["10.0.0.7", "1.1.1.1 10.0.0.7", "2606:4700::1111 ::1"])
async def test_a_name_is_refused_when_one_of_its_addresses_is_private(
    outbound: Outbound, names: Names, addresses: str
) -> None:
    names["images.test"] = [addresses]

    with pytest.raises(BilledInvalid, match="private address"):
        await fetch(outbound, "http://images.test/a.png")


async def test_a_configured_host_may_be_private(outbound: Outbound, fake: FakeProvider) -> None:
    image = await fetch(outbound, f"{fake.origin}/pictures/64x64.png", "127.0.0.1")

    assert image.startswith(b"\x89PNG")


async def test_a_configured_host_and_port_opens_that_port_only(
    outbound: Outbound, fake: FakeProvider
) -> None:
    url = f"{fake.origin}/pictures/64x64.png"

    with pytest.raises(BilledInvalid):
        await fetch(outbound, url, f"127.0.0.1:{fake.port + 1}")

    assert await fetch(outbound, url, f"127.0.0.1:{fake.port}")
    assert fake.connections == 1


async def test_a_host_allowed_for_every_fetch_needs_no_further_word(fake: FakeProvider) -> None:
    async with open_outbound(allow_private_hosts=frozenset({"127.0.0.1"})) as outbound:
        assert await fetch(outbound, f"{fake.origin}/pictures/64x64.png")


async def test_a_name_is_looked_up_once_and_the_checked_address_is_used(
    outbound: Outbound, names: Names, fake: FakeProvider
) -> None:
    names["images.test"] = ["127.0.0.1", "127.0.0.66"]

    await fetch(outbound, f"http://images.test:{fake.port}/pictures/64x64.png", "images.test")

    assert names["images.test"] == ["127.0.0.66"]
    assert fake.fetched[0].headers["host"] == f"images.test:{fake.port}"


async def test_a_connection_kept_for_a_trusted_host_is_no_way_in_for_another(
    outbound: Outbound, fake: FakeProvider
) -> None:
    url = f"{fake.origin}/pictures/64x64.png"
    await fetch(outbound, url, "127.0.0.1")

    with pytest.raises(BilledInvalid):
        await fetch(outbound, url)


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest", "http://localhost/", "file:///etc/passwd", "//[::1]/"]
)
async def test_a_redirect_to_a_forbidden_place_is_refused(
    outbound: Outbound, fake: FakeProvider, location: str
) -> None:
    fake.pages["/start"] = (302, {"location": location}, b"")

    with pytest.raises(BilledInvalid, match="fake gave a link"):
        await fetch(outbound, f"{fake.origin}/start", "127.0.0.1")
