"""What a local store has on the disk."""

import asyncio
from collections.abc import Callable
from pathlib import Path


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def images_in(root: Path) -> list[Path]:
    return [path for path in files(root) if path.suffix == ".png"]


def name_at(path: Path) -> str:
    """The object name of a file."""
    return f"{path.parents[2].name}/{path.parents[1].name}/{path.name.replace('.', '/', 2)}"


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Waits for the condition. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
