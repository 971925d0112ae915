import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import LONGEST_S, Shell, new_shell


@pytest.fixture(scope="module")
def fresh() -> Iterator[Shell]:
    """A house where nothing is and no server runs."""
    with new_shell() as shell:
        yield shell


def test_the_demo_draws_from_nothing_and_keeps_its_key_until_it_is_revoked(fresh: Shell) -> None:
    first = fresh.json("demo", "--exit", "--port", "0")

    kept = fresh.data_dir / "demo-key"
    assert first["charged_tokens"] == 30_000
    assert first["api_key"].startswith("igk_test_")
    assert kept.read_text().strip() == first["api_key"]
    assert kept.stat().st_mode & 0o777 == 0o600
    picture = Path(first["image"])
    assert picture == fresh.data_dir / "demo.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert first["bytes"] == picture.stat().st_size

    assert fresh.json("demo", "--exit", "--port", "0")["api_key"] == first["api_key"]
    wallet = fresh.json("wallets", "show", "--account", "demo", "--env", "test")
    assert wallet["available_tokens"] == 100_000_000 - 2 * 30_000

    (key,) = fresh.json("keys", "list")["keys"]
    fresh.json("keys", "revoke", key["id"])
    assert fresh.json("demo", "--exit", "--port", "0")["api_key"] != first["api_key"]
    assert not (fresh.data_dir / "pg" / "postmaster.pid").exists()


def test_the_demo_serves_on_and_its_sample_works_when_pasted(shell: Shell) -> None:
    with shell.serving("demo", "--port", "0") as demo:
        port = demo.answer["base_url"].rpartition(":")[2].removesuffix("/v1")
        other = shell.run("demo", "--exit", "--port", port)
        taken = shell.refused("demo", "--port", port)

        lines = other.out.splitlines()
        sample = "\n".join(lines[lines.index("from openai import OpenAI") :])
        assert len(sample.splitlines()) == 4
        pasted = sample.replace(base_url(sample), demo.answer["base_url"])
        said = subprocess.run(
            [sys.executable, "-c", pasted], capture_output=True, text=True, timeout=LONGEST_S, env=os.environ
        )
        assert demo.stop() == 0

    assert other.code == 0
    assert demo.answer["api_key"] in sample
    assert base_url(sample) != demo.answer["base_url"]
    assert "--port" in taken["message"]
    assert said.stdout.startswith(f"http://127.0.0.1:{port}/media/"), said.stderr


def base_url(sample: str) -> str:
    return sample.partition('base_url="')[2].partition('"')[0]
