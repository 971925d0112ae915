"""Traces: a span for each step of the line, under the caller's own trace; no secret in them, and nobody else told."""

import asyncio
import gzip
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.errors import OperatorError
from imagegate.services import Services
from imagegate.telemetry.spans import NO_SPANS, open_spans
from tests.conftest import Account
from tests.fake_provider import KEY, FakeProvider
from tests.fake_verbs import Status
from tests.line.test_polled import Serve

PATH = "/v1/images/generations"
CANARY = "canary-prompt-1b8e4c"
BODY = {"prompt": f"a fox with a {CANARY}", "model": "gpt-image-2", "size": "1024x1024"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
STEPS = {"recall", "plan", "admit", "open", "attempt", "deliver", "settle"}


class Spans:
    """What is sent, as soon as it has ended."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from imagegate.telemetry.tracing import Modest, Traced

        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(Modest())
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traced = Traced(self.provider)

    def named(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def said(self) -> str:
        return "".join(span.to_json() for span in self.exporter.get_finished_spans())


@pytest.fixture
def spans() -> Iterator[Spans]:
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    made = Spans()
    yield made
    made.traced.close()


@pytest.fixture
async def traced(services: Services, spans: Spans, serve: Serve) -> str:
    return await serve(replace(services, spans=spans.traced))


def speaking(url: str, account: Account) -> AsyncClient:
    return AsyncClient(base_url=url, headers={"x-api-key": account.key}, timeout=30)


async def test_every_step_is_a_span_of_the_caller_s_trace(
    traced: str, account: Account, fake: FakeProvider, spans: Spans, engine: AsyncEngine
) -> None:
    async with speaking(traced, account) as http:
        made = await http.post(PATH, json=BODY, headers={"traceparent": PARENT})

    named = spans.named()
    root = named.pop(f"POST {PATH}")
    assert made.status_code == 200
    assert named.keys() == STEPS
    assert {f"{span.context.trace_id:032x}" for span in (root, *named.values())} == {TRACE}
    assert f"{root.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert named["deliver"].parent.span_id == named["attempt"].context.span_id
    assert {named[step].parent.span_id for step in STEPS - {"deliver"}} == {root.context.span_id}
    attributes = dict(named["attempt"].attributes)
    assert attributes == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.output.type": "image",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-image-2",
        "imagegate.provider": "openai",
        "imagegate.outcome": "DELIVERED",
        "imagegate.images": 1,
    }
    assert await trace_of(engine, account) == TRACE
    assert not {"traceparent", "tracestate", "baggage"} & fake.requests[0].headers.keys()


async def trace_of(engine: AsyncEngine, account: Account) -> Any:
    async with engine.connect() as connection:
        query = text("SELECT request -> 'arrived' ->> 'trace_id' FROM generations WHERE account_id = :id")
        return (await connection.execute(query, {"id": account.id})).scalar_one()


async def test_a_trace_that_begins_here_is_on_the_row(
    traced: str, account: Account, fake: FakeProvider, spans: Spans, engine: AsyncEngine
) -> None:
    async with speaking(traced, account) as http:
        await http.post(PATH, json=BODY)

    root = spans.named()[f"POST {PATH}"]
    assert await trace_of(engine, account) == f"{root.context.trace_id:032x}"


async def test_a_failed_attempt_says_its_class(
    traced: str, account: Account, fake: FakeProvider, spans: Spans
) -> None:
    fake.default = Status(400)

    async with speaking(traced, account) as http:
        await http.post(PATH, json=BODY)

    attempt = spans.named()["attempt"]
    assert attempt.status.is_ok is False
    assert attempt.attributes["error.type"] == attempt.attributes["imagegate.outcome"] != "DELIVERED"


async def test_no_secret_is_in_a_span(
    traced: str, account: Account, fake: FakeProvider, spans: Spans
) -> None:
    fake.then(Status(500))
    async with speaking(traced, account) as http:
        await http.post(PATH, json=BODY)
        made = await http.post(PATH, json=BODY | {"model": "dall-e-2", "size": "256x256"})
        link = made.json()["data"][0]["url"]
        await http.get(link)
        await http.get("/v1/models", params={"secret": "canary-query-3c"})

    said = spans.said()
    assert "REDACTED" in said
    assert "/media/" not in said
    for secret in (CANARY, account.key, KEY, link.partition("/media/")[2], "canary-query-3c"):
        assert secret not in said


async def test_steps_that_run_at_once_keep_their_own_spans(spans: Spans) -> None:
    async def step(name: str) -> str | None:
        async def inner() -> str | None:
            await asyncio.sleep(0)
            return spans.traced.trace_id()

        return await spans.traced.over(name, inner())

    first, second = await asyncio.gather(step("first"), step("second"))

    assert first != second
    assert spans.traced.trace_id() is None


def test_where_nobody_asked_for_traces_nothing_of_the_sdk_is_loaded() -> None:
    program = (
        "import sys, imagegate.app, imagegate.services\n"
        "from imagegate.telemetry.spans import NO_SPANS, open_spans\n"
        "assert open_spans(None, 'x') is NO_SPANS\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


async def test_off_means_that_a_step_is_handed_on_as_it_is() -> None:
    async def work() -> int:
        return 7

    step = work()

    assert NO_SPANS.over("open", step) is step
    assert await step == 7


def test_traces_without_the_extra_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagegate.telemetry.tracing", None)

    with pytest.raises(OperatorError, match=r"pip install 'imagegate\[otel\]'"):
        open_spans("http://127.0.0.1:4318", "x")


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_the_standard_s_variables_turn_traces_on_and_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    on = open_spans(None, "x")
    on.provider.shutdown()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    assert on is not NO_SPANS
    assert open_spans(None, "x") is NO_SPANS


class Receiver(BaseHTTPRequestHandler):
    """Takes what is sent, and keeps where to and how much."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((self.path, self.headers["content-type"], body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        return None


def test_what_is_left_is_sent_at_the_end() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.taken = []  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        spans = open_spans(f"http://127.0.0.1:{server.server_port}/", "instance-1")
        spans.plain("plan", sum, [1, 2])
        spans.close()
        server.shutdown()
        ((path, kind, body),) = server.taken  # type: ignore[attr-defined]

    assert (path, kind) == ("/v1/traces", "application/x-protobuf")
    for said in (b"plan", b"imagegate", b"instance-1"):
        assert said in (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
