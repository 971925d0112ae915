"""The contract of the ledger holds in every state that crashes, late workers and duplicates can lead to."""

from dataclasses import replace

import pytest

from tests.journal.exploring import Exploration, explore
from tests.journal.state_model import Rules

TWINS = Rules()
"""Two requests with one key: attached, replayed, and run again after a loss, three times at most."""
RIVALS = Rules(keys=("fox", None), epochs=1)
"""Two generations at once, of which the wallet holds for one."""
RICH_RIVALS = replace(RIVALS, posted=4)

JOBS = Rules(keys=(None,), epochs=2, jobs=True)
"""A job that two workers may find, that its caller may cancel, and that is queued again when its worker dies."""

SHARED = {
    "submit", "dispatch", "provider answers", "provider refuses", "store object", "settle", "respond image",
    "respond error", "crash", "lease expires", "late wake is fenced", "duplicate waits", "duplicate replays images",
    "duplicate replays error", "sweeper looks", "sweeper crashes", "sweeper comes late", "sweeper rolls forward",
    "sweeper voids",
}  # fmt: skip


@pytest.fixture(scope="module")
def twins() -> Exploration:
    return explore(TWINS)


@pytest.mark.parametrize("rules", [RIVALS, RICH_RIVALS])
def test_two_generations_of_one_wallet_keep_every_invariant(rules: Rules) -> None:
    found = explore(rules)

    assert (found.violation, found.trace) == (None, [])
    assert 2_000 < found.states < 10_000
    assert found.actions == SHARED | ({"too little money"} if rules is RIVALS else set())


def test_two_requests_with_one_key_keep_every_invariant(twins: Exploration) -> None:
    assert (twins.violation, twins.trace) == (None, [])
    assert 2_000 < twins.states < 10_000
    assert twins.actions == SHARED | {"reopen"}


@pytest.mark.parametrize("rules", [TWINS, RIVALS, RICH_RIVALS])
def test_without_compare_and_set_the_ledger_lies(rules: Rules) -> None:
    found = explore(replace(rules, compare_and_set=False))

    assert found.violation is not None
    assert found.violation[:2] in ("I2", "I3", "I4", "I5", "I6")
    assert found.trace[0] == "submit"
    assert found.trace.count("submit") + found.trace.count("reopen") < 3


def test_without_a_new_epoch_the_images_of_a_late_worker_mix_with_the_new_one_s() -> None:
    found = explore(replace(TWINS, new_epochs=False))

    assert found.violation == "I7: two runs never write under one epoch's names"
    assert found.trace.count("store object") == 2
    assert "reopen" in found.trace


def test_without_the_unique_key_a_duplicate_is_paid_for_twice() -> None:
    found = explore(replace(TWINS, unique_keys=False))

    assert found.violation == "I10: one key is captured at most once"
    assert found.trace.count("settle") == 2


def test_a_trace_is_the_shortest_way_to_what_went_wrong() -> None:
    found = explore(replace(RIVALS, posted=4, compare_and_set=False))

    assert found.trace[:4] == ["submit", "lease expires", "sweeper looks", "sweeper voids"]
    assert len(found.trace) == 6


def test_a_job_keeps_every_invariant_whoever_takes_it_up() -> None:
    found = explore(JOBS)

    assert (found.violation, found.trace) == (None, [])
    assert found.states > 500
    assert {
        "begin",
        "another one was quicker",
        "cancel",
        "sweeper queues it again",
        "sweeper voids",
    } <= found.actions


def test_without_compare_and_set_two_workers_make_one_job() -> None:
    found = explore(replace(JOBS, one_begins=False))

    assert found.violation == "I7: two runs never write under one epoch's names"
    assert found.trace.count("begin") == 2
