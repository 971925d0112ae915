"""What the lane still knows from its last batch, so that the next needs neither locks nor a look.

It need not be true: a wallet's revision moves with everything that a hold depends on, and the statement that writes
the batch writes nothing unless the revision is still the one that was remembered.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from imagegate.journal.books import Books, Known, Rows
from imagegate.journal.items import Begin, Item, Open, Settle
from imagegate.ledger.holds import Wallet, WalletKey

MOST_WALLETS = 20_000
SHARED_S = 1.0


@dataclass(slots=True)
class Remembered:
    """All of it was read or written at this wallet's revision, or is unchanged since. keys: usable, and for ever."""

    wallet: Wallet
    keys: set[UUID] = field(default_factory=set)
    open: dict[UUID, Known] = field(default_factory=dict)


class Memory:
    """Wallets without budgets and without abandoned generations.

    shared_s: how long a wallet that somebody else changes is not remembered.
    """

    def __init__(self, shared_s: float = SHARED_S) -> None:
        self._shared_s = shared_s
        self._known: dict[WalletKey, Remembered] = {}
        self._shared: dict[WalletKey, float] = {}

    def recall(self, items: Sequence[Item]) -> Books | None:
        """The books for these items, or None when the database has to be asked."""
        books = Books({}, {}, set())
        for item in items:
            known = self._known.get(item.wallet_key)
            if known is None:
                return None
            books.wallets[item.wallet_key] = known.wallet
            if isinstance(item, Settle | Begin):
                generation = known.open.get(item.generation_id)
                if generation is None:
                    return None
                books.generations[item.generation_id] = generation
            elif isinstance(item, Open) and not item.retry and item.key_id in known.keys:
                books.usable_keys.add(item.key_id)
            else:
                return None
        return books

    def keep(self, items: Iterable[Item], books: Books, rows: Rows) -> None:
        """Remember what is true once `rows` are written."""
        if len(self._known) > MOST_WALLETS:
            self._known.clear()
        restless = set(books.limits) | {key[:2] for key in books.budgets}
        restless |= {(g.account_id, g.env) for g in books.generations.values() if g.abandoned}
        now = monotonic()
        for key, wallet in books.wallets.items():
            if key in restless or self._shared.get(key, 0.0) > now:
                self._known.pop(key, None)
                continue
            known = self._known.get(key)
            if known is None or known.wallet.revision != wallet.revision:
                known = self._known[key] = Remembered(wallet)
            known.wallet = wallet.written() if key in rows.touched else wallet
        lasting = books.usable_keys - books.expiring_keys
        for item in items:
            if isinstance(item, Open) and item.key_id in lasting:
                self._add_key(item)
        for generation in books.generations.values():
            self._add_generation(generation)

    def _add_key(self, item: Open) -> None:
        if known := self._known.get(item.wallet_key):
            known.keys.add(item.key_id)

    def _add_generation(self, generation: Known) -> None:
        known = self._known.get((generation.account_id, generation.env))
        if known is None:
            return
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
