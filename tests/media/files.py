"""What a local store has on the disk."""

from pathlib import Path


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def images_in(root: Path) -> list[Path]:
    return [path for path in files(root) if path.suffix == ".png"]


def name_at(path: Path) -> str:
    """The object name of a file."""
    return f"{path.parents[2].name}/{path.parents[1].name}/{path.name.replace('.', '/', 2)}"
