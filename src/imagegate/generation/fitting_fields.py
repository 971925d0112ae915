"""Fits what a model is told beside the prompt: each goes to the provider where it takes it, and is reported."""

from collections.abc import Mapping
from typing import Any

from imagegate.domain import GenerationRequest, Offering
from imagegate.generation.receipts import Receipts

THOUGHTFUL = ("high", "medium", "low", "xhigh", "minimal")
"""What `on` means: the first of these that the model knows."""
LABELS = ("session_id", "metadata")
"""Fields by which callers find their requests again."""
KEPT = "kept with the generation only"


def fit_fields(
    request: GenerationRequest, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    """Raises InvalidRequest in strict mode."""
    _featured("seed", request.seed, offering, fields, receipts)
    _featured("negative_prompt", request.negative_prompt, offering, fields, receipts)
    _ranged("steps", request.steps, offering, fields, receipts)
    _ranged("guidance", request.guidance, offering, fields, receipts)
    _style(request, offering, fields, receipts)
    _thinking(request, offering, fields, receipts)
    _prompt_enhancement(request, offering, fields, receipts)
    _safety(request, offering, fields, receipts)
    if request.response_format is not None:
        receipts.add("response_format", "emulated", "the gateway stores and links every image")
    for name, value in request.extras.items():
        if name in offering.passes:
            fields[name] = value
            receipts.add(name, "passed")
        elif name in LABELS:
            receipts.add(name, "ignored", KEPT)
        else:
            receipts.drop(name, "unknown to this model", code="unknown_parameter")


def _featured(
    name: str, value: object, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    if value is None:
        return
    if offering.features.get(name):
        fields[name] = value
        receipts.add(name, "passed")
    else:
        receipts.drop(name, f"{offering.provider} takes none for this model")


def _ranged(
    name: str, value: float | None, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    bounds = offering.features.get(name)
    if value is None or not isinstance(bounds, list | tuple):
        _featured(name, value, offering, fields, receipts)
        return
    least, most = bounds
    near = min(max(value, least), most)
    fields[name] = near
    if near == value:
        receipts.add(name, "passed")
    else:
        receipts.convert(
            name, f"{value:g} → {near:g}, the nearest that this model takes", code="invalid_value"
        )


def _style(
    request: GenerationRequest, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    if request.style is None:
        return
    known: Mapping[str, str] = {word.casefold(): word for word in offering.features.get("styles", ())}
    if offering.features.get("style"):
        fields["style"] = request.style
        receipts.add("style", "passed")
    elif (named := known.get(request.style.casefold())) is not None:
        fields["style"] = named
        receipts.add("style", "passed")
    elif known:
        receipts.drop("style", f"this model knows {', '.join(sorted(known.values())[:40])}")
    else:
        receipts.drop("style", "this model takes none")


def _thinking(
    request: GenerationRequest, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    asked, known = request.thinking, offering.features.get("thinking", ())
    if asked is None:
        return
    if asked in known:
        fields["thinking"] = asked
        receipts.add("thinking", "passed")
    elif known:
        meant = next(word for word in (*THOUGHTFUL, *known) if word in known)
        fields["thinking"] = meant
        receipts.add("thinking", "converted", f"{asked} → {meant}")
    else:
        receipts.add("thinking", "emulated", "this model never does")


def _prompt_enhancement(
    request: GenerationRequest, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    asked, how = request.prompt_enhancement, offering.features.get("prompt_enhancement")
    if asked is None:
        return
    if how == "always":
        if asked:
            receipts.add("prompt_enhancement", "emulated", "this model always does")
        else:
            receipts.drop("prompt_enhancement", "this model always rewrites its prompts")
    elif how:
        fields["prompt_enhancement"] = asked
        receipts.add("prompt_enhancement", "passed")
    elif asked:
        receipts.drop("prompt_enhancement", "this model never rewrites its prompts")
    else:
        receipts.add("prompt_enhancement", "emulated", "this model never does")


def _safety(
    request: GenerationRequest, offering: Offering, fields: dict[str, Any], receipts: Receipts
) -> None:
    if request.moderation is not None:
        if "moderation" in offering.passes:
            fields["moderation"] = request.moderation
            receipts.add("moderation", "passed")
        else:
            receipts.drop("moderation", f"{offering.provider} has no such setting")
    if request.user is not None:
        if "safety_identifier" in offering.passes or "user" in offering.passes:
            fields["user"] = request.user
            receipts.add("user", "renamed", "sent upstream only as a hash")
        else:
            receipts.add("user", "ignored", KEPT)
