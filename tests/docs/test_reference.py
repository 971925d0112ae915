"""The reference is what the code says: nothing is missing, and the pages are as `make docs` writes them."""

import re
from pathlib import Path

import pytest

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.cli import command
from imagegate.cli.config import fields
from imagegate.cli.reference import Page, write_page
from imagegate.dialects import SPOKEN
from imagegate.errors.catalogue import load_errors
from imagegate.settings import PREFIX

DOCS = Path(__file__).parents[2] / "docs"
NAV = (DOCS.parent / "mkdocs.yml").read_text()


def page(name: str) -> str:
    return (DOCS / name).read_text()


def headings(text: str) -> set[str]:
    return set(re.findall(r"^#{2,3} (.+)$", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["settings", "cli", "errors", "http"])
def test_a_page_of_the_reference_is_what_the_code_says(name: Page) -> None:
    assert page(f"reference/{name}.md") == write_page(name), "write it anew: make docs"


def test_every_setting_has_an_anchor() -> None:
    assert {f"{PREFIX}{name.upper()}" for name, _ in fields()} - headings(
        page("reference/settings.md")
    ) == set()


def test_every_error_code_has_an_anchor() -> None:
    codes = {entry.code for entries in load_errors().values() for entry in entries}

    assert codes - headings(page("reference/errors.md")) == set()


def test_every_verb_has_an_anchor() -> None:
    said = headings(page("reference/cli.md"))
    verbs = {f"imagegate {name}" for name, verb in command().commands.items() if not verb.hidden}  # type: ignore[attr-defined]

    assert len(verbs) > 15
    assert verbs - said == set()


def test_every_dialect_has_a_page_in_the_navigation() -> None:
    names = [dialect.__name__.rpartition(".")[2] for dialect in SPOKEN]

    assert [name for name in names if not (DOCS / "dialects" / f"{name}.md").is_file()] == []
    assert [name for name in names if f"dialects/{name}.md" not in NAV] == []


def test_every_provider_has_a_page_in_the_navigation() -> None:
    pages = {n: "sandbox.md" if n == "sandbox" else f"providers/{n}.md" for n in load_catalogue().providers}

    assert {name: path for name, path in pages.items() if not (DOCS / path).is_file()} == {}
    assert {name: path for name, path in pages.items() if path not in NAV} == {}


def test_every_route_of_the_dialects_is_on_the_page_on_http() -> None:
    said = page("reference/http.md")

    for route in (
        "POST /v1/images/generations",
        "POST /v1/images/edits",
        "GET /v1/models",
        "POST /v1/image/edits",
    ):
        assert f"### {route}\n" in said
    assert said.count("curl http://127.0.0.1:8080/") > 15
    assert "None" not in said
