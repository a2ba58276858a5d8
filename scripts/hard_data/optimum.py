r"""The optimum of a case in long arithmetic: Fisher scoring with halved steps, on the columns that carry the answer.

    theta <- theta + (X' W X + N l2 P)^-1 (X' u - N l2 P theta),     u = w (y - m mu) mu'(z) / V(mu),  W = w m mu'(z)^2 / V(mu)

It ends where the step is below 10^-20 standard errors, which proves the optimum whatever the way there.

Source: McCullagh & Nelder (1989), section 2.5.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp, mpf

from hard_data.columns import independent, solved
from hard_data.table import CASES, VECTOR, Case
from hard_data.textbook import ESTIMATED, Law, Outputs, exact, law

_STEPS = 300
_CLOSE = mpf(10) ** -20


class Optimum(NamedTuple):
    """The answer in float64; a vector family has classes last, and what a shift of all classes changes sums to 0.

    Attributes:
        weight, bias: the representative of minimum norm (bias 0 without an intercept).
        z: (n,) or (n, K) linear predictors, NaN where the weight is 0.
        z_errors, weight_errors, bias_errors: standard errors; NaN where a coefficient is not estimable.
        deviance: unscaled.
        dispersion: Pearson / (N - rank) where it is estimated, 0 for a saturated fit; else 1.
        estimable, bias_estimable: (d,) and (), which coefficients the design determines.
        rank: with the intercept.
        curvature: sum_i w_i W_i, by which an error of all predictors enters the deviance.
    """

    weight: np.ndarray
    bias: np.ndarray
    z: np.ndarray
    z_errors: np.ndarray
    weight_errors: np.ndarray
    bias_errors: np.ndarray
    deviance: float
    dispersion: float
    estimable: np.ndarray
    bias_estimable: bool
    rank: int
    curvature: float


@cache
def optimum(name: str, dtype: str = "float64") -> Optimum:
    """The optimum of a case of the table, for its data as the dtype holds them."""
    return solve(CASES[name].rounded(dtype), dtype)


def solve(case: Case, dtype: Any = "float64") -> Optimum:
    """See :class:`Optimum`.

    Raises:
        ValueError: no optimum within the steps, or columns too close to dependence to call.
    """
    with mp.workdps(case.digits):
        return _solve(case, dtype)


def _solve(case: Case, dtype: Any) -> Optimum:
    on = case.on
    rows = law(case, on)
    w = exact((np.ones(case.n) if case.weights is None else case.weights)[on])
    offset = exact((np.zeros(case.n) if case.offset is None else case.offset)[on])
    columns = independent(case, dtype)
    ridge = w @ rows.trials * exact([case.l2[0]] * len(columns.kept) + [case.l2[1]] * case.intercept)
    design = columns.design
    start = np.full((design.shape[1], rows.k), mpf(0), dtype=object)
    if case.intercept:
        start[-1] = [case.near] * rows.k if case.near is not None else rows.start(w)
    elif case.offset is None and columns.rank <= len(design):
        inner = design.T @ design
        start = np.stack([solved(inner, design.T @ column) for column in rows.target.T], axis=1)
    theta, outputs, H = _scoring(case, rows, design, w, offset, ridge, start)

    saturated = sum(w) <= columns.rank
    phi = mpf(1)
    if case.family in ESTIMATED:
        phi = mpf(0) if saturated else w @ outputs.pearson / (sum(w) - columns.rank)
    V = _inverse(H) * phi
    turn = _sum_to_zero(case.classes) if case.family in VECTOR else exact([[1]])
    errors = lambda lines: np.array([[_error(V, np.kron(line, t)) for t in turn] for line in lines]).reshape(
        -1, len(turn)
    )
    values = design @ theta + offset[:, None]
    full = np.full((case.X.shape[1], rows.k), mpf(0), dtype=object)
    full[columns.kept] = theta[: len(columns.kept)]
    weight = columns.minimum_norm(full)
    bias = theta[-1] + columns.center @ (full - weight) if case.intercept else np.full(rows.k, mpf(0), dtype=object)

    unit = np.eye(design.shape[1], dtype=int)
    weight_errors = np.full((case.X.shape[1], len(turn)), np.nan)
    weight_errors[columns.kept] = errors(unit[: len(columns.kept)])
    weight_errors[~columns.estimable] = np.nan
    known = case.intercept and columns.bias_estimable
    bias_errors = errors(unit[-1:])[0] if known else np.full(len(turn), np.nan)
    place = lambda a: _placed(on, np.asarray(a, float))
    shape = lambda a: np.asarray(a, float) if case.family in VECTOR else np.asarray(a, float)[..., 0]
    return Optimum(
        weight=shape(weight @ turn.T),
        bias=shape(bias @ turn.T),
        z=shape(place(values @ turn.T)),
        z_errors=shape(place(errors(design))),
        weight_errors=shape(weight_errors),
        bias_errors=shape(bias_errors),
        deviance=float(2 * (w @ outputs.loss)),
        dispersion=float(phi),
        estimable=columns.estimable,
        bias_estimable=bool(columns.bias_estimable),
        rank=columns.rank,
        curvature=float(w @ outputs.curvature.trace(axis1=1, axis2=2)),
    )


def _scoring(
    case: Case, rows: Law, design: np.ndarray, w: Any, offset: Any, ridge: Any, theta: np.ndarray
) -> tuple[np.ndarray, Outputs, np.ndarray]:
    """theta, what the rows say there, and the expected information; see the module docstring."""

    def objective(theta: np.ndarray) -> tuple[Any, Outputs | None]:
        outputs = rows.evaluate(design @ theta + offset[:, None])
        penalty = (ridge[:, None] * theta**2).sum() / 2
        return (mp.inf if outputs is None else w @ outputs.loss + penalty), outputs

    value, outputs = objective(theta)
    for _ in range(_STEPS):
        if outputs is None:
            raise ValueError(f"{case.name}: the search in long arithmetic starts outside the domain")
        score = design.T @ (w[:, None] * outputs.score) - ridge[:, None] * theta
        H = _information(design, w[:, None, None] * outputs.curvature, ridge)
        step = solved(H, score.ravel())
        distance = mp.sqrt(abs(step @ score.ravel()))
        step = step.reshape(theta.shape)
        if distance < _CLOSE:
            return theta, outputs, H
        size = mpf(1)
        for _ in range(200):
            moved, after = objective(theta + size * step)
            if moved <= value + abs(value) * mpf(10) ** (5 - case.digits):
                break
            size /= 2
        theta, value, outputs = theta + size * step, moved, after
    raise ValueError(f"{case.name}: no optimum in {_STEPS} steps of long arithmetic")


def _information(design: np.ndarray, curvature: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    p, k = design.shape[1], curvature.shape[1]
    H = np.full((p * k, p * k), mpf(0), dtype=object)
    for a in range(k):
        for b in range(k):
            H[a::k, b::k] = design.T @ (curvature[:, a, b][:, None] * design)
    for a in range(k):
        H[range(a, p * k, k), range(a, p * k, k)] += ridge
    return H


def _inverse(H: np.ndarray) -> np.ndarray:
    return np.array((mp.matrix(H.tolist()) ** -1).tolist(), dtype=object).reshape(H.shape)


def _error(V: np.ndarray, line: np.ndarray) -> float:
    return float(mp.sqrt(abs(line @ V @ line)))


def _sum_to_zero(classes: int) -> np.ndarray:
    """(K, K - 1): coefficients that sum to zero over the classes, from those against class 0."""
    k = classes - 1
    against = np.concatenate([np.zeros((1, k), int), np.eye(k, dtype=int)])
    return against - np.full((classes, k), mpf(1) / classes, dtype=object)


def _placed(on: np.ndarray, a: np.ndarray) -> np.ndarray:
    out = np.full((len(on), *a.shape[1:]), np.nan)
    out[on] = a
    return out
