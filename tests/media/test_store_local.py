"""Images in a folder: its layout, its sweeping, and what its owner sees when it fails."""

import asyncio
import os
import stat
import time
from pathlib import Path
from uuid import UUID

import pytest

from imagegate.errors import NotFound, OperatorError, StorageUnavailable
from imagegate.ids import new_id
from imagegate.media.objects import ID_FILE, epoch_prefix
from imagegate.media.store_local import LocalStore
from tests.media.files import files, images_in, name_at
from tests.media.names import ACCOUNT, name_of

OLD = UUID("01900000-0000-7000-8000-000000000000")
"""A generation of June 2024."""


async def test_files_and_folders_are_for_their_owner_only(local: LocalStore, tmp_path: Path) -> None:
    await local.put(name_of(b"x"), b"x")

    for path in (tmp_path / "images").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE((tmp_path / "images").stat().st_mode) == 0o700


async def test_generations_of_one_minute_share_a_folder(local: LocalStore, tmp_path: Path) -> None:
    for digit in range(5):
        await local.put(name_of(b"x", UUID(int=OLD.int + digit)), b"x")

    assert len({path.parent for path in images_in(tmp_path)}) == 1


async def test_a_file_can_be_had_as_a_path(local: LocalStore) -> None:
    name = name_of(b"x")
    assert local.local_path(name) is None

    await local.put(name, b"x")

    path = local.local_path(name)
    assert path is not None
    assert path.read_bytes() == b"x"
    assert name_at(path) == name


async def test_nothing_temporary_is_left(local: LocalStore, tmp_path: Path) -> None:
    await asyncio.gather(*(local.put(name_of(bytes([n])), bytes([n])) for n in range(100)))
    await local.identify()

    assert sorted(p.name for p in files(tmp_path) if p.suffix != ".png") == [ID_FILE]
    assert len(images_in(tmp_path)) == 100


async def test_what_a_killed_writer_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    incoming = tmp_path / "images" / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "old").write_bytes(b"x")
    (incoming / "young").write_bytes(b"x")
    os.utime(incoming / "old", (time.time() - 86_400,) * 2)

    await LocalStore(tmp_path / "images").close()

    assert [path.name for path in incoming.iterdir()] == ["young"]


async def test_a_file_in_a_folders_place_makes_the_store_unavailable(
    local: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "images" / ACCOUNT.hex).write_bytes(b"in the way")

    with pytest.raises(StorageUnavailable):
        await local.put(name_of(b"x"), b"x")
    with pytest.raises(StorageUnavailable):
        await local.get(name_of(b"x"))
    assert not list((tmp_path / "images" / ".incoming").iterdir())


async def test_folders_that_somebody_removed_are_made_again(local: LocalStore, tmp_path: Path) -> None:
    first, second = name_of(b"1", OLD), name_of(b"2", OLD)
    await local.put(first, b"1")
    (path,) = images_in(tmp_path)
    path.unlink()
    path.parent.rmdir()
    path.parents[1].rmdir()

    await local.put(second, b"2")

    assert await local.get(second) == b"2"


async def test_an_old_folder_goes_with_its_last_image_and_a_young_one_stays(
    local: LocalStore, tmp_path: Path
) -> None:
    old = [name_of(data, OLD) for data in (b"1", b"2")]
    young = name_of(b"3", new_id())
    for name in (*old, young):
        await local.put(name, b"x")

    await local.delete(young)
    await local.delete(old[0])
    assert len(list((tmp_path / "images" / ACCOUNT.hex / "live").iterdir())) == 2
    await local.delete(old[1])

    (left,) = (tmp_path / "images" / ACCOUNT.hex / "live").iterdir()
    assert left.name == young.split("/")[2][:8]
    await local.put(old[0], b"1")
    assert await local.exists(old[0])


async def test_foreign_files_are_not_listed(local: LocalStore, tmp_path: Path) -> None:
    name = name_of(b"x", OLD)
    await local.put(name, b"x")
    (path,) = images_in(tmp_path)
    path.with_name(f"{OLD.hex}.0.notes.txt").write_bytes(b"x")

    assert await local.list(epoch_prefix(ACCOUNT, "live", OLD, 0)) == [name]


async def test_two_stores_on_one_folder_are_one_store(tmp_path: Path) -> None:
    stores = [LocalStore(tmp_path / "images") for _ in range(3)]
    names = [name_of(bytes([n])) for n in range(30)]

    ids = await asyncio.gather(*(store.identify() for store in stores))
    await asyncio.gather(*(stores[n % 3].put(name, bytes([n])) for n, name in enumerate(names)))

    assert len(set(ids)) == 1
    assert [await stores[(n + 1) % 3].get(name) for n, name in enumerate(names)] == [
        bytes([n]) for n in range(30)
    ]
    for store in stores:
        await store.close()


async def test_closing_writes_what_waits_and_takes_nothing_more(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "images")
    names = [name_of(bytes([n])) for n in range(100)]
    waiting = [asyncio.ensure_future(store.put(name, bytes([n]))) for n, name in enumerate(names)]
    await asyncio.sleep(0)

    await store.close()
    await asyncio.gather(*waiting)

    assert len(images_in(tmp_path)) == 100
    with pytest.raises(StorageUnavailable):
        await store.put(name_of(b"late"), b"late")


async def test_a_waiter_that_leaves_harms_nobody(local: LocalStore) -> None:
    names = [name_of(bytes([n])) for n in range(50)]
    waiting = [asyncio.ensure_future(local.put(name, bytes([n]))) for n, name in enumerate(names)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()

    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert results[1::2] == [None] * 25
    assert [await local.get(name) for name in names[1::2]] == [bytes([n]) for n in range(1, 50, 2)]


async def test_a_disk_that_hangs_is_unavailable_in_time(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "images", timeout_s=0.2)
    name = name_of(b"x")
    await store.put(name, b"x")
    path = store.local_path(name)
    assert path is not None
    path.unlink()
    os.mkfifo(path)

    with pytest.raises(StorageUnavailable):
        await store.get(name)

    os.close(os.open(path, os.O_WRONLY))
    await store.close()


async def test_an_image_that_goes_while_it_is_sent_ends_the_sending(local: LocalStore) -> None:
    data = os.urandom(5 * 1024 * 1024)
    name = name_of(data)
    await local.put(name, data)
    stored = await local.open(name)

    assert data.startswith(await anext(stored.chunks))
    await local.delete(name)

    with pytest.raises(NotFound):
        await anext(stored.chunks)


async def test_a_damaged_id_file_is_the_operators_to_mend(local: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "images" / ID_FILE).write_bytes(b"")

    with pytest.raises(OperatorError, match="damaged"):
        await local.identify()


def test_a_folder_that_cannot_be_made_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OperatorError, match="cannot be used"):
        LocalStore(tmp_path / "file" / "images")
