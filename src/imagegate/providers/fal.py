"""fal: many makers' models behind one queue. Submit, ask for the status, then for the model's own answer.

Wire format: https://docs.fal.ai, read 2026-11-21. Sizes in pixels, or a ratio and a tier.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import ceil
from time import monotonic
from typing import Any

from imagegate.domain import ProviderCall, ProviderResult, UpstreamJob
from imagegate.errors import Ambiguous, AttemptFailed, ImagegateError, RefusedUnbilled
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire
from imagegate.providers import pictures, polling

NAME = "fal"
RENAMED = {"steps": "num_inference_steps", "guidance": "guidance_scale", "thinking": "thinking_level"}
NEVER_SENT = frozenset(("moderation", "output_compression", "partial_images", "quality", "response_format"))
NEVER_SENT |= {"prompt_enhancement", "stream", "sync_mode", "user"}
SPEEDS = {"low": "TURBO", "medium": "BALANCED", "high": "QUALITY", "xhigh": "QUALITY", "max": "QUALITY"}
LOOSEST = {
    "fal-ai/flux-2-": "5",
    "fal-ai/flux-pro/": "6",
    "fal-ai/nano-banana": "6",
    "google/nano-banana": "6",
}
ONE_PICTURE = ("/image-to-image", "/kontext", "/kontext/max", "/fill")
"""Endpoints that take a single picture, `image_url`; all others take `image_urls`."""
UNSIZED = ("/image-to-image", "/fill")
"""Endpoints that draw in the size of their picture."""
KEPT_S = 3600
"""How long fal keeps what was made, instead of seven days or more: it is fetched as soon as it is there."""
FAILURES = frozenset(("downstream_service_error", "downstream_service_unavailable", "generation_timeout"))
FAILURES |= {"internal_server_error", "no_media_generated"}
"""What the model did wrong, whatever the status; no other request of the caller's would help it."""


class FalAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        answer = await self._outbound.post_json(
            f"{call.base_url}/{call.upstream_model}",
            body=await pictures.written(self._pool, write_body, call),
            headers={**headers_for(call), **wishes_for(call)},
            provider=NAME,
            timeout_s=call.deadline_s,
        )
        job = read_accepted(answer, call)
        await call.accepted(job)
        return await self.resume(call, job)

    async def resume(self, call: ProviderCall, job: UpstreamJob) -> ProviderResult:
        until = monotonic() + call.poll_s
        status = polling.place(call, job.url, status_place(call, job.id))
        read = partial(read_status, call=call, status=status)
        ask = self._asking(call, status)
        made = await polling.poll(NAME, call, job, ask, read, is_lost=tells_no_status)
        left = replace(call, poll_s=max(until - monotonic(), min(call.poll_s, polling.ANSWER_S)))
        result = await polling.poll(
            NAME,
            left,
            job,
            self._asking(call, made),
            partial(read_answer, call=call),
            is_news=is_the_models,
            is_lost=is_no_answer,
        )
        return replace(result, upstream_id=job.id)

    def _asking(self, call: ProviderCall, url: str) -> polling.Ask:
        return partial(
            self._outbound.get,
            url,
            headers=headers_for(call),
            provider=NAME,
            timeout_s=polling.ANSWER_S,
        )


def headers_for(call: ProviderCall) -> dict[str, str]:
    return {"Authorization": f"Key {call.api_key.get_secret_value()}"} if call.api_key else {}


def wishes_for(call: ProviderCall) -> dict[str, str]:
    """To the queue: to drop what has not begun by our deadline, and to keep what was made for an hour only."""
    return {
        "X-Fal-Request-Timeout": str(max(1, ceil(call.deadline_s))),
        "X-Fal-Object-Lifecycle-Preference": f'{{"expiration_duration_seconds":{KEPT_S}}}',
    }


