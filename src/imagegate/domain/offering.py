"""What can be drawn, by whom and at what price; and a request fitted to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
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
    reports_usage: bool = False
    """Every answer counts the provider's own tokens, as `count_usage` reads them."""
    sells_as: frozenset[str] = frozenset()
    """Providers whose name forces this offering; a sandbox standing in for others carries theirs too."""
    rank: int | None = None
    """Among the offerings of its model, for the policy `best`; 1 is the best."""
    weight: int | None = None
    """Its share among them, for the policy `balanced`; None counts as 1."""
    fallback_on_ambiguous: bool = False
    """Another may be asked though this one may have made and billed the image."""


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
    quality_tiers: Mapping[str, str] = field(default_factory=dict)
    """Of a model without qualities: the resolution that each word stands for, such as high → 2K."""
    max_prompt_chars: int | None = None
    operations: tuple[str, ...] = ("generate",)
    shutdown_date: str | None = None
    successor: str | None = None
    rank: int | None = None
    """Among models, where a request leaves the choice to the gateway; 1 is the best."""
    weight: int | None = None

    @property
    def name(self) -> str:
        return self.id.partition("/")[2] or self.id


@dataclass(frozen=True, slots=True)
class UsageRates:
    """Tokens for a million of the provider's own tokens: of text and of images read, and of what is drawn."""

    text_in: int
    image_in: int
    output: int

    def tokens_for(self, text: int, image: int, output: int) -> Fraction:
        return Fraction(self.text_in * text + self.image_in * image + self.output * output, 1_000_000)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Pictures handed in, as prices count them. megapixels: begun ones of 1,048,576 px, of each picture by itself."""

    images: int = 0
    megapixels: int = 0


@dataclass(frozen=True, slots=True)
class Quote:
    """A price for one request: the pinned version and the exact tokens of one image.

    rates: only where the price goes by usage (unit `token`); `image_tokens` is then the most one image can cost.
    input_tokens: for all pictures handed in together, owed once with the first image that is delivered.
    previews: of each image, as many as are held for; 0 = none are asked for. preview_tokens: for each one that came.
    """

    model: str
    price_version: int
    image_tokens: Fraction
    n: int
    size: Size
    quality: str | None
    unit: str = "image"
    rates: UsageRates | None = None
    input_tokens: int = 0
    inputs: Inputs = Inputs()
    previews: int = 0
    preview_tokens: int = 0

    @property
    def hold_tokens(self) -> int:
        """The worst case, rounded up once."""
        return self.tokens_for(self.n, self.n * self.previews)

    def tokens_for(self, images: int, previews: int = 0) -> int:
        """Tokens for `images` delivered images, rounded up once per generation, never per image.

        previews: those that came of these images.
        """
        if not images:
            return 0
        drawn = -(-self.image_tokens.numerator * images // self.image_tokens.denominator)
        return drawn + self.input_tokens + self.preview_tokens * previews

    def tokens_for_usage(self, usage: Mapping[str, Any] | None, images: int, previews: int = 0) -> int:
        """Tokens for what the provider counted, rounded up once per generation. They may exceed the hold.

        usage: the counts of all calls together, previews among them. Without an image nothing is owed. A price that
        does not go by usage, and an answer without readable counts, cost what `tokens_for` says.
        """
        counted = count_usage(usage) if self.rates else None
        if self.rates is None or counted is None or images == 0:
            return self.tokens_for(images, previews)
        return ceil(self.rates.tokens_for(*counted))


def count_usage(usage: Mapping[str, Any] | None) -> tuple[int, int, int] | None:
    """The provider's tokens of text read, of images read and of what was drawn; None when they are not told.

    usage: `input_tokens`, `output_tokens`, and `input_tokens_details` with `text_tokens` and `image_tokens`. What the
    details leave out of `input_tokens` counts as text.
    """
    if usage is None:
        return None
    details = usage.get("input_tokens_details")
    image = a_count(details.get("image_tokens", 0)) if isinstance(details, Mapping) else 0
    read, output = a_count(usage.get("input_tokens")), a_count(usage.get("output_tokens"))
    if read is None or image is None or output is None or image > read:
        return None
    return read - image, image, output


def a_count(value: object) -> int | None:
    """What a provider says is believed only when it can be a count."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


@dataclass(frozen=True, slots=True)
class Output:
    """How the delivered image must look. None = as the provider made it. `b64`: the caller gets base64."""

    size: Size | None = None
    format: str | None = None
    compression: int | None = None
    b64: bool = True


@dataclass(frozen=True, slots=True)
class Fit:
    """A request in one offering's reach: what the provider is asked for, and what we make of it afterwards.

    aspect (`16:9`) and tier (`2K`): for providers that take these; `size` is then what is expected of them.
    max_n: images that one call may ask for. upstream_model: instead of the offering's. mask: the colours in which this
    provider wants it: `alpha`, `white` or `black`. previews: how many it is asked for of each image.
    """

    size: Size
    output: Output
    aspect: str | None = None
    tier: str | None = None
    quality: str | None = None
    format: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    receipts: tuple[ParameterReceipt, ...] = ()
    max_n: int = 1
    upstream_model: str | None = None
    mask: str | None = None
    previews: int = 0


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
