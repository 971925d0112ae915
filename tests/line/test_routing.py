"""Who is asked, who is asked next, and who is not asked although another one failed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from imagegate.catalogue.preferences import Preference
from imagegate.domain import GenerationRequest, Principal
from imagegate.errors import OperatorError
from imagegate.generation.choosing import policy_of
from imagegate.ids import new_id
from imagegate.services import Services, check_refusal_fallback
from tests.conftest import LIVE_TOKENS, Account, fresh
from tests.fake_provider import FakeProvider
from tests.fake_verbs import CloseAfterRequest, Refuse, Status, Verb, Wait, empty
from tests.line.routes import COST, MODEL, ask, recorded, sold_twice, told

Serve = Callable[[Services], Awaitable[str]]
OWN, COPY = "openai", "openai_compatible"


@pytest.fixture
def copy(compatible_server: FakeProvider) -> FakeProvider:
    return fresh(compatible_server)


async def test_the_next_candidate_draws_what_the_first_certainly_did_not_bill(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    fake.default = Status(500)

    response = await ask(await serve(sold_twice(services)), account)

    assert told(response) == [(OWN, "REFUSED_UNBILLED"), (COPY, "DELIVERED")]
    assert (copy.violations, response.json()["metadata"]["charged_tokens"]) == ([], COST)
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_only_the_missing_images_go_to_the_next_candidate(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    fake.then(Status(500))

    response = await ask(await serve(sold_twice(services)), account, n=3)

    assert len(response.json()["data"]) == 3
    assert (len(fake.requests), len(copy.requests)) == (3, 1)
    assert await account.balance() == (LIVE_TOKENS - 3 * COST, 0)


async def test_four_images_are_drawn_at_once(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    """No answer is given before all four calls have arrived: one after the other they would wait for ever."""
    gate = asyncio.Event()
    fake.default = Wait(gate)
    asking = asyncio.create_task(ask(await serve(sold_twice(services)), account, n=4))

    async with asyncio.timeout(10):
        await fake.arrived(4)
    gate.set()

    assert len((await asking).json()["data"]) == 4
    assert [request.body.get("n", 1) for request in fake.requests] == [1, 1, 1, 1]


@pytest.mark.parametrize("verb", [Refuse(), Status(400, code="invalid_value"), CloseAfterRequest(), empty()])
async def test_after_a_refusal_a_doubt_or_a_bill_nobody_else_is_asked(
    services: Services,
    account: Account,
    fake: FakeProvider,
    copy: FakeProvider,
    serve: Serve,
    verb: Verb,
) -> None:
    fake.default = verb

    response = await ask(await serve(sold_twice(services)), account)

    assert response.status_code in (400, 502, 504)
    assert (len(fake.requests), len(copy.requests)) == (1, 0)
    assert await account.balance() == (LIVE_TOKENS, 0)


@pytest.mark.parametrize(("named", "status"), [("bfl, openai_compatible", 200), ("bfl", 400)])
async def test_after_a_refusal_only_providers_that_the_operator_names_are_asked(
    services: Services,
    account: Account,
    fake: FakeProvider,
    copy: FakeProvider,
    serve: Serve,
    named: str,
    status: int,
) -> None:
    fake.default = Refuse()
    allowing = sold_twice(services, refusal_fallback=named)

    response = await ask(await serve(allowing), account)

    assert response.status_code == status
    assert len(copy.requests) == (1 if status == 200 else 0)
    assert await recorded(account) == [(OWN, "REJECTED"), (COPY, "DELIVERED")][: 1 + len(copy.requests)]


def test_a_provider_that_nobody_knows_cannot_be_named(services: Services) -> None:
    wrong = services.settings.model_copy(update={"refusal_fallback": "opneai"})

    with pytest.raises(OperatorError, match="opneai"):
        check_refusal_fallback(wrong, services.catalogue)
    check_refusal_fallback(services.settings, services.catalogue)


async def test_an_offering_may_be_followed_though_it_may_have_drawn_the_image(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    fake.default = CloseAfterRequest()
    allowing = sold_twice(services, first={"fallback_on_ambiguous": True})

    response = await ask(await serve(allowing), account)

    assert told(response) == [(OWN, "AMBIGUOUS"), (COPY, "DELIVERED")]
    assert await account.balance() == (LIVE_TOKENS - COST, 0)


async def test_a_doubt_is_told_with_all_that_were_asked(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    fake.default, copy.default = CloseAfterRequest(), Status(404)
    allowing = sold_twice(services, first={"fallback_on_ambiguous": True})

    response = await ask(await serve(allowing), account)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (504, "upstream_timeout")
    assert error["message"].index("openai broke") < error["message"].index("openai_compatible ")
    assert "Nobody else" not in error["message"]


async def test_one_unusable_answer_may_be_followed_once(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    fake.default = empty()
    copy.then(empty())
    url = await serve(sold_twice(services, billed_invalid_fallback=True))

    twice = await ask(url, account)
    once = await ask(url, account)

    assert twice.status_code == 502
    assert told(once) == [(OWN, "BILLED_INVALID"), (COPY, "DELIVERED")]
    assert (len(fake.requests), len(copy.requests)) == (2, 2)


async def test_every_attempt_is_named_when_all_failed(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    fake.default, copy.default = Status(500), Status(401)

    response = await ask(await serve(sold_twice(services)), account, n=2)

    message = response.json()["error"]["message"]
    assert (response.status_code, response.json()["error"]["code"]) == (502, "all_providers_failed")
    assert message.index("openai ") < message.index("openai_compatible ")
    assert message.count("(2 times)") == 2


async def test_the_cheapest_is_asked_where_request_key_or_gateway_say_so(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    plain, cheap = sold_twice(services), sold_twice(services, routing_policy="cheapest")

    by_request = await ask(await serve(plain), account, routing="cheapest")
    by_gateway = await ask(await serve(cheap), account)
    over_gateway = await ask(await serve(cheap), account, routing="catalogue")
    forced = await ask(await serve(cheap), account, model="openai:gpt-image-2.5-flare")

    assert told(by_request) == told(by_gateway) == [(COPY, "DELIVERED")]
    assert told(over_gateway) == told(forced) == [(OWN, "DELIVERED")]


async def test_a_keys_policy_counts_where_its_request_says_nothing(
    services: Services, account: Account, copy: FakeProvider, serve: Serve
) -> None:
    async with account.engine.begin() as tx:
        await tx.execute(
            text("UPDATE api_keys SET routing = 'cheapest' WHERE account_id = :id AND env = 'live'"),
            {"id": account.id},
        )

    response = await ask(await serve(sold_twice(services)), account)

    assert told(response) == [(COPY, "DELIVERED")]


def test_a_request_goes_before_its_key_and_a_key_before_the_gateway(services: Services) -> None:
    said = replace(services, settings=services.settings.model_copy(update={"routing_policy": "balanced"}))
    silent = Principal(new_id(), "live", new_id())
    keyed = replace(silent, routing="fastest")
    request = GenerationRequest("a fox")

    assert policy_of(said, keyed, replace(request, routing="best")) == "best"
    assert policy_of(said, keyed, request) == "fastest"
    assert policy_of(said, silent, request) == "balanced"


async def test_an_operators_rank_and_weight_decide(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    gateway = sold_twice(services, first={"rank": 2, "weight": 1})
    own = (MODEL, COPY, 1, None, "a test", "tests", datetime.now(UTC))
    url = await serve(gateway)

    before = await ask(url, account, routing="best")
    gateway.catalogue.preferences.replace([Preference(*own)])
    preferred = await ask(url, account, routing="best")
    gateway.catalogue.preferences.replace([replace(Preference(*own), rank=None, weight=0)])
    last = [await ask(url, account, routing="balanced") for _ in range(8)]

    assert told(before) == [(OWN, "DELIVERED")]
    assert told(preferred) == [(COPY, "DELIVERED")]
    assert {tuple(told(response)) for response in last} == {((OWN, "DELIVERED"),)}


async def test_the_fastest_so_far_is_asked(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    gateway = sold_twice(services)
    gateway.health.of(OWN, gateway.catalogue.shelves["live"][MODEL][0].upstream_model).measured(9.0)
    gateway.health.of(COPY, "flare-copy").measured(4.0)

    response = await ask(await serve(gateway), account, routing="fastest")

    assert told(response) == [(COPY, "DELIVERED")]


async def test_whoever_obeys_a_parameter_goes_before_one_who_would_ignore_it(
    services: Services, account: Account, fake: FakeProvider, copy: FakeProvider, serve: Serve
) -> None:
    url = await serve(sold_twice(services))

    seeded = await ask(url, account, seed=7)
    plain = await ask(url, account)

    assert told(seeded) == [(COPY, "DELIVERED")]
    assert copy.requests[0].body["seed"] == 7
    assert told(plain) == [(OWN, "DELIVERED")]
