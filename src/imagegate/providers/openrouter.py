"""OpenRouter's Images API: one synchronous call to whoever sells the model there, images as base64.

Wire format: https://openrouter.ai/docs, read 2026-11-21. Sizes in pixels, or a ratio and a tier.
Its own moderation is a 403; a failure after the work began is a 200 that holds an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from pydantic_core import to_json

from imagegate.domain import InputImage, ProviderCall, ProviderImage, ProviderResult
from imagegate.errors import Ambiguous, BilledInvalid, ImagegateError, ProviderRejected, RefusedUnbilled
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire
from imagegate.providers.pictures import data_url, written

NAME = "openrouter"
COMPRESSED = ("jpeg", "webp")
OWN_FIELDS = ("seed", "background", "output_compression", "session_id", "trace")
SAID_BY_US = ("model", "prompt", "n", "size", "resolution", "aspect_ratio", "quality", "output_format")
SAID_OTHERWISE = ("user", "safety_identifier", "provider")
NEVER_SENT = (
    "input_references",
    "mask",
    "style",
    "thinking",
    "prompt_enhancement",
    "response_format",
    "stream",
    "partial_images",
)
PREFERENCES = ("order", "only", "ignore", "allow_fallbacks", "sort")
FETCHES = re.compile(r"ur[il]|webhook|callback|header|api_?key|^extra_", re.IGNORECASE)
"""Options of a seller's by which it would be sent to fetch something, or to call somebody."""
NOT_THE_SELLERS = frozenset((*OWN_FIELDS, *SAID_BY_US, *SAID_OTHERWISE, *NEVER_SENT))
PROMPT_REFUSED = ("moderation_blocked", "content_policy_violation", "Request Moderated")
IMAGE_REFUSED = ("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "Content Moderated")
REFUSED = ("PROHIBITED_CONTENT", "content_filter", "contentFilter", "content_moderation")
MADE_AND_REFUSED = re.compile(r"moderation_stage[\\\"\s:]{1,12}output")
LONGEST_RAW = 64 * 1024


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in OpenRouter's own shape. Its message stays out: it may quote the prompt."""

    code: int | None
    stage: str | None
    """Which moderation refused, `input` or `output`; None: none did."""


class OpenRouterAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound, self._pool = outbound, pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        url = f"{call.base_url}/images"
        body = await written(self._pool, write_body, call)
        answer = await wire.create(self._outbound, call, url, body, provider=NAME)
        return read_answer(answer, call)


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in OpenRouter's words. Pixels beside a ratio or a tier would be refused: it is one or the other."""
    fields = {name: call.fields[name] for name in OWN_FIELDS if name in call.fields}
    if call.format not in COMPRESSED:
        fields.pop("output_compression", None)
    if user := user_of(call.fields):
        fields["user"] = user
    if provider := write_provider(call):
        fields["provider"] = provider
    ours = {"model": call.upstream_model, "prompt": call.prompt, "n": call.n}
    size = {"aspect_ratio": call.aspect, "resolution": call.tier}
    chosen: dict[str, Any] = {**size, "quality": call.quality, "output_format": call.format}
    if call.images:
        chosen["input_references"] = [reference(image) for image in call.images]
    if call.aspect is None and call.tier is None:
        chosen["size"] = str(call.size)
    return {**fields, **ours, **{name: value for name, value in chosen.items() if value is not None}}


def reference(image: InputImage) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(image)}}


def user_of(fields: Mapping[str, Any]) -> str | None:
    """A user is told by hash only, unless the caller gave a word that is meant to be passed on."""
    if told := fields.get("safety_identifier"):
        return str(told)
    user = fields.get("user")
    return None if user is None else sha256(str(user).encode()).hexdigest()


def write_provider(call: ProviderCall) -> dict[str, Any]:
    """Where to go, as was said, and what is the seller's own, under the name of the model's creator."""
    given = dict_of(call.fields.get("provider"))
    provider = {name: given[name] for name in PREFERENCES if name in given}
    options = {slug: harmless(dict_of(more)) for slug, more in dict_of(given.get("options")).items()}
    if native := {name: value for name, value in call.fields.items() if name not in NOT_THE_SELLERS}:
        slug = call.upstream_model.partition("/")[0]
        options[slug] = {**options.get(slug, {}), **harmless(native)}
    if options := {slug: more for slug, more in options.items() if more}:
        provider["options"] = options
    return provider


