"""Ideogram 3.0 and 4.0: one synchronous multipart call, images as links that soon expire. Images are PNG.

Wire format: https://developer.ideogram.ai/api-reference, read 2026-11-21. 4.0 takes a listed size and makes one image
a call; 3.0 takes a listed size or else a ratio, written `16x9`.
"""

import json
from typing import Any

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult
from imagegate.errors import ImagegateError
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire

NAME = "ideogram"
V4 = "ideogram-v4"
SPEEDS = {"low": "TURBO", "medium": "DEFAULT", "high": "QUALITY", "xhigh": "QUALITY", "max": "QUALITY"}
PASSED_V4 = ("rendering_speed", "enable_copyright_detection")
PASSED_V3 = (
    "seed",
    "negative_prompt",
    "rendering_speed",
    "magic_prompt",
    "style_type",
    "style_preset",
    "color_palette",
)
SAFETY = "safety"


class IdeogramAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        answer = await self._outbound.post_form(
            f"{call.base_url}/v1/{call.upstream_model}/generate",
            fields=write_body(call),
            headers={"Api-Key": call.api_key.get_secret_value()} if call.api_key else {},
            provider=NAME,
            timeout_s=call.deadline_s,
        )
        return read_answer(answer, call)


def write_body(call: ProviderCall) -> dict[str, str]:
    """Our call as the text parts of a form."""
    is_v4 = call.upstream_model == V4
    fields = {name: call.fields.get(name) for name in (PASSED_V4 if is_v4 else PASSED_V3)}
    if call.quality is not None:
        fields["rendering_speed"] = SPEEDS[call.quality]
    if is_v4:
        fields |= {"text_prompt": call.prompt, "resolution": str(call.size)}
    else:
        fields |= {"prompt": call.prompt, "num_images": call.n, **shape_of(call)}
    return {name: text_of(value) for name, value in fields.items() if value is not None}


def shape_of(call: ProviderCall) -> dict[str, str]:
    """One of both, never both."""
    if call.aspect is None:
        return {"resolution": str(call.size)}
    return {"aspect_ratio": call.aspect.replace(":", "x")}


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """Ideogram's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    if answer.status != 200:
        raise failure(answer, body)
    entries = wire.read_entries(NAME, answer, body, None)
    images = tuple(image for entry in entries if (image := read_image(entry, call)))
    if not images:
        if any(entry.get("is_image_safe") is False for entry in entries):
            raise wire.refusal(NAME, wire.Complaint(stage="output"))
        raise wire.no_image(NAME, answer)
    return ProviderResult(images=images, upstream_id=wire.upstream_id(answer))


def read_image(entry: dict[str, Any], call: ProviderCall) -> ProviderImage | None:
    """None for an image that was found unsafe, which has no link. The prompt that is told is the one that was drawn."""
    url, drawn = wire.text_of(entry, "url"), wire.text_of(entry, "prompt")
    if entry.get("is_image_safe") is False or not url or not url.startswith(("https://", "http://")):
        return None
    return ProviderImage(url=url, revised_prompt=drawn if drawn != call.prompt else None)


def failure(answer: Answer, body: Any) -> ImagegateError:
    """422 with a text is the safety check; with a list of details it is a field that is wrong, as 400 is."""
    error = body.get("error") if isinstance(body, dict) else None
    told = error if isinstance(error, str) else ""
    if told and (answer.status == 422 or (answer.status == 400 and SAFETY in told.lower())):
        return wire.refusal(NAME, wire.Complaint())
    return wire.failure(NAME, answer, read_complaint(body))


def read_complaint(body: Any) -> wire.Complaint | None:
    """`{"error": "text"}` or `{"detail": …}`; None for every other shape."""
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("error"), str):
        return wire.Complaint()
    detail = body.get("detail")
    if not detail:
        return None
    first = detail[0] if isinstance(detail, list) else None
    place = first.get("loc") if isinstance(first, dict) else None
    return wire.Complaint(param=wire.safe_word(place[-1]) if isinstance(place, list) and place else None)
