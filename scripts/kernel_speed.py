"""Times kernel ridge regression and a support vector machine on 5,000 rows beside scikit-learn.

    python scripts/kernel_speed.py

Both solve the same problem with the same Gaussian kernel in float64, in turns; the figures are medians over the repetitions. The
support vector machine is solved to a relative duality gap of 1e-3 here and to its default tolerance there.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from sklearn.datasets import make_classification
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC

from jaxml import kernels
from racing import compare

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
        compare("support vector machine", machine, options.repetitions)
        print(f"{'its duality gap':24s} {'jaxml':14s} {float(machine['jaxml']()):.1e}")


if __name__ == "__main__":
    main()
