"""Headers of the five image formats: the size they state, and whether the file is whole. No pixel is decoded.

Every reader takes the bytes of one file and gives its size. It raises NotAnImage when the file breaks off or
contradicts itself. Bytes after the end of an image are let through, as every browser does.

PNG: w3.org/TR/png-3. JPEG: itu.int T.81. GIF: w3.org/Graphics/GIF/spec-gif89a.txt. WebP: RFC 9649.
AVIF: aomediacodec.github.io/av1-avif over ISO/IEC 14496-12 and 23008-12.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct, error, unpack_from
from zlib import crc32

from imagegate.domain import Size

MAX_BLOCKS = 500_000
"""More chunks, segments or blocks than any real file has: a walk ends here."""
MAX_BOXES = 10_000
"""Of AVIF, within one box."""


class NotAnImage(ValueError):
    """The bytes are no whole PNG, JPEG, WebP, GIF or AVIF. The message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Format:
    """`read_size` raises NotAnImage, and struct.error or IndexError where the file ends in a header."""

    name: str
    read_size: Callable[[bytes], Size]


def sniff(data: bytes) -> Format:
    """The format that the first bytes announce. Raises NotAnImage."""
    for signature, found in BY_SIGNATURE.items():
        if data.startswith(signature):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return FORMATS["webp"]
    if data[4:8] == b"ftyp" and _is_avif(data):
        return FORMATS["avif"]
    raise NotAnImage("is not a PNG, JPEG, WebP, GIF or AVIF image")


def read_size(data: bytes, found: Format) -> Size:
    """The size in the header of a whole file. Raises NotAnImage."""
    try:
        size = found.read_size(data)
    except (error, IndexError):
        raise NotAnImage(f"is a {found.name} image that breaks off") from None
    if size.width_px < 1 or size.height_px < 1:
        raise NotAnImage(f"is a {found.name} image without a size")
    return size


PNG_CHUNK = Struct(">I4s")


def read_png(data: bytes) -> Size:
    length, kind = PNG_CHUNK.unpack_from(data, 8)
    width, height = unpack_from(">II", data, 16)
    if kind != b"IHDR" or length != 13 or crc32(data[12:29]) != unpack_from(">I", data, 29)[0]:
        raise NotAnImage("is a png image with a damaged header")
    position, has_pixels = 33, False
    for _ in range(MAX_BLOCKS):
        length, kind = PNG_CHUNK.unpack_from(data, position)
        position += length + 12
        if kind == b"IEND":
            break
        has_pixels |= kind == b"IDAT"
    if position > len(data) or kind != b"IEND" or not has_pixels:
        raise NotAnImage("is a png image that breaks off")
    return Size(width, height)


