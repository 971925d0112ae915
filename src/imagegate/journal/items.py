"""What the line asks of the journal, and what it is told: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from imagegate.errors import ImagegateError
from imagegate.ledger.holds import WalletKey


@dataclass(frozen=True, slots=True)
class Entry:
    """Every item names the wallet under whose lock it is decided."""

    account_id: UUID
    env: str

    @property
    def wallet_key(self) -> WalletKey:
        return self.account_id, self.env


@dataclass(frozen=True, slots=True)
class Open(Entry):
    """Take a hold and record a generation as running, or find the one that this request means.

    `row`: the remaining columns as JSON values. `retry`: how often the caller's library says it has tried before.
    `job`: what a worker needs to know beside the request; then the generation is queued.
    """

    generation_id: UUID
    key_id: UUID
    hold_tokens: int
    idempotency_key: str | None = None
    fingerprint: bytes = b""
    retry: int = 0
    team: str | None = None
    app: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    job: Mapping[str, Any] | None = None

    def scopes(self) -> tuple[tuple[str, str | None], ...]:
        """Whose budgets the hold counts on; None where the request has no such label."""
        return ("account", ""), ("team", self.team), ("key", str(self.key_id)), ("app", self.app)


@dataclass(frozen=True, slots=True)
class Claim(Entry):
    """Adopt the generation that an equal request began, if there is one that may be adopted."""

    key_id: UUID
    fingerprint: bytes
    retry: int


@dataclass(frozen=True, slots=True)
class Change(Entry):
    """Something happens to a known generation."""

    generation_id: UUID


@dataclass(frozen=True, slots=True)
class Settle(Change):
    """End a generation in `epoch`: captured with `tokens`, or voided when `outcome` is `final` or `lost`.

    More tokens than the hold are captured as the hold; the rest is booked as a loss. abandoned: its worker died, and
    the caller's wait with it, unless a retry has attached itself since.
    """

    epoch: int
    tokens: int = 0
    price_version: int = 0
    outcome: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[Mapping[str, Any]] = ()
    attempts: Sequence[Mapping[str, Any]] = ()
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Abandon(Change):
    """The caller left before it had its answer: the next equal request of that key may adopt the generation."""


@dataclass(frozen=True, slots=True)
class Accept(Change):
    """A provider has accepted the work under an id of its own: kept before the first poll."""

    epoch: int
    attempt: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Doubt(Change):
    """The caller's wait is over while the provider still works."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Take(Change):
    """Another worker goes on with a generation, one epoch later. abandoned: as in Settle."""

    epoch: int
    worker_id: UUID
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Begin(Change):
    """A worker takes a queued job up. ttl_s: how long it may take."""

    epoch: int
    worker_id: UUID
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Requeue(Change):
    """A job waits for its turn again, its hold kept, not before `due_s` seconds have passed.

    died: its worker is gone, so that it is one epoch later. ttl_s: until it is given up.
    """

    epoch: int
    ttl_s: float
    due_s: float = 0.0
    died: bool = False
    attempts: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Drop(Change):
    """End a job that nobody has begun. told: its end is an event for a webhook; of a cancelled one it is none."""

    row: Mapping[str, Any]
    told: bool = True


@dataclass(frozen=True, slots=True)
class Held:
    """available_tokens: of the wallet afterwards; -1 = not known."""

    available_tokens: int


@dataclass(frozen=True, slots=True)
class Reopened:
    """A lost generation runs again under its key: same id, same price, one epoch later. `quote` is JSON."""

    generation_id: UUID
    epoch: int
    hold_tokens: int
    quote: str


@dataclass(frozen=True, slots=True)
class Existing:
    """The request is known: this generation has it."""

    generation_id: UUID
    state: str
    fingerprint: bytes | None


@dataclass(frozen=True, slots=True)
class Absent:
    """There is nothing to adopt."""


@dataclass(frozen=True, slots=True)
class Done:
    pass


@dataclass(frozen=True, slots=True)
class Settled:
    """available_tokens: of the wallet afterwards; -1 = not known."""

    available_tokens: int


@dataclass(frozen=True, slots=True)
class Fenced:
    """Somebody else was quicker, or it never was: nothing was written. `state` None = no such generation."""

    state: str | None


Item = Open | Claim | Settle | Abandon | Accept | Doubt | Take | Begin | Requeue | Drop
Outcome = Held | Reopened | Existing | Absent | Done | Settled | Fenced | ImagegateError
