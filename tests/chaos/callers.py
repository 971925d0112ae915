"""Callers of every manner, and the transcript of what each was told: with a key or without, patient or not."""

import asyncio
import base64
import hashlib
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx

from tests.chaos.providers import EDGE_PX, PAINTED_MODEL, POLLED_MODEL, drawing

PATH, EDITS = "/v1/images/generations", "/v1/images/edits"
LONGEST_TRY_S = 12.0
TRIES, SDK_TRIES = 8, 3
JOB_PATIENCE_S = 12.0
THINKS_S = (0.15, 0.8)


@dataclass(frozen=True)
class Told:
    """One answer. status None: none came. again: it says that asking again helps; else it is the last word."""

    status: int | None
    code: str | None = None
    again: bool = True
    id: str | None = None
    hashes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    charged: int | None = None
    price_version: int | None = None

    @property
    def is_definite_error(self) -> bool:
        return self.status not in (None, 200) and not self.again


@dataclass
class Call:
    """One thing that somebody wants, and everything that was told of it. Nobody else has its prompt."""

    account: UUID
    kind: str
    prompt: str = field(default_factory=lambda: f"chaos {uuid4().hex}")
    key: str | None = None
    told: list[Told] = field(default_factory=list)


@dataclass
class Customer:
    """An account's credentials, and the addresses of the gateways in no order."""

    account: UUID
    key: str
    urls: Sequence[str]
    calls: list[Call]
    chance: random.Random
    http: httpx.AsyncClient

    def url(self) -> str:
        return self.chance.choice(list(self.urls))

    def begin(self, kind: str, *, keyed: bool) -> Call:
        call = Call(self.account, kind)
        call.key = f"order-{call.prompt[6:]}" if keyed else None
        self.calls.append(call)
        return call


def body_of(call: Call, **more: Any) -> dict[str, Any]:
    size = f"{EDGE_PX}x{EDGE_PX}"
    return {"model": PAINTED_MODEL, "size": size, "prompt": call.prompt, "output_format": "png", **more}


def read(body: dict[str, Any], encoded: Sequence[str], links: Sequence[str]) -> Told:
    about = body["metadata"]
    hashes = tuple(hashlib.sha256(base64.b64decode(text)).hexdigest() for text in encoded)
    version, charged = about["price_version"], about["charged_tokens"]
    return Told(200, None, False, about["id"], hashes, tuple(links), charged, version)


def told_of(answer: httpx.Response) -> Told:
    body = answer.json()
    if answer.status_code == 200:
        data = body["data"]
        return read(body, [entry["b64_json"] for entry in data], [entry["url"] for entry in data])
    return Told(answer.status_code, body["error"]["code"], answer.headers.get("x-should-retry") == "true")


async def one_try(who: Customer, call: Call, send: Callable[[], Awaitable[httpx.Response]]) -> Told:
    """What was told is kept also when the caller is cancelled: that nothing was."""
    told = Told(None)
    try:
        told = told_of(await send())
    except httpx.TransportError:
        pass
    finally:
        call.told.append(told)
    return told


async def patiently(who: Customer, call: Call, send: Callable[[], Awaitable[httpx.Response]]) -> None:
    for _ in range(TRIES):
        if not (await one_try(who, call, send)).again:
            return
        await asyncio.sleep(who.chance.uniform(0.1, 0.6))


def headers_of(call: Call) -> dict[str, str]:
    return {"idempotency-key": call.key} if call.key else {}


async def draws_with_a_key(who: Customer) -> None:
    call = who.begin("keyed", keyed=True)
    body = body_of(call, n=who.chance.choice((1, 1, 2)))
    await patiently(who, call, lambda: who.http.post(who.url() + PATH, json=body, headers=headers_of(call)))


async def draws_what_is_polled(who: Customer) -> None:
    call = who.begin("polled", keyed=True)
    body = body_of(call, model=POLLED_MODEL)
    await patiently(who, call, lambda: who.http.post(who.url() + PATH, json=body, headers=headers_of(call)))


async def edits(who: Customer) -> None:
    call = who.begin("edit", keyed=True)
    fields, files = body_of(call), {"image": drawing(7)}
    await patiently(
        who,
        call,
        lambda: who.http.post(who.url() + EDITS, data=fields, files=files, headers=headers_of(call)),
    )