def status_place(call: ProviderCall, job_id: str) -> str:
    """Below the first two parts of the endpoint's name: `fal-ai/flux/dev` works as `fal-ai/flux`."""
    owner_and_alias = "/".join(call.upstream_model.split("/")[:2])
    return f"{call.base_url}/{owner_and_alias}/requests/{job_id}/status"


def is_gpt(model: str) -> bool:
    return "/gpt-image-" in model


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in the words that fal's endpoints share; what only some of them know goes to those alone."""
    model, said = call.upstream_model, call.fields
    passed = {name: value for name, value in said.items() if name not in NEVER_SENT and name not in RENAMED}
    if not is_gpt(model):
        passed.pop("background", None)
    ours: dict[str, Any] = {"prompt": call.prompt, "output_format": call.format}
    ours |= {theirs: said.get(name) for name, theirs in RENAMED.items()}
    ours |= {**size_of(call), **pictures_of(call), **wishes_of(call)}
    return {**passed, **{name: value for name, value in ours.items() if value is not None}}


def wishes_of(call: ProviderCall) -> dict[str, Any]:
    """Number, quality, moderation and the rewriting of prompts, as this endpoint's maker calls them; None: not said."""
    model, said = call.upstream_model, call.fields
    told: dict[str, Any] = {"num_images": call.n if call.n > 1 else None}
    if is_gpt(model):
        told["quality"] = call.quality
    elif "/ideogram/" in model or model.startswith("ideogram/"):
        told["rendering_speed"] = SPEEDS.get(call.quality or "")
    if said.get("moderation") == "low":
        told["safety_tolerance"] = next(
            (most for start, most in LOOSEST.items() if model.startswith(start)), None
        )
    enhance = "enhance_prompt" if model.startswith("fal-ai/flux-pro/") else "enable_prompt_expansion"
    told[enhance] = said.get("prompt_enhancement")
    return told


def size_of(call: ProviderCall) -> dict[str, Any]:
    if call.images and call.upstream_model.endswith(UNSIZED):
        return {}
    if call.aspect:
        return {"aspect_ratio": call.aspect, "resolution": call.tier}
    if "/gpt-image-1" in call.upstream_model:
        return {"image_size": str(call.size)}
    return {"image_size": {"width": call.size.width_px, "height": call.size.height_px}}


def pictures_of(call: ProviderCall) -> dict[str, Any]:
    """The pictures in data URLs. The mask goes by its alpha for GPT models; elsewhere white is redrawn."""
    links = [pictures.data_url(image) for image in call.images]
    if not links:
        return {}
    told: dict[str, Any] = {"image_urls": links}
    if call.upstream_model.endswith(ONE_PICTURE):
        told = {"image_url": links[0]}
    if call.mask:
        told["mask_image_url" if is_gpt(call.upstream_model) else "mask_url"] = pictures.data_url(call.mask)
    return told


def read_accepted(answer: Answer, call: ProviderCall) -> UpstreamJob:
    """The request as fal has queued it. Raises as `failure`."""
    body = wire.parse_json(answer)
    if not 200 <= answer.status < 300:
        raise failure(answer, complaint_of(answer, body))
    if not isinstance(body, dict):
        raise Ambiguous(NAME, "gave an answer that is no JSON object", upstream_id=wire.upstream_id(answer))
    known = polling.job_id(NAME, answer, body.get("request_id"))
    return UpstreamJob(known, polling.place(call, body.get("status_url"), status_place(call, known)))


def read_status(answer: Answer, call: ProviderCall, status: str) -> str | None:
    """Where the model's answer is; None while it is queued or made. `COMPLETED` may still mean an error."""
    body = answer.json()
    if body["status"] != "COMPLETED":
        return None
    return polling.place(call, body.get("response_url"), status.removesuffix("/status"))


def tells_no_status(answer: Answer) -> bool:
    body = wire.parse_json(answer)
    return not isinstance(body, dict) or not isinstance(body.get("status"), str)


