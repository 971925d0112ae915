"""Small copies of stored pictures."""

from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image

from imagegate.errors import NotFound, StorageUnavailable
from imagegate.media.objects import StoredImage, thumbnail_of
from imagegate.media.store_local import LocalStore
from imagegate.media.thumbnails import shrunk, thumbnail
from imagegate.pool import Unworkable, WorkPool
from tests.media.names import name_of
from tests.media.pictures import FORMATS, encoded, opened, picture


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkPool]:
    pool = WorkPool(threads=2)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("width_px", "height_px", "small"),
    [
        (1024, 512, (320, 160)),
        (200, 100, (200, 100)),
        (512, 4096, (80, 640)),
        (4000, 2, (320, 1)),
    ],
)
def test_a_picture_keeps_its_shape_and_is_never_enlarged(
    width_px: int, height_px: int, small: tuple[int, int]
) -> None:
    assert opened(shrunk(encoded("png", picture("RGB", width_px, height_px)))).size == small


@pytest.mark.parametrize("format", FORMATS)
def test_of_every_format_a_webp_is_made(format: str) -> None:
    made = opened(shrunk(encoded(format)))

    assert (made.format, made.size) == ("WEBP", (64, 40))


def test_a_picture_is_turned_as_its_camera_was_held() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = BytesIO()
    picture("RGB", 400, 200).save(out, format="JPEG", exif=exif)

    assert opened(shrunk(out.getvalue())).size == (200, 400)


async def test_the_second_look_reads_what_the_first_has_made(local: LocalStore, pool: WorkPool) -> None:
    data = encoded("png", picture("RGB", 640, 640))
    name = name_of(data)
    await local.put(name, data)

    first = await thumbnail(local, pool, name)
    await local.delete(name)
    second = await thumbnail(local, pool, name)

    assert first == second == await local.get(thumbnail_of(name))
    assert opened(first).size == (320, 320)


async def test_of_what_is_gone_there_is_none(local: LocalStore, pool: WorkPool) -> None:
    with pytest.raises(NotFound):
        await thumbnail(local, pool, name_of(b"gone"))


async def test_other_bytes_than_were_stored_are_not_shown(local: LocalStore, pool: WorkPool) -> None:
    name = name_of(encoded("png"))
    await local.put(name, encoded("png", picture("RGB", 64, 64)))

    with pytest.raises(NotFound):
        await thumbnail(local, pool, name)

    assert not await local.exists(thumbnail_of(name))


async def test_what_cannot_be_decoded_leaves_nothing_behind(local: LocalStore, pool: WorkPool) -> None:
    name = name_of(b"no picture")
    await local.put(name, b"no picture")

    with pytest.raises(Unworkable):
        await thumbnail(local, pool, name)

    assert not await local.exists(thumbnail_of(name))


class Losing:
    """A store whose image is removed by somebody else while its thumbnail is kept; or that keeps nothing new."""

    def __init__(self, store: LocalStore, name: str, *, full: bool = False) -> None:
        self._store, self._name, self._full = store, name, full

    async def put(self, name: str, data: bytes) -> None:
        if self._full:
            raise StorageUnavailable
        await self._store.delete(self._name)
        await self._store.put(name, data)

    async def get(self, name: str) -> bytes:
        return await self._store.get(name)

    async def open(self, name: str) -> StoredImage:
        return await self._store.open(name)

    async def exists(self, name: str) -> bool:
        return await self._store.exists(name)

    async def delete(self, name: str) -> None:
        await self._store.delete(name)


async def test_a_picture_that_is_removed_meanwhile_leaves_no_thumbnail(
    local: LocalStore, pool: WorkPool
) -> None:
    data = encoded("png")
    name = name_of(data)
    await local.put(name, data)

    await thumbnail(Losing(local, name), pool, name)  # type: ignore[arg-type]

    assert not await local.exists(thumbnail_of(name))


async def test_a_full_store_still_shows_pictures(local: LocalStore, pool: WorkPool) -> None:
    data = encoded("png")
    name = name_of(data)
    await local.put(name, data)

    made = await thumbnail(Losing(local, name, full=True), pool, name)  # type: ignore[arg-type]

    assert opened(made).format == "WEBP"
    assert await local.exists(name)
