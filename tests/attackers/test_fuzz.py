"""What reads strangers' bytes takes any of them: the seeds and some thousand of their neighbours in every run.

A minute each under a fuzzer that sees which code it reaches: `make long`.
"""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attackers.fuzz_targets import TARGETS, run_within

ROOT = Path(__file__).parents[2]
NEIGHBOURS = 60
"""Of each seed."""
FUZZED_S = 60


def neighbours(seed: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, taken out, doubled or moved."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(data) + 1), chance.randrange(1, 9)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                other = chance.randrange(len(data) + 1)
                data[at : at + length] = data[other : other + length]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_and_their_neighbours_are_read_or_refused(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)
    seeds = list(target.seeds())

    for seed in [*seeds, b"", b"\0", b"\xff" * 300]:
        run_within(target, seed)
    for seed in seeds:
        for _ in range(NEIGHBOURS):
            run_within(target, neighbours(seed, chance))


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
def test_a_minute_of_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has wheels for Linux on x86-64 alone")

    done = subprocess.run(
        [sys.executable, "-m", "tests.attackers.fuzz_run", name, str(FUZZED_S), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=FUZZED_S * 3,
    )

    found = [path.read_bytes() for path in tmp_path.glob("crash-*")]
    assert (done.returncode, found) == (0, []), done.stderr[-3000:]
