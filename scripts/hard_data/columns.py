"""Which columns of a case carry its answer, in long arithmetic, by the documented rule of rank.

Columns are taken in their order, centred where there is an intercept; one of which at most max(n, d) eps of its length is left
outside the span of those before it is dependent, and eps is that of the dtype. A case within a factor of 10 of that rule is
refused: what it must end in would be a matter of rounding.

Source: Golub & Van Loan (2013), *Matrix Computations*, section 5.5.
"""

from typing import Any, NamedTuple

import numpy as np
from mpmath import mp, mpf

from hard_data.table import Case
from hard_data.textbook import exact


class Columns(NamedTuple):
    """The independent columns of a case.

    Attributes:
        kept: positions in X.
        design: (rows that count, rank) those columns, and the one of ones last.
        null: (d, r) combinations of the columns that are constant (0 without an intercept).
        center: (d,) column means, 0 without an intercept.
        estimable, bias_estimable: which coefficients the design determines.
        rank: with the intercept.
    """

    kept: list[int]
    design: np.ndarray
    null: np.ndarray
    center: np.ndarray
    estimable: np.ndarray
    bias_estimable: bool
    rank: int

    def minimum_norm(self, weight: np.ndarray) -> np.ndarray:
        """The weight (d, k) without its part in the null space."""
        if not self.null.shape[1]:
            return weight
        inner = self.null.T @ self.null
        part = np.stack([solved(inner, self.null.T @ column) for column in weight.T], axis=1)
        return weight - self.null @ part


def independent(case: Case, dtype: Any) -> Columns:
    """See :class:`Columns`.

    Raises:
        ValueError: a column too close to dependence to call.
    """
    x = exact(case.X[case.on]).reshape(-1, case.X.shape[1])
    n, d = x.shape
    eps = float(np.finfo(dtype).eps)
    penalised = case.l2[0] > 0
    center = x.sum(axis=0) / n if case.intercept and d else np.full(d, mpf(0), dtype=object)
    centred = x - center
    kept: list[int] = []
    basis: list[np.ndarray] = []
    for j in range(d):
        v, size, whole = centred[:, j], _length(centred[:, j]), _length(x[:, j])
        for q in basis:
            v = v - (q @ v) * q
        left = _length(v)
        constant = _called(case, j, size, 8 * eps * whole) if case.intercept else size == 0
        if constant:
            centred[:, j] = mpf(0)
        dependent = constant or _called(case, j, left, max(case.n, d) * eps * size)
        if penalised or not dependent:
            kept.append(j)
        if not dependent:
            basis.append(v / left)
    free = [j for j in range(d) if j not in kept]
    null = np.full((d, len(free)), mpf(0), dtype=object)
    for place, j in enumerate(free):
        null[j, place] = mpf(1)
        if kept:
            near = centred[:, kept]
            null[kept, place] = -solved(near.T @ near, near.T @ centred[:, j])
    terms = abs(center[:, None] * null)
    say = np.array([[float(abs(v) * (_length(centred[:, i]) or 1)) for v in row] for i, row in enumerate(null)])
    seen = say > np.sqrt(eps) * say.max(axis=0, initial=0) if free else np.zeros((d, 0), bool)
    level = abs(center @ null) > mpf(np.sqrt(eps)) * terms.sum(axis=0) if free else np.zeros(0, bool)
    ones = [np.full((n, 1), mpf(1), dtype=object)] if case.intercept else []
    return Columns(
        kept=kept,
        design=np.concatenate([x[:, kept], *ones], axis=1),
        null=null,
        center=center,
        estimable=np.asarray(~seen.any(axis=1), bool),
        bias_estimable=not any(level),
        rank=len(kept) + case.intercept if not penalised else len(basis) + case.intercept,
    )


def solved(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A^-1 b for arrays of mpf."""
    return np.array(list(mp.lu_solve(mp.matrix(A.tolist()), mp.matrix(list(b)))), dtype=object)


def _length(v: np.ndarray) -> Any:
    return mp.sqrt(v @ v) if len(v) else mpf(0)


def _called(case: Case, j: int, size: Any, limit: Any) -> bool:
    """Whether a length is below its limit."""
    if size and limit / 10 < size < 10 * limit:
        raise ValueError(f"{case.name}: column {j} is too close to dependence to call")
    return bool(size <= limit)
