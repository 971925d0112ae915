"""`python -m tests.chaos --minutes 5 --seed 7`: exits 1, naming what does not agree, and keeps the gateways' logs."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.running import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long there are faults and load")
    parser.add_argument("--seed", type=int, default=None, help="repeats the plan of an earlier run")
    said = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if said.seed is None else said.seed
    folder = Path(tempfile.mkdtemp(prefix="igx"))
    folder.chmod(0o755)
    print(f"seed {seed}, {said.minutes:g} minutes, in {folder}", flush=True)
    made = asyncio.run(run(folder, seed, said.minutes * 60))
    print(made.summary())
    for violation in made.violations:
        print(f"VIOLATION {violation}")
    if not made.violations:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print(
        f"{len(made.violations)} violations. Logs of the gateways: {folder}/logs, of PostgreSQL: {folder}/pg."
    )
    print(f"The same plan again: python -m tests.chaos --minutes {said.minutes:g} --seed {seed}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
