"""Places where a test makes the process die or stop, to prove that no money and no image is lost there.

IMAGEGATE_FAILPOINT=name:action, refused at the start without IMAGEGATE_ALLOW_FAILPOINTS=1.
Actions: `sigkill`, or `error` (an exception that nobody expects).
"""

import os
import signal

from imagegate.errors import OperatorError
from imagegate.settings import Settings

POINTS = (
    "after_recall",
    "after_admission",
    "before_open",
    "after_hold",
    "before_dispatch",
    "after_accept",
    "after_accepted",
    "after_answer",
    "before_store",
    "after_put",
    "after_store",
    "before_settle",
    "after_settle",
    "before_answer",
)
ACTIONS = ("sigkill", "error")


def check(settings: Settings) -> None:
    """Raises OperatorError for a failpoint that does not exist."""
    if settings.failpoint is None:
        return
    name, _, action = settings.failpoint.partition(":")
    if name not in POINTS or action not in ACTIONS:
        raise OperatorError(
            f"IMAGEGATE_FAILPOINT is one of {', '.join(POINTS)}, then : and {' or '.join(ACTIONS)}."
        )


def reach(settings: Settings, name: str) -> None:
    """Nothing, unless this is the failpoint that was asked for."""
    if settings.failpoint is None or not settings.failpoint.startswith(f"{name}:"):
        return
    if settings.failpoint.endswith(":sigkill"):
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError(f"failpoint {name}")
