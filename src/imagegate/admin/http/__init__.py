"""The admin API, `/admin/v1`: one file a noun, each with a `router`.

A further noun is a file here and a word in NOUNS. In it, `door.reads` and `door.writes` make routes of plain functions:

    router = APIRouter()

    class NewPrice(Change):                    # the body: strict, no unknown fields, always with a reason
        model: str
        tokens: Tokens

    class PricesPage(Page):                    # the query: limit, after, and what narrows the list
        model: str | None = None

    @reads(router, "/prices", PricesPage, "List prices")
    async def list_prices(reading: Reading, page: PricesPage) -> JsonObject:
        rows = await prices.page(reading.connection, page.model, after_id(page), page.rows)
        return listed(page, rows, price_json, lambda price: price.id)

    @writes(router, "/prices", "prices:write", NewPrice, "Set a price", status=201)
    async def set_price(writing: Writing, body: NewPrice) -> JsonObject:
        return price_json(await prices.set_price(writing.tx, …, actor=writing.actor))

The door checks the key and its scope, reads the body, opens the transaction, and answers every error as a problem; the
function it calls records the change with `writing.actor`, which carries the reason and the request's id.
"""

from fastapi import APIRouter

from imagegate.admin.http import (
    accounts,
    allowances,
    audit,
    generations,
    keys,
    limits,
    models,
    operators,
    prices,
    providers,
    usage,
    wallets,
    webhooks,
)
from imagegate.admin.http.described import SECURITY_SCHEME
from imagegate.admin.http.problems import FACE, PREFIX

NOUNS = (
    accounts,
    keys,
    limits,
    wallets,
    allowances,
    models,
    providers,
    prices,
    generations,
    webhooks,
    usage,
    operators,
    audit,
)

router = APIRouter(prefix=PREFIX, tags=["admin"])
for noun in NOUNS:
    router.include_router(noun.router)

__all__ = ["FACE", "SECURITY_SCHEME", "router"]
