"""Welcome: what there is to do first, how each client is connected to this gateway, and a first provider."""

from functools import partial
from typing import Any

from pydantic import SecretStr
from starlette.routing import Route

from imagegate.admin import accounts, keys, provider_trial, providers
from imagegate.admin.console.attention import place_of
from imagegate.admin.console.door import After, Doing, Shown, Visit, changes, looks, said
from imagegate.admin.console.pictures import thumb_path
from imagegate.admin.generation_search import Search, search
from imagegate.admin.pictures import pictures_of, prompt_of
from imagegate.errors import ImagegateError, InvalidRequest
from imagegate.identity.credentials import Access, ProviderKey
from imagegate.identity.keys import Labels
from imagegate.identity.provider_keys import SHAPE, hint_of
from imagegate.identity.rotation import KeyFilter
from imagegate.registry import places_of

Json = dict[str, Any]
SANDBOX = "sandbox"
LATEST = 4


async def look(visit: Visit) -> Shown:
    return await shown(visit)


async def shown(visit: Visit, made: Json | None = None, trial: Json | None = None) -> Shown:
    """made: a key that was just made, with its plain text for the only time. trial: of a provider's key."""
    connection, services = visit.connection, visit.services
    keys_ = await keys.page_keys(connection, KeyFilter(status="active"), None, 1)
    asked = [name for name in services.credentials if name != SANDBOX]
    live = made is not None and made["env"] == "live"
    open_ = [one.name for one in await accounts.list_accounts(connection) if one.closed_at is None]
    context = {
        "drawn": await last_picture(visit),
        "known": open_,
        "has_key": bool(keys_),
        "asked": asked,
        "made": made,
        "model": services.settings.default_model if live and asked else SANDBOX,
        "addable": addable(visit),
        "trial": trial,
    }
    return Shown("welcome.html", context)


async def last_picture(visit: Visit) -> Json | None:
    """The newest one that is still kept."""
    found = await search(visit.connection, Search(status="completed"), None, LATEST)
    stored = await pictures_of(visit.connection, [one.row for one in found])
    for one in found:
        row = one.to_json() | {"prompt": prompt_of(one.row)}
        images = stored.get(row["id"], [])
        if images and (small := thumb_path(row["id"], 0, images[0])):
            return row | {"small": small, "size": images[0]["size"]}
    return None


def addable(visit: Visit) -> list[Json]:
    """The providers that take a key and whose address is known; those that cannot be asked yet first."""
    services = visit.services
    names = places_of(services.catalogue, services.settings)
    return sorted(
        ({"name": name, "asked": name in services.credentials} for name in names),
        key=lambda one: (one["asked"], one["name"]),
    )


async def make_key(doing: Doing) -> After:
    """A key without an end, that the snippets of this one answer hold."""
    account, env = said(doing.form, "account"), said(doing.form, "env")
    if account is None or env not in ("live", "test"):
        raise InvalidRequest("Choose an account, and live or test.", param="account")
    pepper = doing.visit.services.keyring.key_pepper
    made = await keys.create_key(doing.tx, pepper, account, env, Labels(), None, doing.actor)
    return After(partial(shown, doing.visit, made=made.to_json()))


async def try_key(doing: Doing) -> After:
    """Nothing is kept, and nothing is drawn."""
    return After(partial(tried, doing.visit, *typed(doing), added=False))


async def add_key(doing: Doing) -> After:
    """Sealed and in use within two seconds; then tested. Raises what `providers.add_key` raises."""
    name, key = typed(doing)
    place = place_of(doing.visit)
    label = said(doing.form, "name") or "console"
    await providers.add_key(doing.tx, place, name, label, key, doing.actor)
    return After(partial(tried, doing.visit, name, key, added=True))


def typed(doing: Doing) -> tuple[str, SecretStr]:
    """Raises InvalidRequest, NotFound."""
    name, key = said(doing.form, "provider"), said(doing.form, "key")
    if name is None or key is None:
        raise InvalidRequest("Choose a provider, and paste its key.", param="key")
    providers.get_provider(doing.visit.services.catalogue, name)
    return name, SecretStr(key)


async def tried(visit: Visit, name: str, key: SecretStr, *, added: bool) -> Shown:
    """The page, with what a question that costs nothing has shown of the key."""
    try:
        result = await try_one(visit, name, key)
    except ImagegateError as error:
        result = {"provider": name, "ok": False, "asked": None, "detail": error.message, "keys": []}
    return await shown(visit, trial=result | {"added": added})


async def try_one(visit: Visit, name: str, key: SecretStr) -> Json:
    """Raises InvalidRequest for what can be no key."""
    services, plain = visit.services, key.get_secret_value()
    if not SHAPE.fullmatch(plain):
        raise InvalidRequest(
            "A key has no blanks, no commas and no letters beyond ASCII. Paste it once more."
        )
    place = places_of(services.catalogue, services.settings).get(name)
    access = Access(place, (ProviderKey("new", key, hint_of(plain)),)) if place else None
    provider = providers.get_provider(services.catalogue, name)
    return await provider_trial.try_keys(services.outbound, provider, access)


ROUTES: list[Route] = [
    *looks("/console/welcome", look),
    *changes("/console/welcome/key", "keys:write", make_key),
    *changes("/console/welcome/provider/test", "providers:write", try_key),
    *changes("/console/welcome/provider", "providers:write", add_key),
]
