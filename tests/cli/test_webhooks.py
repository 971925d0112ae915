"""Webhooks by the command line: secret, place, events, a test."""

import base64
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from standardwebhooks import Webhook

from tests.cli.conftest import Shell

URL = "https://hooks.example.com/imagegate"


class Hooks(HTTPServer):
    """Takes what comes, and answers with `status`."""

    status = 204

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Taking(BaseHTTPRequestHandler):
    server: Hooks

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_secret_is_made_once_shown_again_and_rotated(shell: Shell) -> None:
    shell.json("accounts", "create", "hooked")
    of = ("--account", "hooked")

    first, again = shell.json("webhooks", "secret", *of), shell.json("webhooks", "secret", *of)
    made = shell.json("webhooks", "rotate", *of, "--keep-old-h", "1")

    assert first == again == {"account": "hooked", "secret": first["secret"]}
    assert len(base64.b64decode(first["secret"].removeprefix("whsec_"))) == 32
    assert made["secret"] != first["secret"]
    assert shell.run("webhooks", "secret", *of).out.strip() == made["secret"]
    entries = shell.run("audit", "list", "--json").out
    assert "webhooks.make_secret" in entries
    assert "webhooks.rotate_secret" in entries
    assert "whsec_" not in entries


def test_a_url_is_set_listed_and_unset(shell: Shell) -> None:
    shell.json("accounts", "create", "placed")
    of = ("--account", "placed")

    made = shell.json("webhooks", "set", *of, "--env", "test", "--url", URL)
    listed = shell.json("webhooks", "list", *of)
    said = shell.run("webhooks", "list", *of)
    gone = shell.json("webhooks", "unset", *of, "--env", "test")

    assert made == {"account": "placed", "env": "test", "url": URL}
    assert [place["url"] for place in listed["endpoints"]] == [None, URL]
    assert (listed["events"], listed["next"]) == ([], None)
    assert "There is no such event." in said.out
    assert URL in said.err
    assert gone["url"] is None


def test_a_private_url_is_refused_unless_private_ones_are_allowed(shell: Shell) -> None:
    shell.json("accounts", "create", "private")
    wanted = ("webhooks", "set", "--account", "private", "--url", "http://10.0.0.7/hook")

    refused = shell.refused(*wanted)
    made = shell.having(IMAGEGATE_WEBHOOK_ALLOW_PRIVATE="true").json(*wanted)

    assert refused["code"] == "webhook_url_not_allowed"
    assert made["url"] == "http://10.0.0.7/hook"


def test_a_test_event_is_sent_and_its_end_told(shell: Shell, hooks: Hooks) -> None:
    shell.json("accounts", "create", "tried")
    of, private = ("--account", "tried"), shell.having(IMAGEGATE_WEBHOOK_ALLOW_PRIVATE="true")
    secret = shell.json("webhooks", "secret", *of)["secret"]

    without = private.refused("webhooks", "test", *of)
    private.json("webhooks", "set", *of, "--url", hooks.url)
    taken = private.run("webhooks", "test", *of)
    hooks.status = 503
    failed = private.run("webhooks", "test", *of, "--json")

    assert without["code"] == "webhook_url_missing"
    assert taken.code == 0
    assert "was taken with 204" in taken.out
    assert failed.code == 1
    assert (failed.json["delivered"], failed.json["status"]) == (False, 503)
    headers, body = hooks.taken[0]
    assert Webhook(secret).verify(body, headers)["type"] == "test.ping"


def test_what_is_not_there_is_told(shell: Shell) -> None:
    event = shell.refused("webhooks", "redeliver", "msg_" + "0" * 32)
    generation = shell.refused("webhooks", "redeliver", "--generation", "gen_" + "0" * 32)
    account = shell.refused("webhooks", "secret", "--account", "nobody")
    neither = shell.run("webhooks", "redeliver")

    assert event["code"] == generation["code"] == account["code"] == "not_found"
    assert neither.code == 2
