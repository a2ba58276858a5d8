r"""Whether a likelihood has a maximum, decided exactly by linear programming; for the host.

A direction D of the coefficients runs away where no row's log-likelihood falls along it and some row's rises. With v = D x:

    binary, binomial      v >= 0 where all trials are successes, v <= 0 where none is, v = 0 between
    Poisson and the like  v <= 0 where y = 0, v = 0 where y > 0
    classes               v_j = max_k v_k for every class j that was seen in the row

These directions form a cone. One program finds all rows whose likelihood rises along some of them: maximise sum_i t_i subject to
A_i D >= t_i and 0 <= t_i <= 1, which at the optimum are 0 or 1. The rows with t = 0 are left to a model that has a maximum, and
what they do not determine of a coefficient is infinite.

Source: Albert & Anderson (1984), Biometrika 71; Konis (2007), thesis, Oxford; Geyer (2009), Electronic Journal of Statistics 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxml import links
from jaxml.checks import check_family, read_rows, refuse_bad_values
from jaxml.families.base import Family
from jaxml.glm.fit import read_penalty
from jaxml.glm.objective import penalty_table
from jaxml.links import Link
from jaxml.predictors import Linear
from jaxml.rows import Rows

_SMALL = 1e-9  # of what a unit of a scaled direction moves: below this a linear program sees nothing
_FIRST = 40  # conditions for each unknown that a program starts with
_SHOWN = 10  # names in a sentence


@dataclass(frozen=True)
class Separation:
    """What :func:`separation` found; ``print`` says it in words.

    Attributes:
        separated: whether the likelihood has no maximum.
        complete: whether every row that counts is predicted without error in the limit.
        rows: (n,) bool, those whose likelihood rises for ever along the direction.
        direction: Linear, along which the likelihood rises for ever; zeros if there is none. Of unit size on columns of unit spread.
        limits: Linear, the limit of each coefficient: inf or -inf, 0 for a finite one, NaN where it may run off either way.
        names: of the columns.
    """

    separated: bool
    complete: bool
    rows: np.ndarray
    direction: Linear
    limits: Linear
    names: tuple[str, ...]

    def __str__(self) -> str:
        if not self.separated:
            return "Not separated: the likelihood has a maximum."
        found = np.flatnonzero(self.rows)
        count = f"{found.size} row{'s' * (found.size != 1)}"
        kind = "Complete" if self.complete else "Quasi-complete"
        which = "every row is predicted without error in the limit"
        if not self.complete:
            which = f"the likelihood of {count} ({_listed(found)}) rises for ever"
        return (
            f"{kind} separation: {which}. Without a finite value: {_listed(self._words())}."
            " Use l2 > 0 on them, firth=True, or drop or pool the columns."
        )

    def _words(self) -> list[str]:
        """Each coefficient without a finite limit, with its limit."""
        words = []
        for name, limit in zip(
            (*self.names, "(intercept)"), [*self.limits.weight, self.limits.bias][: len(self.names) + 1], strict=False
        ):
            if limit is None or not np.any(limit != 0):
                continue
            values = np.atleast_1d(limit)
            each = ", ".join("either way" if np.isnan(v) else "finite" if v == 0 else f"{v:+g}" for v in values)
            words.append(f"{name} ({each})")
        return words


def separation(
    family: Family,
    X: Any,
    y: Any,
    *,
    weights: Any = None,
    l2: Any = 0.0,
    intercept: bool = True,
    link: Any = None,
    names: Sequence[str] | None = None,
) -> Separation:
    """Whether, and where, the likelihood of a generalised linear model rises for ever.

    Args:
        family: the law of y.
        X: (n, d).
        y: as for :func:`jaxml.glm.fit`.
        weights: (n,); rows of weight 0 do not count, and other weights make no difference.
        l2: penalties, as for :func:`jaxml.glm.fit`: a penalised coefficient stays finite.
        intercept: whether there is a bias.
        link: as for :func:`jaxml.glm.fit`.
        names: d names of the columns, for the words; by default x0, x1, ...

    Returns:
        :class:`Separation`. Decided up to gaps of 1e-9 of the spread of a column. An offset makes no difference.

    Raises:
        ValueError, TypeError: bad input; or inside jit, where the status of a fit tells.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> found = glm.separation(families.Bernoulli(), jnp.array([[-2.0], [0.0], [0.0], [3.0]]), jnp.array([0, 0, 1, 1]))
        >>> print(found)
        Quasi-complete separation: the likelihood of 2 rows (0, 3) rises for ever. Without a finite value: x0 (+inf). Use l2 > 0 on
        them, firth=True, or drop or pool the columns.

    Source: Albert & Anderson (1984); Konis (2007).
    """
    check_family(family)
    link = links.resolve(family, link)
    rows = read_rows(family, X, y, weights, None)
    if any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves((rows, l2))):
        raise ValueError("separation is decided on the host; inside jit look at the status of a fit")
    refuse_bad_values(family, rows)
    d = rows.X.shape[1]
    names = tuple(f"x{j}" for j in range(d)) if names is None else tuple(map(str, names))
    if len(names) != d:
        raise ValueError(f"names has {len(names)} entries, expected {d}, one for each column of X")
    shape = (d,) if family.natural_size is None else (d, family.natural_size)
    return separation_of(family, rows, link, read_penalty(l2, shape, rows.X.dtype, intercept), names)


def separation_of(family: Family, rows: Rows, link: Link, penalties: Linear, names: tuple[str, ...]) -> Separation:
    """:func:`separation` of rows that have been read, penalties in the shapes of the params."""
    intercept = penalties.bias is not None
    if not (family.redundant or links.spans_mean(family, link)):
        zero = jax.tree.map(np.zeros_like, jax.tree.map(np.asarray, penalties))
        return Separation(False, False, np.zeros(rows.n, bool), zero, zero, names)
    cone = _cone(family, rows, penalties)
    on = np.asarray(rows.on)
    direction = cone.basis @ cone.inside
    size = np.max(np.abs(direction), initial=0)
    all_rows = np.zeros(rows.n, bool)
    all_rows[on] = cone.rows
    limits = _limits(cone, cone.to_user)
    shape = penalties.weight.shape[1:]
    table = lambda a: a.reshape(-1, *shape)
    as_linear = lambda a: Linear(table(a)[:-1], table(a)[-1]) if intercept else Linear(table(a), None)
    direction = np.where(limits == 0, 0, cone.to_user @ (direction / (size if size else 1)))
    separated = bool(np.any(cone.rows))
    return Separation(separated, cone.complete, all_rows, as_linear(direction), as_linear(limits), names)


def limits_of(family: Family, rows: Rows, link: Link, penalties: Linear, L: np.ndarray) -> np.ndarray:
    """The limits, see :class:`Separation`, of linear combinations (m, p) of the coefficients in the order of ravel(Linear)."""
    if not (family.redundant or links.spans_mean(family, link)):
        return np.zeros(len(L))
    cone = _cone(family, rows, penalties)
    return _limits(cone, L @ cone.to_user)


# -- the cone --------------------------------------------------------------------------------------------------------
class _Cone(NamedTuple):
    """The directions along which the likelihood never falls, basis @ c with conditions @ c >= 0, and one inside.

    Attributes:
        basis: (p, r).
        conditions: (m, r), those that some direction meets with room.
        inside: (r,), a direction that meets all of them so.
        to_user: (p, p), from the coordinates of ``basis`` to the user's coefficients.
        rows: which of the rows that count gain.
        complete: whether all do.
    """

    basis: np.ndarray
    conditions: np.ndarray
    inside: np.ndarray
    to_user: np.ndarray
    rows: np.ndarray
    complete: bool


def _cone(family: Family, rows: Rows, penalties: Linear) -> _Cone:
    intercept, on = penalties.bias is not None, np.asarray(rows.on)
    table = np.asarray(penalty_table(family, penalties), float)
    x, to_user = _scaled(np.asarray(rows.X, float)[on], intercept and not np.any(table[-1] > 0), intercept)
    k = table.shape[1]
    at_least, equal = _margins(family, jax.tree.map(lambda a: np.asarray(a)[on], rows.y), k)
    rises, still = at_least.on(x), equal.on(x)
    # Coordinates of the directions that are allowed: those not penalised, with rows that sum to zero over the classes.
    allowed = np.eye(x.shape[1] * k)[:, table.ravel() == 0]
    if family.redundant:
        allowed = allowed @ _null_space(np.kron(np.eye(x.shape[1]), np.ones((1, k))) @ allowed)
    basis, moving, c = _recede(rises, allowed @ _null_space(still @ allowed))
    gains = np.zeros(len(x), bool)
    gains[at_least.row[moving]] = True
    complete = bool(moving.all() and not still.any())
    return _Cone(basis, rises[moving] @ basis, c, np.kron(to_user, np.eye(k)), gains, complete)


def _scaled(x: np.ndarray, centred: bool, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """Columns of spread 1, centred where a bias can make up for it, and of ones; and the map of coefficients to the user's."""
    center = x.mean(axis=0) if centred else np.zeros(x.shape[1])
    x = x - center
    size = np.max(np.abs(x), axis=0, initial=0)
    size = np.where(size > 0, size, 1)
    x, to_user = x / size, np.diag(1 / size)
    if not intercept:
        return x, to_user
    to_user = np.block([[to_user, np.zeros((len(size), 1))], [-(center / size)[None], np.ones((1, 1))]])
    return np.column_stack([x, np.ones(len(x))]), to_user