async def retries_as_sdks_do(who: Customer) -> None:
    """No key; a header that counts the tries of one call."""
    call = who.begin("sdk", keyed=False)
    body = body_of(call)
    for number in range(SDK_TRIES):
        headers = {"x-stainless-retry-count": str(number)}
        url = who.url() + PATH
        if not (
            await one_try(who, call, lambda u=url, h=headers: who.http.post(u, json=body, headers=h))
        ).again:
            return
        await asyncio.sleep(who.chance.uniform(0.3, 1.0))


async def draws_once(who: Customer) -> None:
    call = who.begin("once", keyed=False)
    await one_try(who, call, lambda: who.http.post(who.url() + PATH, json=body_of(call)))


async def leaves(who: Customer) -> None:
    """Closes its connection while its image is being made, or before."""
    call = who.begin("leaver", keyed=False)
    trying = one_try(who, call, lambda: who.http.post(who.url() + PATH, json=body_of(call)))
    try:
        await asyncio.wait_for(trying, who.chance.uniform(0.01, 0.6))
    except TimeoutError:
        return


async def streams(who: Customer) -> None:
    call = who.begin("stream", keyed=True)
    body = body_of(call, stream=True, partial_images=0)
    for _ in range(TRIES):
        told = Told(None)
        try:
            answer = await who.http.post(who.url() + PATH, json=body, headers=headers_of(call))
            streamed = answer.headers["content-type"].startswith("text/event-stream")
            told = told_of_events(answer) if streamed else told_of(answer)
        except httpx.TransportError:
            pass
        finally:
            call.told.append(told)
        if not told.again:
            return
        await asyncio.sleep(who.chance.uniform(0.1, 0.6))


def told_of_events(answer: httpx.Response) -> Told:
    """An error among events has no status and says nothing of retries: only a success is the last word."""
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    if not events or "error" in events[-1]:
        return Told(503, events[-1]["error"]["code"] if events else None)
    return read(events[-1], [event["b64_json"] for event in events], [])


async def orders_a_job(who: Customer) -> None:
    """Asks until the job is accepted, looks until it is over, and takes its images by their links."""
    call = who.begin("job", keyed=True)
    id_ = await accepted(who, call)
    if id_ is None:
        return
    until = asyncio.get_running_loop().time() + JOB_PATIENCE_S
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.3)
        try:
            job = (await who.http.get(f"{who.url()}{PATH}/{id_}")).json()
        except httpx.TransportError:
            continue
        if job.get("status") == "failed":
            call.told.append(Told(500, job["error"]["code"], again=False, id=id_))
            return
        if job.get("status") == "completed":
            call.told.append(finished(job))
            return


def finished(job: dict[str, Any]) -> Told:
    """Its images come as links alone: their checksums are the ledger's to know."""
    return read(job, [], [entry["url"] for entry in job["data"]])


async def accepted(who: Customer, call: Call) -> str | None:
    for _ in range(TRIES):
        try:
            url = f"{who.url()}{PATH}/async"
            answer = await who.http.post(url, json=body_of(call), headers=headers_of(call))
        except httpx.TransportError:
            await asyncio.sleep(0.3)
            continue
        if answer.status_code in (200, 202):
            return str(answer.json()["id"])
        call.told.append(told_of(answer))
        if not call.told[-1].again:
            return None
        await asyncio.sleep(0.3)
    return None


MANNERS: dict[Callable[[Customer], Awaitable[None]], int] = {
    draws_with_a_key: 30,
    retries_as_sdks_do: 20,
    draws_once: 12,
    orders_a_job: 10,
    edits: 8,
    streams: 8,
    draws_what_is_polled: 8,
    leaves: 4,
}


async def lives(who: Customer, over: asyncio.Event) -> None:
    """One call after the other, each in a manner of its own, until it is over."""
    while not over.is_set():
        (manner,) = who.chance.choices(list(MANNERS), list(MANNERS.values()))
        await manner(who)
        await asyncio.sleep(who.chance.uniform(*THINKS_S))
