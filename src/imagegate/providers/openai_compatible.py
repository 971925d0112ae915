"""Servers that copy OpenAI's images: LocalAI, vLLM-Omni, SGLang, sd-server of stable-diffusion.cpp and their like.

Wire facts: the servers' own sources, read 2026-11-21. They agree on little: little is sent, much is read. Whose words
are meant is told by the base URL: after `#` (`http://10.0.0.7:8080/v1#localai`), else by a host that is called so
(`http://vllm:8000/v1`), else they are those that vLLM-Omni and SGLang share with OpenAI.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult
from imagegate.outbound import Answer, Outbound
from imagegate.pool import WorkPool
from imagegate.providers import openai_forms as forms
from imagegate.providers import openai_wire as wire
from imagegate.providers.pictures import base64_of, written

NAME = "openai_compatible"
NEVER_SENT = frozenset(("stream", "partial_images", "thinking", "prompt_enhancement", "response_format"))
NATIVE = re.compile(r"</?sd_cpp_extra_args>", re.IGNORECASE)
DATA_URL = re.compile(r"data:[^,;]*((?:;[^,;]*)*),", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Server:
    """How a kind of server is spoken to. sign: how its name is written; lists: pictures are `image[]`, even one."""

    sign: re.Pattern[str]
    renamed: Mapping[str, str]
    mask: str = "mask"
    lists: bool = False


STEPS = {"steps": "num_inference_steps", "guidance": "guidance_scale"}
LOCALAI = Server(re.compile("local-?ai"), {"steps": "step"})
SD_SERVER = Server(re.compile("sd-?(server|cpp)|stable-?diffusion"), {}, lists=True)
VLLM = Server(re.compile("vllm"), STEPS, mask="mask_image")
SGLANG = Server(re.compile("sglang"), STEPS)
ANY = Server(re.compile(""), STEPS)
SERVERS = (LOCALAI, SD_SERVER, VLLM, SGLANG, ANY)


class OpenAICompatibleAdapter:
    def __init__(self, outbound: Outbound, pool: WorkPool) -> None:
        self._outbound, self._pool = outbound, pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        url = endpoint(call)
        if is_form(call):
            form = write_form(call, write_body(call))
            return read_answer(await forms.create(self._outbound, call, url, form, provider=NAME), call)
        body = await written(self._pool, write_body, call)
        return read_answer(await wire.create(self._outbound, call, url, body, provider=NAME), call)


def server_of(call: ProviderCall) -> Server:
    """By what stands after `#` in the base URL, else by its host."""
    place = urlsplit(call.base_url)
    said = (place.fragment or place.hostname or "").lower().replace("_", "-").replace(".cpp", "-cpp")
    return next(server for server in SERVERS if server.sign.search(said))


def is_form(call: ProviderCall) -> bool:
    """LocalAI reads pictures from JSON, and files with a mask alone."""
    return bool(call.images) and (server_of(call) is not LOCALAI or call.mask is not None)


def endpoint(call: ProviderCall) -> str:
    way = "generations"
    if is_form(call):
        way = "inpainting" if server_of(call) is LOCALAI else "edits"
    return f"{call.base_url.partition('#')[0].rstrip('/')}/images/{way}"


def write_body(call: ProviderCall) -> dict[str, Any]:
    """Our call in the server's words. Some refuse to give links: none is asked for."""
    server = server_of(call)
    fields = {name: value for name, value in call.fields.items() if name not in NEVER_SENT}
    if (user := fields.pop("user", None)) is not None:
        fields["user"] = wire.hashed(user)
    renamed = {server.renamed.get(name, name): fields[name] for name in fields if name in server.renamed}
    fields = {name: value for name, value in fields.items() if name not in server.renamed} | renamed
    ours = {"model": call.upstream_model, "prompt": call.prompt, "n": call.n, "size": str(call.size)}
    chosen = {"quality": call.quality, "output_format": call.format}
    sent = {name: value for name, value in chosen.items() if value is not None}
    body = {**fields, **ours, **sent}
    if server is SD_SERVER:
        return natively(body)
    if server is LOCALAI:
        return locally(call, body)
    return {**body, "response_format": "b64_json"}


def natively(body: dict[str, Any]) -> dict[str, Any]:
    """sd-server reads what OpenAI has no word for from a block in the prompt. It takes the first: a caller's goes."""
    steps, guidance = body.pop("steps", None), body.pop("guidance", None)
    sample = {"sample_steps": steps, "guidance": None if guidance is None else {"txt_cfg": guidance}}
    known = {name: value for name, value in sample.items() if value is not None}
    given = {"seed": body.pop("seed", None), "negative_prompt": body.pop("negative_prompt", None)}
    extra = {name: value for name, value in given.items() if value is not None}
    extra |= {"sample_params": known} if known else {}
    prompt = NATIVE.sub(" ", body["prompt"])
    if extra:
        prompt += f" <sd_cpp_extra_args>{NATIVE.sub(' ', json.dumps(extra))}</sd_cpp_extra_args>"
    return {**body, "prompt": prompt}


def locally(call: ProviderCall, body: dict[str, Any]) -> dict[str, Any]:
    """What is not wanted comes after a bar in the prompt; the first picture is `file`, the others are references.

    Its inpainting knows nothing but the prompt and the steps.
    """
    unwanted, _ = body.pop("negative_prompt", None), body.pop("guidance", None)
    if call.mask is not None:
        steps = {"steps": body["step"]} if "step" in body else {}
        return {"model": body["model"], "prompt": body["prompt"], **steps}
    prompt = body["prompt"].replace("|", ",")
    if unwanted:
        prompt = f"{prompt}|{unwanted}"
    shown: dict[str, Any] = {"file": base64_of(call.images[0])} if call.images else {}
    if len(call.images) > 1:
        shown["ref_images"] = [base64_of(image) for image in call.images[1:]]
    return {**body, "prompt": prompt, "response_format": "b64_json", **shown}


def write_form(call: ProviderCall, body: Mapping[str, Any]) -> forms.Form:
    """The pictures as files, the fields as text. LocalAI repaints one picture, the first."""
    server = server_of(call)
    shown = call.images[:1] if server is LOCALAI else call.images
    files = forms.pictures(shown, one="image[]" if server.lists else "image")
    return forms.Form(forms.texts(body), (*files, *forms.mask_of(call, server.mask)))


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