def harmless(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if not FETCHES.search(name)}


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """OpenRouter's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    upstream_id = generation_id(answer, body)
    failed = read_failure(body)
    if failed or answer.status != 200:
        raise failure(answer, failed, upstream_id)
    entries = wire.read_entries(NAME, answer, body, None)
    images = tuple(ProviderImage(b64=b64) for entry in entries if (b64 := wire.b64_of(entry)))
    if not images:
        raise BilledInvalid(NAME, "answered without an image", upstream_id=upstream_id)
    usage = dict_of(body.get("usage"))
    return ProviderResult(
        images=images, usage=usage_of(usage), cost_usd=cost_usd(usage), upstream_id=upstream_id
    )


def dict_of(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def generation_id(answer: Answer, body: Any) -> str | None:
    """By which the generation can be asked about at OpenRouter."""
    named = answer.headers.get("x-generation-id") or dict_of(body).get("id")
    return wire.safe_word(named) or wire.upstream_id(answer)


def read_failure(body: Any) -> Failure | None:
    """`{"error": {"code": 403, "message": …, "metadata": …}}`; None for every other shape."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or not ("code" in error or "message" in error):
        return None
    code = error.get("code")
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    return Failure(code if type(code) is int else None, refused_stage(code, dict_of(error.get("metadata"))))


def refused_stage(code: Any, metadata: Mapping[str, Any]) -> str | None:
    """Its own moderation gives reasons; a seller's is told in the seller's own words, as `raw`."""
    if code in (403, None) and (metadata.get("reasons") or metadata.get("flagged_input")):
        return "input"
    raw = metadata.get("raw")
    text = raw if isinstance(raw, str) else to_json(raw).decode()
    text = text[:LONGEST_RAW]
    if MADE_AND_REFUSED.search(text) or any(word in text for word in IMAGE_REFUSED):
        return "output"
    return "input" if any(word in text for word in (*PROMPT_REFUSED, *REFUSED)) else None


def failure(answer: Answer, failed: Failure | None, upstream_id: str | None) -> ImagegateError:
    """Refusals first. An error inside a 200 came after the work began: somebody may have billed it."""
    began = answer.status == 200
    status = (failed.code or 200) if failed and began else answer.status
    if failed and failed.stage:
        return wire.refusal(NAME, wire.Complaint(stage=failed.stage))
    if status in (400, 413, 422):
        return ProviderRejected(NAME, f"found the request invalid ({status})")
    wait_s = wire.retry_after_s(answer.headers)
    if status in (429, 503, 529):
        return RefusedUnbilled(
            NAME,
            f"is busy ({status})",
            busy=True,
            at_risk=began,
            retry_after_s=wait_s,
            upstream_id=upstream_id,
        )
    if status in wire.NEVER_PROCESSED:
        said = "has no credit left for our account (402)" if status == 402 else f"refused our call ({status})"
        ours = status in wire.OUR_KEY and not began  # afterwards it may be the seller's key
        return RefusedUnbilled(NAME, said, at_risk=began, bad_key=ours, upstream_id=upstream_id)
    if status in (500, 502) and failed:
        said = f"failed by its own account ({status})"
        return RefusedUnbilled(NAME, said, at_risk=True, retry_after_s=wait_s, upstream_id=upstream_id)
    if status == 200:
        return BilledInvalid(NAME, "answered with an error of no known code", upstream_id=upstream_id)
    return Ambiguous(NAME, f"answered {status}", upstream_id=upstream_id)


def usage_of(usage: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """OpenRouter's counts under the names that prices go by."""
    names = {
        "prompt_tokens": "input_tokens",
        "completion_tokens": "output_tokens",
        "total_tokens": "total_tokens",
        "prompt_tokens_details": "input_tokens_details",
        "completion_tokens_details": "output_tokens_details",
    }
    found = {ours: counts(usage.get(name)) for name, ours in names.items()}
    return {ours: value for ours, value in found.items() if value not in (None, {})} or None


def counts(value: Any) -> Any:
    """A count, or the counts of a group; None for whatever is neither."""
    if isinstance(value, Mapping):
        return {name: inner for name, inner in value.items() if type(inner) is int and inner >= 0}
    return value if type(value) is int and value >= 0 else None


def cost_usd(usage: Mapping[str, Any]) -> Decimal | None:
    """The exact charge. Where the seller's key is our own, OpenRouter asks its share and the seller the rest."""
    charged = usd(usage.get("cost"))
    if usage.get("is_byok") is not True:
        return charged
    rest = usd(dict_of(usage.get("cost_details")).get("upstream_inference_cost"))
    return None if charged is None or rest is None else charged + rest


def usd(value: Any) -> Decimal | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    amount = Decimal(str(value))
    return amount if amount.is_finite() and amount >= 0 else None
