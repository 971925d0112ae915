"""What an operator does with webhooks: their secret, where they go, what became of each, and once more.

All raise NotFound for an account, an event or a generation that is not there. A secret stands in no log and no audit
entry; that it was shown does.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.admin import generations
from imagegate.admin.moments import timestamp
from imagegate.errors import Conflict, InvalidRequest, NotFound
from imagegate.generation.listing import SLACK, first_id_of
from imagegate.identity import accounts as account_rows
from imagegate.identity.accounts import Account, read_account
from imagegate.identity.audit import Actor, record
from imagegate.identity.tables import accounts
from imagegate.ids import made_at, new_id, parse_public_id, public_id
from imagegate.outbound import Outbound
from imagegate.outbound.hooks import check_hook_url
from imagegate.settings import Settings
from imagegate.webhooks import delivery, endpoints, outbox, secrets
from imagegate.webhooks.outbox import State
from imagegate.webhooks.secrets import Seals
from imagegate.webhooks.tables import webhook_outbox

Json = dict[str, Any]

ENVS = ("live", "test")
LONGEST_KEEP_H = 90 * 24
ABSENT = "There is no such event. List them: imagegate webhooks list --account NAME"


async def show_secret(tx: AsyncConnection, seals: Seals, account: str, actor: Actor) -> Json:
    """What the account's events are signed with, made now if it had none. account: `acc_…` or a name."""
    owner = await read_account(tx, account)
    secret, made = await secrets.get_secret(tx, seals, owner.id)
    action = "webhooks.make_secret" if made else "webhooks.show_secret"
    await record(tx, actor, action, owner.public_id, account_id=owner.id)
    return {"account": owner.name, "secret": secret}


async def rotate_secret(
    tx: AsyncConnection, seals: Seals, account: str, keep_old_h: int, actor: Actor
) -> Json:
    """A new secret; the old one signs beside it for 0 to 90 days. Raises InvalidRequest, Conflict."""
    if not 0 <= keep_old_h <= LONGEST_KEEP_H:
        raise InvalidRequest(f"An old secret is kept for 0 to {LONGEST_KEEP_H} hours.", param="keep_old_h")
    owner = await read_account(tx, account)
    await account_rows.require_open(tx, owner.id)
    secret = await secrets.rotate(tx, seals, owner.id, keep_old_h * 3600)
    detail = {"keep_old_h": keep_old_h}
    await record(tx, actor, "webhooks.rotate_secret", owner.public_id, account_id=owner.id, detail=detail)
    return {"account": owner.name, "secret": secret, "keep_old_h": keep_old_h}


async def set_endpoint(
    tx: AsyncConnection, settings: Settings, account: str, env: str, url: str | None, actor: Actor
) -> Json:
    """Where events of the account's jobs go that name no place of their own; None: nowhere. Raises InvalidRequest."""
    if url is not None:
        check_hook_url(url, allow_private=settings.webhook_allow_private)
    owner = await read_account(tx, account)
    before = await endpoints.find_endpoint(tx, owner.id, env)
    if url is None:
        await endpoints.unset_endpoint(tx, owner.id, env)
    elif url != before:
        await endpoints.set_endpoint(tx, owner.id, env, url)
    if url != before:
        action = "webhooks.unset" if url is None else "webhooks.set"
        detail = {"env": env, "before": before, "after": url}
        await record(tx, actor, action, owner.public_id, account_id=owner.id, detail=detail)
    return endpoint_json(owner, env, url)


async def list_endpoints(connection: AsyncConnection, account: str) -> list[Json]:
    """That of live and that of test; `url` is null where none is set."""
    owner = await read_account(connection, account)
    found = [(env, await endpoints.find_endpoint(connection, owner.id, env)) for env in ENVS]
    return [endpoint_json(owner, env, url) for env, url in found]


def endpoint_json(owner: Account, env: str, url: str | None) -> Json:
    return {"account": owner.name, "env": env, "url": url}


