r"""How far to shrink a covariance matrix, from the data: the intensity of least expected squared error.

    S* = (1 - s) S + s m diag(S),   s = min(1, sum_jl Var(c_j c_l) / (n sum_jl (S_jl - m 1{j = l})^2)),   m = tr(S) / d

for columns c of mean 0, in units in which S has a diagonal of ones. The variances of the products need fourth moments, and these, to
merge with those of other rows, third ones: E[c_j^2 c_l] and E[c_j^2 c_l^2], (d, d) each.

Source: Ledoit & Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices".
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxml.linalg import matmul


def comoments(residual: Array, weights: Array) -> tuple[Array, Array, Array]:
    """E[c_j c_l], E[c_j^2 c_l] and E[c_j^2 c_l^2] of rows (n, d) whose mean is 0, with weights (n,) that sum to 1."""
    square = residual * residual
    weighted = (square * weights[:, None]).T
    return matmul((residual * weights[:, None]).T, residual), matmul(weighted, residual), matmul(weighted, square)


def merge(a: Any, b: Any, share: Array) -> Any:
    """(mean, *comoments) of the mixture (1 - share) a + share b."""
    mean = (1 - share) * a[0] + share * b[0]
    pairs = zip(_about(mean, *a), _about(mean, *b), strict=True)
    return mean, *((1 - share) * left + share * right for left, right in pairs)


def shrunk(mean: Array, covariance: Array, fourth: Array, size: Array) -> Array:
    """S* (d, d) from `size` rows; columns that do not vary count as of variance 1, as in scikit-learn."""
    d = len(mean)
    variance = jnp.diagonal(covariance)
    varies = variance > 1e-3 * jnp.square(jnp.finfo(mean.dtype).eps * mean)
    scale = jnp.where(varies, variance, 1)
    correlation = covariance / jnp.sqrt(scale[:, None] * scale)
    target = jnp.trace(correlation) / d
    distance = jnp.sum(jnp.square(correlation - target * jnp.eye(d, dtype=mean.dtype)))
    noise = jnp.sum(fourth / (scale[:, None] * scale) - jnp.square(correlation)) / size
    s = jnp.where(distance > 0, jnp.clip(noise / jnp.where(distance > 0, distance, 1), 0, 1), 0)
    return (1 - s) * covariance + s * target * jnp.diag(scale)


def _about(center: Array, mean: Array, second: Array, third: Array, fourth: Array) -> tuple[Array, Array, Array]:
    """The same moments about another point than the mean."""
    step = mean - center
    across, down, variance = step, step[:, None], jnp.diagonal(second)
    mixed = down * across * second
    return (
        second + down * across,
        third + 2 * down * second + variance[:, None] * across + down**2 * across,
        fourth
        + 2 * (third * across + third.T * down)
        + variance[:, None] * across**2
        + variance * down**2
        + 4 * mixed
        + jnp.square(down * across),
    )