JPEG_FRAMES = frozenset({*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def read_jpeg(data: bytes) -> Size:
    """The end marker cannot occur within the pixels, so that it is looked for behind the first scan."""
    position, size = 2, None
    for _ in range(MAX_BLOCKS):
        if data[position] != 0xFF:
            raise NotAnImage("is a jpeg image with a damaged header")
        marker = data[position + 1]
        if marker == 0xFF or marker in JPEG_ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = unpack_from(">H", data, position + 2)
        if marker in JPEG_FRAMES:
            height, width = unpack_from(">HH", data, position + 5)
            size = Size(width, height)
        if marker == 0xDA:
            break
        position += 2 + max(length, 2)
    if size is None or data.rfind(b"\xff\xd9", position) < 0:
        raise NotAnImage("is a jpeg image that breaks off")
    return size


def read_gif(data: bytes) -> Size:
    """The canvas; a first frame that reaches beyond it widens it, as decoders do."""
    width, height, flags = unpack_from("<HHB", data, 6)
    position, frames, blocks = 13 + _palette_bytes(flags), 0, MAX_BLOCKS
    while blocks > 0:
        match data[position]:
            case 0x21:
                position, blocks = _skip_blocks(data, position + 2, blocks)
            case 0x2C:
                left, top, frame_width, frame_height, flags = unpack_from("<HHHHB", data, position + 1)
                if frames == 0:
                    width, height = max(width, left + frame_width), max(height, top + frame_height)
                frames += 1
                position, blocks = _skip_blocks(data, position + 11 + _palette_bytes(flags), blocks)
            case 0x3B if frames:
                return Size(width, height)
            case _:
                break
    raise NotAnImage("is a gif image that breaks off")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(data: bytes, position: int, blocks: int) -> tuple[int, int]:
    """What is behind the blocks, and how many more may be walked over."""
    while (length := data[position]) and blocks > 0:
        position += length + 1
        blocks -= 1
    return position + 1, blocks - 1


def read_webp(data: bytes) -> Size:
    (riff_bytes,) = unpack_from("<I", data, 4)
    end = riff_bytes + 8
    if end > len(data):
        raise NotAnImage("is a webp image that breaks off")
    position, canvas = 12, None
    for _ in range(MAX_BLOCKS):
        kind, length = unpack_from("<4sI", data, position)
        body = position + 8
        position = body + length + (length & 1)
        if body + length > end:
            break
        if kind == b"VP8X":
            canvas = _webp_canvas(data, body)
        elif kind == b"VP8 ":
            return canvas or _vp8_size(data, body)
        elif kind == b"VP8L":
            return canvas or _vp8l_size(data, body)
        elif kind == b"ANMF" and canvas:
            return canvas
    raise NotAnImage("is a webp image that breaks off")


def _webp_canvas(data: bytes, body: int) -> Size:
    width = int.from_bytes(data[body + 4 : body + 7], "little") + 1
    return Size(width, int.from_bytes(data[body + 7 : body + 10], "little") + 1)


def _vp8_size(data: bytes, body: int) -> Size:
    if data[body + 3 : body + 6] != b"\x9d\x01\x2a":
        raise NotAnImage("is a webp image with a damaged header")
    width, height = unpack_from("<HH", data, body + 6)
    return Size(width & 0x3FFF, height & 0x3FFF)


def _vp8l_size(data: bytes, body: int) -> Size:
    signature, bits = unpack_from("<BI", data, body)
    if signature != 0x2F:
        raise NotAnImage("is a webp image with a damaged header")
    return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)


def read_avif(data: bytes) -> Size:
    """The `ispe` property of the primary item."""
    found: dict[bytes, tuple[int, int]] = {}
    for kind, start, end in _boxes(data, 0, len(data)):
        found.setdefault(kind, (start, end))
    if b"meta" not in found or b"mdat" not in found:
        raise NotAnImage("is an avif image that breaks off")
    start, end = found[b"meta"]
    meta = {kind: (first, last) for kind, first, last in _boxes(data, start + 4, end)}
    if b"pitm" not in meta or b"iprp" not in meta:
        raise NotAnImage("is an avif image with a damaged header")
    first, _ = meta[b"pitm"]
    item = unpack_from(">I" if data[first] else ">H", data, first + 4)[0]
    parts = {kind: (first, last) for kind, first, last in _boxes(data, *meta[b"iprp"])}
    if b"ipco" in parts and b"ipma" in parts:
        properties = list(_boxes(data, *parts[b"ipco"]))
        for index in _associations(data, parts[b"ipma"][0], item):
            kind, first, _ = properties[index - 1]
            if kind == b"ispe":
                return Size(*unpack_from(">II", data, first + 4))
    raise NotAnImage("is an avif image without a size")


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte of the body, end) of each box. Raises NotAnImage where one is longer than its place."""
    for _ in range(MAX_BOXES):
        if position >= end:
            return
        length, kind = PNG_CHUNK.unpack_from(data, position)
        header = 8
        if length == 1:
            (length,), header = unpack_from(">Q", data, position + 8), 16
        elif length == 0:
            length = end - position
        if length < header or position + length > end:
            raise NotAnImage("is an avif image that breaks off")
        yield kind, position + header, position + length
        position += length


def _associations(data: bytes, position: int, item: int) -> Iterator[int]:
    """The 1-based properties of one item, from the body of an `ipma` box."""
    version, wide = data[position], data[position + 3] & 1
    (entries,) = unpack_from(">I", data, position + 4)
    position += 8
    for _ in range(min(entries, MAX_BOXES)):
        (owner,) = unpack_from(">I" if version else ">H", data, position)
        position += 4 if version else 2
        count = data[position]
        if owner == item:
            values = unpack_from(f">{count}{'H' if wide else 'B'}", data, position + 1)
            yield from (v & (0x7FFF if wide else 0x7F) for v in values if v & (0x7FFF if wide else 0x7F))
            return
        position += 1 + count * (2 if wide else 1)


def _is_avif(data: bytes) -> bool:
    (length,) = unpack_from(">I", data)
    brands = data[8:12] + data[16 : min(length, 512)]
    return any(brands[i : i + 4] in (b"avif", b"avis") for i in range(0, len(brands), 4))


FORMATS: Mapping[str, Format] = {
    name: Format(name, reader)
    for name, reader in (
        ("png", read_png),
        ("jpeg", read_jpeg),
        ("webp", read_webp),
        ("gif", read_gif),
        ("avif", read_avif),
    )
}
BY_SIGNATURE = {
    b"\x89PNG\r\n\x1a\n": FORMATS["png"],
    b"\xff\xd8\xff": FORMATS["jpeg"],
    b"GIF87a": FORMATS["gif"],
    b"GIF89a": FORMATS["gif"],
}
