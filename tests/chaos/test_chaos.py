"""A minute of chaos in every run and five in the long one; and that each lie, had there been one, would be found."""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.callers import Told
from tests.chaos.judging import World, contradictions
from tests.chaos.running import Run, run
from tests.db.programs import open_folder

SECONDS = 60.0
LONG_MINUTES = 5.0


@contextmanager
def kept_when_it_fails() -> Iterator[Path]:
    """The gateways' logs stay where a violation was found."""
    with open_folder() as folder:
        try:
            yield folder
        except AssertionError:
            shutil.copytree(folder / "logs", folder.with_name(f"{folder.name}-logs"))
            raise


async def lived_through(seconds: float) -> Run:
    seed = random.SystemRandom().randrange(10**6)
    with kept_when_it_fails() as folder:
        made = await run(folder, seed, seconds)
        again = f"python -m tests.chaos --minutes {seconds / 60:g} --seed {seed}"
        looked_at = f"logs in {folder}-logs; the same plan again: {again}"
        assert not made.violations, "\n".join([made.summary(), *made.violations, looked_at])
    return made


@pytest.fixture(scope="module")
async def minute() -> Run:
    return await lived_through(SECONDS)


async def test_after_a_minute_of_chaos_everything_agrees(minute: Run) -> None:
    """That it was one is shown too: every kind of fault struck, and most callers got their images all the same."""
    print(minute.summary())
    words = [told.status for call in minute.world.calls for told in call.told]

    assert words.count(200) > 100
    assert words.count(402) > 0, "wallets ran dry"
    assert words.count(None) > 0, "connections broke"
    assert len(minute.faults) >= 4, "of five kinds"
    assert len(minute.world.books.prices) > 10
    assert len({line.habit for line in minute.world.invoice}) >= 5


@dataclass(frozen=True)
class Row:
    """A row of the books that is not as it was."""

    of: Any
    changed: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.changed[name] if name in self.changed else getattr(self.of, name)


def with_books(world: World, **changed: Any) -> World:
    return replace(world, books=replace(world.books, **changed))


def a_hold_that_stays(world: World) -> World:
    first, *rest = world.books.wallets
    return with_books(world, wallets=[Row(first, {"held_tokens": 5}), *rest])


def a_balance_too_low(world: World) -> World:
    first, *rest = world.books.wallets
    return with_books(world, wallets=[Row(first, {"posted_tokens": first.posted_tokens - 1}), *rest])


def a_generation_that_stays_open(world: World) -> World:
    first, *rest = world.books.generations
    return with_books(world, generations=[Row(first, {"state": "running"}), *rest])


def a_capture_that_is_missing(world: World) -> World:
    named = {told.id for call in world.calls for told in call.told if told.status == 200}
    captures = [c for c in world.books.captures if f"gen_{c.generation_id.hex}" not in named]
    return with_books(world, captures=captures)


def a_call_that_was_paid_twice(world: World) -> World:
    keyed = {call.prompt for call in world.calls if call.key}
    bought = next(g for g in world.books.generations if g.state == "captured" and g.prompt in keyed)
    paid = next(c for c in world.books.captures if c.generation_id == bought.id)
    return with_books(world, captures=[*world.books.captures, paid])


def a_refusal_that_was_charged(world: World) -> World:
    paid = {capture.generation_id for capture in world.books.captures}
    bought = {row.prompt for row in world.books.generations if row.id in paid}
    keyed = next(call for call in world.calls if call.key and call.prompt in bought)
    lied = replace(keyed, told=[*keyed.told, Told(502, "all_providers_failed", again=False)])
    return replace(world, calls=[lied, *(call for call in world.calls if call is not keyed)])


def a_bug_that_was_told(world: World) -> World:
    first, *rest = world.calls
    told = replace(first, told=[*first.told, Told(500, "internal_error", again=False)])
    return replace(world, calls=[told, *rest])


def another_price_than_was_told(world: World) -> World:
    return with_books(world, prices=dict.fromkeys(world.books.prices, 1))


def images_that_cannot_be_read(world: World) -> World:
    return replace(world, read=dict.fromkeys(world.read))


def an_image_of_other_bytes(world: World) -> World:
    return replace(world, read={**world.read, next(iter(world.read)): "0" * 64})


def an_attempt_that_was_not_recorded(world: World) -> World:
    billed = {line.id for line in world.invoice}
    first = next(a for a in world.books.attempts if a.upstream_id in billed)
    return with_books(world, attempts=[a for a in world.books.attempts if a is not first])


def a_call_that_was_recorded_twice(world: World) -> World:
    billed = {line.id for line in world.invoice}
    first = next(a for a in world.books.attempts if a.upstream_id in billed)
    return with_books(world, attempts=[*world.books.attempts, first])


def a_line_that_nobody_ordered(world: World) -> World:
    extra = replace(world.invoice[0], id="req-0")
    return replace(world, invoice=[*world.invoice, extra])


LIES: dict[Callable[[World], World], str] = {
    a_hold_that_stays: "are still held",
    a_balance_too_low: "its payments leave",
    a_generation_that_stays_open: "is still running",
    a_capture_that_is_missing: "was told to cost",
    a_call_that_was_paid_twice: "was paid 2 times",
    a_refusal_that_was_charged: "was refused for good, and paid",
    a_bug_that_was_told: "was told of a bug",
    another_price_than_was_told: "says",
    images_that_cannot_be_read: "has links that give [None",
    an_image_of_other_bytes: "has links that give",
    an_attempt_that_was_not_recorded: "maps to no attempt",
    a_call_that_was_recorded_twice: "stands in 2 attempts",
    a_line_that_nobody_ordered: "maps to no attempt",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
async def test_it_would_be_found(minute: Run, lie: Callable[[World], World]) -> None:
    found = contradictions(lie(minute.world))

    assert any(LIES[lie] in says for says in found), found


@pytest.mark.long
async def test_five_minutes_of_chaos() -> None:
    print((await lived_through(LONG_MINUTES * 60)).summary())