class _Conditions(NamedTuple):
    """Conditions <turn, x_row D> >= 0, or = 0: (m,) rows of the data and (m, k) combinations of the outputs."""

    row: np.ndarray
    turn: np.ndarray

    def on(self, x: np.ndarray) -> np.ndarray:
        """As conditions on ravel(D), (m, q k)."""
        table = x[self.row][:, :, None] * self.turn[:, None, :]
        return table.reshape(len(self.row), x.shape[1] * self.turn.shape[1])


def _margins(family: Family, y: Any, k: int) -> tuple[_Conditions, _Conditions]:
    """What must not be negative of v, and what must be 0."""
    m = np.broadcast_to(np.asarray(family.trials(y), float), (len(jax.tree.leaves(y)[0]),))
    t = np.asarray(family.statistic(y), float)
    some = m > 0
    if not family.redundant:
        low, high = family.mean_bounds
        sign = (some & (t >= high * m)).astype(float) - (some & (t <= low * m))
        either, fixed = np.flatnonzero(sign), np.flatnonzero(some & (sign == 0))
        return _Conditions(either, sign[either, None]), _Conditions(fixed, np.ones((fixed.size, 1)))
    # The class seen most often against each of the others: equal if that was seen too, at least as large if not.
    first = np.argmax(t, axis=1)
    row, other = np.nonzero(some[:, None] & (np.arange(k) != first[:, None]))
    turn = np.eye(k)[first[row]] - np.eye(k)[other]
    seen = t[row, other] > 0
    return _Conditions(row[~seen], turn[~seen]), _Conditions(row[seen], turn[seen])


