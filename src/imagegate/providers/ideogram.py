"""Ideogram 3.0 and 4.0: one synchronous multipart call, images as links that soon expire. Images are PNG.

Wire format: https://developer.ideogram.ai/api-reference, read 2026-11-21. 4.0 takes a listed size and makes one image
a call; 3.0 takes a listed size or else a ratio, written `16x9`. Masks are grey, black is redrawn.
"""

import json
from math import log
from typing import Any

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult, Size
from imagegate.errors import ImagegateError, ProviderRejected
from imagegate.outbound import Answer, FormFile, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_forms as forms
from imagegate.providers import openai_wire as wire

NAME = "ideogram"
V4, V3 = "ideogram-v4", "ideogram-v3"
NEW_BACKGROUND = "ideogram-v3-replace-background"
SPEEDS = {"low": "TURBO", "medium": "DEFAULT", "high": "QUALITY", "xhigh": "QUALITY", "max": "QUALITY"}
COMMON = ("seed", "magic_prompt")
STYLED = (*COMMON, "style_type", "style_preset", "style_codes", "color_palette")
OWN = {
    "ideogram-v4/generate": ("enable_copyright_detection",),
    "ideogram-v4/remix": ("image_weight",),
    "ideogram-v3/generate": (*STYLED, "negative_prompt"),
    "ideogram-v3/generate-transparent": (*COMMON, "negative_prompt"),
    "ideogram-v3/remix": (*STYLED, "negative_prompt", "image_weight"),
    "ideogram-v3/inpaint": STYLED,
    "ideogram-v3/replace-background": (*COMMON, "style_preset", "style_codes", "color_palette"),
}
"""Every place, and what it takes besides prompt, pictures, size, count and speed."""
SIZELESS = ("ideogram-v3/inpaint", "ideogram-v3/replace-background")
STYLE_TYPES = {
    "vivid": "AUTO",
    "natural": "REALISTIC",
    **{name.lower(): name for name in ("AUTO", "GENERAL", "REALISTIC", "DESIGN", "FICTION")},
}
"""A style that is none of these is a preset."""
RATIOS = (
    "1x3",
    "1x2",
    "9x16",
    "10x16",
    "2x3",
    "3x4",
    "4x5",
    "1x1",
    "5x4",
    "4x3",
    "3x2",
    "16x10",
    "16x9",
    "2x1",
    "3x1",
)
SAFETY = "safety"


class IdeogramAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        answer = await self._outbound.post_form(
            f"{call.base_url}/v1/{place_of(call)}",
            fields=write_body(call),
            files=files_of(call),
            headers={"Api-Key": call.api_key.get_secret_value()} if call.api_key else {},
            provider=NAME,
            timeout_s=call.deadline_s,
        )
        return read_answer(answer, call)


def place_of(call: ProviderCall) -> str:
    """Where this model does what the call is about. Raises ProviderRejected where it cannot."""
    model, clear = call.upstream_model, call.fields.get("background") == "transparent"
    if clear and (call.images or model != V3):
        raise ProviderRejected(
            NAME, "draws a transparent background only from a prompt alone", param="background"
        )
    if model == NEW_BACKGROUND:
        if not call.images or call.mask:
            raise ProviderRejected(NAME, "takes a picture and no mask with this model", param="image")
        return "ideogram-v3/replace-background"
    if call.mask:
        verb = "inpaint"
    elif call.images:
        verb = "remix"
    else:
        verb = "generate-transparent" if clear else "generate"
    if f"{model}/{verb}" not in OWN:
        raise ProviderRejected(NAME, "does nothing of this kind with this model", param="model")
    return f"{model}/{verb}"


def write_body(call: ProviderCall) -> dict[str, str | list[str]]:
    """Our call as the text parts of a form; a list is a part for each value."""
    place, said = place_of(call), {**call.fields, **renamed(call)}
    fields = {name: said.get(name) for name in OWN[place]}
    fields["rendering_speed"] = SPEEDS.get(call.quality or "")
    if call.upstream_model == V4:
        fields |= {"text_prompt": call.prompt, "resolution": str(call.size)}
    else:
        fields |= {"prompt": call.prompt, "num_images": call.n, **shape_of(call, place)}
    return {name: text_of(value) for name, value in fields.items() if value is not None}


def renamed(call: ProviderCall) -> dict[str, Any]:
    """What has other words here. A style is a type or a preset; what a field of ours says is left to nobody else."""
    made: dict[str, Any] = {}
    enhanced, style = call.fields.get("prompt_enhancement"), call.fields.get("style")
    if enhanced is not None:
        made["magic_prompt"] = "ON" if enhanced else "OFF"
    if style in STYLE_TYPES:
        made["style_type"] = STYLE_TYPES[style]
    elif style is not None:
        made["style_preset"] = style.upper()
    return made


def shape_of(call: ProviderCall, place: str) -> dict[str, str]:
    """One of both, never both; none where the picture decides. Clear ground knows ratios only."""
    if place in SIZELESS:
        return {}
    if call.aspect is not None:
        return {"aspect_ratio": call.aspect.replace(":", "x")}
    if place.endswith("-transparent"):
        return {"aspect_ratio": nearest_ratio(call.size)}
    return {"resolution": str(call.size)}


def nearest_ratio(size: Size) -> str:
    def distance(ratio: str) -> float:
        width, height = map(int, ratio.split("x"))
        return abs(log(size.width_px * height / (size.height_px * width)))

    return min(RATIOS, key=distance)


def files_of(call: ProviderCall) -> tuple[FormFile, ...]:
    return (*forms.pictures(call.images[:1]), *forms.mask_of(call))


def text_of(value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [item if isinstance(item, str) else json.dumps(item) for item in value]
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
