"""The counts by which a process sheds, without a gateway around them."""

import asyncio
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from imagegate import load as loads
from imagegate.errors import Overloaded
from imagegate.load import Load
from imagegate.settings import Settings
from imagegate.turns import Turns

MIB = 1024 * 1024
HOG, OTHER = UUID(int=1), UUID(int=2)


def load_of(**changed: int) -> Load:
    bounds = {"max_in_flight": 4, "max_body_bytes": MIB, "max_upload_bytes": MIB, "max_held_bytes": 10 * MIB}
    return Load(Settings(secret=SecretStr("s" * 32), **{**bounds, **changed}))


def test_one_account_alone_has_every_place() -> None:
    load = load_of()

    for _ in range(4):
        load.enter(HOG)
    with pytest.raises(Overloaded):
        load.enter(HOG)

    assert load.in_flight == 4
    assert load.shed["generations"] == 1


def test_while_others_wait_an_account_has_half_of_the_places() -> None:
    load = load_of()
    for _ in range(4):
        load.enter(HOG)
    with pytest.raises(Overloaded):
        load.enter(OTHER)

    load.leave(HOG)
    with pytest.raises(Overloaded):
        load.enter(HOG)
    load.enter(OTHER)

    assert load.shed == {"late": 0, "generations": 1, "share": 1, "bytes": 0}
    load.leave(HOG)
    load.leave(HOG)
    load.enter(HOG)
    assert load.accounts == {HOG: 2, OTHER: 1}


def test_whoever_gave_up_waiting_no_longer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    load = load_of()
    for _ in range(4):
        load.enter(HOG)
    with pytest.raises(Overloaded):
        load.enter(OTHER)
    load.leave(HOG)

    monkeypatch.setattr(loads, "WAITED_S", 0.0)
    load.enter(HOG)

    assert load.accounts == {HOG: 4}


def test_accounts_that_have_nothing_in_flight_are_forgotten() -> None:
    load = load_of()

    for _ in range(1000):
        account = uuid4()
        load.enter(account)
        load.leave(account)

    assert (load.in_flight, dict(load.accounts)) == (0, {})


