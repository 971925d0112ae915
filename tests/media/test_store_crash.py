"""Durable images, small and large: what a kill or a full disk leaves behind."""

import asyncio
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from tests.media.files import files, images_in, name_at, until

WRITE_UNTIL_KILLED = """
import asyncio, os, sys, uvloop
from pathlib import Path
from imagegate.media.store_local import LocalStore
from tests.media.names import name_of

async def write(store, size):
    while True:
        data = os.urandom(size)
        name = name_of(data)
        await store.put(name, data)
        os.write(1, f"{name}\\n".encode())

async def main():
    store = LocalStore(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, int(sys.argv[2])) for _ in range(16)))

uvloop.run(main())
"""

WRITE_WITH_A_LIMIT = """
import asyncio, psutil, resource, sys, uvloop
from pathlib import Path
from imagegate.errors import StorageUnavailable
from imagegate.media.store_local import LocalStore
from tests.media.names import name_of

async def attempt(store, size):
    data = bytes(size)
    try:
        await store.put(name_of(data), data)
    except StorageUnavailable:
        return "unavailable"
    return "stored"

async def main():
    store = LocalStore(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    print(*await asyncio.gather(*(attempt(store, size) for size in (10_000, 10_001, 100, 500_000, 9_999))))
    for process in (psutil.Process(), *psutil.Process().children()):
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(*await asyncio.gather(*(attempt(store, size) for size in (10_001, 500_000))))
    await store.close()

uvloop.run(main())
"""


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def killed_in_the_middle(root: Path, size_bytes: int) -> tuple[set[str], list[psutil.Process]]:
    """The images that a killed gateway had confirmed, and its children."""
    gateway = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(root), str(size_bytes)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert gateway.stdout is not None
    confirmed = [gateway.stdout.readline() for _ in range(200)]
    children = psutil.Process(gateway.pid).children()
    gateway.send_signal(signal.SIGKILL)
    confirmed += gateway.stdout.read().splitlines(keepends=True)
    gateway.stdout.close()
    gateway.wait()
    return {line.decode().strip() for line in confirmed if line.endswith(b"\n")}, children


@pytest.mark.parametrize(("size_bytes", "writers"), [(4_000, 1), (500_000, 0)])
async def test_a_kill_in_the_middle_leaves_whole_images_only_and_all_that_were_confirmed(
    tmp_path: Path, size_bytes: int, writers: int
) -> None:
    confirmed, children = await asyncio.to_thread(killed_in_the_middle, tmp_path / "images", size_bytes)

    found = {name_at(path): path.read_bytes() for path in images_in(tmp_path)}

    assert confirmed <= found.keys()
    assert all(sha256(data).hexdigest() in name for name, data in found.items())
    assert len(children) == writers
    await until(lambda: all(has_ended(child) for child in children))


def test_a_file_that_does_not_fit_fails_alone_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE_WITH_A_LIMIT, str(tmp_path / "images")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert done.stdout.splitlines() == ["stored unavailable stored unavailable stored", "stored stored"]
    assert sorted(path.stat().st_size for path in files(tmp_path)) == [100, 9_999, 10_000, 10_001, 500_000]
