"""What one batch of the journal decides, as a pure function over what was read under the wallets' locks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from imagegate.errors import ImagegateError, InsufficientFunds, Unauthenticated
from imagegate.identity.keys import INVALID
from imagegate.ledger import holds
from imagegate.ledger.holds import Wallet, WalletKey

OPEN_STATES = ("queued", "running", "in_doubt")


@dataclass(frozen=True, slots=True)
class Open:
    """Take a hold and record a generation as running. `row` holds its remaining columns as JSON values."""

    account_id: UUID
    env: str
    generation_id: UUID
    key_id: UUID
    hold_tokens: int
    idempotency_key: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wallet_key(self) -> WalletKey:
        return self.account_id, self.env


@dataclass(frozen=True, slots=True)
class Settle:
    """End a generation in `epoch`: captured with `tokens`, or voided when `outcome` is `final` or `lost`."""

    account_id: UUID
    env: str
    generation_id: UUID
    epoch: int
    tokens: int = 0
    price_version: int = 0
    outcome: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[Mapping[str, Any]] = ()
    attempts: Sequence[Mapping[str, Any]] = ()

    @property
    def wallet_key(self) -> WalletKey:
        return self.account_id, self.env


@dataclass(frozen=True, slots=True)
class Held:
    available_tokens: int


@dataclass(frozen=True, slots=True)
class Existing:
    """The idempotency key is known: this generation has it."""

    generation_id: UUID
    state: str
    fingerprint: bytes | None


@dataclass(frozen=True, slots=True)
class Settled:
    available_tokens: int


@dataclass(frozen=True, slots=True)
class Fenced:
    """Somebody else ended the generation, or it never was: nothing was written. `state` None = no such row."""

    state: str | None


Outcome = Held | Existing | Settled | Fenced | ImagegateError


@dataclass(frozen=True, slots=True)
class Known:
    """A generation as it was read under its wallet's lock."""

    account_id: UUID
    env: str
    id: UUID
    state: str
    epoch: int
    hold_tokens: int
    worker_id: UUID | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None


@dataclass(slots=True)
class Books:
    """What a batch has read, brought forward item by item."""

    wallets: dict[WalletKey, Wallet]
    generations: dict[UUID, Known]
    usable_keys: set[UUID]

    def by_idempotency_key(self) -> dict[tuple[UUID, str, str], Known]:
        return {
            (g.account_id, g.env, g.idempotency_key): g
            for g in self.generations.values()
            if g.idempotency_key
        }


@dataclass(slots=True)
class Rows:
    """What the batch writes, as JSON-ready rows."""

    opened: list[dict[str, Any]] = field(default_factory=list)
    settled: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    transfers: list[dict[str, Any]] = field(default_factory=list)
    wallets: list[dict[str, Any]] = field(default_factory=list)

    def any(self) -> bool:
        return bool(self.opened or self.settled)


def decide(items: Sequence[Open | Settle], books: Books) -> tuple[list[Outcome], Rows]:
    """Settlements first, since they free money; then opens as they arrived, each on its own.

    One outcome per item, in the items' order. An open that does not fit does not stop the next one.
    """
    rows = Rows()
    outcomes: dict[int, Outcome] = {}
    changed: set[WalletKey] = set()
    for index, item in enumerate(items):
        if isinstance(item, Settle):
            outcomes[index] = _settle(item, books, rows, changed)
    taken = books.by_idempotency_key()
    for index, item in enumerate(items):
        if isinstance(item, Open):
            outcomes[index] = _open(item, books, rows, changed, taken)
    rows.wallets = [books.wallets[key].row() for key in sorted(changed)]
    return [outcomes[index] for index in range(len(items))], rows


def _settle(item: Settle, books: Books, rows: Rows, changed: set[WalletKey]) -> Outcome:
    known = books.generations.get(item.generation_id)
    if known is None or (known.account_id, known.env) != item.wallet_key:
        return Fenced(None)
    if known.state not in OPEN_STATES or known.epoch != item.epoch:
        return Fenced(known.state)
    wallet = books.wallets[item.wallet_key]
    if item.outcome is None:
        wallet, transfer = holds.capture(
            wallet, known.id, known.hold_tokens, min(item.tokens, known.hold_tokens), item.price_version
        )
        rows.transfers.extend([transfer] if transfer else [])
    else:
        wallet = holds.release(wallet, known.hold_tokens)
    books.wallets[item.wallet_key] = wallet
    changed.add(item.wallet_key)
    state = "captured" if item.outcome is None else "voided"
    books.generations[known.id] = Known(
        known.account_id, known.env, known.id, state, known.epoch, known.hold_tokens
    )
    key = {"account_id": item.account_id, "env": item.env}
    tokens = min(item.tokens, known.hold_tokens) if item.outcome is None else 0
    rows.settled.append(
        {
            **item.row,
            **key,
            "id": item.generation_id,
            "epoch": item.epoch,
            "state": state,
            "outcome": item.outcome,
            "charged_tokens": tokens,
        }
    )
    tail = {**key, "generation_id": item.generation_id}
    rows.images.extend({**image, **tail} for image in item.images)
    rows.attempts.extend({**attempt, **tail, "epoch": item.epoch} for attempt in item.attempts)
    return Settled(wallet.available_tokens)


def _open(
    item: Open,
    books: Books,
    rows: Rows,
    changed: set[WalletKey],
    taken: dict[tuple[UUID, str, str], Known],
) -> Outcome:
    if item.key_id not in books.usable_keys or item.wallet_key not in books.wallets:
        return Unauthenticated(INVALID)
    idempotency = (item.account_id, item.env, item.idempotency_key or "")
    if item.idempotency_key and idempotency in taken:
        twin = taken[idempotency]
        return Existing(twin.id, twin.state, twin.fingerprint)
    wallet = books.wallets[item.wallet_key]
    held = holds.hold(wallet, item.hold_tokens)
    if held is None:
        return InsufficientFunds(item.hold_tokens, wallet.available_tokens)
    books.wallets[item.wallet_key] = held
    changed.add(item.wallet_key)
    row = {
        **item.row,
        "account_id": item.account_id,
        "env": item.env,
        "id": item.generation_id,
        "key_id": item.key_id,
        "hold_tokens": item.hold_tokens,
        "idempotency_key": item.idempotency_key,
    }
    rows.opened.append(row)
    if item.idempotency_key:
        taken[idempotency] = known_from(item, row)
    return Held(held.available_tokens)


def known_from(item: Open, row: Mapping[str, Any]) -> Known:
    """The generation that `item` is about to become, for a twin later in the batch."""
    fingerprint = row.get("fingerprint")
    return Known(
        item.account_id,
        item.env,
        item.generation_id,
        "running",
        1,
        item.hold_tokens,
        idempotency_key=item.idempotency_key,
        fingerprint=bytes.fromhex(fingerprint[2:]) if fingerprint else None,
    )


def wallets_of(items: Iterable[Open | Settle]) -> list[WalletKey]:
    return sorted({item.wallet_key for item in items})
