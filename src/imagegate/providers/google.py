"""Google's Gemini image models: one synchronous `generateContent` call, one image a call, as base64.

Wire format: https://ai.google.dev/api/generate-content, read 2026-11-21. Sizes as a ratio and a tier. An edit is the
same call, with the pictures after the prompt; there are no masks.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from imagegate.domain import InputImage, ProviderCall, ProviderImage, ProviderResult
from imagegate.errors import Ambiguous, BilledInvalid, ImagegateError, ProviderRejected, RefusedUnbilled
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire
from imagegate.providers.pictures import base64_of, mime_of, written

NAME = "google"
SEEDS = 2**31
THINKING = {"low": "MINIMAL", "medium": "MEDIUM", "high": "HIGH"}
"""How long a model thinks for a quality. A quality never changes the size: the caller has said that."""
READ_FORMATS = ("png", "jpeg", "webp")
NATIVE_FIELDS = ("safetySettings", "systemInstruction", "tools")
NATIVE_CONFIG = ("temperature", "topP", "topK", "mediaResolution")
LENIENT = [
    {"category": f"HARM_CATEGORY_{harm}", "threshold": "BLOCK_NONE"}
    for harm in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
]
OUTPUT_REFUSED = frozenset(
    (
        "BLOCKLIST",
        "ESCALATION",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_SAFETY",
        "MODEL_ARMOR",
        "PROHIBITED_CONTENT",
        "PUP_LIMITED_DISABLED",
        "RECITATION",
        "SAFETY",
        "SPII",
    )
)
NOT_BLOCKED = ("BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")
BAD_KEY = ("API_KEY_INVALID", "API_KEY_EXPIRED")
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)


class GoogleAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        answer = await self._outbound.post_json(
            f"{call.base_url}/models/{quote(call.upstream_model, safe='')}:generateContent",
            body=await written(self._pool, write_body, call),
            headers={"x-goog-api-key": call.api_key.get_secret_value()} if call.api_key else {},
            provider=NAME,
            timeout_s=call.deadline_s,
        )
        return read_answer(answer, call)


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in Google's words. Raises ProviderRejected for a picture in a format that it cannot read."""
    native = {name: call.fields[name] for name in NATIVE_FIELDS if name in call.fields}
    if call.fields.get("moderation") == "low":
        native["safetySettings"] = LENIENT
    parts = [{"text": call.prompt}, *(part_of(image) for image in call.images)]
    return {**native, "contents": [{"role": "user", "parts": parts}], "generationConfig": write_config(call)}


def part_of(image: InputImage) -> dict[str, Any]:
    if image.format not in READ_FORMATS:
        raise ProviderRejected(
            NAME,
            f"reads pictures as PNG, JPEG or WebP, not {image.format}. Convert the picture",
            param="image",
        )
    return {"inlineData": {"mimeType": mime_of(image), "data": base64_of(image)}}


def write_config(call: ProviderCall) -> dict[str, Any]:
    """Without TEXT among the modalities the model cannot answer by talking alone.

    Tiers are upper case there, and 2.5 takes none. A seed has 31 bits, so the rest of a longer one is left out.
    """
    config: dict[str, Any] = {name: call.fields[name] for name in NATIVE_CONFIG if name in call.fields}
    config["responseModalities"] = ["IMAGE"]
    size = {"aspectRatio": call.aspect, "imageSize": call.tier.upper() if call.tier else None}
    if said := {name: value for name, value in size.items() if value is not None}:
        config["imageConfig"] = said
    if "seed" in call.fields:
        config["seed"] = int(call.fields["seed"]) % SEEDS
    if thinking := thinking_of(call):
        config["thinkingConfig"] = thinking
    return config


def thinking_of(call: ProviderCall) -> Any:
    """What the caller said of thinking, in our word or in Google's; else what the quality asks for."""
    own = call.fields.get("thinkingConfig")
    if level := call.fields.get("thinking"):
        return {**dict_of(own), "thinkingLevel": level.upper()}
    if own is None and call.quality is not None:
        return {"thinkingLevel": THINKING.get(call.quality, "HIGH")}
    return own


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """Google's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.status != 200:
        raise failure(answer, read_error(body))
    if body is None:
        raise Ambiguous(NAME, "gave an answer that is no JSON")
    body = body if isinstance(body, dict) else {}
    upstream_id = wire.safe_word(body.get("responseId"))
    images = tuple(ProviderImage(b64=b64) for b64 in read_images(body))
    if not images:
        raise no_image(body, upstream_id)
    return ProviderResult(images=images, usage=usage_of(body), upstream_id=upstream_id)


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else iter(())


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def read_images(body: Mapping[str, Any]) -> Iterator[str]:
    """Every final image. What a model draws while it thinks is marked `thought`, and is none."""
    for candidate in dicts(body.get("candidates")):
        for part in dicts(dict_of(candidate.get("content")).get("parts")):
            inline = dict_of(part.get("inlineData") or part.get("inline_data"))
            mime = inline.get("mimeType") or inline.get("mime_type")
            b64 = wire.text_of(inline, "data")
            if (
                b64
                and isinstance(mime, str)
                and mime.startswith("image/")
                and part.get("thought") is not True
            ):
                yield b64


def no_image(body: Mapping[str, Any], upstream_id: str | None) -> ImagegateError:
    """A refusal of Google's is a 200: of the prompt in `promptFeedback`, of the image as a reason to finish."""
    blocked = dict_of(body.get("promptFeedback")).get("blockReason")
    if blocked and blocked not in NOT_BLOCKED:
        return wire.refusal(NAME, wire.Complaint(stage="input"))
    reasons = [wire.safe_word(candidate.get("finishReason")) for candidate in dicts(body.get("candidates"))]
    if OUTPUT_REFUSED.intersection(reasons):
        return wire.refusal(NAME, wire.Complaint(stage="output"))
    said = next((f" ({reason})" for reason in reasons if reason), "")
    return BilledInvalid(NAME, f"answered without an image{said}", upstream_id=upstream_id)


