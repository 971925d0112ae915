"""One target under atheris: `python -m tests.attackers.fuzz_run TARGET SECONDS FOLDER`. Exit code 0: nothing was found.

FOLDER: where inputs that reach new code are kept; one that breaks the target stands there as `crash-…`.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["imagegate.", "python_multipart"]):
    from tests.attackers.fuzz_targets import TARGETS, run_within


def main() -> None:
    name, seconds, folder = sys.argv[1:4]
    corpus = Path(folder)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    wanted = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", f"-artifact_prefix={corpus}/"]
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *wanted, str(corpus)], lambda data: run_within(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
