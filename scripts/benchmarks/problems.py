"""The data of the races, and the stationarity to which all are driven, in NumPy: no contestant is judged by its own measure.

A problem is: minimise (1 / sum w) sum_i w_i loss(eta_i, y_i) + l2/2 |weight|^2, eta = X weight + bias + offset, with the losses

    bernoulli   log(1 + exp eta) - y eta        poisson   exp eta - y eta        gamma   y exp(-eta) + eta
    normal      (y - eta)^2 / 2                 softmax   log sum exp eta - eta_y
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.table import Workload


class Problem(NamedTuple):
    """Float64 arrays in C order; ``family`` is a name of the table above, y integer labels for softmax."""

    family: str
    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None
    offset: np.ndarray | None = None
    l2: float = 0.0

    @property
    def cost(self) -> float:
        """n d^2: multiplications of a normal matrix."""
        return self.X.shape[0] * self.X.shape[1] ** 2.0


# -- stationarity ----------------------------------------------------------------------------------------------------
def gradient(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Gradient of the objective at theta, (d + 1,) or (d + 1, classes), the bias first."""
    X, y, weights, offset, l2 = problem[1:]
    w = np.full(len(y), 1 / len(y)) if weights is None else weights / weights.sum()
    eta = X @ theta[1:] + theta[0] + (0 if offset is None else offset)
    residual = RESIDUALS[problem.family](eta, y)
    residual *= w if residual.ndim == 1 else w[:, None]
    return np.concatenate([residual.sum(axis=0)[None], (residual.T @ X).T + l2 * theta[1:]])


def judge(problem: Problem) -> Callable[[np.ndarray], float]:
    """max_j |gradient_j| / rms(x_j), the rms of the intercept 1, as a function of theta."""
    size = rms(problem)
    size = np.concatenate([[1.0], np.where(size > 0, size, 1)])

    def stationarity(theta: np.ndarray) -> float:
        if not np.all(np.isfinite(theta)):
            return np.inf
        return float(np.max(np.abs(gradient(problem, theta)).reshape(len(theta), -1).max(axis=1) / size))

    return stationarity


def rms(problem: Problem) -> np.ndarray:
    """Root mean square of each column, by the weights."""
    X, w = problem.X, problem.weights
    second = np.einsum("ij,ij->j", X, X) / len(X) if w is None else np.einsum("i,ij,ij->j", w, X, X) / w.sum()
    return np.sqrt(second)


def _softmax(eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = np.exp(eta - eta.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return p


def _sigmoid(eta: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(eta))
    return np.where(eta >= 0, 1, small) / (1 + small)


RESIDUALS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "bernoulli": lambda eta, y: _sigmoid(eta) - y,
    "poisson": lambda eta, y: np.exp(eta) - y,
    "gamma": lambda eta, y: 1 - y * np.exp(-eta),
    "normal": lambda eta, y: eta - y,
    "softmax": _softmax,
}


# -- data ------------------------------------------------------------------------------------------------------------
def make(workload: Workload, seed: int = 0) -> Problem:
    """The problem of a row: ``more`` may hold family, condition, mixed, weighted, classes, l2."""
    more, (n, d) = workload.more, (workload.rows, workload.columns)
    family, rng = more.get("family", "bernoulli"), np.random.default_rng(seed)
    X = design(rng, n, d, more.get("condition", 1.0))
    heights = (d, more["classes"]) if family == "softmax" else (d,)
    eta = X @ rng.standard_normal(heights) / np.sqrt(d) + 0.2
    weighted = more.get("weighted", False)
    offset = rng.uniform(-1, 1, n) if weighted else None
    weights = rng.uniform(0.5, 2, n) if weighted else None
    y = DRAWS[family](rng, eta if offset is None else eta + offset)
    if more.get("mixed", False):
        X *= np.logspace(-6, 6, d)
    return Problem(family, X, y, weights, offset, more.get("l2", 0.0))


def design(rng: np.random.Generator, n: int, d: int, condition: float) -> np.ndarray:
    """Normal columns whose singular values spread over the condition number; of mean square 1 all together."""
    X = rng.standard_normal((n, d))
    if condition > 1:
        rotation, _ = np.linalg.qr(rng.standard_normal((d, d)))
        X = (X * np.logspace(0, -np.log10(condition), d)) @ rotation
        X /= np.sqrt(np.mean(X**2))
    return X


def _classes(rng: np.random.Generator, eta: np.ndarray) -> np.ndarray:
    return np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)


DRAWS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "bernoulli": lambda rng, eta: (rng.random(len(eta)) < _sigmoid(eta)).astype(float),
    "poisson": lambda rng, eta: rng.poisson(np.exp(eta)).astype(float),
    "gamma": lambda rng, eta: rng.gamma(2.0, np.exp(eta) / 2) + 1e-12,
    "normal": lambda rng, eta: eta + rng.standard_normal(len(eta)),
    "softmax": _classes,
}
