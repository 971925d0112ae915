"""What Lunos's callers may know: the models, their usage by app and day, their account, their balance.

Of these only the list of models has a shape of the vendor's; the others are ours. None tells what providers cost.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegate.domain import Model, Principal
from imagegate.errors import InvalidRequest
from imagegate.generation.listing import read_moment
from imagegate.generation.usage import BUCKETS, DIMENSIONS, Bucket, Dimension, Usage, Wanted, read_usage
from imagegate.identity.accounts import read_account
from imagegate.ids import public_id
from imagegate.ledger import wallets
from imagegate.services import Services
from imagegate.settings import Settings
from imagegate.web.dependencies import authenticate, key_holder, services_of
from imagegate.web.openapi import answered
from imagegate.web.pricing import price_of, pricing_of

router = APIRouter(tags=["lunos"])

BALANCE = {
    "balance": 99.8,
    "currency": "USD",
    "available_tokens": 99_800_000,
    "held_tokens": 0,
    "tokens_per_currency_unit": 1_000_000,
}
ACCOUNT = {
    "object": "account",
    "id": "acc_01a2003f29447fff81daa2f29e6f4d75",
    "name": "shop",
    "env": "live",
    "key": {"id": "key_01a2003f296d778dbb2aa3a36fa403b0", "team": None, "app": "web", "environment": None},
    "balance": BALANCE,
}
SPENT = {
    "object": "usage",
    "by": ["app"],
    "bucket": "day",
    "currency": "USD",
    "total_tokens": 80_000,
    "total_cost": 0.08,
    "data": [
        {
            "at": "2026-11-21T00:00:00Z",
            "app": "web",
            "generations": 1,
            "images": 1,
            "errors": 0,
            "charged_tokens": 80_000,
            "cost": 0.08,
        }
    ],
}
USUAL_SPAN = timedelta(days=30)
LONGEST_SPAN = timedelta(days=400)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MOST_ROWS = 10_000
TOLD: tuple[Dimension, ...] = tuple(name for name in DIMENSIONS if name != "account")
LONGEST = 200
"""Characters of a parameter."""
TEXT = {"type": "string", "maxLength": LONGEST}


def parameter(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": about, "schema": TEXT}


ASKED: dict[str, Any] = answered(SPENT) | {
    "parameters": [
        parameter("since", "Seconds since 1970 or RFC 3339; usually 30 days before `until`."),
        parameter("until", "Up to here, exclusive; usually now."),
        parameter("by", f"Any of {', '.join(TOLD)}, with commas between; usually app."),
        parameter("bucket", f"One of {', '.join(BUCKETS)}; usually day."),
    ]
}


@router.get("/public/models", summary="List the models, as Lunos does")
async def list_models(request: Request) -> Response:
    """Every model that is not disabled, as a bare array. Needs no key."""
    services = services_of(request)
    return JSONResponse([model_object(services, model) for model in services.catalogue.listed()])


def model_object(services: Services, model: Model) -> dict[str, Any]:
    """`pricePerMillionTokens`: only of a price that goes by the provider's tokens; `pricing` has every price."""
    served = services.catalogue.served(model)
    pricing = pricing_of(services, served)
    offerings = services.catalogue.shelf("live").get(served.id, ())
    sold = pricing is not None and any(o.provider in services.credentials for o in offerings)
    edits = "edit" in served.operations
    return {
        "id": model.id,
        "name": model.name,
        "description": "Draws images, and edits them." if edits else "Draws images.",
        "parameters": {"size": ", ".join(str(size) for size in served.sizes or (served.default_size,))},
        "provider": model.creator,
        "pricePerMillionTokens": per_million(services, served),
        "pricing": pricing,
        "capabilities": ["image-generation", *(["image-editing"] if edits else [])],
        "status": "available" if sold else "unavailable",
    }


def per_million(services: Services, model: Model) -> dict[str, float | None]:
    """In units of the currency; None: the price goes by the image."""
    price = price_of(services, model)
    usage = price.terms.per_token if price and price.terms else None
    if usage is None:
        return {"input": None, "output": None}
    settings = services.settings
    return {"input": money(usage.rates.text_in, settings), "output": money(usage.rates.output, settings)}


def money(tokens: int, settings: Settings) -> float:
    return float(Decimal(tokens) / settings.tokens_per_currency_unit)


