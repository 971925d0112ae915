"""Durable files: what a kill, a full disk or a folder without room leaves behind."""

import asyncio
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from imagegate.media.folders import Folders
from imagegate.media.group_writer import GroupWriter
from tests.media.files import files, images_in, name_at

WRITE_UNTIL_KILLED = """
import asyncio, hashlib, os, sys
from pathlib import Path
from imagegate.ids import new_id
from imagegate.media.store_local import LocalStore
from tests.media.names import name_of

async def write(store):
    while True:
        data = os.urandom(20_000)
        name = name_of(data)
        await store.put(name, data)
        os.write(1, f"{name}\\n".encode())

async def main():
    store = LocalStore(Path(sys.argv[1]))
    await asyncio.gather(*(write(store) for _ in range(16)))

asyncio.run(main())
"""

WRITE_WITH_A_LIMIT = """
import asyncio, resource, sys
from pathlib import Path
from imagegate.errors import StorageUnavailable
from imagegate.media.store_local import LocalStore
from tests.media.names import name_of

async def attempt(store, data):
    try:
        await store.put(name_of(data), data)
    except StorageUnavailable:
        return "unavailable"
    return "stored"

async def main():
    store = LocalStore(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    sizes = (10_000, 10_001, 100, 500_000, 9_999)
    print(*await asyncio.gather(*(attempt(store, bytes(size)) for size in sizes)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(await attempt(store, bytes(10_001)))
    await store.close()

asyncio.run(main())
"""


class Refusing(Folders):
    """A disk that has no room for one folder."""

    def make(self, folder: str) -> None:
        if folder.endswith("full"):
            raise OSError(28, "No space left on device")
        super().make(folder)


def test_a_kill_in_the_middle_leaves_whole_images_only_and_all_that_were_confirmed(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path / "images")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdout is not None
    confirmed = [writer.stdout.readline() for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    confirmed += writer.stdout.read().splitlines(keepends=True)
    writer.stdout.close()
    writer.wait()

    found = {name_at(path): path.read_bytes() for path in images_in(tmp_path)}

    assert {line.decode().strip() for line in confirmed if line.endswith(b"\n")} <= found.keys()
    assert all(sha256(data).hexdigest() in name for name, data in found.items())


def test_a_file_that_does_not_fit_fails_alone_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE_WITH_A_LIMIT, str(tmp_path / "images")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert done.stdout.splitlines() == ["stored unavailable stored unavailable stored", "stored"]
    assert sorted(path.stat().st_size for path in files(tmp_path)) == [100, 9_999, 10_000, 10_001]


async def test_a_folder_without_room_fails_only_the_files_that_go_there(tmp_path: Path) -> None:
    incoming = tmp_path / ".incoming"
    incoming.mkdir()
    writer = GroupWriter(Refusing(str(tmp_path)), str(incoming))

    results = await asyncio.gather(
        *(writer.write(f"{tmp_path}/{folder}", "x.png", b"x") for folder in ("a", "full", "b", "full", "c")),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [type(None), OSError, type(None), OSError, type(None)]
    assert sorted(path.parent.name for path in files(tmp_path)) == ["a", "b", "c"]
    writer.close(5)
