"""Fits format, compression and background: what the provider encodes, and what we encode afterwards."""

from typing import Any

from imagegate.domain import GenerationRequest, Offering, Output, Size
from imagegate.errors import InvalidRequest
from imagegate.generation.receipts import Receipts
from imagegate.media.images import MAX_AVIF_EDGE_PX, avif_allowed

COMPRESSED = ("jpeg", "webp", "avif")
OPAQUE = ("jpeg",)


def fit_output(
    request: GenerationRequest,
    offering: Offering,
    exact: Size | None,
    native: Size,
    resized: bool,
    fields: dict[str, Any],
    receipts: Receipts,
) -> tuple[Output, str | None]:
    """What comes out, and the format the provider is asked for.

    exact: the size that must come out; what comes is measured. resized: it is known that it will not come so.
    """
    b64 = request.response_format != "url"
    wanted = wanted_format(request, exact or native, receipts)
    compression = _compression(request, wanted, receipts)
    if wanted is None:
        return Output(size=exact, b64=b64), None
    native_here = wanted in formats_of(request, offering)
    takes = compression is None or bool(offering.features.get("output_compression"))
    if native_here and takes and not resized:
        receipts.add("output_format", "passed")
        if compression is not None:
            receipts.add("output_compression", "passed")
            fields["output_compression"] = compression
        return Output(size=exact, format=wanted, b64=b64), wanted
    receipts.add(
        "output_format",
        "passed" if native_here else "emulated",
        None if native_here else "encoded by the gateway",
    )
    if compression is not None:
        receipts.add("output_compression", "emulated", "encoded by the gateway")
    return Output(size=exact, format=wanted, compression=compression, b64=b64), None


def formats_of(request: GenerationRequest, offering: Offering) -> tuple[str, ...]:
    edited = offering.features.get("edit_formats") if request.images else None
    return offering.formats if edited is None else tuple(edited)


def wanted_format(request: GenerationRequest, size: Size, receipts: Receipts) -> str | None:
    if request.output_format != "avif" or avif_allowed(size):
        return request.output_format
    receipts.drop("output_format", f"avif goes up to {MAX_AVIF_EDGE_PX} pixels; the original format is kept")
    return None


def _compression(request: GenerationRequest, wanted: str | None, receipts: Receipts) -> int | None:
    if request.output_compression is None or wanted in COMPRESSED:
        return request.output_compression
    receipts.drop(
        "output_compression", f"it needs output_format {', '.join(COMPRESSED[:-1])} or {COMPRESSED[-1]}"
    )
    return None


def fit_background(
    request: GenerationRequest, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    asked = request.background
    if asked is None:
        return
    if asked == "transparent" and request.output_format in OPAQUE:
        raise InvalidRequest("A transparent background needs output_format png or webp.", param="background")
    if offering.features.get("transparent_background") or (
        asked != "transparent" and offering.features.get("background")
    ):
        fields["background"] = asked
        receipts.add("background", "passed")
    elif asked == "transparent":
        receipts.drop("background", f"{offering.provider} draws no transparent background with this model")
    else:
        receipts.add("background", "emulated", "this model's background is always opaque")
