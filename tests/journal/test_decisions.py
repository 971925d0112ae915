"""The journal's decision, alone: settlements first, each open on its own, nothing twice."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from imagegate.errors import InsufficientFunds, Unauthenticated
from imagegate.ids import new_id
from imagegate.journal.books import Books, Known
from imagegate.journal.decisions import decide
from imagegate.journal.items import Existing, Fenced, Held, Open, Outcome, Settle, Settled, Take
from imagegate.ledger.holds import Wallet

ACCOUNT, KEY = new_id(), new_id()


def books(posted: int, *open_holds: int) -> tuple[Books, list[UUID]]:
    ids = [new_id() for _ in open_holds]
    wallet = Wallet(ACCOUNT, "live", posted, sum(open_holds), 1, 1)
    known = {
        i: Known(ACCOUNT, "live", i, "running", 1, hold) for i, hold in zip(ids, open_holds, strict=True)
    }
    return Books({wallet.key: wallet}, known, {KEY}), ids


def wanted(tokens: int, idempotency_key: str | None = None) -> Open:
    return Open(ACCOUNT, "live", new_id(), KEY, tokens, idempotency_key)


def test_an_open_that_does_not_fit_does_not_stop_the_next_one() -> None:
    state, _ = books(100)

    outcomes, rows = decide([wanted(60), wanted(50), wanted(40)], state)

    assert [type(o) for o in outcomes] == [Held, InsufficientFunds, Held]
    assert (rows.wallets[0]["posted_tokens"], rows.wallets[0]["held_tokens"]) == (100, 100)


def test_a_settlement_frees_its_money_for_an_open_that_arrived_before_it() -> None:
    state, (first,) = books(100, 100)

    outcomes, _ = decide([wanted(100), Settle(ACCOUNT, "live", first, 1, outcome="final")], state)

    assert [type(o) for o in outcomes] == [Held, Settled]


def test_the_second_settlement_of_a_generation_is_fenced() -> None:
    state, (first,) = books(100, 40)
    capture = Settle(ACCOUNT, "live", first, 1, tokens=40)

    outcomes, rows = decide([capture, capture, replace(capture, outcome="lost")], state)

    assert outcomes == [Settled(60), Fenced("captured"), Fenced("captured")]
    assert [t["tokens"] for t in rows.transfers] == [40]


def test_a_settlement_of_another_epoch_or_another_account_is_fenced() -> None:
    state, (first,) = books(100, 40)

    outcomes, rows = decide(
        [Settle(ACCOUNT, "live", first, 2, tokens=40), Settle(new_id(), "live", first, 1, tokens=40)], state
    )

    assert outcomes == [Fenced("running"), Fenced(None)]
    assert not rows.tables()


def test_a_capture_never_exceeds_its_hold_and_the_rest_is_a_loss() -> None:
    state, (first,) = books(100, 40)

    _, rows = decide([Settle(ACCOUNT, "live", first, 1, tokens=90)], state)

    assert [(t["debit"], t["tokens"]) for t in rows.transfers] == [("wallet", 40), ("loss", 50)]
    assert rows.updated[first]["charged_tokens"] == 40


def test_a_capture_of_nothing_makes_no_transfer() -> None:
    state, (first,) = books(100, 40)

    outcomes, rows = decide([Settle(ACCOUNT, "live", first, 1, tokens=0)], state)

    assert (outcomes, rows.transfers) == ([Settled(100)], [])


def test_two_equal_idempotency_keys_in_one_batch_take_one_hold() -> None:
    state, _ = books(100)
    first, second = wanted(30, "k"), wanted(30, "k")

    outcomes, rows = decide([first, second], state)

    assert outcomes[1] == Existing(first.generation_id, "running", b"")
    assert rows.wallets[0]["held_tokens"] == 30


LEFT = {"key_id": KEY, "fingerprint": b"fox"}


def told_of_the_next(item: Settle | Take, **known: object) -> Outcome:
    """What an equal request without a key is told after `item`, of a generation of which `known` is true."""
    state, (first,) = books(200, 40)
    state.generations[first] = replace(state.generations[first], **{**LEFT, **known})
    _, outcome = decide([replace(item, generation_id=first), replace(wanted(40), fingerprint=b"fox")], state)[
        0
    ]
    return outcome


def test_what_a_dead_worker_left_is_given_to_the_next_equal_request() -> None:
    rescue = Settle(ACCOUNT, "live", new_id(), 1, tokens=40, abandoned=True)
    taking = Take(ACCOUNT, "live", new_id(), 1, new_id(), abandoned=True)

    for item, state in ((rescue, "captured"), (taking, "running")):
        adopted = told_of_the_next(item)
        assert isinstance(adopted, Existing)
        assert adopted.state == state


def test_what_a_dead_worker_left_is_nobody_else_s_once_a_retry_waits_for_it_or_it_has_a_key() -> None:
    rescue = Settle(ACCOUNT, "live", new_id(), 1, tokens=40, abandoned=True)
    taking = Take(ACCOUNT, "live", new_id(), 1, new_id(), abandoned=True)

    for item in (rescue, taking):
        assert isinstance(told_of_the_next(item, claims=1), Held)
        assert isinstance(told_of_the_next(item, idempotency_key="k"), Held)
        assert isinstance(told_of_the_next(replace(item, abandoned=False)), Held)
    assert isinstance(told_of_the_next(replace(rescue, outcome="lost")), Held)


def test_a_revoked_key_spends_nothing() -> None:
    state, _ = books(100)
    state.usable_keys = set()

    outcomes, rows = decide([wanted(1)], state)

    assert isinstance(outcomes[0], Unauthenticated)
    assert not rows.tables()


@given(
    posted=st.integers(0, 1000),
    opens=st.lists(st.integers(0, 400), max_size=12),
    ends=st.lists(st.tuples(st.integers(0, 300), st.sampled_from([None, "final", "lost"])), max_size=6),
)
def test_whatever_a_batch_holds_the_wallet_stays_whole(
    posted: int, opens: list[int], ends: list[tuple[int, str | None]]
) -> None:
    holds = [tokens for tokens, _ in ends]
    state, ids = books(posted + sum(holds), *holds)
    items: list[Open | Settle] = [wanted(tokens) for tokens in opens]
    items += [
        Settle(ACCOUNT, "live", i, 1, tokens=tokens, outcome=outcome)
        for i, (tokens, outcome) in zip(ids, ends, strict=True)
    ]

    outcomes, rows = decide(items, state)

    wallet = state.wallets[ACCOUNT, "live"]
    granted = sum(
        o.hold_tokens
        for o, got in zip(items, outcomes, strict=True)
        if isinstance(o, Open) and isinstance(got, Held)
    )
    captured = sum(t["tokens"] for t in rows.transfers)
    assert 0 <= wallet.held_tokens == granted <= wallet.posted_tokens
    assert wallet.posted_tokens == posted + sum(holds) - captured
    assert [t["wallet_version"] for t in rows.transfers] == list(range(2, 2 + len(rows.transfers)))
