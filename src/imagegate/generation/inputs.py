"""The pictures of a request: read from text, fetched, measured, checked, and kept in the forms that providers take."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO

import pybase64

from imagegate.domain import GenerationRequest, InputImage, Principal
from imagegate.errors import InvalidRequest, NotFound
from imagegate.generation import records
from imagegate.ids import parse_image_id
from imagegate.load import Lease
from imagegate.media.images import MAX_BYTES
from imagegate.media.inputs import acceptable, digest, measured
from imagegate.media.masks import check_mask, prepared_mask
from imagegate.media.objects import checked_bytes
from imagegate.outbound import Room
from imagegate.outbound.inputs import NOT_ALLOWED
from imagegate.pool import WorkPool
from imagegate.services import Services

MOST_IMAGES = 16
LONGEST_URL = 8192
LONGEST_ID = 64
STEP = 1 << 20
"""Characters of base64 that are decoded at once: a multiple of 4."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one request may bring, and how long its URLs may take altogether."""

    images: int = MOST_IMAGES
    each_bytes: int = MAX_BYTES
    together_bytes: int = 64 * 1024 * 1024
    fetch_s: float = 10.0


BOUNDS = Bounds()
SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}:", re.IGNORECASE)


def read_image_text(text: str, param: str) -> InputImage:
    """A picture out of a text field: http(s) URL → url; data URL or bare base64 → bytes, which are not yet looked at.

    Base64 may be URL-safe, unpadded and broken into lines. Raises InvalidRequest, `image_url_not_allowed` for every
    other scheme, else `invalid_image`; nothing of the text is echoed.
    """
    text = text.strip()
    if len(text) <= LONGEST_ID and parse_image_id(text) is not None:
        return InputImage(kept=text)
    scheme = SCHEME.match(text)
    if scheme is None:
        return InputImage(data=decode_base64(text, 0, param))
    if scheme[0].lower() == "data:":
        comma = text.find(",", 0, 256)
        if comma < 0 or "base64" not in text[:comma].lower():
            raise InvalidRequest(
                f"{param} is a data URL without base64. Send data:image/png;base64,…",
                code="invalid_image",
                param=param,
            )
        return InputImage(data=decode_base64(text, comma + 1, param))
    if scheme[0].lower() not in ("http:", "https:") or len(text) > LONGEST_URL:
        raise InvalidRequest(NOT_ALLOWED, code="image_url_not_allowed", param=param)
    return InputImage(url=text)


