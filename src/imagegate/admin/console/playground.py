"""The playground: a form made from a model's own schema, and pictures drawn through the public API.

The page's script asks `/v1/images/generations` and `/v1/images/edits` as any caller does, with a real key of the
account and environment that the operator chooses, which ends by itself: limits, budgets, moderation and the ledger hold
for it as for everybody, and the command it shows is the request that it sent.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.routing import Route

from imagegate.admin import accounts, keys
from imagegate.admin.console.door import Doing, Shown, Visit, changes, looks, said
from imagegate.admin.console.pictures import find_image, media_path, thumb_path
from imagegate.admin.console.requests import redacted
from imagegate.admin.generations import show
from imagegate.errors import InvalidRequest, NotFound
from imagegate.generation.inputs import MOST_IMAGES
from imagegate.identity.keys import Labels
from imagegate.web.pricing import price_of

KEY_LASTS = timedelta(minutes=30)
APP = "console"
EDITS = "edit"

Json = dict[str, Any]


async def look(visit: Visit) -> Shown:
    """With `again=gen_…` the form is filled in as that request was; `input=gen_…_0,…` hands those pictures in."""
    open_ = [one for one in await accounts.list_accounts(visit.connection) if one.closed_at is None]
    again, handed_in = visit.frame.get("again"), visit.frame.get("input")
    chosen: Json = {}
    pictures: list[Json] = []
    if again:
        chosen, named = await filled(visit, again)
        pictures = [found for id_ in named if (found := await kept(visit, id_))]
    if handed_in:
        pictures = await handed(visit, handed_in.split(",")[:MOST_IMAGES])
        chosen = {name: pictures[0][name] for name in ("account", "env")} | chosen
    models = usable(visit)
    context = {
        "known": [account.name for account in open_],
        "models": models,
        "selected": selected(visit, models, chosen.get("model"), edits=bool(pictures)),
        "chosen": chosen,
        "pictures": pictures,
    }
    return Shown("playground.html", context)


def usable(visit: Visit) -> list[Json]:
    """The models that have a price. live: a provider that sells it is configured. edits: it takes pictures."""
    services = visit.services
    found = []
    for model in services.catalogue.listed():
        served = services.catalogue.served(model)
        if price_of(services, served) is None:
            continue
        offerings = services.catalogue.shelf("live").get(served.id, ())
        live = any(offering.provider in services.credentials for offering in offerings)
        found.append({"id": model.id, "live": live, "edits": EDITS in served.operations})
    return found


def selected(visit: Visit, models: Iterable[Json], wanted: str | None, *, edits: bool) -> str | None:
    """The model that stands in the form at first: the one that was said, else the usual one; else one that fits."""
    usual = visit.services.settings.default_model
    fitting = [model["id"] for model in models if model["edits"] or not edits]
    said_ = [id_ for id_ in fitting if id_ == wanted]
    return next(
        iter([*said_, *(id_ for id_ in fitting if usual in (id_, id_.partition("/")[2])), *fitting]), None
    )


async def filled(visit: Visit, generation: str) -> tuple[Json, list[str]]:
    """The fields of an earlier request, and the pictures it was given by their ids. Raises NotFound."""
    found = await show(visit.connection, visit.services.catalogue, generation)
    request = redacted(found["request"])
    plain = {name: value for name, value in request.items() if isinstance(value, str | int | float | bool)}
    if "aspect" in plain:
        plain["aspect_ratio"] = plain.pop("aspect")
    named = [image["image_id"] for image in request.get("images", ()) if "image_id" in image]
    return {**plain, "model": found["model"], "account": found["account"], "env": found["env"]}, named


async def handed(visit: Visit, ids: Iterable[str]) -> list[Json]:
    """Raises NotFound for a picture that is not kept here."""
    found = []
    for id_ in ids:
        picture = await kept(visit, id_.strip())
        if picture is None:
            raise NotFound("This picture is not kept here any more. Choose another one from the gallery.")
        found.append(picture)
    return found


async def kept(visit: Visit, image_id: str) -> Json | None:
    """A picture that was made here: whose it is, and where it is seen; None once it has gone."""
    image, services = await find_image(visit.connection, image_id), visit.services
    url = media_path(services.settings, services.keyring.links, image) if image else None
    if image is None or url is None:
        return None
    generation, _, index = image_id.rpartition("_")
    small = thumb_path(generation, int(index), image)
    name = f"{image_id}.{image['mime'].partition('/')[2]}"
    return {
        "id": image_id,
        "account": image["account"],
        "env": image["env"],
        "url": url,
        "src": small or url,
        "name": name,
    }


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
