"""Recorded exchanges in `tests/wire/<provider>/*.json`: our call, what it must send, an answer, its reading.

`call` has fields of ProviderCall; `sent` is the body; `status`, `headers`, `answer` (JSON) or `text` are the
answer; `expected` is the outcome class and what else is to be found on the result or the error. The form with several
`answers` is read by wire_play.py.

Pictures. `call` may have `"images": ["png 64x48", "jpeg 32x32"]` and `"mask": "png 64x48"` (RGBA, its left half
transparent) or `"mask": "png 64x48 grey"` (grey, its left half white, the rest black). They are drawn from these words,
every image of a call in another colour. `sent_to` (optional) is the path of the first request below the base URL, such
as `/images/edits`. In `sent` they stand as

    {"$image": 0, "as": "data_url"}     in JSON: the first image as `data:image/png;base64,…`
    {"$image": 1, "as": "base64"}       in JSON: the second image as bare base64
    {"$mask": true, "as": "base64"}     in JSON: the mask, or as "data_url"
    {"$file": 0}                        in a form: a file part that holds the first image
    {"$mask": true}                     in a form: a file part that holds the mask

In a form a name that occurs more than once has a list, in the order of the parts: `"image[]": [{"$file": 0},
{"$file": 1}]`; text parts are strings. A file part must have the type of its picture and a name with an ending. In a
spec's schema a file part is still `{"file": true}`, and a picture in JSON is a string.
"""

import base64
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import respx

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult, Size
from imagegate.errors import AttemptFailed, ContentRejected, ProviderRejected
from imagegate.outbound import Answer
from tests.providers.wire_images import draw, draw_mask

FOLDER = Path(__file__).parent.parent / "wire"
BASE_URL = "https://provider.test/v1"


def cases(provider: str) -> list[Any]:
    return sorted((FOLDER / provider).glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def call_from(case: dict[str, Any], **more: Any) -> ProviderCall:
    fields = {
        "upstream_model": "gpt-image-2.5-flare",
        "prompt": "A red fox in snow",
        "n": 1,
        "size": "1024x1024",
    }
    fields |= {"base_url": BASE_URL, "deadline_s": 5.0} | case.get("call", {}) | more
    size = Size.parse(fields.pop("size"))
    assert size is not None
    fields["images"] = tuple(draw(words, number) for number, words in enumerate(fields.get("images", ())))
    fields["mask"] = draw_mask(fields["mask"]) if fields.get("mask") else None
    return ProviderCall(size=size, **fields)


def answering(case: dict[str, Any]) -> tuple[httpx.MockTransport, respx.Route]:
    """A transport that gives the recorded answer to creating calls and nothing else."""
    router = respx.MockRouter(assert_all_called=False)
    route = router.post(url__regex=f"^{BASE_URL}/images/(generations|edits|inpainting)$")
    content = case["text"].encode() if "text" in case else json.dumps(case["answer"]).encode()
    route.respond(case["status"], headers=case.get("headers", {}), content=content)
    return httpx.MockTransport(router.async_handler), route


def answer_of(body: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps(body).encode())


def outcome_of(result: ProviderResult | Exception) -> str:
    match result:
        case ProviderResult():
            return "DELIVERED"
        case ContentRejected() | ProviderRejected():
            return "REJECTED"
        case AttemptFailed():
            return result.outcome
        case _:
            raise result


def told(result: ProviderResult | Exception, name: str) -> Any:
    """A field of `expected`, as the result or the error says it."""
    if name == "outcome":
        return outcome_of(result)
    if name == "class":
        return type(result).__name__
    if name == "images":
        assert isinstance(result, ProviderResult), result
        return [told_image(image) for image in result.images]
    value = getattr(result, name)
    return str(value) if isinstance(value, Decimal) else value


def told_image(image: ProviderImage) -> dict[str, Any]:
    """`data` is told in base64."""
    found = {name: getattr(image, name) for name in ("b64", "url", "revised_prompt")}
    if image.data is not None:
        found["data"] = base64.b64encode(image.data).decode()
    return {
        name: value if isinstance(value, str) else bytes(value).decode()
        for name, value in found.items()
        if value is not None
    }
