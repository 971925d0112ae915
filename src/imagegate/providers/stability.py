"""Stability AI (v2beta): one synchronous multipart call, one image as base64. Shapes as ratios, no pixels.

Wire format: https://platform.stability.ai/docs/api-reference, read 2026-11-21.
"""

from typing import Any

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult
from imagegate.errors import ContentRejected, ImagegateError, ProviderRejected, RefusedUnbilled
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire

NAME = "stability"
FOLDER = "v2beta/stable-image/generate"
ROUTES = {"stable-image-ultra": "ultra", "ultra": "ultra", "stable-image-core": "core", "core": "core"}
SD3 = "sd3"
PASSED = ("negative_prompt", "seed", "style_preset")
REFUSALS = ("content_moderation", "public_figure")
BLURRED = "CONTENT_FILTERED"
PENALTY_S = 60.0
"""How long a key is shut out after too many requests; no header tells."""


class StabilityAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        answer = await self._outbound.post_form(
            f"{call.base_url}/{FOLDER}/{route_of(call)}",
            fields=write_body(call),
            headers=headers_for(call),
            provider=NAME,
            timeout_s=call.deadline_s,
            max_bytes=wire.max_answer_bytes(call),
        )
        return read_answer(answer, call)


def route_of(call: ProviderCall) -> str:
    """Ultra and Core are places, the SD 3.5 family is one place and a field. Raises ProviderRejected."""
    if call.upstream_model.startswith(SD3):
        return SD3
    if call.upstream_model not in ROUTES:
        raise ProviderRejected(NAME, "makes no image from a prompt alone with this model", param="model")
    return ROUTES[call.upstream_model]


def headers_for(call: ProviderCall) -> dict[str, str]:
    headers = wire.headers_for(call) | {"stability-client-id": "imagegate"}
    user = call.fields.get("user")
    return headers if user is None else headers | {"stability-client-user-id": wire.hashed(user)}


def write_body(call: ProviderCall) -> dict[str, str]:
    """Our call as the text parts of a form."""
    fields: dict[str, Any] = {name: call.fields.get(name) for name in PASSED}
    fields |= {"prompt": call.prompt, "aspect_ratio": call.aspect, "output_format": call.format}
    if route_of(call) == SD3:
        guidance = call.fields.get("cfg_scale", call.fields.get("guidance"))
        fields |= {"model": call.upstream_model, "cfg_scale": guidance}
    return {name: str(value) for name, value in fields.items() if value is not None}


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """Stability's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    if answer.status == 200 and answer.headers.get("content-type", "").startswith("image/"):
        return read_image(answer, ProviderImage(data=answer.body) if answer.body else None, None)
    body = wire.parse_json(answer)
    if answer.status != 200:
        raise failure(answer, read_complaint(body))
    wire.read_entries(NAME, answer, body, None)  # raises for what is no JSON
    said = body if isinstance(body, dict) else {}
    b64 = wire.text_of(said, "image")
    return read_image(answer, ProviderImage(b64=b64) if b64 else None, said.get("finish_reason"))


def read_image(answer: Answer, image: ProviderImage | None, finish_reason: Any) -> ProviderResult:
    """A picture that tripped the filter comes blurred, with status 200: it is a refusal, and is handed to nobody."""
    if BLURRED in (finish_reason, answer.headers.get("finish-reason")):
        raise wire.refusal(NAME, wire.Complaint(stage="output"))
    if image is None:
        raise wire.no_image(NAME, answer)
    return ProviderResult(images=(image,), upstream_id=wire.upstream_id(answer))


def read_complaint(body: Any) -> wire.Complaint | None:
    """`{"id": …, "name": "bad_request", "errors": ["some-field: is required"]}`; None for every other shape."""
    if not isinstance(body, dict) or not isinstance(body.get("name"), str):
        return None
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    place, colon, _ = first.partition(":") if isinstance(first, str) else ("", "", "")
    return wire.Complaint(code=wire.safe_word(body["name"]), param=wire.safe_word(place) if colon else None)


def failure(answer: Answer, complaint: wire.Complaint | None) -> ImagegateError:
    if complaint and complaint.code in REFUSALS and 400 <= answer.status < 500:
        return ContentRejected(f"The moderation of {NAME} refused the prompt.", stage="input")
    if answer.status == 429 and wire.retry_after_s(answer.headers) is None:
        upstream_id = wire.upstream_id(answer)
        return RefusedUnbilled(
            NAME, "is busy (429)", busy=True, retry_after_s=PENALTY_S, upstream_id=upstream_id
        )
    return wire.failure(NAME, answer, complaint)
