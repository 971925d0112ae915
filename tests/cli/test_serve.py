import json
import signal
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from imagegate.db.embedded import EmbeddedPostgres
from tests.cli.conftest import LONGEST_S, Shell, beside


def draw(base_url: str, key: str, prompt: str) -> Any:
    body = json.dumps(
        {"model": "sandbox", "prompt": prompt, "size": "256x256", "response_format": "url"}
    ).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{base_url}/images/generations", body, headers)
    with urllib.request.urlopen(request, timeout=LONGEST_S) as response:
        return json.load(response)


def test_a_stopping_gateway_finishes_what_runs(shell: Shell) -> None:
    name = shell.json("accounts", "create", "dorothy")["name"]
    key = shell.json("keys", "create", "--account", name, "--env", "test")["key"]

    with shell.serving("serve", "--port", "0") as gateway, ThreadPoolExecutor(1) as thread:
        slow = thread.submit(draw, gateway.answer["base_url"], key, "[[slow:3]] a river")
        while shell.json("wallets", "show", "--account", name, "--env", "test")["held_tokens"] == 0:
            assert not slow.done(), slow.result()
        code = gateway.stop()
        assert slow.result()["metadata"]["charged_tokens"] == 5_000
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{gateway.answer['url']}/healthz", timeout=5)

    assert code == 0
    wallet = shell.json("wallets", "show", "--account", name, "--env", "test")
    assert (wallet["available_tokens"], wallet["held_tokens"]) == (99_995_000, 0)


def test_a_second_signal_does_not_wait(shell: Shell) -> None:
    name = shell.json("accounts", "create", "katherine")["name"]
    key = shell.json("keys", "create", "--account", name, "--env", "test")["key"]

    with shell.serving("serve", "--port", "0") as gateway, ThreadPoolExecutor(1) as thread:
        slow = thread.submit(draw, gateway.answer["base_url"], key, "[[slow:120]] a river")
        while shell.json("wallets", "show", "--account", name, "--env", "test")["held_tokens"] == 0:
            assert not slow.done(), slow.result()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.stderr is not None
        assert any("a second signal" in line for line in gateway.process.stderr)
        assert gateway.stop() == 0
        assert slow.exception() is not None


def test_a_taken_port_is_refused_at_once(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        error = shell.refused("serve", "--port", str(port))

    assert f"imagegate serve --port {port + 1}" in error["message"]


def test_an_external_database_is_never_migrated_by_serving(shell: Shell, server: EmbeddedPostgres) -> None:
    apart = beside(shell, server, "serve_bare")

    assert "imagegate db upgrade" in apart.refused("serve", "--port", "0")["message"]
    assert apart.refused("accounts", "list")["code"] == "operator_error"
    apart.json("db", "upgrade")
    assert apart.json("accounts", "list") == {"accounts": []}
