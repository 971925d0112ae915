"""`/admin/v1/keys`: the keys of accounts."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import accounts, keys
from imagegate.admin.http.door import Change, JsonObject, Reading, Writing, reads, writes
from imagegate.admin.http.fields import Env, Expiry, Label, ModerationPolicy, Routing
from imagegate.admin.http.pages import Page, after_id, listed
from imagegate.admin.keys import LONGEST_OVERLAP_S, Key
from imagegate.identity.keys import Labels
from imagegate.identity.rotation import KeyFilter, KeyPolicy, KeyStatus

router = APIRouter()


KEEPALIVE = "true: an answer that takes longer begins with status 200 and white space, and goes on with it."


class KeysPage(Page):
    account: Annotated[str | None, Field(description="Only of this account: `acc_…` or a name.")] = None
    env: Env | None = None
    status: KeyStatus | None = None


class NewKey(Change):
    account: Annotated[str, Field(description="`acc_…` or a name.")]
    env: Annotated[Env, Field(description="`live` spends the live wallet, `test` the test wallet.")]
    team: Label = None
    app: Label = None
    environment: Label = None
    expires_at: Expiry | None = None
    keepalive: Annotated[bool, Field(description=KEEPALIVE)] = False


class Rotation(Change):
    overlap_s: Annotated[
        int, Field(ge=0, le=LONGEST_OVERLAP_S, description="How long the old key stays valid, in seconds.")
    ]
    expires_at: Annotated[Expiry | None, Field(description="When the new key ends; null = never.")] = None


class KeyModeration(Change):
    """null: the account's policy."""

    moderation: ModerationPolicy


class KeyRouting(Change):
    """null: the gateway's policy."""

    routing: Routing


class KeyKeepalive(Change):
    """For callers behind proxies that cut what is silent."""

    keepalive: Annotated[bool, Field(description=KEEPALIVE)]


@reads(router, "/keys", KeysPage, "List keys")
async def list_keys(reading: Reading, page: KeysPage) -> JsonObject:
    """Keys, newest first; of each only its last four characters are known."""
    connection, account_id = reading.connection, None
    if page.account is not None:
        account_id = (await accounts.get_account(connection, page.account)).id
    wanted = KeyFilter(account_id, page.env, page.status)
    rows = await keys.page_keys(connection, wanted, after_id(page), page.rows)
    return listed(page, rows, Key.to_json, lambda key: key.id)


@writes(router, "/keys", "keys:write", NewKey, "Make a key", status=201)
async def create_key(writing: Writing, body: NewKey) -> JsonObject:
    """`key` is the key itself, shown this once."""
    labels = Labels(body.team, body.app, body.environment)
    pepper = writing.services.keyring.key_pepper
    made = await keys.create_key(
        writing.tx,
        pepper,
        body.account,
        body.env,
        labels,
        body.expires_at,
        writing.actor,
        keepalive=body.keepalive,
    )
    return made.to_json()


@writes(router, "/keys/{key}/rotate", "keys:write", Rotation, "Rotate a key", status=201)
async def rotate_key(writing: Writing, body: Rotation) -> JsonObject:
    """A new key with the same account, environment, labels, limits and policies, shown once; `replaces` is the old."""
    new, old = await keys.rotate_key(
        writing.tx,
        writing.services.keyring.key_pepper,
        writing.path["key"],
        body.overlap_s,
        body.expires_at,
        writing.actor,
    )
    return new.to_json() | {"replaces": old.to_json()}


@writes(router, "/keys/{key}/revoke", "keys:write", Change, "Revoke a key")
async def revoke_key(writing: Writing, _: Change) -> JsonObject:
    """For good: nothing is spent with it from now on. Revoking again is no error."""
    return (await keys.revoke_key(writing.tx, writing.path["key"], writing.actor)).to_json()


@writes(router, "/keys/{key}/moderation", "keys:write", KeyModeration, "Set a key's moderation")
async def set_moderation(writing: Writing, body: KeyModeration) -> JsonObject:
    """Its policy; null: its account's, else the gateway's. In force within two seconds."""
    return await set_policy(writing, "moderation", body.moderation)


@writes(router, "/keys/{key}/routing", "keys:write", KeyRouting, "Set a key's routing")
async def set_routing(writing: Writing, body: KeyRouting) -> JsonObject:
    """The policy of its requests that name none; null: the gateway's. In force within two seconds."""
    return await set_policy(writing, "routing", body.routing)


@writes(router, "/keys/{key}/keepalive", "keys:write", KeyKeepalive, "Set a key's keep-alive")
async def set_keepalive(writing: Writing, body: KeyKeepalive) -> JsonObject:
    """Whether its slow answers begin with white space. In force within two seconds."""
    key = await keys.set_keepalive(writing.tx, writing.path["key"], body.keepalive, writing.actor)
    return key.to_json()


async def set_policy(writing: Writing, kind: KeyPolicy, policy: str | None) -> JsonObject:
    return (await keys.set_policy(writing.tx, writing.path["key"], kind, policy, writing.actor)).to_json()
