"""The documentation as a whole: everything is found, every link leads somewhere, nothing comes from outside."""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.cli import command
from imagegate.cli.models import Listing
from tests.test_deploy_files import known_variables

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
SITE: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def navigated(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    else:
        for one in part.values() if isinstance(part, dict) else part:
            yield from navigated(one)


def anchors(text: str) -> set[str]:
    """As GitHub and the site make them of headings."""
    prose = FENCE.sub("", text)
    plain = [re.sub(r"[`*]", "", head).lower() for head in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)]
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", head)) for head in plain}


def fenced(*kinds: str) -> Iterator[tuple[str, str]]:
    for name, text in PAGES.items():
        for kind, block in FENCE.findall(text):
            if kind in kinds:
                yield name, block


def test_every_page_is_in_the_navigation_once() -> None:
    listed = list(navigated(SITE["nav"]))

    assert sorted(listed) == sorted(set(listed))
    assert set(listed) == set(PAGES), "a new page goes into mkdocs.yml"


def test_llms_txt_lists_every_page() -> None:
    listed = LINK.findall((DOCS / "llms.txt").read_text())

    assert set(PAGES) - set(listed) == set(), "a new page goes into docs/llms.txt"
    assert set(listed) - set(PAGES) == set()


def test_every_link_leads_to_a_file_and_an_anchor_that_exist() -> None:
    broken = []
    for name, text in PAGES.items():
        for link in LINK.findall(FENCE.sub("", text)):
            path, _, anchor = link.partition("#")
            if "://" in link or path == "llms.txt" or link.startswith("mailto:"):
                continue
            target = (DOCS / name).parent.joinpath(path).resolve() if path else DOCS / name
            if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
                broken.append((name, link))

    assert broken == []


def test_nothing_is_loaded_from_outside() -> None:
    assert SITE["theme"]["font"] is False
    assert SITE["plugins"] == ["search"]
    assert not {"extra_javascript", "extra_css", "repo_url", "hooks", "google_analytics"} & SITE.keys()
    assert "://" not in (ROOT / "mkdocs.yml").read_text()
    for name, text in PAGES.items():
        prose = FENCE.sub("", text)
        assert not re.search(r"!\[[^\]]*\]\(http|<(?:script|iframe|link|img)\b", prose), name
        assert "```mermaid" not in text, name  # the theme would fetch the program that draws it


def options_of(verb: Any) -> set[str]:
    return {option for one in verb.params for option in (*one.opts, *one.secondary_opts)} | {
        "--help",
        "-h",
        "--json",
    }


def wrong_in(line: str) -> str | None:
    """What `imagegate …` says there that the command line does not know."""
    words = shlex.split(line, comments=True)
    verb: Any = command()
    rest = words[words.index("imagegate") + 1 :]
    while rest and hasattr(verb, "commands") and not rest[0].startswith("-"):
        if rest[0] not in verb.commands:
            return None if isinstance(verb, Listing) or rest[0].isupper() else rest[0]
        verb = verb.commands[rest.pop(0)]
    unknown = [
        word for word in rest if re.fullmatch(r"--?[a-z][a-z-]*", word) and word not in options_of(verb)
    ]
    return unknown[0] if unknown else None


def test_every_command_in_a_block_is_one_that_exists() -> None:
    wrong, count = [], 0
    for name, block in fenced("", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"(?:[A-Z_]+=\S+ )*imagegate ", line):
                count += 1
                if (word := wrong_in(line)) is not None:
                    wrong.append((name, line, word))

    assert count > 30
    assert wrong == []


def test_every_command_in_a_sentence_is_one_that_exists() -> None:
    wrong, count = [], 0
    for name, text in PAGES.items():
        for line in re.findall(r"(?<!`)`(imagegate [^`\n]+)`(?!`)", FENCE.sub("", text)):
            count += 1
            if (word := wrong_in(line)) is not None:
                wrong.append((name, line, word))

    assert count > 60
    assert wrong == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert wrong_in("imagegate keys creat --account shop") == "creat"
    assert wrong_in("imagegate keys create --acount shop --env live") == "--acount"
    assert wrong_in('X=1 imagegate keys create --account "a shop" --env live  # makes a key') is None


def test_every_setting_that_a_page_names_exists() -> None:
    known = known_variables()
    named = {
        (name, variable)
        for name, text in PAGES.items()
        for variable in re.findall(r"\bIMAGEGATE_[A-Z0-9_]*[A-Z0-9]\b", text)
    }

    assert len(named) > 100
    assert {pair for pair in named if pair[1] not in known} == set()


def test_the_catalogue_of_the_guide_to_models_of_your_own_can_be_loaded(tmp_path: Path) -> None:
    (block,) = [text for name, text in fenced("yaml") if name == "guides/self-hosted-models.md"]
    file = tmp_path / "catalogue.yaml"
    file.write_text(block)

    catalogue = load_catalogue(file)

    assert catalogue.find("local/qwen-image").model.offerings[0].provider == "openai_compatible"


def test_the_figures_on_scaling_are_those_that_were_measured() -> None:
    measured = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    table = PAGES["operate/scale.md"].partition("| one process, everything on")[2].partition("\n\n")[0]
    cells = [line.split("|")[2] for line in table.splitlines()[2:] if line.count("|") == 3]
    figures = [number for cell in cells for number in re.findall(r"\d[\d,.]*\d|\d", cell)]
    known = re.findall(r"\d[\d,.]*\d|\d", measured)
    rounded = {
        str(round(float(n.replace(",", "")), 1)).removesuffix(".0") for n in known if n.count(".") < 2
    } | set(known)

    assert len(figures) >= 7
    assert [figure for figure in figures if figure not in rounded | {"99", "p99"}] == []


def test_the_site_can_be_built(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: pip install -e '.[docs]'")

    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "llms.txt").is_file()
    fetched = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="?(?:https?:)?//')
    assert [str(page) for page in tmp_path.rglob("*.html") if fetched.search(page.read_text())] == []
