"""Whatever operators, spenders and the clock do to a wallet, in whatever order: its ledger holds."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.db.base import snapshot
from imagegate.errors import Conflict, InvalidRequest, NotFound
from imagegate.ledger import allowances, wallets
from imagegate.ledger.refunds import refund
from imagegate.ledger.statement import read_statement
from imagegate.ledger.verify import verify
from tests.conftest import Account
from tests.ledger import paying


@dataclass
class Wallet:
    """What a step works on. `tokens`: what the steps say the wallet should hold; allowances are read, not told."""

    account: Account
    engine: AsyncEngine
    key_id: UUID
    tokens: int = 1000
    paid: list[tuple[UUID, int]] = field(default_factory=list)
    refunded: dict[UUID, dict[str, int]] = field(default_factory=dict)


async def adjust(wallet: Wallet, number: int) -> None:
    async with wallet.engine.begin() as tx:
        await wallets.adjust(tx, wallet.account.id, "live", number - 500, reason="r", actor="tests")
    wallet.tokens += number - 500


async def spend(wallet: Wallet, number: int) -> None:
    tokens = min(number + 1, (await wallet.account.balance())[0])
    async with wallet.engine.begin() as tx:
        made = await paying.capture(tx, wallet.account.id, wallet.key_id, tokens)
    wallet.tokens -= tokens
    wallet.paid.append((made, tokens))


async def give_back(wallet: Wallet, number: int) -> None:
    if not wallet.paid:
        return
    made, charged = wallet.paid[number % len(wallet.paid)]
    cause, part = f"cause {number % 3}", number // 2 or None
    async with wallet.engine.begin() as tx:
        why = {"cause": cause, "reason": "r", "actor": "tests"}
        given = await refund(tx, wallet.account.id, "live", made, **why, tokens=part)
    causes = wallet.refunded.setdefault(made, {})
    if cause not in causes:
        causes[cause] = given.tokens
        wallet.tokens += given.tokens
    assert causes[cause] == given.tokens
    assert sum(causes.values()) == given.refunded_tokens <= charged


async def allow(wallet: Wallet, number: int) -> None:
    async with wallet.engine.begin() as tx:
        await allowances.set_allowance(
            tx, wallet.account.id, "live", "day", number + 1, carry_over=number % 2 == 0
        )


async def sleep(wallet: Wallet, number: int) -> None:
    await paying.let_a_day_pass(wallet.engine, wallet.account.id)
    await allowances.grant_due(wallet.engine)
    assert await allowances.grant_due(wallet.engine) == 0


@pytest.fixture
def new_wallet(engine: AsyncEngine) -> Callable[[], Awaitable[Wallet]]:
    async def make() -> Wallet:
        account = await paying.open_account(engine, live_tokens=1000)
        async with engine.begin() as tx:
            return Wallet(account, engine, await paying.make_key(tx, account.id))

    return make


Step = Callable[[Wallet, int], Awaitable[None]]
STEPS = st.lists(
    st.tuples(st.sampled_from([adjust, spend, give_back, allow, sleep]), st.integers(0, 1000)), max_size=12
)


@settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_any_sequence_leaves_a_ledger_that_holds(
    new_wallet: Callable[[], Awaitable[Wallet]], steps: list[tuple[Step, int]]
) -> None:
    wallet = await new_wallet()
    account, engine = wallet.account, wallet.engine

    for step, number in steps:
        with suppress(Conflict, InvalidRequest, NotFound):
            await step(wallet, number)

    posted, held = await account.balance()
    async with snapshot(engine) as connection:
        report = await verify(connection)
    assert report.ok, report.to_json()
    assert posted == wallet.tokens + await from_allowances(engine, account)
    assert (posted >= 0, held) == (True, 0)


async def from_allowances(engine: AsyncEngine, account: Account) -> int:
    async with engine.connect() as connection:
        lines = await read_statement(connection, account.id, "live", limit=1000)
    return sum(line.tokens for line in lines if line.source == "allowance")
