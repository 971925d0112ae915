"""OpenAI's Images API: one synchronous call, images as base64. Edits are multipart forms.

Wire format: https://platform.openai.com/docs/api-reference/images, read 2026-11-21. Sizes in pixels.
"""

from imagegate.domain import ProviderCall, ProviderResult
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_forms as forms
from imagegate.providers import openai_wire as wire

NAME = "openai"


class OpenAIAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        body = wire.write_body(call)
        if call.images:
            form = forms.write_form(call, body, provider=NAME)
            url = f"{call.base_url}/images/edits"
            return read_answer(await forms.create(self._outbound, call, url, form, provider=NAME), call)
        url = f"{call.base_url}/images/generations"
        return read_answer(await wire.create(self._outbound, call, url, body, provider=NAME), call)


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """OpenAI's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    complaint = wire.read_complaint(body)
    if answer.status != 200:
        raise wire.failure(NAME, answer, complaint)
    images = wire.read_images(wire.read_entries(NAME, answer, body, complaint))
    if not images:
        raise wire.no_image(NAME, answer)
    return ProviderResult(images=images, usage=wire.usage_of(body), upstream_id=wire.upstream_id(answer))
