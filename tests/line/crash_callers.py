"""Callers of a gateway that dies under them, what they were told, and the address at which they find its successor."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import openai

PATH = "/v1/images/generations"
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Told:
    """One answer. status None: the connection broke. again: it says that asking again helps. hashes: of the images."""

    status: int | None
    code: str | None = None
    again: bool = True
    id: str | None = None
    hashes: tuple[str, ...] = ()

    @property
    def is_final_error(self) -> bool:
        return self.status not in (None, 200) and not self.again


def told_images(id_: str, encoded: list[str]) -> Told:
    hashes = (hashlib.sha256(base64.b64decode(image)).hexdigest() for image in encoded)
    return Told(200, again=False, id=id_, hashes=tuple(hashes))


@dataclass
class Asking:
    """One logical call: `swept` is set once nothing of what the dead gateway left is open any more."""

    url: str
    key: str
    body: dict[str, Any]
    swept: asyncio.Event = field(default_factory=asyncio.Event)


async def post(http: httpx.AsyncClient, asking: Asking, **headers: str) -> Told:
    try:
        answer = await http.post(f"{asking.url}{PATH}", json=asking.body, headers=headers)
    except httpx.TransportError:
        return Told(None)
    body = answer.json()
    if answer.status_code == 200:
        return told_images(body["metadata"]["id"], [image["b64_json"] for image in body["data"]])
    again = answer.headers["x-should-retry"] == "true"
    return Told(answer.status_code, body["error"]["code"], again)


def client(asking: Asking) -> httpx.AsyncClient:
    return httpx.AsyncClient(headers={"x-api-key": asking.key}, timeout=PATIENCE_S)


async def asks_once(asking: Asking) -> list[Told]:
    """Never again; but later it looks at what there is, and follows the links."""
    async with client(asking) as http:
        first = await post(http, asking)
        await asking.swept.wait()
        listed = (await http.get(f"{asking.url}{PATH}")).json()["data"]
        finished = [one["id"] for one in listed if one["status"] == "completed"]
        return [first, *[await fetch(http, asking, id_) for id_ in finished]]


async def fetch(http: httpx.AsyncClient, asking: Asking, id_: str) -> Told:
    entries = (await http.get(f"{asking.url}{PATH}/{id_}")).json()["data"]
    images = [(await http.get(entry["url"])).raise_for_status().content for entry in entries]
    return Told(200, again=False, id=id_, hashes=tuple(hashlib.sha256(i).hexdigest() for i in images))


async def asks_with_a_key(asking: Asking) -> list[Told]:
    """Again and again under one key, until an answer is the last word; then once more, for the replay."""
    told: list[Told] = []
    async with client(asking) as http, asyncio.timeout(PATIENCE_S):
        while not told or told[-1].again:
            await asyncio.sleep(0.1 if told else 0)
            told.append(await post(http, asking, **{"idempotency-key": "one-order"}))
        told.append(await post(http, asking, **{"idempotency-key": "one-order"}))
    return told


async def asks_with_the_stock_client(asking: Asking) -> list[Told]:
    """openai's client as it comes: no key, retries of its own. Only its last word is known."""
    async with openai.AsyncOpenAI(base_url=f"{asking.url}/v1", api_key=asking.key) as stock:
        try:
            reply = await stock.images.generate(**asking.body)
        except openai.APIStatusError as error:
            again = error.response.headers["x-should-retry"] == "true"
            return [Told(error.status_code, error.code, again)]
        except openai.APIConnectionError:
            return [Told(None)]
    return [told_images(reply.model_extra["metadata"]["id"], [image.b64_json for image in reply.data])]


async def asks_again_without_a_key(asking: Asking) -> list[Told]:
    """No key, no word that it is a retry: the same request once more after everything was swept up."""
    async with client(asking) as http:
        first = await post(http, asking)
        await asking.swept.wait()
        return [first, await post(http, asking)]


async def asks_for_a_job(asking: Asking) -> list[Told]:
    """An async job under one key: accepted once, looked at until it is over; its images are fetched twice."""
    headers, id_ = {"idempotency-key": "one-job"}, ""
    async with client(asking) as http, asyncio.timeout(PATIENCE_S):
        while not id_:
            with suppress(httpx.TransportError):
                id_ = (
                    (await http.post(f"{asking.url}{PATH}/async", json=asking.body, headers=headers))
                    .json()
                    .get("id", "")
                )
            await asyncio.sleep(0.1)
        status = "queued"
        while status in ("queued", "in_progress"):
            with suppress(httpx.TransportError):
                status = (await http.get(f"{asking.url}{PATH}/{id_}")).json().get("status", status)
            await asyncio.sleep(0.1)
        return [await fetch(http, asking, id_) for _ in range(2)]


Caller = Callable[[Asking], Awaitable[list[Told]]]


class Front:
    """One address before gateways that come and go, as a load balancer is. While none is there, callers wait.

    cut: called in the middle of the first answer, of which its caller sees no more.
    """

    def __init__(self, cut: Callable[[], None] | None = None) -> None:
        self._cut = cut
        self._port: int | None = None
        self._there = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lead_to(self, url: str | None) -> None:
        self._port = None if url is None else int(url.rpartition(":")[2])
        self._there.set() if url else self._there.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.CancelledError):
            answers, gateway = await self._connect()
            await self._carry((reader, gateway), (answers, writer))
        writer.close()
        self._tasks.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            await self._there.wait()
            try:
                return await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.02)

    async def _carry(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Until either end is gone; then the other one learns it."""
        up, down = ways
        both = {asyncio.create_task(copy(*up)), asyncio.create_task(self._answer(*down))}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in both:
                way.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            up[1].close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut and (piece := await reader.read(65_536)):
            cut, self._cut = self._cut, None
            writer.write(piece[: len(piece) // 2])
            await writer.drain()
            cut()
            return
        await copy(reader, writer)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
