"""Every provider in providers.yaml: its requests against its spec, its recorded answers, and a network in trouble.

A provider needs `tests/wire/specs/<name>.json` (see wire_specs.py) and the required cases in `tests/wire/<name>/`:
`call` (fields of ProviderCall), `sent` (the exact body of the first request), `answers` in the order of the requests
(`status`, `headers`, and `json`, `text` or `base64`) and `expected` (the outcome class and what else is told).
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagegate.domain import Polled
from imagegate.outbound import Outbound, open_outbound
from imagegate.pool import WorkPool
from tests.providers.wire_cases import call_from, load, told
from tests.providers.wire_images import filled, sent_by
from tests.providers.wire_play import Case, assert_secrets_are_kept, outcome, read_case
from tests.providers.wire_specs import (
    EDIT,
    FOLDER,
    MASKED,
    TWO_IMAGES,
    adapter_class,
    adapters,
    case_file,
    cases_with_sent,
    check_request,
    check_spec,
    path_of,
    polled_providers,
    required_cases,
    spec_of,
)

PROVIDERS = list(adapters())
CASES = [
    pytest.param(name, path, id=f"{name}-{path.stem}")
    for name in PROVIDERS
    for path in sorted((FOLDER / name).glob("*.json"))
]
MUST: dict[str, dict[str, Any]] = {
    "delivered": {"outcome": "DELIVERED"},
    "refused": {"outcome": "REJECTED", "class": "ContentRejected"},
    "busy": {"outcome": "REFUSED_UNBILLED", "busy": True},
    "quota": {"outcome": "REFUSED_UNBILLED", "busy": False},
    "bad_key": {"outcome": "REFUSED_UNBILLED", "busy": False},
    "down": {"outcome": "REFUSED_UNBILLED", "at_risk": True},
    "nothing": {"outcome": "BILLED_INVALID"},
    "truncated": {"outcome": "AMBIGUOUS"},
    "wrong_type": {"outcome": "AMBIGUOUS"},
    "web_page_502": {"outcome": "AMBIGUOUS"},
    "poll_pending_then_delivered": {"outcome": "DELIVERED"},
    "poll_never_ends": {"outcome": "AMBIGUOUS"},
}
"""What the outcome classes demand of the required cases, whatever the file expects."""


Answering = Callable[[httpx.Request], httpx.Response]


class Player:
    """Plays cases to adapters. One door for all of them: to open one takes longer than to play a case."""

    outbound: Outbound
    pool: WorkPool
    answer: Answering

    def respond(self, request: httpx.Request) -> httpx.Response:
        return self.answer(request)

    def adapter(self, provider: str, answer: Answering) -> Any:
        self.answer = answer
        return adapter_class(provider)(self.outbound, self.pool)

    async def play(self, provider: str, case: Case) -> Any:
        return await outcome(self.adapter(provider, case.answer), case.call)


@pytest.fixture(scope="module")
async def player(pool: WorkPool) -> AsyncIterator[Player]:
    player = Player()
    async with open_outbound(api=httpx.MockTransport(player.respond)) as outbound:
        player.outbound, player.pool = outbound, pool
        yield player


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_has_a_spec_and_every_case_that_is_required(provider: str) -> None:
    check_spec(spec_of(provider))
    missing = [name for name in required_cases(provider) if not case_file(provider, name).exists()]

    assert missing == [], f"write them into tests/wire/{provider}/, or say in its spec why they cannot be"
    told = [name for name in ("delivered", *cases_with_sent(provider)) if name in required_cases(provider)]
    silent = [name for name in told if "sent" not in load(case_file(provider, name))]
    assert silent == [], "they say nothing of what must be sent"
    for name in set(told) & {EDIT, TWO_IMAGES, MASKED}:
        call = call_from(load(case_file(provider, name)))
        assert len(call.images) >= (2 if name == TWO_IMAGES else 1), name
        assert (call.mask is not None) == (name == MASKED), name


def test_every_folder_of_cases_belongs_to_a_provider() -> None:
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()} - {"specs"}
    specs = {path.stem for path in (FOLDER / "specs").glob("*.json")}

    assert folders | specs == set(PROVIDERS)


@pytest.mark.parametrize(("provider", "path"), CASES)
async def test_a_recorded_case_is_sent_and_read_as_recorded(
    provider: str, path: Path, player: Player
) -> None:
    case = read_case(provider, path)

    result = await player.play(provider, case)

    assert {name: told(result, name) for name in case.expected} == case.expected
    for request in case.requests:
        check_request(spec_of(provider), request, case.call, case.key)
    if case.sent is not None:
        assert sent_by(case.requests[0], case.call) == filled(case.sent, case.call)
    if case.sent_to is not None:
        assert path_of(case.requests[0], case.call) == case.sent_to
    if case.name != "poll_never_ends":
        assert len(case.requests) == len(case.answers), "not everything that was recorded was asked for"
    assert all(requests == 1 for _, requests in case.accepted), "the job was told after the first poll"
    assert (len(case.requests) > 1) <= len(case.accepted) <= 1, "the job was told to nobody, or twice"
    assert_secrets_are_kept(result, case)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", MUST)
async def test_a_required_case_has_the_outcome_that_the_classes_demand(
    provider: str, name: str, player: Player
) -> None:
    if name not in required_cases(provider):
        return
    result = await player.play(provider, read_case(provider, case_file(provider, name), name))

    assert {field: told(result, field) for field in MUST[name]} == MUST[name]


STATUSES: dict[int, tuple[str, ...]] = {
    **dict.fromkeys((200, 201, 202, 204), ("BILLED_INVALID", "AMBIGUOUS")),
    **dict.fromkeys((400, 422), ("REJECTED",)),
    **dict.fromkeys((401, 402, 403, 404, 429, 503, 529), ("REFUSED_UNBILLED",)),
    **dict.fromkeys((408, 409, 413, 425), ("REJECTED", "REFUSED_UNBILLED", "AMBIGUOUS")),
    **dict.fromkeys((500, 502), ("REFUSED_UNBILLED", "AMBIGUOUS")),
    **dict.fromkeys((501, 504, 520, 524), ("AMBIGUOUS",)),
}
BODIES = (b"", b"<html>", b"{", b"[]", b"[1]", b"{}", b"null", b"1", b'"x"', b"\xff\x00", b'{"error":null}')


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_any_answer_has_one_class_and_a_page_is_nobodys_error(provider: str, player: Player) -> None:
    call = replace(read_case(provider, case_file(provider, "delivered")).call, poll_s=0.0)
    now = [(200, b"")]
    adapter = player.adapter(provider, lambda _: httpx.Response(now[0][0], content=now[0][1]))
    for status, body in product(STATUSES, BODIES):
        now[0] = (status, body)
        assert_classified(await outcome(adapter, call), status, body)


def assert_classified(result: Any, status: int, body: bytes) -> None:
    told_of_it = told(result, "outcome")
    assert told_of_it in STATUSES[status], (status, body, result)
    if status in (500, 502) and body in (b"", b"<html>", b"{"):
        assert told_of_it == "AMBIGUOUS", (status, body, result)
    if status in (429, 503, 529):
        assert told(result, "busy"), (status, body, result)


@pytest.mark.parametrize("provider", polled_providers())
async def test_work_is_resumed_by_its_id_and_never_submitted_again(provider: str, player: Player) -> None:
    path = case_file(provider, "poll_pending_then_delivered")
    first, again = read_case(provider, path), read_case(provider, path)
    made = await player.play(provider, first)
    again.answers = again.answers[1:]

    adapter = player.adapter(provider, again.answer)
    assert isinstance(adapter, Polled)
    resumed = await adapter.resume(again.call, first.accepted[0][0])

    assert resumed == made
    assert [request.method for request in again.requests] == ["GET"] * len(again.answers)


def test_a_request_that_breaks_its_spec_is_found() -> None:
    """The check itself: an unknown field, a wrong type, a foreign host, a key that is missing."""
    spec, call = spec_of("openai"), call_from({})
    body = {"model": "m", "prompt": "p", "n": 1, "size": "1024x1024"}
    url, headers = f"{call.base_url}/images/generations", {"authorization": "Bearer k"}
    check_request(spec, httpx.Request("POST", url, json=body, headers=headers), call, "k")
    for wrong_url, wrong_body, wrong_headers in (
        (url, {**body, "style": "vivid"}, headers),
        (url, {**body, "n": "1"}, headers),
        (url, body, {"authorization": "Bearer other"}),
        ("https://stranger.test/v1/images/generations", body, headers),
        (f"{call.base_url}/images/edits", body, headers),
    ):
        request = httpx.Request("POST", wrong_url, content=json.dumps(wrong_body), headers=wrong_headers)
        request.headers["content-type"] = "application/json"
        with pytest.raises(AssertionError):
            check_request(spec, request, call, "k")
