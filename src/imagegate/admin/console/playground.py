"""The playground: a form made from a model's own schema, and pictures drawn through the public API.

The page's script asks `/v1/images/generations` as any caller does, with a real key of the account and environment that
the operator chooses, which ends by itself: limits, budgets, moderation and the ledger hold for it as for everybody, and
the command it shows is the request that it sent.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.routing import Route

from imagegate.admin import accounts, keys
from imagegate.admin.console.door import Doing, Shown, Visit, changes, looks, said
from imagegate.admin.console.requests import redacted
from imagegate.admin.generations import show
from imagegate.errors import InvalidRequest
from imagegate.identity.keys import Labels
from imagegate.web.pricing import price_of

KEY_LASTS = timedelta(minutes=30)
APP = "console"


async def look(visit: Visit) -> Shown:
    """With `again=gen_…` the form is filled in as that request was."""
    open_ = [one for one in await accounts.list_accounts(visit.connection) if one.closed_at is None]
    services = visit.services
    usable = [
        {
            "id": model.id,
            "live": any(
                o.provider in services.credentials
                for o in services.catalogue.shelf("live").get(services.catalogue.served(model).id, ())
            ),
        }
        for model in services.catalogue.listed()
        if price_of(services, services.catalogue.served(model)) is not None
    ]
    again = visit.frame.get("again")
    context = {
        "known": [account.name for account in open_],
        "models": usable,
        "chosen": await filled(visit, again) if again else {},
    }
    return Shown("playground.html", context)


async def filled(visit: Visit, generation: str) -> dict[str, Any]:
    """The fields of an earlier request. Raises NotFound."""
    found = await show(visit.connection, visit.services.catalogue, generation)
    request = redacted(found["request"])
    plain = {name: value for name, value in request.items() if isinstance(value, str | int | float | bool)}
    if "aspect" in plain:
        plain["aspect_ratio"] = plain.pop("aspect")
    return {**plain, "model": found["model"], "account": found["account"], "env": found["env"]}


async def make_key(doing: Doing) -> dict[str, Any]:
    """A key of its own for half an hour. It is listed and can be revoked like any other."""
    account, env = said(doing.form, "account"), said(doing.form, "env")
    if account is None or env not in ("live", "test"):
        raise InvalidRequest("Choose an account, and live or test.", param="account")
    pepper, ends = doing.visit.services.keyring.key_pepper, datetime.now(UTC) + KEY_LASTS
    made = await keys.create_key(doing.tx, pepper, account, env, Labels(app=APP), ends, doing.actor)
    shown = made.to_json()
    return {name: shown[name] for name in ("id", "key", "env", "account", "expires_at")}


ROUTES: list[Route] = [
    *looks("/console/playground", look),
    *changes("/console/playground/key", "keys:write", make_key),
]
