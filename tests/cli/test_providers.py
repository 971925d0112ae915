"""`imagegate providers`: keys that are never an argument and never shown, and what is told of each provider."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from tests.cli.conftest import Shell
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Status

PLAIN, OTHER = "rk-0123456789abcdefWXYZ", "rk-0123456789abcdefQRST"


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(key=None) as fake:
        yield fake


def test_a_key_is_added_from_a_variable_shown_by_its_end_and_revoked(shell: Shell) -> None:
    having = shell.having(MY_KEY=PLAIN)

    added = having.json("providers", "add-key", "recraft", "--name", "first", "--from-env", "MY_KEY")
    listed = shell.run("providers", "list")
    shown = shell.run("providers", "show", "recraft")
    revoked = shell.json("providers", "revoke-key", added["id"], "--reason", "left the team")

    assert (added["provider"], added["hint"], added["state"]) == ("recraft", "WXYZ", "ready")
    assert any("recraft" in line and "yes" in line and "…WXYZ" in line for line in listed.out.splitlines())
    assert added["id"] in shown.out
    assert revoked["state"] == "revoked"
    assert shell.json("providers", "show", "recraft")["available"] is False
    audit = shell.run("audit", "list", "--json")
    assert {"providers.add_key", "providers.revoke_key"} <= {e["action"] for e in audit.json["entries"]}
    assert PLAIN not in listed.out + shown.out + audit.out


def test_a_key_is_read_from_standard_input(shell: Shell) -> None:
    words = ("providers", "add-key", "recraft", "--name", "piped", "--from-stdin", "--json")

    done = subprocess.run(
        [sys.executable, "-m", "imagegate", *words],
        cwd=shell.home,
        env=shell.environment,
        input=f"{PLAIN}\n",
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert PLAIN not in done.stdout + done.stderr
    assert json.loads(done.stdout)["hint"] == "WXYZ"
    shell.json("providers", "revoke-key", json.loads(done.stdout)["id"], "--reason", "a test")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("recraft", PLAIN, "--name", "x"), "unexpected extra argument"),
        (("recraft", "--name", "x", "--from-env", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE holds no key"),
        (("recraft", "--name", "x"), "--from-stdin"),
        (("recraft", "--name", "x", "--from-stdin", "--from-env", "A"), "Name one place"),
        (("recraft", "--from-stdin"), "--name"),
    ],
)
def test_a_key_from_nowhere_is_wrong_use(shell: Shell, words: tuple[str, ...], says: str) -> None:
    said = shell.run("providers", "add-key", *words)

    assert said.code == 2
    assert says in " ".join(said.err.replace("│", " ").split())


def test_an_unknown_provider_is_refused_with_those_there_are(shell: Shell) -> None:
    error = shell.refused("providers", "show", "nobody")

    assert error["code"] == "not_found"
    assert "openai" in error["message"]


def test_a_disabled_provider_is_told_by_list_and_doctor(shell: Shell) -> None:
    having = shell.having(IMAGEGATE_RECRAFT_API_KEY=PLAIN)

    having.json("providers", "disable", "recraft", "--reason", "too slow")
    listed, doctor = having.run("providers", "list"), having.run("doctor")
    enabled = having.json("providers", "enable", "recraft", "--reason", "fast again")

    assert any("recraft" in line and "disabled: too slow" in line for line in listed.out.splitlines())
    assert "but disabled" in doctor.out
    assert enabled["available"] is True


def test_several_keys_of_the_environment_are_counted_and_never_shown(shell: Shell) -> None:
    having = shell.having(IMAGEGATE_RECRAFT_API_KEY=f"{PLAIN}, {OTHER}")

    shown, doctor = having.run("config", "show", "--json"), having.run("doctor")
    listed = {provider["name"]: provider for provider in having.json("providers", "list")["providers"]}
    broken = shell.having(IMAGEGATE_RECRAFT_API_KEY=f"{PLAIN},,").run("providers", "list")

    (setting,) = [s for s in shown.json["settings"] if s["name"] == "IMAGEGATE_RECRAFT_API_KEY"]
    assert setting["value"] == "******** (2 keys)"
    assert "provider recraft: configured https://external.api.recraft.ai/v1 with 2 keys" in doctor.out
    assert [key["id"] for key in listed["recraft"]["keys"]] == ["env:1", "env:2"]
    assert broken.code == 1
    assert "IMAGEGATE_RECRAFT_API_KEY holds an empty key" in broken.err
    assert not any(key in shown.out + doctor.out + broken.err for key in (PLAIN, OTHER))


async def test_keys_are_tested_without_a_cost(shell: Shell, fake: FakeProvider) -> None:
    having = shell.having(
        IMAGEGATE_OPENAI_API_KEY=f"{PLAIN},{OTHER}", IMAGEGATE_OPENAI_BASE_URL=fake.base_url
    )
    fake.pages["/v1/models"] = (200, {}, b"{}")

    good = await asyncio.to_thread(having.run, "providers", "test", "openai")
    fake.pages["/v1/models"] = (401, {}, b"{}")
    bad = await asyncio.to_thread(having.run, "providers", "test", "openai", "--json")

    assert good.code == 0, good
    assert "ok    env:1 …WXYZ: The host answers and accepts the key." in good.out
    assert (bad.code, bad.json["ok"], [key["status"] for key in bad.json["keys"]]) == (1, False, [401, 401])
    assert fake.requests == []
    assert not any(key in good.out + good.err + bad.out + bad.err for key in (PLAIN, OTHER))


def test_what_no_question_can_tell_is_said(shell: Shell) -> None:
    unconfigured = shell.run("providers", "test", "openai", "--json")
    nothing = shell.having(IMAGEGATE_FAL_API_KEY=PLAIN).run("providers", "test", "fal")

    assert (unconfigured.code, unconfigured.json["ok"]) == (1, False)
    assert nothing.code == 0
    assert "imagegate providers test fal --draw" in nothing.out


async def test_a_picture_is_drawn_outside_the_ledger_and_its_cost_told(
    shell: Shell, fake: FakeProvider
) -> None:
    having = shell.having(IMAGEGATE_OPENAI_API_KEY=PLAIN, IMAGEGATE_OPENAI_BASE_URL=fake.base_url)

    drawn = await asyncio.to_thread(having.run, "providers", "test", "openai", "--draw", "--json")
    fake.default = Status(401, code="invalid_api_key")
    refused = await asyncio.to_thread(having.run, "providers", "test", "openai", "--draw")

    assert (drawn.code, drawn.json["ok"]) == (0, True), drawn
    assert Decimal(drawn.json["cost_usd"]) > 0
    assert drawn.json["model"] in drawn.err
    assert "about USD" in drawn.err
    assert (len(fake.requests), fake.violations) == (2, [])
    assert refused.code == 1
    assert "refused our call (401)" in refused.out
    entries = shell.json("audit", "list", "--action", "providers.test_draw")["entries"]
    assert [entry["detail"]["ok"] for entry in entries] == [False, True]
    assert PLAIN not in drawn.out + drawn.err + refused.out + refused.err + str(entries)
