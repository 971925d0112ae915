"""Previews: the same scene in few pixels, one after the other while the sandbox waits as it was told."""

import asyncio
from dataclasses import replace

import pybase64

from imagegate.domain import Preview, ProviderCall, Size
from imagegate.pool import WorkPool
from imagegate.providers.sandbox.painting import Drawing, draw

SMALLEST_PX = 32


async def show_sketches(call: ProviderCall, drawing: Drawing, wait_s: float, pool: WorkPool) -> None:
    """Show what was asked for, spread over `wait_s` seconds. Raises Overloaded."""
    for index in range(call.previews):
        await asyncio.sleep(wait_s / (call.previews + 1))
        small = replace(drawing, size=sketch_size(drawing.size, call.previews - index))
        picture = await pool.run(draw, small)
        background = "transparent" if drawing.transparent else "opaque"
        said = {"background": background, "output_format": drawing.format}
        await call.preview(Preview(index, pybase64.b64encode(picture), str(small.size), **said))
    await asyncio.sleep(wait_s / (call.previews + 1))


def sketch_size(size: Size, steps: int) -> Size:
    """Half as wide with every step that is still to come, and half as high."""
    return Size(*(max(min(edge, SMALLEST_PX), edge >> steps) for edge in (size.width_px, size.height_px)))
