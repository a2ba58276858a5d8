"""A few of the rows, to start a large fit from and to take its first curvature from.

They are drawn at random, one of 12 to 20. Where few of these tell of a column, as of a rare level of a factor, half of them are drawn
in proportion to what each row contributes to the spreads of the columns instead, and weigh accordingly less.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxml.chunks import where_needed
from jaxml.families.base import Family
from jaxml.glm.objective import GLMObjective, total_weight
from jaxml.rows import Rows, fold_blocks

_SAMPLE = 15  # rows for each coefficient, within the bounds
_SHARES = 20, 12  # least and most of the rows: every 20th, every 12th
_FEW = 4  # rows for each coefficient in the first curvature
_SEEN = 0.25  # least share of the spread of a column that the rows must have
_ENOUGH = 100  # rows for each coefficient, of which the subsample has a twelfth or less
_TELLING = 30  # rows that must have told of it: (sum x^2)^2 / sum x^4


class Subsample(NamedTuple):
    """Rows to start from.

    Attributes:
        rows: a small part of the rows, in an order in which the first blocks are a sample of their own.
        share: how much more all rows weigh; infinite where these rows are not to be used.
        unit: the standard error that decrements are measured in.
        few: blocks from which the first curvature is taken.
    """

    rows: Rows
    share: Array
    unit: Array
    few: int


def subsample_tells(family: Family, rows: Rows) -> bool:
    """Whether a subsample has more than a few rows for each coefficient, from the shapes."""
    k = family.natural_size or 1
    return rows.n * max(1, k - 1) >= _ENOUGH * rows.X.shape[1] * k


def subsample(o: GLMObjective, unit: Array, spread: Array) -> Subsample:
    """Rows from all over the file, since files come sorted, and at random, since they come in a rhythm.

    ``spread`` (d,) are the mean squares of the centred columns. A sample with less than a quarter of one would lead far away: its
    share is infinite, it is not finite anywhere, and all rows are used from the start.
    """
    # Each row tells of every free parameter of its own.
    few = -(-_FEW * o.coefficients // (o.curvature_block * o.family.free_size))
    stride = int(np.clip(o.rows.n // (_SAMPLE * o.coefficients), min(_SHARES), max(_SHARES)))
    order = np.arange(0, o.rows.n - o.rows.n % stride, stride)
    order += np.random.default_rng(0).integers(stride, size=order.size)
    # Every fifth of them first, so that the first blocks are a sample of that kind themselves.
    order = np.concatenate([order[i::5] for i in range(5)])
    # (the barrier, because from indices that it knows XLA gathers at a third of the speed)
    some = o.rows.take(lax.optimization_barrier(jnp.asarray(order, jnp.int32)))
    some = some._replace(weights=some.mass)

    def balanced(center: Array, spread: Array) -> tuple[Rows, Array]:
        some = _balanced(o.rows, center, spread, len(order))
        return some, _tells(some, center, spread, o.block)

    tells = _tells(some, o.center, spread, o.block)
    some, tells = where_needed(~tells, balanced, (some, tells), o.center, spread)
    return Subsample(some, jnp.where(tells, o.total / total_weight(o.family, some), jnp.inf), unit, few)


def _tells(some: Rows, center: Array, spread: Array, block: int) -> Array:
    """Whether the rows have enough of the spread of each column, and that not from a few of them: these might be separated."""
    size = min(block, some.n)

    def add(total: tuple[Array, Array], first: Array, fresh: Array) -> tuple[Array, Array]:
        part = some.block(first, size)
        mass = jnp.where(part.on & fresh, part.mass, 0)[:, None]
        shares = jnp.where(mass > 0, mass * jnp.square(part.X - center), 0)
        return total[0] + jnp.sum(shares, axis=0), total[1] + jnp.sum(jnp.square(shares), axis=0)

    # (block by block: all shares at once would be as large as the rows)
    seen, squares = fold_blocks(add, (jnp.zeros_like(spread), jnp.zeros_like(spread)), some.n, size)
    mass = jnp.sum(jnp.where(some.on, some.mass, 0))
    return jnp.all((seen >= _SEEN * spread * mass) & (jnp.square(seen) >= _TELLING * squares))


def _balanced(rows: Rows, center: Array, spread: Array, size: int) -> Rows:
    """Systematic sampling (each row in proportion to its chance, in the order of the file): chances are half alike for all, half the
    mean of x_ij^2 / sum_i x_ij^2 over the columns. A row weighs the inverse of its chance, and may come more than once."""
    mass = jnp.where(rows.on, rows.mass, 0)
    relative = jnp.where(spread > 0, 1 / jnp.where(spread > 0, spread, 1), 0) / len(spread)
    shares = jnp.sum(jnp.square(rows.X - center) * relative, axis=1)
    chance = mass * (1 + jnp.where(rows.on, shares, 0))
    edges = jnp.cumsum(chance)
    places = edges[-1] * (jnp.asarray(np.random.default_rng(1).permutation(size) + 0.5, edges.dtype) / size)
    index = jnp.minimum(jnp.searchsorted(edges, places), rows.n - 1)
    some = rows.take(index)
    return some._replace(weights=mass[index] / jnp.where(chance[index] > 0, chance[index], 1))
