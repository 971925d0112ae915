"""Prices as a file: taken out as CSV, and put in once it was seen what it would change and what that comes to."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from starlette.routing import Route

from imagegate.admin import price_import, price_tools
from imagegate.admin.console.door import After, Doing, Gone, Shown, Visit, changes, looks, said
from imagegate.admin.console.moments import read_moment
from imagegate.admin.console.subtables import beside
from imagegate.admin.console.tables import Table
from imagegate.admin.http.prices import told_over_http
from imagegate.admin.price_import import Looked
from imagegate.admin.price_rules import Allowed
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.price_files import COLUMNS, texts_of
from imagegate.catalogue.price_items import take_apart
from imagegate.catalogue.rule_rows import under_rules
from imagegate.errors import InvalidRequest, OperatorError

DAYS = 7
SHOWN = 300
"""Changes on the page; the file itself has them all."""
HERE = "/console/prices/import"


@dataclass(frozen=True, slots=True)
class Filled:
    """The form as it was sent, to be shown again. fault: why nothing could be looked at."""

    content: str = ""
    valid_from: str = ""
    env: str = "live"
    fault: str | None = None
    allowed: dict[str, bool] = field(default_factory=dict)


async def read_export(visit: Visit) -> Table:
    """The prices in force, one number a row, as an import takes them."""
    current = await price_rows.load(visit.connection)
    listed = [id_ for id_ in visit.services.catalogue.entries if id_ in current]
    items = [item for id_ in listed for item in take_apart(id_, current[id_].terms)]
    rows: list[dict[str, Any]] = [dict(texts_of(item)) for item in items]
    return Table("prices", COLUMNS, rows, "/admin/v1/prices/export?format=csv")


async def look(visit: Visit) -> Shown:
    return await shown(visit, Filled(), None)


async def shown(visit: Visit, filled: Filled, looked: Looked | None) -> Shown:
    """looked: what the file would change."""
    changed = looked.proposal.to_json()["changes"] if looked else []
    context = {
        "filled": filled,
        "looked": looked,
        "changed": changed[:SHOWN],
        "left": len(changed) - SHOWN,
        "models": len(looked.proposal.terms) if looked else 0,
        "columns": COLUMNS,
        "days": DAYS,
        "csv": visit.frame.url("/console/prices/export.csv"),
    }
    return Shown("price_import.html", context)


async def send(doing: Doing) -> Gone | After:
    """With the button `publish` all of the file is done, or nothing; else it is only looked at."""
    form, visit = doing.form, doing.visit
    content = form.get("file") or form.get("text", "")
    env = form.get("env") or "live"
    allowed = {name: form.get(name) == "1" for name in ("allow_zero", "allow_unpriced")}
    filled = Filled(content, form.get("valid_from", "").strip(), env, None, allowed)
    if not content.strip():
        raise InvalidRequest("Choose a file, or paste its rows.", param="file")
    valid_from = read_moment(said(form, "valid_from"))
    try:
        looked = await look_at(doing, filled, valid_from)
    except OperatorError as error:
        fault = Filled(content, filled.valid_from, env, error.message, allowed)
        return After(partial(shown, visit, fault, None))
    if form.get("do") != "publish":
        return After(partial(shown, visit, filled, looked))
    await publish(doing, looked, filled, valid_from)
    return Gone("/console/prices")


async def look_at(doing: Doing, filled: Filled, valid_from: datetime | None) -> Looked:
    """Raises OperatorError naming the lines and columns that are wrong."""
    services = doing.visit.services
    catalogue = await under_rules(doing.tx, services.catalogue)
    current = await price_rows.load(doing.tx, valid_from)
    proposal = price_tools.propose_file(current, catalogue, "prices.csv", filled.content)
    return await price_import.look(
        doing.tx,
        catalogue,
        services.credentials,
        current,
        proposal,
        allowed=Allowed(filled.allowed["allow_zero"], filled.allowed["allow_unpriced"]),
        valid_from=valid_from,
        days=DAYS,
        env=filled.env,
    )


async def publish(doing: Doing, looked: Looked, filled: Filled, valid_from: datetime | None) -> None:
    """Raises Conflict where it is not what was looked at, and InvalidRequest naming what is not allowed."""
    services = doing.visit.services
    with told_over_http():
        price_import.check_token(looked.proposal, valid_from, doing.form.get("token", ""))
        await price_tools.publish(
            doing.tx,
            await under_rules(doing.tx, services.catalogue),
            services.credentials,
            looked.proposal,
            doing.actor,
            allowed=Allowed(filled.allowed["allow_zero"], filled.allowed["allow_unpriced"]),
            valid_from=valid_from,
        )


ROUTES: list[Route] = [
    *beside("/console/prices/export", read_export),
    *looks(HERE, look),
    *changes(HERE, "prices:write", send),
]
