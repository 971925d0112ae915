"""What reads strangers' bytes, each as a function of bytes that returns where all is well, and what it begins with.

A target lets nothing out but what the reader promises to raise, and checks what the reader made of what it took.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from starlette.requests import Request

from imagegate.errors import CallerError, InvalidSignature
from imagegate.identity import keys, operators
from imagegate.load import Load
from imagegate.media import formats, links
from imagegate.media.objects import object_name
from imagegate.outbound.events import EventReader, TooLong
from imagegate.settings import Settings
from imagegate.web.guards import DEEPEST, parse_object, text_of
from imagegate.web.uploads import MOST_PARTS, Limits, read_form
from tests.media.pictures import FORMATS, encoded

LONGEST_S = 2.0
"""Far more than any input of this length may take; the fuzzer makes them up to 4 KB long."""
LINK_KEY = b"k" * 32
NOW = 1_800_000_000
SETTINGS = Settings(secret=SecretStr("unused" * 8), max_body_bytes=1024 * 1024, max_upload_bytes=1024 * 1024)
EVENT_BYTES = 512
BOUNDARY = b"----edge"


@dataclass(frozen=True)
class Target:
    """seeds: inputs to begin with, some good and some nearly."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


def read_picture(data: bytes) -> None:
    try:
        size = formats.read_size(data, formats.sniff(data))
    except formats.NotAnImage:
        return
    assert size.width_px >= 1
    assert size.height_px >= 1


def pictures() -> Iterator[bytes]:
    for name in FORMATS:
        whole = encoded(name)
        yield whole
        yield whole[: len(whole) // 2]
    yield b"RIFF\xff\xff\xff\xffWEBPVP8X"
    yield b"\0\0\0\x20ftypavif" + bytes(40)


def read_json(data: bytes) -> None:
    try:
        value = parse_object(text_of(data))
    except CallerError as error:
        if error.status != 400:
            raise
        return
    text = data.decode("utf-8")
    assert value == json.loads(text, object_pairs_hook=once)
    kept = json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert "\0" not in kept
    kept.encode("utf-8")
    assert depth_of(value) <= DEEPEST


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner), default=0) if isinstance(value, dict | list) else 0


def bodies() -> Iterator[bytes]:
    yield b'{"prompt": "a fox", "n": 1, "size": "1024x1024", "seed": 12, "guidance": 1.5e1}'
    yield b'{"a": {"b": [1, -2.5, true, false, null, "\\u00e9\\ud83e\\udd8a"]}}'
    yield b'{"a": 1, "a": 2}'
    yield b'{"a": NaN, "b": 1e999, "c": "\\ud800", "d": "\\u0000"}'
    yield b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}"
    yield b"\xef\xbb\xbf{}"
    yield b'{"a": "\xff"}'


def read_key(data: bytes) -> None:
    """A key that is taken is written in exactly one way."""
    text = data.decode("latin-1")
    if keys.is_well_formed(text):
        _, env, rest = text.split("_")
        assert text == f"igk_{env}_{rest[:43]}{keys.checksum(env, rest[:43])}"
        assert rest.isalnum()
    if operators.is_well_formed(text):
        body = text.removeprefix("igo_")[:43]
        assert text == f"igo_{body}{keys.checksum('igo', body)}"
    assert not (keys.is_well_formed(text) and operators.is_well_formed(text))


def some_keys() -> Iterator[bytes]:
    for env in ("live", "test"):
        body = keys.base62(2**200 + 7, 43)
        yield f"igk_{env}_{body}{keys.checksum(env, body)}".encode()
    body = keys.base62(2**255 - 19, 43)
    yield f"igo_{body}{keys.checksum('igo', body)}".encode()
    yield b"igk_live_" + b"A" * 49
    yield b"igk_prod_" + b"A" * 49 + b"\n"


def read_link(data: bytes) -> None:
    """Whatever is taken is what we would have signed."""
    path = data.decode("latin-1")
    try:
        name = links.verify([b"o" * 32, LINK_KEY], path, NOW)
    except InvalidSignature:
        return
    _, _, expires, _, rest = path.split("/", 4)
    assert name == rest
    assert int(expires) > NOW
    minted = {links.mint([key], name, int(expires), "") for key in (b"o" * 32, LINK_KEY)}
    assert path in minted


