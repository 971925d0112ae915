"""Recraft's images: one synchronous call, images as base64, the charge in the answer.

Wire facts: recraft.ai/docs as of 2026-08-13 and the vendor's OpenAPI description of 2026-08-22. Sizes in pixels from
each model's list, or a ratio. Charges in units, 1,000 to the USD.

An edit has a route for each kind of work and keeps the picture's own size; pictures and masks go as data URLs. Which
route is told by what there is: a mask is an inpaint, how far to expand an outpaint, else it is image to image. A model
may name another route behind a slash: `recraftv3/replaceBackground`.
"""

import re
from decimal import Decimal
from typing import Any

from imagegate.domain import ProviderCall, ProviderResult
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_likes as likes
from imagegate.providers import openai_wire as wire
from imagegate.providers.pictures import data_url, written

NAME = "recraft"
FORMATS = ("png", "webp")
SHARED = ("negative_prompt", "random_seed", "style", "substyle", "style_id", "style_match", "controls", "text_layout",
          "block_nsfw", "calculate_features", "creativity", "expire")  # fmt: skip
EXPANSION = ("expand_left", "expand_right", "expand_top", "expand_bottom", "zoom_out_percentage")
OWN = {"generations": ("upscale",), "imageToImage": ("strength",), "outpaint": EXPANSION}
"""What only one route takes, besides what all of them share."""
USUAL_STRENGTH = 0.5
"""How far image to image may go from the picture, 0 to 1, where the caller says nothing: it must be said."""
SEEDS = 2**32
"""Its seeds are whole numbers below this; larger ones are folded, so that the same seed stays the same."""
USD_PER_UNIT = Decimal("0.001")
SIGNS = {
    likes.NO_MONEY: re.compile(r"(not.enough|insufficient|no).(credits|units|balance)", re.IGNORECASE),
    likes.REFUSED: re.compile(
        r"(?<!block_)nsfw|moderation|content.polic|safety|inappropriate", re.IGNORECASE
    ),
}


class RecraftAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        url = f"{call.base_url}/images/{route_of(call)}"
        body = await written(self._pool, write_body, call)
        answer = await wire.create(self._outbound, call, url, body, provider=NAME)
        return read_answer(answer, call)


def route_of(call: ProviderCall) -> str:
    if not call.images:
        return "generations"
    if route := call.upstream_model.partition("/")[2]:
        return route
    if call.mask:
        return "inpaint"
    return "outpaint" if any(name in call.fields for name in EXPANSION) else "imageToImage"


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in Recraft's words: the seed is `random_seed`, the format `image_format`."""
    route = route_of(call)
    taken = (*SHARED, *OWN.get(route, ()))
    fields = {name: value for name, value in call.fields.items() if name in taken}
    if "style" in fields:
        fields.pop("style_id", None)  # it takes one of the two
    if "seed" in call.fields:
        fields["random_seed"] = call.fields["seed"] % SEEDS
    if call.format in FORMATS:
        fields["image_format"] = call.format
    if route == "imageToImage":
        fields.setdefault("strength", USUAL_STRENGTH)
    model = call.upstream_model.partition("/")[0]
    ours = {"model": model, "prompt": call.prompt, "n": call.n, "response_format": "b64_json"}
    return {**fields, **ours, **place_of(call)}


def place_of(call: ProviderCall) -> dict[str, Any]:
    """What is drawn upon: a picture, with its mask, or an empty sheet of a size."""
    if not call.images:
        return {"size": call.aspect or str(call.size)}
    masked = {"mask_url": data_url(call.mask)} if call.mask else {}
    return {"image_url": data_url(call.images[0]), **masked}


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """Recraft's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    complaint = read_complaint(body, answer)
    if answer.status != 200:
        raise wire.failure(NAME, answer, complaint)
    entries = wire.read_entries(NAME, answer, body, complaint)
    images = tuple(image for entry in entries if (image := likes.image_of(entry)))
    if not images:
        raise wire.no_image(NAME, answer)
    cost_usd = likes.money_of(body.get("credits"), USD_PER_UNIT)
    return ProviderResult(images=images, cost_usd=cost_usd, upstream_id=wire.upstream_id(answer))


def read_complaint(body: Any, answer: Answer) -> wire.Complaint | None:
    """`{"code", "message"}`, both text; None for every other shape."""
    if not isinstance(body, dict):
        return None
    code, message = body.get("code"), body.get("message")
    if not isinstance(code, str) or not isinstance(message, str):
        return None
    complaint = wire.Complaint(code=wire.safe_word(code))
    return likes.understood(complaint, f"{code} {message}", SIGNS, answer)
