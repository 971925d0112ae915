"""Plays recorded cases to an adapter: in memory by a MockTransport, or on loopback through the production transport."""

import base64
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from imagegate.domain import ProviderCall, ProviderResult, UpstreamJob
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Exchange, Verb, head
from tests.providers.wire_cases import BASE_URL, call_from, load
from tests.providers.wire_specs import key_of

ORIGIN = BASE_URL.removesuffix("/v1")
POLL_S = 5.0
SHORT_POLL_S = 0.2


@dataclass
class Case:
    """One case, ready to be played. `accepted`: the jobs, each with how many requests had been made by then."""

    name: str
    call: ProviderCall
    key: str | None
    answers: list[dict[str, Any]]
    expected: dict[str, Any]
    sent: Any = None
    sent_to: str | None = None
    accepted: list[tuple[UpstreamJob, int]] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The next of the answers. Work that never ends gives its last one again."""
        self.requests.append(request)
        place = len(self.requests) - 1
        if self.name == "poll_never_ends":
            place = min(place, len(self.answers) - 1)
        assert place < len(self.answers), f"asked once more than was recorded: {request.method} {request.url}"
        answer = self.answers[place]
        return httpx.Response(answer["status"], headers=headers_of(answer), content=content_of(answer))

    async def accept(self, job: UpstreamJob) -> None:
        self.accepted.append((job, len(self.requests)))


def read_case(provider: str, path: Path, name: str | None = None) -> Case:
    """name: what is required of it, where its file is called otherwise."""
    raw = load(path)
    said = raw.get("call", {})
    key = said.get("api_key", key_of(provider))
    name = name or path.stem
    more: dict[str, Any] = {
        "api_key": SecretStr(key) if key else None,
        "trusted_hosts": frozenset(said.get("trusted_hosts", ())),
        "poll_s": said.get("poll_s", SHORT_POLL_S if name == "poll_never_ends" else POLL_S),
    }
    answers = raw["answers"] if "answers" in raw else [older(raw)]
    expected = raw["expected"]
    if expected.get("cost_usd") is not None:
        expected["cost_usd"] = str(expected["cost_usd"])
    case = Case(name, call_from(raw, **more), key, answers, expected, raw.get("sent"), raw.get("sent_to"))
    case.call = replace(case.call, accepted=case.accept)
    return case


def older(raw: dict[str, Any]) -> dict[str, Any]:
    """The form of cases with one answer: `status`, `headers`, and `answer` or `text`."""
    body = {"json": raw["answer"]} if "answer" in raw else {"text": raw["text"]}
    return {"status": raw["status"], "headers": raw.get("headers", {}), **body}


def content_of(answer: dict[str, Any], origin: str = ORIGIN) -> bytes:
    """origin: where the provider is played."""
    if "base64" in answer:
        return base64.b64decode(answer["base64"])
    text = answer["text"] if "text" in answer else json.dumps(answer["json"]) if "json" in answer else ""
    return str(text).replace(ORIGIN, origin).encode()


def headers_of(answer: dict[str, Any], origin: str = ORIGIN) -> dict[str, str]:
    kind = {"content-type": "application/json"} if "json" in answer else {}
    said = {name.lower(): value.replace(ORIGIN, origin) for name, value in answer.get("headers", {}).items()}
    return kind | said


@dataclass(frozen=True)
class Reply:
    """A recorded answer over a socket: whole, cut in half, or a few bytes at a time."""

    answer: dict[str, Any]
    cut: bool = False

    async def play(self, exchange: Exchange) -> None:
        content = content_of(self.answer, exchange.origin)
        headers = headers_of(self.answer, exchange.origin)
        whole = head(self.answer["status"], len(content), headers) + content
        await exchange.write(whole[: -(len(content) // 2) or None] if self.cut else whole)
        if self.cut:
            exchange.writer.close()


class Stage(FakeProvider):
    """Plays verbs in order to whatever is asked, polls too; nothing is checked. Afterwards `default`."""

    async def _answer(self, exchange: Exchange) -> None:
        async with self._changed:
            self.requests.append(exchange.request)
            self._changed.notify_all()
        verb: Verb = self._script.popleft() if self._script else self.default
        await verb.play(exchange)


def at(stage: Stage, case: Case, *, deadline_s: float = 5.0) -> ProviderCall:
    """The case's call, to the provider that `stage` plays."""
    base_url = case.call.base_url.replace(ORIGIN, stage.origin)
    return replace(case.call, base_url=base_url, deadline_s=deadline_s)


async def outcome(adapter: Any, call: ProviderCall) -> ProviderResult | Exception:
    try:
        return await adapter.generate(call)  # type: ignore[no-any-return]
    except AssertionError:
        raise
    except Exception as error:
        return error


def assert_secrets_are_kept(result: ProviderResult | Exception, case: Case) -> None:
    if isinstance(result, Exception):
        assert case.call.prompt not in str(result)
        assert case.key is None or case.key not in str(result)
