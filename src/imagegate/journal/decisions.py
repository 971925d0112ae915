"""What one batch of the journal decides, as a pure function over what was read under the wallets' locks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from imagegate.errors import BudgetExceeded, InsufficientFunds, Unauthenticated
from imagegate.identity.keys import INVALID
from imagegate.ids import new_id
from imagegate.journal.books import MOST_EPOCHS, Books, Known, Rows, opened_row
from imagegate.journal.budgets import count_end, count_hold, recount_hold
from imagegate.journal.items import (
    Abandon,
    Absent,
    Accept,
    Begin,
    Change,
    Claim,
    Done,
    Doubt,
    Drop,
    Existing,
    Fenced,
    Held,
    Item,
    Open,
    Outcome,
    Reopened,
    Requeue,
    Settle,
    Settled,
    Take,
)
from imagegate.ledger import holds
from imagegate.ledger.holds import WalletKey

ByKey = dict[tuple[UUID, str, str], Known]


def decide(items: Sequence[Item], books: Books) -> tuple[list[Outcome], Rows]:
    """What happens to known generations first, since settlements free money; then opens as they arrived.

    One outcome per item, in the items' order. An open that does not fit does not stop the next one.
    """
    rows = Rows()
    outcomes: dict[int, Outcome] = {}
    for index, item in enumerate(items):
        if isinstance(item, Change):
            outcomes[index] = _change(item, books, rows)
    taken = books.by_idempotency_key()
    left = any(known.abandoned for known in books.generations.values())
    for index, item in enumerate(items):
        if isinstance(item, Claim):
            outcomes[index] = _adopt(item, books, rows) or Absent()
        elif isinstance(item, Open):
            outcomes[index] = _open(item, books, rows, taken, left or item.retry > 0)
    rows.close(books)
    return [outcomes[index] for index in range(len(items))], rows


def _change(item: Change, books: Books, rows: Rows) -> Outcome:
    known = books.generations.get(item.generation_id)
    if known is None or (known.account_id, known.env) != item.wallet_key:
        return Fenced(None)
    if isinstance(item, Abandon):
        if known.may_be_adopted and not known.abandoned:
            _update(replace(known, abandoned=True), books, rows)
        return Done()
    if isinstance(item, Drop):
        return _drop(item, known, books, rows)
    if not known.is_open or known.epoch != getattr(item, "epoch", None):
        return Fenced(known.state)
    if isinstance(item, Settle):
        return _settle(item, known, books, rows)
    if isinstance(item, Accept):
        rows.add_attempt({**item.attempt, **_owner(known), "epoch": known.epoch})
        return Done()
    if isinstance(item, Doubt):
        _update(replace(known, state="in_doubt"), books, rows)
        return Done()
    if isinstance(item, Begin):
        return _begin(item, known, books, rows)
    if known.epoch >= MOST_EPOCHS and not (isinstance(item, Requeue) and not item.died):
        return Fenced(known.state)
    if isinstance(item, Requeue):
        return _requeue(item, known, books, rows)
    if isinstance(item, Take):
        left = _is_left(item, known)
        taken = replace(known, epoch=known.epoch + 1, worker_id=item.worker_id, abandoned=left)
        _update(taken, books, rows)
        return Done()
    raise TypeError(f"the journal knows no {type(item).__name__}")


def _begin(item: Begin, known: Known, books: Books, rows: Rows) -> Outcome:
    if known.state != "queued":
        return Fenced(known.state)
    _update(replace(known, state="running", worker_id=item.worker_id), books, rows, ttl_s=item.ttl_s)
    return Done()


def _requeue(item: Requeue, known: Known, books: Books, rows: Rows) -> Outcome:
    for attempt in item.attempts:
        rows.add_attempt({"epoch": item.epoch, **attempt, **_owner(known)})
    again = replace(known, state="queued", worker_id=None, epoch=known.epoch + int(item.died))
    _update(again, books, rows, ttl_s=item.ttl_s, due_s=item.due_s)
    return Done()


def _drop(item: Drop, known: Known, books: Books, rows: Rows) -> Outcome:
    if known.state != "queued":
        return Fenced(known.state)
    quiet = known if item.told else replace(known, webhook_url=None)
    end = Settle(*item.wallet_key, item.generation_id, known.epoch, outcome="final", row=item.row)
    return _settle(end, quiet, books, rows)


def _settle(item: Settle, known: Known, books: Books, rows: Rows) -> Outcome:
    wallet = books.wallets[item.wallet_key]
    charged = 0
    if item.outcome is None:
        charged = min(item.tokens, known.hold_tokens)
        wallet, moved = holds.capture(wallet, known.id, known.hold_tokens, item.tokens, item.price_version)
        rows.transfers.extend(moved)
    else:
        wallet = holds.release(wallet, known.hold_tokens)
    books.wallets[item.wallet_key] = wallet
    count_end(known, charged, books, rows)
    state = "captured" if item.outcome is None else "voided"
    adoptable = _is_left(item, known) and state == "captured"
    ended = known.ended(state, item.outcome, abandoned=adoptable)
    _update(ended, books, rows, **item.row, charged_tokens=charged, answers=True)
    rows.images.extend({**image, **_owner(known)} for image in item.images)
    for attempt in item.attempts:
        rows.add_attempt({"epoch": item.epoch, **attempt, **_owner(known)})
    if known.webhook_url is not None:
        rows.events.append(_event(known, state))
    return Settled(wallet.available_tokens)


def _event(known: Known, state: str) -> dict[str, Any]:
    """What a webhook is told, in the transaction that makes it true."""
    kind = "image.generation.completed" if state == "captured" else "image.generation.failed"
    return {**_owner(known), "id": new_id(), "type": kind, "url": known.webhook_url}


def _is_left(item: Settle | Take, known: Known) -> bool:
    """Whether nobody waits for it: its caller went, or its worker died and no retry has attached itself since."""
    return known.abandoned or (item.abandoned and known.idempotency_key is None and known.claims == 0)


def _owner(known: Known) -> dict[str, Any]:
    return {"account_id": known.account_id, "env": known.env, "generation_id": known.id}


def _update(known: Known, books: Books, rows: Rows, **answer: Any) -> None:
    """The generation is `known` from now on. Its wallet gets a new revision: a hold may depend on it."""
    read = books.generations[known.id]
    before = rows.updated.get(known.id, {"was_epoch": read.epoch, "was_state": read.state})
    books.generations[known.id] = known
    rows.touched.add((known.account_id, known.env))
    rows.updated[known.id] = {
        **before,
        **answer,
        "account_id": known.account_id,
        "env": known.env,
        "id": known.id,
        "epoch": known.epoch,
        "state": known.state,
        "outcome": known.outcome,
        "worker_id": known.worker_id,
        "claims": known.claims,
        "abandoned": known.abandoned,
    }


def _open(item: Open, books: Books, rows: Rows, taken: ByKey, adopts: bool) -> Outcome:
    """adopts: whether there can be anything to adopt."""
    if item.key_id not in books.usable_keys or item.wallet_key not in books.wallets:
        return Unauthenticated(INVALID)
    if item.idempotency_key is None:
        if adopts and (adopted := _adopt(item, books, rows)):
            return adopted
    elif twin := taken.get((item.account_id, item.env, item.idempotency_key)):
        if not twin.aged or twin.is_open:
            return _again(item, twin, books, rows, taken)
        rows.freed.append(twin)
    refused = _hold(item, books)
    if refused is not None:
        return refused
    counted = count_hold(item, books, rows)
    if isinstance(counted, BudgetExceeded):
        books.wallets[item.wallet_key] = holds.release(books.wallets[item.wallet_key], item.hold_tokens)
        return counted
    rows.touched.add(item.wallet_key)
    rows.opened.append(dict(opened_row(item, counted)))
    known = known_from(item, counted)
    books.generations[known.id] = known
    rows.fresh.add(known.id)
    if item.idempotency_key is not None:
        taken[item.account_id, item.env, item.idempotency_key] = known
    return Held(books.wallets[item.wallet_key].available_tokens)


def _hold(item: Open, books: Books, tokens: int | None = None) -> InsufficientFunds | None:
    """Set the tokens aside, or tell how many there are."""
    needed = item.hold_tokens if tokens is None else tokens
    wallet = books.wallets[item.wallet_key]
    held = holds.hold(wallet, needed)
    if held is None:
        return InsufficientFunds(needed, wallet.available_tokens)
    books.wallets[item.wallet_key] = held
    return None


def _again(item: Open, twin: Known, books: Books, rows: Rows, taken: ByKey) -> Outcome:
    """The key is known. What was lost runs once more, at its own price; all else is there already."""
    lost = twin.state == "voided" and twin.outcome == "lost" and twin.epoch < MOST_EPOCHS
    if not lost or twin.fingerprint != item.fingerprint or twin.quote is None:
        return Existing(twin.id, twin.state, twin.fingerprint)
    refused = _hold(item, books, twin.hold_tokens)
    if refused is not None:
        return refused
    recount_hold(twin, books, rows)
    worker, state = item.row.get("worker_id"), "running" if item.job is None else "queued"
    again = replace(twin, state=state, outcome=None, epoch=twin.epoch + 1, worker_id=worker)
    ttl_s = item.row.get("ttl_s")
    _update(again, books, rows, answers=True, charged_tokens=0, ttl_s=ttl_s)
    if twin.idempotency_key is not None:
        taken[twin.account_id, twin.env, twin.idempotency_key] = again
    return Reopened(twin.id, again.epoch, twin.hold_tokens, twin.quote)


def _adopt(item: Open | Claim, books: Books, rows: Rows) -> Existing | None:
    """The oldest equal generation that its caller left; for a declared retry also one that was claimed less often."""
    equal = sorted(
        (
            g
            for g in books.generations.values()
            if g.may_be_adopted
            and g.id not in rows.fresh
            and g.key_id == item.key_id
            and (g.account_id, g.env) == item.wallet_key
            and g.fingerprint == item.fingerprint
        ),
        key=lambda g: g.id,
    )
    chosen = next((g for g in equal if g.abandoned), None)
    if chosen is None and item.retry >= 1:
        chosen = next((g for g in equal if g.claims < item.retry), None)
    if chosen is None:
        return None
    _update(replace(chosen, abandoned=False, claims=chosen.claims + 1), books, rows)
    return Existing(chosen.id, chosen.state, chosen.fingerprint)


def known_from(item: Open, counted: Iterable[tuple[str, str, str]] = ()) -> Known:
    """The generation that `item` is about to become."""
    return Known(
        item.account_id,
        item.env,
        item.generation_id,
        "running" if item.job is None else "queued",
        1,
        item.hold_tokens,
        worker_id=item.row.get("worker_id"),
        idempotency_key=item.idempotency_key,
        fingerprint=item.fingerprint,
        key_id=item.key_id,
        counted=tuple(counted),
        webhook_url=None if item.job is None else item.job.get("webhook_url"),
    )


def wallets_of(items: Iterable[Item]) -> list[WalletKey]:
    return sorted({item.wallet_key for item in items})
