"""The sandbox: draws pictures itself, costs nothing, and fails on request. Needs no network and no key."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from zlib import crc32

from imagegate.domain import ProviderCall, ProviderImage, ProviderResult
from imagegate.errors import (
    Ambiguous,
    BilledInvalid,
    ContentRejected,
    Overloaded,
    ProviderRejected,
    RefusedUnbilled,
)
from imagegate.pool import WorkPool
from imagegate.providers.sandbox.looks import Look
from imagegate.providers.sandbox.painting import MAX_EDGE_PX, Drawing, draw
from imagegate.providers.sandbox.script import NAME, Script, failure_for, read_script
from imagegate.providers.sandbox.sketching import show_sketches

if TYPE_CHECKING:
    from imagegate.outbound import Outbound

FORMATS = ("png", "jpeg", "webp")
ADDED = ("at sunrise", "at sunset", "at dusk", "under the stars", "in the fog", "in golden light", "at noon")
"""What an enhanced prompt says besides."""
GARBAGE = b"The sandbox was asked for bytes that are no image.\n"

__all__ = ["NAME", "SandboxAdapter"]


class SandboxAdapter:
    """Takes the internet's door as every adapter does, and never opens it."""

    def __init__(self, outbound: "Outbound", pool: WorkPool) -> None:
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        script = read_script(call.prompt)
        if call.fields.get("prompt_enhancement"):
            script = replace(script, prompt=enhanced(script.prompt))
        drawings = write_drawings(call, script)
        wait_s = min(script.slow_s, call.deadline_s)
        if call.previews and drawings:
            await self._show(call, drawings[0], wait_s)
        elif wait_s:
            await asyncio.sleep(wait_s)
        await play(script, call.deadline_s)
        if script.ending == "garbage":
            return ProviderResult(images=tuple(ProviderImage(data=GARBAGE) for _ in drawings))
        try:
            work = self._pool.apart if call.images else self._pool.run  # what strangers sent is read apart
            pictures = await asyncio.gather(*(work(draw, drawing) for drawing in drawings))
        except Overloaded:
            raise RefusedUnbilled(NAME, "has too many pictures to draw", busy=True) from None
        except (OSError, ValueError):
            detail = "cannot read one of the pictures to work from. Send another one."
            raise ProviderRejected(NAME, detail, param="image", code="invalid_image") from None
        revised = script.prompt if call.fields.get("prompt_enhancement") else None
        return ProviderResult(
            images=tuple(ProviderImage(data=picture, revised_prompt=revised) for picture in pictures)
        )

    async def _show(self, call: ProviderCall, drawing: Drawing, wait_s: float) -> None:
        try:
            await show_sketches(call, drawing, wait_s, self._pool)
        except Overloaded:
            raise RefusedUnbilled(NAME, "has too many pictures to draw", busy=True) from None


def enhanced(prompt: str) -> str:
    """The prompt with an hour or a weather added, always the same for the same prompt."""
    return f"{prompt}, {ADDED[crc32(prompt.encode('utf-8', 'surrogatepass')) % len(ADDED)]}"


def write_drawings(call: ProviderCall, script: Script) -> list[Drawing]:
    """Our call in the painter's words. Raises ProviderRejected."""
    edges = (call.size.width_px, call.size.height_px)
    if not 1 <= min(edges) <= max(edges) <= MAX_EDGE_PX:
        raise ProviderRejected(NAME, f"draws edges of 1 to {MAX_EDGE_PX} px only", param="size")
    form = call.format or "png"
    if form not in FORMATS:
        raise ProviderRejected(NAME, f"makes {', '.join(FORMATS)} only", param="output_format")
    said = call.fields
    compression = said.get("output_compression")
    first = Drawing(
        script.prompt,
        0,
        call.size,
        said.get("seed"),
        form,
        quality=90 if compression is None else max(0, min(100, int(compression))),
        transparent=said.get("background") == "transparent",
        unwanted=said.get("negative_prompt") or "",
        thought=said.get("thinking"),
        look=Look(said.get("style"), said.get("guidance"), said.get("steps")),
        pictures=tuple(image.data for image in call.images if image.data),
        mask=call.mask.data if call.mask else None,
    )
    count = call.n if script.partial is None else min(script.partial, call.n)
    return [replace(first, index=i) for i in range(count)]


async def play(script: Script, deadline_s: float) -> None:
    """End the call as the script says, if it does. Raises what an adapter of a real provider would."""
    if script.fail is not None:
        raise failure_for(script.fail)
    match script.ending:
        case "refuse":
            raise ContentRejected("sandbox's moderation refused this prompt, as it asked", stage="input")
        case "ambiguous":
            raise Ambiguous(NAME, "closed the connection after the request was sent")
        case "hang":
            await asyncio.sleep(max(0.0, deadline_s))
            raise Ambiguous(NAME, "did not answer in time")
        case "empty":
            raise BilledInvalid(NAME, "answered without an image")
    if script.partial == 0:
        raise BilledInvalid(NAME, "answered without an image")
