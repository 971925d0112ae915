"""What has come of a generation so far, while its providers are asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagegate.domain import Attempt, Candidate, Image
from imagegate.errors import (
    AllProvidersFailed,
    Ambiguous,
    ContentRejected,
    ImagegateError,
    InvalidRequest,
    NotSent,
    RefusedUnbilled,
    UpstreamTimeout,
)


@dataclass(slots=True)
class Execution:
    """What came of it so far. `ended` counts images that nobody else may be asked for.

    accepted: a provider has the work under an id of its own, so that it may still be there after the deadline.
    """

    images: list[Image] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    errors: list[ImagegateError] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    ended: int = 0
    served: Candidate | None = None
    accepted: bool = False
    _idx: int = -1

    def next_idx(self) -> int:
        self._idx += 1
        return self._idx

    def failure(self, public_id: str) -> ImagegateError:
        """Why there is no image: a refusal before a doubt, a doubt before the rest."""
        for kind in (ContentRejected, Ambiguous, InvalidRequest):
            for error in self.errors:
                if isinstance(error, kind):
                    return _told(error, public_id)
        named = (
            "; ".join(str(error) for error in self.errors) or "the deadline passed before one could be asked"
        )
        return AllProvidersFailed(
            f"No provider made the image: {named}. Nothing was charged for {public_id}."
        )

    @property
    def outcome(self) -> str:
        """`lost` when nobody can have billed anything, so that the request may run again; else `final`."""
        return "lost" if all(isinstance(e, NotSent | RefusedUnbilled) for e in self.errors) else "final"


def _told(error: ImagegateError, public_id: str) -> ImagegateError:
    if isinstance(error, Ambiguous):
        return UpstreamTimeout(
            f"It cannot be known whether an image was made: {error}. Nobody else was asked and nothing was charged "
            f"for {public_id}."
        )
    return error


def add_usage(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add whole numbers field by field, also one level down; other values are kept as they came first."""
    for name, value in more.items():
        if isinstance(value, Mapping):
            add_usage(total.setdefault(name, {}), value)
        elif isinstance(value, int) and not isinstance(value, bool):
            total[name] = total.get(name, 0) + value
        else:
            total.setdefault(name, value)
