"""What the lane still knows from its last batch, so that the next needs neither locks nor a look.

It need not be true: a wallet's revision moves with everything that a hold depends on, and the statement that writes
the batch writes nothing unless the revision is still the one that was remembered.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from uuid import UUID

from imagegate.journal.books import Books, BudgetKey, Known, Limit, Rows
from imagegate.journal.budgets import budget_key
from imagegate.journal.items import Begin, Claim, Item, Open, Settle
from imagegate.journal.statements import MOST_LEFT
from imagegate.ledger.holds import Wallet, WalletKey

MOST_WALLETS = 20_000
SHARED_S = 1.0
LONGEST_S = 60.0
"""How long a wallet with budgets is remembered without a look at the database's clock, which may be set."""
BEFORE_MIDNIGHT_S = 1.0
"""So long before the day of a budget ends it is not remembered any more: two clocks need not agree."""


@dataclass(slots=True)
class Remembered:
    """All of it was read or written at this wallet's revision, or is unchanged since. keys: usable, and for ever.

    left: fingerprints of what callers left, MOST_LEFT at most; some may have been adopted since. until: when limits and
    budgets have to be read again, on the clock of `time.monotonic`.
    """

    wallet: Wallet
    keys: set[UUID] = field(default_factory=set)
    left: set[bytes | None] = field(default_factory=set)
    open: dict[UUID, Known] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)
    budgets: dict[BudgetKey, tuple[int, int]] = field(default_factory=dict)
    until: float = inf

    def knows(self, item: Item) -> bool:
        """Whether nothing else is needed to decide on the item. Limits, and what was left, are known when a key is."""
        if isinstance(item, Open):
            new = item.idempotency_key is not None or item.fingerprint not in self.left
            return new and not item.retry and item.key_id in self.keys
        if not isinstance(item, Settle | Begin) or item.generation_id not in self.open:
            return False
        generation = self.open[item.generation_id]
        return all(budget_key(generation, *name) in self.budgets for name in generation.counted)


class Memory:
    """What is known of wallets, by their keys.

    shared_s: how long a wallet that somebody else changes is not remembered.
    """

    def __init__(self, shared_s: float = SHARED_S) -> None:
        self._shared_s = shared_s
        self._known: dict[WalletKey, Remembered] = {}
        self._shared: dict[WalletKey, float] = {}

    def recall(self, items: Sequence[Item]) -> Books | None:
        """The books for these items, or None when the database has to be asked."""
        books, now = Books({}, {}, set()), monotonic()
        for item in items:
            known = self._known.get(item.wallet_key)
            if known is None or known.until <= now or not known.knows(item):
                return None
            if item.wallet_key not in books.wallets:
                books.wallets[item.wallet_key] = known.wallet
                books.limits[item.wallet_key] = known.limits
                books.budgets.update(known.budgets)
            if isinstance(item, Settle | Begin):
                books.generations[item.generation_id] = known.open[item.generation_id]
            elif isinstance(item, Open):
                books.usable_keys.add(item.key_id)
        return books

    def keep(self, items: Iterable[Item], books: Books, rows: Rows, *, read_at: float | None) -> None:
        """Remember what is true once `rows` are written.

        read_at: when the database was asked, on the clock of `time.monotonic`; None when `books` were recalled.
        """
        if len(self._known) > MOST_WALLETS:
            self._known.clear()
        restless = {key for key, left in books.left.items() if len(left) > MOST_LEFT}
        now = monotonic()
        for key, wallet in books.wallets.items():
            if key in restless or self._shared.get(key, 0.0) > now:
                self._known.pop(key, None)
                continue
            known = self._known.get(key)
            if known is None or known.wallet.revision != wallet.revision:
                known = self._known[key] = Remembered(wallet)
            known.wallet = wallet.written() if key in rows.touched else wallet
        if read_at is not None:
            paying = {item.wallet_key for item in items if isinstance(item, Open | Claim)}
            self._add_limits(paying, books, read_at)
        for budget, counted in books.budgets.items():
            if known := self._known.get(budget[:2]):
                known.budgets[budget] = counted
        lasting = books.usable_keys - books.expiring_keys
        for item in items:
            if isinstance(item, Open) and item.key_id in lasting:
                self._add_key(item)
        for generation in books.generations.values():
            self._add_generation(generation)

    def _add_limits(self, paying: Iterable[WalletKey], books: Books, read_at: float) -> None:
        """Limits are read for those alone who may take a hold. Budgets of days that are over are forgotten."""
        for key in paying:
            if known := self._known.get(key):
                known.left = set(books.left.get(key, ()))
                known.budgets.clear()
                known.limits = books.limits.get(key, [])
                lasting_s = [min(limit.day_left_s - BEFORE_MIDNIGHT_S, LONGEST_S) for limit in known.limits]
                known.until = read_at + min(lasting_s, default=inf)

    def _add_key(self, item: Open) -> None:
        if known := self._known.get(item.wallet_key):
            known.keys.add(item.key_id)

    def _add_generation(self, generation: Known) -> None:
        known = self._known.get((generation.account_id, generation.env))
        if known is None:
            return
        if generation.abandoned:
            known.left.add(generation.fingerprint)
            if len(known.left) > MOST_LEFT:
                self.forget([known.wallet.key])
        if generation.is_open:
            known.open[generation.id] = generation
        else:
            known.open.pop(generation.id, None)

    def forget(self, keys: Iterable[WalletKey], *, shared: bool = False) -> None:
        """shared: somebody else changes these wallets; do not remember them for a while."""
        if len(self._shared) > MOST_WALLETS:
            self._shared.clear()
        for key in keys:
            self._known.pop(key, None)
            if shared:
                self._shared[key] = monotonic() + self._shared_s
