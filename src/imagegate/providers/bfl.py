"""Black Forest Labs (FLUX): submit, then poll. One image a call; the model is the path.

Wire format: https://docs.bfl.ai, read 2026-11-21. Sizes in pixels, or a ratio and a tier; charges in cents.
"""

from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote

from imagegate.domain import ProviderCall, ProviderResult, UpstreamJob
from imagegate.errors import Ambiguous, ImagegateError, RefusedUnbilled
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire
from imagegate.providers import polling

NAME = "bfl"
CREDIT_USD = Decimal("0.01")
MOST_CREDITS = 100_000
NEVER_SENT = frozenset(
    ("background", "moderation", "negative_prompt", "output_compression", "partial_images")
)
NEVER_SENT |= {"quality", "response_format", "stream", "style", "user"}
TAKE_STEPS = ("flux-2-flex", "flux-dev", "flux-pro-1.0-fill", "flux-pro-1.0-expand", "flux-3-image-klein")
TAKE_GUIDANCE = TAKE_STEPS[:-1]
NEITHER_SEED_NOR_FORMAT = ("flux-3-image",)
MODERATED = {"request moderated": "input", "content moderated": "output"}
FAILED = ("error", "failed")
UNKNOWN = "task not found"


class BflAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        answer = await self._outbound.post_json(
            f"{call.base_url}/v1/{call.upstream_model}",
            body=write_body(call),
            headers=headers_for(call),
            provider=NAME,
            timeout_s=call.deadline_s,
        )
        job, cost_usd = read_accepted(answer, call)
        await call.accepted(job)
        return replace(await self.resume(call, job), cost_usd=cost_usd)

    async def resume(self, call: ProviderCall, job: UpstreamJob) -> ProviderResult:
        ask = partial(
            self._outbound.get,
            polling.place(call, job.url, place_of(call, job.id)),
            headers=headers_for(call),
            provider=NAME,
            timeout_s=polling.ANSWER_S,
        )
        read = partial(read_answer, call=call)
        return await polling.poll(NAME, call, job, ask, read, is_lost=is_lost)


def headers_for(call: ProviderCall) -> dict[str, str]:
    return {"x-key": call.api_key.get_secret_value()} if call.api_key else {}


def place_of(call: ProviderCall, job_id: str) -> str:
    return f"{call.base_url}/v1/get_result?id={quote(job_id, safe='')}"


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in BFL's words; what its model has no word for is left out."""
    model = call.upstream_model
    ours = {"prompt": call.prompt, "output_format": call.format, **size_of(call)}
    if call.fields.get("moderation") == "low":
        ours["safety_tolerance"] = call.fields.get("safety_tolerance", loosest(model))
    sent = {**call.fields, **{name: value for name, value in ours.items() if value is not None}}
    lacking = NEVER_SENT | lacked_by(model)
    return {name: value for name, value in sent.items() if name not in lacking}


def size_of(call: ProviderCall) -> dict[str, Any]:
    if call.aspect:
        return {"aspect_ratio": call.aspect, "resolution": call.tier}
    return {"width": call.size.width_px, "height": call.size.height_px}


def loosest(model: str) -> int:
    """The most that `safety_tolerance` may be."""
    if model == "flux-3-image":
        return 4
    return 5 if model.startswith("flux-2-") else 6


def lacked_by(model: str) -> frozenset[str]:
    lacks = {
        "steps": model not in TAKE_STEPS,
        "guidance": model not in TAKE_GUIDANCE,
        "seed": model in NEITHER_SEED_NOR_FORMAT,
        "output_format": model in NEITHER_SEED_NOR_FORMAT,
    }
    return frozenset(name for name, lacking in lacks.items() if lacking)


def read_accepted(answer: Answer, call: ProviderCall) -> tuple[UpstreamJob, Decimal | None]:
    """The work that was accepted, and its charge in USD. Raises as `read_answer`."""
    body = wire.parse_json(answer)
    if not 200 <= answer.status < 300:
        raise wire.failure(NAME, answer, read_complaint(body))
    if not isinstance(body, dict):
        raise Ambiguous(NAME, "gave an answer that is no JSON object", upstream_id=wire.upstream_id(answer))
    if error := ending(body):
        raise error
    known = polling.job_id(NAME, answer, body.get("id"))
    url = polling.place(call, body.get("polling_url"), place_of(call, known))
    return UpstreamJob(known, url), cost_usd(body.get("cost"))


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult | None:
    """The answer to a poll in our words; None while it is being made, also in states we do not know.

    Raises ContentRejected, RefusedUnbilled or BilledInvalid.
    """
    body = answer.json()
    if error := ending(body):
        raise error
    if state_of(body) != "ready":
        return None
    known, result = wire.safe_word(body.get("id")), body.get("result")
    image = polling.image_at(result.get("sample")) if isinstance(result, dict) else None
    if image is None:
        raise wire.no_image(NAME, answer)
    return ProviderResult(images=(image,), upstream_id=known)


def ending(body: dict[str, Any]) -> ImagegateError | None:
    """The error that a state stands for. Whether a failed task is billed is nowhere said."""
    state = state_of(body)
    if state in MODERATED:
        return wire.refusal(NAME, wire.Complaint(stage=MODERATED[state]))
    if state in FAILED:
        known = wire.safe_word(body.get("id"))
        return RefusedUnbilled(NAME, "failed to make the image", at_risk=True, upstream_id=known)
    return None


def is_lost(answer: Answer) -> bool:
    """Whether a poll told no state of the work: unknown id, wrong region, refused key, or no JSON."""
    return state_of(wire.parse_json(answer)) in ("", UNKNOWN)


def state_of(body: Any) -> str:
    """In small letters; older answers call it `state`."""
    state = body.get("status", body.get("state")) if isinstance(body, dict) else None
    return state.lower() if isinstance(state, str) else ""


def read_complaint(body: Any) -> wire.Complaint | None:
    """`{"detail": "text"}`, or `{"detail": [{"loc", "type"}]}` where a field is at fault."""
    if not isinstance(body, dict) or not body.get("detail"):
        return None
    first = body["detail"][0] if isinstance(body["detail"], list) else None
    place = first.get("loc") if isinstance(first, dict) else None
    return wire.Complaint(param=wire.safe_word(place[-1]) if isinstance(place, list) and place else None)


def cost_usd(credits: Any) -> Decimal | None:
    """USD of a number of credits; None when it is no sensible one."""
    if not isinstance(credits, int | float) or isinstance(credits, bool) or not 0 <= credits <= MOST_CREDITS:
        return None
    return (Decimal(str(credits)) * CREDIT_USD).normalize()
