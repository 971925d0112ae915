"""What can be drawn, by whom and at what price; and a request fitted to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from pydantic import SecretStr

from imagegate.domain.asking import ParameterReceipt, Size

SQUARE = Size(1024, 1024)


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
    default_size: Size = SQUARE
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
        return -(-self.image_tokens.numerator * images // self.image_tokens.denominator)


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
