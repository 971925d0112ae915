"""Stability AI (v2beta): a multipart call, one image as base64. Shapes as ratios, no pixels.

Wire format: https://platform.stability.ai/docs/api-reference, read 2026-11-21. Every model is a place. Only
the creative upscaler is polled, the rest answers at once. Masks are grey, white is redrawn.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult, UpstreamJob
from imagegate.errors import Ambiguous, ContentRejected, ImagegateError, ProviderRejected, RefusedUnbilled
from imagegate.outbound import Answer, FormFile, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_forms as forms
from imagegate.providers import openai_wire as wire
from imagegate.providers import polling

NAME = "stability"
FOLDER = "v2beta/stable-image"
RESULTS = "v2beta/results"
SD3 = "generate/sd3"
ULTRA, CORE = "generate/ultra", "generate/core"
INPAINT, UPSCALED = "edit/inpaint", "upscale/creative"
ROUTES = {
    "stable-image-ultra": ULTRA,
    "ultra": ULTRA,
    "stable-image-core": CORE,
    "core": CORE,
    "stable-image-inpaint": INPAINT,
    "stable-image-outpaint": "edit/outpaint",
    "stable-image-search-and-replace": "edit/search-and-replace",
    "stable-image-search-and-recolor": "edit/search-and-recolor",
    "stable-image-control-sketch": "control/sketch",
    "stable-image-control-structure": "control/structure",
    "creative-upscale": UPSCALED,
}
PASSED = ("negative_prompt", "seed", "style_preset")
OWN: dict[str, tuple[str, ...]] = {
    SD3: (*PASSED, "cfg_scale"),
    INPAINT: (*PASSED, "grow_mask"),
    "edit/outpaint": ("seed", "style_preset", "left", "right", "up", "down", "creativity"),
    "edit/search-and-replace": (*PASSED, "search_prompt", "grow_mask"),
    "edit/search-and-recolor": (*PASSED, "select_prompt", "grow_mask"),
    "control/sketch": (*PASSED, "control_strength"),
    "control/structure": (*PASSED, "control_strength"),
    UPSCALED: (*PASSED, "creativity"),
}
"""What a place takes besides prompt, picture and format; the others take PASSED."""
OURS = {"style": "style_preset", "guidance": "cfg_scale"}
STRENGTH = 0.65
"""How far an image may leave the one it is made from, where the caller does not say: it must be told."""
REFUSALS = ("content_moderation", "public_figure")
BLURRED = "CONTENT_FILTERED"
PENALTY_S = 60.0
"""How long a key is shut out after too many requests; no header tells."""
POLL_WAIT_S = 10.0
"""Nobody is to ask more often."""


class StabilityAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        route = route_of(call)
        answer = await self._outbound.post_form(
            f"{call.base_url}/{FOLDER}/{route}",
            fields=write_body(call),
            files=files_of(call),
            headers=headers_for(call),
            provider=NAME,
            timeout_s=call.deadline_s,
            max_bytes=wire.max_answer_bytes(call),
        )
        if route != UPSCALED:
            return read_answer(answer, call)
        job = read_accepted(answer, call)
        await call.accepted(job)
        return await self.resume(call, job)

    async def resume(self, call: ProviderCall, job: UpstreamJob) -> ProviderResult:
        ask = partial(
            self._outbound.get,
            f"{call.base_url}/{RESULTS}/{job.id}",
            headers=headers_for(call),
            provider=NAME,
            timeout_s=polling.ANSWER_S,
            max_bytes=wire.max_answer_bytes(call),
        )
        wait_s = min(POLL_WAIT_S, call.poll_s / 20)
        read = partial(read_result, call=call)
        result = await polling.poll(NAME, call, job, ask, read, first_wait_s=wait_s, is_lost=is_unknown)
        return replace(result, upstream_id=job.id)


def route_of(call: ProviderCall) -> str:
    """Each model is a place, but for the SD 3.5 family, which is one place and a field. Raises ProviderRejected."""
    route = SD3 if call.upstream_model.startswith("sd3") else ROUTES.get(call.upstream_model)
    if route is None:
        raise ProviderRejected(NAME, "makes no image from a prompt with this model", param="model")
    if not route.startswith("generate/") and not call.images:
        raise ProviderRejected(NAME, "makes no image from a prompt alone with this model", param="image")
    return route


def headers_for(call: ProviderCall) -> dict[str, str]:
    headers = wire.headers_for(call) | {"stability-client-id": "imagegate"}
    user = call.fields.get("user")
    return headers if user is None else headers | {"stability-client-user-id": wire.hashed(user)}


def write_body(call: ProviderCall) -> dict[str, str]:
    """Our call as the text parts of a form."""
    route = route_of(call)
    said = {**call.fields, **{own: call.fields[ours] for ours, own in OURS.items() if ours in call.fields}}
    fields: dict[str, Any] = {name: said.get(name) for name in OWN.get(route, PASSED)}
    fields |= {"prompt": call.prompt, "output_format": call.format}
    if route.startswith("generate/") and not (route == SD3 and call.images):
        fields["aspect_ratio"] = call.aspect
    if route in (ULTRA, SD3) and call.images:
        fields["strength"] = said.get("strength", STRENGTH)
    if route == SD3:
        fields |= {"model": call.upstream_model, "mode": "image-to-image" if call.images else None}
    return {name: str(value) for name, value in fields.items() if value is not None}


def files_of(call: ProviderCall) -> tuple[FormFile, ...]:
    """One picture; a mask goes to the one place that takes it beside a prompt."""
    route = route_of(call)
    files = [] if route == CORE else forms.pictures(call.images[:1])
    return (*files, *(forms.mask_of(call) if route == INPAINT else ()))


def read_accepted(answer: Answer, call: ProviderCall) -> UpstreamJob:
    """The work as it was accepted: 200 or 202 with its id. Raises as `read_answer`."""
    body = wire.parse_json(answer)
    if answer.status not in (200, 202):
        raise failure(answer, read_complaint(body))
    if not isinstance(body, dict):
        raise Ambiguous(NAME, "gave an answer that is no JSON object", upstream_id=wire.upstream_id(answer))
    return UpstreamJob(polling.job_id(NAME, answer, body.get("id")))


def is_unknown(answer: Answer) -> bool:
    return answer.status == 404


def read_result(answer: Answer, call: ProviderCall) -> ProviderResult | None:
    """None while the work goes on, which is said with 202."""
    return None if answer.status == 202 else read_answer(answer, call)


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
