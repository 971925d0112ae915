"""The pages in docs/dialects: every curl of theirs works as it stands there, and answers what the page shows."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient

from tests.conftest import Account

FOLDER = Path(__file__).parents[2] / "docs" / "dialects"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"
PROLOGUE = "set -eu\ncurl() { command curl -sS -w '\\n%{http_code}' \"$@\"; }\n"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@dataclass(frozen=True)
class Example:
    """A command of a page, and the answer that the page shows right below it, if it shows one."""

    page: str
    command: str
    shown: Any = None


def examples() -> Iterator[Example]:
    for page in sorted(FOLDER.glob("*.md")):
        blocks = BLOCK.findall(page.read_text())
        for (kind, command), (below, text) in pairwise([*blocks, ("", "")]):
            if kind == "sh" and "curl" in command:
                yield Example(page.stem, command, json.loads(text) if below == "json" else None)


EXAMPLES = tuple(examples())


async def run(command: str, base_url: str, **variables: str) -> tuple[int, str]:
    """What the command's curl was answered: status, body."""
    script = PROLOGUE + command.replace(ADDRESS, base_url)
    pipe, env = asyncio.subprocess.PIPE, {"PATH": os.environ["PATH"], **variables}
    shell = await asyncio.create_subprocess_exec("bash", "-c", script, stdout=pipe, stderr=pipe, env=env)
    out, errors = await shell.communicate()
    assert shell.returncode == 0, errors.decode()
    body, _, status = out.decode().rpartition("\n")
    return int(status), body


def lacking(shown: Any, told: Any, at: str = "") -> list[str]:
    """Where the answer has no key, or another kind of value, that the page shows."""
    if isinstance(shown, dict) and isinstance(told, dict):
        both = [name for name in shown if name in told]
        missing = [f"{at}.{name}" for name in shown if name not in told]
        return missing + [w for name in both for w in lacking(shown[name], told[name], f"{at}.{name}")]
    if isinstance(shown, list) and isinstance(told, list):
        return lacking(shown[0], told[0], f"{at}[0]") if shown and told else [at] if shown else []
    numbers = isinstance(shown, int | float) and isinstance(told, int | float)
    return [] if numbers or type(shown) is type(told) else [at]


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=[f"{example.page}-{index}" for index, example in enumerate(EXAMPLES)]
)
async def test_a_command_of_a_page_is_answered_as_the_page_shows(
    example: Example, account: Account, base_url: str
) -> None:
    headers = {"authorization": f"Bearer {account.test_key}", "x-app-id": "an-app"}
    async with AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
        body = {"prompt": "a wren", "model": "sandbox", "size": "256x256"}
        made = (await client.post("/v1/images/generations", json=body)).json()["metadata"]["id"]

    status, answer = await run(example.command, base_url, KEY=account.test_key, ID=made)

    assert 200 <= status < 300, answer
    if example.shown is not None:
        assert lacking(example.shown, json.loads(answer)) == []


def test_every_dialect_has_a_page_with_a_command() -> None:
    pages = {page.stem for page in FOLDER.glob("*.md")} - {"README"}

    assert pages == {example.page for example in EXAMPLES}
    assert sum(example.shown is not None for example in EXAMPLES) >= 4
