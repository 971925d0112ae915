"""OpenAI's image models on Azure: one synchronous call, images as base64. Sizes in pixels.

Wire format: https://learn.microsoft.com/azure/ai-foundry/openai, read 2026-11-21. The model we name is a deployment of
the operator's. Base URLs: `https://RESOURCE.openai.azure.com/openai/v1`, or the older surface,
`https://RESOURCE.openai.azure.com/openai/deployments?api-version=…`, with or without a deployment after the last word.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from imagegate.domain import ProviderCall, ProviderResult
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire

NAME = "azure_openai"
DEPLOYMENTS = "/deployments"
API_VERSION = "api-version=2025-04-01-preview"
INNER_ERRORS = ("inner_error", "innererror")
FILTERED_CODES = ("ResponsibleAIPolicyViolation", "ContentFiltered")
FILTER_RESULTS = ("content_filter_results", "content_filter_result")


class AzureOpenAIAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        url = endpoint(call)
        answer = await wire.create(
            self._outbound, call, url, write_body(call), provider=NAME, headers=headers_for(call)
        )
        return read_answer(answer, call)


def is_older(call: ProviderCall) -> bool:
    """Whether the base URL is that of the surface that has the deployment in its path."""
    path = call.base_url.partition("?")[0]
    return f"{DEPLOYMENTS}/" in f"{path}/"


def endpoint(call: ProviderCall) -> str:
    """The query of the base URL stays at the end. The older surface does not answer without an `api-version`."""
    path, _, query = call.base_url.partition("?")
    path = path.rstrip("/")
    if path.endswith(DEPLOYMENTS):
        path = f"{path}/{quote(call.upstream_model, safe='')}"
    if is_older(call) and "api-version=" not in query:
        query = "&".join(part for part in (query, API_VERSION) if part)
    return f"{path}/images/generations" + (f"?{query}" if query else "")


def headers_for(call: ProviderCall) -> dict[str, str]:
    """A key of the resource, or a token of Entra's, which is a JWT."""
    if call.api_key is None:
        return {}
    key = call.api_key.get_secret_value()
    is_token = key.startswith("eyJ") and key.count(".") == 2
    return wire.headers_for(call) if is_token else {"api-key": key}


def write_body(call: ProviderCall) -> dict[str, Any]:
    """As OpenAI's; the older surface takes no `model`, and knows the caller's user by the older name."""
    body = wire.write_body(call)
    if is_older(call):
        del body["model"]
        if (identifier := body.pop("safety_identifier", None)) is not None:
            body["user"] = identifier
    return body


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
    return ProviderResult(images=images, usage=wire.usage_of(body), upstream_id=wire.upstream_id(answer))


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
