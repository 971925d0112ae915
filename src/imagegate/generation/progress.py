"""What has come of a generation so far, while its providers are asked."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagegate.domain import Attempt, Candidate, Image, Preview
from imagegate.errors import (
    AllProvidersFailed,
    Ambiguous,
    ContentRejected,
    Crowded,
    ImagegateError,
    InvalidRequest,
    ModerationUnavailable,
    NotSent,
    Overloaded,
    RefusedUnbilled,
    UpstreamTimeout,
)
from imagegate.moderation.verdicts import Verdict


async def unheard(preview: Preview, attempt: int) -> None:
    """Nobody listens for previews."""


@dataclass(slots=True)
class Execution:
    """What came of it so far. `ended` counts images that nobody else may be asked for.

    postponed: it failed for now, and a later turn may make it.
    refused: a provider's moderation refused, so that only those may be asked whom the operator names for it.
    invalid: a provider gave something that is no image.
    accepted: a provider has the work under an id of its own, so that it may still be there after the deadline.
    shown: previews that came, by the number of their attempt. preview: told of each, with that number.
    verdicts: of moderation, first what was said and then what was made; the row has the first `verdicts_kept` already.
    """

    images: list[Image] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    errors: list[ImagegateError] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    ended: int = 0
    postponed: bool = False
    refused: bool = False
    invalid: bool = False
    served: Candidate | None = None
    accepted: bool = False
    verdicts: list[Verdict] = field(default_factory=list)
    verdicts_kept: int = 0
    shown: dict[int, int] = field(default_factory=dict)
    preview: Callable[[Preview, int], Awaitable[None]] = unheard
    _idx: int = -1

    def next_idx(self) -> int:
        self._idx += 1
        return self._idx

    def failure(self, public_id: str) -> ImagegateError:
        """Why there is no image: a refusal before a doubt, a doubt before the rest."""
        for kind in (ContentRejected, ModerationUnavailable, Ambiguous, InvalidRequest):
            for error in self.errors:
                if isinstance(error, kind):
                    return _told(error, self.errors, public_id)
        if self.errors and all(isinstance(error, Crowded) for error in self.errors):
            return Overloaded(
                f"{_named(self.errors)}. Nothing was charged for {public_id}. Try again in a moment."
            )
        named = _named(self.errors) or "the deadline passed before one could be asked"
        return AllProvidersFailed(
            f"No provider made the image: {named}. Nothing was charged for {public_id}."
        )

    @property
    def outcome(self) -> str:
        """`lost` when the request may run again: nobody can have billed, or moderation was away; else `final`."""
        passing = NotSent | RefusedUnbilled | ModerationUnavailable
        return "lost" if all(isinstance(error, passing) for error in self.errors) else "final"


def _told(error: ImagegateError, errors: Sequence[ImagegateError], public_id: str) -> ImagegateError:
    """What the caller is told of the error that decides; with others beside it, each is named."""
    if isinstance(error, Ambiguous):
        alone = all(other is error for other in errors)
        rest = "Nobody else was asked" if alone else f"Of all that were asked: {_named(errors)}"
        return UpstreamTimeout(
            f"It cannot be known whether an image was made: {error}. {rest}. Nothing was charged for {public_id}."
        )
    return error


def _named(errors: Iterable[ImagegateError]) -> str:
    """Every failed attempt in its order; what was said several times is said once, and how often."""
    counted = Counter(str(error) for error in errors)
    return "; ".join(said if times == 1 else f"{said} ({times} times)" for said, times in counted.items())


def add_usage(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add whole numbers field by field, also one level down; other values are kept as they came first."""
    for name, value in more.items():
        if isinstance(value, Mapping):
            add_usage(total.setdefault(name, {}), value)
        elif isinstance(value, int) and not isinstance(value, bool):
            total[name] = total.get(name, 0) + value
        else:
            total.setdefault(name, value)
