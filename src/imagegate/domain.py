"""The nouns, frozen, in the order they appear on the line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any, Protocol
from uuid import UUID

from pydantic import SecretStr

from imagegate.ids import public_id


@dataclass(frozen=True, slots=True, order=True)
class Size:
    width_px: int
    height_px: int

    @property
    def area_px(self) -> int:
        return self.width_px * self.height_px

    def __str__(self) -> str:
        return f"{self.width_px}x{self.height_px}"

    @classmethod
    def parse(cls, text: str) -> "Size | None":
        """`1024x768` → Size; None when the text is not two numbers of 1 to 5 digits, both above zero."""
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
        return cls(int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What a caller asked for, in one shape for all dialects. None = not said."""

    prompt: str
    model: str | None = None
    n: int = 1
    size: Size | None = None
    quality: str | None = None
    style: str | None = None
    response_format: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    background: str | None = None
    moderation: str | None = None
    seed: int | None = None
    user: str | None = None
    strict: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Fields the dialect does not know. They pass through where the offering's provider takes them."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the account and environment that pay, the key that was shown, and its labels."""

    account_id: UUID
    env: str
    key_id: UUID
    team: str | None = None
    app: str | None = None
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class SizeRule:
    """Which sizes an offering draws by itself.

    kind: `free` (any size inside the bounds), `list` (only `sizes`), or a kind that a later adapter fits
    (`aspect`, `aspect_tier`, `list_or_aspect`, `free_or_preset`, `aspect_or_free`, `input`).
    """

    kind: str
    sizes: tuple[Size, ...] = ()
    aspects: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    multiple: int = 1
    min_edge: int = 1
    max_edge: int = 16_384
    max_ratio: float | None = None
    min_pixels: int = 1
    max_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class Offering:
    """A model as one provider sells it. `passes` are the provider's own request fields for this model."""

    provider: str
    upstream_model: str
    sizes: SizeRule
    max_n: int = 1
    qualities: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    features: Mapping[str, Any] = field(default_factory=dict)
    passes: frozenset[str] = frozenset()
    cost: Mapping[str, Any] | None = None
    sells_as: frozenset[str] = frozenset()
    """Providers whose name forces this offering; a sandbox standing in for others carries theirs too."""


@dataclass(frozen=True, slots=True)
class Model:
    """What callers name. `successor` serves a retired model; its offerings are the successor's."""

    id: str
    creator: str
    created: int
    offerings: tuple[Offering, ...]
    aliases: tuple[str, ...] = ()
    sizes: tuple[Size, ...] = ()
    qualities: tuple[str, ...] = ()
    default_size: Size = Size(1024, 1024)
    default_quality: str | None = None
    max_prompt_chars: int | None = None
    operations: tuple[str, ...] = ("generate",)
    shutdown_date: str | None = None
    successor: str | None = None

    @property
    def name(self) -> str:
        return self.id.partition("/")[2] or self.id


@dataclass(frozen=True, slots=True)
class Quote:
    """A price for one request: the pinned version and the exact tokens of one image."""

    model: str
    price_version: int
    image_tokens: Fraction
    n: int
    size: Size
    quality: str | None
    unit: str = "image"

    @property
    def hold_tokens(self) -> int:
        """The worst case, rounded up once."""
        return self.tokens_for(self.n)

    def tokens_for(self, images: int) -> int:
        """Tokens for `images` delivered images, rounded up once per generation, never per image."""
        return ceil(self.image_tokens * images)


@dataclass(frozen=True, slots=True)
class ParameterReceipt:
    """What happened to one parameter: passed, renamed, converted, emulated or ignored."""

    name: str
    treatment: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """How the delivered image must look. None = as the provider made it. `b64`: the caller gets base64."""

    size: Size | None = None
    format: str | None = None
    compression: int | None = None
    b64: bool = True


@dataclass(frozen=True, slots=True)
class Fit:
    """A request in one offering's reach: what the provider is asked for, and what we make of it afterwards."""

    size: Size
    output: Output
    quality: str | None = None
    format: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    receipts: tuple[ParameterReceipt, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """How one provider is reached: its base URL and our key, and hosts its answers may point at."""

    base_url: str
    api_key: SecretStr | None = None
    trusted_hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offering with a credential, and the request fitted to it."""

    offering: Offering
    credential: Credential
    fit: Fit


@dataclass(frozen=True, slots=True)
class Plan:
    model: Model
    quote: Quote
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Reservation:
    """A generation that is open: its hold is taken. `deadline` is in seconds of the monotonic clock."""

    generation_id: UUID
    epoch: int
    principal: Principal
    hold_tokens: int
    deadline: float
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call to one provider, in our words. `fields` holds only what this offering takes."""

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


@dataclass(frozen=True, slots=True)
class ProviderImage:
    """One image as a provider gave it: exactly one of `data`, `b64` (standard or URL-safe) and `url`."""

    data: bytes | None = None
    b64: str | bytes | None = None
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


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one provider, as it ended. `outcome` is an outcome class."""

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


@dataclass(frozen=True, slots=True)
class Image:
    """One stored image. `object` is its name in the store; `b64` its base64 while it is still in memory."""

    object: str
    sha256: bytes
    size_bytes: int
    size: Size
    mime: str
    revised_prompt: str | None = None
    b64: bytes | str | None = None
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

    @property
    def public_id(self) -> str:
        return public_id("gen", self.id)
