"""What the adapters of OpenAI's wire share: the body, reading errors and images, and who is to blame for a status.

Wire format: https://platform.openai.com/docs/api-reference/images, read 2026-11-21.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any

from imagegate.domain import ProviderCall, ProviderImage
from imagegate.errors import (
    Ambiguous,
    BilledInvalid,
    ContentRejected,
    ImagegateError,
    ProviderRejected,
    RefusedUnbilled,
)
from imagegate.outbound import MAX_ANSWER_BYTES, Answer, Outbound
from imagegate.providers.openai_images import parse_answer

MAX_IMAGE_BYTES = 32 * 1024 * 1024
COMPRESSED = ("jpeg", "webp")
NEVER_SENT = frozenset(
    (
        "response_format",
        "style",
        "seed",
        "negative_prompt",
        "steps",
        "guidance",
        "thinking",
        "prompt_enhancement",
        "stream",
        "partial_images",
    )
)
EDITS_ONLY = ("input_fidelity", "markup")
FRAMES = ("frame_count", "frame_duration_ms")
MODERATION_CODES = ("moderation_blocked", "content_policy_violation", "content_filter", "contentFilter")
NO_MONEY_CODES = ("insufficient_quota", "billing_hard_limit_reached")
NEVER_PROCESSED = (401, 402, 403, 404, 405, 406, 410, 411, 414, 415, 417, 421, 426, 428, 431, 451)
OUR_KEY = (401, 402, 403)
"""Of these the key is to blame, or the account behind it: unknown, without credit, not allowed."""
SAFE_WORD = re.compile(r"[\w.\[\]-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error in a shape that the provider itself writes. Its message stays out: it may quote the prompt."""

    code: str | None = None
    type: str | None = None
    param: str | None = None
    stage: str = "input"


def headers_for(call: ProviderCall) -> dict[str, str]:
    return {"Authorization": f"Bearer {call.api_key.get_secret_value()}"} if call.api_key else {}


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in OpenAI's words. A field it does not know is a 400, so the ones it never knew stay here.

    Thinking is `complexity` there. What only an edit takes goes with pictures alone, frames with a GIF alone.
    """
    fields = {name: value for name, value in call.fields.items() if name not in never_sent(call)}
    user = fields.pop("user", None)
    if user is not None:
        fields.setdefault("safety_identifier", hashed(user))
    if (thinking := call.fields.get("thinking")) is not None:
        fields["complexity"] = thinking
    ours = {"model": call.upstream_model, "prompt": call.prompt, "n": call.n, "size": str(call.size)}
    chosen = {"quality": call.quality, "output_format": call.format}
    return {**fields, **ours, **{name: value for name, value in chosen.items() if value is not None}}


def never_sent(call: ProviderCall) -> frozenset[str]:
    return NEVER_SENT.union(
        () if call.images else EDITS_ONLY,
        () if call.format in COMPRESSED else ("output_compression",),
        () if call.format == "gif" else FRAMES,
    )


def hashed(user: Any) -> str:
    """What a provider may know of a caller's user: the same for the same one, and nothing else."""
    return sha256(str(user).encode()).hexdigest()


def max_answer_bytes(call: ProviderCall) -> int:
    return max(MAX_ANSWER_BYTES, call.n * MAX_IMAGE_BYTES)


