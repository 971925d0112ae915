"""Black Forest Labs (FLUX): submit, then poll. One image a call; the model is the path.

Wire format: https://docs.bfl.ai, read 2026-11-21. Sizes in pixels, or a ratio and a tier; charges in cents.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote

from imagegate.domain import ProviderCall, ProviderResult, UpstreamJob
from imagegate.errors import Ambiguous, ImagegateError, RefusedUnbilled
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire
from imagegate.providers import pictures, polling

NAME = "bfl"
CREDIT_USD = Decimal("0.01")
MOST_CREDITS = 100_000
NEVER_SENT = frozenset(
    ("background", "moderation", "negative_prompt", "output_compression", "partial_images")
)
NEVER_SENT |= {"prompt_enhancement", "quality", "response_format", "stream", "style", "thinking", "user"}
MODERATED = {"request moderated": "input", "content moderated": "output"}
FAILED = ("error", "failed")
UNKNOWN = "task not found"


@dataclass(frozen=True, slots=True)
class Words:
    """What a model is told, and how.

    pictures: `input_image` (the next ones are `input_image_2` and so on), `images` (a list), or the field of the only
    one. loosest: the most that `safety_tolerance` may be. upsampling: the switch for rewriting prompts; `disable_pup`
    is the other way round. lacking: common fields that it has not. sized: False: it goes by its picture.
    """

    pictures: str = "input_image"
    loosest: int = 6
    upsampling: str | None = None
    lacking: tuple[str, ...] = ("steps", "guidance")
    sized: bool = True


WORDS = {
    "flux-2-flex": Words(loosest=5, upsampling="prompt_upsampling", lacking=()),
    "flux-2-klein": Words(loosest=5),
    "flux-2-": Words(loosest=5, upsampling="disable_pup"),
    "flux-3-image-klein": Words("images", loosest=7, lacking=("guidance",)),
    "flux-3-image": Words("images", loosest=4, lacking=("steps", "guidance", "seed", "output_format")),
    "flux-kontext-": Words(upsampling="prompt_upsampling"),
    "flux-pro-1.1": Words("image_prompt", upsampling="prompt_upsampling"),
    "flux-dev": Words("image_prompt", upsampling="prompt_upsampling", lacking=()),
    "flux-pro-1.0-": Words("image", upsampling="prompt_upsampling", lacking=(), sized=False),
}
"""By how the model's name begins; the first that fits counts."""


class BflAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        answer = await self._outbound.post_json(
            f"{call.base_url}/v1/{call.upstream_model}",
            body=await pictures.written(self._pool, write_body, call),
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


def words_of(model: str) -> Words:
    return next((words for start, words in WORDS.items() if model.startswith(start)), Words())


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in BFL's words; what its model has no word for is left out."""
    words, fields = words_of(call.upstream_model), call.fields
    ours: dict[str, Any] = {"prompt": call.prompt, "output_format": call.format}
    ours |= {**size_of(call, words), **pictures_of(call, words)}
    if fields.get("moderation") == "low":
        ours["safety_tolerance"] = words.loosest
    enhanced = fields.get("prompt_enhancement")
    if enhanced is not None and words.upsampling:
        ours[words.upsampling] = not enhanced if words.upsampling == "disable_pup" else enhanced
    sent = {**fields, **{name: value for name, value in ours.items() if value is not None}}
    lacking = NEVER_SENT.union(words.lacking)
    return {name: value for name, value in sent.items() if name not in lacking}


def size_of(call: ProviderCall, words: Words) -> dict[str, Any]:
    if not words.sized:
        return {}
    if call.aspect:
        return {"aspect_ratio": call.aspect, "resolution": call.tier}
    return {"width": call.size.width_px, "height": call.size.height_px}


def pictures_of(call: ProviderCall, words: Words) -> dict[str, Any]:
    """Bare base64. The mask is white where the picture is to be redrawn."""
    told: dict[str, Any] = {}
    if words.pictures == "images" and call.images:
        told["images"] = [pictures.base64_of(image) for image in call.images]
    elif words.pictures == "input_image":
        for number, image in enumerate(call.images, 1):
            told["input_image" if number == 1 else f"input_image_{number}"] = pictures.base64_of(image)
    elif call.images:
        told[words.pictures] = pictures.base64_of(call.images[0])
    if call.mask and words.pictures == "image":
        told["mask"] = pictures.base64_of(call.mask)
    return told


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
