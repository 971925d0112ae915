"""Fits a request to one offering, purely: sizes, qualities, formats, and what became of every parameter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagegate.domain import Fit, GenerationRequest, Model, Offering, Output, ParameterReceipt, Size
from imagegate.errors import InvalidRequest
from imagegate.generation.sizing import Native, native_for

LADDER = ("low", "medium", "high", "xhigh", "max")
LEGACY = {"standard": "medium", "hd": "high"}
MAX_EDGE_PX = 4096
LOSSY = ("jpeg", "webp")


@dataclass(slots=True)
class Receipts:
    """Collects what happened to each parameter. In strict mode a dropped one is an error instead."""

    strict: bool
    made: list[ParameterReceipt] = field(default_factory=list)

    def add(self, name: str, treatment: str, detail: str | None = None) -> None:
        self.made.append(ParameterReceipt(name, treatment, detail))

    def drop(self, name: str, why: str, *, code: str = "unsupported_value") -> None:
        """Raises InvalidRequest in strict mode."""
        if self.strict:
            raise InvalidRequest(
                f"{name}: {why}. Leave it out, or leave out 'strict'.", code=code, param=name
            )
        self.add(name, "ignored", why)


def fit(request: GenerationRequest, model: Model, offering: Offering, size: Size, quality: str | None) -> Fit:
    """size and quality are those the price was quoted for. Raises InvalidRequest."""
    receipts = Receipts(request.strict)
    fields: dict[str, Any] = {}
    if model.successor:
        receipts.add("model", "converted", f"{model.id} is retired; {model.successor} serves it")
    if request.n > offering.max_n:
        receipts.add("n", "emulated", f"calls of {offering.max_n}")
    elif request.n > 1:
        receipts.add("n", "passed")
    native = native_for(offering.sizes, size)
    exact = size if request.size is not None and (native.size != size or native.aspect) else None
    _size_receipt(request, size, native, receipts)
    _quality_receipt(request, quality, offering, receipts)
    output, native_format = _format(request, offering, exact, native.size != size, fields, receipts)
    _background(request, offering, fields, receipts)
    _taken_or_dropped(request, offering, fields, receipts)
    return Fit(
        size=native.size,
        aspect=native.aspect,
        tier=native.tier,
        output=output,
        quality=quality if quality in offering.qualities else None,
        format=native_format,
        fields=fields,
        receipts=tuple(receipts.made),
    )


def _size_receipt(request: GenerationRequest, size: Size, native: Native, receipts: Receipts) -> None:
    if request.size is None:
        return
    if native.size == size and native.aspect is None:
        receipts.add("size", "passed")
    elif native.size == size:
        receipts.add("size", "converted", f"{size} → {native.told}")
    elif receipts.strict:
        text = f"This model cannot draw {size}; the nearest it draws is {native.told}."
        raise InvalidRequest(text, code="invalid_value", param="size")
    else:
        receipts.add("size", "emulated", f"drawn at {native.told}, then fitted to {size}")


def _quality_receipt(
    request: GenerationRequest, quality: str | None, offering: Offering, receipts: Receipts
) -> None:
    asked = request.quality
    if asked is None or asked == "auto":
        return
    if quality is None:
        receipts.drop("quality", "this model has no qualities")
    elif quality not in offering.qualities:
        receipts.drop("quality", f"{offering.provider} takes no quality")
    elif quality != asked:
        receipts.add("quality", "converted", f"{asked} → {quality}")
    else:
        receipts.add("quality", "passed")


def _format(
    request: GenerationRequest,
    offering: Offering,
    exact: Size | None,
    resized: bool,
    fields: dict[str, Any],
    receipts: Receipts,
) -> tuple[Output, str | None]:
    """What the provider is asked to encode, and what we encode afterwards.

    exact: the size that must come out; what comes is measured. resized: it is known that it will not come so.
    """
    wanted, b64 = request.output_format, request.response_format != "url"
    compression = request.output_compression if wanted in LOSSY else None
    if request.output_compression is not None and compression is None:
        receipts.drop("output_compression", "it needs output_format jpeg or webp")
    if wanted is None:
        return Output(size=exact, b64=b64), None
    native = wanted in offering.formats
    if native and not resized:
        receipts.add("output_format", "passed")
        if compression is not None:
            receipts.add("output_compression", "passed")
            fields["output_compression"] = compression
        return Output(size=exact, format=wanted, b64=b64), wanted
    receipts.add(
        "output_format", "passed" if native else "emulated", None if native else "encoded by the gateway"
    )
    if compression is not None:
        receipts.add("output_compression", "emulated", "encoded by the gateway")
    return Output(size=exact, format=wanted, compression=compression, b64=b64), None


def _background(
    request: GenerationRequest, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    asked = request.background
    if asked is None:
        return
    if asked == "transparent" and request.output_format == "jpeg":
        raise InvalidRequest("A transparent background needs output_format png or webp.", param="background")
    if offering.features.get("transparent_background"):
        fields["background"] = asked
        receipts.add("background", "passed")
    elif asked == "transparent":
        receipts.drop("background", f"{offering.provider} draws no transparent background with this model")
    else:
        receipts.add("background", "ignored", "this model's background is always opaque")


def _taken_or_dropped(
    request: GenerationRequest, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    if request.seed is not None:
        if offering.features.get("seed"):
            fields["seed"] = request.seed
            receipts.add("seed", "passed")
        else:
            receipts.drop("seed", f"{offering.provider} takes no seed for this model")
    if request.style is not None:
        receipts.drop("style", "no model takes it any more")
    if request.moderation is not None:
        if "moderation" in offering.passes:
            fields["moderation"] = request.moderation
            receipts.add("moderation", "passed")
        else:
            receipts.drop("moderation", f"{offering.provider} has no such setting")
    if request.user is not None:
        if "safety_identifier" in offering.passes:
            fields["user"] = request.user
            receipts.add("user", "renamed", "sent hashed, as safety_identifier")
        else:
            receipts.add("user", "ignored", "kept with the generation only")
    if request.response_format is not None:
        receipts.add("response_format", "emulated", "the gateway stores and links every image")
    _extras(request.extras, offering, fields, receipts)


def _extras(
    extras: Mapping[str, Any], offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    for name, value in extras.items():
        if name in offering.passes:
            fields[name] = value
            receipts.add(name, "passed")
        else:
            receipts.drop(name, "unknown to this model", code="unknown_parameter")


def resolve_quality(model: Model, asked: str | None) -> str | None:
    """The quality the model is asked for and priced at; `auto` and None are the model's default.

    `standard` and `hd` mean medium and high. A word the model lacks becomes the nearest one below it, else its lowest.
    """
    if not model.qualities:
        return None
    asked = LEGACY.get(asked, asked) if asked else None
    if asked is None or asked == "auto":
        return model.default_quality
    if asked in model.qualities:
        return asked
    known = [q for q in LADDER if q in model.qualities]
    below = [q for q in known if LADDER.index(q) <= LADDER.index(asked)]
    return below[-1] if below else known[0]