@router.get("/v1/usage", openapi_extra=ASKED, summary="Show usage")
async def get_usage(request: Request) -> Response:
    """Images, errors and spend of this account and environment, by app and day unless other words are said."""
    services = services_of(request)
    principal = await authenticate(request)
    wanted = read_wanted(request, principal)
    async with services.engine.connect() as connection:
        rows = await read_usage(connection, wanted, most_rows=MOST_ROWS)
    settings = services.settings
    spent = sum(row.charged_tokens for row in rows)
    return JSONResponse(
        {
            "object": "usage",
            "env": principal.env,
            "since": moment(wanted.since),
            "until": moment(wanted.until),
            "by": list(wanted.by),
            "bucket": wanted.bucket,
            "currency": settings.currency,
            "total_tokens": spent,
            "total_cost": money(spent, settings),
            "data": [usage_json(wanted.by, row, settings) for row in rows],
        }
    )


def usage_json(by: tuple[Dimension, ...], row: Usage, settings: Settings) -> dict[str, Any]:
    """`charged_tokens` and `cost` are what the account paid, never what a provider was paid."""
    values = [public_id("key", value) if isinstance(value, UUID) else value for value in row.values]
    return {
        **({"at": moment(row.at)} if row.at else {}),
        **dict(zip(by, values, strict=True)),
        "generations": row.generations,
        "images": row.images,
        "errors": row.errors,
        "charged_tokens": row.charged_tokens,
        "cost": money(row.charged_tokens, settings),
    }


def read_wanted(request: Request, principal: Principal) -> Wanted:
    """Raises InvalidRequest."""
    until = said_moment(request, "until") or datetime.now(UTC)
    if until < EARLIEST:
        raise InvalidRequest("until lies before there was anything to tell of.", param="until")
    since = said_moment(request, "since") or until - USUAL_SPAN
    if until - since > LONGEST_SPAN:
        raise InvalidRequest(f"since and until are at most {LONGEST_SPAN.days} days apart.", param="since")
    names = [name.strip() for name in (said(request, "by") or "app").split(",") if name.strip()]
    if not set(names) <= set(TOLD):
        raise InvalidRequest(f"by is any of {', '.join(TOLD)}, with commas between.", param="by")
    by = tuple(name for name in TOLD if name in names)
    return Wanted(since, until, by, said_bucket(request), principal.account_id, principal.env)


def said_bucket(request: Request) -> Bucket:
    word = said(request, "bucket") or "day"
    for bucket in BUCKETS:
        if bucket == word:
            return bucket
    raise InvalidRequest(f"bucket is one of: {', '.join(BUCKETS)}.", param="bucket")


def said_moment(request: Request, name: str) -> datetime | None:
    text = said(request, name)
    return read_moment(text, name) if text is not None else None


def said(request: Request, name: str) -> str | None:
    """A query parameter. Raises InvalidRequest when it stands twice, is empty or too long."""
    values = request.query_params.getlist(name)
    if len(values) > 1 or (values and not 1 <= len(values[0]) <= LONGEST):
        raise InvalidRequest(f"{name} stands once in the query, with 1 to {LONGEST} characters.", param=name)
    return values[0] if values else None


def moment(at: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@router.get("/v1/account", openapi_extra=answered(ACCOUNT), summary="Show the account")
async def get_account(request: Request) -> Response:
    """Whose key it is, what it is labelled with, and what the wallet holds."""
    services = services_of(request)
    principal = await key_holder(request)
    async with services.engine.connect() as connection:
        owner = await read_account(connection, public_id("acc", principal.account_id))
    return JSONResponse(
        {
            "object": "account",
            "id": owner.public_id,
            "name": owner.name,
            "created_at": int(owner.created_at.timestamp()),
            "env": principal.env,
            "key": {
                "id": public_id("key", principal.key_id),
                "team": principal.team,
                "app": principal.app,
                "environment": principal.environment,
            },
            "balance": await balance_json(services, principal),
        }
    )


@router.get("/balance", openapi_extra=answered({"object": "balance"} | BALANCE), summary="Show the balance")
async def get_balance(request: Request) -> Response:
    """What the wallet of this account and environment holds."""
    principal = await authenticate(request)
    return JSONResponse({"object": "balance"} | await balance_json(services_of(request), principal))


async def balance_json(services: Services, principal: Principal) -> dict[str, Any]:
    """`balance`: what can be spent, in units of the currency; what is held for open generations is not in it."""
    settings = services.settings
    async with services.engine.connect() as connection:
        wallet = await wallets.get_wallet(connection, principal.account_id, principal.env)
    return {
        "balance": money(wallet.available_tokens, settings),
        "currency": settings.currency,
        "available_tokens": wallet.available_tokens,
        "held_tokens": wallet.held_tokens,
        "tokens_per_currency_unit": settings.tokens_per_currency_unit,
    }
