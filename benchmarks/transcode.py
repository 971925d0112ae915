"""Images from one format into another, and what that does to the event loop.

    python -m benchmarks.transcode                # about half a minute

A picture of 1024 x 1024 as PNG, smooth as it is painted and with the noise of a photograph, becomes each format in one
thread: CPU time of that thread, median, so that a busy machine changes little. Then 16 pictures wait for the pool at
once while a task on the event loop asks for its turn every millisecond: the longest it was kept waiting.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from time import perf_counter, thread_time

import uvloop
from PIL import Image, ImageChops

from benchmarks.machine import cpu_model, describe_machine, installed
from imagegate.domain import Size
from imagegate.media import images
from imagegate.media.masks import convert_mask
from imagegate.pool import WorkPool
from imagegate.providers.sandbox.painting import Drawing, draw

FORMATS = ("webp", "jpeg", "avif", "gif", "png")
SIDE_PX = 1024
LARGE_PX = 2048
NOISE = 4.0
"""Makes a PNG of the size that models send: 1.5 to 2 MB."""
WAITING = 16
TURNS = 15
Samples = dict[str, bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure conversions and the event loop's longest wait.")
    parser.add_argument("--turns", type=int, default=TURNS, help="of every conversion")
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        machine = describe_machine(Path(folder))
    print(
        f"{cpu_model()}, {machine['kernel']}, Python {sys.version.split()[0]}, {', '.join(installed(['pillow']))}"
    )
    print(f"load average before: {os.getloadavg()[0]:.2f}; medians of {turns} turns\n")
    pictures = samples(SIDE_PX)
    print_conversions(pictures, turns)
    print_waits(pictures)


def samples(side_px: int) -> Samples:
    size = Size(side_px, side_px)
    painted = draw(Drawing("a lighthouse at dusk by the sea", 0, size))
    image = images.decode(painted, images.probe(painted))
    noisy = with_noise(image)
    clear = noisy.copy()
    clear.putalpha(Image.radial_gradient("L").resize(clear.size).point(lambda value: 255 - value))
    return {"painted": painted, "noisy": as_png(noisy), "noisy, transparent": as_png(clear)}


def with_noise(image: Image.Image) -> Image.Image:
    grains = (Image.effect_noise(image.size, NOISE) for _ in range(3))
    mixed = (ImageChops.add(c, g, 1, -128) for c, g in zip(image.split(), grains, strict=True))
    return Image.merge("RGB", list(mixed))


def as_png(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def print_conversions(pictures: Samples, turns: int) -> None:
    print(f"{'from PNG, 1 megapixel':34}{'CPU ms':>8}{'KB in':>8}{'KB out':>8}")
    for name, data in pictures.items():
        for kind in FORMATS:
            # The same size and format would be no work at all: PNG is measured by halving the picture.
            size = Size(SIDE_PX // 2, SIDE_PX // 2) if kind == "png" else None
            told = f"{name} → {kind}{' at a quarter' if size else ''}"
            print_row(told, data, partial(images.convert, data, size=size, format=kind), turns)
        print_row(f"{name} → png, nothing to do", data, partial(images.convert, data, format="png"), turns)
    mask = pictures["noisy, transparent"]
    print_row("mask, alpha → white", mask, partial(convert_mask, mask, "white"), turns)
    print()


def print_row(name: str, data: bytes, work: Callable[[], bytes], turns: int) -> None:
    times_ms = []
    for _ in range(turns):
        started = thread_time()
        made = work()
        times_ms.append(1000 * (thread_time() - started))
    print(f"{name:34}{statistics.median(times_ms):8.1f}{len(data) / 1024:8.0f}{len(made) / 1024:8.0f}")


def print_waits(pictures: Samples) -> None:
    large = samples(LARGE_PX)["noisy"]
    threads = max(2, os.cpu_count() or 1)
    print(
        f"{f'{WAITING} at once, {threads} threads':34}{'longest wait of the loop, ms':>30}{'all done in s':>16}"
    )
    idle_ms, _ = uvloop.run(wait_beside(None, "", threads))
    print(f"{'nothing':34}{idle_ms:30.1f}")
    for kind in FORMATS:
        for name, data in (("1 MP", pictures["noisy"]), ("4 MP", large)):
            if kind == "avif" and data is large:
                continue  # above the limit of AVIF: nothing would be done
            longest_ms, took_s = uvloop.run(wait_beside(data, kind, threads))
            print(f"{f'noisy, {name} → {kind}':34}{longest_ms:30.1f}{took_s:16.2f}")


async def wait_beside(data: bytes | None, kind: str, threads: int) -> tuple[float, float]:
    """The loop's longest wait in milliseconds, and the seconds until all are done; without data half a second."""
    pool = WorkPool(threads=threads)
    waits_ms: list[float] = []
    watching = asyncio.create_task(watch(waits_ms))
    started = perf_counter()
    if data is None:
        await asyncio.sleep(0.5)
    else:
        size = Size(SIDE_PX // 2, SIDE_PX // 2) if kind == "png" else None
        work = [pool.run(images.convert, data, size=size, format=kind) for _ in range(WAITING)]
        await asyncio.gather(*work)
    took_s = perf_counter() - started
    watching.cancel()
    pool.close()
    return max(waits_ms), took_s


async def watch(waits_ms: list[float]) -> None:
    while True:
        asked = perf_counter()
        await asyncio.sleep(0.001)
        waits_ms.append(1000 * (perf_counter() - asked) - 1)


if __name__ == "__main__":
    main()
