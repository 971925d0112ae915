"""Providers that storm, hang, drip, lie and swell: whoever asked is told and not charged, and the next is served."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from httpx import AsyncClient, Response

from imagegate.services import Services
from tests.conftest import LIVE_TOKENS, Account
from tests.fake_provider import FakeProvider
from tests.fake_verbs import (
    Drip,
    Exchange,
    HalfClose,
    Hang,
    Images,
    Links,
    Promise,
    Raw,
    Reset,
    Status,
    Truncated,
    Verb,
    empty,
    garbage,
    wrong_type,
)
from tests.faults.proofs import PATH, nothing_is_amiss
from tests.media import bombs

Serve = Callable[[Services], Awaitable[str]]
BODY = {"prompt": "a fox", "model": "dall-e-2", "size": "256x256"}
COST, CALLERS, DEADLINE_S = 5_000, 150, 2.0
GIGABYTE = 1024**3


def swelling() -> Verb:
    """A picture of a few kilobytes that would take gigabytes."""
    data = base64.b64encode(bombs.png(60_000, 60_000, bits=1, colour=0)).decode()
    return Status(200, {"created": 1, "data": [{"b64_json": data}]})


HOSTILE: dict[str, Verb] = {
    "hangs": Hang(),
    "drips": Drip(pieces=100, every_s=0.2),
    "resets": Reset(),
    "half closes": HalfClose(),
    "cuts": Truncated(),
    "garbage": garbage(),
    "a web page": wrong_type(),
    "no image": empty(),
    "no HTTP": Raw(b"\x16\x03\x01\x00\x00"),
    "10 GB, promised": Promise(10 * GIGABYTE),
    "a bomb": swelling(),
    "a private link": Links("http://169.254.169.254/latest/meta-data"),
    "a link to itself": Links("http://127.0.0.1:1/x.png"),
    "a file": Links("file:///etc/passwd"),
}


@dataclass(frozen=True)
class ByPrompt:
    """Each caller meets the verb that its prompt names."""

    verbs: Mapping[str, Verb]

    async def play(self, exchange: Exchange) -> None:
        await self.verbs.get(str(exchange.request.body["prompt"]), Images()).play(exchange)


async def ask(http: AsyncClient, prompt: str) -> Response:
    return await http.post(PATH, json={**BODY, "prompt": prompt})


async def test_whatever_a_provider_does_costs_its_caller_nothing_and_the_next_one_is_served(
    services: Services, account: Account, fake: FakeProvider, serve: Serve
) -> None:
    fake.default = ByPrompt(HOSTILE)
    hasty = replace(services, settings=services.settings.model_copy(update={"deadline_s": DEADLINE_S}))
    url = await serve(hasty)
    async with AsyncClient(base_url=url, headers={"x-api-key": account.key}, timeout=30) as http:
        answers = await asyncio.gather(*(ask(http, prompt) for prompt in HOSTILE))
        told = {prompt: answer.status_code for prompt, answer in zip(HOSTILE, answers, strict=True)}
        services.health.forget()  # else it rests after all that
        last = await ask(http, "a fox")

    assert set(told.values()) <= {502, 504}, told
    assert last.status_code == 200
    assert {answer.headers["x-should-retry"] for answer in answers} == {"false"}
    assert await account.balance() == (LIVE_TOKENS - COST, 0)
    await nothing_is_amiss(account.engine, url, [account], [*answers, last])


async def test_a_storm_of_429_is_told_soon_and_does_not_storm_back(
    services: Services, account: Account, fake: FakeProvider, base_url: str
) -> None:
    fake.default = Status(429, code="rate_limit_exceeded")
    async with AsyncClient(base_url=base_url, headers={"x-api-key": account.key}, timeout=30) as http:
        during = await asyncio.gather(*(ask(http, f"fox {number}") for number in range(CALLERS)))
        fake.default = Images()
        services.health.forget()
        after = await ask(http, "a fox")

    assert {answer.status_code for answer in during} == {502}
    assert len(fake.requests) < 1.5 * CALLERS, "second attempts have a budget"
    assert after.status_code == 200
    assert await account.balance() == (LIVE_TOKENS - COST, 0)
    await nothing_is_amiss(account.engine, base_url, [account], [*during, after])
