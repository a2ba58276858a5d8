r"""The dual of a kernel support vector machine by sequential minimal optimisation.

In the signed variables beta_i = s_i a_i, with f = K beta and g = f + r beta - s the gradient, the dual is

    min_beta  beta'K beta / 2 + sum_i r_i beta_i^2 / 2 - s'beta,    min(0, s_i u_i) <= beta_i <= max(0, s_i u_i),    sum_i beta_i = 0

in the notation of :mod:`jaxml.kernels.margin`. A step moves one pair, beta_i up and beta_j down by the same amount: i is the variable
with the smallest gradient among those that can rise, j the one among those that can fall whose pair with i gains most. One more
variable without bounds, beta_0 = -sum_i beta_i at the cost k beta_0^2 / 2, stands for a bias that is penalised (k = 1) or missing
(k = 0), so that the same steps serve all three. Each reads two rows of K. After every round of steps f is computed anew and the
duality gap is measured: rounding errors do not pile up, and the gap is the stopping rule.

Source: Platt (1999), "Fast training of support vector machines using sequential minimal optimization"; Fan, Chen & Lin (2005),
"Working set selection using second order information for training support vector machines".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxml.kernels.margin import RUNNING, Margin, Search, before

_PATIENCE = 3  # rounds
_FIRST_ROUND = 0.1  # violation of the conditions of optimality, in units of a margin, at which the first round ends


class GramMatrix(NamedTuple):
    """What the search needs of K: row i, K v, and the diagonal; of the whole matrix or of one computed as it goes."""

    row: Callable[[Array], Array]
    matvec: Callable[[Array], Array]
    diagonal: Array


class _State(NamedTuple):
    beta: Array  # (n + 1,), beta_0 last
    gradient: Array
    steps: Array
    violation: Array


def sequential_minimal_optimization(
    gram: GramMatrix, margin: Margin, *, intercept: bool, penalize_bias: bool, tol: Any, max_steps: int
) -> tuple[Array, Array, Search]:
    """Solve the dual; see the module docstring.

    Args:
        gram: the kernel matrix of the rows.
        margin: signs and costs of the rows.
        intercept: static; whether there is a bias.
        penalize_bias: static; whether it is penalised as the weights are.
        tol: relative duality gap to stop at.
        max_steps: most steps.

    Returns:
        beta (n,), the bias () (0 without one), and how the search ended.
    """
    dual = _dual(gram, margin, intercept, penalize_bias)

    def trip(carry: Any) -> Any:
        start, target, best, search = carry
        most = jnp.minimum(max_steps - search.steps, max(1000, 2 * margin.sign.size))
        going = lambda s: (s.violation > target) & (s.steps < most)
        end = lax.while_loop(going, lambda s: _step(dual, s), start)
        beta, f = end.beta[:-1], gram.matvec(end.beta[:-1])
        gradient = jnp.append(f + margin.ridge * beta - margin.sign, dual.diagonal[-1] * end.beta[-1])
        bias = -end.beta[-1] if penalize_bias else _bias(dual, gradient, end.beta)
        bias = bias if intercept else jnp.zeros_like(target)
        norm = beta @ f + (bias * bias if penalize_bias else 0)
        objectives = margin.primal(norm, f + bias), margin.dual(norm, margin.sign * beta)
        better = search.better(*objectives)
        best = jnp.where(better, beta, best[0]), jnp.where(better, bias, best[1])
        search = search.after(*objectives, end.steps, tol=tol, max_steps=max_steps, patience=_PATIENCE)
        shrink = jnp.clip(tol / jnp.where(search.gap > 0, search.gap, 1) / 2, 0.01, 0.5)
        target = jnp.where(end.violation <= target, target * shrink, target)
        return _restarted(end.beta, gradient), target, best, search

    zero = jnp.zeros_like(margin.sign)
    start = _restarted(jnp.append(zero, 0), jnp.append(-margin.sign, 0))
    first = start, jnp.asarray(_FIRST_ROUND, zero.dtype), (zero, jnp.zeros((), zero.dtype)), before(zero.dtype)
    _, _, best, search = lax.while_loop(lambda carry: carry[-1].status == RUNNING, trip, first)
    return *best, search


class _Dual(NamedTuple):
    """The quadratic programme with beta_0 as its last variable."""

    row: Callable[[Array], Array]
    diagonal: Array
    low: Array
    high: Array


def _dual(gram: GramMatrix, margin: Margin, intercept: bool, penalize_bias: bool) -> _Dual:
    n, bound = margin.sign.size, margin.sign * margin.upper
    free = jnp.inf if penalize_bias or not intercept else 0.0
    diagonal = jnp.append(gram.diagonal + margin.ridge, 1.0 if penalize_bias and intercept else 0.0)

    def row(i: Array) -> Array:
        inner = jnp.append(jnp.where(i < n, gram.row(jnp.minimum(i, n - 1)), 0), 0)
        return inner.at[i].set(diagonal[i])

    return _Dual(row, diagonal, jnp.append(jnp.minimum(0, bound), -free), jnp.append(jnp.maximum(0, bound), free))


def _restarted(beta: Array, gradient: Array) -> _State:
    return _State(beta, gradient, jnp.int32(0), jnp.asarray(jnp.inf, beta.dtype))


def _step(dual: _Dual, s: _State) -> _State:
    low, high, diagonal = dual.low, dual.high, dual.diagonal
    i, least = _first_largest(jnp.where(s.beta < high, -s.gradient, -jnp.inf))
    row = dual.row(i)
    excess = jnp.where(s.beta > low, s.gradient + least, -jnp.inf)
    curvature = diagonal + diagonal[i] - 2 * row
    curvature = jnp.maximum(curvature, jnp.finfo(row.dtype).eps * jnp.max(diagonal))
    j, _ = _first_largest(jnp.where(excess > 0, excess * excess / curvature, -1))
    size = jnp.minimum(jnp.maximum(excess[j], 0) / curvature[j], jnp.minimum(high[i] - s.beta[i], s.beta[j] - low[j]))
    up, down = _within(s.beta[i] + size, low[i], high[i]), _within(s.beta[j] - size, low[j], high[j])
    gradient = s.gradient + (up - s.beta[i]) * row + (down - s.beta[j]) * dual.row(j)
    return _State(s.beta.at[i].set(up).at[j].set(down), gradient, s.steps + 1, jnp.max(excess))


def _bias(dual: _Dual, gradient: Array, beta: Array) -> Array:
    """Where the gradient plus the bias is 0: the middle of what the conditions of optimality leave open."""
    rising = jnp.min(jnp.where(beta < dual.high, gradient, jnp.inf))
    falling = jnp.max(jnp.where(beta > dual.low, gradient, -jnp.inf))
    rising, falling = jnp.where(rising < jnp.inf, rising, falling), jnp.where(falling > -jnp.inf, falling, rising)
    return jnp.where(jnp.isfinite(rising), -(rising + falling) / 2, 0)


def _first_largest(v: Array) -> tuple[Array, Array]:
    """argmax and max in two passes that vectorise, as one argmax does not on CPUs."""
    most = jnp.max(v)
    return jnp.min(jnp.where(v == most, jnp.arange(v.size), v.size - 1)), most


def _within(value: Array, low: Array, high: Array) -> Array:
    """Exactly on a bound where the step ends within rounding of it."""
    near = 8 * jnp.finfo(value.dtype).eps * jnp.where(jnp.isfinite(high - low), high - low, 0)
    return jnp.where(value >= high - near, high, jnp.where(value <= low + near, low, value))
