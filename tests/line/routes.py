"""A model that two providers on loopback sell: `openai` first, then `openai_compatible`, by another name."""

from dataclasses import replace
from typing import Any

from httpx import AsyncClient, Response
from sqlalchemy import text

from imagegate.catalogue.preferences import PreferenceBook
from imagegate.catalogue.prices import PriceBook
from imagegate.domain import Offering
from imagegate.routing.breaker import FAILURES_IN_A_ROW
from imagegate.routing.health import Health, Record
from imagegate.services import Services
from tests.conftest import Account

PATH = "/v1/images/generations"
MODEL = "openai/gpt-image-2.5-flare"
BODY = {"prompt": "a fox", "model": MODEL, "quality": "low", "size": "1024x1024"}
COST = 5_880
COPY = "flare-copy"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def sold_twice(services: Services, *, first: dict[str, Any] | None = None, **settings: Any) -> Services:
    """first: what is different about the first offering. The second costs a tenth and takes a seed."""
    known = services.catalogue.shelves["live"][MODEL][0]
    own = replace(known, max_n=1, cost={"usd": 0.05}, features={}, **(first or {}))
    copy = replace(
        known,
        provider="openai_compatible",
        upstream_model=COPY,
        max_n=1,
        cost={"usd": 0.005},
        features={"seed": True},
        sells_as=frozenset({"openai_compatible"}),
    )
    return routed(services, (own, copy), **settings)


def routed(services: Services, offerings: tuple[Offering, ...], **settings: Any) -> Services:
    """A gateway whose model is sold by these alone; it has seen nothing of them yet."""
    shelves = services.catalogue.shelves
    live = {**shelves["live"], MODEL: offerings}
    return replace(
        services,
        settings=services.settings.model_copy(update=settings),
        catalogue=replace(
            services.catalogue, shelves={**shelves, "live": live}, preferences=PreferenceBook()
        ),
        prices=PriceBook(services.prices.current),
        health=Health(clock=Clock(), chance=lambda: 0.0),
    )


def clock_of(services: Services) -> Clock:
    assert isinstance(services.health.clock, Clock)
    return services.health.clock


def first_of(services: Services) -> Record:
    offering = services.catalogue.shelves["live"][MODEL][0]
    return services.health.of(offering.provider, offering.upstream_model)


def rest(services: Services, record: Record) -> None:
    """Let its breaker open."""
    for _ in range(FAILURES_IN_A_ROW):
        services.health.fail(record, services.health.send(record))


async def ask(url: str, account: Account, **body: Any) -> Response:
    async with AsyncClient(base_url=url, headers={"x-api-key": account.key}, timeout=30) as http:
        return await http.post(PATH, json={**BODY, **body})


def told(response: Response) -> list[tuple[str, str]]:
    """Provider and class of each attempt of an answer."""
    assert response.status_code == 200, response.text
    return [(a["provider"], a["class"]) for a in response.json()["metadata"]["attempts"]]


async def recorded(account: Account) -> list[tuple[str, str]]:
    """Provider and class of each attempt of all of the account's generations."""
    async with account.engine.connect() as connection:
        query = text(
            "SELECT provider, class FROM attempts WHERE account_id = :id ORDER BY generation_id, seq"
        )
        return [(row.provider, row[1]) for row in await connection.execute(query, {"id": account.id})]
