"""Spans of the line's steps. Off unless tracing is configured; then `telemetry.tracing` is loaded, and nothing before.

Names and `gen_ai.*` attributes: OpenTelemetry's semantic conventions 1.44 for generative AI, read 2026-11-21. They have
no operation for images, so `gen_ai.operation.name` is `generate_content`, their word for what makes any kind of output.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, Protocol, TypeVar

from imagegate.domain import Candidate
from imagegate.errors import OperatorError

T = TypeVar("T")
P = ParamSpec("P")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROVIDERS = {
    "azure_openai": "azure.ai.openai",
    "google": "gcp.gemini",
    "xai": "x_ai",
}
"""Where the conventions have a name of their own for a provider."""


class Spans(Protocol):
    """`provider`: what FastAPI is given for the spans of requests; None: there are none."""

    provider: Any

    def over(self, name: str, work: Awaitable[T], said: Candidate | None = None) -> Awaitable[T]:
        """To be awaited in place of `work`: one step, with the steps inside it below. said: who is asked."""

    def plain(self, name: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a step that waits for nothing."""

    def note(self, outcome: str, images: int) -> None:
        """How the attempt ends that is the current step."""

    def trace_id(self) -> str | None:
        """32 hex digits of the trace that the current step is part of."""

    def close(self) -> None:
        """Send what is left, within a few seconds."""


class NoSpans:
    """Tracing is off: everything is handed on as it is."""

    provider = None

    def over(self, name: str, work: Awaitable[T], said: Candidate | None = None) -> Awaitable[T]:
        return work

    def plain(self, name: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)

    def note(self, outcome: str, images: int) -> None:
        return None

    def trace_id(self) -> str | None:
        return None

    def close(self) -> None:
        return None


NO_SPANS = NoSpans()


def open_spans(endpoint: str | None, instance: str) -> Spans:
    """endpoint: base URL of an OTLP receiver (HTTP); None: what the standard's variables say, if they say anything.

    Raises OperatorError when tracing is wanted and the extra is not installed.
    """
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or not (endpoint or any(os.environ.get(name) for name in ENDPOINTS)):
        return NO_SPANS
    try:
        from imagegate.telemetry.tracing import open_traced
    except ImportError:
        raise OperatorError(
            "Traces are wanted (IMAGEGATE_OTEL_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT), but OpenTelemetry's SDK is "
            "not installed. Install it: pip install 'imagegate[otel]'; or take the variable away."
        ) from None
    return open_traced(endpoint, instance)


def of_candidate(candidate: Candidate) -> dict[str, str | int]:
    """What is said of an attempt as it begins. No prompt."""
    offering = candidate.offering
    model = candidate.fit.upstream_model or offering.upstream_model
    return {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.output.type": "image",
        "gen_ai.provider.name": PROVIDERS.get(offering.provider, offering.provider),
        "gen_ai.request.model": model,
        "imagegate.provider": offering.provider,
    }