def some_links() -> Iterator[bytes]:
    name = object_name(
        UUID(int=1), "live", UUID(int=2), epoch=0, index=0, sha256=sha256(b"").digest(), format="png"
    )
    good = links.mint([LINK_KEY], name, NOW + 60, "")
    yield good.encode()
    yield links.mint([b"x" * 32], name, NOW + 60, "").encode()
    yield links.mint([LINK_KEY], name, NOW - 60, "").encode()
    yield good.replace("png", "webp").encode()
    yield good.replace(str(NOW + 60), f"0{NOW + 60}").encode()
    yield (good + "%00").encode()


def read_multipart(data: bytes) -> None:
    """The first byte says where the body is cut in two: what is read must not depend on it."""
    cut, body = (data[0], data[1:]) if data else (0, b"")
    whole, halves = asyncio.run(read_twice(body, cut * len(body) // 255))
    assert whole == halves


async def read_twice(body: bytes, cut: int) -> tuple[object, object]:
    return await form_of([body]), await form_of([body[:cut], body[cut:]])


async def form_of(pieces: list[bytes]) -> object:
    """What was read, or the code of the refusal."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    kind = b"multipart/form-data; boundary=" + BOUNDARY
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind)]}
    limits = Limits({"image": 4, "mask": 1}, 64 * 1024)
    try:
        form = await read_form(Request(scope, receive), SETTINGS, Load(SETTINGS), limits)
    except CallerError as error:
        if error.status not in (400, 413):
            raise
        return error.code
    assert len(form.files) + len(form.fields) <= MOST_PARTS
    assert {upload.name for upload in form.files} <= {"image", "mask"}
    for name, text in form.fields.items():
        (name + text).encode("utf-8")
        assert "\0" not in name + text
    return sorted(form.fields.items()), [(upload.name, bytes(upload.data)) for upload in form.files]


def forms() -> Iterator[bytes]:
    edge = b"--" + BOUNDARY
    part = b'\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na fox\r\n'
    file = (
        b'\r\nContent-Disposition: form-data; name="image[]"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        b"\x89PNG\r\n\x1a\n\r\n"
    )
    for body in (
        edge + part + edge + file + edge + b"--\r\n",
        edge + part + edge + part + edge + b"--\r\n",
        edge + part + edge,
        edge + b"\r\nContent-Disposition: form-data; name*=utf-8''prompt\r\n\r\nx\r\n" + edge + b"--",
        edge + b"\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n" + edge + b"--",
        b"preamble\r\n" + edge + part + edge + b"--\r\nepilogue",
    ):
        yield b"\x80" + body
    yield b"\x0a\nC" + b"x" * 60 + b"\r\n" + edge + b"--"  # read or refused, by where it was cut


def read_events(data: bytes) -> None:
    """The first byte says in how long pieces the stream comes: what is read must not depend on it."""
    size, stream = (data[0] % 16 + 1, data[1:]) if data else (1, b"")
    whole = events_of([stream])
    pieces = events_of([stream[at : at + size] for at in range(0, len(stream), size)])
    assert whole == pieces
    for event in whole[0]:
        assert len(event[1]) <= EVENT_BYTES
        assert not {b"\n", b"\r"} & {event[0].encode()[at : at + 1] for at in range(len(event[0].encode()))}


def events_of(pieces: list[bytes]) -> tuple[list[tuple[str, bytes]], bool]:
    """The events, and whether the stream was given up."""
    reader, found = EventReader(EVENT_BYTES), []
    try:
        for piece in pieces:
            for event in reader.feed(piece):
                found.append((event.name, event.data))
    except TooLong:
        return found, True
    return found, False


def streams() -> Iterator[bytes]:
    yield b"\x02event: image_generation.completed\ndata: {}\n\ndata: a\ndata: b\n\n"
    yield b"\x00\xef\xbb\xbfdata\r\n\r\n: ping\r\rdata:x\r\r"
    yield b"\x07id: 1\nretry: 3\nevent:\xff\ndata:  two\n\ndata: never ended"
    yield b"\x0fdata: " + b"a" * 600 + b"\n\n"


TARGETS: Mapping[str, Target] = {
    "picture": Target(read_picture, pictures),
    "json": Target(read_json, bodies),
    "key": Target(read_key, some_keys),
    "link": Target(read_link, some_links),
    "multipart": Target(read_multipart, forms),
    "events": Target(read_events, streams),
}


def run_within(target: Target, data: bytes) -> None:
    """Also fails where it takes long."""
    began = time.perf_counter()
    target.run(data)
    assert time.perf_counter() - began < LONGEST_S
