"""One pass over the data before a fit: column means and scales, totals, the mean of the statistic, and whether values are fine."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxml.checks import verdict
from jaxml.compiling import program
from jaxml.families.base import Family
from jaxml.glm.rank import Pivot, least_pivot
from jaxml.linalg import matmul
from jaxml.rows import Rows, fold_blocks


class Survey(NamedTuple):
    """Weighted summaries of the rows that count.

    Attributes:
        mean: (d,) weighted column means.
        rms: (d,) weighted root mean squares.
        total: N, the sum of weights times trials.
        weight: the sum of weights.
        rows: the number of rows with positive weight.
        statistic: () or (k,), weighted mean of T(y) per trial.
        offset: () or (k,), weighted mean of the offset, summing to 0 over the classes of a redundant family; 0 without one.
        ok: all values are finite and in the support.
        full_rank: a few rows, or the first factor of a search after it, prove that the design has full rank (False: not known).
        pivot: how far the columns are from dependent, see :class:`jaxml.glm.rank.Pivot`; NaN where that was not looked at.
    """

    mean: Array
    rms: Array
    total: Array
    weight: Array
    rows: Array
    statistic: Array
    offset: Array
    ok: Array
    full_rank: Array
    pivot: Array


@program(static_argnames=("check", "block", "intercept"))
def survey(family: Family, rows: Rows, check: str, block: int | None, intercept: bool, rank: Any = True) -> Survey:
    """See :class:`Survey`; ``block`` rows of X are read at a time (None: all), and where ``rank`` says so a few of them tell of the
    rank."""
    dtype = rows.X.dtype
    w = rows.mass
    on = w > 0
    fine = verdict(family, rows, check)
    y = rows.safe().y
    m, t = family.trials(y), family.statistic(y)
    total = compensated_sum(w * m)
    statistic = jnp.sum(w * t if t.ndim == 1 else w[:, None] * t, axis=0) / total
    weight = compensated_sum(w)
    anchor = rows.first(block).X
    first, second = _column_sums(rows, w, anchor, block)
    mean, rms = anchor + first / weight, jnp.sqrt(second / weight)
    fine &= jnp.all(jnp.isfinite(rms))
    center = mean if intercept else jnp.zeros_like(mean)
    unknown = Pivot(jnp.full((), jnp.nan, dtype), jnp.asarray(False))
    pivot = lax.cond(rank, lambda: least_pivot(rows, center, intercept), lambda: unknown)
    offset = _mean_offset(family, rows, w / weight)
    return Survey(
        mean, rms, total, weight, jnp.sum(on), statistic.astype(dtype), offset, fine, pivot.proves, pivot.share
    )


def _mean_offset(family: Family, rows: Rows, share: Array) -> Array:
    if rows.offset is None:
        return jnp.zeros((), rows.X.dtype)
    terms = rows.offset * (share if rows.offset.ndim == 1 else share[:, None])
    on = share > 0
    mean = jnp.sum(jnp.where(on if terms.ndim == 1 else on[:, None], terms, 0), axis=0)
    return mean - jnp.mean(mean) if family.redundant else mean


def compensated_sum(a: Array) -> Array:
    """The sum of a vector; in float32 with the rounding errors of the partial sums added back (Neumaier 1974, in a tree of blocks)."""
    if a.dtype == jnp.float64:
        return jnp.sum(a)
    while a.size > 1:
        a = jnp.pad(a, (0, -a.size % 256)).reshape(-1, 256)
        a = _row_sums(a)
    return a.reshape(())


def _row_sums(a: Array) -> Array:
    def step(carry: tuple[Array, Array], column: Array) -> tuple[tuple[Array, Array], None]:
        total, lost = carry
        new = total + column
        lost += jnp.where(jnp.abs(total) >= jnp.abs(column), (total - new) + column, (column - new) + total)
        return (new, lost), None

    zero = jnp.zeros(len(a), a.dtype)
    (total, lost), _ = lax.scan(step, (zero, zero), a.T)
    return total + lost


def _column_sums(rows: Rows, w: Array, anchor: Array, block: int | None) -> tuple[Array, Array]:
    """Sums of w (x - anchor) and x w x: from a row of the data, the mean of a column that is constant is that constant exactly."""

    # Without weights the whole array is one fused reduction on all cores, with them it would be copied, and products are faster.
    if rows.weights is None:
        return jnp.sum(rows.X - anchor, axis=0), jnp.sum(jnp.square(rows.X), axis=0)

    def sums(x: Array, w: Array) -> tuple[Array, Array]:
        x = jnp.where((w > 0)[:, None], x, anchor)
        return matmul(w, x - anchor), matmul(w, jnp.square(x))

    if block is None or block >= rows.n:
        return sums(rows.X, w)
    size = block // 4  # three copies of them are in the cache beside it

    def add(total: Any, first: Array, fresh: Array) -> Any:
        x, wb = (lax.dynamic_slice_in_dim(a, first, size) for a in (rows.X, w))
        return jax.tree.map(jnp.add, total, sums(x, jnp.where(fresh, wb, 0)))

    zero = jnp.zeros(rows.X.shape[1], rows.X.dtype)
    return fold_blocks(add, (zero, zero), rows.n, size)
