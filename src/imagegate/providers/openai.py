"""OpenAI's Images API: one synchronous call, images as base64, as events where previews are wanted. Edits are forms.

Wire format: https://platform.openai.com/docs/api-reference/images, read 2026-11-21. Sizes in pixels.
"""

from collections.abc import Mapping
from typing import Any

from imagegate.domain import ProviderCall, ProviderResult
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_events as events
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
            if call.previews:
                return await self._heard(call, url, form)
            return read_answer(await forms.create(self._outbound, call, url, form, provider=NAME), call)
        url = f"{call.base_url}/images/generations"
        if call.previews:
            return await self._heard(call, url, body)
        return read_answer(await wire.create(self._outbound, call, url, body, provider=NAME), call)

    async def _heard(
        self, call: ProviderCall, url: str, body: Mapping[str, Any] | forms.Form
    ) -> ProviderResult:
        """As events, with previews before the image."""
        heard = await events.create(self._outbound, call, url, body, speaker=events.Speaker(NAME))
        return heard.result or read_answer(heard.answer, call)


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
