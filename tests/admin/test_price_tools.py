"""Prices proposed, looked at and published. What is published here is rolled back: other tests buy at these prices."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from imagegate.admin import price_tools
from imagegate.admin.price_check import check
from imagegate.admin.price_preview import Line, preview
from imagegate.admin.price_rules import Allowed
from imagegate.admin.price_tools import Prices, Proposal, price_json, propose, propose_set
from imagegate.catalogue.prices import Price, load
from imagegate.catalogue.terms import PerMegapixel, PerToken, Terms
from imagegate.domain import Offering, Size, UsageRates
from imagegate.errors import InvalidRequest, OperatorError
from imagegate.identity.audit import Actor
from imagegate.identity.tables import audit_log
from imagegate.services import Services
from imagegate.settings import Settings

FLARE, MINI = "openai/gpt-image-2.5-flare", "openai/gpt-image-1-mini"
SQUARE = Size(1024, 1024)
ACTOR = Actor("cli:tests", "a test")
RATES = UsageRates(5_000_000, 8_000_000, 30_000_000)


@pytest.fixture
async def tx(services: Services, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection, connection.begin() as transaction:
        yield connection
        await transaction.rollback()


@pytest.fixture
async def current(tx: AsyncConnection) -> Prices:
    return await load(tx)


async def publish(tx: AsyncConnection, services: Services, proposal: Proposal, **rest: Any) -> list[Price]:
    return await price_tools.publish(tx, services.catalogue, services.credentials, proposal, ACTOR, **rest)


async def test_each_price_is_a_new_version_with_an_entry_in_the_audit_log(
    tx: AsyncConnection, services: Services, current: Prices
) -> None:
    text = (
        "model,item,size,quality,tokens\ngpt-image-2.5-flare,image,,,50000\ngpt-image-1-mini,image,,,6000\n"
    )
    proposal = price_tools.propose_file(current, services.catalogue, "new.csv", text)

    published = await publish(tx, services, proposal)

    assert {p.model: p.version for p in published} == {id_: current[id_].version + 1 for id_ in (FLARE, MINI)}
    assert {p.model: p.terms for p in published} == {
        FLARE: Terms({(None, None): 50_000}), MINI: Terms({(None, None): 6_000})
    }  # fmt: skip
    assert {p.source for p in published} == {"file new.csv"}
    of_this_transaction = audit_log.c.at == func.now()
    wrote = select(audit_log).where(audit_log.c.action == "prices.set", of_this_transaction)
    entries = {row.target: row for row in (await tx.execute(wrote)).all()}
    assert set(entries) == {FLARE, MINI}
    assert all(row.detail["version"] == current[row.target].version + 1 for row in entries.values())
    before = current[FLARE].terms
    assert before
    assert entries[FLARE].detail["before"] == before.to_json()
    assert (entries[FLARE].actor, entries[FLARE].reason) == ("cli:tests", "a test")


async def test_what_was_worked_out_on_older_prices_is_not_published(
    tx: AsyncConnection, services: Services, current: Prices
) -> None:
    proposal = propose(current, {FLARE: Terms({(None, None): 5}), MINI: Terms({(None, None): 6})})
    await publish(tx, services, propose_set(current, services.catalogue, "gpt-image-1-mini", None, None, 7))

    with pytest.raises(OperatorError, match=MINI):
        await publish(tx, services, proposal)

    assert (await load(tx))[FLARE] == current[FLARE]


@pytest.mark.parametrize(
    ("terms", "allowed", "fault"),
    [
        (Terms({(None, None): 0}), Allowed(unpriced=True), "--allow-zero"),
        (Terms({(None, None): 5, (SQUARE, "low"): 0}), Allowed(), f"{FLARE} 1024x1024 low"),
        (Terms({}, PerMegapixel(0, 5), "megapixel"), Allowed(), "by the megapixel"),
        (None, Allowed(zero=True), "--allow-unpriced"),
        (Terms({(SQUARE, None): 5}), Allowed(), f"{FLARE} 1536x1024 low would lose its price"),
    ],
)
async def test_zero_and_no_price_must_be_allowed_in_so_many_words(
    tx: AsyncConnection,
    services: Services,
    current: Prices,
    terms: Terms | None,
    allowed: Allowed,
    fault: str,
) -> None:
    proposal = propose(current, {FLARE: terms})

    with pytest.raises(InvalidRequest) as refusal:
        await publish(tx, services, proposal, allowed=allowed)

    assert fault in refusal.value.message
    (price,) = await publish(tx, services, proposal, allowed=Allowed(zero=True, unpriced=True))
    assert price.terms == terms


async def test_a_dated_price_is_worked_out_on_what_will_be_in_force_then(
    tx: AsyncConnection, services: Services, current: Prices
) -> None:
    tomorrow, later = (datetime.now(UTC) + timedelta(days=days) for days in (1, 2))

    async def set_price(tokens: int, quality: str, moment: datetime) -> Price:
        return await price_tools.set_price(
            tx, services.catalogue, services.settings, FLARE,
            size=SQUARE, quality=quality, tokens=tokens, actor=ACTOR, valid_from=moment,
        )  # fmt: skip

    await set_price(5, "low", tomorrow)
    price = await set_price(6, "hd", later)

    assert price.terms
    assert (price.terms.cells[SQUARE, "low"], price.terms.cells[SQUARE, "high"]) == (5, 6)
    assert price_json(price)["valid_from"] == later.isoformat(timespec="seconds").replace("+00:00", "Z")
    assert (await load(tx))[FLARE] == current[FLARE]


def by_usage(sizes: tuple[Size, ...]) -> PerToken:
    return PerToken(RATES, {(size, None): 4_160 for size in sizes}, 1_000)


async def test_a_price_may_go_by_usage_only_where_it_is_reported_and_bounded(
    tx: AsyncConnection, services: Services, current: Prices
) -> None:
    catalogue = services.catalogue
    model = catalogue.models[MINI]
    whole = price_tools.propose_usage(current, catalogue, MINI, by_usage(model.sizes))
    partly = price_tools.propose_usage(current, catalogue, MINI, by_usage((SQUARE,)))
    silent = price_tools.propose_usage(
        current, catalogue, "sandbox", by_usage(catalogue.models["imagegate/sandbox"].sizes)
    )

    with pytest.raises(InvalidRequest, match="1536x1024 low has no bound"):
        await publish(tx, services, partly)
    with pytest.raises(InvalidRequest, match="sandbox does not report it"):
        await publish(tx, services, silent, allowed=Allowed(unpriced=True))
    (price,) = await publish(tx, services, whole)

    assert price_json(price)["per_token"]["output"] == 30_000_000
    assert price.quote(model=MINI, size=SQUARE, quality="low", n=1).rates == RATES


async def test_a_preview_reckons_what_was_drawn_at_the_new_price(
    client: AsyncClient, services: Services, engine: AsyncEngine
) -> None:
    body = {"prompt": "a cat", "model": "gpt-image-1-mini", "size": "1024x1024", "quality": "low"}

    async def look(terms: Terms) -> tuple[Line, Line]:
        async with engine.connect() as connection:
            prices = await load(connection)
            proposal = propose(prices, {MINI: terms})
            found = await preview(connection, services.catalogue, prices, proposal)
        return next((line for line in found.lines if line.model == MINI), Line(MINI)), found.total

    new = Terms({(SQUARE, "low"): 1_001, (Size(1536, 1024), None): 9})
    before, total_before = await look(new)
    answers = [await client.post("/v1/images/generations", json={**body, "n": n}) for n in (1, 2)]
    dearer = await client.post("/v1/images/generations", json={**body, "quality": "high"})
    after, total_after = await look(new)

    charged = [a.json()["metadata"]["charged_tokens"] for a in (*answers, dearer)]
    assert after.images - before.images == 4
    assert after.charged_tokens - before.charged_tokens == sum(charged)
    assert after.would_cost_tokens - before.would_cost_tokens == 3 * 1_001 + 9
    assert total_after.charged_tokens - total_before.charged_tokens == sum(charged)
    narrow, _ = await look(Terms({(SQUARE, "low"): 1_001}))
    assert narrow.refused - before.refused >= 1


async def test_a_model_whose_price_stays_keeps_what_was_charged(
    client: AsyncClient, services: Services, engine: AsyncEngine
) -> None:
    await client.post("/v1/images/generations", json={"prompt": "a cat", "model": "gpt-image-1-mini"})

    async with engine.connect() as connection:
        prices = await load(connection)
        found = await preview(
            connection, services.catalogue, prices, propose(prices, {"xai/grok-imagine-image": None})
        )

    assert found.lines == ()
    assert found.total.charged_tokens == found.total.would_cost_tokens > 0


def priced(current: Prices, model: str, terms: Terms | None) -> Prices:
    return {**current, model: replace(current[model], terms=terms)}


def findings(services: Services, current: Prices, settings: Settings | None = None) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in check(services.catalogue, settings or services.settings, services.credentials, current):
        found.setdefault(finding.kind, set()).add(finding.detail)
    return found


async def test_a_check_finds_what_is_unpriced_free_or_below_cost(services: Services, current: Prices) -> None:
    cheap = priced(current, FLARE, Terms({(SQUARE, None): 1_000_000, (None, None): 3}))
    free = priced(cheap, MINI, Terms({(None, None): 0}))
    none = priced(free, "openai/gpt-image-2", None)

    found = findings(services, none)

    assert f"{FLARE} 1536x1024 low" in found["below_cost"]
    assert f"{FLARE} 1024x1024 low" not in found["below_cost"]
    assert MINI in found["zero"]
    assert "openai/gpt-image-2" in found["unpriced"]
    assert "qwen/qwen-image-3-pro" not in found["unpriced"]  # nobody sells it here
    assert found["unpriced"] != findings(services, current).get("unpriced")


async def test_a_check_compares_without_the_markup_and_in_the_currency(
    services: Services, current: Prices
) -> None:
    taka = services.settings.model_copy(
        update={"currency": "BDT", "currency_per_usd": 100, "tokens_per_currency_unit": 500}
    )

    for tokens, expected in ((50_000, False), (10, True)):  # 1 USD, and 0.0002 USD
        prices = priced(current, MINI, Terms({(None, None): tokens}))
        below = findings(services, prices, taka).get("below_cost", set())
        assert any(detail.startswith(MINI) for detail in below) is expected


async def test_a_check_finds_a_price_by_usage_that_a_new_provider_does_not_report(
    services: Services, current: Prices
) -> None:
    catalogue = services.catalogue
    model = catalogue.models[MINI]
    prices = priced(current, MINI, Terms({}, None, "token", by_usage(model.sizes)))
    silent: tuple[Offering, ...] = tuple(replace(o, reports_usage=False) for o in model.offerings)
    live = {**catalogue.shelves["live"], MINI: silent}
    changed = replace(services, catalogue=replace(catalogue, shelves={**catalogue.shelves, "live": live}))

    assert "usage" not in findings(services, prices)
    assert findings(changed, prices)["usage"] == {f"{MINI} cannot go by usage: openai does not report it"}
