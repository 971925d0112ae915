"""What moderators are asked, what each of them says, and what that comes to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Policy = Literal["off", "flag", "block"]
Stage = Literal["input", "output"]
MOST_CATEGORIES = 32
LONGEST_CATEGORY = 64
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Picture:
    data: bytes
    mime: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be judged. id: `mod_…`, its own; account: `acc_…`.

    stage: `input` (before anything is held) or `output` (an image that was made, with the prompt it was made from).
    fields: texts in fields that would pass through to a provider, such as `search_prompt`.
    """

    id: str
    stage: Stage
    policy: Policy
    account: str
    prompt: str
    negative_prompt: str | None = None
    pictures: tuple[Picture, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that was said in words."""
        return tuple(text for text in (self.prompt, self.negative_prompt, *self.fields) if text)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one moderator said. failure: why it said nothing; then nothing is flagged."""

    moderator: str
    flagged: bool = False
    categories: tuple[str, ...] = ()
    reason: str | None = None
    ms: int = 0
    failure: str | None = None

    def to_json(self) -> dict[str, Any]:
        said = {"reason": self.reason, "failure": self.failure}
        return {
            "name": self.moderator,
            "flagged": self.flagged,
            "categories": list(self.categories),
            "ms": self.ms,
            **{name: value for name, value in said.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all moderators said of one subject. version: of the configuration they were asked under.

    failed_open: a moderator said nothing, and the operator wants such requests to pass. object: where an image is
    kept that was blocked.
    """

    subject_id: str
    stage: Stage
    policy: Policy
    version: str
    findings: tuple[Finding, ...]
    failed_open: bool = False
    object: str | None = None

    @property
    def flagged(self) -> bool:
        return any(finding.flagged for finding in self.findings)

    @property
    def categories(self) -> list[str]:
        return sorted({name for finding in self.findings if finding.flagged for name in finding.categories})

    @property
    def word(self) -> str:
        """What it comes to: passed, flagged, blocked, failed_open or unavailable."""
        if self.flagged:
            return "blocked" if self.policy == "block" else "flagged"
        if any(finding.failure is not None for finding in self.findings):
            return "failed_open" if self.failed_open else "unavailable"
        return "passed"

    @property
    def passes(self) -> bool:
        return self.word not in ("blocked", "unavailable")

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.subject_id,
            "stage": self.stage,
            "verdict": self.word,
            "flagged": self.flagged,
            "failed_open": self.failed_open,
            **({"object": self.object} if self.object else {}),
            "moderators": [finding.to_json() for finding in self.findings],
        }


class ModeratorFailed(Exception):
    """It gave no verdict. The text is for the operator: no prompt, no key and nothing of its answer in it."""


class Moderator(Protocol):
    """Whoever judges over the network. `version` changes with whatever its verdict depends on."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    async def judge(self, subject: Subject, timeout_s: float) -> Finding:
        """Within `timeout_s`. Raises ModeratorFailed, AttemptFailed, Overloaded, TimeoutError."""


def tidy(names: Iterable[object]) -> tuple[str, ...]:
    """Categories as they are kept: a few short texts."""
    texts = [name.strip()[:LONGEST_CATEGORY] for name in names if isinstance(name, str) and name.strip()]
    return tuple(dict.fromkeys(texts))[:MOST_CATEGORIES]
