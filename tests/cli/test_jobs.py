"""What the command line does with jobs beside a running gateway: it watches one, and cancels it."""

import json
import signal
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from tests.cli.conftest import LONGEST_S, Shell

pytestmark = pytest.mark.long

HOOK = "https://hooks.example.com/ends"


def post(url: str, key: str, body: dict[str, Any]) -> tuple[str, str]:
    """The ids of the job and of the request."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=LONGEST_S) as response:
        return json.load(response)["id"], response.headers["x-request-id"]


def heed_interrupts() -> None:
    """A shell that runs the tests in the background tells all its children to ignore them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_job_that_waits_is_followed_cancelled_and_told_of(shell: Shell) -> None:
    shell.json("accounts", "create", "patient")
    key = shell.json("keys", "create", "--account", "patient", "--env", "test")["key"]
    idle = shell.having(IMAGEGATE_JOB_CONCURRENCY="0")
    tail = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "imagegate",
            "logs",
            "tail",
            "-f",
            "--every",
            "0.2",
            "--json",
            "--account",
            "patient",
        ],
        cwd=shell.home,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    assert tail.stdout is not None

    with idle.serving("serve", "--port", "0") as gateway:
        body = {"model": "sandbox", "prompt": "later", "size": "256x256", "webhook_url": HOOK}
        named, request_id = post(f"{gateway.answer['base_url']}/images/generations/async", key, body)
        queued = json.loads(tail.stdout.readline())
        waiting = shell.json("request", named)
        by_request = shell.json("request", request_id)
        waits = shell.run("doctor", named).out
        seen = {check["name"]: check for check in shell.run("doctor", "--json").json["checks"]}
        done = shell.json("generations", "cancel", named, "--reason", "a test")
        ended = json.loads(tail.stdout.readline())
        again = shell.run("generations", "cancel", named, "--reason", "a test").out
    tail.send_signal(signal.SIGINT)

    assert tail.wait(LONGEST_S) == 0
    tail.communicate()
    assert [(g["id"], g["status"]) for g in (queued, ended)] == [(named, "queued"), (named, "cancelled")]
    assert [generation["id"] for generation in by_request["generations"]] == [named]
    assert (by_request["request_id"], by_request["entries"]) == (request_id, [])
    assert (waiting["job"]["claimed_at"], waiting["hold_tokens"]) == (None, 5_000)
    assert "5,000 tokens are held, none is charged yet." in waits
    assert (done["status"], done["released_tokens"], done["new"]) == ("cancelled", 5_000, True)
    assert "was cancelled before" in again
    wallet = shell.json("wallets", "show", "--account", "patient", "--env", "test")
    assert (wallet["available_tokens"], wallet["held_tokens"]) == (100_000_000, 0)
    actions = [e["action"] for e in shell.json("audit", "list", "--account", "patient")["entries"]]
    assert actions.count("generations.cancel") == 1
    assert (seen["jobs"]["state"], seen["jobs"]["detail"]) == ("ok", "1 wait")


def test_a_webhook_that_fails_is_told_by_the_request_and_by_the_doctor(shell: Shell) -> None:
    shell.json("accounts", "create", "untold")
    named = shell.json("image", "a fox", "-m", "sandbox", "-s", "256x256", "--account", "untold")["id"]
    digits = named.removeprefix("gen_")
    columns = "account_id, env, id, generation_id, type, url, state, tries, ended_at, last_error"
    row = f"account_id, env, id, id, 'image.generation.failed', '{HOOK}', 'failed', 9, now(), 'answered 500'"
    made = f"INSERT INTO webhook_outbox ({columns}) SELECT {row} FROM generations WHERE id = '{digits}'"
    assert shell.run("db", "shell", "-c", made).code == 0

    shown = shell.json("request", named)
    text, doctor = shell.run("request", named).out, shell.run("doctor")
    by_event = shell.json("request", f"msg_{digits}")

    (event,) = shown["webhooks"]
    assert by_event["id"] == named
    assert f"{event['id']}  {event['type']} to {HOOK}: failed, answered 500" in text
    assert doctor.code == 0
    assert (
        "warn  webhooks: 0 are tried again, 1 were given up within 24 hours → imagegate webhooks"
        in doctor.out
    )


def test_what_has_ended_is_not_cancelled(shell: Shell) -> None:
    shell.json("accounts", "create", "hasty")
    named = shell.json("image", "a fox", "-m", "sandbox", "-s", "256x256", "--account", "hasty")["id"]

    refused = shell.refused("generations", "cancel", named, "--reason", "too late")
    absent = shell.refused("generations", "cancel", "gen_" + "0" * 32, "--reason", "nothing")

    assert refused["code"] == "not_cancellable"
    assert "is completed" in refused["message"]
    assert absent["code"] == "not_found"
    assert shell.run("generations", "cancel", named).code == 2
