"""What events are signed with: made once, sealed, rotated with an overlap, and nowhere to be read."""

import asyncio
import base64

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from imagegate.admin import webhooks
from imagegate.errors import Conflict, InvalidRequest
from imagegate.identity.audit import Actor
from imagegate.identity.sealing import CannotOpen
from imagegate.identity.secret import Keyring
from imagegate.registry import seals_of
from imagegate.services import Services
from imagegate.webhooks import secrets
from imagegate.webhooks.delivery import Courier
from tests.conftest import Account
from tests.fake_verbs import Request, Status
from tests.webhooks.conftest import Put, deliver, row_of
from tests.webhooks.receiver import Receiver

US = Actor("cli:tests", "a test")


async def secret_of(services: Services, account: Account) -> str:
    async with services.engine.begin() as tx:
        shown = await webhooks.show_secret(tx, seals_of(services.keyring), account.name, US)
    return str(shown["secret"])


async def rotate(services: Services, account: Account, keep_old_h: int) -> str:
    async with services.engine.begin() as tx:
        seals = seals_of(services.keyring)
        return str((await webhooks.rotate_secret(tx, seals, account.name, keep_old_h, US))["secret"])


def is_signed_with(secret: str, request: Request) -> bool:
    try:
        Webhook(secret).verify(request.raw, request.headers)
    except WebhookVerificationError:
        return False
    return True


async def test_a_secret_is_32_random_bytes_and_stays_the_same(services: Services, account: Account) -> None:
    first, second = await secret_of(services, account), await secret_of(services, account)

    assert first == second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32


async def test_two_who_need_the_first_secret_at_once_get_the_same(
    services: Services, account: Account
) -> None:
    found = await asyncio.gather(*(secret_of(services, account) for _ in range(5)))

    assert len(set(found)) == 1


async def test_after_a_rotation_both_secrets_sign_until_the_old_one_ends(
    services: Services, account: Account, courier: Courier, receiver: Receiver, put: Put, engine: AsyncEngine
) -> None:
    old = await secret_of(services, account)
    new = await rotate(services, account, keep_old_h=1)
    await put(receiver.url + "/both")

    await deliver(courier)
    async with engine.begin() as tx:
        retire = text(
            "UPDATE webhook_secrets SET retires_at = now() WHERE account_id = :id AND retires_at > now()"
        )
        await tx.execute(retire, {"id": account.id})
    await put(receiver.url + "/new")
    await deliver(courier)

    both, alone = receiver.requests
    assert len(both.headers["webhook-signature"].split(" ")) == 2
    assert is_signed_with(old, both)
    assert is_signed_with(new, both)
    assert len(alone.headers["webhook-signature"].split(" ")) == 1
    assert is_signed_with(new, alone)
    assert not is_signed_with(old, alone)


async def test_an_old_secret_can_be_ended_at_once(
    services: Services, account: Account, courier: Courier, receiver: Receiver, put: Put
) -> None:
    old = await secret_of(services, account)
    new = await rotate(services, account, keep_old_h=0)
    await put(receiver.url + "/hook")

    await deliver(courier)

    (request,) = receiver.requests
    assert is_signed_with(new, request)
    assert not is_signed_with(old, request)


async def test_who_rotates_often_makes_no_endless_header(services: Services, account: Account) -> None:
    for _ in range(secrets.MOST_SIGNING + 3):
        latest = await rotate(services, account, keep_old_h=24)

    async with services.engine.begin() as tx:
        read = await secrets.read_signing(tx, seals_of(services.keyring), [account.id])
    signing = read[account.id]
    assert len(signing) == secrets.MOST_SIGNING
    assert base64.b64decode(latest.removeprefix("whsec_")) == signing[0]


async def test_of_two_who_rotate_at_once_one_is_told(services: Services, account: Account) -> None:
    await secret_of(services, account)

    ends = await asyncio.gather(*(rotate(services, account, 24) for _ in range(2)), return_exceptions=True)

    made = [end for end in ends if isinstance(end, str)]
    assert await secret_of(services, account) in made
    assert all(isinstance(end, Conflict) for end in ends if not isinstance(end, str))


async def test_an_old_secret_is_kept_for_90_days_at_most(services: Services, account: Account) -> None:
    with pytest.raises(InvalidRequest):
        await rotate(services, account, keep_old_h=90 * 24 + 1)


async def test_a_secret_is_nowhere_to_be_read(
    services: Services, account: Account, courier: Courier, receiver: Receiver, put: Put, engine: AsyncEngine
) -> None:
    with capture_logs() as logged:
        first = await secret_of(services, account)
        second = await rotate(services, account, keep_old_h=24)
        event = await put(receiver.then("/hook", Status(410)))
        await deliver(courier)

    assert [line["event"] for line in logged] == ["webhook_failed"]
    async with engine.connect() as connection:
        tables = ("audit_log", "webhook_secrets", "webhook_outbox")
        rows = [repr((await connection.execute(text(f"SELECT * FROM {table}"))).all()) for table in tables]
    said = repr(logged) + "".join(rows) + repr(courier) + repr(await row_of(engine, event))
    for secret in (first, second):
        plain = base64.b64decode(secret.removeprefix("whsec_"))
        for written in (secret.removeprefix("whsec_"), plain.hex(), repr(plain)[2:-1]):
            assert written not in said


async def test_sealed_bytes_open_for_no_other_account_and_under_no_other_master(
    services: Services, account: Account, engine: AsyncEngine
) -> None:
    await secret_of(services, account)
    async with engine.connect() as connection:
        query = text("SELECT account_id, id, sealed FROM webhook_secrets WHERE account_id = :id")
        row = (await connection.execute(query, {"id": account.id})).one()
    seals = seals_of(services.keyring)
    others = seals_of(Keyring.derive(b"another" * 8))

    assert secrets.opened(seals, row) == await secret_of(services, account)
    with pytest.raises(CannotOpen):
        secrets.opened(others, row)
    with pytest.raises(CannotOpen):
        seals.unseal(row.sealed, secrets.bound(row.id, row.id))