class Clock:
    """Twenty milliseconds from look to look."""

    def __init__(self, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        self.load, self.now = load, 1000.0
        monkeypatch.setattr(loads, "monotonic", lambda: self.now)

    def look(self, seconds: float, late_s: float, waited_s: float = 0.0) -> bool:
        """Whether a request is shed after so long of it."""
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.load.looked(late_s, waited_s)
        try:
            self.load.check_late()
        except Overloaded:
            return True
        return False


def test_a_burst_is_worked_off_and_an_overload_is_shed_until_the_loop_is_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = load_of(shed_late_ms=50)
    clock = Clock(load, monkeypatch)

    burst = clock.look(0.4, late_s=0.2)
    over = clock.look(0.1, late_s=0.0)
    overload = clock.look(0.6, late_s=0.2)
    calm = clock.look(0.02, late_s=0.01)

    assert (burst, over, overload, calm) == (False, False, True, False)
    assert load.shed["late"] == 1


def test_an_overload_that_comes_and_goes_is_shed_at_once_and_one_long_step_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = load_of(shed_late_ms=50)
    clock = Clock(load, monkeypatch)
    first = clock.look(0.6, late_s=0.2)
    clock.look(1.0, late_s=0.0)

    step = clock.look(0.04, late_s=0.3)
    again = clock.look(0.02, late_s=0.2)
    clock.look(loads.WARY_S + 1, late_s=0.0)
    later = clock.look(0.4, late_s=0.2)

    assert (first, step, again, later) == (True, False, True, False)


def test_a_queue_of_beginners_is_worked_off_once_and_kept_short_after_some_were_shed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load, waited = load_of(shed_late_ms=100), [0.0]
    clock = Clock(load, monkeypatch)
    monkeypatch.setattr(Turns, "waited_s", property(lambda _: waited[0]))

    told = []
    for waited_s in (loads.BURST_TURN_S - 0.1, loads.BURST_TURN_S + 0.1, 0.3, 0.2, 0.3):
        waited[0] = waited_s
        told.append(clock.look(1.0, late_s=0.0))

    assert told == [False, True, True, False, True]


def test_a_burst_of_more_than_are_soon_worked_off_is_shed(monkeypatch: pytest.MonkeyPatch) -> None:
    load, waiting = load_of(shed_late_ms=100), [loads.BURST_WAITING]
    clock = Clock(load, monkeypatch)
    monkeypatch.setattr(Turns, "waiting", property(lambda _: waiting[0]))

    burst = clock.look(1.0, late_s=0.0)
    waiting[0] += 1
    crowd = clock.look(0.1, late_s=0.0)

    assert (burst, crowd) == (False, True)


def test_a_journal_that_is_behind_sheds_before_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(load_of(shed_late_ms=50), monkeypatch)

    assert not clock.look(1.0, late_s=0.0, waited_s=0.1)
    assert clock.look(1.0, late_s=0.0, waited_s=0.2)


def test_a_provider_has_half_of_the_calls_unless_it_is_said_otherwise() -> None:
    usual, said = load_of(), load_of(max_provider_calls=1)

    with usual.calling("slow"), said.calling("slow"):
        assert (usual.is_busy("slow"), said.is_busy("slow"), said.is_busy("quick")) == (False, True, False)
        with usual.calling("slow"):
            assert usual.is_busy("slow")
    assert not usual.is_busy("slow")


async def test_bodies_wait_for_room_in_the_order_of_arrival() -> None:
    load, done = load_of(), list[int]()

    async def read(number: int, size: int) -> None:
        async with load.reading(size):
            await asyncio.sleep(0.01)
            done.append(number)

    # The last would fit beside the first at once, and still comes last.
    await asyncio.gather(read(1, 3 * MIB), read(2, 3 * MIB), read(3, 3 * MIB), read(4, MIB))

    assert done == [1, 2, 3, 4]
    assert load.bytes.peak_bytes <= load.bytes.budget_bytes
    assert load.bytes.held_bytes == 0


async def test_a_body_that_finds_no_room_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    load = load_of()
    monkeypatch.setattr(loads, "PATIENCE_S", 0.01)

    async with load.reading(3 * MIB):
        with pytest.raises(Overloaded):
            async with load.reading(3 * MIB):
                pytest.fail("there was no room")

    async with load.reading(4 * MIB):
        assert load.bytes.held_bytes == 10 * MIB
    assert load.bytes.held_bytes == 0


async def test_whoever_stops_waiting_leaves_its_turn_to_the_next() -> None:
    load = load_of()

    async def read(size: int) -> None:
        async with load.reading(size):
            pass

    async with load.reading(3 * MIB):
        left, kept = asyncio.create_task(read(3 * MIB)), asyncio.create_task(read(2 * MIB))
        await asyncio.sleep(0)
        left.cancel()
    await asyncio.wait_for(kept, 1)

    assert left.cancelled()
    assert load.bytes.held_bytes == 0


async def test_whoever_gives_up_no_longer_stands_in_the_way() -> None:
    load, done = load_of(), list[str]()

    async def read(name: str, size: int) -> None:
        async with load.reading(size):
            done.append(name)

    async with load.reading(2 * MIB):
        large = asyncio.create_task(read("large", 3 * MIB))
        await asyncio.sleep(0)
        small = asyncio.create_task(read("small", MIB))
        await asyncio.sleep(0)
        assert done == []
        large.cancel()
        await asyncio.wait_for(small, 1)

    assert done == ["small"]
    assert load.bytes.held_bytes == 0


async def test_a_turn_that_comes_together_with_a_cancel_is_given_back() -> None:
    load = load_of()

    async def read() -> None:
        async with load.reading(3 * MIB):
            pytest.fail("it was cancelled")

    async with load.reading(3 * MIB):
        waiting = asyncio.create_task(read())
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})

    assert waiting.cancelled()
    assert load.bytes.held_bytes == 0


async def test_a_body_of_unknown_length_is_refused_once_it_is_too_much() -> None:
    load = load_of()

    async with load.reading(3 * MIB):
        async with load.reading(0) as lease:
            lease.more(MIB // 2)
            with pytest.raises(Overloaded):
                lease.more(3 * MIB)
        assert load.bytes.held_bytes == int(2.5 * 3 * MIB)

    assert load.bytes.peak_bytes <= load.bytes.budget_bytes
    assert load.bytes.held_bytes == 0