async def page_events(
    connection: AsyncConnection,
    account: str,
    env: str | None,
    state: State | None,
    after: UUID | None,
    limit: int,
) -> tuple[str, Sequence[Row[Any]]]:
    """The account's name, and at most `limit` of its events older than `after`, newest first. None = any."""
    owner = await read_account(connection, account)
    envs = ENVS if env is None else (env,)
    return owner.name, await outbox.page_events(connection, owner.id, envs, state, after, limit)


def event_json(row: Row[Any], account: str) -> Json:
    """tries: since it was last set going. next_at, gives_up_at: only while it is pending."""
    pending = row.state == "pending"
    return {
        "id": public_id("msg", row.id),
        "account": account,
        "env": row.env,
        "generation": public_id("gen", row.generation_id),
        "type": row.type,
        "url": row.url,
        "state": row.state,
        "tries": row.tries,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "created_at": timestamp(row.created_at),
        "next_at": timestamp(row.next_at) if pending else None,
        "gives_up_at": timestamp(row.gives_up_at) if pending else None,
        "ended_at": timestamp(row.ended_at),
    }


async def redeliver_event(tx: AsyncConnection, text: str, actor: Actor) -> Json:
    """Send an event once more, under the same id, also one that was delivered. text: `msg_…`."""
    o, event_id = webhook_outbox.c, parse_public_id("msg", text)
    owned = and_(o.account_id.in_(select(accounts.c.id)), o.env.in_(ENVS))
    rows = await outbox.redeliver(tx, and_(owned, o.id == event_id)) if event_id else ()
    if not rows:
        raise NotFound(ABSENT)
    return (await redelivered(tx, rows, actor))[0]


async def redeliver_generation(tx: AsyncConnection, text: str, actor: Actor) -> list[Json]:
    """The same for every event of a generation, `gen_…` or the UUID."""
    found = await generations.find(tx, text)
    o, oldest = webhook_outbox.c, first_id_of(made_at(found.id), -SLACK)
    owned = and_(o.account_id == found.account_id, o.env == found.env, o.id >= oldest)
    rows = await outbox.redeliver(tx, and_(owned, o.generation_id == found.id))
    if not rows:
        raise NotFound("This generation has no events: nobody asked for a webhook.")
    return await redelivered(tx, rows, actor)


async def redelivered(tx: AsyncConnection, rows: Sequence[Row[Any]], actor: Actor) -> list[Json]:
    owner = await read_account(tx, public_id("acc", rows[0].account_id))
    shown = [event_json(row, owner.name) for row in rows]
    for event in shown:
        detail = {"env": event["env"], "generation": event["generation"]}
        await record(tx, actor, "webhooks.redeliver", event["id"], account_id=owner.id, detail=detail)
    return shown


async def send_test(
    engine: AsyncEngine, outbound: Outbound, settings: Settings, seals: Seals, account: str, env: str
) -> Json:
    """Send a `test.ping` to the account's endpoint, once and now; gives how that went. Raises Conflict without one."""
    async with engine.begin() as tx:
        owner = await read_account(tx, account)
        url = await endpoints.find_endpoint(tx, owner.id, env)
        signing = (await secrets.read_signing(tx, seals, {owner.id}))[owner.id]
    if url is None:
        text = f"There is no webhook URL. Set it: imagegate webhooks set --account {owner.name!r} --env {env} --url URL"
        raise Conflict(text, code="webhook_url_missing")
    message_id, began = public_id("msg", new_id()), monotonic()
    body = delivery.enveloped("test.ping", datetime.now(UTC), {"account": owner.public_id, "env": env})
    answer = await delivery.send(outbound, settings, signing, url, message_id, body)
    return {
        "id": message_id,
        "url": url,
        "delivered": answer.error is None,
        "status": answer.status,
        "error": answer.error,
        "ms": round((monotonic() - began) * 1000),
    }
