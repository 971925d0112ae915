"""Spans by OpenTelemetry, sent by OTLP over HTTP. Loaded only where tracing is on."""

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import StatusCode

from imagegate import __version__
from imagegate.domain import Candidate
from imagegate.errors import ImagegateError
from imagegate.telemetry.spans import of_candidate

T = TypeVar("T")
P = ParamSpec("P")

FLUSH_MS = 5_000
QUERY = "url.query"


class Modest(SpanProcessor):
    """Query strings carry signatures and what people search for: only that there was one is kept."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.attributes and QUERY in span.attributes:
            span.set_attribute(QUERY, "REDACTED")


class Traced:
    """provider: of the spans, FastAPI's among them."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer("imagegate", __version__)

    async def over(self, name: str, work: Awaitable[T], said: Candidate | None = None) -> T:
        attributes = of_candidate(said) if said else None
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                return await work
            except Exception as error:
                mark(span, error)
                raise

    def plain(self, name: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                return work(*args, **kwargs)
            except Exception as error:
                mark(span, error)
                raise

    def note(self, outcome: str, images: int) -> None:
        span = trace.get_current_span()
        span.set_attributes({"imagegate.outcome": outcome, "imagegate.images": images})
        if outcome != "DELIVERED":
            span.set_attribute("error.type", outcome)
            span.set_status(StatusCode.ERROR)

    def trace_id(self) -> str | None:
        known = trace.get_current_span().get_span_context()
        return f"{known.trace_id:032x}" if known.is_valid else None

    def close(self) -> None:
        self.provider.force_flush(FLUSH_MS)
        self.provider.shutdown()


def mark(span: trace.Span, error: Exception) -> None:
    """By its code or class: a message may hold more than whoever reads traces should see."""
    span.set_attribute(
        "error.type", error.code if isinstance(error, ImagegateError) else type(error).__name__
    )
    span.set_status(StatusCode.ERROR)


def open_traced(endpoint: str | None, instance: str) -> Traced:
    url = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    return traced(OTLPSpanExporter(endpoint=url), instance)


def traced(exporter: SpanExporter, instance: str) -> Traced:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say of the service counts more than what is said here."""
    ours = {SERVICE_NAME: "imagegate", "service.version": __version__, "service.instance.id": instance}
    provider = TracerProvider(resource=Resource.create(ours).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(Modest())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Traced(provider)
