"""What is installed: floors and their advisories, the lock and its hashes, the list of parts."""

import re
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operate/advisories.md").read_text()
LOCKS = ("requirements.lock", "deploy/build.lock")
ROW = re.compile(r"^\| ([a-z0-9-]+) \| ([0-9.]+) \| ([^|]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
ID = re.compile(r"CVE-20\d\d-\d{4,}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}|PYSEC-20\d\d-\d+")


def floors() -> dict[str, Version]:
    """The least versions that `pyproject.toml` lets in, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {}
    for text in project["dependencies"]:
        wanted = Requirement(text)
        (least,) = [each.version for each in wanted.specifier if each.operator == ">="]
        found[canonicalize_name(wanted.name)] = Version(least)
    return found


def pins(name: str) -> dict[str, Version]:
    pinned = re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE)
    return {name: Version(version) for name, version in pinned}


def test_no_version_with_a_known_advisory_is_let_in() -> None:
    least, locked, rows = floors(), pins("requirements.lock"), ROW.findall(PAGE)

    assert len(rows) > 20
    assert [name for name, _, _ in rows if name not in locked] == []
    below = [
        (name, version)
        for name, version, _ in rows
        if Version(version) > least.get(name, locked[name]) or Version(version) > locked[name]
    ]
    assert below == []


def test_every_dependency_was_looked_up_and_every_row_names_an_advisory() -> None:
    named = {name for name, _, _ in ROW.findall(PAGE)}
    without = re.search(r"no advisory was found[^:]*:([^.]*)\.", PAGE)
    assert without is not None
    clean = {name.strip() for name in without[1].split(",")}
    read = re.search(r"read on\s+(\d{4}-\d\d-\d\d)", PAGE)
    assert read is not None

    assert named & clean == set()
    assert set(floors()) - named == clean
    for _, _, ids in ROW.findall(PAGE):
        assert [text for text in ids.split(", ") if not ID.fullmatch(text.strip())] == []
    assert date(2026, 11, 1) <= date.fromisoformat(read[1]) <= datetime.now(UTC).date()


def test_every_pin_has_hashes_and_no_lock_names_an_index() -> None:
    for name in LOCKS:
        text = (ROOT / name).read_text()
        blocks = re.findall(
            r"^[a-z0-9-]+==[^\n]*\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE
        )

        assert len(blocks) == len(pins(name)) > 5
        assert not re.search(r"://|--(?:extra-)?index-url|--find-links| @ ", text)


def test_the_image_names_both_locks_and_installs_nothing_else() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]*)", dockerfile)

    locked = [line for line in installs if "-r " in line]
    assert [re.search(r"-r (\S+)", line)[1] for line in locked] == ["requirements.lock", "build.lock"]  # type: ignore[index]
    assert all("--require-hashes" in line and "--only-binary=:all:" in line for line in locked)
    assert [line.split()[-1] for line in installs if "-r " not in line] == ["/wheel/*.whl"]


def test_the_list_of_parts_is_made_of_the_lock() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^sbom:.*?(?=^\S)", makefile + "end", re.MULTILINE | re.DOTALL)

    assert recipe is not None
    assert "cyclonedx-py" in recipe[0]
    assert " requirements requirements.lock" in recipe[0]
    assert "--output-format JSON" in recipe[0]
