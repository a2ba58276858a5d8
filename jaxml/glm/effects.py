r"""Marginal effects: how the mean of y changes with a column of x.

    average     sum_i w_i d mu(x_i) / d x_j / sum_i w_i                    at a point   d mu(x) / d x_j
    a dummy     the same means of mu(x with x_j = 1) - mu(x with x_j = 0)

Standard errors by the delta method, with the derivative in the coefficients taken by JAX.

Source: Greene (2018), *Econometric Analysis*, section 17.3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxml.compiling import program
from jaxml.dtypes import as_array, to_compute
from jaxml.glm.covariance import Inference, of_inference
from jaxml.glm.inference import read_level
from jaxml.glm.tails import two_sided, two_sided_quantile
from jaxml.linalg import matmul
from jaxml.prediction import expected_from
from jaxml.predictors import linear


class MarginalEffects(NamedTuple):
    """Effects of the d columns with errors, intervals and tests against 0; each (d,), or (d, k) for a mean of k numbers."""

    value: Array
    error: Array
    low: Array
    high: Array
    p_value: Array


@of_inference
def marginal_effects(
    inference: Inference, *, at: Any = "average", dummies: Any = (), level: Any = 0.95
) -> MarginalEffects:
    """Marginal effects on E[Y | x]; of Binomial and Multinomial for one trial.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        at: 'average' over the rows of the fit, 'mean', at their mean, or a point (d,).
        dummies: columns of 0 and 1, by number, whose effect is the change from 0 to 1.
        level: of the intervals.

    Returns:
        :class:`MarginalEffects`; NaN where the design does not determine an effect.

    Raises:
        ValueError: a point of another length, or no such column.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 1, 0, 1])
        >>> effects = glm.marginal_effects(glm.infer(glm.fit(families.Bernoulli(), X, y), X, y))
        >>> print(f"{effects.value[0]:.3f} +- {effects.error[0]:.3f}")
        0.182 +- 0.133

    Source: Greene (2018), section 17.3.
    """
    d = len(inference.params.weight)
    dummies = tuple(int(j) for j in dummies)
    for j in dummies:
        if not 0 <= j < d:
            raise ValueError(f"dummies names column {j}, but the columns are 0..{d - 1}")
    point = None
    if not isinstance(at, str):
        point, at = to_compute(as_array(at, "at"), inference.rows.X.dtype, "at"), "point"
        if point.shape != (d,):
            raise ValueError(f"at has shape {point.shape}, expected ({d},)")
    elif at not in ("average", "mean"):
        raise ValueError(f"at={at!r} is not known; use 'average', 'mean' or a point ({d},)")
    return _effects(inference, point, read_level(level, inference.covariance.dtype), at=at, dummies=dummies)


@program(static_argnames=("at", "dummies"))
def _effects(inference: Inference, point: Any, level: Array, *, at: str, dummies: tuple[int, ...]) -> MarginalEffects:
    fit, rows = inference.fit, inference.rows.safe()
    share = jnp.where(rows.on, rows.mass, 0) / jnp.sum(jnp.where(rows.on, rows.mass, 0))
    X, offset = rows.X, rows.offset
    if at != "average":
        X = (matmul(share, X) if point is None else point)[None]
        offset = None if offset is None else jnp.tensordot(share, offset, 1)[None]
        share = jnp.ones(1, X.dtype)
    theta, unravel = ravel_pytree(inference.params)
    over_rows = lambda values: jnp.tensordot(share, values, 1)

    def mean(z: Array) -> Array:
        return expected_from(fit, z, jnp.ones(z.shape[:1], z.dtype) if fit.family.has_trials else None)

    def effects(theta: Array) -> Array:
        params = unravel(theta)
        z = linear(params, X)
        z = z if offset is None else z + offset
        if z.ndim == 1:
            slope = over_rows(jax.jvp(mean, (z,), (jnp.ones_like(z),))[1])
            value = slope * params.weight
        else:
            slope = over_rows(jax.vmap(jax.jacfwd(lambda z: mean(z[None])[0]))(z))
            value = matmul(params.weight, slope.T)
        for j in dummies:
            step = params.weight[j]
            without = z - (X[:, j] * step if z.ndim == 1 else X[:, j, None] * step)
            value = value.at[j].set(over_rows(mean(without + step) - mean(without)))
        return value

    value = effects(theta)
    J = jax.jacfwd(effects)(theta).reshape(-1, len(theta))
    V, known = inference.combination(J)
    error = jnp.where(known, jnp.sqrt(jnp.diagonal(V)), jnp.nan).reshape(value.shape)
    t = two_sided_quantile(level, inference.freedom)
    p = jnp.where(inference.penalized, jnp.nan, two_sided(value / error, inference.freedom))
    return MarginalEffects(value, error, value - t * error, value + t * error, p)
