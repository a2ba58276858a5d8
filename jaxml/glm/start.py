"""Where a fit starts: the intercept-only model, or a point inside the domain of the family and link.

With an intercept the weights start at 0 and the bias at the solution of the intercept-only model with the offset. Where the
linear predictor is confined to an interval (inverse link, identity link of a positive mean, ...) and no bias alone fits, the
start is least squares on the link of y, moved into the domain by minimising the squared distance to it.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml import links
from jaxml.families.base import Family
from jaxml.families.functions import natural
from jaxml.glm.objective import GLMObjective
from jaxml.glm.survey import Survey
from jaxml.links import Link
from jaxml.optimize import Newton, driver
from jaxml.optimize.objective import Evaluation, Objective
from jaxml.predictors import Linear
from jaxml.records import record
from jaxml.rows import column


def starting_point(objective: GLMObjective, survey: Survey, intercept: bool) -> Linear:
    """A Linear for the centred columns, inside the domain where one is found."""
    family, link, rows = objective.family, objective.link, objective.rows
    k = () if family.natural_size is None else (family.natural_size,)
    zero = Linear(jnp.zeros(rows.X.shape[1:] + k, rows.X.dtype), jnp.zeros(k, rows.X.dtype) if intercept else None)
    level = intercept_only(family, link, survey)
    level = jnp.where(jnp.isfinite(level), level, 0)  # weights times responses may overflow
    low, high = links.domain(family, link)
    confined = family.natural_size is None and (low > -jnp.inf or high < jnp.inf)
    if not confined:
        if not intercept:
            return zero
        if rows.offset is None:
            return zero._replace(bias=level)
        return zero._replace(bias=_bias_with_offset(objective, level))
    if intercept and rows.offset is None:
        return zero._replace(bias=level)
    return _inside(objective, survey, level, zero, low, high)


def intercept_only(family: Family, link: Link, survey: Survey) -> Array:
    """The z of the intercept-only model without an offset, its mean moved off the boundary by half an observation."""
    m, n = survey.statistic, _observations(survey)
    if family.natural_size is not None:
        if family.redundant:
            m = jnp.where(jnp.any(m <= 0), (m * n + 0.5) / (n + 0.5 * family.natural_size), m)
        eta = natural(family, m)
        return family.to_unconstrained(eta) if link is links.unconstrained else eta
    return _link_of(family, link, _inner_mean(family, m, n))


def _observations(survey: Survey) -> Array:
    """Rows times trials, whatever the unit of the weights."""
    return survey.total * (survey.rows / survey.weight)


def _inner_mean(family: Family, m: Array, n: Array) -> Array:
    low, high = family.mean_bounds
    if high < jnp.inf:
        n = jnp.minimum(n, 0.25 / jnp.finfo(m.dtype).eps)  # of more, half an observation is rounded off
        return jnp.where((m <= low) | (m >= high), (m * n + 0.5 * (low + high)) / (n + 1), m)
    return jnp.maximum(m, low + 0.5 / n) if low > -jnp.inf else m


def _link_of(family: Family, link: Link, m: Array) -> Array:
    """g(m); for a link given only as its inverse f by a search for f(z) = m."""
    if link is links.canonical:
        return natural(family, m)
    return link.forward(m) if link.forward is not None else _search(link, m)


def _search(link: Link, m: Array) -> Array:
    """Solve f(z) = m for a monotone f: the nearest of a signed logarithmic grid, then bisection between its neighbours."""
    tail = jnp.logspace(-3, 3, 121, dtype=m.dtype)
    grid = jnp.concatenate([-tail[::-1], jnp.zeros(1, m.dtype), tail])
    values = link.inverse(grid) - m[..., None]
    finite = jnp.isfinite(values)
    change = finite[..., :-1] & finite[..., 1:] & (values[..., :-1] * values[..., 1:] <= 0)
    i = jnp.where(
        jnp.any(change, -1), jnp.argmax(change, -1), jnp.argmin(jnp.where(finite, jnp.abs(values), jnp.inf), -1)
    )
    i = jnp.clip(i, 0, grid.size - 2)
    rising = (
        jnp.take_along_axis(values, i[..., None] + 1, -1)[..., 0]
        >= jnp.take_along_axis(values, i[..., None], -1)[..., 0]
    )

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        below = (link.inverse(middle) < m) == rising
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = lax.fori_loop(0, 60, halve, (grid[i], grid[i + 1]))
    return jnp.where(jnp.any(change, -1), (low + high) / 2, grid[i])


def _bias_with_offset(objective: GLMObjective, level: Array) -> Array:
    """The same engine on a design without columns; from the mean of the offsets, or where these lie far apart from one of them."""
    rows = objective.rows.safe()
    w = column(rows.mass / jnp.sum(rows.mass), rows.offset)
    mean = jnp.sum(jnp.where(w > 0, w * rows.offset, 0), axis=0)
    some = rows.offset[:: max(1, rows.n // 1000)]  # (to sort all of them would take longer than a fit)
    middle = jnp.sort(some, axis=0)[len(some) // 2]
    middles = level - jnp.stack([mean, jnp.min(rows.offset, axis=0), middle, jnp.max(rows.offset, axis=0)])
    empty = rows._replace(X=rows.X[:, :0])
    l2 = Linear(objective.l2.weight[:0], objective.l2.bias)
    bare = GLMObjective(
        objective.family, empty, objective.center[:0], l2, objective.total, 1, objective.link, objective.block
    )
    values = lax.map(lambda bias: bare.loss(Linear(l2.weight, bias)), middles)
    values = jnp.where(jnp.isfinite(values), values, jnp.inf)
    far_better = ~(jnp.min(values) > values[0] - jnp.abs(values[0]) / 2)
    middle = middles[jnp.where(far_better, jnp.argmin(values), 0)]
    params = Linear(l2.weight, middle)
    result, _ = driver.minimize(bare, params, Newton(max_steps=30, reuse=False), tol=1e-3)
    return jnp.where(jnp.isfinite(result.params.bias), result.params.bias, middle)


@record
class _Distance(Objective):
    """sum_i max(0, low_i - z_i, z_i - high_i)^2 / 2: zero exactly inside the domain."""

    objective: GLMObjective
    low: Array
    high: Array

    def evaluate(self, params: Linear, curvature: Any, stage: Any) -> Evaluation:
        design, z = self.objective.linear(params)
        excess = jnp.maximum(z - self.high, 0) - jnp.maximum(self.low - z, 0)
        excess = jnp.where(self.objective.rows.on, excess, 0)
        gram = design.gram((excess != 0).astype(z.dtype))
        return Evaluation(jnp.sum(jnp.square(excess)) / 2, design.transposed(excess), gram)


def _inside(objective: GLMObjective, survey: Survey, level: Array, zero: Linear, low: float, high: float) -> Linear:
    family, link, rows = objective.family, objective.link, objective.rows
    center_mean = _inner_mean(family, survey.statistic, _observations(survey))
    target = _link_of(family, link, 0.9 * family.unit_statistic(rows.safe().y) + 0.1 * center_mean)
    target = jnp.where(jnp.isfinite(target), target, level)
    # A margin of a tenth of the typical distance to the edge, so that the first steps have room.
    room = 0.1 * jnp.minimum(jnp.abs(level - low), jnp.abs(high - level))
    design, z = objective.linear(zero)
    w = jnp.ones_like(z) if rows.weights is None else jnp.where(rows.on, rows.weights, 0)
    # (an SVD of what is not finite may never end)
    a = jnp.where(survey.ok, design.dense() * jnp.sqrt(w)[:, None], 0)
    theta = jnp.linalg.lstsq(a, jnp.where(w > 0, target - z, 0) * jnp.sqrt(w))[0]
    squares = ravel_pytree(zero)[1](theta)
    distance = _Distance(objective, low + room, high - room)
    moved, _ = driver.minimize(distance, squares, Newton(max_steps=60, reuse=False), tol=0.0)
    return moved.params
