"""Headers: every real file is measured as Pillow measures it, and no broken one passes."""

from io import BytesIO
from struct import pack
from zlib import compress, crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagegate.domain import Size
from imagegate.media.formats import FORMATS, NotAnImage, read_size, sniff
from tests.media.pictures import encoded, opened, picture

EMPTY_EXIF = b"Exif\0\0II*\0" + pack("<IHI", 8, 0, 0)
FRAMES = [picture().rotate(angle) for angle in (90, 180)]
WHOLE = {
    "png": encoded("png"),
    "png interlaced palette": encoded("png", picture().convert("P"), interlace=1),
    "png animated": encoded("png", save_all=True, append_images=FRAMES),
    "jpeg": encoded("jpeg"),
    "jpeg progressive": encoded("jpeg", progressive=True),
    "jpeg with a thumbnail": encoded("jpeg", exif=EMPTY_EXIF + encoded("jpeg", picture("RGB", 8, 8))),
    "jpeg cmyk": encoded("jpeg", picture("CMYK")),
    "webp lossy": encoded("webp"),
    "webp lossless": encoded("webp", lossless=True),
    "webp with alpha": encoded("webp", picture("RGBA")),
    "webp animated": encoded("webp", save_all=True, append_images=FRAMES),
    "gif": encoded("gif"),
    "gif animated": encoded("gif", save_all=True, append_images=FRAMES),
    "avif": encoded("avif"),
    "avif with alpha": encoded("avif", picture("RGBA")),
    "avif animated": encoded("avif", save_all=True, append_images=FRAMES),
}


def measured(data: bytes) -> tuple[str, Size]:
    found = sniff(data)
    return found.name, read_size(data, found)


def chunk(kind: bytes, body: bytes) -> bytes:
    return pack(">I", len(body)) + kind + body + pack(">I", crc32(kind + body))


def png_with(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header(width_px: int, height_px: int) -> bytes:
    return chunk(b"IHDR", pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0))


PIXELS = chunk(b"IDAT", compress(b"\0" * 13))
END = chunk(b"IEND", b"")


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_measured_as_its_decoder_measures_it(name: str) -> None:
    data = WHOLE[name]

    format, size = measured(data)

    assert format == name.split()[0]
    assert (size.width_px, size.height_px) == opened(data).size


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_breaks_off_anywhere_is_no_image(name: str) -> None:
    data = WHOLE[name]

    for length in range(len(data)):
        with pytest.raises(NotAnImage):
            measured(data[:length])


@pytest.mark.parametrize("name", WHOLE)
def test_bytes_after_the_end_are_let_through(name: str) -> None:
    data = WHOLE[name] + (
        b"\0" * 16 if not name.startswith("avif") else pack(">I4s", 16, b"free") + b"\0" * 8
    )

    assert measured(data) == measured(WHOLE[name])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"RIFF\x04\0\0\0WEBP",
        b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
        b"BM" + bytes(60),
        encoded("tiff"),
        encoded("ico", picture("RGBA", 16, 16)),
    ],
)
def test_other_bytes_are_no_image(data: bytes) -> None:
    with pytest.raises(NotAnImage):
        measured(data)


@pytest.mark.parametrize(
    "data",
    [
        png_with(header(4, 1), END),
        png_with(PIXELS, header(4, 1), END),
        png_with(header(0, 1), PIXELS, END),
        png_with(header(4, 1)[:-1] + b"\0", PIXELS, END),
        png_with(header(4, 1), pack(">I", 1 << 31) + b"IDAT", END),
    ],
    ids=["no pixels", "header not first", "no width", "wrong checksum", "chunk longer than the file"],
)
def test_a_png_that_contradicts_itself_is_no_image(data: bytes) -> None:
    assert measured(png_with(header(4, 1), PIXELS, END))[1] == Size(4, 1)

    with pytest.raises(NotAnImage):
        measured(data)


def test_a_gif_frame_beyond_its_canvas_counts_as_decoders_count_it() -> None:
    data = bytearray(encoded("gif"))
    data[6:10] = pack("<HH", 1, 1)

    _, size = measured(bytes(data))

    assert (size.width_px, size.height_px) == Image.open(BytesIO(bytes(data))).size == (64, 40)


@given(name=st.sampled_from(sorted(WHOLE)), position=st.integers(0), value=st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_measured_or_refused_and_nothing_else(
    name: str, position: int, value: bytes
) -> None:
    data = WHOLE[name]
    position %= min(len(data), 400)
    damaged = data[:position] + value + data[position + len(value) :]

    try:
        format, _ = measured(damaged)
    except NotAnImage:
        return

    assert format in FORMATS


@given(st.binary(max_size=200), st.sampled_from([data[:n] for data in WHOLE.values() for n in (4, 12, 33)]))
def test_noise_behind_a_signature_is_measured_or_refused_and_nothing_else(noise: bytes, start: bytes) -> None:
    try:
        format, _ = measured(start + noise)
    except NotAnImage:
        return

    assert format in FORMATS
