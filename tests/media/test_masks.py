"""Masks from one convention into another, and what is refused as a mask."""

from collections.abc import Iterator

import pytest
from PIL import Image

from imagegate.domain import InputImage, Size
from imagegate.errors import InvalidRequest
from imagegate.media.inputs import measured
from imagegate.media.masks import CONVENTIONS, check_mask, convert_mask, prepared_mask
from imagegate.pool import WorkPool
from tests.media.pictures import FORMATS, encoded, opened, picture

SIZE = Size(64, 40)


@pytest.fixture
def pool() -> Iterator[WorkPool]:
    pool = WorkPool(threads=2)
    yield pool
    pool.close()


def mask(format: str = "png", mode: str = "RGBA") -> InputImage:
    """The lower half is to be redrawn: it is transparent where the mode can be."""
    return measured(InputImage(data=encoded(format, picture(mode))), "mask")


def soft() -> bytes:
    """Alpha 0, 127, 128 and 255 from left to right."""
    image = Image.new("RGBA", (4, 1), (9, 9, 9, 0))
    for x, alpha in enumerate((0, 127, 128, 255)):
        image.putpixel((x, 0), (9, 9, 9, alpha))
    return encoded("png", image)


def greys(data: bytes) -> list[int]:
    image = opened(data)
    assert image.mode == "L"
    return list(image.tobytes())


def test_what_is_transparent_becomes_white_or_black() -> None:
    white, black = (opened(convert_mask(mask().data or b"", target)) for target in ("white", "black"))

    assert (white.mode, white.size, black.mode, black.size) == ("L", (64, 40), "L", (64, 40))
    assert (white.getpixel((5, 35)), white.getpixel((5, 5))) == (255, 0)
    assert (black.getpixel((5, 35)), black.getpixel((5, 5))) == (0, 255)


def test_half_transparent_is_decided_at_128_unless_the_mask_is_soft() -> None:
    assert greys(convert_mask(soft(), "white")) == [255, 255, 0, 0]
    assert greys(convert_mask(soft(), "black")) == [0, 0, 255, 255]
    assert greys(convert_mask(soft(), "white", soft=True)) == [255, 128, 127, 0]
    assert greys(convert_mask(soft(), "black", soft=True)) == [0, 127, 128, 255]


@pytest.mark.parametrize("there", CONVENTIONS)
def test_a_mask_comes_back_from_every_convention_as_it_was(there: str) -> None:
    original = convert_mask(mask().data or b"", "black")

    converted = convert_mask(original, there, "black")
    back = convert_mask(converted, "black", there)

    assert greys(back) == greys(original)
    assert (opened(converted).mode == "RGBA") == (there == "alpha")


@pytest.mark.parametrize(("target", "source"), [("white=edit", "alpha"), ("white", "true")])
def test_an_unknown_convention_is_a_bug(target: str, source: str) -> None:
    with pytest.raises(ValueError, match="a mask is one of"):
        convert_mask(soft(), target, source)


async def test_a_mask_that_is_right_already_is_the_same_object(pool: WorkPool) -> None:
    ours, grey = mask(), mask(mode="L")

    assert await prepared_mask(pool, ours, "alpha") is ours
    assert await prepared_mask(pool, grey, "white", "white") is grey


async def test_a_prepared_mask_is_measured_anew(pool: WorkPool) -> None:
    original = mask()

    prepared = await prepared_mask(pool, original, "white")

    assert (prepared.format, prepared.size) == ("png", SIZE)
    assert prepared == measured(InputImage(data=prepared.data), "mask")
    assert prepared.sha256 != original.sha256


@pytest.mark.parametrize("format", ["webp", "gif", "avif"])
async def test_a_mask_in_another_format_becomes_a_png_with_an_alpha_channel(
    pool: WorkPool, format: str
) -> None:
    prepared = await prepared_mask(pool, mask(format), "alpha")

    image = opened(prepared.data or b"")
    assert (prepared.format, image.mode) == ("png", "RGBA")
    assert (image.getpixel((5, 35))[3], image.getpixel((5, 5))[3]) == (0, 255)  # type: ignore[index]


async def test_a_transparent_palette_becomes_an_alpha_channel(pool: WorkPool) -> None:
    image = picture().quantize(4)
    data = encoded("png", image, transparency=image.getpixel((60, 5)))

    prepared = await prepared_mask(pool, measured(InputImage(data=data), "mask"), "alpha")

    assert prepared.data != data
    assert opened(prepared.data or b"").mode == "RGBA"


@pytest.mark.parametrize("format", ["png", "webp", "gif", "avif"])
async def test_a_mask_with_transparency_passes(pool: WorkPool, format: str) -> None:
    await check_mask(pool, mask(format), SIZE)


@pytest.mark.parametrize("format", FORMATS)
async def test_a_mask_without_transparency_is_refused_with_a_hint(pool: WorkPool, format: str) -> None:
    with pytest.raises(InvalidRequest, match="alpha channel") as refused:
        await check_mask(pool, mask(format, "RGB"), SIZE)

    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "invalid_image", "mask")
    await check_mask(pool, mask(format, "RGB"), SIZE, "white")


async def test_a_mask_of_another_size_is_refused_and_both_sizes_are_told(pool: WorkPool) -> None:
    with pytest.raises(InvalidRequest, match=r"64x40.*1024x1024"):
        await check_mask(pool, mask(), Size(1024, 1024))


async def test_a_mask_whose_pixels_are_broken_is_refused(pool: WorkPool) -> None:
    data = mask().data or b""
    start = data.index(b"IDAT") + 4
    broken = InputImage(data=data[:start] + b"\xff" * 20 + data[start + 20 :], format="png", size=SIZE)

    with pytest.raises(InvalidRequest, match="cannot be decoded"):
        await prepared_mask(pool, broken, "white")
