"""What a batch has read under the wallets' locks, brought forward item by item, and the rows it will write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from imagegate.journal.items import Open
from imagegate.ledger.holds import Wallet, WalletKey

OPEN_STATES = ("queued", "running", "in_doubt")
MOST_EPOCHS = 3

BudgetKey = tuple[UUID, str, str, str, str]
"""Account, environment, scope, scope id, period."""


@dataclass(frozen=True, slots=True)
class Known:
    """A generation as it was read under its wallet's lock.

    counted: the budgets its hold counts on: (scope, scope id, period). aged: too old for its key to be remembered.
    webhook_url: who is told how the job ends.
    """

    account_id: UUID
    env: str
    id: UUID
    state: str
    epoch: int
    hold_tokens: int
    worker_id: UUID | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    key_id: UUID | None = None
    outcome: str | None = None
    claims: int = 0
    abandoned: bool = False
    aged: bool = False
    price_version: int = 0
    quote: str | None = None
    counted: tuple[tuple[str, str, str], ...] = ()
    webhook_url: str | None = None

    def ended(self, state: str, outcome: str | None, *, abandoned: bool) -> "Known":
        """As it is after its end. Written out: `replace` takes twice as long, and every request ends."""
        return Known(
            self.account_id,
            self.env,
            self.id,
            state,
            self.epoch,
            self.hold_tokens,
            self.worker_id,
            self.idempotency_key,
            self.fingerprint,
            self.key_id,
            outcome,
            self.claims,
            abandoned,
            self.aged,
            self.price_version,
            self.quote,
            self.counted,
            self.webhook_url,
        )

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def may_be_adopted(self) -> bool:
        return self.idempotency_key is None and (self.is_open or self.state == "captured")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a scope may spend in a day and in a month, both by the database's clock; None = without limit.

    day_left_s: until the day ends, counted from when it was read.
    """

    scope: str
    scope_id: str
    day_tokens: int | None
    month_tokens: int | None
    day: str
    month: str
    day_left_s: float

    def periods(self) -> tuple[tuple[str, int], ...]:
        both = ((self.day, self.day_tokens), (self.month, self.month_tokens))
        return tuple((period, most) for period, most in both if most is not None)


@dataclass(slots=True)
class Books:
    """budgets: tokens spent and held in a period. usable_keys: those that may spend.

    left: fingerprints of what callers left lately; more than MOST_LEFT of a wallet are not all of them.
    """

    wallets: dict[WalletKey, Wallet]
    generations: dict[UUID, Known]
    usable_keys: set[UUID]
    limits: dict[WalletKey, list[Limit]] = field(default_factory=dict)
    budgets: dict[BudgetKey, tuple[int, int]] = field(default_factory=dict)
    expiring_keys: set[UUID] = field(default_factory=set)
    left: dict[WalletKey, list[bytes | None]] = field(default_factory=dict)

    def by_idempotency_key(self) -> dict[tuple[UUID, str, str], Known]:
        return {
            (g.account_id, g.env, g.idempotency_key): g
            for g in self.generations.values()
            if g.idempotency_key
        }


@dataclass(slots=True)
class Rows:
    """What the batch writes, as JSON-ready rows. freed: generations whose idempotency key may be used again.

    fresh: generations that this very batch opens; a row cannot be made and changed by one statement.
    """

    opened: list[dict[str, Any]] = field(default_factory=list)
    updated: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    images: list[dict[str, Any]] = field(default_factory=list)
    attempts: dict[tuple[UUID, int, int], dict[str, Any]] = field(default_factory=dict)
    transfers: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    budgets: list[dict[str, Any]] = field(default_factory=list)
    wallets: list[dict[str, Any]] = field(default_factory=list)
    freed: list[Known] = field(default_factory=list)
    fresh: set[UUID] = field(default_factory=set)
    touched: set[WalletKey] = field(default_factory=set)
    counted: set[BudgetKey] = field(default_factory=set)

    def add_attempt(self, row: dict[str, Any]) -> None:
        """A later word on the same attempt replaces the earlier one."""
        self.attempts[row["generation_id"], row["epoch"], row["seq"]] = row

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """What there is to write, by the names of `statements.PARTS`.

        Wallets first: who has a wallet's row has the right to all the others, and nobody waits in a circle.
        """
        made = {
            "wallets": self.wallets,
            "opened": self.opened,
            "updated": list(self.updated.values()),
            "images": self.images,
            "attempts": list(self.attempts.values()),
            "budgets": self.budgets,
            "transfers": self.transfers,
            "events": self.events,
        }
        return {name: rows for name, rows in made.items() if rows}

    def close(self, books: Books) -> None:
        """Turn what was touched into rows, in the order of their keys."""
        self.wallets = [books.wallets[key].row() for key in sorted(self.touched)]
        names = ("account_id", "env", "scope", "scope_id", "period", "spent_tokens", "held_tokens")
        self.budgets = [
            dict(zip(names, (*key, *books.budgets[key]), strict=True)) for key in sorted(self.counted)
        ]


def opened_row(item: Open, counted: list[tuple[str, str, str]]) -> Mapping[str, Any]:
    return {
        **item.row,
        "account_id": item.account_id,
        "env": item.env,
        "id": item.generation_id,
        "key_id": item.key_id,
        "hold_tokens": item.hold_tokens,
        "idempotency_key": item.idempotency_key,
        "fingerprint": "\\x" + item.fingerprint.hex() if item.fingerprint else None,
        "counted": counted or None,
        "job": item.job,
    }
