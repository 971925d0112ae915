from datetime import UTC, datetime

from imagegate.routing.breaker import FAILURES_IN_A_ROW, FIRST_COOL_DOWN_S
from imagegate.routing.budget import FLOOR_PER_MIN, MOST_SAVED, SHARE, RetryBudget
from imagegate.routing.health import LONGEST_NOT_BEFORE_S, MEASURED, MOST_OFFERINGS, Health, Record
from imagegate.routing.remembering import recall, remember

BEGIN = 1_760_000_000.0


class Clock:
    """A clock that is told the time. The wall's is far ahead of the process's own."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return BEGIN + self.now


def health_at(clock: Clock, *tireless: str, chance: float = 0.0) -> Health:
    return Health(frozenset(tireless), clock=clock, wall=clock.wall, chance=lambda: chance)


def broken(health: Health, provider: str = "openai") -> Record:
    record = health.of(provider, "gpt-image-2")
    for _ in range(FAILURES_IN_A_ROW):
        health.fail(record, health.send(record))
    return record


def test_the_usual_time_is_the_median_of_the_latest_successes() -> None:
    clock = Clock()
    health = health_at(clock)
    record = health.of("openai", "gpt-image-2")

    usual = []
    for seconds in (4.0, 2.0, 90.0):
        call = health.send(record)
        clock.now += seconds
        health.succeed(record, call)
        usual.append(record.p50_s)
    for _ in range(10 * MEASURED):
        record.measured(7.0)

    assert usual == [4.0, 3.0, 4.0]
    assert (record.p50_s, len(record.seconds)) == (7.0, MEASURED)


def test_a_refusal_is_no_failure_and_no_measure() -> None:
    health = health_at(Clock())
    record = health.of("openai", "gpt-image-2")

    for _ in range(3 * FAILURES_IN_A_ROW):
        health.succeed(record, health.send(record), timed=False)

    assert health.is_clear(record)
    assert record.p50_s is None
    assert health.snapshot()[0].failures == 0


def test_one_that_rests_takes_its_place_again_for_one_call_after_its_cool_down() -> None:
    clock = Clock()
    health = health_at(clock)
    record = broken(health)

    resting = [health.is_resting(record)]
    clock.now += FIRST_COOL_DOWN_S
    resting.append(health.is_resting(record))
    with health.trying(record):
        call = health.send(record)
        resting.append(health.is_resting(record))
        health.succeed(record, call)

    assert resting == [True, False, True]
    assert health.is_clear(record)


def test_a_busy_provider_is_left_alone_as_long_as_it_asked_but_not_for_days() -> None:
    clock = Clock()
    health = health_at(clock)
    record = health.of("openai", "gpt-image-2")

    health.fail(record, health.send(record), wait_s=30)
    clear = [health.is_clear(record)]
    clock.now += 30
    clear.append(health.is_clear(record))
    health.fail(record, health.send(record), wait_s=10**6)
    longest = record.not_before - clock.now
    health.succeed(record, health.send(record))

    assert clear == [False, True]
    assert longest == LONGEST_NOT_BEFORE_S
    assert health.is_clear(record)


def test_a_tireless_provider_never_rests() -> None:
    health = health_at(Clock(), "sandbox")

    record = broken(health, "sandbox")
    health.fail(record, health.send(record), wait_s=60)

    assert health.is_clear(record)


def test_second_attempts_are_a_share_of_the_first_ones_and_a_few_a_minute() -> None:
    budget = RetryBudget(at=0.0)

    at_once = sum(budget.spend(0.0) for _ in range(100))
    for _ in range(52):
        budget.first()
    earned = sum(budget.spend(0.0) for _ in range(100))
    after_a_minute = sum(budget.spend(60.0) for _ in range(100))

    assert at_once == MOST_SAVED
    assert earned == int(52 * SHARE)
    assert after_a_minute == FLOOR_PER_MIN


def test_a_budget_is_of_a_provider_and_a_breaker_of_an_offering() -> None:
    health = health_at(Clock())
    one, other = health.of("openai", "a"), health.of("openai", "b")
    stranger = health.of("bfl", "a")

    spent = sum(health.may_try_again(one) for _ in range(100))

    assert spent == MOST_SAVED
    assert not health.may_try_again(other)
    assert health.may_try_again(stranger)


def test_while_it_rests_nothing_is_tried_again() -> None:
    health = health_at(Clock())

    assert not health.may_try_again(broken(health))


def test_a_snapshot_tells_state_until_calls_and_what_is_left() -> None:
    clock = Clock()
    health = health_at(clock)
    broken(health)
    health.succeed(fine := health.of("bfl", "flux"), health.send(fine))
    health.may_try_again(fine)

    flux, gpt = health.snapshot()
    clock.now += FIRST_COOL_DOWN_S
    later = health.snapshot()[1]

    assert (flux.provider, flux.state, flux.until, flux.p50_s, flux.calls) == ("bfl", "closed", None, 0.0, 1)
    assert flux.retries_left == MOST_SAVED - 1
    until = datetime.fromtimestamp(clock.wall(), UTC)
    assert (gpt.state, gpt.until, gpt.calls, gpt.failures) == ("open", until, 5, 5)
    assert (later.state, later.until) == ("half_open", None)


def test_however_many_offerings_there_are_it_stays_bounded() -> None:
    health = health_at(Clock())

    for number in range(MOST_OFFERINGS + 10):
        health.of("openai", f"m{number}")

    assert len(list(health)) <= MOST_OFFERINGS


def test_what_a_process_knew_is_known_to_the_next_though_its_clock_is_another() -> None:
    clock, later = Clock(5000.0), Clock(3.0)
    health, heir = health_at(clock), Health(clock=later, wall=lambda: BEGIN + 5010.0, chance=lambda: 0.5)
    record = broken(health)
    record.measured(4.0)
    health.fail(other := health.of("bfl", "flux"), health.send(other), wait_s=30)

    for known in (record, other):
        recall(heir, heir.of(known.provider, known.offering), remember(health, known))
    told, busy = heir.of("openai", "gpt-image-2"), heir.of("bfl", "flux")

    assert told.breaker.open_until == 3.0 + (FIRST_COOL_DOWN_S - 10) + 0.5 * FIRST_COOL_DOWN_S
    assert (told.p50_s, heir.is_resting(told)) == (4.0, True)
    assert busy.not_before == 3.0 + 20
    assert heir.is_resting(busy)


def test_what_cannot_be_understood_is_as_if_nothing_was_known() -> None:
    health = health_at(Clock())
    record = health.of("openai", "gpt-image-2")

    recall(health, record, {"open_until": "soon", "cool_down_s": [], "not_before": True, "p50_s": -1})

    assert health.is_clear(record)
    assert record.p50_s is None
