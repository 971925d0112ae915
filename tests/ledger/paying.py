"""Generations that hold and pay, without a gateway: rows as the line would leave them."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.identity import keys
from imagegate.identity.keys import Labels
from imagegate.ids import new_id
from imagegate.ledger import holds, wallets
from tests.conftest import LIVE_TOKENS, TEST_TOKENS, Account

GENERATION = text(
    """
    INSERT INTO generations (account_id, env, id, key_id, app_id, state, hold_tokens, charged_tokens, expires_at,
        settled_at, model, price_version, quote, request, answer_status, created_at)
    VALUES (:account_id, :env, :id, :key_id, :app_id, :state, :hold, :charged, now() + interval '1 hour',
        CASE WHEN :state = 'captured' THEN now() END, 'imagegate/sandbox', 1, '{"price_version": 1, "n": 1}', '{}',
        CASE WHEN :state = 'captured' THEN 200 END, now() - make_interval(days => :days_ago))
    """
)
IMAGE = text(
    """
    INSERT INTO images (account_id, env, generation_id, idx, object, sha256, bytes, width_px, height_px, mime,
        expires_at) VALUES (:account_id, :env, :id, 0, 'o', '', 1, 1, 1, 'image/png', now())
    """
)
# In two steps, so that no row takes a reference that another one still has.
ASIDE = "UPDATE transfers SET external_ref = 'moved ' || external_ref WHERE account_id = $1 AND source = 'allowance'"
A_DAY_BACK = """
    UPDATE transfers SET at = at - interval '1 day', external_ref = CASE WHEN source = 'allowance' THEN
        substr(split_part(external_ref, ':', 1), 7) || ':' || (split_part(external_ref, ':', 2)::date - 1)::text
            || CASE WHEN kind = 'expire' THEN ':expire' ELSE '' END
        ELSE external_ref END
    WHERE account_id = $1
"""


async def open_account(engine: AsyncEngine, live_tokens: int = LIVE_TOKENS) -> Account:
    """Without a gateway, so that nobody can speak with its keys: it has none."""
    name, why = f"customer-{uuid4().hex[:12]}", {"reason": "a test", "actor": "tests"}
    async with engine.begin() as tx:
        account_id = await keys.create_account(tx, name)
        await wallets.create_wallets(tx, account_id)
        for env, tokens in (("live", live_tokens), ("test", TEST_TOKENS)):
            if tokens:
                await wallets.top_up(tx, account_id, env, tokens, funding=wallets.Funding(), **why)
    return Account(account_id, name, "", "", engine)


async def make_key(tx: AsyncConnection, account_id: UUID, env: str = "live", team: str | None = None) -> UUID:
    key_id, _ = await keys.create_key(tx, b"pepper", account_id, env, Labels(team=team), None)
    return key_id


async def capture(
    tx: AsyncConnection,
    account_id: UUID,
    key_id: UUID,
    tokens: int,
    *,
    env: str = "live",
    app_id: str | None = None,
    days_ago: int = 0,
) -> UUID:
    """A generation that was charged `tokens`; 0 tokens make no transfer."""
    wallet = await wallets.lock_wallet(tx, account_id, env)
    made = new_id()
    names = {"account_id": account_id, "env": env, "id": made}
    row = {"key_id": key_id, "app_id": app_id, "state": "captured", "days_ago": days_ago}
    await tx.execute(GENERATION, {**names, **row, "hold": tokens, "charged": tokens})
    await tx.execute(IMAGE, names)
    if tokens:
        about: dict[str, Any] = {"kind": "capture", "generation_id": made, "price_version": 1}
        after, moved = holds.move(wallet, debit="wallet", credit="revenue", tokens=tokens, **about)
        await wallets.write(tx, [after], [moved])
    return made


async def hold(
    tx: AsyncConnection,
    account_id: UUID,
    key_id: UUID,
    tokens: int,
    *,
    env: str = "live",
    app_id: str | None = None,
) -> UUID:
    """A generation that is being made and holds `tokens`."""
    wallet = await wallets.lock_wallet(tx, account_id, env)
    made = new_id()
    names = {"account_id": account_id, "env": env, "id": made}
    row = {"key_id": key_id, "app_id": app_id, "state": "running", "days_ago": 0}
    await tx.execute(GENERATION, {**names, **row, "hold": tokens, "charged": 0})
    await wallets.write(tx, [replace(wallet, held_tokens=wallet.held_tokens + tokens)], [])
    return made


async def void(tx: AsyncConnection, account_id: UUID, generation_id: UUID, env: str = "live") -> None:
    """End a generation that nothing counted: its hold is given back."""
    wallet = await wallets.lock_wallet(tx, account_id, env)
    query = text(
        "UPDATE generations SET state = 'voided', outcome = 'final', settled_at = now() WHERE id = :id "
        "RETURNING hold_tokens"
    )
    held = (await tx.execute(query, {"id": generation_id})).scalar_one()
    await wallets.write(tx, [holds.release(wallet, held)], [])


async def let_a_day_pass(engine: AsyncEngine, account_id: UUID) -> None:
    """What happened to the account's wallet happened a day earlier."""
    async with engine.begin() as tx:
        await tx.exec_driver_sql(ASIDE, (account_id,))
        await tx.exec_driver_sql(A_DAY_BACK, (account_id,))
