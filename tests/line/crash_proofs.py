"""Where a gateway may die, and what must hold afterwards, whatever its callers were told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imagegate.ids import public_id
from tests.conftest import LIVE_TOKENS
from tests.line import crash_callers as callers
from tests.line.crash_adapter import IMAGE_TOKENS
from tests.line.crash_callers import Told

IMAGES = 2


@dataclass(frozen=True)
class Point:
    """Where the gateway dies. opened: a hold was taken; asked: a provider has the work; kept: images survive.

    ended: their capture was committed. polled: at a provider that works under an id of its own. epochs: one of them is
    captured in the end. heir: where the successor, too, dies, while it goes on with the work.
    """

    name: str
    opened: bool = False
    asked: bool = False
    kept: bool = False
    ended: bool = False
    polled: bool = False
    epochs: tuple[int, ...] = (1,)
    heir: str | None = None

    @property
    def label(self) -> str:
        return f"{self.name}{', polled' * self.polled}{', then ' * bool(self.heir)}{self.heir or ''}"

    @property
    def calls(self) -> int:
        """How often a provider is asked until the caller has its images."""
        return 2 if self.asked and not self.kept else 1


def lost(name: str, *, asked: bool = True, polled: bool = False) -> Point:
    return Point(name, opened=True, asked=asked, polled=polled, epochs=(2,))


def kept(name: str, *, ended: bool = False) -> Point:
    return Point(name, opened=True, asked=True, kept=True, ended=ended)


def polled(name: str, *epochs: int, heir: str | None = None) -> Point:
    return Point(name, opened=True, asked=True, kept=True, polled=True, epochs=epochs, heir=heir)


HALF_ANSWER = kept("half_answer", ended=True)
"""No failpoint: the answer is cut on its way."""
POINTS = (
    Point("after_recall"),
    Point("after_admission"),
    Point("before_open"),
    lost("after_hold", asked=False),
    lost("before_dispatch", asked=False),
    lost("after_accept", polled=True),
    polled("after_accepted", 2),
    polled("after_answer", 2),
    polled("after_put", 1, 2),
    polled("before_settle", 1),
    lost("after_answer"),
    lost("before_store"),
    kept("after_put"),
    kept("after_store"),
    kept("before_settle"),
    kept("after_settle", ended=True),
    kept("before_answer", ended=True),
    HALF_ANSWER,
)
TWICE = (
    polled("after_accepted", 3, heir="before_store"),
    polled("after_accepted", 2, 3, heir="after_put"),
    polled("after_answer", 2, heir="before_settle"),
)
"""The successor dies as well."""


@dataclass(frozen=True)
class Facts:
    """What the ledger and the store know of one logical call, whose account has made no other.

    objects: what is stored, by name, with the checksum of its bytes. calls: how often a provider was asked.
    """

    generations: Sequence[Any]
    captures: Sequence[Any]
    images: Sequence[Any]
    attempts: Sequence[Any]
    posted_tokens: int
    held_tokens: int
    objects: dict[str, str]
    calls: int

    @property
    def at_risk(self) -> int:
        """Attempts that a provider may have billed."""
        return sum(attempt.at_risk_usd is not None for attempt in self.attempts)

    def hashes(self, generation_id: str | None) -> tuple[str, ...]:
        named = (row for row in self.images if public_id("gen", row.generation_id) == generation_id)
        return tuple(row.sha256.hex() for row in named)


Claim = tuple[bool, str]
"""Whether it holds, and what it says."""


def contradictions(point: Point, caller: callers.Caller, told: Sequence[Told], facts: Facts) -> list[str]:
    """The claims that do not hold."""
    claims = [*of_the_books(facts), *of_the_answers(told, facts), *EXPECTED[caller](point, told, facts)]
    wrong = [says for holds, says in claims if not holds]
    return [f"{says}: told {told}, found {facts}" for says in wrong]


def of_the_books(facts: Facts) -> Iterator[Claim]:
    spent = sum(capture.tokens for capture in facts.captures)
    yield facts.held_tokens == 0, "nothing is held any more"
    yield facts.posted_tokens == LIVE_TOKENS - spent, "the balance has lost what was captured"
    yield all(row.state in ("captured", "voided") for row in facts.generations), "everything has ended"
    captured = [row.id for row in facts.generations if row.state == "captured"]
    yield sorted(capture.generation_id for capture in facts.captures) == captured, "one capture each"
    images = [row.generation_id for row in facts.images]
    for capture in facts.captures:
        price = images.count(capture.generation_id) * IMAGE_TOKENS
        yield capture.tokens == price > 0, "an image costs its price, and what is captured has one"
    recorded = {row.object: row.sha256.hex() for row in facts.images}
    yield facts.objects == recorded, "what is stored is paid for, and what is paid for is stored, unharmed"
    yield len(captured) <= facts.calls <= len(captured) + facts.at_risk, "a call delivered or is at risk"
    last = {row.id: row.epoch for row in facts.generations}
    ended = (row for row in facts.attempts if row.epoch == last[row.generation_id])
    yield all(getattr(row, "class") != "IN_FLIGHT" for row in ended), "every attempt has ended"


def of_the_answers(told: Sequence[Told], facts: Facts) -> Iterator[Claim]:
    captured = [public_id("gen", capture.generation_id) for capture in facts.captures]
    for answer in told:
        if answer.status == 200:
            yield captured.count(answer.id) == 1, "I8: what was answered is captured exactly once"
            yield bool(answer.hashes) and answer.hashes == facts.hashes(answer.id), "I8: with its own images"
    if any(answer.is_final_error for answer in told):
        yield not captured, "I9: after a final error nothing is charged"


def of_one_who_asked_once(point: Point, told: Sequence[Told], facts: Facts) -> Iterator[Claim]:
    """It was told nothing, and later looks at what there is."""
    states = [(row.state, row.outcome) for row in facts.generations]
    expected = ("captured", None) if point.kept else ("voided", "lost")
    yield states == [expected] * point.opened, "it is rolled forward or given back"
    yield told[0].status is None, "the connection broke"
    yield [t.status for t in told[1:]] == [200] * point.kept, "what was rolled forward can be fetched"
    yield facts.calls == point.asked, "a provider is asked no more after the crash"
    yield (facts.at_risk > 0) == (point.opened and not point.kept), "what was lost is at risk"


def of_one_with_a_key(point: Point, told: Sequence[Told], facts: Facts) -> Iterator[Claim]:
    yield [answer.status for answer in told[-2:]] == [200, 200], "it has its images in the end"
    answers = {(answer.id, answer.hashes) for answer in told if answer.status == 200}
    yield len(answers) == 1, "I10: one key, one generation, the same images"
    yield len(facts.generations) == 1, "I10: one key, one generation"
    yield (
        all(row.epoch in point.epochs for row in facts.generations),
        "it is taken over or run again, or neither",
    )
    yield len(facts.captures) == 1, "I10: one key is captured once"
    yield facts.calls == point.calls, "a provider is asked again only for what was lost"


def of_the_stock_client(point: Point, told: Sequence[Told], facts: Facts) -> Iterator[Claim]:
    yield told[-1].status == 200, "its own retries bring the images"
    yield len(facts.captures) == 1, "its own retries do not buy a second picture"
    yield facts.calls == point.calls, "a provider is asked again only for what was lost"


def of_one_without_a_key(point: Point, told: Sequence[Told], facts: Facts) -> Iterator[Claim]:
    """Of what had been captured nobody can tell whether it was answered; what a sweeper ended was not."""
    yield told[-1].status == 200, "it has its images in the end"
    yield len(facts.captures) == (2 if point.ended else 1), "it adopts what its dead gateway left"


Expectation = Callable[[Point, Sequence[Told], Facts], Iterator[Claim]]
EXPECTED: dict[callers.Caller, Expectation] = {
    callers.asks_once: of_one_who_asked_once,
    callers.asks_with_a_key: of_one_with_a_key,
    callers.asks_with_the_stock_client: of_the_stock_client,
    callers.asks_again_without_a_key: of_one_without_a_key,
    callers.asks_for_a_job: of_one_with_a_key,
}


def points_of(caller: callers.Caller) -> list[Point]:
    """Where a gateway may die under this caller: a job has no answer with images."""
    answers = ("before_answer", HALF_ANSWER.name) if caller is callers.asks_for_a_job else ()
    return [point for point in POINTS if point.name not in answers]
