"""Files written by threads: what a disk without room for one folder leaves behind."""

import asyncio
from pathlib import Path

from imagegate.media.folders import Folders
from imagegate.media.group_writer import GroupWriter
from tests.media.files import files


class Refusing(Folders):
    """A disk that has no room for one folder."""

    def make(self, folder: str) -> None:
        if folder.endswith("full"):
            raise OSError(28, "No space left on device")
        super().make(folder)


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