def is_the_models(answer: Answer) -> bool:
    """Whether an answer about finished work is the model's own, errors included, or only the way's there."""
    return answer.status != 429 and (
        answer.status < 500 or read_complaint(wire.parse_json(answer)) is not None
    )


def is_no_answer(answer: Answer) -> bool:
    body = wire.parse_json(answer)
    return body is None or (answer.status != 200 and read_complaint(body) is None)


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """The model's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    if answer.status != 200:
        complaint = complaint_of(answer, body)
        if complaint and answer.status >= 500 and not wire.is_refusal(complaint):
            raise broken(answer, complaint)
        raise failure(answer, complaint)
    body = body if isinstance(body, dict) else {}
    flagged = body.get("has_nsfw_concepts")
    entries = body.get("images") if isinstance(body.get("images"), list) else [body.get("image")]
    links = [entry.get("url") if isinstance(entry, dict) else entry for entry in entries or ()]
    found = [(polling.image_at(link), is_flagged(flagged, place)) for place, link in enumerate(links)]
    revised = wire.text_of(body, "revised_prompt")
    images = tuple(replace(image, revised_prompt=revised) for image, black in found if image and not black)
    if images:
        return ProviderResult(images=images, usage=units_of(answer))
    if any(black for _, black in found):
        raise wire.refusal(NAME, wire.Complaint(stage="output"))
    raise wire.no_image(NAME, answer)


def is_flagged(flags: Any, place: int) -> bool:
    """Whether the safety checker has painted the image at this place black."""
    return isinstance(flags, list) and place < len(flags) and flags[place] is True


def units_of(answer: Answer) -> Mapping[str, Any] | None:
    """The billable units of a header, where they are whole. What one is, and costs, differs by endpoint."""
    told = answer.headers.get("x-fal-billable-units", "")
    units = re.fullmatch(r"(\d{1,7})(?:\.0{1,9})?", told, re.ASCII)
    return {"billable_units": int(units[1])} if units else None


def failure(answer: Answer, complaint: wire.Complaint | None) -> ImagegateError:
    if complaint and not wire.is_refusal(complaint) and complaint.code in FAILURES and answer.status != 504:
        return broken(answer, complaint)
    error = wire.failure(NAME, answer, complaint)
    if isinstance(error, AttemptFailed):
        error.upstream_id = error.upstream_id or wire.safe_word(answer.headers.get("x-fal-request-id"))
    if isinstance(error, RefusedUnbilled) and answer.headers.get("x-fal-retryable", "").lower() == "false":
        error.busy = False
    return error


def broken(answer: Answer, complaint: wire.Complaint) -> RefusedUnbilled:
    said = f" ({complaint.code})" if complaint.code else f" ({answer.status})"
    return wire.refused(
        NAME, answer, f"failed by its own account{said}", busy=answer.status == 503, at_risk=True
    )


def complaint_of(answer: Answer, body: Any) -> wire.Complaint | None:
    """The complaint of a body; where that names no type, a header may."""
    complaint = read_complaint(body)
    if complaint is None or complaint.code:
        return complaint
    return replace(complaint, code=wire.safe_word(answer.headers.get("x-fal-error-type")))


def read_complaint(body: Any) -> wire.Complaint | None:
    """A model's `{"detail": [{"loc", "type"}]}`, the platform's `{"detail", "error_type"}`, the old `{"message"}`."""
    if not isinstance(body, dict) or not (
        body.get("detail") or body.get("error_type") or body.get("message")
    ):
        return None
    entries = body["detail"] if isinstance(body.get("detail"), list) else []
    entries = [entry for entry in entries if isinstance(entry, dict)]
    if not entries:
        return wire.Complaint(code=wire.safe_word(body.get("error_type")))
    first = next((entry for entry in entries if entry.get("type") in wire.MODERATION_CODES), entries[0])
    loc = first.get("loc")
    param = wire.safe_word(loc[-1]) if isinstance(loc, list) and loc else None
    return wire.Complaint(code=wire.safe_word(first.get("type")), param=param)
