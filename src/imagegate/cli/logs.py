"""Where log lines go: to stderr, one JSON object a line, or coloured on a terminal; stdout is for answers."""

import atexit
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

from imagegate.telemetry.lines import Handler, Lines, forget_rows, line_of


class ToLines:
    """A logger at the end of structlog's chain; `Lines` writes what comes here."""

    def __init__(self, lines: Lines) -> None:
        self.msg = lines.put

    def __getattr__(self, level: str) -> Any:
        return self.msg


def log_to_stderr(level: str) -> Lines:
    """Nobody who logs waits for stderr. Gives who writes there; what is left goes out at the exit."""
    lines = Lines(sys.stderr.fileno())
    atexit.register(lines.flush)
    terminal = sys.stderr.isatty()
    last = [coloured()] if terminal else [structlog.processors.format_exc_info, as_json]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamped,
            without_rows,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=lambda *_: ToLines(lines),
        cache_logger_on_first_use=True,
    )
    others = Handler(lines)
    others.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[others])
    return lines


def stamped(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """As structlog's own, at a third of its time."""
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return event


def without_rows(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    said = event.get("exc_info")
    if said:
        forget_rows(said if isinstance(said, BaseException) else sys.exc_info()[1])
    return event


def as_json(_: Any, __: str, event: MutableMapping[str, Any]) -> bytes:
    return line_of(event)


def coloured() -> structlog.typing.Processor:
    write = structlog.dev.ConsoleRenderer()

    def render(logger: Any, name: str, event: MutableMapping[str, Any]) -> bytes:
        return f"{write(logger, name, event)}\n".encode("utf-8", "replace")

    return render
