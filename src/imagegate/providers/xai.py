"""xAI's Grok Imagine: one synchronous call, images as base64, the charge in the answer.

Wire facts: docs.x.ai as of 2026-08-24, xai-sdk 1.21.0 and @ai-sdk/xai 5.0.12. Sizes are a ratio and a tier in small
letters. Edits are JSON too, with the pictures as data URLs, and are never asked for more than one image: only drawing
from words is known to take `n`. Errors come with sentences for codes: a bad key is a 400, an empty account a 403 or a
429.
"""

import re
from decimal import Decimal
from math import log
from typing import Any

from imagegate.domain import InputImage, ProviderCall, ProviderResult, Size
from imagegate.errors import ContentRejected
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_likes as likes
from imagegate.providers import openai_wire as wire
from imagegate.providers.pictures import data_url, written

NAME = "xai"
RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "2:1", "1:2", "19.5:9", "9:19.5", "20:9", "9:20")
EDIT_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "2:1", "1:2")
"""An edit takes no narrower ones."""
SMALL_EDGE_PX = 1536
"""What is longer is drawn at 2k."""
USD_PER_TICK = Decimal("1e-10")
SIGNS = {
    likes.BAD_KEY: re.compile(r"incorrect api key|invalid api key", re.IGNORECASE),
    likes.NO_MONEY: re.compile(
        r"available credits|spending limit|(no|any|out of|purchase more) credits", re.IGNORECASE
    ),
    likes.NO_MODEL: re.compile(r"\bmodel \S+ (does not exist|was not found|not found)", re.IGNORECASE),
    likes.REFUSED: re.compile(
        r"content.moderation|content.polic|usage guidelines|safety_check", re.IGNORECASE
    ),
}


class XaiAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        url = f"{call.base_url}/images/{'edits' if call.images else 'generations'}"
        body = await written(self._pool, write_body, call)
        answer = await wire.create(self._outbound, call, url, body, provider=NAME)
        return read_answer(answer, call)


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in xAI's words. It knows no seed, no format and no background; a user is told by hash only."""
    body = {
        "model": call.upstream_model,
        "prompt": call.prompt,
        **(pictures_of(call) if call.images else {"n": call.n}),
        "aspect_ratio": ratio_of(call),
        "resolution": (call.tier or nearest_tier(call.size)).lower(),
        "response_format": "b64_json",
    }
    if call.quality:
        body["quality"] = "low" if call.quality == "low" else "medium"
    if user := user_of(call):
        body["user"] = user
    return body


def pictures_of(call: ProviderCall) -> dict[str, Any]:
    """One picture is `image`, several are `images`: a request has one of them."""
    linked = [as_link(image) for image in call.images]
    return {"images": linked} if len(linked) > 1 else {"image": linked[0]}


def as_link(image: InputImage) -> dict[str, str]:
    return {"type": "image_url", "url": data_url(image)}


def ratio_of(call: ProviderCall) -> str:
    if not call.images:
        return call.aspect or nearest_ratio(shape_of_size(call.size), RATIOS)
    shape = shape_of(call.aspect) if call.aspect else shape_of_size(call.size)
    return nearest_ratio(shape, EDIT_RATIOS)


def nearest_ratio(shape: float, ratios: tuple[str, ...]) -> str:
    return min(ratios, key=lambda ratio: abs(log(shape_of(ratio) / shape)))


def shape_of_size(size: Size) -> float:
    return size.width_px / size.height_px


def shape_of(ratio: str) -> float:
    width, _, height = ratio.partition(":")
    return float(width) / float(height)


def nearest_tier(size: Size) -> str:
    return "2k" if max(size.width_px, size.height_px) > SMALL_EDGE_PX else "1k"


def user_of(call: ProviderCall) -> str | None:
    if identifier := call.fields.get("safety_identifier"):
        return str(identifier)
    user = call.fields.get("user")
    return None if user is None else wire.hashed(user)


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """xAI's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    complaint = read_complaint(body, answer)
    if complaint and complaint.code == likes.BAD_KEY and answer.status == 400:
        raise wire.refused(NAME, answer, "refused our key", bad_key=True)
    if answer.status != 200:
        raise wire.failure(NAME, answer, complaint)
    entries = wire.read_entries(NAME, answer, body, complaint)
    kept = [entry for entry in entries if entry.get("respect_moderation") is not False]
    images = tuple(image for entry in kept if (image := likes.image_of(entry)))
    if not images:
        raise moderated() if is_moderated(body, entries) else wire.no_image(NAME, answer)
    cost_usd = likes.money_of((wire.usage_of(body) or {}).get("cost_in_usd_ticks"), USD_PER_TICK)
    return ProviderResult(images=images, cost_usd=cost_usd, upstream_id=wire.upstream_id(answer))


def is_moderated(body: Any, entries: list[dict[str, Any]]) -> bool:
    """Whether a 200 without an image is a refusal: an entry that says so or says nothing, or an empty list of them."""
    if not entries:
        return isinstance(body, dict) and body.get("data") == []
    return any(entry.get("respect_moderation") is not True for entry in entries)


def moderated() -> ContentRejected:
    return wire.refusal(NAME, wire.Complaint(stage="output"))


def read_complaint(body: Any, answer: Answer) -> wire.Complaint | None:
    """`{"code", "error"}`, both sentences, or OpenAI's shape; None for every other."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str) and isinstance(body.get("code"), str):
        return likes.understood(wire.Complaint(), error, SIGNS, answer)
    complaint = wire.read_complaint(body)
    return complaint and likes.understood(complaint, likes.sentence_of(body), SIGNS, answer)
