import os
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import LONGEST_S, Shell, new_shell


def test_the_demo_draws_from_nothing_and_leaves_nothing_running() -> None:
    with new_shell() as fresh:
        drawn = fresh.json("demo", "--exit", "--port", "0")

        picture = Path(drawn["image"])
        assert (drawn["charged_tokens"], drawn["size"]) == (30_000, "1024x1024")
        assert picture == fresh.data_dir / "demo.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert drawn["bytes"] == picture.stat().st_size
        assert (fresh.data_dir / "pg" / "PG_VERSION").exists()
        assert not (fresh.data_dir / "pg" / "postmaster.pid").exists()


def test_the_demo_keeps_its_key_until_it_is_revoked(shell: Shell) -> None:
    first = shell.json("demo", "--exit", "--port", "0")["api_key"]

    kept = shell.data_dir / "demo-key"
    assert first.startswith("igk_test_")
    assert kept.read_text().strip() == first
    assert kept.stat().st_mode & 0o777 == 0o600
    assert shell.json("demo", "--exit", "--port", "0")["api_key"] == first

    of_demo = [key for key in shell.json("keys", "list", "--account", "demo")["keys"] if key["app"] == "demo"]
    assert [key["hint"] for key in of_demo] == [first[-4:]]
    shell.json("keys", "revoke", of_demo[0]["id"])
    assert shell.json("demo", "--exit", "--port", "0")["api_key"] != first


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
