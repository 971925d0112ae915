"""What a provider may have billed without an image is booked, and what it certainly did not bill is not."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import CloseAfterRequest, Refuse, Status, Truncated, Verb, empty

PATH = "/v1/images/generations"
BODY = {"prompt": "a fox", "model": "gpt-image-2.5-flare", "quality": "low", "size": "1024x1024", "n": 2}
COST_USD = Decimal("0.00588")
"""The catalogue's cost of one such image."""


async def booked(engine: AsyncEngine, account: Account) -> list[tuple[str, Decimal | None]]:
    async with engine.connect() as connection:
        query = text("SELECT class, at_risk_usd FROM attempts WHERE account_id = :id ORDER BY seq")
        return [tuple(row) for row in await connection.execute(query, {"id": account.id})]


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (Status(500), ("REFUSED_UNBILLED", 2 * COST_USD)),
        (Status(504, body=b"<html>"), ("AMBIGUOUS", 2 * COST_USD)),
        (CloseAfterRequest(), ("AMBIGUOUS", 2 * COST_USD)),
        (Truncated(), ("AMBIGUOUS", 2 * COST_USD)),
        (empty(), ("BILLED_INVALID", 2 * COST_USD)),
        (Status(401, code="invalid_api_key"), ("REFUSED_UNBILLED", None)),
        (Refuse(), ("REJECTED", None)),
        (Status(400, code="invalid_size", type="invalid_request_error"), ("REJECTED", None)),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_it_is_booked_where_it_is_possible(
    client: AsyncClient,
    account: Account,
    engine: AsyncEngine,
    fake: FakeProvider,
    verb: Verb,
    expected: tuple[str, Decimal | None],
) -> None:
    fake.default = verb

    response = await client.post(PATH, json=BODY)

    assert response.status_code >= 400
    assert (await booked(engine, account))[0] == expected
    assert await account.balance() == (LIVE_TOKENS, 0)


async def test_a_provider_whose_errors_are_unbilled_books_none(
    services: Services,
    account: Account,
    engine: AsyncEngine,
    fake: FakeProvider,
    serve: Callable[[Services], Awaitable[str]],
) -> None:
    providers = services.catalogue.providers
    kind = replace(providers["openai"], errors_unbilled=True)
    catalogue = replace(services.catalogue, providers={**providers, "openai": kind})
    url = await serve(replace(services, catalogue=catalogue))
    fake.default = Status(500)

    async with AsyncClient(base_url=url, headers={"authorization": f"Bearer {account.key}"}) as client:
        response = await client.post(PATH, json=BODY)

    assert response.status_code == 502
    assert {risk for _, risk in await booked(engine, account)} == {None}