def read_error(body: Any) -> dict[str, Any] | None:
    """The error in Google's own shape, `{"error": {"code": 429, "status": …}}`; None for every other."""
    error = dict_of(body).get("error")
    if not isinstance(error, dict):
        return None
    code, status = error.get("code"), error.get("status")
    return error if isinstance(code, int) or isinstance(status, str) else None


def failure(answer: Answer, error: dict[str, Any] | None) -> ImagegateError:
    """The error of an answer that is no success. A key that it does not know is a 400 there."""
    status = answer.status
    word = wire.safe_word(error.get("status")) if error else None
    details = list(dicts(error.get("details"))) if error else []
    if status == 400 and any(detail.get("reason") in BAD_KEY for detail in details):
        return RefusedUnbilled(NAME, "does not accept our key (400)", bad_key=True)
    if status == 400 and word == "FAILED_PRECONDITION":
        return RefusedUnbilled(NAME, "does not serve our account from here (400: FAILED_PRECONDITION)")
    if status in (400, 413, 422):
        said = f": {word}" if word else ""
        return ProviderRejected(
            NAME, f"found the request invalid ({status}{said})", param=faulty_field(details)
        )
    if status == 429 and any(is_spent(violation) for violation in found_in(details, "violations")):
        return RefusedUnbilled(NAME, "has no quota left for our account (429)", bad_key=True)
    if status in (429, 503, 529):
        wait_s = retry_delay_s(answer, details)
        return RefusedUnbilled(NAME, f"is busy ({status})", busy=True, retry_after_s=wait_s)
    if status in wire.NEVER_PROCESSED:
        return RefusedUnbilled(NAME, f"refused our call ({status})", bad_key=status in wire.OUR_KEY)
    if status in (500, 502) and error is not None:
        return RefusedUnbilled(NAME, f"failed by its own account ({status})", at_risk=True)
    return Ambiguous(NAME, f"answered {status}")


def found_in(details: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    return (entry for detail in details for entry in dicts(detail.get(name)))


def faulty_field(details: list[dict[str, Any]]) -> str | None:
    fields = (wire.safe_word(violation.get("field")) for violation in found_in(details, "fieldViolations"))
    return next(filter(None, fields), None)


def is_spent(violation: Mapping[str, Any]) -> bool:
    """Whether a quota is used up for the day, or was none: waiting seconds is of no use then."""
    per_day = "perday" in re.sub(r"[^a-z]", "", str(violation.get("quotaId", "")).lower())
    return per_day or str(violation.get("quotaValue")) == "0"


def retry_delay_s(answer: Answer, details: list[dict[str, Any]]) -> float | None:
    """Seconds, from the error's RetryInfo, else from the header."""
    for detail in details:
        if match := DURATION.fullmatch(str(detail.get("retryDelay"))):
            return float(match[1])
    return wire.retry_after_s(answer.headers)


def usage_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Google's counts under the names that prices go by. Thinking is billed as output, what tools read as input."""
    said = dict_of(body.get("usageMetadata"))
    if not said:
        return None
    read = by_modality(said, "promptTokensDetails", "toolUsePromptTokensDetails")
    made = by_modality(said, "candidatesTokensDetails")
    thoughts = count(said, "thoughtsTokenCount")
    if thoughts:
        made["text_tokens"] = made.get("text_tokens", 0) + thoughts
    return {
        "input_tokens": count(said, "promptTokenCount") + count(said, "toolUsePromptTokenCount"),
        "output_tokens": count(said, "candidatesTokenCount") + thoughts,
        "total_tokens": count(said, "totalTokenCount"),
        **({"input_tokens_details": read} if read else {}),
        **({"output_tokens_details": made} if made else {}),
    }


def by_modality(said: Mapping[str, Any], *names: str) -> dict[str, int]:
    """`[{"modality": "IMAGE", "tokenCount": 258}]` → `{"image_tokens": 258}`."""
    counts: dict[str, int] = {}
    for entry in (entry for name in names for entry in dicts(said.get(name))):
        if modality := wire.safe_word(entry.get("modality")):
            name = f"{modality.lower()}_tokens"
            counts[name] = counts.get(name, 0) + count(entry, "tokenCount")
    return counts


def count(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
