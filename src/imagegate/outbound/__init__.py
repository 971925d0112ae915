"""The one door to the internet: `post_json`, `post_form` and `get` to configured hosts, `fetch` for every link.

Calls to configured hosts have two back ends of one method: `DirectApi`, a thin client on aiohttp's connections, which
production uses; and `StandInApi` over any httpx transport, for tests without sockets (`open_outbound(api=...)`).

No proxy of the environment is used, no cookie kept, no redirect of a creating call followed. Certificates are
checked against certifi's list, or against what SSL_CERT_FILE or SSL_CERT_DIR names.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
from pydantic_core import to_json

from imagegate.outbound.arriving import Arriving
from imagegate.outbound.client import JSON, MAX_ANSWER_BYTES, Answer, build_post, post_json
from imagegate.outbound.direct import DirectApi
from imagegate.outbound.events import MAX_EVENT_BYTES, BothApi, Event, Take, post_events
from imagegate.outbound.fetching import Room, fetch
from imagegate.outbound.forms import FormFile, build_form
from imagegate.outbound.hooks import HookAnswer, post_hook
from imagegate.outbound.inputs import fetch_input
from imagegate.outbound.sessions import open_pools
from imagegate.outbound.standin import StandInApi

__all__ = [
    "JSON",
    "MAX_ANSWER_BYTES",
    "MAX_EVENT_BYTES",
    "Answer",
    "Event",
    "FormFile",
    "HookAnswer",
    "Outbound",
    "Room",
    "build_form",
    "is_at_home",
    "open_outbound",
]

HOOK_NAMES = INPUT_NAMES = 32
"""Threads in which names of webhooks, and of pictures handed in, are looked up: slow ones hold up no provider's."""


class Outbound:
    """What adapters and delivery hold. Both calls raise an AttemptFailed that names the provider."""

    def __init__(
        self,
        api: BothApi,
        links: aiohttp.ClientSession,
        hook_names: Executor,
        input_names: Executor,
        *,
        allow_private_hosts: frozenset[str],
    ) -> None:
        self._api = api
        self._hook_names = hook_names
        self._input_names = input_names
        self._links = links
        self._allowed = frozenset(host.lower() for host in allow_private_hosts)
        self.arriving = Arriving()

    async def post_json(
        self,
        url: str,
        *,
        body: Mapping[str, Any] | bytes,
        headers: Mapping[str, str],
        provider: str,
        timeout_s: float,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """POST a creating request once and read its answer, whatever its status.

        timeout_s: for everything, from the first name look-up to the last byte. Raises NotSent when no byte
        of the request left, RefusedUnbilled for a redirect, Ambiguous for every other end without an answer.
        """
        content = body if isinstance(body, bytes) else to_json(body)
        post = build_post(url, content, headers, provider=provider)
        return await post_json(self._api, post, provider=provider, timeout_s=timeout_s, max_bytes=max_bytes)

    async def post_form(
        self,
        url: str,
        *,
        fields: Mapping[str, str | Sequence[str]],
        files: Sequence[FormFile] = (),
        headers: Mapping[str, str],
        provider: str,
        timeout_s: float,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """As `post_json`, with a multipart form. Fields come before files, both in the order given."""
        body, content_type = build_form(fields, files)
        post = build_post(url, body, headers, provider=provider, content_type=content_type)
        return await post_json(self._api, post, provider=provider, timeout_s=timeout_s, max_bytes=max_bytes)

    async def post_events(
        self,
        url: str,
        *,
        body: bytes,
        content_type: str,
        headers: Mapping[str, str],
        provider: str,
        timeout_s: float,
        max_bytes: int,
        take: Take,
    ) -> Answer:
        """POST a creating request once that may be answered as events, each of which goes to `take` as it comes.

        An answer of events has an empty body; any other is read as `post_json` does, and is what is returned.
        An event has at most MAX_EVENT_BYTES. Raises as `post_json` does, and what `take` raises.
        """
        post = build_post(url, body, headers, provider=provider, content_type=content_type)
        return await post_events(
            self._api, post, take, provider=provider, timeout_s=timeout_s, max_bytes=max_bytes
        )

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        provider: str,
        timeout_s: float,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Ask about work that a provider has accepted. Redirects are not followed, so that no key can be.

        The URL is one of ours, or one that `is_at_home` has let pass. Raises an AttemptFailed as `post_json` does.
        """
        post = build_post(url, b"", headers, provider=provider, method="GET")
        return await post_json(self._api, post, provider=provider, timeout_s=timeout_s, max_bytes=max_bytes)

    async def fetch(
        self, url: str, *, trusted_hosts: frozenset[str], timeout_s: float, max_bytes: int, provider: str
    ) -> bytes:
        """GET what an answer points at; without credentials, and from public addresses only.

        trusted_hosts: `host` or `host:port` that the configuration vouches for; they may be private.
        Raises BilledInvalid when the link is forbidden, dead or too large, Ambiguous when it is out of reach.
        """
        trusted = self._allowed | {host.lower() for host in trusted_hosts}
        return await fetch(self._links, url, trusted, timeout_s, max_bytes, provider)

    async def fetch_input(self, url: str, room: Room, *, param: str) -> bytes:
        """GET what a request points at; without credentials, from public addresses only, on the usual ports.

        Takes as long as the caller waits. Raises InvalidRequest `image_url_not_allowed`, with one text for every
        forbidden place, `image_too_large`, or `invalid_image` when nothing can be had.
        """
        return await fetch_input(self._links, self._input_names, url, self._allowed, room, param)

    async def post_hook(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout_s: float, allow_private: bool
    ) -> HookAnswer:
        """POST an event to an address that a caller named, once. Raises nothing for what a receiver does.

        allow_private: IMAGEGATE_WEBHOOK_ALLOW_PRIVATE; else by https, to public addresses only.
        """
        return await post_hook(
            self._links,
            self._hook_names,
            url,
            body,
            headers,
            timeout_s=timeout_s,
            allow_private=allow_private,
        )


def is_at_home(url: str, base_url: str, trusted_hosts: frozenset[str]) -> bool:
    """Whether our key may go to `url`: https like the base URL, at its host or at one that is configured."""
    try:
        place, home = httpx.URL(url), httpx.URL(base_url)
    except httpx.InvalidURL:
        return False
    hosts = {host.lower() for host in trusted_hosts} | {home.netloc.decode("ascii").lower()}
    return (
        place.scheme == home.scheme and not place.userinfo and place.netloc.decode("ascii").lower() in hosts
    )


@asynccontextmanager
async def open_outbound(
    *,
    allow_private_hosts: frozenset[str] = frozenset(),
    connections: int = 4096,
    connect_s: float = 10.0,
    api: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Outbound]:
    """Open both clients.

    allow_private_hosts: `host` or `host:port` that every fetch may reach though it is private.
    connections: of each client, to all hosts together; a call waits for one and connects in `connect_s`.
    api: a stand-in for `post_json`, such as `httpx.MockTransport`.
    """
    async with open_pools(connections=connections, connect_s=connect_s) as (connector, links):
        direct = DirectApi(connector, connect_s=connect_s)
        hook_names = ThreadPoolExecutor(HOOK_NAMES, "hook-names")
        input_names = ThreadPoolExecutor(INPUT_NAMES, "input-names")
        sending = StandInApi(api) if api else direct
        try:
            yield Outbound(sending, links, hook_names, input_names, allow_private_hosts=allow_private_hosts)
        finally:
            hook_names.shutdown(wait=False, cancel_futures=True)
            input_names.shutdown(wait=False, cancel_futures=True)
