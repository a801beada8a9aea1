"""How often an interval leaves out 0 though there is no difference: `bootstrap_mean` on drawn sets of scenes, by number
of scenes. The nominal rate is 5%; `bootstrap.MIN_SCENES` follows from this table.

    python benchmarks/interval_coverage.py
"""

import argparse

import numpy as np
import pandas as pd

from wildrayzer.evaluation.metrics.bootstrap import MIN_SCENES, bootstrap_mean

DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "Laplace": lambda rng, n: rng.laplace(size=n),
    "Student's t, 3": lambda rng, n: rng.standard_t(3, n),
    "exponential": lambda rng, n: rng.exponential(size=n) - 1,
}
"""Means of scenes, whose own mean is 0."""


def wrong_share(name: str, scenes: int, sets: int, resamples: int) -> float:
    """Share of sets whose 95% interval leaves out 0."""
    rng, labels = np.random.default_rng(0), pd.Series(range(scenes))
    wrong = 0
    for _ in range(sets):
        values = pd.Series(DISTRIBUTIONS[name](rng, scenes))
        found = bootstrap_mean(values, labels, resamples=resamples, seed=0)
        wrong += found.low > 0 or found.high < 0
    return wrong / sets


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    sizes = (2, 5, 10, MIN_SCENES, 48)
    rows = [
        [f"{wrong_share(name, size, options.sets, options.resamples):.1%}" for size in sizes] for name in DISTRIBUTIONS
    ]
    print(pd.DataFrame(rows, list(DISTRIBUTIONS), [f"{size} scenes" for size in sizes]).to_markdown())


if __name__ == "__main__":
    main()
