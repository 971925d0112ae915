"""Together AI's images: one synchronous call for every model, images as base64.

Wire facts: togethercomputer/openapi of 2026-04-28 and togethercomputer/skills of 2026-08-18. Sizes in pixels, or a
ratio for the models that take nothing else. An edit is the same call, with the pictures as data URLs: the Kontext
models read one as `image_url`, all others several as `reference_images`. There are no masks.
"""

import re
from typing import Any

from imagegate.domain import ProviderCall, ProviderResult
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_likes as likes
from imagegate.providers import openai_wire as wire
from imagegate.providers.pictures import data_url, written

NAME = "together"
FORMATS = ("jpeg", "png")
TAKEN = ("seed", "steps", "negative_prompt", "guidance_scale", "prompt_upsampling", "image_loras",
         "disable_safety_checker")  # fmt: skip
GUIDED_BY_GUIDANCE = re.compile(r"FLUX\.2-(dev|flex)", re.IGNORECASE)
ONE_PICTURE = re.compile("kontext", re.IGNORECASE)
SIGNS = {
    likes.NO_MODEL: re.compile(r"non-serverless model|unable to access model", re.IGNORECASE),
    likes.REFUSED: re.compile(r"nsfw|(?<!disable_)safety|moderat|content.polic", re.IGNORECASE),
}


class TogetherAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        url = f"{call.base_url}/images/generations"
        body = await written(self._pool, write_body, call)
        answer = await wire.create(self._outbound, call, url, body, provider=NAME)
        return read_answer(answer, call)


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in Together's words. `base64` is answered with `b64_json`; how long a link lives is not published."""
    fields = {name: value for name, value in call.fields.items() if name in TAKEN}
    if "guidance" in call.fields:
        fields.pop("guidance_scale", None)
        fields[guidance_name(call)] = call.fields["guidance"]
    if "prompt_enhancement" in call.fields:
        fields["prompt_upsampling"] = call.fields["prompt_enhancement"]
    if call.format in FORMATS:
        fields["output_format"] = call.format
    ours = {"model": call.upstream_model, "prompt": call.prompt, "n": call.n, "response_format": "base64"}
    return {**fields, **ours, **size_of(call), **pictures_of(call)}


def pictures_of(call: ProviderCall) -> dict[str, Any]:
    links = [data_url(image) for image in call.images]
    if not links:
        return {}
    return {"image_url": links[0]} if ONE_PICTURE.search(call.upstream_model) else {"reference_images": links}


def guidance_name(call: ProviderCall) -> str:
    return "guidance" if GUIDED_BY_GUIDANCE.search(call.upstream_model) else "guidance_scale"


def size_of(call: ProviderCall) -> dict[str, Any]:
    if call.aspect:
        return {"aspect_ratio": call.aspect}
    return {"width": call.size.width_px, "height": call.size.height_px}


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """Together's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    complaint = read_complaint(body, answer)
    if answer.status != 200:
        raise wire.failure(NAME, answer, complaint)
    entries = wire.read_entries(NAME, answer, body, complaint)
    images = tuple(image for entry in entries if (image := likes.image_of(entry)))
    if not images:
        raise wire.no_image(NAME, answer)
    return ProviderResult(
        images=images, upstream_id=wire.safe_word(body.get("id")) or wire.upstream_id(answer)
    )


def read_complaint(body: Any, answer: Answer) -> wire.Complaint | None:
    """OpenAI's shape. There is no code for a refusal; a model it does not serve is a 400 with a sentence of its own."""
    complaint = wire.read_complaint(body)
    return complaint and likes.understood(complaint, likes.sentence_of(body), SIGNS, answer)
