"""Work in a child process: whatever becomes of the child, one work fails and the next one does not."""

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import psutil
import pytest

from imagegate.errors import Overloaded
from imagegate.pool import Bounds, Unworkable, WorkPool

TOO_MUCH = "cannot be decoded within this gateway's limits"


@pytest.fixture
def pool() -> Iterator[WorkPool]:
    pool = WorkPool(threads=1, bounds=Bounds(cpu_s=1, patience_s=5))
    yield pool
    pool.close()


def children() -> set[psutil.Process]:
    return {c for c in psutil.Process().children() if "imagegate.pool.child" in " ".join(c.cmdline())}


async def test_long_bytes_go_there_and_come_back(pool: WorkPool) -> None:
    data = os.urandom(5_000_000)

    assert await pool.apart(bytes.join, b"", [data, data]) == data + data


async def test_the_text_of_a_refusal_comes_back_and_that_of_a_bug_does_not(pool: WorkPool) -> None:
    with pytest.raises(Unworkable, match="non-hexadecimal"):
        await pool.apart(bytes.fromhex, "zz")
    with pytest.raises(Unworkable, match=r"^cannot be decoded$"):
        await pool.apart(os.readlink, b"/nowhere")  # type: ignore[arg-type]


async def test_a_crash_costs_the_work_that_crashes_only(pool: WorkPool) -> None:
    crash = pool.apart(ctypes.string_at, 8)
    others = [pool.apart(os.urandom, 100) for _ in range(10)]

    ends = await asyncio.gather(crash, *others, return_exceptions=True)

    assert isinstance(ends[0], Unworkable)
    assert str(ends[0]) == TOO_MUCH
    assert [len(end) for end in ends[1:] if isinstance(end, bytes)] == [100] * 10


async def test_a_child_that_was_killed_meanwhile_is_replaced_unnoticed(pool: WorkPool) -> None:
    before = children()
    await pool.apart(os.urandom, 1)
    (child,) = children() - before

    child.send_signal(signal.SIGKILL)
    child.wait(5)

    assert len(await pool.apart(os.urandom, 7)) == 7
    assert child not in children()


async def test_a_work_that_waits_for_ever_is_left(pool: WorkPool) -> None:
    impatient = WorkPool(threads=1, bounds=Bounds(patience_s=0.5))
    try:
        with pytest.raises(Unworkable, match=TOO_MUCH):
            await impatient.apart(time.sleep, 60)  # type: ignore[arg-type]
    finally:
        impatient.close()


async def test_the_childs_environment_holds_nothing_of_ours(
    pool: WorkPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEGATE_SECRET", "a secret")

    told = await pool.apart(subprocess.check_output, ["/usr/bin/env"])

    assert b"MALLOC_ARENA_MAX" in told
    assert b"IMAGEGATE" not in told


async def test_a_child_writes_no_files(pool: WorkPool, tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(Unworkable):
        await pool.apart(
            subprocess.check_output, ["/bin/sh", "-c", f"echo x > {tmp_path}/made && cat {tmp_path}/made"]
        )


async def test_too_much_that_waits_is_shed() -> None:
    pool = WorkPool(threads=1, queue=0)
    try:
        ends = await asyncio.gather(*(pool.apart(os.urandom, 1) for _ in range(5)), return_exceptions=True)
    finally:
        pool.close()

    assert sum(isinstance(end, Overloaded) for end in ends) == 3


async def test_a_closed_pool_leaves_no_child() -> None:
    before, pool = children(), WorkPool(threads=1)
    await pool.apart(os.urandom, 1)
    assert len(children() - before) == 1

    pool.close()

    assert children() - before == set()
