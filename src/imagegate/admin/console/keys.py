"""Keys and apps: the keys of accounts, with when they were last used; made and shown once, revoked for good."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from imagegate.admin import accounts, key_use, keys
from imagegate.admin.console.door import After, Doing, Gone, Shown, Visit, changes, looks, said
from imagegate.admin.console.moments import read_moment
from imagegate.admin.console.tables import Table
from imagegate.admin.http.pages import Page, after_id, listed
from imagegate.errors import InvalidRequest
from imagegate.identity.keys import Labels
from imagegate.identity.rotation import KeyFilter, KeyStatus

COLUMNS = (
    "id",
    "hint",
    "status",
    "account",
    "env",
    "app",
    "team",
    "environment",
    "created_at",
    "last_used_at",
    "expires_at",
    "revoked_at",
)
STATUSES: tuple[KeyStatus, ...] = ("active", "expired", "revoked")
LONGEST_LABEL = 200
ROWS = 50


async def look(visit: Visit) -> Shown:
    return await shown(visit, None)


async def shown(visit: Visit, made: dict[str, Any] | None) -> Shown:
    """made: the key that was just made, with its plain text for the only time."""
    frame, connection = visit.frame, visit.connection
    account_id = None
    if (named := frame.get("account")) is not None:
        account_id = (await accounts.get_account(connection, named)).id
    status = next((known for known in STATUSES if known == frame.get("status")), None)
    page = Page(limit=ROWS, after=frame.get("after"))
    rows = await keys.page_keys(
        connection, KeyFilter(account_id, frame.env, status), after_id(page), page.rows
    )
    used = await key_use.read_use(connection, [key.id for key in rows])
    listed_ = listed(
        page, rows, lambda key: key.to_json() | used.get(key.id, key_use.Use()).to_json(), lambda key: key.id
    )
    query = {name: value for name in ("account", "env", "status", "after") if (value := frame.get(name))}
    api = f"/admin/v1/keys?{urlencode(query | {'limit': str(ROWS)})}"
    known = [account for account in await accounts.list_accounts(connection) if account.closed_at is None]
    context = {"made": made, "known": [account.name for account in known], "statuses": STATUSES}
    return Shown("keys.html", context, Table("keys", COLUMNS, listed_["data"], api, listed_["next"]))


def label(doing: Doing, name: str) -> str | None:
    """Raises InvalidRequest."""
    text = said(doing.form, name)
    if text is not None and len(text) > LONGEST_LABEL:
        raise InvalidRequest(f"{name} has at most {LONGEST_LABEL} characters.", param=name)
    return text


async def create(doing: Doing) -> After:
    """The answer holds the key; nothing else ever does."""
    account, env = said(doing.form, "account"), said(doing.form, "env")
    if account is None or env not in ("live", "test"):
        raise InvalidRequest("Choose an account, and live or test.", param="account")
    labels = Labels(label(doing, "team"), label(doing, "app"), label(doing, "environment"))
    pepper, ends = doing.visit.services.keyring.key_pepper, read_moment(said(doing.form, "expires_at"))
    made = await keys.create_key(doing.tx, pepper, account, env, labels, ends, doing.actor)
    return After(partial(shown, doing.visit, made.to_json()))


async def revoke(doing: Doing) -> Gone:
    await keys.revoke_key(doing.tx, doing.visit.path["key"], doing.actor)
    return Gone("/console/keys")


ROUTES: list[Route] = [
    *looks("/console/keys", look, table=True),
    *changes("/console/keys", "keys:write", create),
    *changes("/console/keys/{key}/revoke", "keys:write", revoke),
]
