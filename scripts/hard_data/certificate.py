r"""The proof that a likelihood has no maximum: a direction along which no row ever loses and some row gains.

The direction comes from a linear program in float64 and is then made exact and checked in fractions, so that a certificate is a
proof. Rows A D >= 0 and E D = 0, by family:

    y at its least (0, or 0 of m)        -x'D >= 0         y at its greatest (1, or m of m)      x'D >= 0
    y in between, or a positive count     x'D  = 0         class c (of count > 0), any k    x'(D_c - D_k) >= 0

Normal, gamma and inverse Gaussian responses are never separated. With a penalty on the weight only the bias can run away.

Source: Albert & Anderson (1984), *Biometrika* 71; Konis (2007), thesis, University of Oxford.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import linprog

from hard_data.table import VECTOR, Case

_NEVER = ("normal", "gamma", "inverse_gaussian")


def certificate(case: Case) -> np.ndarray | None:
    """A direction D that proves separation, of fractions for columns that are shifted and scaled; None where there is none.

    Raises:
        ValueError: the linear program says that there is one, and no rounding of its answer stands up to exact arithmetic.
    """
    if case.family in _NEVER or (max(case.l2) > 0 and case.l2[1] > 0):
        return None
    rows, equal = _constraints(case)
    if not rows:
        return None
    A, E = np.array(rows, dtype=object), np.array(equal, dtype=object).reshape(len(equal), len(rows[0]))
    d, gains = _program(A.astype(float), E.astype(float))
    if not gains.any():
        return None
    # Rows that cannot gain stay where they are, exactly: the direction is a combination of an exact basis of their null space.
    basis = _null_space([*E, *A[~gains]], A.shape[1])
    near = np.linalg.lstsq(basis.astype(float), d, rcond=None)[0]
    D = basis @ np.array([Fraction(float(v)) for v in near], dtype=object)
    if all(v >= 0 for v in A @ D) and any(v > 0 for v in A @ D) and all(v == 0 for v in E @ D):
        return D
    raise ValueError(f"{case.name}: the linear program's direction {d} could not be made exact")


def _program(A: np.ndarray, E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """maximise sum s, 0 <= s_i <= 1, A_i d >= s_i, E d = 0: all rows that can gain do. Returns d and which rows gain."""
    size = np.abs(A).max(axis=1, keepdims=True)
    scaled = A / np.where(size > 0, size, 1)
    (n, p), eye = A.shape, np.eye(len(A))
    for bound in (1e5, 1e3, 1e7):  # the solver's own scaling gives up on some
        best = linprog(
            np.concatenate([np.zeros(p), -np.ones(n)]),
            np.hstack([-scaled, eye]),
            np.zeros(n),
            np.hstack([E, np.zeros((len(E), n))]) if len(E) else None,
            np.zeros(len(E)) if len(E) else None,
            bounds=[(-bound, bound)] * p + [(0, 1)] * n,
            method="highs",
        )
        if best.success:
            return best.x[:p], best.x[p:] > 0.5
    raise ValueError(f"the linear program ended in: {best.message}")


def _null_space(rows: list[Any], p: int) -> np.ndarray:
    """(p, r) a basis of the vectors that every row gives 0 with, by elimination in fractions."""
    table = [list(row) for row in rows]
    pivots: list[int] = []
    for j in range(p):
        at = next((i for i in range(len(pivots), len(table)) if table[i][j]), None)
        if at is None:
            continue
        here = len(pivots)
        table[here], table[at] = table[at], table[here]
        table[here] = [v / table[here][j] for v in table[here]]
        for i in range(len(table)):
            if i != here and table[i][j]:
                table[i] = [a - table[i][j] * b for a, b in zip(table[i], table[here], strict=True)]
        pivots.append(j)
    free = [j for j in range(p) if j not in pivots]
    basis = np.array([[Fraction(int(i == j)) for j in free] for i in range(p)], dtype=object).reshape(p, len(free))
    for i, j in enumerate(pivots):
        basis[j] = [-table[i][f] for f in free]
    return basis


def _constraints(case: Case) -> tuple[list[list[Fraction]], list[list[Fraction]]]:
    x = _exact_design(case)
    y: Any = tuple(a[case.on] for a in case.y) if isinstance(case.y, tuple) else case.y[case.on]
    if case.family in VECTOR:
        counts = np.eye(case.classes)[y] if y.ndim == 1 else y
        pairs = [
            (row, c, k)
            for row, count in zip(x, counts, strict=True)
            for c in np.flatnonzero(count)
            for k in range(case.classes)
            if k != c
        ]
        return [[(int(a == c) - int(a == k)) * v for v in row for a in range(case.classes)] for row, c, k in pairs], []
    successes, trials = y if isinstance(y, tuple) else (y, np.full(len(y), 1 if case.family == "bernoulli" else np.inf))
    rows, equal = [], []
    for row, s, m in zip(x, successes, trials, strict=True):
        if s == 0:
            rows.append([-v for v in row])
        elif s == m:
            rows.append(list(row))
        else:
            equal.append(list(row))
    return rows, equal


def _exact_design(case: Case) -> list[list[Fraction]]:
    """The columns less their first entry where there is an intercept, over their largest, to be fit for a linear program."""
    x = np.array([[Fraction(float(v)) for v in row] for row in case.X[case.on]], dtype=object)
    x = x.reshape(-1, case.X.shape[1])
    if case.l2[0] > 0:
        x = x[:, :0]
    if case.intercept:
        x = x - x[:1]
    if x.size:
        largest = [max(abs(v) for v in column) or Fraction(1) for column in x.T]
        x = x / np.array(largest, dtype=object)
    one: list[Any] = [Fraction(1)] if case.intercept else []
    return [[*row, *one] for row in x]