async def create(
    outbound: Outbound,
    call: ProviderCall,
    url: str,
    body: Mapping[str, Any] | bytes,
    *,
    provider: str,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The creating call, made once. headers: instead of our key as a bearer."""
    return await outbound.post_json(
        url,
        body=body,
        headers=headers_for(call) if headers is None else headers,
        provider=provider,
        timeout_s=call.deadline_s,
        max_bytes=max_answer_bytes(call),
    )


def parse_json(answer: Answer) -> Any:
    """None when the body is not JSON. Long base64 of a success is not copied: see `b64_of`."""
    try:
        return parse_answer(answer.body) if answer.status == 200 else answer.json()
    except ValueError:
        return None


def read_complaint(body: Any) -> Complaint | None:
    """OpenAI's own shape, `{"error": {…}}`; None for every other."""
    if not isinstance(body, dict) or not isinstance(body.get("error"), dict):
        return None
    error = body["error"]
    details = error.get("moderation_details")
    stage = details.get("moderation_stage") if isinstance(details, dict) else None
    return Complaint(
        code=safe_word(error.get("code")),
        type=safe_word(error.get("type")),
        param=safe_word(error.get("param")),
        stage="output" if stage == "output" else "input",
    )


def safe_word(value: Any) -> str | None:
    """A name that may be shown to callers; None for whatever else a provider put there."""
    return value if isinstance(value, str) and SAFE_WORD.fullmatch(value) else None


def is_refusal(complaint: Complaint) -> bool:
    return complaint.code in MODERATION_CODES or complaint.type == "image_generation_user_error"


def failure(provider: str, answer: Answer, complaint: Complaint | None) -> ImagegateError:
    """The error of an answer that is no success. Refusals first: they are errors of the same statuses."""
    status, code = answer.status, complaint.code if complaint else None
    if complaint and 400 <= status < 500 and is_refusal(complaint):
        return refusal(provider, complaint)
    if status in (400, 404) and code == "model_not_found":
        return refused(provider, answer, "does not offer this model to our account")
    if code in NO_MONEY_CODES and status in (400, 402, 403, 429):
        return refused(provider, answer, "has no credit left for our account", bad_key=True)
    if status in (400, 413, 422):
        said = f": {code}" if code else ""
        param = complaint.param if complaint else None
        return ProviderRejected(provider, f"found the request invalid ({status}{said})", param=param)
    if status in (429, 503, 529) or (status in (408, 409, 425) and complaint):
        return refused(provider, answer, f"is busy ({status})", busy=True)
    if status in NEVER_PROCESSED:
        return refused(provider, answer, f"refused our call ({status})", bad_key=status in OUR_KEY)
    if status in (500, 502) and complaint:
        return refused(provider, answer, f"failed by its own account ({status})", at_risk=True)
    return Ambiguous(provider, f"answered {status}", upstream_id=upstream_id(answer))


def refusal(provider: str, complaint: Complaint) -> ContentRejected:
    what = "image that was made" if complaint.stage == "output" else "prompt"
    return ContentRejected(f"The moderation of {provider} refused the {what}.", stage=complaint.stage)


def refused(
    provider: str,
    answer: Answer,
    detail: str,
    *,
    busy: bool = False,
    at_risk: bool = False,
    bad_key: bool = False,
) -> RefusedUnbilled:
    return RefusedUnbilled(
        provider,
        detail,
        busy=busy,
        at_risk=at_risk,
        bad_key=bad_key,
        retry_after_s=retry_after_s(answer.headers),
        upstream_id=upstream_id(answer),
    )


def read_entries(
    provider: str, answer: Answer, body: Any, complaint: Complaint | None
) -> list[dict[str, Any]]:
    """The entries of `data` of a 200. Raises as the answer deserves when there are none."""
    if body is None:
        raise Ambiguous(provider, "gave an answer that is no JSON", upstream_id=upstream_id(answer))
    if complaint and is_refusal(complaint):
        raise refusal(provider, complaint)
    data = body.get("data") if isinstance(body, dict) else None
    return [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []


def read_images(entries: list[dict[str, Any]]) -> tuple[ProviderImage, ...]:
    return tuple(
        ProviderImage(b64=b64, revised_prompt=text_of(entry, "revised_prompt"))
        for entry in entries
        if (b64 := b64_of(entry))
    )


def no_image(provider: str, answer: Answer) -> BilledInvalid:
    return BilledInvalid(provider, "answered without an image", upstream_id=upstream_id(answer))


def text_of(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) and value else None


def b64_of(entry: Mapping[str, Any]) -> str | memoryview | None:
    """The image's base64: text, or a view into the answer's body where it is long."""
    value = entry.get("b64_json")
    return value if isinstance(value, str | memoryview) and value else None


def usage_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    usage = body.get("usage")
    return usage if isinstance(usage, dict) else None


def upstream_id(answer: Answer) -> str | None:
    return safe_word(answer.headers.get("x-request-id"))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms`, else from `retry-after` as seconds or as a date."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
