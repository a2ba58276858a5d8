"""Means, variances and deviances of the families, typed from the textbook for numbers of any length (mpmath).

Nothing here comes from jaxml: these are the formulas that its fits are judged by. Arrays are NumPy arrays of mpf.

Source: McCullagh & Nelder (1989), *Generalized Linear Models*, chapters 2 and 5.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp, mpf

from hard_data.table import VECTOR, Case

Function = Callable[..., Any]
ESTIMATED = ("normal", "gamma", "inverse_gaussian")  # families whose dispersion is estimated


class Outputs(NamedTuple):
    """Per row, of one replicate: half the deviance (n,), the score (n, k), the expected curvature (n, k, k), Pearson's r^2 (n,)."""

    loss: np.ndarray
    score: np.ndarray
    curvature: np.ndarray
    pearson: np.ndarray


class Law(NamedTuple):
    """The law of the rows of a case; ``evaluate`` takes z (n, k) and gives None outside the domain; ``start`` takes the
    weights to a bias (k,), and ``target`` is z (n, k) where a search without a bias begins, by least squares."""

    k: int
    trials: np.ndarray
    evaluate: Callable[[np.ndarray], Outputs | None]
    start: Callable[[np.ndarray], list[Any]]
    target: np.ndarray


def law(case: Case, on: np.ndarray) -> Law:
    """The law of the rows of a case that count."""
    return _softmax(case, on) if case.family in VECTOR else _scalar(case, on)


def exact(a: Any) -> np.ndarray:
    """An array of floats or integers as one of mpf."""
    return np.vectorize(lambda v: mpf(float(v)), otypes=[object])(np.asarray(a))


def _scalar(case: Case, on: np.ndarray) -> Law:
    y, m = case.y if isinstance(case.y, tuple) else (case.y, np.ones(case.n))
    m = exact(m[on])
    y = exact(y[on]) / m
    mean, slope = _LINKS[case.link]
    variance, deviance = _FAMILIES[case.family](mpf(case.r))
    inside = lambda mu: case.family == "normal" or (mu > 0 and (mu < 1 or case.family not in ("bernoulli", "binomial")))

    def evaluate(z: np.ndarray) -> Outputs | None:
        rows = []
        for yi, mi, zi in zip(y, m, z[:, 0], strict=True):
            if case.link == "inverse_squared" and zi <= 0:
                return None
            mu = mean(zi)
            if not inside(mu):
                return None
            s, v = slope(zi), variance(mu)
            rows.append((mi * deviance(yi, mu) / 2, mi * (yi - mu) * s / v, mi * s * s / v, mi * (yi - mu) ** 2 / v))
        loss, score, curvature, pearson = np.array(rows, dtype=object).T
        return Outputs(loss, score[:, None], curvature[:, None, None], pearson)

    def start(w: np.ndarray) -> list[Any]:
        # Off its bounds by half an observation.
        total = w @ m
        share = ((w * m) @ y + (mpf(1) / 2 if case.link in ("log", "logit", "probit", "cloglog") else 0)) / (total + 1)
        return [_FORWARD[case.link](share)]

    target = (
        [_FORWARD[case.link]((9 * v + sum(y) / len(y)) / 10) for v in y] if not case.intercept and any(y) else 0 * y
    )
    return Law(1, m, evaluate, start, np.array(target, dtype=object)[:, None])


def _softmax(case: Case, on: np.ndarray) -> Law:
    """Classes 1 .. K-1 against class 0."""
    counts = np.eye(case.classes)[case.y] if case.y.ndim == 1 else case.y
    y = exact(counts[on])
    m = y.sum(axis=1)
    k = case.classes - 1

    def evaluate(z: np.ndarray) -> Outputs:
        grown = np.concatenate([np.full((len(z), 1), mpf(0), dtype=object), z], axis=1)
        grown = np.vectorize(mp.exp, otypes=[object])(grown - grown.max(axis=1, keepdims=True))
        p = grown / grown.sum(axis=1, keepdims=True)
        loss = np.array(
            [sum(_xlog(a, a / (n * q)) for a, q in zip(*pair, strict=True)) for n, *pair in zip(m, y, p, strict=True)]
        )
        free = p[:, 1:]
        eye = np.eye(k, dtype=int)
        curvature = m[:, None, None] * (free[:, :, None] * eye - free[:, :, None] * free[:, None, :])
        pearson = ((y - m[:, None] * p) ** 2 / (m[:, None] * p)).sum(axis=1)
        return Outputs(loss, y[:, 1:] - m[:, None] * free, curvature, pearson)

    def start(w: np.ndarray) -> list[Any]:
        total = w @ y + mpf(1) / 2
        return [mp.log(total[a] / total[0]) for a in range(1, k + 1)]

    return Law(k, m, evaluate, start, 0 * y[:, 1:])


def _xlog(y: Any, ratio: Any) -> Any:
    return y * mp.log(ratio) if y else mpf(0)


def _proportion(_: Any) -> tuple[Function, Function]:
    return (
        lambda mu: mu * (1 - mu),
        lambda y, mu: 2 * (_xlog(y, y / mu) + _xlog(1 - y, (1 - y) / (1 - mu))),
    )


_FAMILIES: dict[str, Callable[[Any], tuple[Function, Function]]] = {
    "normal": lambda _: (lambda mu: mpf(1), lambda y, mu: (y - mu) ** 2),
    "bernoulli": _proportion,
    "binomial": _proportion,
    "poisson": lambda _: (lambda mu: mu, lambda y, mu: 2 * (_xlog(y, y / mu) - (y - mu))),
    "negative_binomial": lambda r: (
        lambda mu: mu + mu**2 / r,
        lambda y, mu: 2 * (_xlog(y, y / mu) - (y + r) * mp.log((y + r) / (mu + r))),
    ),
    "gamma": lambda _: (lambda mu: mu**2, lambda y, mu: 2 * ((y - mu) / mu - mp.log(y / mu))),
    "inverse_gaussian": lambda _: (lambda mu: mu**3, lambda y, mu: (y - mu) ** 2 / (mu**2 * y)),
}
_LINKS: dict[str, tuple[Function, Function]] = {
    "identity": (lambda z: z, lambda z: mpf(1)),
    "log": (mp.exp, mp.exp),
    "logit": (lambda z: 1 / (1 + mp.exp(-z)), lambda z: mp.exp(-abs(z)) / (1 + mp.exp(-abs(z))) ** 2),
    "probit": (mp.ncdf, mp.npdf),
    "cloglog": (lambda z: -mp.expm1(-mp.exp(z)), lambda z: mp.exp(z - mp.exp(z))),
    "inverse": (lambda z: 1 / z, lambda z: -1 / z**2),
    "inverse_squared": (lambda z: 1 / mp.sqrt(z), lambda z: -1 / (2 * z * mp.sqrt(z))),
}
# A bias to start from: g(m), roughly for the probit.
_FORWARD: dict[str, Function] = {
    "identity": lambda m: m,
    "log": mp.log,
    "logit": lambda m: mp.log(m / (1 - m)),
    "probit": lambda m: mp.log(m / (1 - m)) * mpf("0.6"),
    "cloglog": lambda m: mp.log(-mp.log(1 - m)),
    "inverse": lambda m: 1 / m,
    "inverse_squared": lambda m: 1 / m**2,
}
