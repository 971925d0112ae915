"""From a reservation to a generation: what providers are asked, what they gave, what was made of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from pydantic import SecretStr

from imagegate.domain.asking import InputImage, ParameterReceipt, Principal, Size
from imagegate.ids import public_id


@dataclass(frozen=True, slots=True)
class Reservation:
    """A generation that is open: its hold is taken. `deadline`: the loop's clock, in seconds. `said`: as recorded."""

    generation_id: UUID
    epoch: int
    principal: Principal
    hold_tokens: int
    deadline: float
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UpstreamJob:
    """Work that a provider has accepted under an id of its own, and where it can be asked about."""

    id: str
    url: str | None = None


async def unkept(job: UpstreamJob) -> None:
    """Nobody keeps the job: a call outside the line."""


@dataclass(frozen=True, slots=True)
class Preview:
    """An image that a provider is still working on. `b64`: standard base64 as it came, already checked.

    index: its number among the previews of its image, from 0. The other fields are what the provider says of it, in
    words that may be shown.
    """

    index: int
    b64: bytes | memoryview
    size: str
    quality: str = "auto"
    background: str = "auto"
    output_format: str = "png"


async def unseen(preview: Preview) -> None:
    """Nobody looks at previews."""


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call to one provider, in our words. `fields` holds only what this offering takes.

    deadline_s: the longest wait for an answer. poll_s: how long an accepted job may be asked about.
    aspect (`16:9`) and tier (`2K`): for providers that take these instead of pixels.
    images: the caller's pictures, with their bytes. mask: the size of the first, in the offering's own colours.
    accepted: to be awaited with the job before the first poll, so that a crash resumes and never resubmits.
    previews: how many are wanted at most of the one image of this call. preview: to be awaited with each as it comes.
    """

    upstream_model: str
    prompt: str
    n: int
    size: Size
    base_url: str
    deadline_s: float
    api_key: SecretStr | None = None
    trusted_hosts: frozenset[str] = frozenset()
    quality: str | None = None
    format: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    aspect: str | None = None
    tier: str | None = None
    images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    poll_s: float = 0.0
    accepted: Callable[[UpstreamJob], Awaitable[None]] = unkept
    previews: int = 0
    preview: Callable[[Preview], Awaitable[None]] = unseen


@dataclass(frozen=True, slots=True)
class ProviderImage:
    """One image as a provider gave it: exactly one of `data`, `b64` (standard or URL-safe) and `url`."""

    data: bytes | None = None
    b64: str | bytes | memoryview | None = None
    url: str | None = None
    revised_prompt: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderResult:
    """usage: the upstream's own counts. cost_usd: its exact charge, where the answer tells it."""

    images: tuple[ProviderImage, ...]
    usage: Mapping[str, Any] | None = None
    cost_usd: Decimal | None = None
    upstream_id: str | None = None


class Adapter(Protocol):
    """How one provider speaks. Raises ContentRejected, ProviderRejected or an AttemptFailed."""

    async def generate(self, call: ProviderCall) -> ProviderResult: ...


@runtime_checkable
class Polled(Protocol):
    """An adapter whose provider works under an id of its own: it can go on where another process stopped."""

    async def resume(self, call: ProviderCall, job: UpstreamJob) -> ProviderResult: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one provider, as it ended. `outcome` is an outcome class; epoch None: the one that is running.

    credential_id: which of our keys it was made with, `env:1` or `pvk_…`.
    """

    seq: int
    provider: str
    upstream_model: str
    outcome: str
    images: int
    started_at: datetime
    ms: int
    detail: str | None = None
    upstream_id: str | None = None
    cost_usd: Decimal | None = None
    at_risk_usd: Decimal | None = None
    epoch: int | None = None
    upstream_url: str | None = None
    slot: int = 0
    credential_id: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """One stored image. `object` is its name in the store; `b64` its base64 while it is still in memory."""

    object: str
    sha256: bytes
    size_bytes: int
    size: Size
    mime: str
    revised_prompt: str | None = None
    b64: bytes | memoryview | None = None
    reencoded: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One request and its result, as callers are told of it."""

    id: UUID
    status: str
    created_at: datetime
    model: str
    request: Mapping[str, Any]
    quote: Mapping[str, Any]
    completed_at: datetime | None = None
    images: tuple[Image, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    charged_tokens: int = 0
    balance_tokens: int | None = None
    usage: Mapping[str, Any] | None = None
    receipts: tuple[ParameterReceipt, ...] = ()
    error_code: str | None = None
    error_message: str | None = None
    error_status: int | None = None
    replayed: bool = False
    moderation: Mapping[str, Any] | None = None
    """What moderators said, as it is recorded; None when nobody was asked."""
    key_id: UUID | None = None
    """The API key it was asked for with, where it was read from its records."""

    @property
    def public_id(self) -> str:
        return public_id("gen", self.id)
