"""The sandbox: draws pictures itself, costs nothing, and fails on request. Needs no network and no key."""

import asyncio
from typing import TYPE_CHECKING

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
from imagegate.providers.sandbox.painting import MAX_EDGE_PX, Drawing, draw
from imagegate.providers.sandbox.script import NAME, Script, failure_for, read_script

if TYPE_CHECKING:
    from imagegate.outbound import Outbound

FORMATS = ("png", "jpeg", "webp")
GARBAGE = b"The sandbox was asked for bytes that are no image.\n"

__all__ = ["NAME", "SandboxAdapter"]


class SandboxAdapter:
    """Takes the internet's door as every adapter does, and never opens it."""

    def __init__(self, outbound: "Outbound", pool: WorkPool) -> None:
        self._pool = pool

    async def generate(self, call: ProviderCall) -> ProviderResult:
        script = read_script(call.prompt)
        drawings = write_drawings(call, script)
        if script.slow_s:
            await asyncio.sleep(min(script.slow_s, call.deadline_s))
        await play(script, call.deadline_s)
        if script.ending == "garbage":
            return ProviderResult(images=tuple(ProviderImage(data=GARBAGE) for _ in drawings))
        try:
            pictures = await asyncio.gather(*(self._pool.run(draw, drawing) for drawing in drawings))
        except Overloaded:
            raise RefusedUnbilled(NAME, "has too many pictures to draw", busy=True) from None
        return ProviderResult(images=tuple(ProviderImage(data=picture) for picture in pictures))


def write_drawings(call: ProviderCall, script: Script) -> list[Drawing]:
    """Our call in the painter's words. Raises ProviderRejected."""
    if (
        not 1
        <= min(call.size.width_px, call.size.height_px)
        <= max(call.size.width_px, call.size.height_px)
        <= MAX_EDGE_PX
    ):
        raise ProviderRejected(NAME, f"draws edges of 1 to {MAX_EDGE_PX} px only", param="size")
    form = call.format or "png"
    if form not in FORMATS:
        raise ProviderRejected(NAME, f"makes {', '.join(FORMATS)} only", param="output_format")
    compression = call.fields.get("output_compression")
    quality = 90 if compression is None else max(0, min(100, int(compression)))
    transparent = call.fields.get("background") == "transparent"
    count = call.n if script.partial is None else min(script.partial, call.n)
    return [
        Drawing(script.prompt, i, call.size, call.fields.get("seed"), form, quality, transparent)
        for i in range(count)
    ]


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
