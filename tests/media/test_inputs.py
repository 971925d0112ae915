"""A caller's pictures in a format that a provider takes."""

import hashlib
from collections.abc import Iterator

import pytest

from imagegate.domain import InputImage, Size
from imagegate.errors import InvalidRequest
from imagegate.media.inputs import acceptable, measured
from imagegate.pool import WorkPool
from tests.media.pictures import FORMATS, encoded, opened, picture


@pytest.fixture
def pool() -> Iterator[WorkPool]:
    pool = WorkPool(threads=2)
    yield pool
    pool.close()


def given(format: str, mode: str = "RGB") -> InputImage:
    return measured(InputImage(data=encoded(format, picture(mode))), "image")


@pytest.mark.parametrize("format", FORMATS)
def test_format_size_and_checksum_come_from_the_bytes(format: str) -> None:
    image = given(format)

    assert (image.format, image.size) == (format, Size(64, 40))
    assert image.sha256 == hashlib.sha256(image.data or b"").digest()


def test_what_is_no_image_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as refused:
        measured(InputImage(data=b"%PDF-1.7"), "images[2]")

    assert (refused.value.code, refused.value.param) == ("invalid_image", "images[2]")


@pytest.mark.parametrize("format", FORMATS)
async def test_an_image_in_a_format_that_is_taken_is_the_same_object(pool: WorkPool, format: str) -> None:
    image = given(format)

    assert await acceptable(pool, image, ("png", format)) is image
    assert await acceptable(pool, image, ()) is image


@pytest.mark.parametrize("format", ["gif", "avif"])
async def test_another_format_becomes_one_that_is_taken(pool: WorkPool, format: str) -> None:
    image = given(format, "RGBA")

    png = await acceptable(pool, image, ("jpeg", "png", "webp"))
    jpeg = await acceptable(pool, image, ("jpeg",))

    assert (png.format, png.size, jpeg.format) == ("png", Size(64, 40), "jpeg")
    assert opened(png.data or b"").mode == "RGBA"
    assert png.sha256 == hashlib.sha256(png.data or b"").digest()
