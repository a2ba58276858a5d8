r"""A certificate that a likelihood has no maximum.

A direction D of the parameters along which no row's log-likelihood ever falls and some row's rises proves it: with v_i = D x_i
and s the support function of T, every row must have s(v_i) = <T(y_i), v_i>. For a Bernoulli y that is (2 y - 1) v >= 0.
With l2 > 0 only unpenalised directions (the bias) can run away.

Source: Albert & Anderson (1984), Biometrika 71; Geyer (2009), Electronic Journal of Statistics 3.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.glm.objective import GLMObjective
from jaxml.linalg import matmul
from jaxml.predictors import Linear


def runs_away(o: GLMObjective, params: Linear, step: Linear, extreme: Array) -> Array:
    """Whether a direction certifies separation: the step, the params, the part of the step that leaves settled rows alone, or
    ``extreme``, one of the bias alone.

    Under quasi-complete separation some rows keep a finite predictor: those that the step moves by less than a fraction of the
    largest movement are taken as settled, and the step is projected on the null space of their x.
    """
    x, y = o.linear(params)[0].dense(), o.rows.safe().y
    moving, reached = (
        _stack(jax.tree.map(lambda p, a: jnp.where(p > 0, 0, a), o.l2, _seen(o, d))) for d in (step, params)
    )
    bias = moving if params.bias is None else jnp.zeros_like(moving).at[-1].set(jnp.where(o.l2.bias > 0, 0, extreme))
    candidates = (
        jnp.stack([moving, reached, bias, moving, moving, moving]),
        jnp.array([0, 0, 0, 1e-1, 1e-2, 1e-4], x.dtype),
    )
    return jnp.any(lax.map(lambda c: _certifies(o, x, y, *c), candidates))


def _seen(o: GLMObjective, direction: Linear) -> Linear:
    """The direction without its part in the null space of X."""
    if o.flat is None:
        return direction
    d, unravel = ravel_pytree(direction)
    return unravel(d - matmul(o.flat, d))


def _stack(direction: Linear) -> Array:
    return direction.weight if direction.bias is None else jnp.concatenate([direction.weight, direction.bias[None]])


def _certifies(o: GLMObjective, x: Array, y: Any, D: Array, threshold: Array) -> Array:
    size = _spread(matmul(x, D))
    settled = size <= threshold * jnp.max(size)
    D = _project(jnp.where(settled[:, None], x, 0), D)
    v = matmul(x, D)
    # The rounding of each v, a sum of d products.
    noise = 100 * jnp.finfo(x.dtype).eps * matmul(jnp.abs(x), jnp.abs(D))
    noise = noise if v.ndim == 1 else jnp.max(noise, axis=-1)
    still = _spread(v) <= noise
    v = jnp.where(still if v.ndim == 1 else still[:, None], 0, v)
    m = o.family.trials(y)
    gap = m * o.family.support_function(v) - o.family.inner(v, o.family.statistic(y))
    # Classes may tie, up to rounding; for a scalar statistic what is not rounding is a violation.
    room = noise * jnp.maximum(m, 1) if o.family.redundant else 0
    # A projection that leaves next to nothing of the direction is rounding itself.
    left = jnp.max(_spread(v)) > jnp.sqrt(jnp.finfo(x.dtype).eps) * jnp.max(size)
    return jnp.all(gap <= room) & left


def _spread(v: Array) -> Array:
    """How far a row moves: |v|, or for several classes the range, since a common shift is no movement."""
    return jnp.abs(v) if v.ndim == 1 else jnp.max(v, axis=-1) - jnp.min(v, axis=-1)


def _project(kept: Array, D: Array) -> Array:
    """The part of D in the null space of the rows `kept` (the others are zero), columns scaled to unit length.

    Eigenvectors of the Gram lose half of the digits; the correction by what `kept` still sees of the projection restores them.
    """
    length = jnp.linalg.norm(kept, axis=0)
    scale = jnp.where(length > 0, length, 1)
    column = scale if D.ndim == 1 else scale[:, None]
    kept = kept / scale
    values, vectors = jnp.linalg.eigh(matmul(kept.T, kept))
    null = values <= 1e4 * jnp.finfo(kept.dtype).eps * jnp.max(values)
    free, bound = jnp.where(null, vectors, 0), jnp.where(null, 0, vectors)
    part = matmul(free, matmul(free.T, D * column))
    seen = matmul(bound.T, matmul(matmul(kept, part).T, kept).T)
    inverse = jnp.where(null, 0, 1 / jnp.where(null, 1, values))
    return (part - matmul(bound, seen * (inverse if D.ndim == 1 else inverse[:, None]))) / column
