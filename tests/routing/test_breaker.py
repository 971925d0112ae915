"""The breaker of one offering, against a model that keeps every call in a list."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from imagegate.routing.breaker import (
    FAILED_SHARE,
    FAILURES_IN_A_ROW,
    FIRST_COOL_DOWN_S,
    JITTER,
    LEAST_FAILURES,
    LONGEST_COOL_DOWN_S,
    SLICE_S,
    WINDOW_S,
    Breaker,
    Call,
)

OVER = FIRST_COOL_DOWN_S * (1 + JITTER)


def failing(breaker: Breaker, times: int, now: float = 0.0, chance: float = 0.0) -> None:
    for _ in range(times):
        breaker.fail(breaker.send(now), now, chance)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    failing(breaker, FAILURES_IN_A_ROW, now)
    return breaker


def test_failures_in_a_row_open_it_and_one_success_between_does_not() -> None:
    steady, broken = Breaker(), Breaker()

    for _ in range(3):
        failing(steady, FAILURES_IN_A_ROW - 1)
        for _ in range(20):
            steady.succeed(steady.send(0.0), 0.0)
    failing(broken, FAILURES_IN_A_ROW)

    assert (steady.state(0.0), broken.state(0.0)) == ("closed", "open")
    assert broken.open_until == FIRST_COOL_DOWN_S


def test_half_of_the_calls_failing_opens_it_and_few_calls_do_not() -> None:
    breaker = Breaker()

    states = []
    for _ in range(LEAST_FAILURES):
        breaker.succeed(breaker.send(1.0), 1.0)
        failing(breaker, 1, 1.0)
        states.append(breaker.state(1.0))

    assert states == ["closed"] * (LEAST_FAILURES - 1) + ["open"]


def test_failures_that_left_the_window_count_no_more() -> None:
    breaker = Breaker()

    for number in range(LEAST_FAILURES * 4):
        now = number * WINDOW_S / (LEAST_FAILURES - 1)
        breaker.succeed(breaker.send(now), now)
        failing(breaker, 1, now)

    assert breaker.state(now) == "closed"
    assert breaker.counted(now)[2] <= LEAST_FAILURES


def test_after_the_cool_down_one_real_call_decides() -> None:
    good, bad = opened(), opened()
    before = good.state(FIRST_COOL_DOWN_S - 0.1)

    for breaker in (good, bad):
        assert breaker.state(FIRST_COOL_DOWN_S) == "half_open"
    good.succeed(good.send(FIRST_COOL_DOWN_S), FIRST_COOL_DOWN_S + 60)
    bad.fail(bad.send(FIRST_COOL_DOWN_S), FIRST_COOL_DOWN_S + 60, 0.0)

    assert before == "open"
    assert good.state(FIRST_COOL_DOWN_S + 60) == "closed"
    assert good.counted(FIRST_COOL_DOWN_S + 60) == (0, 0, 0)
    assert (bad.state(FIRST_COOL_DOWN_S + 60), bad.cool_down_s) == ("open", 2 * FIRST_COOL_DOWN_S)
    assert bad.open_until == FIRST_COOL_DOWN_S + 60 + 2 * FIRST_COOL_DOWN_S


def test_cool_downs_grow_to_a_limit_and_begin_anew_after_a_success() -> None:
    breaker, now = opened(), 0.0
    for _ in range(12):
        assert breaker.open_until is not None
        now = breaker.open_until
        failing(breaker, 1, now, chance=1.0)
    longest = breaker.open_until - now

    breaker.succeed(breaker.send(breaker.open_until), breaker.open_until)
    failing(breaker, FAILURES_IN_A_ROW, now)

    assert longest == LONGEST_COOL_DOWN_S * (1 + JITTER)
    assert breaker.cool_down_s == FIRST_COOL_DOWN_S


def test_a_call_before_its_time_that_fails_lengthens_nothing() -> None:
    breaker = opened()
    until = breaker.open_until

    failing(breaker, 3, 1.0)

    assert (breaker.open_until, breaker.probing, breaker.cool_down_s) == (until, False, FIRST_COOL_DOWN_S)


def test_calls_that_were_under_way_say_nothing_about_what_came_after() -> None:
    breaker = Breaker()
    slow = [breaker.send(0.0) for _ in range(20)]
    failing(breaker, FAILURES_IN_A_ROW)
    until = breaker.open_until

    breaker.succeed(slow.pop(), 1.0)
    assert breaker.open_until == until
    breaker.succeed(breaker.send(until), until)
    for call in slow:
        breaker.fail(call, until + 1, 0.0)

    assert breaker.state(until + 1) == "closed"


def test_a_call_whose_end_says_nothing_lets_another_one_decide() -> None:
    breaker = opened()

    breaker.forget(breaker.send(OVER))

    assert not breaker.probing
    breaker.succeed(breaker.send(OVER), OVER)
    assert breaker.state(OVER) == "closed"


@dataclass
class Ended:
    """The model: all that was sent and all that ended, with their moments; nothing is summed."""

    sent: list[float] = field(default_factory=list)
    ends: list[tuple[float, bool]] = field(default_factory=list)

    def within(self, now: float) -> list[bool]:
        oldest = (int(now / SLICE_S) - WINDOW_S / SLICE_S + 1) * SLICE_S
        return [good for at, good in self.ends if at >= oldest]

    def opens(self, now: float) -> bool:
        """Whether the failure that was just added is one too many."""
        row = 0
        for _, good in self.ends:
            row = 0 if good else row + 1
        failed = self.within(now).count(False)
        share = failed >= LEAST_FAILURES and failed >= FAILED_SHARE * len(self.within(now))
        return row >= FAILURES_IN_A_ROW or share


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "succeed", "fail", "forget"]),
        st.integers(0, 7),
        st.sampled_from([0.0, 0.4, 7.0, 16.0, 90.0, 400.0]),
        st.floats(0, 1),
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_it_does_what_the_model_says(steps: list[tuple[str, int, float, float]]) -> None:
    """One call at a time while it is not closed, as the line asks; any number while it is."""
    breaker, model, now, under_way = Breaker(), Ended(), 0.0, list[Call]()
    for verb, which, passed, chance in steps:
        now += passed
        before = breaker.state(now)
        if verb == "send":
            if before == "closed" or not breaker.probing:
                call = breaker.send(now)
                assert call.probe == (before != "closed")
                under_way.append(call)
                model.sent.append(now)
            continue
        if not under_way:
            continue
        call = under_way.pop(which % len(under_way))
        current, until = call.era == breaker.era, breaker.open_until
        if verb == "forget":
            breaker.forget(call)
            assert breaker.open_until == until
        elif verb == "succeed":
            breaker.succeed(call, now)
            if current and not call.probe:
                model.ends.append((now, True))
            elif current:
                model = Ended()
            assert breaker.open_until == (None if current else until)
        else:
            breaker.fail(call, now, chance)
            if not current:
                assert breaker.open_until == until
            elif call.probe:
                reopened = until is not None and call.since >= until
                assert (breaker.open_until != until) == reopened
            else:
                model.ends.append((now, False))
                assert (breaker.open_until is not None) == model.opens(now)
        if breaker.open_until is not None and breaker.open_until != until:
            left_s = breaker.open_until - now
            assert FIRST_COOL_DOWN_S <= left_s <= LONGEST_COOL_DOWN_S * (1 + JITTER)
        probes = [call for call in under_way if call.probe and call.era == breaker.era]
        assert breaker.probing == bool(probes)
        assert len(probes) <= 1
