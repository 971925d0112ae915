"""Small files that swell, last or lie when they are decoded."""

from collections.abc import Callable
from functools import cache
from struct import pack
from zlib import compress, compressobj

from PIL import Image

from tests.media.pictures import encoded, picture
from tests.media.test_formats import END, PIXELS, chunk, header, png_with

MB = 1024 * 1024
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(width_px: int, height_px: int, *before: bytes, bits: int = 8, colour: int = 2) -> bytes:
    """All pixels zero. before: chunks in front of them."""
    row = bytes((width_px * CHANNELS[colour] * bits + 7) // 8 + 1)
    packer = compressobj(9)
    pixels = [packer.compress(row) for _ in range(height_px)]
    pixels.append(packer.flush())
    head = chunk(b"IHDR", pack(">IIBBBBB", width_px, height_px, bits, colour, 0, 0, 0))
    return png_with(head, *before, chunk(b"IDAT", b"".join(pixels)), END)


@cache
def zeros(mb: int) -> bytes:
    return compress(bytes(mb * MB), 9)


def frames(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (64, 64), (i % 255, i // 255, 0)) for i in range(count)]


def gif_of(count: int) -> bytes:
    """One frame, again and again."""
    data = encoded("gif", Image.new("L", (16, 16)))
    palette_bytes = 3 << (data[10] & 7) + 1
    frame = data[data.index(b"\x2c", 13 + palette_bytes) : -1]
    return data[:-1] + frame * count + b";"


def jpeg_of_scans(width_px: int, height_px: int, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: some 60 bytes, and a pass over all pixels each."""
    data = encoded("jpeg", Image.new("L", (width_px, height_px), 128), progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def jpeg_of_size(width_px: int, height_px: int) -> bytes:
    data = bytearray(encoded("jpeg"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = pack(">HH", height_px, width_px)
    return bytes(data)


def gif_of_size(width_px: int, height_px: int) -> bytes:
    data = encoded("gif")
    return data[:6] + pack("<HH", width_px, height_px) + data[10:]


def moving(format: str, count: int) -> bytes:
    first, *others = frames(count)
    return encoded(format, first, save_all=True, append_images=others)


@cache
def too_large() -> dict[str, bytes]:
    """Refused by their headers."""
    return {
        "png of 900 megapixels": png_with(header(30_000, 30_000), PIXELS, END),
        "png of a row above 40 megapixels": png_with(header(8000, 5001), PIXELS, END),
        "jpeg of 65,535 by 65,535": jpeg_of_size(65_535, 65_535),
        "gif with a screen of 65,535 by 65,535": gif_of_size(65_535, 65_535),
        "a file above 50 MB": encoded("png").ljust(50 * MB + 1, b"\0"),
    }


@cache
def endless() -> dict[str, bytes]:
    """Refused by their headers, which are longer than any real file's."""
    count = 6 * MB
    return {
        "png of empty chunks": png_with(header(4, 1), chunk(b"aaAa", b"") * (count // 2), PIXELS, END),
        "gif of blocks of a byte": b"GIF89a"
        + pack("<HHBBB", 4, 4, 0, 0, 0)
        + b"\x21\xfe"
        + b"\1a" * 4 * count,
        "jpeg of empty segments": b"\xff\xd8" + b"\xff\xe1\0\2" * count,
        "webp of unknown chunks": b"RIFF" + pack("<I", 8 * count + 4) + b"WEBP" + b"XXXX\0\0\0\0" * count,
    }


@cache
def swelling() -> dict[str, bytes]:
    """Whole, small, and read in a moment or refused."""
    text = compress(bytes(MB - 16))
    texts = [chunk(b"zTXt", b"a%d\0\0" % i + text) for i in range(80)]
    return {
        "png with a text of 100 MB": png(64, 64, chunk(b"zTXt", b"a\0\0" + zeros(100))),
        "png with 80 texts of 1 MB": png(64, 64, *texts),
        "png with a profile of 100 MB": png(64, 64, chunk(b"iCCP", b"a\0\0" + zeros(100))),
        "png with an international text of 100 MB": png(64, 64, chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(100))),
        "png with pixels behind its pixels": png(64, 64).replace(END, chunk(b"IDAT", zeros(100)) + END),
        "png with a second, huge header": png_with(header(4, 1), header(40_000, 40_000), PIXELS, END),
        "gif of 10,000 frames": gif_of(10_000),
        "webp of 500 frames": moving("webp", 500),
        "avif of 50 frames": moving("avif", 50),
        "jpeg of 20 scans": jpeg_of_scans(640, 400, 20),
    }


def clear() -> Image.Image:
    return Image.new("RGBA", (8000, 5000), (9, 9, 9, 9))


HUGE: dict[str, Callable[[], bytes]] = {
    "png": lambda: png(8000, 5000),
    "png of 16 bits with alpha": lambda: png(8000, 5000, bits=16, colour=6),
    "png of 16 bits, grey": lambda: png(8000, 5000, bits=16, colour=0),
    "png of 1 bit": lambda: png(8000, 5000, bits=1, colour=0),
    "png with noise": lambda: encoded("png", Image.effect_noise((8000, 5000), 90), compress_level=1),
    "jpeg, progressive": lambda: encoded("jpeg", clear().convert("RGB"), progressive=True),
    "jpeg, turned": lambda: encoded("jpeg", clear().convert("RGB"), exif=turned()),
    "gif": lambda: encoded("gif", clear().convert("L")),
    "webp": lambda: encoded("webp", clear(), method=0),
    "webp, lossless": lambda: encoded("webp", clear(), lossless=True, method=0),
    "avif": lambda: encoded("avif", clear(), speed=10),
}
"""The largest that are taken, in the ways that need the most memory and time."""


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def polyglots() -> dict[str, bytes]:
    """Pictures that are something else as well: whole pictures all the same, read as what they begin with."""
    jpeg = encoded("jpeg")
    page = b"<html><script>alert(1)</script></html>"
    comment = b"\xff\xfe" + pack(">H", len(page) + 2) + page
    gif = encoded("gif")
    head = 13 + (3 << (gif[10] & 7) + 1)
    script = b"\x21\xfe" + bytes([len(page)]) + page + b"\0"
    return {
        "png and ZIP": encoded("png") + b"PK\x05\x06" + bytes(18),
        "png and PDF": encoded("png") + b"%PDF-1.7\n%%EOF",
        "gif and script": gif[:head] + script + gif[head:],
        "jpeg and page": jpeg[:2] + comment + jpeg[2:],
        "webp and page": encoded("webp") + page,
        "avif and page": encoded("avif") + pack(">I", len(page) + 8) + b"free" + page,
    }


def strangers() -> dict[str, bytes]:
    """No pictures, or such of formats that are not taken, whatever they are called."""
    brand = b"\0\0\0\x18ftyp%b\0\0\0\0%bmif1"
    return {
        "PDF": b"%PDF-1.7\n1 0 obj\n<< >>\n\xff\xfe%%EOF",
        "ZIP": b"PK\x03\x04" + bytes(60),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "SVG with entities": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
        "ICO": encoded("ico"),
        "TIFF": encoded("tiff"),
        "BMP": encoded("bmp"),
        "PPM": encoded("ppm"),
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n",
        "PSD": b"8BPS\0\1" + bytes(40),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        "HEIC": brand % (b"heic", b"heic") + bytes(40),
        "MP4": brand % (b"isom", b"mp42") + bytes(40),
        "MP4 that says AVIF": brand % (b"avif", b"mp42") + bytes(40),
        "HTML": b"<html><body>\xff not found</body></html>",
        "RIFF sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
        "page before a picture": b"<html>" + encoded("png"),
        "newline before a picture": b"\n" + encoded("png"),
        "MNG": b"\x8aMNG\r\n\x1a\n" + encoded("png")[8:],
        "nothing but zeros": bytes(4096),
    }


SMALL = picture("RGB", 256, 256)
