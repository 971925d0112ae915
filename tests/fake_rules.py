"""OpenAI's rules for the fields of a creating call (October 2026), and the looser ones of its imitators."""

import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from tests.fake_verbs import Request

Rule = Callable[[Any], bool]


def one_of(*values: str) -> Rule:
    return lambda value: isinstance(value, str) and value in values


def whole(least: int, most: int) -> Rule:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def text(least: int, most: int) -> Rule:
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def size_rule(value: Any) -> bool:
    """Edges in steps of 16 up to 3,840 px, 1:3 to 3:1, 655,360 to 8,294,400 px."""
    if value == "auto":
        return True
    width, height = (int(part) for part in str(value).split("x"))
    fits = not (width % 16 or height % 16) and max(width, height) <= 3840
    return fits and max(width, height) <= 3 * min(width, height) and 655_360 <= width * height <= 8_294_400


RULES: dict[str, Rule] = {
    "model": text(1, 100),
    "prompt": text(1, 32_000),
    "n": whole(1, 10),
    "size": size_rule,
    "quality": one_of("auto", "low", "medium", "high", "xhigh", "max"),
    "background": one_of("auto", "opaque", "transparent"),
    "output_format": one_of("png", "jpeg", "webp"),
    "output_compression": whole(0, 100),
    "moderation": one_of("auto", "low"),
    "safety_identifier": text(1, 128),
    "complexity": one_of("low", "medium", "high"),
    "stream": lambda value: value in (True, "true"),
    "partial_images": whole(0, 3),
}
COMPATIBLE_RULES: dict[str, Rule] = {
    "size": lambda value: all(16 <= int(part) <= 4096 for part in str(value).split("x")),
    "response_format": one_of("b64_json"),
    "seed": whole(-1, 2**63 - 1),
    "negative_prompt": text(0, 32_000),
    "num_inference_steps": whole(1, 200),
    "guidance_scale": lambda value: isinstance(value, int | float) and 0 <= value <= 20,
}
EDITS = "/v1/images/edits"
PLACES = ("/v1/images/generations", EDITS)


def find_violation(request: Request, rules: dict[str, Rule]) -> str | None:
    """What is wrong with a creating call, in words; None when nothing is."""
    if request.path not in PLACES:
        return f"no such place: {request.path}"
    if request.path == EDITS:
        if not request.is_form:
            return "an edit that is no form"
        if wrong := find_wrong_files(request.files):
            return wrong
    elif request.headers.get("content-type") != "application/json":
        return "not sent as JSON"
    body = request.body
    if missing := {"model", "prompt"} - body.keys():
        return f"missing: {sorted(missing)}"
    if "output_compression" in body and body.get("output_format") not in ("jpeg", "webp"):
        return "output_compression without jpeg or webp"
    if body.get("background") == "transparent" and body.get("output_format") == "jpeg":
        return "transparent jpeg"
    if "partial_images" in body and "stream" not in body:
        return "previews without a stream"
    wrong = [name for name, value in body.items() if name not in rules or not rules[name](value)]
    return f"unknown or invalid: {wrong}" if wrong else None


def find_wrong_files(files: list[tuple[str, bytes]]) -> str | None:
    """1 to 16 images in parts named image or image[], at most one mask, a PNG with alpha of the first image's size."""
    images = [data for name, data in files if name in ("image", "image[]")]
    masks = [data for name, data in files if name == "mask"]
    if not 1 <= len(images) <= 16 or len(masks) > 1 or len(images) + len(masks) < len(files):
        return f"wrong files: {[name for name, _ in files]}"
    opened = [Image.open(io.BytesIO(data)) for data in (*images, *masks)]
    if wrong := [image.format for image in opened if image.format not in ("PNG", "JPEG", "WEBP")]:
        return f"formats: {wrong}"
    if masks and (opened[-1].format, opened[-1].mode, opened[-1].size) != ("PNG", "RGBA", opened[0].size):
        return f"a mask that is {opened[-1].format} {opened[-1].mode} {opened[-1].size}"
    return None
