"""OpenAI's Images API: one synchronous call, images as base64.

Wire format: https://platform.openai.com/docs/api-reference/images, read 2026-11-21. Sizes in pixels.
"""

from hashlib import sha256
from typing import Any

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire

NAME = "openai"
COMPRESSED = ("jpeg", "webp")
NEVER_SENT = frozenset(
    ("response_format", "style", "seed", "negative_prompt", "steps", "guidance", "stream", "partial_images")
)


class OpenAIAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        answer = await self._outbound.post_json(
            f"{call.base_url}/images/generations",
            body=write_body(call),
            headers=wire.headers_for(call),
            provider=NAME,
            timeout_s=call.deadline_s,
            max_bytes=wire.max_answer_bytes(call),
        )
        return read_answer(answer, call)


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in OpenAI's words. A field it does not know is a 400, so the ones it never knew stay here."""
    fields = {name: value for name, value in call.fields.items() if name not in NEVER_SENT}
    user = fields.pop("user", None)
    if user is not None:
        fields.setdefault("safety_identifier", sha256(str(user).encode()).hexdigest())
    if call.format not in COMPRESSED:
        fields.pop("output_compression", None)
    ours = {"model": call.upstream_model, "prompt": call.prompt, "n": call.n, "size": str(call.size)}
    chosen = {"quality": call.quality, "output_format": call.format}
    return {**fields, **ours, **{name: value for name, value in chosen.items() if value is not None}}


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """OpenAI's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    complaint = wire.read_complaint(body)
    if answer.status != 200:
        raise wire.failure(NAME, answer, complaint)
    images = tuple(
        ProviderImage(b64=b64, revised_prompt=wire.text_of(entry, "revised_prompt"))
        for entry in wire.read_entries(NAME, answer, body, complaint)
        if (b64 := wire.b64_of(entry))
    )
    if not images:
        raise wire.no_image(NAME, answer)
    return ProviderResult(images=images, usage=wire.usage_of(body), upstream_id=wire.upstream_id(answer))
