"""The pages in docs/connect and the quickstart: every block that can run is run, as it stands, against a gateway."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from pydantic_core import from_json

from tests.clients.node import Node
from tests.conftest import TEST_TOKENS, Account
from tests.dialects.test_pages import ADDRESS, BLOCK, lacking, run

pytestmark = pytest.mark.long

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (DOCS / "quickstart.md", *sorted((DOCS / "connect").glob("*.md")))
LONGEST_S = 60
SETTINGS_ONLY = {"index"}
"""A page that has nothing to run."""


@dataclass(frozen=True)
class Block:
    """A block of a page; shown: what the page shows right below it, as JSON."""

    page: str
    kind: str
    text: str
    shown: Any = None


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for (kind, text), (below, told) in pairwise([*BLOCK.findall(page.read_text()), ("", "")]):
            if kind in ("python", "js") or (kind == "sh" and "curl " in text):
                yield Block(page.stem, kind, text, from_json(told) if below == "json" else None)


BLOCKS = tuple(blocks())


def of(kind: str) -> Any:
    found = [block for block in BLOCKS if block.kind == kind]
    names = [f"{block.page}-{BLOCKS.index(block)}" for block in found]
    return pytest.mark.parametrize("block", found, ids=names)


async def start(argv: list[str], text: str, folder: Path, **variables: str) -> str:
    """What a program prints that reads its text from standard input."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LONGEST_S):
            out, err = await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@of("sh")
async def test_a_command_is_answered_as_its_page_shows(block: Block, account: Account, base_url: str) -> None:
    headers = {"authorization": f"Bearer {account.test_key}"}
    body = {"prompt": "a wren", "model": "sandbox", "size": "256x256"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
        made = (await client.post("/v1/images/generations", json=body)).json()["metadata"]["id"]

    status, answer = await run(block.text, base_url, KEY=account.test_key, ID=made)

    assert 200 <= status < 300, answer
    if block.shown is not None:
        assert lacking(block.shown, from_json(answer)) == []


@of("python")
async def test_a_program_in_python_draws_and_pays(
    block: Block, account: Account, base_url: str, tmp_path: Path
) -> None:
    for module in re.findall(r"^from (\w+)", block.text, re.MULTILINE):
        pytest.importorskip(module)

    said = await start(
        [sys.executable, "-W", "ignore", "-"],
        block.text.replace(ADDRESS, base_url),
        tmp_path,
        KEY=account.test_key,
    )

    assert said.startswith(base_url)
    assert (await account.balance("test"))[0] < TEST_TOKENS


@of("js")
async def test_a_program_in_javascript_draws(
    block: Block, account: Account, base_url: str, node: Node
) -> None:
    said = await start(
        ["node", "--input-type=module", "-"],
        block.text.replace(ADDRESS, base_url),
        node.folder,
        KEY=account.test_key,
        OWN_KEY="sk-of-the-caller",
    )

    assert re.search(r"http://127|\d{3,}", said), said


def test_every_page_has_something_that_is_run() -> None:
    assert {page.stem for page in PAGES} - {block.page for block in BLOCKS} == SETTINGS_ONLY
    assert {block.kind for block in BLOCKS} == {"sh", "python", "js"}


def test_the_overview_leads_to_every_page() -> None:
    overview = (DOCS / "connect" / "index.md").read_text()

    assert [
        page.name for page in PAGES[1:] if page.stem != "index" and f"({page.name})" not in overview
    ] == []
