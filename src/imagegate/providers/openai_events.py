"""OpenAI's images as events: previews while one is made, then the image. What adapters of its wire share.

Wire format: https://platform.openai.com/docs/api-reference/images-streaming, read 2026-11-21. An event has no number of
its image, so that a call asks for one image. There may be fewer previews than were asked for. An error that comes in
the middle has the shape of the body of an error; it is read by the same code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pybase64
from pydantic_core import from_json, to_json

from imagegate.domain import Preview, ProviderCall, ProviderImage, ProviderResult
from imagegate.errors import Ambiguous, BilledInvalid, ImagegateError
from imagegate.outbound import JSON, MAX_ANSWER_BYTES, MAX_EVENT_BYTES, Answer, Event, Outbound, build_form
from imagegate.providers import openai_wire as wire
from imagegate.providers.openai_forms import Form
from imagegate.providers.openai_images import cut_out

PARTIAL = ("image_generation.partial_image", "image_edit.partial_image")
COMPLETED = ("image_generation.completed", "image_edit.completed")
STATUS_OF = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "billing_hard_limit_reached": 429,
    "invalid_api_key": 401,
    "model_not_found": 404,
}
"""An error among events has no status: the one that the same error has as an answer."""
INVALID = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A provider of this wire: how its errors and its numbers of requests are read."""

    name: str
    read_complaint: Callable[[Any], wire.Complaint | None] = wire.read_complaint
    upstream_id: Callable[[Answer], str | None] = wire.upstream_id


@dataclass(frozen=True, slots=True)
class Heard:
    """What a stream was: an answer of its head, and what its events gave."""

    answer: Answer
    result: ProviderResult | None


class Listening:
    """Takes the events of one call. `completed`: the last one, once it has come."""

    def __init__(self, call: ProviderCall, speaker: Speaker) -> None:
        self._call = call
        self._speaker = speaker
        self._shown = 0
        self.completed: dict[str, Any] | None = None

    async def take(self, event: Event) -> bool:
        """Whether it was the last. Raises what an error stands for, and Ambiguous for what cannot be read."""
        if event.data.strip() == b"[DONE]":
            return False
        try:
            said = parse(event.data)
        except ValueError:
            raise Ambiguous(self._speaker.name, "gave an event that is no JSON") from None
        kind = said.get("type", event.name) if isinstance(said, dict) else None
        if isinstance(said, dict) and (kind == "error" or isinstance(said.get("error"), dict)):
            raise error_of(self._speaker, said)
        if kind in COMPLETED:
            self.completed = said
            return True
        if kind in PARTIAL:
            await self._show(said)
        return False

    async def _show(self, said: Mapping[str, Any]) -> None:
        """What is no base64 is no preview; the call goes on, since its image may be well."""
        b64 = checked(wire.b64_of(said))
        if b64 is None or self._shown >= self._call.previews:
            return
        index, call = said.get("partial_image_index"), self._call
        preview = Preview(
            index=index if type(index) is int and 0 <= index < 100 else self._shown,
            b64=b64,
            size=wire.safe_word(said.get("size")) or str(call.size),
            quality=wire.safe_word(said.get("quality")) or call.quality or "auto",
            background=wire.safe_word(said.get("background")) or "auto",
            output_format=wire.safe_word(said.get("output_format")) or call.format or "png",
        )
        self._shown += 1
        await call.preview(preview)


def parse(data: bytes) -> Any:
    """As JSON; a long `b64_json` is a view into `data`. Raises ValueError."""
    if b"\\" in data:
        return from_json(data)
    rest, cut = cut_out(data)
    said = from_json(rest)
    if isinstance(said, dict) and isinstance(stands := said.get("b64_json"), str) and stands in cut:
        said["b64_json"] = cut.pop(stands)
    return from_json(data) if cut else said


def checked(b64: str | memoryview | None) -> bytes | memoryview | None:
    """Standard base64, which may stand in JSON as it is; None for what is none."""
    try:
        found = b64.encode("ascii") if isinstance(b64, str) else b64
        return found if found is not None and pybase64.b64decode(found, validate=True) else None
    except ValueError:
        return None


def error_of(speaker: Speaker, said: Mapping[str, Any]) -> ImagegateError:
    """What an error event stands for. Its members may stand in `error`, or beside `type`."""
    inner = said.get("error")
    body = said if isinstance(inner, dict) else {"error": {k: v for k, v in said.items() if k != "type"}}
    complaint = speaker.read_complaint(body)
    if complaint is None or not (complaint.code or complaint.type):
        return Ambiguous(speaker.name, "ended its stream with an error that does not say what it is")
    return wire.failure(speaker.name, Answer(status_of(complaint), {}, b""), complaint)


def status_of(complaint: wire.Complaint) -> int:
    if wire.is_refusal(complaint):
        return 400
    return STATUS_OF.get(complaint.code or "", 400 if complaint.type == INVALID else 500)


async def create(
    outbound: Outbound,
    call: ProviderCall,
    url: str,
    body: Mapping[str, Any] | Form,
    *,
    speaker: Speaker,
    headers: Mapping[str, str] | None = None,
) -> Heard:
    """The creating call, made once. `result` is None when the answer was none of events: read it as any other.

    Raises as `wire.create` does; Ambiguous when the events end without an image; and what an error event stands for.
    """
    heard = Listening(call, speaker)
    sent, content_type = written(body, call.previews)
    answer = await outbound.post_events(
        url,
        body=sent,
        content_type=content_type,
        headers=wire.headers_for(call) if headers is None else headers,
        provider=speaker.name,
        timeout_s=call.deadline_s,
        max_bytes=MAX_ANSWER_BYTES + call.previews * MAX_EVENT_BYTES,
        take=heard.take,
    )
    if answer.body or answer.status != 200:
        return Heard(answer, None)
    if heard.completed is None:
        detail = "ended its stream without an image"
        raise Ambiguous(speaker.name, detail, upstream_id=speaker.upstream_id(answer))
    return Heard(answer, read_completed(speaker, answer, heard.completed))


def written(body: Mapping[str, Any] | Form, previews: int) -> tuple[bytes, str]:
    """The body that asks for events, and its type."""
    if isinstance(body, Form):
        return build_form({**body.fields, "stream": "true", "partial_images": str(previews)}, body.files)
    return to_json({**body, "stream": True, "partial_images": previews}), JSON


def read_completed(speaker: Speaker, answer: Answer, said: Mapping[str, Any]) -> ProviderResult:
    """The image of the last event. Raises BilledInvalid when it has none."""
    b64, upstream_id = wire.b64_of(said), speaker.upstream_id(answer)
    if b64 is None:
        raise BilledInvalid(speaker.name, "ended its stream without an image", upstream_id=upstream_id)
    image = ProviderImage(b64=b64, revised_prompt=wire.text_of(said, "revised_prompt"))
    return ProviderResult(images=(image,), usage=wire.usage_of(said), upstream_id=upstream_id)
