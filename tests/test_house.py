"""The rules of the house that no linter knows: sizes of files and functions, and words that do not belong here."""

import ast
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
MODULES = sorted(SOURCE.rglob("*.py"))

FEWER_LINES_PER_FILE = 300
FEWER_LINES_PER_FUNCTION = 40

LEFT_OUT = {"__pycache__", "build", "data", "dist", "node_modules", ".env"}
KEPT_DOT_FOLDERS = {".ci", ".github"}

# In pieces, so that this file is not found.
FORBIDDEN = {
    "a path of one machine": ("/" + "work/", "/" + "tmp/v/"),
    "a folder outside the repository": ("../" + "shared", "shared/" + "design"),
    "a registry's host": ("pypi" + ".org", "files.python" + "hosted.org", "registry." + "npmjs"),
}


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def is_ours(name: str) -> bool:
    """False for what tools leave behind: caches, virtual environments, builds."""
    hidden = name.startswith(".") and name not in KEPT_DOT_FOLDERS
    return not hidden and name not in LEFT_OUT and not name.endswith(".egg-info")


def walk_files(root: Path) -> Iterator[Path]:
    """Every file of the repository; of the dot files those at its top alone."""
    for folder, folders, files in os.walk(root):
        folders[:] = filter(is_ours, folders)
        for name in files:
            if name not in LEFT_OUT and not name.endswith(".pyc"):
                yield Path(folder, name)


def find_words(files: Iterator[Path] | list[Path], words: tuple[str, ...]) -> list[str]:
    found = []
    for path in files:
        text = path.read_bytes().decode("utf-8", "replace").lower()
        found += [f"{path}: {word}" for word in words if word in text]
    return found


def functions_of(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def long_functions(path: Path, text: str) -> list[str]:
    lengths = [(f.name, (f.end_lineno or f.lineno) - f.lineno + 1) for f in functions_of(ast.parse(text))]
    return [f"{path} {name}: {lines}" for name, lines in lengths if lines >= FEWER_LINES_PER_FUNCTION]


def test_every_file_of_the_package_stays_below_300_lines() -> None:
    lengths = {place(path): len(path.read_text().splitlines()) for path in MODULES}

    assert len(lengths) > 20
    assert {path: lines for path, lines in lengths.items() if lines >= FEWER_LINES_PER_FILE} == {}


def test_every_function_of_the_package_stays_below_40_lines() -> None:
    found = chain.from_iterable(long_functions(path.relative_to(ROOT), path.read_text()) for path in MODULES)

    assert list(found) == []


def test_a_function_of_40_lines_would_be_found() -> None:
    body = "\n".join(f"    a = {i}" for i in range(39))

    assert long_functions(Path("a.py"), f"async def f():\n{body}") == ["a.py f: 40"]
    assert long_functions(Path("a.py"), f"def f():\n{body}"[: -len("\n    a = 38")]) == []


def test_every_module_says_in_a_docstring_what_lives_in_it() -> None:
    assert [place(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_nothing_is_called_utils() -> None:
    names = {"util", "utils", "helper", "helpers", "misc", "common"}

    assert [place(path) for path in SOURCE.rglob("*") if path.stem in names] == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    assert find_words(walk_files(ROOT), FORBIDDEN[what]) == []


def test_forbidden_words_would_be_found(tmp_path: Path) -> None:
    words = FORBIDDEN["a registry's host"]
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".venv").mkdir()
    for name in (".ci/run", ".venv/pip.conf", ".pre-commit-config.yaml", "requirements.lock"):
        (tmp_path / name).write_text(f"--index-url https://{words[0].upper()}/simple\n")

    found = {line.rpartition(": ")[0] for line in find_words(walk_files(tmp_path), words)}

    expected = (".ci/run", ".pre-commit-config.yaml", "requirements.lock")
    assert found == {str(tmp_path / name) for name in expected}
