"""What the ledger's contract says a wallet, its budgets and its generations are after every step, in plain Python.

Each method says what the journal must answer and changes the model as the journal must change its rows. Days are
numbered from the model's own first day.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

OPEN = ("queued", "running", "in_doubt")
MOST_EPOCHS = 3
Said = tuple[Any, ...]
Scope = tuple[str, str]


@dataclass
class Generation:
    """counted: the budgets it counts on: (scope, scope id, day). day: on which it was opened, and `abandoned`."""

    id: UUID
    key_id: UUID
    hold: int
    fingerprint: bytes
    idempotency_key: str | None
    app: str | None
    price_version: int
    worker_id: UUID
    day: int
    counted: list[tuple[str, str, int]]
    state: str = "running"
    outcome: str | None = None
    epoch: int = 1
    charged: int = 0
    claims: int = 0
    abandoned: int | None = None
    moved: bool = False
    refunds: dict[str, int] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def may_be_adopted(self) -> bool:
        return self.idempotency_key is None and (self.is_open or self.state == "captured")

    def scopes(self) -> tuple[tuple[str, str | None], ...]:
        return ("account", ""), ("key", str(self.key_id)), ("app", self.app)


@dataclass
class Model:
    """One wallet. budgets: tokens spent and held, by scope, its id and the day. moved: tokens by kind of transfer."""

    posted: int
    generations: list[Generation] = field(default_factory=list)
    revoked: set[UUID] = field(default_factory=set)
    limits: dict[Scope, int] = field(default_factory=dict)
    budgets: dict[tuple[str, str, int], list[int]] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)
    references: set[str | None] = field(default_factory=set)
    today: int = 0

    @property
    def held(self) -> int:
        return sum(g.hold for g in self.generations if g.is_open)

    @property
    def available(self) -> int:
        return self.posted - self.held

    def fund(self, kind: str, tokens: int) -> None:
        self.posted += tokens
        self.moved[kind] += abs(tokens)

    def budget_left(self, wanted: Generation) -> int | None:
        """The least that is left of the budgets which apply; None where none does."""
        left = [
            most - sum(self.budgets.get((*scope, self.today), (0, 0)))
            for scope, most in self.limits.items()
            if scope in wanted.scopes()
        ]
        return min(left, default=None)

    def open(self, wanted: Generation, retry: int = 0) -> Said:
        if wanted.key_id in self.revoked:
            return ("refused",)
        if wanted.idempotency_key is None:
            adopted = self.claim(wanted.key_id, wanted.fingerprint, retry)
            if adopted != ("absent",):
                return adopted
        elif twin := self.find(wanted.idempotency_key):
            if twin.is_open or self.today - twin.day < 2:
                return self._again(twin, wanted)
            twin.idempotency_key = None
        if wanted.hold > self.available:
            return "insufficient", wanted.hold, self.available
        left = self.budget_left(wanted)
        if left is not None and wanted.hold > left:
            return ("over budget",)
        return self.hold(wanted)

    def hold(self, wanted: Generation) -> Said:
        wanted.day = self.today
        wanted.counted = [(*scope, self.today) for scope in self.limits if scope in wanted.scopes()]
        self._count(wanted, held=wanted.hold)
        self.generations.append(wanted)
        return "held", self.available

    def find(self, idempotency_key: str) -> Generation | None:
        return next((g for g in self.generations if g.idempotency_key == idempotency_key), None)

    def _again(self, twin: Generation, wanted: Generation) -> Said:
        lost = (twin.state, twin.outcome) == ("voided", "lost") and twin.epoch < MOST_EPOCHS
        if not lost or twin.fingerprint != wanted.fingerprint:
            return "existing", twin.id, twin.state
        if twin.hold > self.available:
            return "insufficient", twin.hold, self.available
        twin.state, twin.outcome, twin.epoch = "running", None, twin.epoch + 1
        twin.worker_id = wanted.worker_id
        self._count(twin, held=twin.hold)
        return "reopened", twin.id, twin.epoch, twin.hold, twin.price_version

    def claim(self, key_id: UUID, fingerprint: bytes, retry: int) -> Said:
        equal = [
            g
            for g in sorted(self.generations, key=lambda g: g.id)
            if g.may_be_adopted and (g.key_id, g.fingerprint) == (key_id, fingerprint)
        ]
        left = [g for g in equal if g.abandoned == self.today]
        left += [g for g in equal if g.day == self.today and g.claims < retry]
        if not left:
            return ("absent",)
        left[0].abandoned = None
        left[0].claims += 1
        return "existing", left[0].id, left[0].state

    def abandon(self, generation: Generation) -> Said:
        if generation.may_be_adopted and generation.abandoned is None:
            generation.abandoned = self.today
        return ("done",)

    def settle(
        self,
        generation: Generation,
        epoch: int,
        tokens: int = 0,
        outcome: str | None = None,
        swept: bool = False,
    ) -> Said:
        if fenced := self._fence(generation, epoch):
            return fenced
        self._leave(generation, swept)
        charged = min(tokens, generation.hold) if outcome is None else 0
        generation.state = "captured" if outcome is None else "voided"
        generation.outcome, generation.charged = outcome, charged
        if outcome is not None:
            generation.abandoned = None
        self.posted -= charged
        generation.moved = outcome is None and tokens > 0
        self.moved["capture"] += charged
        self.moved["usage"] += tokens - charged if outcome is None else 0
        self._count(generation, spent=charged, held=-generation.hold)
        return "settled", self.available

    def accept(self, generation: Generation, epoch: int) -> Said:
        return self._fence(generation, epoch) or ("done",)

    def doubt(self, generation: Generation, epoch: int) -> Said:
        if fenced := self._fence(generation, epoch):
            return fenced
        generation.state = "in_doubt"
        return ("done",)

    def take(self, generation: Generation, epoch: int, worker_id: UUID, swept: bool) -> Said:
        if fenced := self._fence(generation, epoch):
            return fenced
        if epoch >= MOST_EPOCHS:
            return "fenced", generation.state
        self._leave(generation, swept)
        generation.epoch, generation.worker_id = epoch + 1, worker_id
        return ("done",)

    def _leave(self, generation: Generation, swept: bool) -> None:
        """A worker that died takes its callers' waits with it, but for those that attached themselves later."""
        if swept and generation.idempotency_key is None and not generation.claims:
            self.abandon(generation)

    def _fence(self, generation: Generation, epoch: int) -> Said | None:
        if generation.is_open and generation.epoch == epoch:
            return None
        return "fenced", generation.state

    def refund(self, generation: Generation, cause: str, tokens: int | None) -> int | None:
        """Tokens that go back now; None where that must be refused."""
        if not generation.charged:
            return None
        if cause in generation.refunds:
            return 0
        left = generation.charged - sum(generation.refunds.values())
        if left <= 0 or (tokens or 0) > left:
            return None
        given = left if tokens is None else tokens
        generation.refunds[cause] = given
        self.fund("refund", given)
        return given

    def set_limit(self, scope: Scope, most: int | None) -> None:
        """A budget begins with what the day has spent and holds already."""
        fresh = scope not in self.limits and most is not None
        self.limits.pop(scope, None)
        if most is not None:
            self.limits[scope] = most
        if fresh:
            name = (*scope, self.today)
            of_today = [g for g in self.generations if g.day == self.today and scope in g.scopes()]
            for one in of_today:
                if one.is_open and name not in one.counted:
                    one.counted.append(name)
            held = sum(g.hold for g in of_today if g.is_open)
            self.budgets[name] = [sum(g.charged for g in of_today), held]

    def _count(self, generation: Generation, *, spent: int = 0, held: int = 0) -> None:
        for name in generation.counted:
            budget = self.budgets.setdefault(name, [0, 0])
            budget[0] += spent
            budget[1] += held
