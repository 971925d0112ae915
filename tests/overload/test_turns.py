"""Who begins when, and how soon a refusal is told, without a gateway around them."""

import asyncio
from time import monotonic
from types import SimpleNamespace
from uuid import UUID

import pytest

from imagegate import turns as module
from imagegate.turns import AT_ONCE, PER_S, PER_TURN, Refusals, Turns

HOG, QUIET = UUID(int=1), UUID(int=2)


async def begin(turns: Turns, accounts: list[UUID]) -> list[list[UUID]]:
    """Who has begun after each turn of the loop."""
    begun: list[UUID] = []
    rounds: list[list[UUID]] = []

    async def one(account: UUID) -> None:
        await turns.come(account)
        begun.append(account)

    tasks = [asyncio.create_task(one(account)) for account in accounts]
    while len(begun) < len(accounts):
        await asyncio.sleep(0)
        rounds.append(begun[sum(map(len, rounds)) :])
    await asyncio.gather(*tasks)
    return rounds


async def test_a_few_begin_in_each_turn_of_the_loop_and_all_do() -> None:
    rounds = await begin(Turns(), [HOG] * 50)

    assert max(map(len, rounds)) == PER_TURN
    assert sum(map(len, rounds)) == 50


async def test_who_comes_alone_never_waits() -> None:
    turns, waited = Turns(), list[float]()

    for _ in range(20):
        await asyncio.wait_for(turns.come(HOG), 1)
        waited.append(turns.waited_s)
        await asyncio.sleep(0.001)

    assert waited == [0.0] * 20


async def test_accounts_take_turns() -> None:
    rounds = await begin(Turns(), [HOG] * 40 + [QUIET] * 2)
    order = [account for begun in rounds for account in begun]

    assert max(place for place, account in enumerate(order) if account == QUIET) < 3 * PER_TURN
    assert order.count(HOG) == 40


async def test_while_it_is_held_nobody_begins_and_then_all_do() -> None:
    turns, begun = Turns(), list[int]()

    async def one(number: int) -> None:
        await turns.come(HOG)
        begun.append(number)

    turns.hold(True)
    tasks = [asyncio.create_task(one(number)) for number in range(3 * PER_TURN)]
    await asyncio.sleep(0.01)
    meanwhile = list(begun)
    turns.hold(False)
    turns.hold(False)
    await asyncio.wait_for(asyncio.gather(*tasks), 1)

    assert (meanwhile, begun) == ([], list(range(3 * PER_TURN)))
    assert turns.waited_s == 0.0


async def test_a_hold_in_between_forgets_nobody() -> None:
    turns = Turns()
    tasks = [asyncio.create_task(turns.come(HOG)) for _ in range(5 * PER_TURN)]
    await asyncio.sleep(0)
    turns.hold(True)
    await asyncio.sleep(0.01)
    late = [asyncio.create_task(turns.come(QUIET)) for _ in range(PER_TURN)]
    turns.hold(False)

    await asyncio.wait_for(asyncio.gather(*tasks, *late), 1)


async def test_whoever_gives_up_holds_nobody_up() -> None:
    turns = Turns()
    waiting = [asyncio.create_task(turns.come(HOG)) for _ in range(5 * PER_TURN)]
    await asyncio.sleep(0)
    for task in waiting[PER_TURN:-1]:
        task.cancel()

    await asyncio.wait_for(waiting[-1], 1)

    assert turns.waited_s == 0.0


async def test_the_one_who_has_waited_longest_tells_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, now = Turns(), [10.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])

    tasks = [asyncio.create_task(turns.come(HOG)) for _ in range(PER_TURN + 1)]
    await asyncio.sleep(0)
    now[0] = 10.5
    waited_s, waiting = turns.waited_s, turns.waiting
    await asyncio.gather(*tasks)

    assert (waited_s, waiting, turns.waiting) == (0.5, 1, 0)
    assert turns.waited_s == 0.0


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)

    now = monotonic()
    monkeypatch.setattr(module, "monotonic", lambda: now)
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))  # of this module alone
    return waits


async def test_an_account_that_asks_again_and_again_is_refused_later(slept: list[float]) -> None:
    refusals = Refusals()

    for _ in range(AT_ONCE):
        await refusals.pace(HOG)
    at_once = list(slept)
    for _ in range(200):
        await refusals.pace(HOG)
    await refusals.pace(QUIET)

    assert [wait for wait in at_once if wait > 1e-9] == []
    assert slept[len(at_once) + 1] == pytest.approx(2 / PER_S, abs=1 / PER_S)
    assert max(slept) <= module.LONGEST_S
    assert slept[-1] == max(slept)
