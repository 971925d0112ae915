"""`/admin/v1/prices`: what images cost, in versions that begin at a moment and are never overwritten."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin import price_check, price_import, price_matrix, price_preview, price_tools
from imagegate.admin.http.door import Change, JsonObject, Question, Reading, Writing, asks, reads, writes
from imagegate.admin.http.fields import Env, Expiry
from imagegate.admin.http.pages import Page, Query, after_number, listed
from imagegate.admin.price_rules import Allowed
from imagegate.admin.price_tools import Prices, Proposal, price_json
from imagegate.admin.prices import list_prices
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.catalogue import Catalogue
from imagegate.catalogue.prices import Price, PriceBook
from imagegate.catalogue.rule_rows import under_rules
from imagegate.catalogue.terms import MAX_TOKENS
from imagegate.domain import Size
from imagegate.errors import Conflict, InvalidRequest, OperatorError

router = APIRouter()

Form = Literal["csv", "yaml"]
ModelName = Annotated[str, Field(min_length=1, max_length=200, description="Any name of a model.")]
ImageTokens = Annotated[int, Field(ge=0, le=MAX_TOKENS, description="Whole tokens for one image.")]
SizeText = Annotated[str | None, Field(max_length=11, description="As `1024x1024`; null = every size.")]
Quality = Annotated[str | None, Field(max_length=40, description="One of the model's; null = every quality.")]
Content = Annotated[str, Field(description="`model,item,size,quality,tokens`, as an export has it.")]
ValidFrom = Annotated[Expiry | None, Field(description="From when on; null = at once.")]
Zero = Annotated[bool, Field(description="Let images cost nothing.")]
Unpriced = Annotated[bool, Field(description="Let models, sizes or qualities lose their price.")]


class PricesQuery(Query):
    model: ModelName | None = None


class ExportQuery(Query):
    format: Form = "csv"


class CheckQuery(Query):
    everything: Annotated[bool, Field(description="Also models whose providers are not configured here.")] = (
        False
    )


class NewPrice(Change):
    model: ModelName
    tokens: ImageTokens
    size: SizeText = None
    quality: Quality = None
    valid_from: ValidFrom = None
    allow_zero: Zero = False
    allow_unpriced: Unpriced = False


class Ending(Change):
    valid_from: ValidFrom = None


class Import(Change):
    content: Content
    format: Form = "csv"
    publish: Annotated[bool, Field(description="false: only the difference is told.")] = False
    token: Annotated[
        str | None, Field(max_length=64, description="Of the look before: publish that, or nothing.")
    ] = None
    valid_from: ValidFrom = None
    allow_zero: Zero = False
    allow_unpriced: Unpriced = False


class Preview(Question):
    """Either `content`, or `model` and `tokens`."""

    content: Content | None = None
    format: Form = "csv"
    model: ModelName | None = None
    tokens: ImageTokens | None = None
    size: SizeText = None
    quality: Quality = None
    days: Annotated[int, Field(ge=1, le=90, description="How many days to look back.")] = 7
    env: Env = "live"


@reads(router, "/prices", PricesQuery, "List prices")
async def list_in_force(reading: Reading, query: PricesQuery) -> JsonObject:
    """The prices in force, ended ones too. Of one model its own, or the one it stands under."""
    catalogue, current = await read_prices(reading)
    data = [price_json(price) for price in list_prices(catalogue, PriceBook(current), query.model)]
    return {"object": "list", "data": data, "has_more": False, "next": None}


@reads(router, "/prices/export", ExportQuery, "Export prices")
async def export(reading: Reading, query: ExportQuery) -> JsonObject:
    """`content`: the prices in force as a file, one number a row, as `import` takes it."""
    catalogue, current = await read_prices(reading)
    return {"format": query.format, "content": price_tools.export(current, catalogue, query.format)}


@reads(router, "/prices/check", CheckQuery, "Check prices")
async def check(reading: Reading, query: CheckQuery) -> JsonObject:
    """`findings`: models that can be bought here without a price, at zero or below cost. `ok`: there are none."""
    catalogue, current = await read_prices(reading)
    services = reading.services
    found = price_check.check(
        catalogue, services.settings, services.credentials, current, everything=query.everything
    )
    return {"ok": not found, "findings": [finding.to_json() for finding in found]}


@reads(router, "/prices/{model:path}/matrix", Query, "Show a model's prices, costs and margins")
async def show_matrix(reading: Reading, _: Query) -> JsonObject:
    """One image in each size at each quality. The cost and the margin are those of its dearest provider."""
    catalogue, current = await read_prices(reading)
    model = catalogue.find(reading.path["model"]).model
    data = price_matrix.matrix(catalogue, PriceBook(current), reading.services.settings, model)
    return {"object": "list", "data": data, "has_more": False, "next": None}


@reads(router, "/prices/{model:path}", Page, "List a model's prices")
async def list_versions(reading: Reading, page: Page) -> JsonObject:
    """Every price the model has had, newest version first. `coming`: it is written and has not begun yet."""
    catalogue = await under_rules(reading.connection, reading.services.catalogue)
    model_id = catalogue.find(reading.path["model"]).model.id
    rows = await price_rows.list_versions(reading.connection, model_id, page.rows, after_number(page))
    coming = {price.version for price in await price_rows.load_coming(reading.connection) if price in rows}

    def shown(price: Price) -> dict[str, Any]:
        return {**price_json(price), "coming": price.version in coming}

    return listed(page, rows, shown, lambda price: price.version)


@writes(router, "/prices", "prices:write", NewPrice, "Set a price", status=201)
async def set_price(writing: Writing, body: NewPrice) -> JsonObject:
    """A new version. Without size and quality one price for every image; else the rest of the price stays."""
    with told_over_http():
        price = await price_tools.set_price(
            writing.tx,
            await under_rules(writing.tx, writing.services.catalogue),
            writing.services.credentials,
            body.model,
            size=read_size(body.size),
            quality=body.quality,
            tokens=body.tokens,
            actor=writing.actor,
            allowed=Allowed(body.allow_zero, body.allow_unpriced),
            valid_from=body.valid_from,
        )
    return price_json(price)


@writes(router, "/prices/import", "prices:write", Import, "Import prices")
async def import_prices(writing: Writing, body: Import) -> JsonObject:
    """What a file would change; with `publish` all of it is, or nothing. Models it does not name stay as they are.

    `refused`: why it would not be published as it is; null: nothing is in the way. `token` stands for what was looked
    at: sent with `publish`, it is that which is published, or nothing (409).
    """
    services = writing.services
    catalogue = await under_rules(writing.tx, services.catalogue)
    current = await price_rows.load(writing.tx, body.valid_from)
    proposal = propose_file(current, catalogue, body.format, body.content)
    allowed = Allowed(body.allow_zero, body.allow_unpriced)
    refused, published = None, list[Price]()
    if not body.publish:
        refused = refusal(catalogue, services.credentials, current, proposal, allowed)
    else:
        with told_over_http():
            price_import.check_token(proposal, body.valid_from, body.token)
            published = await price_tools.publish(
                writing.tx,
                catalogue,
                services.credentials,
                proposal,
                writing.actor,
                allowed=allowed,
                valid_from=body.valid_from,
            )
    written = [price_json(price) for price in published]
    token = price_import.token_of(proposal, body.valid_from)
    return {**proposal.to_json(), "refused": refused, "published": written, "token": token}


def refusal(
    catalogue: Catalogue, reachable: Collection[str], current: Prices, proposal: Proposal, allowed: Allowed
) -> str | None:
    refused = price_import.refusal(catalogue, reachable, current, proposal, allowed)
    return in_fields(refused) if refused is not None else None


@asks(router, "/prices/preview", Preview, "Preview prices")
async def preview(reading: Reading, body: Preview) -> JsonObject:
    """What the last days would have cost at other prices: of a file's, or of one that is set. Nothing is changed."""
    catalogue, current = await read_prices(reading)
    if body.content is not None and body.model is None and body.tokens is None:
        proposal = propose_file(current, catalogue, body.format, body.content)
    elif body.content is None and body.model is not None and body.tokens is not None:
        size = read_size(body.size)
        with told_over_http():
            proposal = price_tools.propose_set(
                current, catalogue, body.model, size, body.quality, body.tokens
            )
    else:
        raise InvalidRequest("Send either content, or model and tokens.", param="content")
    found = await price_preview.preview(
        reading.connection, catalogue, current, proposal, days=body.days, env=body.env
    )
    return {**found.to_json(), "changes": proposal.to_json()["changes"]}


