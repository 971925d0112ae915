"""Fits a request to one offering, purely: what it is asked for, what is made of its answer, and what is told of it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from imagegate.domain import Fit, GenerationRequest, Model, Offering, Size
from imagegate.errors import InvalidRequest
from imagegate.generation import fitting_fields, fitting_output
from imagegate.generation.receipts import Receipts
from imagegate.generation.sizing import Native, native_for

LADDER = ("low", "medium", "high", "xhigh", "max")
LEGACY = {"standard": "medium", "hd": "high"}
MAX_EDGE_PX = 4096


def lack(request: GenerationRequest, offering: Offering) -> InvalidRequest | None:
    """Why an offering cannot serve a request at all; None where it can."""
    features, operation = offering.features, request.operation
    if operation != "generate" or "operations" in features:
        known = features.get("operations", ("generate",))
        if operation not in known:
            return InvalidRequest(
                f"{offering.provider} does not {WORDS[operation]} with this model; it can "
                f"{', '.join(WORDS.get(o, o) for o in known)}.",
                code="unsupported_value",
                param="mask" if operation == "inpaint" else "image" if operation == "edit" else "model",
            )
    most = features.get("max_input_images")
    if isinstance(most, int) and len(request.images) > most:
        text = f"{offering.provider} takes at most {most} input image{'s' * (most > 1)} with this model."
        return InvalidRequest(text, code="invalid_value", param="image")
    return lack_of_thinking(request, [offering])


WORDS = {"generate": "draw from a prompt alone", "edit": "edit images", "inpaint": "redraw under a mask"}


def lack_of_thinking(request: GenerationRequest, offerings: Iterable[Offering]) -> InvalidRequest | None:
    """A way of thinking that no offering has is an error even where nothing is strict: it changes time and cost."""
    if request.thinking is None:
        return None
    known = list(dict.fromkeys(word for o in offerings for word in o.features.get("thinking", ())))
    if request.thinking in known or request.thinking == ("on" if known else "off"):
        return None
    supported = f"it takes {', '.join(known)}" if known else "it takes only off"
    return InvalidRequest(
        f"thinking: this model does not know that way; {supported}.",
        code="unsupported_value",
        param="thinking",
    )


def fit(request: GenerationRequest, model: Model, offering: Offering, size: Size, quality: str | None) -> Fit:
    """size and quality are those the price was quoted for. Raises InvalidRequest."""
    receipts = Receipts(request.strict)
    receipts.take(request.treated)
    fields: dict[str, Any] = {}
    offering = narrowed(offering, request.operation)
    if model.successor:
        receipts.add("model", "converted", f"{model.id} is retired; {model.successor} serves it")
    previews = _previews(request, offering, receipts)
    max_n = _images_a_call(request, offering, previews, receipts)
    native = native_for(offering.sizes, size)
    exact = _exact(request, native, size)
    _size_receipts(request, size, native, exact, receipts)
    _quality_receipt(request, model, quality, offering, fields, receipts)
    resized = exact is not None and native.size != size
    output, native_format = fitting_output.fit_output(
        request, offering, exact, native.size, resized, fields, receipts
    )
    fitting_output.fit_background(request, offering, fields, receipts)
    fitting_fields.fit_fields(request, offering, fields, receipts)
    _input_receipts(request, offering, receipts)
    edited = offering.features.get("edit_model") if request.images else None
    return Fit(
        size=native.size,
        aspect=native.aspect,
        tier=native.tier,
        output=output,
        quality=quality if quality in offering.qualities else None,
        format=native_format,
        fields=fields,
        receipts=tuple(receipts.made),
        max_n=max_n,
        upstream_model=str(edited) if edited else None,
        mask=str(offering.features.get("mask", "alpha")) if request.mask else None,
        previews=previews,
    )


def narrowed(offering: Offering, operation: str) -> Offering:
    """The offering without what it takes in other operations only: `lacks` of its features, by operation."""
    lacks = offering.features.get("lacks", {}).get(operation)
    if not lacks:
        return offering
    features = {name: value for name, value in offering.features.items() if name not in lacks}
    return replace(offering, features=features, passes=offering.passes.difference(lacks))


def _previews(request: GenerationRequest, offering: Offering, receipts: Receipts) -> int:
    """How many are asked for of each image."""
    if not request.partial_images:
        return 0
    most = int(offering.features.get("previews", 0))
    if most < request.partial_images:
        receipts.drop("partial_images", f"{offering.provider} shows no image of this model before it is done")
        return 0
    receipts.add("partial_images", "passed")
    return request.partial_images


def _images_a_call(request: GenerationRequest, offering: Offering, previews: int, receipts: Receipts) -> int:
    """With previews it is one: nothing in an event says of which image of a call it is."""
    most = int(offering.features.get("edit_max_n", offering.max_n)) if request.images else offering.max_n
    most = 1 if previews else most
    if request.n > most:
        receipts.add("n", "emulated", f"calls of {most}")
    elif request.n > 1:
        receipts.add("n", "passed")
    return most


def _exact(request: GenerationRequest, native: Native, size: Size) -> Size | None:
    """The size that must come out; None where what the provider draws is what is wanted."""
    if request.size is None or request.size_policy == "native":
        return None
    return size if native.size != size or native.aspect else None


def _size_receipts(
    request: GenerationRequest, size: Size, native: Native, exact: Size | None, receipts: Receipts
) -> None:
    if request.size is not None:
        for name in ("aspect", "resolution"):
            if getattr(request, name) is not None:
                receipts.drop("aspect_ratio" if name == "aspect" else name, "size goes before it")
        _pixels_receipt(size, native, exact, receipts)
        return
    if request.aspect is not None:
        _near_or_passed("aspect_ratio", request.aspect, native.is_shaped(size), native, receipts)
    if request.resolution is not None:
        _near_or_passed("resolution", request.resolution, native.is_as_large(size), native, receipts)


def _pixels_receipt(size: Size, native: Native, exact: Size | None, receipts: Receipts) -> None:
    if native.size == size and native.aspect is None:
        receipts.add("size", "passed")
    elif native.size == size:
        receipts.add("size", "converted", f"{size} → {native.told}")
    elif receipts.strict:
        text = f"This model cannot draw {size}; the nearest it draws is {native.told}."
        raise InvalidRequest(text, code="invalid_value", param="size")
    elif exact is None:
        receipts.add("size", "converted", f"{size} → {native.told}")
    else:
        receipts.add("size", "emulated", f"drawn at {native.told}, then fitted to {size}")


def _near_or_passed(name: str, said: str, fits: bool, native: Native, receipts: Receipts) -> None:
    if not fits:
        receipts.convert(name, f"{said} → {native.told}", code="invalid_value")
    elif native.aspect is None:
        receipts.add(name, "converted", f"{said} → {native.told}")
    else:
        receipts.add(name, "passed")


def _quality_receipt(
    request: GenerationRequest,
    model: Model,
    quality: str | None,
    offering: Offering,
    fields: dict[str, Any],
    receipts: Receipts,
) -> None:
    asked = request.quality
    if asked is None or (asked == "auto" and quality not in offering.qualities):
        return
    if quality is not None and quality in offering.qualities:
        same = quality == asked
        receipts.add("quality", "passed" if same else "converted", None if same else f"{asked} → {quality}")
    elif (tier := tier_of(model, request)) is not None:
        receipts.add("quality", "emulated", f"{asked} → {tier}")
    elif (steps := stepped(offering, asked)) is not None and request.steps is None:
        fields["steps"] = steps
        receipts.add("quality", "emulated", f"{asked} → {steps} steps")
    elif quality is None:
        receipts.drop("quality", "this model has no qualities")
    else:
        receipts.drop("quality", f"{offering.provider} takes no quality")


def tier_of(model: Model, request: GenerationRequest) -> str | None:
    """The resolution that a quality stands for at a model that has no other qualities; None where a size is said."""
    sized = request.size or request.aspect or request.resolution
    if (
        sized
        or not request.quality
        or request.quality == "auto"
        or model.qualities
        or not model.quality_tiers
    ):
        return None
    return model.quality_tiers[nearest_word(request.quality, tuple(model.quality_tiers))]


def stepped(offering: Offering, asked: str) -> int | None:
    """The steps that a quality stands for, where the sheet of the provider says so."""
    steps = offering.features.get("quality_steps")
    return int(steps[nearest_word(asked, tuple(steps))]) if steps else None


def _input_receipts(request: GenerationRequest, offering: Offering, receipts: Receipts) -> None:
    if request.images:
        receipts.add("image", "passed")
    if request.mask is not None:
        convention = offering.features.get("mask", "alpha")
        if convention == "alpha":
            receipts.add("mask", "passed")
        else:
            receipts.add("mask", "converted", f"transparent → {convention}")


def resolve_quality(model: Model, asked: str | None) -> str | None:
    """The quality the model is asked for and priced at; `auto` and None are the model's default.

    `standard` and `hd` mean medium and high. A word the model lacks becomes the nearest one below it, else its lowest.
    """
    if not model.qualities:
        return None
    if asked is None or asked == "auto":
        return model.default_quality
    return nearest_word(asked, model.qualities)


def nearest_word(asked: str, known: tuple[str, ...]) -> str:
    asked = LEGACY.get(asked, asked)
    if asked in known:
        return asked
    ladder = [word for word in LADDER if word in known]
    below = [word for word in ladder if LADDER.index(word) <= LADDER.index(asked)]
    return below[-1] if below else ladder[0]
