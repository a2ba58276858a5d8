"""Cumulative distribution functions of families whose y is a number: both tails, so that neither is a difference from 1."""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxml.families.base import Family
from jaxml.families.door import compiled, holds_nan, in_dtype_of_eta, nan_outside, observations


@compiled
def cdf(family: Family, eta: ArrayLike, y: Any) -> Array:
    """P(Y <= y), the cumulative distribution function.

    Args:
        family: the law, at its own dispersion (1 where that is unknown).
        eta: natural parameter inside its domain (the answer is NaN elsewhere), (...) or (..., k).
        y: any numbers, broadcast against eta; for Binomial the pair (successes, trials).

    Returns:
        Probabilities of the broadcast shape and the floating dtype of eta, with full relative precision where they are small, too; NaN
        where eta or y is NaN.

    Raises:
        NotImplementedError: a family that does not define ``cumulative``: y is a vector or a class, or it is one's own.
        ValueError: eta without a last axis of k.

    Example:
        >>> from jaxml import families
        >>> print(f"{families.cdf(families.Poisson(), 0.0, 1):.4f}")  # 2 / e
        0.7358

    Source: Johnson, Kemp & Kotz (2005), *Univariate Discrete Distributions*; Shuster (1968) for the inverse Gaussian.
    """
    return _tails(family, eta, y)[0]


@compiled
def sf(family: Family, eta: ArrayLike, y: Any) -> Array:
    """P(Y > y) = 1 - cdf, the survival function, which keeps its digits in the upper tail.

    Args:
        family, eta, y: as for :func:`cdf`.

    Returns:
        As :func:`cdf`.

    Raises:
        NotImplementedError, ValueError: as :func:`cdf`.

    Example:
        >>> from jaxml import families
        >>> print(f"{families.sf(families.Normal(), 0.0, 8.0):.3e}")
        6.221e-16

    Source: see :func:`cdf`.
    """
    return _tails(family, eta, y)[1]


def _tails(family: Family, eta: ArrayLike, y: Any) -> tuple[Array, Array]:
    family, eta, y = in_dtype_of_eta(family, eta, observations(family, y))
    value, trials = y if family.has_trials and family.natural_size is None else (y, None)
    below, above = value == -jnp.inf, value == jnp.inf
    value = jnp.where(below | above, 0, jnp.floor(value) if family.discrete else value)
    low, high = family.cumulative(eta, value if trials is None else (value, trials))
    known = nan_outside(family, eta, jnp.where(holds_nan(family, eta, y), jnp.nan, 0))
    low = jnp.where(below, 0, jnp.where(above, 1, low)) + known
    return low, jnp.where(below, 1, jnp.where(above, 0, high)) + known
