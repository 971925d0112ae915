"""Three providers that misbehave by a plan made from a seed, and the invoice of each: what it served, line by line."""

import asyncio
import base64
import hashlib
import io
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult, UpstreamJob
from imagegate.errors import Ambiguous
from imagegate.media.images import MAX_BYTES
from imagegate.outbound import Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire
from tests.fake_provider import FakeProvider
from tests.fake_verbs import Exchange, Refuse, Reset, Status, images_body

NAMES = ("chaosone", "chaostwo", "chaosthree")
POLLED = "chaospolled"
"""A name under which the third one sells work that is asked about until it is done."""
PAINTED_MODEL, POLLED_MODEL = "chaos/painted", "chaos/polled"
FIRST_TOKENS = 5_000
EDGE_PX = 64

HABITS = {
    "serve": 66,
    "serve slowly": 12,
    "busy": 5,
    "fail": 2,
    "refuse": 3,
    "cut": 3,
    "reset": 3,
    "garbage": 2,
    "empty": 2,
    "hang": 2,
}
"""What each does with a call, and how often of a hundred."""
BILLED = frozenset(("serve", "serve slowly", "cut", "reset", "garbage", "empty", "hang"))
HANG_S = 30.0


@dataclass(frozen=True)
class Line:
    """What a provider bills: one call of `prompt`, under its own id, with the images that it made."""

    provider: str
    id: str
    prompt: str
    habit: str
    hashes: tuple[str, ...]


@dataclass
class Invoice:
    lines: list[Line] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def next_number(self) -> int:
        return int(next(self._numbers))


def drawing(number: int) -> bytes:
    """A picture that no other number has."""
    colour = (number >> 16 & 255, number >> 8 & 255, number & 255)
    out = io.BytesIO()
    Image.new("RGB", (EDGE_PX, EDGE_PX), colour).save(out, "PNG", compress_level=1)
    return out.getvalue()


@dataclass
class Habits:
    """The verb of one provider. mood: what it does with every call, while that is set."""

    seed: int
    name: str
    invoice: Invoice
    pages: dict[str, tuple[int, dict[str, str], bytes]]
    mood: str | None = None
    seen: Counter[str] = field(default_factory=Counter)

    async def play(self, exchange: Exchange) -> None:
        body = exchange.request.body
        prompt = str(body["prompt"])
        self.seen[prompt] += 1
        chance = random.Random(f"{self.seed} {self.name} {prompt} {self.seen[prompt]}")
        habit = self.mood or chance.choices(list(HABITS), list(HABITS.values()))[0]
        number = self.invoice.next_number()
        drawn = [drawing(self.invoice.next_number()) for _ in range(int(body.get("n", 1)))]
        name = POLLED if body["model"] == "polled" else self.name
        if habit in BILLED:
            hashes = tuple(hashlib.sha256(data).hexdigest() for data in drawn)
            self.invoice.lines.append(Line(name, f"req-{number}", prompt, habit, hashes))
        if habit == "serve slowly":
            await asyncio.sleep(chance.uniform(0.1, 1.2))
        answer = self._polled if name == POLLED else self._painted
        await answer(exchange, habit, f"req-{number}", drawn)

    async def _painted(self, exchange: Exchange, habit: str, id_: str, drawn: list[bytes]) -> None:
        body = images_body(exchange.request.body, count=0)
        body["data"] = [{"b64_json": base64.b64encode(data).decode()} for data in drawn]
        await self._answer(exchange, habit, id_, Status(200, body, headers={"x_request_id": id_}))

    async def _polled(self, exchange: Exchange, habit: str, id_: str, drawn: list[bytes]) -> None:
        """Its result can be fetched from the moment on that it was accepted."""
        self.pages[f"/results/{id_}.png"] = (200, {"content_type": "image/png"}, drawn[0])
        await self._answer(exchange, habit, id_, Status(200, {"id": id_}))

    async def _answer(self, exchange: Exchange, habit: str, id_: str, success: Status) -> None:
        headers = {"x_request_id": id_}
        match habit:
            case "busy":
                await Status(429, code="rate_limit_exceeded", headers={**headers, "retry_after": "0"}).play(
                    exchange
                )
            case "fail":
                await Status(500, headers=headers).play(exchange)
            case "refuse":
                await Refuse().play(exchange)
            case "garbage":
                await Status(200, b"\x00\xff not json {", headers=headers).play(exchange)
            case "empty":
                await Status(200, {"created": 1, "data": []}, headers=headers).play(exchange)
            case "cut":
                await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{")
                exchange.writer.close()
            case "reset":
                await Reset().play(exchange)
            case "hang":
                await asyncio.sleep(HANG_S)
            case _:
                await success.play(exchange)


def catalogue(fakes: dict[str, FakeProvider]) -> str:
    """An operator's catalogue: one model that all three sell, and one that is polled at the third."""
    compatible = "imagegate.providers.openai_compatible:OpenAICompatibleAdapter"
    places = {**fakes, POLLED: fakes[NAMES[2]]}
    providers = "".join(
        f"""
  {name}:
    adapter: {compatible if name in NAMES else f"{__name__}:PolledAdapter"}
    base_url: {fake.base_url}
    trusted_hosts: ["127.0.0.1:{fake.port}"]"""
        for name, fake in places.items()
    )
    edits = "features: {operations: [generate, edit], max_input_images: 4, input_formats: [png]}"
    offerings = "".join(
        f"\n  - {{provider: {name}, model: painted, max_n: 4, cost: {{usd: 0.005}}, {edits}}}"
        for name in NAMES
    )
    return f"""
providers:{providers}
models:
- id: {PAINTED_MODEL}
  operations: [generate, edit]
  offerings:{offerings}
- id: {POLLED_MODEL}
  offerings:
  - {{provider: {POLLED}, model: polled, max_n: 1, cost: {{usd: 0.005}}}}
prices:
  {PAINTED_MODEL}: {{tokens: {FIRST_TOKENS}}}
  {POLLED_MODEL}: {{tokens: {FIRST_TOKENS}}}
"""


class PolledAdapter:
    """Sends the work, tells its id, and fetches the picture: in the gateways' own processes."""

    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        body = {"model": call.upstream_model, "prompt": call.prompt, "n": call.n, "size": str(call.size)}
        url = f"{call.base_url}/images/generations"
        answer = await wire.create(self._outbound, call, url, body, provider=POLLED)
        said = wire.parse_json(answer)
        if answer.status != 200:
            raise wire.failure(POLLED, answer, wire.read_complaint(said))
        if not isinstance(said, dict) or "id" not in said:
            raise Ambiguous(POLLED, "told no id", upstream_id=wire.upstream_id(answer))
        job = UpstreamJob(said["id"], f"{call.base_url.removesuffix('/v1')}/results/{said['id']}.png")
        await call.accepted(job)
        return await self.resume(call, job)

    async def resume(self, call: ProviderCall, job: UpstreamJob) -> ProviderResult:
        assert job.url is not None
        data = await self._outbound.fetch(
            job.url, trusted_hosts=call.trusted_hosts, timeout_s=10, max_bytes=MAX_BYTES, provider=POLLED
        )
        return ProviderResult((ProviderImage(data=data),), upstream_id=job.id)
