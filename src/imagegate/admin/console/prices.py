"""Models and prices: what is sold, at what price, with what margin; a new price, looked at before it is set."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.routing import Route

from imagegate.admin import price_check, price_matrix, price_preview, price_tools
from imagegate.admin.console import weights
from imagegate.admin.console.door import After, Doing, Gone, Shown, Visit, changes, looks, said, whole
from imagegate.admin.console.margins import margin_of
from imagegate.admin.console.moments import read_moment
from imagegate.admin.console.subtables import beside
from imagegate.admin.console.tables import Table
from imagegate.admin.http.pages import Page, after_number, listed
from imagegate.admin.http.prices import read_size, told_over_http
from imagegate.admin.models import model_json
from imagegate.admin.price_rules import Allowed
from imagegate.admin.prices import price_json
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.prices import PriceBook
from imagegate.catalogue.rule_rows import under_rules

COLUMNS = (
    "id",
    "available",
    "providers",
    "price_from_tokens",
    "price_to_tokens",
    "price_version",
    "cost_from_usd",
    "margin_percent",
    "served_by",
    "shutdown_date",
)
VERSIONS = ("version", "valid_from", "coming", "ended", "unit", "prices", "source", "reason", "actor")
CELLS = (
    "size",
    "quality",
    "tokens",
    "by_usage",
    "price_usd",
    "cost_usd",
    "dearest",
    "margin_percent",
)
DAYS = 7
ROWS = 30


async def look(visit: Visit) -> Shown:
    """Every model; with `available=1` those that can be bought here, with `q` those whose id has it."""
    services, frame = visit.services, visit.frame
    catalogue = await under_rules(visit.connection, services.catalogue)
    current = await price_rows.load(visit.connection)
    book = PriceBook(current)
    found = price_check.check(catalogue, services.settings, services.credentials, current)
    faulty = {fault.model for fault in found if fault.kind == frame.get("find")}
    rows = []
    for model in catalogue.models.values():
        shown = model_json(catalogue, book, services.credentials, model)
        if frame.get("available") and not shown["available"]:
            continue
        if (wanted := frame.get("q")) and wanted.lower() not in model.id.lower():
            continue
        if frame.get("find") and model.id not in faulty:
            continue
        rows.append(shown | margin_of(catalogue, book, services.settings, model))
    context = {"findings": [finding.to_json() for finding in found]}
    return Shown("prices.html", context, Table("models", COLUMNS, rows, "/admin/v1/models"))


async def look_at_one(visit: Visit) -> Shown:
    return await shown(visit, {}, None)


async def shown(visit: Visit, form: Mapping[str, str], preview: dict[str, Any] | None) -> Shown:
    """form: what was filled in. preview: what the last days would have cost with it."""
    services = visit.services
    catalogue = await under_rules(visit.connection, services.catalogue)
    model = catalogue.find(visit.path["model"]).model
    book = PriceBook(await price_rows.load(visit.connection))
    page = Page(limit=ROWS, after=visit.frame.get("after"))
    rows = await price_rows.list_versions(visit.connection, model.id, page.rows, after_number(page))
    coming = {price.version for price in await price_rows.load_coming(visit.connection) if price in rows}
    listed_ = listed(
        page,
        rows,
        lambda price: {**price_json(price), "coming": price.version in coming},
        lambda price: price.version,
    )
    api = f"/admin/v1/prices/{quote(model.id)}?limit={ROWS}"
    table = Table("prices", VERSIONS, listed_["data"], api, listed_["next"])
    one = model_json(catalogue, book, services.credentials, model)
    context = {
        "one": one | margin_of(catalogue, book, services.settings, model),
        "form": form,
        "preview": preview,
        "days": DAYS,
        "matrix": await read_matrix(visit),
        "weights": await read_weights(visit),
        "policy": services.settings.routing_policy,
        "here": f"/console/models/{model.id}",
    }
    return Shown("model.html", context, table)


async def change(doing: Doing) -> Gone | After:
    """With the button `preview` nothing is set: what the last days would have cost is shown."""
    form, visit = doing.form, doing.visit
    tokens, size, quality = whole(form, "tokens"), read_size(said(form, "size")), said(form, "quality")
    name = visit.path["model"]
    catalogue = await under_rules(doing.tx, visit.services.catalogue)
    with told_over_http():
        if form.get("do") == "preview":
            current = await price_rows.load(doing.tx)
            proposal = price_tools.propose_set(current, catalogue, name, size, quality, tokens)
            found = await price_preview.preview(
                doing.tx, catalogue, current, proposal, days=DAYS, env=form.get("env") or "live"
            )
            seen = {**found.to_json(), "changes": proposal.to_json()["changes"]}
            return After(partial(shown, visit, form, seen))
        await price_tools.set_price(
            doing.tx,
            catalogue,
            visit.services.credentials,
            name,
            size=size,
            quality=quality,
            tokens=tokens,
            actor=doing.actor,
            allowed=Allowed(zero=form.get("allow_zero") == "1"),
            valid_from=read_moment(said(form, "valid_from")),
        )
    return Gone(f"/console/models/{quote(name)}")


async def prefer(doing: Doing) -> Gone:
    """Raises what `weights.prefer` raises."""
    name = doing.visit.path["model"]
    await weights.prefer(doing, name, said(doing.form, "provider"))
    return Gone(f"/console/models/{quote(name)}")


async def read_matrix(visit: Visit) -> Table:
    """One image in each size at each quality."""
    catalogue = await under_rules(visit.connection, visit.services.catalogue)
    model = catalogue.find(visit.path["model"]).model
    book = PriceBook(await price_rows.load(visit.connection))
    rows = price_matrix.matrix(catalogue, book, visit.services.settings, model)
    return Table("matrix", CELLS, rows, f"/admin/v1/prices/{quote(model.id)}/matrix")


async def read_weights(visit: Visit) -> Table:
    """The offerings of the model."""
    catalogue = await under_rules(visit.connection, visit.services.catalogue)
    model = catalogue.find(visit.path["model"]).model
    rows = weights.weigh([model], await weights.load_book(visit.connection), visit.services.credentials)
    return Table("weights", weights.COLUMNS, rows, "/admin/v1/models/preferences")


ONE = "/console/models/{model:path}"
ROUTES: list[Route] = [
    *looks("/console/prices", look, table=True),
    *beside(f"{ONE}/matrix", read_matrix),
    *beside(f"{ONE}/weights", read_weights),
    *looks(ONE, look_at_one, table=True),
    *changes(f"{ONE}/prefer", "models:write", prefer),
    *changes(ONE, "prices:write", change),
]
