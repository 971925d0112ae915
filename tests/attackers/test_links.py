"""Signed links over HTTP: none but the one that was minted leads anywhere, and all others are told the same."""

import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest
from httpx import AsyncClient, Response

from imagegate.ids import new_id
from imagegate.media.links import LABEL, mint
from imagegate.services import Services
from tests.attackers.routes import shape
from tests.attackers.test_smuggling import exchange, statuses
from tests.conftest import Account

BODY = {"prompt": "a door", "model": "sandbox", "size": "256x256", "n": 2, "response_format": "url"}
FORMATS = ("png", "jpeg", "jpg", "webp", "avif", "gif", "svg", "html", "PNG", "png.html", "")


@dataclass(frozen=True)
class Linked:
    """Two images of one answer: their links below the base, and the second's object name."""

    path: str
    other: str

    @property
    def parts(self) -> tuple[str, str, str]:
        _, _, expiry, signature, name = self.path.split("/", 4)
        return expiry, signature, name


@pytest.fixture
async def linked(client: AsyncClient, base_url: str) -> Linked:
    answer = await client.post("/v1/images/generations", json=BODY)
    assert answer.status_code == 200, answer.text
    first, second = (entry["url"].removeprefix(base_url) for entry in answer.json()["data"])
    return Linked(first, second)


@pytest.fixture
async def nobody(services: Services, base_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(base_url=base_url, timeout=30) as http:
        yield http


def told(response: Response) -> tuple[int, str, dict[str, str]]:
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "private, no-store"
    return shape(response)


async def test_every_bit_counts(linked: Linked, nobody: AsyncClient, base_url: str) -> None:
    """One bit at every place of the path."""
    flipped = list(flips(linked.path))
    assert len(flipped) > 150

    assert await refusals(base_url, flipped) == {403}
    assert (await nobody.get(linked.path)).status_code == 200


async def refusals(base_url: str, paths: Sequence[bytes]) -> set[int]:
    """Statuses of the answers, which differ in nothing but the request's id. On the wire: no client tidies a path."""
    asks = [b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths]
    asks[-1] = asks[-1].replace(b"Host: x", b"Host: x\r\nConnection: close")
    answer = await exchange(int(base_url.rsplit(":", 1)[1]), *asks, patience_s=10)
    assert len(statuses(answer)) == len(paths), answer[-600:]
    plain = re.sub(
        rb"req_[0-9a-f]{32}|date: [^\r]*|openai-processing-ms: \d+|connection: close\r\n", b"", answer
    )
    assert len({part for part in plain.split(b"HTTP/1.1 ") if part}) == 1, plain
    return set(statuses(answer))


def flips(path: str) -> Iterator[bytes]:
    """With one bit changed in each place behind `/media/`, as far as the result is a path still."""
    raw = path.encode()
    for position in range(len("/media/"), len(raw)):
        for bit in (1, 2):
            changed = raw[position] ^ bit
            if chr(changed).isalnum() or chr(changed) in "-_./":
                yield raw[:position] + bytes([changed]) + raw[position + 1 :]


async def test_a_link_s_parts_are_worth_nothing_without_each_other(
    linked: Linked, nobody: AsyncClient, base_url: str
) -> None:
    expiry, signature, name = linked.parts
    _, _, _, other_signature, other_name = linked.other.split("/", 4)
    stem = name.rpartition(".")[0]
    wrong = {
        "another's signature": f"/media/{expiry}/{other_signature}/{name}",
        "another's name": f"/media/{expiry}/{signature}/{other_name}",
        "a later end": f"/media/{int(expiry) + 1}/{signature}/{name}",
        "an end far away": f"/media/99999999999/{signature}/{name}",
        "no end": f"/media/0/{signature}/{name}",
        "no signature": f"/media/{expiry}//{name}",
        "a shorter one": f"/media/{expiry}/{signature[:-1]}/{name}",
        "a longer one": f"/media/{expiry}/{signature}A/{name}",
        "zeros": f"/media/{expiry}/{'A' * 24}/{name}",
        "no name": f"/media/{expiry}/{signature}/",
        "nothing": "/media/",
        "a folder": f"/media/{expiry}/{signature}/{name.rpartition('/')[0]}",
        "a way around": f"/media/{expiry}/{signature}/x/../{name}",
        "a way up": f"/media/{expiry}/{signature}/../../{name}",
        "an encoded way up": f"/media/{expiry}/{signature}/..%2f..%2f{name}",
        "an encoded slash": linked.path.replace("/live/", "%2Flive%2F"),
        "an encoded letter": linked.path.replace("/live/", "/%6Cive/"),
        "a further slash": linked.path + "/",
        "two slashes": linked.path.replace("/media/", "/media//"),
        "the label": f"/media/{expiry}/{LABEL}/{name}",
        **{f"as {kind or 'nothing'}": f"/media/{expiry}/{signature}/{stem}.{kind}" for kind in FORMATS[1:]},
    }

    assert await refusals(base_url, [path.encode() for path in wrong.values()]) == {403}
    assert (await nobody.get(linked.other)).status_code == 200


async def test_an_end_that_has_passed_says_nothing_of_what_was_there(
    linked: Linked, nobody: AsyncClient, services: Services
) -> None:
    name, key = linked.parts[2], services.keyring.links
    missing = re.sub(r"[0-9a-f]{32}", new_id().hex, name, count=1)
    past = int(time.time()) - 1

    there, nothing = [told(await nobody.get(mint([key], n, past, ""))) for n in (name, missing)]
    forged = told(await nobody.get(mint([b"x" * 32], name, past + 600, "")))

    assert there == nothing == forged
    assert there[0] == 403


async def test_what_has_gone_is_told_to_nobody_who_had_no_link_to_it(
    linked: Linked, nobody: AsyncClient, services: Services
) -> None:
    """410 only with a signature of ours: whoever guesses names learns nothing from the difference."""
    name, key = linked.parts[2], services.keyring.links
    missing = (
        name.replace("/0/0-", "/0/7-") if "/0/0-" in name else re.sub("[0-9a-f]{32}", UUID(int=1).hex, name)
    )
    assert missing != name
    until = int(time.time()) + 60

    signed = await nobody.get(mint([key], missing, until, ""))
    guessed = [told(await nobody.get(mint([b"x" * 32], n, until, ""))) for n in (missing, name)]

    assert (signed.status_code, signed.json()["error"]["code"]) == (410, "result_gone")
    assert guessed[0] == guessed[1]
    assert guessed[0][0] == 403


async def test_a_key_opens_no_picture_and_a_wrong_one_closes_none(
    linked: Linked, client: AsyncClient, nobody: AsyncClient, account: Account
) -> None:
    expiry, signature, name = linked.parts
    unsigned = f"/media/{expiry}/{'A' * len(signature)}/{name}"

    with_key = await client.get(unsigned)
    wrong_key = await nobody.get(linked.path, headers={"authorization": "Bearer nonsense"})

    assert told(with_key) == told(await nobody.get(unsigned))
    assert wrong_key.status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_link_is_for_looking_only(linked: Linked, nobody: AsyncClient, method: str) -> None:
    answer = await nobody.request(method, linked.path)

    assert answer.status_code == 405
    assert (await nobody.get(linked.path)).status_code == 200


async def test_a_picture_is_a_picture_to_a_browser_and_nothing_else(
    linked: Linked, nobody: AsyncClient
) -> None:
    answer = await nobody.get(f"{linked.path}?download=evil.html&content-type=text/html")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "inline"
