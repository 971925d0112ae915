"""Image models on Azure: OpenAI's, FLUX.2 and MAI; one synchronous call, images as base64. Sizes in pixels.

Wire format: https://learn.microsoft.com/azure/ai-foundry/openai, read 2026-11-21. The model we name is a deployment of
the operator's. Base URLs: `https://RESOURCE.openai.azure.com/openai/v1`, or the older surface,
`https://RESOURCE.openai.azure.com/openai/deployments?api-version=…`, with or without a deployment after the last word.
Foundry's own: `https://RESOURCE.services.ai.azure.com/providers/blackforestlabs/v1` (FLUX.2, which makes and edits by
one JSON route) and `…/mai/v1` (MAI, which makes one image a call; how its edits are written is not published).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from imagegate.domain import ProviderCall, ProviderResult
from imagegate.errors import NotSent
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_events as events
from imagegate.providers import openai_forms as forms
from imagegate.providers import openai_wire as wire
from imagegate.providers.pictures import base64_of, written

NAME = "azure_openai"
DEPLOYMENTS = "/deployments"
API_VERSION = "api-version=2025-04-01-preview"
FLUX = "/providers/blackforestlabs/v1"
MAI = "/mai/v1"
FOUNDRY_VERSION = "api-version=preview"
OPENAIS = ("v1", "older")
"""Surfaces that speak as OpenAI does."""
MAI_COUNTS = ("num_input_text_tokens", "num_input_image_tokens", "num_output_tokens")
FLUX_FIELDS = ("seed", "steps", "guidance", "safety_tolerance")
INNER_ERRORS = ("inner_error", "innererror")
FILTERED_CODES = ("ResponsibleAIPolicyViolation", "ContentFiltered")
FILTER_RESULTS = ("content_filter_results", "content_filter_result")


class AzureOpenAIAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound, self._pool = outbound, pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        if surface(call) == "mai" and call.images:
            raise NotSent(NAME, "does not publish how MAI models are given pictures")
        url, headers = endpoint(call), headers_for(call)
        if call.previews and surface(call) in OPENAIS:
            return await self._heard(call, url, headers)
        if call.images and surface(call) in OPENAIS:
            form = forms.write_form(call, write_body(call), provider=NAME)
            answer = await forms.create(self._outbound, call, url, form, provider=NAME, headers=headers)
        else:
            body = await written(self._pool, write_body, call)
            answer = await wire.create(self._outbound, call, url, body, provider=NAME, headers=headers)
        return read_answer(answer, call)

    async def _heard(self, call: ProviderCall, url: str, headers: Mapping[str, str]) -> ProviderResult:
        """As events, with previews before the image."""
        body: Mapping[str, Any] | forms.Form = write_body(call)
        if call.images:
            body = forms.write_form(call, write_body(call), provider=NAME)
        speaker = events.Speaker(NAME, read_complaint, lambda answer: wire.upstream_id(named(answer)))
        heard = await events.create(self._outbound, call, url, body, speaker=speaker, headers=headers)
        return heard.result or read_answer(heard.answer, call)


def surface(call: ProviderCall) -> str:
    """By the base URL: `flux`, `mai`, `older` (the deployment is in its path) or `v1`."""
    path = call.base_url.partition("?")[0].rstrip("/")
    if path.endswith(FLUX):
        return "flux"
    if path.endswith(MAI):
        return "mai"
    return "older" if f"{DEPLOYMENTS}/" in f"{path}/" else "v1"


def endpoint(call: ProviderCall) -> str:
    """The query of the base URL stays at the end. All surfaces but v1 need an `api-version` in it."""
    path, _, query = call.base_url.partition("?")
    path, place = path.rstrip("/"), surface(call)
    version = {"older": API_VERSION, "flux": FOUNDRY_VERSION, "mai": FOUNDRY_VERSION}.get(place)
    if version and "api-version=" not in query:
        query = "&".join(part for part in (query, version) if part)
    if path.endswith(DEPLOYMENTS) or place == "flux":
        path = f"{path}/{quote(call.upstream_model, safe='')}"
    if place != "flux":
        path = f"{path}/images/{'edits' if call.images else 'generations'}"
    return path + (f"?{query}" if query else "")


def headers_for(call: ProviderCall) -> dict[str, str]:
    """A key of the resource, or a token of Entra's, which is a JWT."""
    if call.api_key is None:
        return {}
    key = call.api_key.get_secret_value()
    is_token = key.startswith("eyJ") and key.count(".") == 2
    return wire.headers_for(call) if is_token else {"api-key": key}


