"""The journal's decision about async jobs: queued with their hold, begun by one worker, dropped only before that."""

from dataclasses import replace

from imagegate.ids import new_id
from imagegate.journal.books import Books, Known
from imagegate.journal.decisions import decide
from imagegate.journal.items import Begin, Done, Drop, Fenced, Held, Open, Reopened, Requeue, Settle, Settled
from imagegate.ledger.holds import Wallet

ACCOUNT, KEY, JOB, WORKER = new_id(), new_id(), new_id(), new_id()
HOOK = "https://example.com/hook"
ROW = {"answer_status": 499, "answer_code": "cancelled"}


def books(**changed: object) -> Books:
    wallet = Wallet(ACCOUNT, "live", 100, 40, 1, 1)
    known = replace(Known(ACCOUNT, "live", JOB, "queued", 1, 40, webhook_url=HOOK), **changed)  # type: ignore[arg-type]
    return Books({wallet.key: wallet}, {JOB: known}, {KEY})


def begin(epoch: int = 1) -> Begin:
    return Begin(ACCOUNT, "live", JOB, epoch, WORKER, ttl_s=300)


def test_a_job_is_opened_queued_with_its_hold_and_without_a_worker() -> None:
    state = books()
    wanted = Open(ACCOUNT, "live", new_id(), KEY, 50, row={"worker_id": None}, job={"webhook_url": HOOK})

    outcomes, rows = decide([wanted], state)

    known = state.generations[wanted.generation_id]
    assert outcomes == [Held(10)]
    assert (known.state, known.worker_id, known.webhook_url) == ("queued", None, HOOK)
    assert rows.opened[0]["job"] == {"webhook_url": HOOK}


def test_one_worker_begins_it() -> None:
    state = books()

    outcomes, rows = decide([begin(), begin(), begin(epoch=2)], state)

    assert outcomes == [Done(), Fenced("running"), Fenced("running")]
    assert (rows.updated[JOB]["worker_id"], rows.updated[JOB]["ttl_s"]) == (WORKER, 300)
    assert rows.wallets[0]["held_tokens"] == 40


def test_what_is_dropped_gives_its_hold_back_once() -> None:
    state = books()
    drop = Drop(ACCOUNT, "live", JOB, ROW)

    outcomes, rows = decide([drop, drop, begin()], state)

    assert outcomes == [Settled(100), Fenced("voided"), Fenced("voided")]
    assert (rows.updated[JOB]["state"], rows.updated[JOB]["outcome"]) == ("voided", "final")
    assert [event["type"] for event in rows.events] == ["image.generation.failed"]


def test_a_job_that_has_begun_is_not_dropped() -> None:
    outcomes, rows = decide([Drop(ACCOUNT, "live", JOB, ROW)], books(state="running"))

    assert outcomes == [Fenced("running")]
    assert not rows.tables()


def test_who_cancels_needs_no_event() -> None:
    state = books()

    outcomes, rows = decide([Drop(ACCOUNT, "live", JOB, ROW, told=False)], state)

    assert (outcomes, rows.events) == ([Settled(100)], [])


def test_the_event_is_written_by_the_settlement_that_wins() -> None:
    capture = Settle(ACCOUNT, "live", JOB, 1, tokens=40)

    outcomes, rows = decide([capture, replace(capture, outcome="lost")], books(state="running"))

    assert outcomes == [Settled(60), Fenced("captured")]
    (event,) = rows.events
    assert (event["type"], event["url"], event["generation_id"]) == ("image.generation.completed", HOOK, JOB)


def test_a_job_without_a_webhook_has_no_event() -> None:
    _, rows = decide([Settle(ACCOUNT, "live", JOB, 1, tokens=40)], books(state="running", webhook_url=None))

    assert rows.events == []


def test_a_job_that_waits_again_keeps_its_hold() -> None:
    state = books(state="running", worker_id=WORKER)
    tried = {"seq": 0, "class": "REFUSED_UNBILLED"}

    outcomes, rows = decide([Requeue(ACCOUNT, "live", JOB, 1, 600, due_s=5, attempts=[tried])], state)

    again = rows.updated[JOB]
    assert outcomes == [Done()]
    assert (again["state"], again["epoch"], again["worker_id"], again["due_s"]) == ("queued", 1, None, 5)
    assert [attempt["epoch"] for attempt in rows.attempts.values()] == [1]
    assert rows.wallets[0]["held_tokens"] == 40


def test_a_job_whose_worker_died_is_one_epoch_later_and_its_old_worker_is_fenced() -> None:
    state = books(state="running", worker_id=WORKER)

    outcomes, _ = decide(
        [
            Requeue(ACCOUNT, "live", JOB, 1, 600, died=True),
            begin(epoch=2),
            Settle(ACCOUNT, "live", JOB, 1, tokens=40),
        ],
        state,
    )

    assert outcomes == [Done(), Done(), Fenced("running")]


def test_after_its_last_epoch_a_job_is_not_queued_again() -> None:
    last = books(state="running", epoch=3, worker_id=WORKER)

    outcomes, rows = decide([Requeue(ACCOUNT, "live", JOB, 3, 600, died=True)], last)

    assert outcomes == [Fenced("running")]
    assert not rows.tables()


def test_a_lost_job_is_queued_again_under_its_key() -> None:
    lost = {"state": "voided", "outcome": "lost", "idempotency_key": "k", "fingerprint": b"f", "quote": "{}"}
    state = books(**lost)
    wallet = state.wallets[ACCOUNT, "live"]
    state.wallets[ACCOUNT, "live"] = replace(wallet, held_tokens=0)
    row = {"worker_id": None, "ttl_s": 86_400}

    (outcome,), rows = decide([Open(ACCOUNT, "live", new_id(), KEY, 40, "k", b"f", row=row, job={})], state)

    assert outcome == Reopened(JOB, 2, 40, "{}")
    assert rows.updated[JOB]["state"] == "queued"
