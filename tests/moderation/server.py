"""A moderation server on loopback: OpenAI's endpoint at `/v1/moderations`, a webhook everywhere else.

It checks what it is sent; what is wrong with it is in `violations`.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import deque
from types import TracebackType
from typing import Any

from tests.fake_provider import read_request
from tests.fake_verbs import Exchange, Request, Status, Verb

KEY = "sk-moderation-0123456789"
SIGNS = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(SIGNS).decode()
OPENAI = "/v1/moderations"


def scored(flagged: bool = False, **scores: float) -> Verb:
    """OpenAI's answer. scores: by category; one above 0.5 is a true category."""
    categories = {name: score > 0.5 for name, score in scores.items()}
    result = {"flagged": flagged, "categories": categories, "category_scores": scores}
    return Status(200, {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]})


def says(flagged: bool, *categories: str, **more: Any) -> Verb:
    """A webhook's answer."""
    return Status(200, {"flagged": flagged, "categories": list(categories), **more})


class ModerationServer:
    """Plays the verbs of `then` in their order, one a request; afterwards nothing is flagged."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self._script: deque[Verb] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> "ModerationServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**26)
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.openai = {"moderation_openai_url": f"{self.origin}/v1", "moderation_openai_key": KEY}
        self.webhook = {"moderation_webhook_url": f"{self.origin}/judge", "moderation_webhook_secret": SECRET}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def then(self, *verbs: Verb) -> None:
        self._script.extend(verbs)

    async def arrived(self, requests: int) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= requests)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while not writer.is_closing() and (request := await read_request(reader)):
                async with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                self.violations += wrongs(request)
                usual = scored() if request.path == OPENAI else says(False)
                verb = self._script.popleft() if self._script else usual
                await verb.play(Exchange(request, writer, self.origin))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


def wrongs(request: Request) -> list[str]:
    body = json.loads(request.raw)
    if request.path == OPENAI:
        right = {
            "key": request.headers.get("authorization") == f"Bearer {KEY}",
            "model": isinstance(body.get("model"), str),
            "fields": set(body) == {"model", "input"},
            "input": is_text(body["input"]) or is_parts(body["input"]),
        }
    else:
        right = {
            "signature": request.headers.get("webhook-signature") == signature_of(request),
            "id": request.headers.get("webhook-id") == body.get("id"),
            "fields": set(body)
            == {"id", "stage", "policy", "account", "prompt", "negative_prompt", "fields", "images"},
        }
    return [name for name, fine in right.items() if not fine]


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def is_parts(value: Any) -> bool:
    """A text at most, then exactly one image: more images are refused."""
    kinds = [part["type"] for part in value]
    images = [part["image_url"]["url"] for part in value if part["type"] == "image_url"]
    return kinds in (["text", "image_url"], ["image_url"]) and images[0].startswith("data:image/")


def signature_of(request: Request) -> str:
    """Worked out anew, from what Standard Webhooks says."""
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.raw
    return "v1," + base64.b64encode(hmac.new(SIGNS, signed, hashlib.sha256).digest()).decode()
