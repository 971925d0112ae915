"""Replicate: many makers' models as predictions. Create, wait a little in the same call, then poll.

Wire format: https://replicate.com/docs/reference/http, read 2026-11-21. Each model has inputs of its own.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from imagegate.domain import ProviderCall, ProviderResult, UpstreamJob
from imagegate.errors import Ambiguous, ImagegateError, RefusedUnbilled
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire
from imagegate.providers import pictures, polling

NAME = "replicate"
LONGEST_HOLD_S = 5
"""How long the creating call may hold on. Until it answers the work has no id, and would be lost in a crash."""
RENAMED = frozenset(("background", "guidance", "moderation", "output_compression", "prompt_enhancement"))
RENAMED |= {"steps", "style", "user"}
NEVER_SENT = frozenset(("partial_images", "quality", "response_format", "stream", "thinking"))
COUNTS = {"openai/": "number_of_images", "bytedance/seedream": "max_images"}
PICTURES = {
    "black-forest-labs/flux-2-": "input_images",
    "black-forest-labs/flux-kontext-": "input_image",
    "black-forest-labs/flux-1.1-pro": "image_prompt",
    "bytedance/": "image_input",
    "google/": "image_input",
    "openai/": "input_images",
}
"""The field of the pictures by how the model's name begins; `image` elsewhere."""
MANY = ("input_images", "image_input")
"""Fields that take a list."""
STEPS = ("-pro", "-flex")
LOOSEST = {
    "black-forest-labs/flux-2-": 5,
    "black-forest-labs/flux-1.1-pro": 6,
    "black-forest-labs/flux-kontext-": 6,
    "black-forest-labs/flux-fill-pro": 6,
}
REFUSAL = re.compile(r"E005|sensitive|NSFW|safety|moderat", re.IGNORECASE)
OF_THE_IMAGE = re.compile(r"NSFW content detected", re.IGNORECASE)
BUSY = re.compile(r"\b(?:E003|E004|E9243)\b|high demand", re.IGNORECASE)


class ReplicateAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        hold_s = max(1, min(LONGEST_HOLD_S, int(call.deadline_s / 2)))
        answer = await self._outbound.post_json(
            endpoint(call),
            body=await pictures.written(self._pool, write_body, call),
            headers={**wire.headers_for(call), "Prefer": f"wait={hold_s}"},
            provider=NAME,
            timeout_s=call.deadline_s,
        )
        job = read_accepted(answer, call)
        if made := read_answer(answer, call):
            return made
        await call.accepted(job)
        return await self.resume(call, job)

    async def resume(self, call: ProviderCall, job: UpstreamJob) -> ProviderResult:
        ask = partial(
            self._outbound.get,
            polling.place(call, job.url, place_of(call, job.id)),
            headers=wire.headers_for(call),
            provider=NAME,
            timeout_s=polling.ANSWER_S,
        )
        read = partial(read_answer, call=call)
        return await polling.poll(NAME, call, job, ask, read, is_lost=tells_no_status)


def endpoint(call: ProviderCall) -> str:
    """`owner/name`; `owner/name:version` and a bare version go elsewhere; `deployments/owner/name` is one's own."""
    model = call.upstream_model
    if model.startswith("deployments/"):
        return f"{call.base_url}/{model}/predictions"
    return (
        f"{call.base_url}/predictions" if version_of(model) else f"{call.base_url}/models/{model}/predictions"
    )


def version_of(model: str) -> str | None:
    return model if ":" in model or "/" not in model else None


def place_of(call: ProviderCall, job_id: str) -> str:
    return f"{call.base_url}/predictions/{job_id}"


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call as the inputs of its model."""
    version = version_of(call.upstream_model)
    passed = {
        name: value for name, value in call.fields.items() if name not in RENAMED and name not in NEVER_SENT
    }
    ours = {"prompt": call.prompt, **size_of(call), **pictures_of(call), **chosen(call), **renamed(call)}
    inputs = {"input": {**passed, **{name: value for name, value in ours.items() if value is not None}}}
    return {"version": version, **inputs} if version else inputs


def renamed(call: ProviderCall) -> dict[str, Any]:
    """The request's other fields, under the names that the model's maker gave them there; None: not said."""
    model, said = call.upstream_model, call.fields
    if model.startswith("openai/"):
        user = said.get("user")
        kept = {name: said.get(name) for name in ("background", "moderation", "output_compression")}
        return {**kept, "user_id": None if user is None else wire.hashed(user)}
    by_bfl, by_ideogram = (model.startswith(maker) for maker in ("black-forest-labs/", "ideogram-ai/"))
    enhanced = said.get("prompt_enhancement")
    told: dict[str, Any] = {
        "steps" if model.endswith(STEPS) else "num_inference_steps": said.get("steps"),
        "guidance" if by_bfl else "guidance_scale": said.get("guidance"),
        "output_quality": said.get("output_compression"),
        "style_type" if by_ideogram else "style": said.get("style"),
    }
    if by_ideogram:
        told["magic_prompt_option"] = None if enhanced is None else "On" if enhanced else "Off"
    else:
        told["prompt_upsampling"] = enhanced
    if said.get("moderation") == "low":
        told["safety_tolerance"] = next(
            (most for start, most in LOOSEST.items() if model.startswith(start)), None
        )
    return told


def pictures_of(call: ProviderCall) -> dict[str, Any]:
    """In data URLs. White is redrawn under a mask, with Ideogram's models black."""
    if not call.images:
        return {}
    name = next((name for start, name in PICTURES.items() if call.upstream_model.startswith(start)), "image")
    links = [pictures.data_url(image) for image in call.images]
    told: dict[str, Any] = {name: links if name in MANY else links[0]}
    if call.mask:
        told["mask"] = pictures.data_url(call.mask)
    return told


