"""What a model makes of every parameter, found by fitting one request a value: it cannot differ from planning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagegate.domain import GenerationRequest, InputImage, Model, Offering, Size
from imagegate.errors import InvalidRequest
from imagegate.generation import fitting, sizing
from imagegate.generation.fitting import LADDER

RATIOS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "21:9")
RESOLUTIONS = ("1K", "2K", "4K")
FORMATS = ("png", "jpeg", "webp", "avif", "gif")
THINKING = ("off", "on", "minimal", "low", "medium", "high", "xhigh")
MOST_LISTED = 40
PICTURE = InputImage(data=b"", format="png", size=Size(1024, 1024))


@dataclass(frozen=True, slots=True)
class Probe:
    """One value of one parameter, and the request fields that say it."""

    name: str
    value: str
    said: dict[str, Any] = field(default_factory=dict)


def describe(model: Model, offerings: Sequence[Offering]) -> dict[str, dict[str, Any]]:
    """By parameter: limits of the model, and under `treatment` by provider what becomes of it.

    A treatment is one word where it is the same for every value, else a word for each value: passed, renamed,
    converted, emulated, ignored, or refused (an error).
    """
    found: dict[str, dict[str, Any]] = {}
    for offering in offerings:
        for name, treated in treatments(model, offering).items():
            words = set(treated.values())
            told = treated if len(words) > 1 else words.pop()
            found.setdefault(name, {"treatment": {}})["treatment"][offering.provider] = told
    for name, limits in limits_of(model, offerings).items():
        if name in found:
            found[name] = {**limits, **found[name]}
    return found


def treatments(model: Model, offering: Offering) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for probe in probes(model, offering):
        found.setdefault(probe.name, {})[probe.value] = treatment(model, offering, probe)
    return found


def treatment(model: Model, offering: Offering, probe: Probe) -> str:
    request = GenerationRequest(**{"prompt": "A red fox in snow", **usual(offering), **probe.said})
    size = sizing.asked_size(request, model, fitting.tier_of(model, request))
    try:
        if fitting.lack(request, offering) is not None:
            return "refused"
        quality = fitting.resolve_quality(model, request.quality)
        receipts = fitting.fit(request, model, offering, size, quality).receipts
    except InvalidRequest:
        return "refused"
    return next((r.treatment for r in receipts if r.name == probe.name), "passed")


def usual(offering: Offering) -> dict[str, Any]:
    """What a request brings at least: a picture where the offering only edits, and a mask where it only redraws."""
    operations = offering.features.get("operations", ("generate",))
    if "generate" in operations:
        return {}
    return {"images": (PICTURE,)} if "edit" in operations else {"images": (PICTURE,), "mask": PICTURE}


def probes(model: Model, offering: Offering) -> Iterator[Probe]:
    features = offering.features
    yield from (Probe("n", str(n), {"n": n}) for n in (1, 2, 4, 10))
    yield from (Probe("size", str(size), {"size": size}) for size in model.sizes[:MOST_LISTED])
    yield from (Probe("aspect_ratio", ratio, {"aspect": ratio}) for ratio in RATIOS)
    yield from (Probe("resolution", tier, {"resolution": tier}) for tier in RESOLUTIONS)
    yield from (Probe("quality", word, {"quality": word}) for word in LADDER)
    yield from (
        Probe("style", word, {"style": word}) for word in features.get("styles", ("vivid",))[:MOST_LISTED]
    )
    yield from (Probe("output_format", kind, {"output_format": kind}) for kind in FORMATS)
    for kind in ("jpeg", "webp", "avif"):
        yield Probe("output_compression", kind, {"output_format": kind, "output_compression": 80})
    for ground in ("opaque", "transparent"):
        yield Probe("background", ground, {"background": ground})
    yield Probe("moderation", "low", {"moderation": "low"})
    yield Probe("seed", "1", {"seed": 1})
    yield Probe("negative_prompt", "text", {"negative_prompt": "blurry"})
    for name in ("steps", "guidance"):
        bounds = features.get(name)
        inside = bounds[1] if isinstance(bounds, list | tuple) else 4
        yield Probe(name, str(inside), {name: inside})
    yield from (Probe("thinking", word, {"thinking": word}) for word in THINKING)
    for word, value in (("on", True), ("off", False)):
        yield Probe("prompt_enhancement", word, {"prompt_enhancement": value})
    yield Probe("image", "one", {"images": (PICTURE,)})
    yield Probe("image", "several", {"images": (PICTURE, PICTURE)})
    yield Probe("mask", "mask", {"images": (PICTURE,), "mask": PICTURE})
    for kind in ("url", "b64_json"):
        yield Probe("response_format", kind, {"response_format": kind})
    yield Probe("user", "text", {"user": "u-1"})
    yield Probe("partial_images", "2", {"partial_images": 2})
    yield from (Probe(name, "any", {"extras": {name: True}}) for name in sorted(offering.passes))


def limits_of(model: Model, offerings: Sequence[Offering]) -> dict[str, dict[str, Any]]:
    """What is narrower for this model than for the parameter as such."""
    features = [offering.features for offering in offerings]
    inputs = [most for f in features if isinstance(most := f.get("max_input_images"), int)]
    limits: dict[str, dict[str, Any]] = {
        "size": {"listed": [str(size) for size in model.sizes], "default": str(model.default_size)},
        "quality": {"enum": ["auto", *qualities_of(model, offerings)], "default": model.default_quality},
        "image": {"max_items": max(inputs, default=0)},
        "thinking": {"enum": listed(features, "thinking")},
        "style": {"enum": listed(features, "styles")},
    }
    for name in ("steps", "guidance"):
        if ranges := [f[name] for f in features if isinstance(f.get(name), list | tuple)]:
            limits[name] = {"minimum": min(r[0] for r in ranges), "maximum": max(r[1] for r in ranges)}
    return {
        name: {k: v for k, v in of.items() if v not in (None, [], ["auto"])} for name, of in limits.items()
    }


def qualities_of(model: Model, offerings: Sequence[Offering]) -> list[str]:
    stepped = (word for offering in offerings for word in offering.features.get("quality_steps", ()))
    known = set(model.qualities or model.quality_tiers or stepped)
    return [word for word in LADDER if word in known]


def listed(features: Sequence[Any], name: str) -> list[str]:
    return list(dict.fromkeys(word for f in features for word in f.get(name, ())))
