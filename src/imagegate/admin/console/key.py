"""One key: what it may draw, what its budgets have left, when it was used; a new one in its place."""

from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from starlette.routing import Route

from imagegate.admin import key_use, keys, limits
from imagegate.admin.console import keys as keys_page
from imagegate.admin.console import limit_forms
from imagegate.admin.console.door import After, Doing, Gone, Shown, Visit, changes, looks, said, whole
from imagegate.admin.console.subtables import beside
from imagegate.admin.console.tables import Table
from imagegate.admin.keys import Key, key_from
from imagegate.errors import InvalidRequest
from imagegate.identity import rotation
from imagegate.identity.limit_rows import Scope
from imagegate.identity.rotation import KeyPolicy
from imagegate.routing.policy import POLICIES

ONE = "/console/keys/{key}"
MODERATION = ("off", "flag", "block")
COLUMNS = (*keys_page.COLUMNS, "rotated_from", "moderation", "routing", "keepalive")


async def look(visit: Visit) -> Shown:
    """Raises NotFound."""
    key = await find(visit)
    used = await key_use.read_use(visit.connection, [key.id])
    one = key.to_json() | used.get(key.id, key_use.Use()).to_json()
    api = f"/admin/v1/keys?{urlencode({'account': key.account, 'env': key.env, 'limit': 200})}"
    context = {
        "one": one,
        "limits": await read_limits(visit),
        "words": limit_forms.WORDS,
        "moderations": MODERATION,
        "policies": POLICIES,
        "here": f"/console/keys/{one['id']}",
    }
    return Shown("key.html", context, Table("key", COLUMNS, [one], api))


async def find(visit: Visit) -> Key:
    return key_from(await rotation.get_key(visit.connection, keys.get_key_id(visit.path["key"])))


async def read_limits(visit: Visit) -> Table:
    """Its own; those of its account, team and app hold as well."""
    key = await find(visit)
    found = await limits.show_limits(visit.connection, key.account, key.env)
    mine = [shown.to_json() for shown in found if shown.limits.scope == Scope("key", str(key.id))]
    path = f"/admin/v1/accounts/{quote(key.account, safe='')}/limits/{key.env}"
    return Table("limits", limit_forms.COLUMNS, mine, path)


async def of(doing: Doing) -> Key:
    return await find(doing.visit)


async def set_limits(doing: Doing) -> Gone:
    """Raises what `limits.set_limits` and `limits.clear_limits` raise."""
    key = await of(doing)
    its = replace(doing, form={**doing.form, "env": key.env})
    await limit_forms.set_limits(its, key.account, Scope("key", str(key.id)))
    return Gone(f"/console/keys/{doing.visit.path['key']}")


async def set_policies(doing: Doing) -> Gone:
    """What differs is changed. Raises InvalidRequest."""
    key, name, form = await of(doing), doing.visit.path["key"], doing.form
    kinds: tuple[tuple[KeyPolicy, str | None, tuple[str, ...]], ...] = (
        ("moderation", key.moderation, MODERATION),
        ("routing", key.routing, tuple(POLICIES)),
    )
    for kind, before, words in kinds:
        after = said(form, kind)
        if after is not None and after not in words:
            raise InvalidRequest(f"{kind} is one of {', '.join(words)}.", param=kind)
        if after != before:
            await keys.set_policy(doing.tx, name, kind, after, doing.actor)
    if (on := form.get("keepalive") == "1") != key.keepalive:
        await keys.set_keepalive(doing.tx, name, on, doing.actor)
    return Gone(f"/console/keys/{name}")


async def rotate(doing: Doing) -> After:
    """The answer holds the new key; nothing else ever does."""
    visit, overlap_s = doing.visit, whole(doing.form, "overlap_s")
    pepper, name = visit.services.keyring.key_pepper, visit.path["key"]
    new, _ = await keys.rotate_key(doing.tx, pepper, name, overlap_s, None, doing.actor)
    return After(partial(rotated, visit, new.to_json()))


async def rotated(visit: Visit, made: dict[str, Any]) -> Shown:
    """As on the page of all keys, whose address its links have."""
    return await keys_page.shown(replace(visit, frame=replace(visit.frame, path="/console/keys")), made)


ROUTES: list[Route] = [
    *beside(f"{ONE}/limits", read_limits),
    *looks(ONE, look, table=True),
    *changes(f"{ONE}/limits", "keys:write", set_limits),
    *changes(f"{ONE}/policies", "keys:write", set_policies),
    *changes(f"{ONE}/rotate", "keys:write", rotate),
]