def size_of(call: ProviderCall) -> dict[str, Any]:
    model, size = call.upstream_model, call.size
    if call.mask:
        return {}  # drawn in the size of its picture
    edges = {"width": size.width_px, "height": size.height_px}
    if model.startswith("bytedance/seedream"):
        if not call.aspect:
            return {"size": "custom", **edges}
        return {"aspect_ratio": call.aspect} | ({"size": call.tier} if call.tier else {})
    if call.aspect:
        return {"aspect_ratio": call.aspect} | ({"resolution": call.tier} if call.tier else {})
    if model.startswith("recraft-ai/"):
        return {"size": str(size)}
    if model.startswith("ideogram-ai/"):
        return {"resolution": str(size)}
    return {"aspect_ratio": "custom", **edges}


def chosen(call: ProviderCall) -> dict[str, Any]:
    """Format, quality and number, each only where it was asked for."""
    model, said = call.upstream_model, dict[str, Any]()
    if call.format is not None:
        said["output_format"] = "jpg" if call.format == "jpeg" else call.format
    if call.quality is not None and model.startswith("openai/"):
        said["quality"] = call.quality
    if call.n > 1:
        count = next((name for start, name in COUNTS.items() if model.startswith(start)), "num_outputs")
        said[count] = call.n
        if count == "max_images":
            said["sequential_image_generation"] = "auto"
    return said


def read_accepted(answer: Answer, call: ProviderCall) -> UpstreamJob:
    """The prediction that was created, be it over already. Raises ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    if not 200 <= answer.status < 300:
        raise failure(answer, body)
    if not isinstance(body, dict):
        raise Ambiguous(NAME, "gave an answer that is no JSON object", upstream_id=wire.upstream_id(answer))
    known = polling.job_id(NAME, answer, body.get("id"))
    urls = body.get("urls")
    given = urls.get("get") if isinstance(urls, dict) else None
    return UpstreamJob(known, polling.place(call, given, place_of(call, known)))


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult | None:
    """A prediction in our words; None while it runs, also in states we do not know.

    Raises ContentRejected, RefusedUnbilled or BilledInvalid.
    """
    body = answer.json()
    status, known = body.get("status"), wire.safe_word(body.get("id"))
    if status == "failed":
        raise read_failed(body.get("error"), known)
    if status in ("canceled", "aborted"):
        ran = status == "canceled"  # an aborted one ended before it began
        raise RefusedUnbilled(NAME, f"{status} the work", at_risk=ran, upstream_id=known)
    if status != "succeeded":
        return None
    output = body.get("output")
    links = output if isinstance(output, list) else [output]
    images = tuple(image for link in links if (image := polling.image_at(link)))
    if not images:
        raise wire.no_image(NAME, answer)
    return ProviderResult(images=images, upstream_id=known)


def read_failed(error: Any, known: str | None) -> ImagegateError:
    """Refusals first. What a community's model ran until it failed is billed, an official one's is not."""
    text = error if isinstance(error, str) else ""
    if REFUSAL.search(text):
        stage = "output" if OF_THE_IMAGE.search(text) else "input"
        return wire.refusal(NAME, wire.Complaint(stage=stage))
    if BUSY.search(text):
        return RefusedUnbilled(NAME, "is busy", busy=True, at_risk=True, upstream_id=known)
    return RefusedUnbilled(NAME, "failed to make the image", at_risk=True, upstream_id=known)


def tells_no_status(answer: Answer) -> bool:
    body = wire.parse_json(answer)
    return not isinstance(body, dict) or not isinstance(body.get("status"), str)


def failure(answer: Answer, body: Any) -> ImagegateError:
    error = wire.failure(NAME, answer, read_complaint(body))
    if isinstance(error, RefusedUnbilled) and error.wait_s is None and isinstance(body, Mapping):
        error.wait_s = wait_s(body.get("retry_after"))
    return error


def wait_s(given: Any) -> float | None:
    """Seconds that a throttled answer asks us to wait, where its headers say nothing."""
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return float(given) if is_number and 0 <= given <= 3600 else None


def read_complaint(body: Any) -> wire.Complaint | None:
    """`{"title", "detail", "status", "invalid_fields"}`, mostly the detail alone."""
    if not isinstance(body, dict) or not (body.get("detail") or body.get("title")):
        return None
    faults = body.get("invalid_fields")
    first = faults[0] if isinstance(faults, list) and faults else None
    field = first.get("field") if isinstance(first, dict) else None
    param = field.rpartition(".")[2] if isinstance(field, str) else None
    return wire.Complaint(param=wire.safe_word(param))
