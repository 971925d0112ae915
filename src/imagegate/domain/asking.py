"""What a caller says, and who the caller is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

from pydantic import SecretStr


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
class InputImage:
    """A picture that a caller hands in: its bytes, or where they are fetched from during admission.

    kept: an image that was made for this account before, by the id that its answer gave it.
    format and size are measured from the bytes; None before. sha256: of the bytes.
    """

    data: bytes | None = None
    url: str | None = None
    kept: str | None = None
    format: str | None = None
    size: Size | None = None
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What a caller asked for, in one shape for all dialects. None = not said.

    size: exact pixels. aspect (`16:9`) and resolution (`1K` to `4K`) count where no size is said. size_policy: `exact`
    (what comes out has the size that was asked for) or `native` (what the provider draws next to it).
    images: pictures to work from. mask: transparent where the first of them is to be redrawn.
    treated: parameters that the dialect has dealt with, and how. stream, later: the answer is told as events, or
    fetched by its id; they do not make another request of it. partial_images: previews of each image, 0 to 3, wanted
    only of a stream. webhook_url: who is told how an async job ends.
    """

    prompt: str
    model: str | None = None
    n: int = 1
    size: Size | None = None
    aspect: str | None = None
    resolution: str | None = None
    size_policy: str | None = None
    quality: str | None = None
    style: str | None = None
    response_format: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    background: str | None = None
    moderation: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    negative_prompt: str | None = None
    thinking: str | None = None
    prompt_enhancement: bool | None = None
    images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    routing: str | None = None
    user: str | None = None
    strict: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Fields the dialect does not know. They pass through where the offering's provider takes them."""
    own_key: SecretStr | None = field(default=None, repr=False)
    """The caller's own key at the forced provider. It is kept nowhere."""
    treated: "tuple[ParameterReceipt, ...]" = ()
    stream: bool = False
    partial_images: int = 0
    later: bool = False
    webhook_url: str | None = None

    @property
    def operation(self) -> str:
        """`generate`, `edit` (from pictures) or `inpaint` (under a mask)."""
        if self.mask is not None:
            return "inpaint"
        return "edit" if self.images else "generate"


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How often an `account` or a `key` may ask, how many images a minute, how many generations at once.

    None = no limit.
    """

    scope: str
    requests_per_min: int | None = None
    images_per_min: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the account and environment that pay, the key that was shown, and its labels.

    named_app: what the request says of itself; None = nothing.
    limits: those of the account and of the key that limit something; both hold.
    """

    account_id: UUID
    env: str
    key_id: UUID
    team: str | None = None
    app: str | None = None
    environment: str | None = None
    routing: str | None = None
    """The key's policy of routing: catalogue, cheapest, fastest, best or balanced; None = the gateway's."""
    moderation: str | None = None
    """The key's policy of moderation, else its account's: off, flag or block; None = the gateway's."""
    limits: tuple[RateLimits, ...] = ()
    named_app: str | None = None
    keep_images_h: int | None = None
    """How long the account's images are kept, in hours; None = as long as the gateway's."""
    keepalive: bool = False
    """The key's slow answers begin before they are known, with white space."""

    @property
    def told_app(self) -> str | None:
        """For which app the request counts in usage."""
        return self.named_app or self.app

    @property
    def paying_app(self) -> str | None:
        """On which app's budget it counts: a caller does not leave that of its key by naming another."""
        return self.app or self.named_app


@dataclass(frozen=True, slots=True)
class Asked:
    """How a request arrived: by what a repetition of it is recognised.

    retry: how often the caller's library says it has tried before. session, trace: what the caller groups it by, which
    does not make another request of it. body_bytes: as its length was told; None = it was not. request_id: as the
    answer tells it. since_s: when its body had been read, by the monotonic clock.
    """

    route: str
    idempotency_key: str | None = None
    retry: int = 0
    session: str | None = None
    trace: str | None = None
    body_bytes: int | None = None
    request_id: str | None = None
    since_s: float = field(default_factory=monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class ParameterReceipt:
    """What happened to one parameter: passed, renamed, converted, emulated or ignored."""

    name: str
    treatment: str
    detail: str | None = None
