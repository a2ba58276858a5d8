"""Times kernel ridge regression and a support vector machine on 5,000 rows beside scikit-learn.

    python scripts/kernel_speed.py

Both solve the same problem with the same Gaussian kernel in float64, in turns; the figures are medians over the repetitions. The
support vector machine is solved to a relative duality gap of 1e-3 here and to its default tolerance there.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from sklearn.datasets import make_classification
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC

from jaxml import kernels

SIGMA = np.sqrt(10.0)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    X, y = make_classification(options.rows, 20, n_informative=10, n_clusters_per_class=4, flip_y=0.05, random_state=0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    gamma = 1 / (2 * SIGMA**2)
    kernel = kernels.Gaussian(SIGMA)
    with jax.enable_x64(True):
        ridge: dict[str, Callable[[], Any]] = {
            "jaxml": lambda: kernels.kernel_ridge(kernel, X, y * 1.0, l2=1 / len(y)).params.weight,
            "scikit-learn": lambda: KernelRidge(alpha=1.0, kernel="rbf", gamma=gamma).fit(X, y * 1.0).dual_coef_,
        }
        compare("kernel ridge", ridge, options.repetitions)
        machine: dict[str, Callable[[], Any]] = {
            "jaxml": lambda: kernels.support_vector_machine(X, y, l2=1 / len(y), kernel=kernel, tol=1e-3).gap,
            "scikit-learn": lambda: SVC(C=1.0, gamma=gamma, cache_size=1000).fit(X, y),
        }
        gap = compare("support vector machine", machine, options.repetitions)
        print(f"{'relative duality gap':24s} {float(gap):.1e}")


def compare(title: str, contestants: dict[str, Callable[[], Any]], repetitions: int) -> Any:
    """Print the median time of each, and return the answer of the first."""
    for run in contestants.values():
        jax.block_until_ready(run())  # compiles, or warms up
    times: dict[str, list[float]] = {name: [] for name in contestants}
    answers: dict[str, Any] = {}
    for _ in range(repetitions):
        for name, run in contestants.items():
            start = time.perf_counter()
            answers[name] = jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    for name, taken in times.items():
        print(f"{title:24s} {name:14s} {statistics.median(taken):7.3f} s ({min(taken):.3f} to {max(taken):.3f})")
    ratios = [b / a for a, b in zip(*times.values(), strict=True)]
    print(f"{title:24s} ratio          {statistics.median(ratios):7.2f}")
    return answers["jaxml"]


if __name__ == "__main__":
    main()
