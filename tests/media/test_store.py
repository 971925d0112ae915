"""What every store promises, whatever it keeps its images in."""

import asyncio
import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from imagegate.errors import NotFound, OperatorError
from imagegate.ids import new_id
from imagegate.media.objects import epoch_prefix, object_name
from imagegate.media.store import ImageStore, open_store
from imagegate.media.store_bucket import BucketStore
from imagegate.media.store_local import LocalStore
from imagegate.settings import Settings
from tests.media.fake_s3 import FakeS3
from tests.media.names import ACCOUNT, name_of

BAD_NAMES = [
    "",
    "/",
    "../secret.key",
    "a/b/c/0/0-x.png",
    name_of(b"").replace("/live/", "/../"),
    name_of(b"").replace("/live/", "/"),
    name_of(b"") + "\n",
    name_of(b"").replace(".png", ".svg"),
    name_of(b"").replace("/0/", "/00/"),
    "/" + name_of(b""),
]


def images_in(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*.png")]


async def test_what_was_put_can_be_read(store: ImageStore) -> None:
    data = os.urandom(4096)
    name = name_of(data)

    await store.put(name, data)

    assert await store.exists(name)
    assert await store.get(name) == data


@pytest.mark.parametrize("size_bytes", [0, 1, 2 * 1024 * 1024, 5_000_001])
async def test_an_image_is_opened_in_chunks_with_its_size_and_type(
    store: ImageStore, size_bytes: int
) -> None:
    data = os.urandom(size_bytes)
    name = name_of(data)
    await store.put(name, data)

    stored = await store.open(name)
    chunks = [chunk async for chunk in stored.chunks]

    assert (stored.size_bytes, stored.mime) == (size_bytes, "image/png")
    assert b"".join(chunks) == data
    assert all(isinstance(chunk, bytes) for chunk in chunks)


async def test_an_image_that_is_not_there_is_not_found(store: ImageStore) -> None:
    name = name_of(b"never stored")

    assert not await store.exists(name)
    with pytest.raises(NotFound):
        await store.get(name)
    with pytest.raises(NotFound):
        await store.open(name)


async def test_deleting_is_final_and_may_be_repeated(store: ImageStore) -> None:
    name, other = name_of(b"gone"), name_of(b"kept")
    await store.put(name, b"gone")
    await store.put(other, b"kept")

    await store.delete(name)
    await store.delete(name)

    assert not await store.exists(name)
    assert await store.get(other) == b"kept"


async def test_putting_the_same_again_changes_nothing(store: ImageStore) -> None:
    name = name_of(b"same")

    await store.put(name, b"same")
    await store.put(name, b"same")

    assert await store.get(name) == b"same"


async def test_one_epoch_is_listed_without_its_neighbours(store: ImageStore) -> None:
    generation, sibling = new_id(), new_id()
    first = [name_of(b"a", generation, epoch=1, index=index) for index in (0, 1, 10)]
    later = name_of(b"b", generation, epoch=11)
    for name in (*first, later, name_of(b"c", sibling, epoch=1)):
        await store.put(name, b"x")

    assert await store.list(epoch_prefix(ACCOUNT, "live", generation, 1)) == sorted(first)
    assert await store.list(epoch_prefix(ACCOUNT, "live", generation, 11)) == [later]
    assert await store.list(epoch_prefix(ACCOUNT, "live", generation, 2)) == []
    assert await store.list(f"{ACCOUNT.hex}/live/{generation.hex}/") == sorted([*first, later])
    assert await store.list(f"{uuid4().hex}/live/{generation.hex}/") == []


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_other_names_reach_nothing(store: ImageStore, name: str) -> None:
    for verb in (
        store.put(name, b"x"),
        store.get(name),
        store.open(name),
        store.exists(name),
        store.delete(name),
    ):
        with pytest.raises(ValueError, match="is not an object name"):
            await verb


@pytest.mark.parametrize("prefix", ["", "/", "../", f"{'0' * 32}/", f"{'0' * 32}/live/", name_of(b"")])
async def test_a_whole_account_cannot_be_listed(store: ImageStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="is not the prefix"):
        await store.list(prefix)


async def test_a_store_keeps_its_id(store: ImageStore) -> None:
    first = await store.identify()

    assert isinstance(first, UUID)
    assert await store.identify() == first


async def test_replicas_that_start_together_agree_on_the_id(store: ImageStore) -> None:
    ids = await asyncio.gather(*(store.identify() for _ in range(20)))

    assert len(set(ids)) == 1


async def test_many_puts_at_once_all_arrive(store: ImageStore) -> None:
    images = {name_of(data): data for data in (os.urandom(300) for _ in range(200))}

    await asyncio.gather(*(store.put(name, data) for name, data in images.items()))

    assert [await store.get(name) for name in images] == list(images.values())


async def test_without_a_url_images_lie_in_the_data_directory(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=tmp_path))
    name = name_of(b"x")

    await store.put(name, b"x")
    await store.close()

    assert isinstance(store, LocalStore)
    assert images_in(tmp_path / "images") == [b"x"]


async def test_with_a_url_images_lie_in_the_bucket_beneath_its_path(tmp_path: Path, s3: FakeS3) -> None:
    store = open_store(Settings(data_dir=tmp_path, store_url="s3://images/some/where"))
    name = name_of(b"x")

    await store.put(name, b"x")
    await store.close()

    assert isinstance(store, BucketStore)
    assert s3.objects == {f"some/where/{name}": b"x"}
    assert s3.content_types == {f"some/where/{name}": "image/png"}
    assert images_in(tmp_path) == []


@pytest.mark.parametrize(
    "url", ["", "images", "s3://", "file:///tmp", "memory:///", "https://example.com/x", "ftp://x/y"]
)
async def test_a_url_that_is_no_bucket_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(OperatorError, match="IMAGEGATE_STORE_URL"):
        open_store(Settings(data_dir=tmp_path, store_url=url))


def test_a_name_tells_what_it_names() -> None:
    name = object_name(UUID(int=1), "test", UUID(int=2), epoch=3, index=4, sha256=b"\1" * 32, format="avif")

    assert name == f"{'0' * 31}1/test/{'0' * 31}2/3/4-{'01' * 32}.avif"
