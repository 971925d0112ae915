"""What a hold, a capture and a void do to a wallet: pure values, and the statements that write them.

The caller owns the transaction, has the wallets locked by LOCK_WALLETS, and writes what it decided with the
two statements below in the same transaction. A wallet's row changes under that lock alone, and so does all else
that decides whether an account may spend: its keys, its limits, whether it is closed. Each such change is a new
revision of the wallet.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.ids import new_id

WalletKey = tuple[UUID, str]

LOCK_WALLETS = """
    SELECT account_id, env, posted_tokens, held_tokens, version, revision FROM wallets
    WHERE (account_id, env) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
    ORDER BY account_id, env FOR NO KEY UPDATE
"""


def begin_with_locks(keys: Iterable[WalletKey]) -> str:
    """BEGIN and the lock in one round trip. Whatever is read afterwards is read under the locks.

    A script takes no parameters, so the keys stand in it: UUIDs, and one of two words.
    """
    for _, env in (wanted := sorted(set(keys))):
        if env not in ("live", "test"):
            raise ValueError(f"{env!r} is no environment")
    pairs = ", ".join(f"('{account}'::uuid, '{env}')" for account, env in wanted)
    return (
        f"BEGIN; SELECT 1 FROM wallets WHERE (account_id, env) IN ({pairs}) "  # noqa: S608 see above
        "ORDER BY account_id, env FOR NO KEY UPDATE"
    )


def insert_transfers(parameter: str) -> str:
    """The statement that appends transfers; `parameter` ($1, $2 …) is their rows as JSON."""
    return f"""
    INSERT INTO transfers (account_id, env, id, wallet_version, debit, credit, tokens, kind, generation_id, cause,
        price_version, balance_after, source, external_ref, reason, actor, at)
    SELECT account_id, env, id, wallet_version, debit, credit, tokens, kind, generation_id, cause,
        price_version, balance_after, source, external_ref, reason, actor, now()
    FROM jsonb_populate_recordset(NULL::transfers, {parameter}::text::jsonb) RETURNING 1
    """  # noqa: S608 a placeholder, no value


def update_wallets(parameter: str) -> str:
    """The statement that writes wallets; `parameter` is their rows as JSON. One at another revision stays as it is."""
    return f"""
    UPDATE wallets SET posted_tokens = new.posted_tokens, held_tokens = new.held_tokens, version = new.version,
        revision = new.revision + 1
    FROM jsonb_populate_recordset(NULL::wallets, {parameter}::text::jsonb) AS new
    WHERE wallets.account_id = new.account_id AND wallets.env = new.env AND wallets.revision = new.revision
    RETURNING 1
    """  # noqa: S608 a placeholder, no value


@dataclass(frozen=True, slots=True)
class Wallet:
    """One wallet as it was read. Whole tokens; 0 <= held <= posted.

    revision: counts every change that a hold depends on, so that what was read can be proved to be still true.
    """

    account_id: UUID
    env: str
    posted_tokens: int
    held_tokens: int
    version: int
    revision: int

    @property
    def key(self) -> WalletKey:
        return self.account_id, self.env

    @property
    def available_tokens(self) -> int:
        return self.posted_tokens - self.held_tokens

    def with_held(self, held_tokens: int) -> "Wallet":
        return Wallet(self.account_id, self.env, self.posted_tokens, held_tokens, self.version, self.revision)

    def written(self) -> "Wallet":
        """This wallet as `update_wallets` leaves it."""
        return replace(self, revision=self.revision + 1)

    def row(self) -> dict[str, Any]:
        return {
            "account_id": self.account_id,
            "env": self.env,
            "posted_tokens": self.posted_tokens,
            "held_tokens": self.held_tokens,
            "version": self.version,
            "revision": self.revision,
        }


def hold(wallet: Wallet, tokens: int) -> Wallet | None:
    """Set `tokens` aside. None when they do not fit."""
    if tokens > wallet.available_tokens:
        return None
    return wallet.with_held(wallet.held_tokens + tokens)


def release(wallet: Wallet, hold_tokens: int) -> Wallet:
    """Give a whole hold back."""
    return wallet.with_held(wallet.held_tokens - hold_tokens)


def capture(
    wallet: Wallet, generation_id: UUID, hold_tokens: int, tokens: int, price_version: int
) -> tuple[Wallet, list[dict[str, Any]]]:
    """Debit `tokens` and release the rest of the hold. What exceeds the hold is booked as a loss, never debited.

    0 tokens make no transfer.
    """
    wallet, moved = release(wallet, hold_tokens), []
    about = {"generation_id": generation_id, "price_version": price_version}
    if debited := min(tokens, hold_tokens):
        wallet, transfer = move(
            wallet, debit="wallet", credit="revenue", tokens=debited, kind="capture", **about
        )
        moved.append(transfer)
    if tokens > hold_tokens:
        sides = {"debit": "loss", "credit": "revenue", "tokens": tokens - hold_tokens, "kind": "usage"}
        owner = {"account_id": wallet.account_id, "env": wallet.env, "id": new_id()}
        moved.append({**owner, **sides, **about})
    return wallet, moved


def move(
    wallet: Wallet, *, debit: str, credit: str, tokens: int, kind: str, **more: Any
) -> tuple[Wallet, dict[str, Any]]:
    """One transfer into or out of the wallet, and the wallet after it."""
    posted = wallet.posted_tokens + (tokens if credit == "wallet" else -tokens)
    version = wallet.version + 1
    after = Wallet(wallet.account_id, wallet.env, posted, wallet.held_tokens, version, wallet.revision)
    transfer = {
        "account_id": wallet.account_id,
        "env": wallet.env,
        "id": new_id(),
        "wallet_version": after.version,
        "debit": debit,
        "credit": credit,
        "tokens": tokens,
        "kind": kind,
        "balance_after": posted,
        **more,
    }
    return after, transfer


async def lock_wallets(tx: AsyncConnection, keys: Iterable[WalletKey]) -> dict[WalletKey, Wallet]:
    """Lock the wallets in key order until `tx` ends. Wallets that do not exist are missing from the answer."""
    wanted = sorted(set(keys))
    columns = [account for account, _ in wanted], [env for _, env in wanted]
    rows = (await tx.exec_driver_sql(LOCK_WALLETS, columns)).all()
    return {(row.account_id, row.env): Wallet(*tuple(row)) for row in rows}


async def touch_wallets(tx: AsyncConnection, account_id: UUID, env: str | None = None) -> None:
    """Lock the account's wallets until `tx` ends and give them a new revision: what a hold depends on changes."""
    query = text(
        """
        UPDATE wallets SET revision = revision + 1 WHERE (account_id, env) IN (
            SELECT account_id, env FROM wallets WHERE account_id = :account_id AND env = coalesce(:env, env)
            ORDER BY account_id, env FOR NO KEY UPDATE)
        """
    )
    await tx.execute(query, {"account_id": account_id, "env": env})