def _null_space(a: np.ndarray) -> np.ndarray:
    """An orthonormal basis of {c : a c = 0}, (p, r); rank up to rounding."""
    if not a.shape[0]:
        return np.eye(a.shape[1])
    gram_root = np.linalg.qr(a, mode="r") if a.shape[0] > a.shape[1] else a
    _, values, vectors = np.linalg.svd(gram_root)
    rank = np.sum(values > max(a.shape) * np.finfo(float).eps * np.max(values, initial=0))
    return vectors[rank:].T


def _recede(rises: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A basis of the span of the cone, the conditions that are not always equalities, and coordinates of a point well inside it.

    What the program takes for equalities within its tolerance is solved for exactly, and the program run again on what is left, until
    its answer stands up to rounding.
    """
    moving = np.ones(len(rises), bool)
    while moving.any() and basis.shape[1]:
        a = rises[moving] @ basis
        # What is left of a condition that holds on the whole of the basis is rounding.
        idle = np.max(np.abs(a), axis=1) <= 1e-11 * np.linalg.norm(rises[moving], axis=1)
        if idle.any():
            moving[np.flatnonzero(moving)[idle]] = False
            continue
        c = _well_inside(a)
        # A margin of the size of its rounding is none.
        noise = 100 * np.finfo(float).eps * (np.abs(rises[moving]) @ (np.abs(basis) @ np.abs(c)))
        found = np.zeros_like(moving)
        found[moving] = a @ c > noise
        if found.sum() == moving.sum():
            return basis, moving, c
        settled = rises[moving & ~found] @ basis
        moving = found
        basis = basis @ _null_space(settled)
    return basis[:, :0], np.zeros_like(moving), np.zeros(0)


def _well_inside(a: np.ndarray) -> np.ndarray:
    """A point c of the cone a c >= 0 that has a margin wherever any point of it has one.

    The program is run on some of the conditions, and again with those that its answer leaves without a margin, until there are none
    but those that it knows.
    """
    a = np.unique(a, axis=0)
    size = np.max(np.abs(a), axis=1)
    a = a[size > _SMALL] / size[size > _SMALL, None]
    m, r = a.shape
    first = np.linspace(0, m - 1, min(m, _FIRST * r)).astype(int)
    known = np.zeros(m, bool)
    known[first] = True
    while True:
        c = _program(a[known])
        if not c.any() and np.linalg.matrix_rank(a[known]) == r:
            return c
        margins = a @ c
        missing = np.flatnonzero(~known & (margins <= 1e-7 * np.max(np.abs(c), initial=0)))
        if not missing.size:
            return c
        known[missing[np.argsort(margins[missing])[: len(first)]]] = True


def _program(a: np.ndarray) -> np.ndarray:
    """c of: maximise sum t subject to a c >= t, 0 <= t <= 1."""
    m, r = a.shape
    # Large imports, which few need.
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack, identity

    best = linprog(
        np.concatenate([np.zeros(r), -np.ones(m)]),
        hstack([csr_array(-a), identity(m)]),
        np.zeros(m),
        bounds=[(None, None)] * r + [(0.0, 1.0)] * m,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if best.x is None:
        raise RuntimeError(f"the linear program of separation was not solved: {best.message}")
    c, t = best.x[:r], best.x[r:]
    return c if np.any(t > 0.5) else np.zeros(r)


def _limits(cone: _Cone, functionals: np.ndarray) -> np.ndarray:
    """The limit of each functional of the direction: see :class:`Separation`."""
    limits = np.zeros(len(functionals))
    if not cone.basis.shape[1]:
        return limits
    for j, functional in enumerate(functionals @ cone.basis):
        if np.max(np.abs(functional)) <= 1e-10 * np.sum(np.abs(functionals[j])):
            continue
        most, least = (_reach(sign * functional / np.max(np.abs(functional)), cone.conditions) for sign in (1, -1))
        limits[j] = np.nan if most and least else np.inf if most else -np.inf
    return limits


def _reach(functional: np.ndarray, a: np.ndarray) -> bool:
    """Whether the functional is positive somewhere in the cone a c >= 0."""
    from scipy.optimize import linprog

    best = linprog(-functional, -a, np.zeros(len(a)), bounds=(-1, 1), method="highs")
    return bool(-best.fun > 1e-7)


def _listed(items: Any) -> str:
    words = [str(item) for item in items[:_SHOWN]]
    return ", ".join(words) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