def decode_base64(text: str, start: int, param: str, step: int = STEP) -> bytes:
    """In steps of `step` characters into a buffer that need not grow, so that nothing is held a second time.

    Raises InvalidRequest.
    """
    out, rest, ended = with_room((len(text) - start) // 4 * 3 + 3), "", False
    try:
        for position in range(start, len(text), step):
            piece = rest + "".join(text[position : position + step].split())
            whole = len(piece) - len(piece) % 4
            if whole and ended:
                raise ValueError("goes on behind its padding")
            out.write(_decoded(piece[:whole]))
            ended, rest = ended or piece[:whole].endswith("="), piece[whole:]
        out.write(_decoded(rest + "=" * (-len(rest) % 4)))
        out.truncate()
    except ValueError:
        out = BytesIO()
    if not out.tell():
        text = f"{param} is neither a URL nor base64 of an image. Send one of these."
        raise InvalidRequest(text, code="invalid_image", param=param)
    return out.getvalue()


def with_room(size_bytes: int) -> BytesIO:
    """At its beginning, with so many zeros that are written over."""
    out = BytesIO()
    out.seek(size_bytes - 1)
    out.write(b"\0")
    out.seek(0)
    return out


def _decoded(piece: str) -> bytes:
    if "-" in piece or "_" in piece:
        piece = piece.replace("-", "+").replace("_", "/")
    return pybase64.b64decode(piece, validate=True)


async def summed(pool: WorkPool, request: GenerationRequest) -> GenerationRequest:
    """The request with the checksums of the bytes it brings: hashing megabytes would hold the event loop up."""
    if not request.images and request.mask is None:
        return request
    return await pool.run(_summed, request)


def _summed(request: GenerationRequest) -> GenerationRequest:
    def sum_of(image: InputImage) -> InputImage:
        known = image.data is None or image.sha256 is not None
        return image if known else replace(image, sha256=digest(image.data or b""))

    mask = sum_of(request.mask) if request.mask else None
    return replace(request, images=tuple(sum_of(image) for image in request.images), mask=mask)


async def gather(
    services: Services,
    principal: Principal,
    request: GenerationRequest,
    bounds: Bounds = BOUNDS,
    lease: Lease | None = None,
) -> GenerationRequest:
    """The request with every picture's bytes, format, size and checksum; URLs are fetched, together, in 10 s.

    lease: what it holds of this process's memory; grows with what is fetched, which may raise Overloaded.
    Raises InvalidRequest: `invalid_image`, `image_too_large` (50 MB and 40 MP each, 64 MB together, 16 pictures) or
    `image_url_not_allowed`, naming `image`, `images[2]` or `mask`; NotFound or Conflict 410 for an image of an earlier
    answer that is not this account's or is kept no longer.
    """
    if not request.images and request.mask is None:
        return request
    check_counts(request, bounds)
    pictures = [*request.images, *([request.mask] if request.mask else [])]
    names = names_of(request)
    pictures = [await taken_again(services, principal, picture) for picture in pictures]
    pictures = await fetched(services, pictures, names, bounds, lease)
    request = await services.pool.run(_measured, request, pictures, names)
    if request.mask is not None and (first := request.images[0].size) is not None:
        await check_mask(services.pool, request.mask, first)
    return request


async def taken_again(services: Services, principal: Principal, picture: InputImage) -> InputImage:
    """An image of an earlier answer with its bytes; every other picture as it is."""
    named = parse_image_id(picture.kept) if picture.kept else None
    if named is None:
        return picture
    generation_id, index = named
    async with services.engine.connect() as connection:
        generation = await records.get_generation(connection, principal, generation_id)
    if index >= len(generation.images):
        raise NotFound("There is no such image.")
    name = generation.images[index].object
    data = await services.pool.run(checked_bytes, name, await services.store.get(name))
    return replace(picture, data=data)


def check_counts(request: GenerationRequest, bounds: Bounds) -> None:
    """Raises InvalidRequest."""
    if request.mask is not None and not request.images:
        raise InvalidRequest("A mask needs an image that it belongs to.", param="image")
    if len(request.images) > bounds.images:
        text = f"A request takes at most {bounds.images} images, this one has {len(request.images)}."
        raise InvalidRequest(text, param="image")


def names_of(request: GenerationRequest) -> list[str]:
    """What errors call the pictures: `image`, or `images[0]` and so on, and `mask`."""
    count = len(request.images)
    names = ["image"] if count == 1 else [f"images[{index}]" for index in range(count)]
    return [*names, "mask"] if request.mask else names


async def fetched(
    services: Services,
    pictures: Sequence[InputImage],
    names: Sequence[str],
    bounds: Bounds,
    lease: Lease | None = None,
) -> list[InputImage]:
    """Every picture with its bytes. The first that fails ends the others. Raises InvalidRequest, Overloaded."""
    left_bytes = bounds.together_bytes - sum(len(picture.data or b"") for picture in pictures)
    if left_bytes < 0:
        most_mb = bounds.together_bytes // 1024 // 1024
        text = f"The images have more than {most_mb} MB together. Send fewer or smaller ones."
        raise InvalidRequest(text, code="image_too_large", param="image")
    if all(picture.data is not None for picture in pictures):
        return list(pictures)
    room = Room(bounds.each_bytes, left_bytes)
    if lease is not None:
        room.grown = lease.more
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_with_bytes(services, picture, room, name, bounds.fetch_s))
                for picture, name in zip(pictures, names, strict=True)
            ]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _with_bytes(
    services: Services, picture: InputImage, room: Room, param: str, patience_s: float
) -> InputImage:
    if picture.data is not None:
        return picture
    try:
        async with asyncio.timeout(patience_s):
            data = await services.outbound.fetch_input(picture.url or "", room, param=param)
    except TimeoutError:
        text = f"The image at {param} did not arrive within {patience_s:g} s. Send the image itself, or another URL."
        raise InvalidRequest(text, code="invalid_image", param=param) from None
    return replace(picture, data=data)


def _measured(
    request: GenerationRequest, pictures: Sequence[InputImage], names: Sequence[str]
) -> GenerationRequest:
    known = [measured(picture, name) for picture, name in zip(pictures, names, strict=True)]
    count = len(request.images)
    mask = known[count] if request.mask else None
    return replace(request, images=tuple(known[:count]), mask=mask)


@dataclass(slots=True)
class Forms:
    """One request's pictures in the forms that candidates take: each is made once, for fan-out and fallback alike.

    request: gathered.
    """

    pool: WorkPool
    request: GenerationRequest
    _made: dict[object, "asyncio.Task[InputImage]"] = field(default_factory=dict)

    async def images(self, formats: Collection[str] = ()) -> tuple[InputImage, ...]:
        """formats: those the offering takes; empty = every one. Raises InvalidRequest."""
        wanted = frozenset(formats)
        made = [
            self._once((index, wanted), partial(acceptable, self.pool, image, wanted))
            for index, image in enumerate(self.request.images)
        ]
        return tuple(await asyncio.gather(*made))

    async def mask(self, convention: str = "alpha") -> InputImage | None:
        """convention: the offering's: alpha, white or black. Raises InvalidRequest."""
        mask = self.request.mask
        if mask is None:
            return None
        return await self._once(convention, partial(prepared_mask, self.pool, mask, convention))

    async def _once(self, name: object, make: Callable[[], Awaitable[InputImage]]) -> InputImage:
        if name not in self._made:
            self._made[name] = asyncio.ensure_future(make())
        return await asyncio.shield(self._made[name])
