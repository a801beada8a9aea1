"""`python -m tests.fuzz --mutations N --seed S`: mutate inputs of every kind; exit code 1 if a fault is found."""

import argparse
import sys
from pathlib import Path

from tests.fuzz.harness import run


def main() -> int:
    """Run, print the table and the faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutations", type=int, help="stop after so many; without limit unless --seconds is given")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the names of the subjects to take")
    parser.add_argument("--keep", type=Path, help="folder for the files of faults")
    chosen = parser.parse_args()
    tally = run(
        mutations=chosen.mutations, seconds=chosen.seconds, seed=chosen.seed, only=chosen.only, keep=chosen.keep
    )
    sys.stdout.write(f"{tally}\n{tally.mutations} mutations, {len(tally.faults)} faults\n")
    for fault in tally.faults[:20]:
        sys.stdout.write(f"\n{fault}\n")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
