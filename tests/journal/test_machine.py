"""Several workers, an operator, crashes and midnights on one wallet of real PostgreSQL: the books always balance.

The machine does what it likes in any order; the model says beforehand what each step must answer, and what all rows
must be after it.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from imagegate.db.embedded import EmbeddedPostgres
from imagegate.db.migrate import upgrade
from imagegate.ids import new_id
from imagegate.journal.items import Abandon, Accept, Change, Claim, Doubt, Settle, Take
from imagegate.journal.journal import Journal
from imagegate.settings import Settings
from tests.journal.machine_model import Generation, Model, Said
from tests.journal.machine_workers import said
from tests.journal.machine_world import ATTEMPT, IMAGE, Customer, World, item_of

BEGIN_TOKENS = 2000
PROOF_STEPS = 25
PATIENCE_S = 5

WORKER = st.sampled_from([0, 0, 0, 0, 1, 2])
PICK = st.integers(0, 999)
HOLD = st.sampled_from([150, 1, 40, 300, 0, 1100])
IDEMPOTENCY_KEY = st.sampled_from(["a", "b", "c", "d"])
FINGERPRINT = st.sampled_from([b"fox", b"fox", b"owl"])
APP = st.sampled_from([None, "shop"])
RETRY = st.sampled_from([0, 0, 0, 1, 2])
STALE = st.sampled_from([0, 0, 0, 0, -1, 1])
"""By how many epochs a worker is wrong."""


class LedgerMachine(RuleBasedStateMachine):
    """Nothing that is drawn depends on the state, so that a race with two good ends is no riddle for Hypothesis."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.customer = Customer(world)
        self.model = Model(0)
        self.keys = world.run(self.customer.begin(0))
        self.price_version = 1
        self.steps = 0
        self.fund(BEGIN_TOKENS, None)

    def teardown(self) -> None:
        self.world.run(self.customer.end())
        self.world.run(self.world.prove())

    @invariant()
    def all_rows_are_as_the_model_says(self) -> None:
        assert self.world.run(self.customer.look()) == self.customer.expected(self.model)
        self.steps += 1
        if self.steps % PROOF_STEPS == 0:
            self.world.run(self.world.prove())

    # What the operator does

    @rule(tokens=st.integers(1, 1500), ref=st.sampled_from([None, None, "payment"]))
    def fund(self, tokens: int, ref: str | None) -> None:
        if ref is not None:
            tokens = 100  # another amount under a known reference is refused
        if ref not in self.model.references:
            self.model.fund("top_up", tokens)
        if ref is not None:
            self.model.references.add(ref)
        self.world.run(self.customer.top_up(tokens, ref))

    @rule(tokens=st.integers(-500, 500).filter(bool))
    def adjust(self, tokens: int) -> None:
        fits = self.model.available + tokens >= 0
        if fits:
            self.model.fund("adjust", tokens)
        assert self.world.run(self.customer.adjust(tokens)) == fits

    @rule(pick=PICK, cause=st.sampled_from(["late", "ugly"]), tokens=st.sampled_from([None, 1, 200]))
    def refund(self, pick: int, cause: str, tokens: int | None) -> None:
        if generation := self.chosen(pick, [g for g in self.model.generations if g.charged]):
            expected = self.model.refund(generation, cause, tokens)
            assert self.world.run(self.customer.refund(generation, cause, tokens)) == expected

    @rule(scope=st.sampled_from(["account", "key", "app"]), most=st.sampled_from([None, None, 3000, 500, 0]))
    def set_budget(self, scope: str, most: int | None) -> None:
        named = scope, {"account": "", "key": str(self.keys[0]), "app": "shop"}[scope]
        self.model.set_limit(named, most)
        self.world.run(self.customer.set_limit(named, most))

    @rule(
        what=st.sampled_from(["price", "key", "midnight", "crash"]),
        pick=st.integers(0, 1),
        takes=st.booleans(),
    )
    def rarely(self, what: str, pick: int, takes: bool) -> None:
        match what:
            case "price":
                self.price_version = self.world.run(self.customer.change_price(1 + self.steps))
            case "key":
                self.revoke_a_key_and_make_another(pick)
            case "midnight":
                self.model.today += 1
                self.world.run(self.customer.pass_midnight())
            case _:
                self.crash_and_be_swept(0, 2 * pick, takes)

    def revoke_a_key_and_make_another(self, pick: int) -> None:
        for _ in range(2):
            self.open_one(0, pick, 1, None, new_id().bytes, None, 0)
        self.model.revoked.add(self.keys[pick])
        self.world.run(self.customer.revoke(self.keys[pick]))
        self.open_one(0, pick, 1, None, b"fox", None, 0)
        self.keys[pick] = self.world.run(self.customer.make_key())

    def crash_and_be_swept(self, worker: int, heir: int, takes: bool) -> None:
        dead = self.world.run(self.customer.crash(worker))
        me = self.customer.workers[heir].id
        for generation in [g for g in self.model.generations if g.is_open and g.worker_id == dead]:
            epoch, owner = generation.epoch, (self.customer.id, "live", generation.id)
            if takes:
                item: Change = Take(*owner, epoch, me, abandoned=True)
                self.change(heir, item, self.model.take(generation, epoch, me, swept=True))
            else:
                item = replace(self.settlement(generation, epoch, outcome="lost"), abandoned=True)
                expected = self.model.settle(generation, epoch, outcome="lost", swept=True)
                self.change(heir, item, expected)

    # What callers do

    @rule(worker=WORKER, hold=HOLD)
    def open_plain(self, worker: int, hold: int) -> None:
        self.open_one(worker, 0, hold, None, new_id().bytes, None, 0)

    @rule(worker=WORKER, hold=HOLD, idempotency_key=IDEMPOTENCY_KEY)
    def open_with_a_key(self, worker: int, hold: int, idempotency_key: str) -> None:
        self.open_one(worker, 0, hold, idempotency_key, b"fox", None, 0)

    @rule(
        worker=WORKER, key=st.integers(0, 1), hold=HOLD, idempotency_key=st.none() | IDEMPOTENCY_KEY,
        fingerprint=FINGERPRINT, app=APP, retry=RETRY,
    )  # fmt: skip
    def open_any(self, **request: Any) -> None:
        self.open_one(**request)

    def open_one(
        self,
        worker: int,
        key: int,
        hold: int,
        idempotency_key: str | None,
        fingerprint: bytes,
        app: str | None,
        retry: int,
    ) -> None:
        wanted = self.wanted(worker, hold, idempotency_key, fingerprint, key=key, app=app)
        item = item_of(self.customer, wanted, retry)
        self.told(self.journal(worker).open(item), self.model.open(wanted, retry))

    @rule(worker=WORKER, pick=PICK)
    def try_again_with_the_same_key(self, worker: int, pick: int) -> None:
        if known := self.chosen(pick, [g for g in self.model.generations if g.idempotency_key]):
            self.open_one(worker, 0, known.hold, known.idempotency_key, known.fingerprint, known.app, 0)

    @rule(worker=WORKER, pick=PICK, by_midnight=st.booleans())
    def lose_one_and_try_again(self, worker: int, pick: int, by_midnight: bool) -> None:
        lost = self.chosen(pick, [g for g in self.model.generations if g.is_open and g.idempotency_key])
        if lost is None:
            return
        item = self.settlement(lost, lost.epoch, outcome="lost")
        self.change(worker, item, self.model.settle(lost, lost.epoch, outcome="lost"))
        if by_midnight:
            self.rarely("midnight", 0, False)
        self.open_one(worker, 0, 1, lost.idempotency_key, lost.fingerprint, None, 0)

    @rule(worker=WORKER, key=st.integers(0, 1), fingerprint=FINGERPRINT, retry=st.integers(1, 2))
    def claim(self, worker: int, key: int, fingerprint: bytes, retry: int) -> None:
        item = Claim(self.customer.id, "live", self.keys[key], fingerprint, retry)
        self.told(self.journal(worker).claim(item), self.model.claim(self.keys[key], fingerprint, retry))

    @rule(worker=WORKER, pick=PICK)
    def leave(self, worker: int, pick: int) -> None:
        if generation := self.chosen(pick, self.model.generations):
            item = Abandon(self.customer.id, "live", generation.id)
            self.change(worker, item, self.model.abandon(generation))

    @rule(worker=WORKER, heir=WORKER, pick=PICK)
    def leave_one_and_ask_again(self, worker: int, heir: int, pick: int) -> None:
        if generation := self.chosen(pick, [g for g in self.model.generations if g.may_be_adopted]):
            item = Abandon(self.customer.id, "live", generation.id)
            self.change(worker, item, self.model.abandon(generation))
            self.open_one(heir, 0, 1, None, new_id().bytes, None, 0)
            self.open_one(heir, 0, 1, None, generation.fingerprint, None, 0)

    # What workers do

    @rule(worker=WORKER, pick=PICK)
    def capture_what_waits(self, worker: int, pick: int) -> None:
        if generation := self.chosen(pick, [g for g in self.model.generations if g.is_open]):
            item = self.settlement(generation, generation.epoch, tokens=generation.hold)
            self.change(worker, item, self.model.settle(generation, item.epoch, item.tokens))

    @rule(worker=WORKER, pick=PICK, percent=st.sampled_from([0, 50, 100, 100, 130]), stale=STALE)
    def capture(self, worker: int, pick: int, percent: int, stale: int) -> None:
        if generation := self.chosen(pick, self.model.generations):
            tokens = generation.hold * percent // 100
            item = self.settlement(generation, generation.epoch + stale, tokens=tokens)
            self.change(worker, item, self.model.settle(generation, item.epoch, tokens))

    @rule(worker=WORKER, pick=PICK, outcome=st.sampled_from(["final", "lost", "lost"]), stale=STALE)
    def void(self, worker: int, pick: int, outcome: str, stale: int) -> None:
        if generation := self.chosen(pick, self.model.generations):
            item = self.settlement(generation, generation.epoch + stale, outcome=outcome)
            self.change(worker, item, self.model.settle(generation, item.epoch, outcome=outcome))

    @rule(worker=WORKER, pick=PICK, stale=STALE)
    def accept(self, worker: int, pick: int, stale: int) -> None:
        if generation := self.chosen(pick, self.model.generations):
            epoch = generation.epoch + stale
            item = Accept(self.customer.id, "live", generation.id, epoch, ATTEMPT)
            self.change(worker, item, self.model.accept(generation, epoch))

    @rule(worker=WORKER, pick=PICK, stale=STALE)
    def doubt(self, worker: int, pick: int, stale: int) -> None:
        if generation := self.chosen(pick, self.model.generations):
            epoch = generation.epoch + stale
            item = Doubt(self.customer.id, "live", generation.id, epoch)
            self.change(worker, item, self.model.doubt(generation, epoch))

    @rule(worker=WORKER, hold=HOLD, delay_ms=st.integers(0, 6))
    def crash_while_it_opens(self, worker: int, hold: int, delay_ms: int) -> None:
        """All of it was done or nothing; which one, only the rows can tell."""
        wanted = self.wanted(worker, hold, None, new_id().bytes)
        opened = self.world.run(self.customer.crash_while_it_opens(worker, wanted, delay_ms / 2000))
        if opened:
            assert self.model.open(wanted)[0] == "held"

    # What happens at once

    @rule(hold=st.sampled_from([1, 90, 300]), count=st.integers(2, 8))
    def rush(self, hold: int, count: int) -> None:
        """As many get through as there is room for, and it does not matter by which worker they came."""
        wanted = [self.wanted(i % 3, hold, None, new_id().bytes) for i in range(count)]
        room = [self.model.available // hold]
        if (left := self.model.budget_left(wanted[0])) is not None:
            room.append(max(left, 0) // hold)
        answers = self.at_once(
            [self.journal(i % 3).open(item_of(self.customer, g)) for i, g in enumerate(wanted)]
        )
        assert {a[0] for a in answers} <= {"held", "insufficient", "over budget"}
        through = [g for g, answer in zip(wanted, answers, strict=True) if answer[0] == "held"]
        assert len(through) == min(count, *room)
        for generation in through:
            self.model.hold(generation)

    @rule(hold=st.sampled_from([1, 300]), count=st.integers(2, 6))
    def twins(self, hold: int, count: int) -> None:
        """Equal requests with one key: one of them makes it, all others find it."""
        idempotency_key = new_id().hex
        wanted = [self.wanted(i % 3, hold, idempotency_key, b"twin") for i in range(count)]
        answers = self.at_once(
            [self.journal(i % 3).open(item_of(self.customer, g)) for i, g in enumerate(wanted)]
        )
        through = [g for g, answer in zip(wanted, answers, strict=True) if answer[0] == "held"]
        if through:
            assert len(through) == 1
            assert self.model.open(through[0])[0] == "held"
            others = {answer for answer in answers if answer[0] != "held"}
            assert others == {("existing", through[0].id, "running")}
        else:
            assert {answer[0] for answer in answers} == {self.model.open(wanted[0])[0]}

    @rule(pick=PICK, capturer=WORKER, voider=WORKER, outcome=st.sampled_from(["final", "lost"]))
    def tug(self, pick: int, capturer: int, voider: int, outcome: str) -> None:
        """Two end one epoch: one wins."""
        generation = self.chosen(pick, [g for g in self.model.generations if g.is_open])
        if generation is None:
            return
        both = (
            self.settlement(generation, generation.epoch, tokens=generation.hold),
            self.settlement(generation, generation.epoch, outcome=outcome),
        )
        settles = [
            self.journal(worker).settle(item, patience_s=PATIENCE_S)
            for worker, item in zip((capturer, voider), both, strict=True)
        ]
        won = [answer[0] == "settled" for answer in self.at_once(settles)]
        assert sorted(won) == [False, True]
        item = both[won.index(True)]
        self.model.settle(generation, item.epoch, item.tokens, item.outcome)

    @rule(pick=PICK, worker=WORKER, captures=st.booleans())
    def end_one_and_open_another_at_once(self, pick: int, worker: int, captures: bool) -> None:
        """One batch: what ends frees its tokens for what is opened."""
        generation = self.chosen(pick, [g for g in self.model.generations if g.is_open])
        if generation is None:
            return
        outcome = None if captures else "final"
        item = self.settlement(generation, generation.epoch, outcome=outcome)
        wanted = self.wanted(worker, self.model.available + generation.hold, None, new_id().bytes)
        journal = self.journal(worker)
        asked = [journal.open(item_of(self.customer, wanted)), journal.settle(item, patience_s=PATIENCE_S)]
        opened, settled = self.at_once(asked)
        assert settled == self.model.settle(generation, item.epoch, 0, outcome)
        assert opened == self.model.open(wanted)

    # How it is done

    def chosen(self, pick: int, among: list[Generation]) -> Generation | None:
        return among[pick % len(among)] if among else None

    def journal(self, worker: int) -> Journal:
        return self.customer.workers[worker].journal

    def wanted(
        self,
        worker: int,
        hold: int,
        idempotency_key: str | None,
        fingerprint: bytes,
        *,
        key: int = 0,
        app: str | None = None,
    ) -> Generation:
        made = self.keys[key], hold, fingerprint, idempotency_key, app, self.price_version
        return Generation(new_id(), *made, self.customer.workers[worker].id, self.model.today, [])

    def settlement(
        self, generation: Generation, epoch: int, tokens: int = 0, outcome: str | None = None
    ) -> Settle:
        row = {"answer_status": 200 if outcome is None else 503}
        images = [IMAGE] if outcome is None else []
        version = generation.price_version
        owner = self.customer.id, "live", generation.id
        return Settle(*owner, epoch, tokens, version, outcome, row, images, [ATTEMPT])

    def change(self, worker: int, item: Change, expected: Said) -> None:
        self.told(self.journal(worker).change(item, patience_s=PATIENCE_S), expected)

    def told(self, asking: Coroutine[Any, Any, Any], expected: Said) -> None:
        answer = self.world.run(said(asking))
        self.world.said[expected[0]] += 1
        assert answer == expected

    def at_once(self, asked: Iterable[Coroutine[Any, Any, Any]]) -> list[Said]:
        async def ask() -> list[Said]:
            return await asyncio.gather(*(said(one) for one in asked))

        return self.world.run(ask())


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, settings: Settings) -> Iterator[World]:
    owner, app = postgres.create_database("machine")
    upgrade(owner, lambda line: None)
    made = World(app, owner, settings)
    made.run(made.seed())
    yield made
    made.run(made.close())
    made.loop.close()


def drive(world: World, examples: int, steps: int, longest_s: float, *phases: Phase) -> None:
    """`phases` without shrinking: the steps that led to a failure are told as they were.

    Budgets count by the database's day, and the model has midnights of its own: a real one must not come between.
    """
    now = datetime.now(UTC)
    if (now + timedelta(seconds=longest_s)).date() != now.date():
        pytest.skip("the day ends before this does")
    world.counts.clear()
    world.said.clear()
    run_state_machine_as_test(
        lambda: LedgerMachine(world),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=(Phase.generate, *phases),
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


SEEN = {
    "held",
    "existing",
    "reopened",
    "absent",
    "insufficient",
    "over budget",
    "refused",
    "settled",
    "fenced",
    "done",
}


def test_whatever_happens_the_books_are_as_the_contract_says(world: World) -> None:
    drive(world, 10, 45, 60)

    assert set(world.said) == SEEN
    assert 0 < world.counts["lost"] < world.counts["bets"]


@pytest.mark.long
def test_whatever_happens_for_long_the_books_are_as_the_contract_says(world: World) -> None:
    drive(world, 120, 100, 900, Phase.shrink)

    assert set(world.said) == SEEN
