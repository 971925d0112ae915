"""Files that are made to hurt: refused by their headers, or decoded apart, within a bound of memory and CPU time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time, thread_time

import psutil
import pytest

from imagegate.media import images
from imagegate.media.formats import NotAnImage
from imagegate.media.images import ImageTooLarge, probe
from imagegate.pool import Bounds, Unworkable, WorkPool
from tests.media import bombs

MB = 1024 * 1024
SWELLING, TOO_LARGE, ENDLESS = bombs.swelling(), bombs.too_large(), bombs.endless()
HUGE_MB, HUGE_CPU_S = 1000, 8.0


@contextmanager
def pool_of(bounds: Bounds | None = None) -> Iterator[WorkPool]:
    pool = WorkPool(threads=1, bounds=bounds)
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture
def pool() -> Iterator[WorkPool]:
    with pool_of() as pool:
        yield pool


def children() -> set[psutil.Process]:
    """Of this process: those that decode."""
    return {c for c in psutil.Process().children() if "imagegate.pool.child" in " ".join(c.cmdline())}


@pytest.fixture
def before() -> set[psutil.Process]:
    """Other tests' children."""
    return children()


def most_mb(process: psutil.Process) -> int:
    """The most memory that a process ever had."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_is_too_large_is_refused_by_its_header(name: str) -> None:
    with pytest.raises(ImageTooLarge):
        probe(TOO_LARGE[name])


def test_forty_megapixels_and_fifty_megabytes_are_taken() -> None:
    whole = bombs.png(8000, 5000, bits=1, colour=0)

    assert probe(whole.ljust(50 * MB, b"\0")).size.area_px == 40_000_000


@pytest.mark.parametrize("name", ENDLESS)
def test_headers_without_end_are_left_early(name: str) -> None:
    started = thread_time()
    with pytest.raises(NotAnImage):
        probe(ENDLESS[name])

    assert thread_time() - started < 3  # walked to their ends, they would take ten and more


async def test_what_swells_stays_small(pool: WorkPool, before: set[psutil.Process]) -> None:
    """All in one child, one after the other: at the end it has never had more than 200 MB."""
    ends: dict[str, str] = {}
    for name, data in SWELLING.items():
        try:
            probe(data)
            made = await pool.apart(images.convert, data, format="jpeg", compression=50)
            ends[name] = probe(made).format
        except (NotAnImage, Unworkable) as error:
            ends[name] = str(error)

    (child,) = children() - before
    assert most_mb(child) < 200
    assert cpu_s(child) < 8
    assert {name for name, end in ends.items() if end == "jpeg"} >= {
        "gif of 10,000 frames",
        "webp of 500 frames",
        "avif of 50 frames",
        "jpeg of 20 scans",
    }
    refused = {name: end for name, end in ends.items() if end != "jpeg"}
    assert all("png image that" in end for end in refused.values())
    assert "png with a second, huge header" in refused


async def test_a_picture_that_takes_too_long_is_ended_and_the_next_one_is_not() -> None:
    scans = bombs.jpeg_of_scans(2000, 2000, 3000)
    assert len(scans) < 300_000

    with pool_of(Bounds(cpu_s=1)) as pool:
        started = process_time()
        with pytest.raises(Unworkable, match="within this gateway's limits"):
            await pool.apart(images.convert, scans, format="png")
        here_s = process_time() - started
        made = await pool.apart(images.convert, SWELLING["gif of 10,000 frames"], format="png")

    assert probe(made).format == "png"
    assert here_s < 1


async def test_a_picture_that_takes_too_much_room_is_refused_alone(before: set[psutil.Process]) -> None:
    with pool_of(Bounds(room_bytes=200 * MB)) as pool:
        with pytest.raises(Unworkable):
            await pool.apart(images.convert, bombs.png(8000, 5000, bits=1, colour=0), format="jpeg")
        (child,) = children() - before
        peak = most_mb(child)
        made = await pool.apart(images.convert, bombs.png(64, 64), format="jpeg")

    assert peak <= 200
    assert probe(made).format == "jpeg"


@pytest.mark.long
@pytest.mark.parametrize("name", bombs.HUGE)
async def test_the_largest_pictures_have_room_and_time_enough(
    pool: WorkPool, before: set[psutil.Process], name: str
) -> None:
    data = bombs.HUGE[name]()
    kind = "jpeg" if images.probe(data).format == "png" else "png"

    made = await pool.apart(images.convert, data, format=kind)

    (child,) = children() - before
    print(f"{name}: {len(data)} bytes, {most_mb(child)} MB, {cpu_s(child):.1f} s of CPU")
    assert probe(made).size.area_px == 40_000_000
    assert most_mb(child) < HUGE_MB
    assert cpu_s(child) < HUGE_CPU_S


@pytest.mark.long
async def test_thousands_of_scans_end_with_the_time_that_one_picture_has(pool: WorkPool) -> None:
    with pytest.raises(Unworkable, match="within this gateway's limits"):
        await pool.apart(images.convert, bombs.jpeg_of_scans(8000, 5000, 2000), format="png")
