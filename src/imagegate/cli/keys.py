"""`imagegate keys`: what callers show."""

import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imagegate.cli.desk import Desk, run
from imagegate.cli.options import (
    AccountName,
    AnyAccountName,
    Env,
    Expires,
    Json,
    PolicyOrDefault,
    Reason,
    ReasonOrNone,
    RoutingOrDefault,
    actor,
    read_expiry,
)

if TYPE_CHECKING:
    from imagegate.identity.rotation import KeyPolicy

app = typer.Typer(
    name="keys", help="API keys: make, list, rotate, revoke, set policies.", no_args_is_help=True
)

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

KEEPALIVE = "Slow answers begin with status 200 and white space, for proxies that cut what is silent."

KeyId = Annotated[str, typer.Argument(metavar="ID", help="key_… as `keys list` shows it.")]


def an_overlap(text: str) -> str:
    if re.fullmatch(r"\d{1,7}[smhd]", text) is None:
        raise typer.BadParameter(f"{text!r} is no time: write it as 90s, 30m, 24h or 7d.")
    return text


@app.command()
def create(
    account: AccountName,
    env: Annotated[Env, typer.Option("--env", help="live spends the live wallet, test the test wallet.")],
    team: Annotated[str | None, typer.Option(help="Label: who.")] = None,
    app_: Annotated[str | None, typer.Option("--app", help="Label: what.")] = None,
    environment: Annotated[str | None, typer.Option(help="Label: where.")] = None,
    expires: Expires = None,
    keepalive: Annotated[bool, typer.Option("--keepalive", help=KEEPALIVE)] = False,
    reason: ReasonOrNone = "by command line",
    json: Json = False,
) -> None:
    """Make a key and show it, once."""
    from imagegate.admin import keys
    from imagegate.identity.audit import Actor
    from imagegate.identity.keys import Labels

    async def work(desk: Desk) -> None:
        labels, by = Labels(team, app_, environment), Actor(actor(), reason)
        until = read_expiry(expires) if expires else None
        async with desk.registry() as registry, registry.engine.begin() as tx:
            pepper = registry.keyring.key_pepper
            key = await keys.create_key(tx, pepper, account, env, labels, until, by, keepalive=keepalive)
        made = key.to_json()
        ends = f", good until {made['expires_at']}" if until else ""
        desk.answer(
            made, f"{key.plain}\n\n{made['id']} ({env}{ends}). Keep the key now: it is shown this once."
        )

    run(work, json=json)


@app.command("list")
def list_(account: AnyAccountName = None, json: Json = False) -> None:
    """List the keys, oldest first; of each only its last four characters are known."""
    from imagegate.admin import keys

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.connect() as connection:
            listed = [key.to_json() for key in await keys.list_keys(connection, account)]
        rows = [
            (
                key["id"],
                key["account"],
                key["env"],
                f"…{key['hint']}",
                key["status"],
                " ".join(key[label] for label in ("team", "app", "environment") if key[label]),
                key["expires_at"] or "",
                key["moderation"] or "",
                key["routing"] or "",
                "on" if key["keepalive"] else "",
            )
            for key in listed
        ]
        columns = (
            "id",
            "account",
            "env",
            "key",
            "status",
            "labels",
            "expires",
            "moderation",
            "routing",
            "keep-alive",
        )
        empty = "There is no key yet. Make one: imagegate keys create --account NAME --env test"
        desk.answer_table({"keys": listed}, columns, rows, empty)

    run(work, json=json)


@app.command()
def rotate(
    key_id: KeyId,
    reason: Reason,
    overlap: Annotated[
        str,
        typer.Option(
            metavar="TIME", callback=an_overlap, help="How long the old key stays valid: 90s, 24h, 7d."
        ),
    ] = "24h",
    expires: Expires = None,
    json: Json = False,
) -> None:
    """Make a key in another's place and show it, once. It has the old one's labels, limits and policies."""
    from imagegate.admin import keys
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        overlap_s = int(overlap[:-1]) * SECONDS[overlap[-1]]
        until, by = read_expiry(expires) if expires else None, Actor(actor(), reason)
        async with desk.registry() as registry, registry.engine.begin() as tx:
            pepper = registry.keyring.key_pepper
            new, old = await keys.rotate_key(tx, pepper, key_id, overlap_s, until, by)
        made, ended = new.to_json(), old.to_json()
        desk.answer(
            made | {"replaces": ended},
            f"{new.plain}\n\n{made['id']} ({new.env}) replaces {ended['id']}, which ends at {ended['expires_at']}. "
            "Keep the key now: it is shown this once.",
        )

    run(work, json=json)


@app.command()
def revoke(key_id: KeyId, reason: ReasonOrNone = "by command line", json: Json = False) -> None:
    """Revoke a key for good. From now on nothing is spent with it."""
    from imagegate.admin import keys
    from imagegate.identity.audit import Actor
    from imagegate.ids import public_id

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            key = await keys.revoke_key(tx, key_id, Actor(actor(), reason))
        revoked = public_id("key", key.id)
        desk.answer({"id": revoked, "status": "revoked"}, f"{revoked} is revoked.")

    run(work, json=json)


@app.command("set-moderation")
def set_moderation(key_id: KeyId, policy: PolicyOrDefault, reason: Reason, json: Json = False) -> None:
    """Set a key's policy of moderation. In force within two seconds."""
    set_policy(key_id, "moderation", policy, "its account decides", reason, json=json)


@app.command("set-routing")
def set_routing(key_id: KeyId, policy: RoutingOrDefault, reason: Reason, json: Json = False) -> None:
    """Set the routing policy of a key's requests that name none. In force within two seconds."""
    set_policy(key_id, "routing", policy, "the gateway decides", reason, json=json)


@app.command("set-keepalive")
def set_keepalive(
    key_id: KeyId,
    switch: Annotated[Literal["on", "off"], typer.Argument(metavar="on|off", help=KEEPALIVE)],
    reason: Reason,
    json: Json = False,
) -> None:
    """Set whether a key's slow answers begin before they are known. In force within two seconds."""
    from imagegate.admin import keys
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        async with desk.registry() as registry, registry.engine.begin() as tx:
            key = await keys.set_keepalive(tx, key_id, switch == "on", Actor(actor(), reason))
        changed = key.to_json()
        desk.answer(changed, f"Keep-alive of {changed['id']}: {switch}.")

    run(work, json=json)


def set_policy(
    key_id: str, kind: "KeyPolicy", policy: str, by_default: str, reason: str, *, json: bool
) -> None:
    """policy: a word of that kind, or `default`. by_default: who decides then, as it is told."""
    from imagegate.admin import keys
    from imagegate.identity.audit import Actor

    async def work(desk: Desk) -> None:
        wanted = None if policy == "default" else policy
        async with desk.registry() as registry, registry.engine.begin() as tx:
            key = await keys.set_policy(tx, key_id, kind, wanted, Actor(actor(), reason))
        changed = key.to_json()
        desk.answer(changed, f"{kind.capitalize()} of {changed['id']}: {wanted or by_default}.")

    run(work, json=json)