def write_body(call: ProviderCall) -> dict[str, Any]:
    """As OpenAI's; the older surface takes no `model`, and knows the caller's user by the older name."""
    place = surface(call)
    if place == "flux":
        return write_flux(call)
    if place == "mai":
        return {"model": call.upstream_model, "prompt": call.prompt, **pixels(call)}
    body = wire.write_body(call)
    if place == "older":
        del body["model"]
        if (identifier := body.pop("safety_identifier", None)) is not None:
            body["user"] = identifier
    return body


def write_flux(call: ProviderCall) -> dict[str, Any]:
    """Pictures are bare base64 under names with numbers: `input_image`, `input_image_2`, …"""
    fields = {name: call.fields[name] for name in FLUX_FIELDS if name in call.fields}
    shape = {"aspect_ratio": call.aspect} if call.aspect else pixels(call)
    named = enumerate(call.images, start=1)
    shown = {f"input_image_{n}" if n > 1 else "input_image": base64_of(image) for n, image in named}
    form = {"output_format": call.format} if call.format else {}
    ours = {"model": call.upstream_model, "prompt": call.prompt, "num_images": call.n}
    return {**fields, **ours, **shape, **form, **shown}


def pixels(call: ProviderCall) -> dict[str, int]:
    return {"width": call.size.width_px, "height": call.size.height_px}


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """Azure's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    answer = named(answer)
    body = wire.parse_json(answer)
    complaint = read_complaint(body)
    if answer.status != 200:
        raise wire.failure(NAME, answer, complaint)
    entries = wire.read_entries(NAME, answer, body, complaint)
    images = wire.read_images(entries)
    if not images:
        if any(is_filtered(entry) for entry in entries):
            raise wire.refusal(NAME, wire.Complaint(stage="output"))
        raise wire.no_image(NAME, answer)
    return ProviderResult(images=images, usage=usage_of(body), upstream_id=wire.upstream_id(answer))


def usage_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """OpenAI's counts; MAI's are under names of its own."""
    usage = wire.usage_of(body)
    if usage is None or "num_output_tokens" not in usage:
        return usage
    text, image, made = (usage.get(name) for name in MAI_COUNTS)
    seen = {"text_tokens": text, "image_tokens": image}
    shown = {name: count for name, count in seen.items() if type(count) is int}
    return {"input_tokens": sum(shown.values()), "input_tokens_details": shown, "output_tokens": made}


def named(answer: Answer) -> Answer:
    """Azure's own gateway numbers requests under a name of its own."""
    number = answer.headers.get("apim-request-id")
    if not number or "x-request-id" in answer.headers:
        return answer
    return replace(
        answer, headers={**{k.lower(): v for k, v in answer.headers.items()}, "x-request-id": number}
    )


def read_complaint(body: Any) -> wire.Complaint | None:
    """OpenAI's shape, with what the content filter found inside; the code differs from one version to the next."""
    complaint = wire.read_complaint(body)
    if complaint is None:
        return None
    error = body["error"]
    found = (error[name] for name in INNER_ERRORS if isinstance(error.get(name), dict))
    inner: dict[str, Any] = next(found, {})
    if inner.get("code") in FILTERED_CODES or is_filtered(inner) or is_filtered(error):
        return replace(complaint, code=wire.MODERATION_CODES[0])
    return complaint


def is_filtered(holder: Mapping[str, Any]) -> bool:
    """Whether the content filter held something back: `{"content_filter_results": {"hate": {"filtered": true}}}`."""
    found = (holder.get(name) for name in FILTER_RESULTS)
    verdicts = (verdict for results in found if isinstance(results, dict) for verdict in results.values())
    return any(isinstance(verdict, dict) and verdict.get("filtered") is True for verdict in verdicts)
