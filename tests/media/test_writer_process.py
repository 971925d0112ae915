"""The process that writes small images: how it starts and ends, and what its owner sees when it is gone."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from imagegate.errors import StorageUnavailable
from imagegate.media.store_local import LocalStore
from imagegate.media.writer_child import ANSWER, REQUEST
from imagegate.media.writer_process import SMALL_BYTES, WriterProcess, start
from tests.media.files import images_in
from tests.media.names import name_of

FOREIGN = ("asyncio", "obstore", "PIL", "pydantic", "imagegate.errors", "imagegate.settings")

Put = asyncio.Task[None]


async def put(store: LocalStore, data: bytes) -> None:
    await store.put(name_of(data), data)


def writers(tmp_path: Path) -> list[psutil.Process]:
    """Running children of this process that write below the folder."""
    children = psutil.Process().children()
    return [
        child
        for child in children
        if child.status() != psutil.STATUS_ZOMBIE and str(tmp_path / "images/.incoming") in child.cmdline()
    ]


async def begin(store: LocalStore, count: int) -> list[Put]:
    """Puts that have been handed to the child."""
    waiting = [asyncio.create_task(put(store, bytes([n]))) for n in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return waiting


async def test_only_small_images_are_the_childs(local: LocalStore, tmp_path: Path) -> None:
    await put(local, bytes(SMALL_BYTES + 1))
    assert writers(tmp_path) == []

    await put(local, bytes(SMALL_BYTES))

    assert len(writers(tmp_path)) == 1
    assert sorted(path.stat().st_size for path in images_in(tmp_path)) == [SMALL_BYTES, SMALL_BYTES + 1]


async def test_small_images_of_every_size_arrive_whole(local: LocalStore) -> None:
    images = [bytes([size % 251]) * size for size in (0, 1, 4_096, 70_000, SMALL_BYTES)] * 20

    await asyncio.gather(*(put(local, data) for data in images))

    for data in images[:5]:
        name = name_of(data)
        await local.put(name, data)
        assert await local.get(name) == data


async def test_a_child_that_is_killed_fails_what_waits_and_the_next_put_starts_another(
    local: LocalStore, tmp_path: Path
) -> None:
    for _ in range(2):
        await put(local, b"before")
        (child,) = writers(tmp_path)
        child.suspend()
        waiting = await begin(local, 40)
        child.kill()

        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert [type(result) for result in results] == [StorageUnavailable] * 40

    await put(local, b"after")
    assert len(writers(tmp_path)) == 1


async def test_what_stops_a_gateway_does_not_stop_the_child(local: LocalStore, tmp_path: Path) -> None:
    await put(local, b"1")
    (child,) = writers(tmp_path)

    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    await put(local, b"2")

    assert writers(tmp_path) == [child]


async def stop(child: psutil.Process) -> None:
    """The signal is sent at once, and reaches a process that runs elsewhere a moment later."""
    child.suspend()
    async with asyncio.timeout(5):
        while child.status() != psutil.STATUS_STOPPED:
            await asyncio.sleep(0.005)


async def test_a_child_that_hangs_is_unavailable_in_time_and_may_wake_up(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "images", timeout_s=2)
    await put(store, b"1")
    (child,) = writers(tmp_path)

    await stop(child)
    with pytest.raises(StorageUnavailable):
        await put(store, b"2")
    child.resume()
    await put(store, b"3")

    assert writers(tmp_path) == [child]
    await store.close()


async def test_closing_ends_the_child_even_one_that_hangs(tmp_path: Path) -> None:
    for hangs in (False, True):
        store = LocalStore(tmp_path / "images", timeout_s=2)
        await put(store, b"1")
        (child,) = writers(tmp_path)
        if hangs:
            await stop(child)
        waiting = await begin(store, 10 if hangs else 0)

        await store.close()

        assert not child.is_running()
        assert all(
            isinstance(e, StorageUnavailable) for e in await asyncio.gather(*waiting, return_exceptions=True)
        )


async def test_waiters_that_leave_before_the_child_is_there_leave_their_images(
    local: LocalStore, tmp_path: Path
) -> None:
    waiting = await begin(local, 20)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    await local.close()

    assert len(images_in(tmp_path)) == 20


async def test_a_child_that_cannot_start_is_unavailable_until_it_can(
    local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(StorageUnavailable):
            await put(local, b"1")

    await put(local, b"2")

    assert len(images_in(tmp_path)) == 1


async def test_no_more_waits_for_the_child_than_fits(tmp_path: Path) -> None:
    (tmp_path / ".incoming").mkdir()
    writer = WriterProcess(str(tmp_path), str(tmp_path / ".incoming"), max_waiting_bytes=10)

    results = await asyncio.gather(
        *(writer.write(f"{tmp_path}/a", f"{size}.png", bytes(size), 20) for size in (6, 5, 4, 1)),
        return_exceptions=True,
    )
    await writer.write(f"{tmp_path}/a", "10.png", bytes(10), 20)
    await writer.close(20)

    assert [type(result) for result in results] == [type(None), OSError, type(None), OSError]
    assert sorted(path.name for path in images_in(tmp_path)) == ["10.png", "4.png", "6.png"]


async def test_the_child_takes_requests_that_come_in_pieces(tmp_path: Path) -> None:
    (tmp_path / ".incoming").mkdir()
    path = str(tmp_path / "a/näme.png").encode()
    request = REQUEST.pack(7, len(path), 3) + path + b"abc"
    ours, child = start(str(tmp_path), str(tmp_path / ".incoming"))
    ours.setblocking(True)

    with ours:
        for n in range(len(request)):
            ours.sendall(request[n : n + 1])
        answer = ours.recv(100)

    assert child.wait(20) == 0
    assert ANSWER.unpack(answer) == (7, 0)
    assert (tmp_path / "a/näme.png").read_bytes() == b"abc"


def test_the_child_imports_next_to_nothing() -> None:
    program = "import sys; import imagegate.media.writer_child; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "imagegate.media.batch" in done.stdout.split()
    assert not set(FOREIGN) & set(done.stdout.split())