@writes(router, "/prices/{model:path}/end", "prices:write", Ending, "End a price")
async def end_price(writing: Writing, body: Ending) -> JsonObject:
    """From then on the model cannot be bought, until a price is set again."""
    catalogue = await under_rules(writing.tx, writing.services.catalogue)
    reachable, name, until = writing.services.credentials, writing.path["model"], body.valid_from
    with told_over_http():
        price = await price_tools.end_price(
            writing.tx, catalogue, reachable, name, actor=writing.actor, valid_from=until
        )
    return price_json(price)


async def read_prices(reading: Reading) -> tuple[Catalogue, Prices]:
    """The catalogue and the prices in force as the database has them this moment."""
    catalogue = await under_rules(reading.connection, reading.services.catalogue)
    return catalogue, await price_rows.load(reading.connection)


def propose_file(current: Prices, catalogue: Catalogue, form: Form, content: str) -> Proposal:
    try:
        return price_tools.propose_file(current, catalogue, f"content.{form}", content)
    except OperatorError as error:
        raise InvalidRequest(error.message, code="invalid_price_file", param="content") from None


def read_size(text: str | None) -> Size | None:
    size = Size.parse(text) if text is not None else None
    if text is not None and size is None:
        raise InvalidRequest("A size is written as 1024x1024.", param="size")
    return size


def in_fields(text: str) -> str:
    return text.replace("--allow-zero", "allow_zero").replace("--allow-unpriced", "allow_unpriced")


@contextmanager
def told_over_http() -> Iterator[None]:
    """What stands in a change's way, in the words of this API: the command line's switches are fields here."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(in_fields(error.message), code=error.code, param=error.param) from None
    except OperatorError as error:
        raise Conflict(error.message, code="price_conflict") from None
