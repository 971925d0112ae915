"""Servers that copy OpenAI's image generation: LocalAI, vLLM-Omni, SGLang, sd-server and their like.

Wire facts: the servers' own sources, read 2026-11-21. They agree on little: little is sent, much is read.
"""

import re
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_wire as wire

NAME = "openai_compatible"
RENAMED = {"steps": "num_inference_steps", "guidance": "guidance_scale"}
NEVER_SENT = frozenset(("stream", "partial_images"))
DATA_URL = re.compile(r"data:[^,;]*((?:;[^,;]*)*),", re.IGNORECASE)


class OpenAICompatibleAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound = outbound

    async def generate(self, call: ProviderCall) -> ProviderResult:
        url = endpoint(call)
        answer = await wire.create(self._outbound, call, url, write_body(call), provider=NAME)
        return read_answer(answer, call)


def endpoint(call: ProviderCall) -> str:
    return f"{call.base_url}/images/generations"


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in the words that vLLM-Omni and SGLang share. Some refuse to give links: none is asked for."""
    fields = {RENAMED.get(name, name): value for name, value in call.fields.items() if name not in NEVER_SENT}
    ours = {"model": call.upstream_model, "prompt": call.prompt, "n": call.n, "size": str(call.size)}
    chosen = {"quality": call.quality, "output_format": call.format}
    sent = {name: value for name, value in chosen.items() if value is not None}
    return {**fields, **ours, **sent, "response_format": "b64_json"}


def read_answer(answer: Answer, call: ProviderCall) -> ProviderResult:
    """The server's answer in our words. Raises ContentRejected, ProviderRejected or an AttemptFailed."""
    body = wire.parse_json(answer)
    complaint = read_complaint(body)
    if answer.status != 200:
        raise wire.failure(NAME, answer, complaint)
    entries = wire.read_entries(NAME, answer, body, complaint)
    images = tuple(image for entry in entries if (image := read_image(entry, call)))
    if not images:
        raise wire.no_image(NAME, answer)
    return ProviderResult(images=images, usage=wire.usage_of(body), upstream_id=wire.upstream_id(answer))


def read_complaint(body: Any) -> wire.Complaint | None:
    """Also `{"error": "text"}` (sd-server) and FastAPI's `{"detail": …}` (vLLM-Omni, SGLang)."""
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("error"), str):
        return wire.Complaint()
    if detail := body.get("detail"):
        first = detail[0] if isinstance(detail, list) else None
        place = first.get("loc") if isinstance(first, dict) else None
        return wire.Complaint(param=wire.safe_word(place[-1]) if isinstance(place, list) and place else None)
    return wire.read_complaint(body)


def read_image(entry: dict[str, Any], call: ProviderCall) -> ProviderImage | None:
    """Base64, a data URL, or a link, which may lack the host; None when there is nothing of the kind."""
    revised = wire.text_of(entry, "revised_prompt")
    b64, url = wire.b64_of(entry), wire.text_of(entry, "url")
    for given in (b64, url):
        if given and (match := DATA_URL.match(text_from(given[:256]))):
            return read_data_url(text_from(given), match, revised)
    if b64:
        return ProviderImage(b64=b64, revised_prompt=revised)
    link = absolute(endpoint(call), url) if url else None
    return ProviderImage(url=link, revised_prompt=revised) if link else None


def text_from(given: str | memoryview) -> str:
    return given if isinstance(given, str) else bytes(given).decode("latin-1")


def read_data_url(text: str, match: re.Match[str], revised_prompt: str | None) -> ProviderImage | None:
    content = text[match.end() :]
    if not content:
        return None
    if match[1].lower().endswith(";base64"):
        return ProviderImage(b64=content, revised_prompt=revised_prompt)
    return ProviderImage(data=unquote_to_bytes(content), revised_prompt=revised_prompt)


def absolute(base: str, url: str) -> str | None:
    try:
        link = urljoin(base, url)
    except ValueError:
        return None
    return link if link.startswith(("http://", "https://")) else None
