"""log Gamma and its derivatives in the forms that families need, as sums of terms of one sign.

Each function reads its argument x at x, x + 1, ..., x + 15 and continues by an asymptotic series from x + 16 on, where six terms
reach float64. Differences, such as psi(x + h) - psi(x) in the mean of a beta law, are taken term by term and never of the
results, so that they keep their digits for any x, h > 0; derivatives are functions of this file again.

Source: Abramowitz & Stegun (1964), 6.1.41, 6.3.18, 6.4.11; Loader (2000), "Fast and accurate computation of binomial probabilities".
"""

from collections.abc import Sequence
from functools import partial
from math import factorial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxml import special

_SHIFT = 16
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)  # B_2, B_4, ..., B_12


def stirling_error(x: ArrayLike) -> Array:
    """``delta(x) = log Gamma(x + 1) - [(x + 1/2) log x - x + log(2 pi)/2]`` for x > 0 (Loader 2000).

    By its series from 16 on, and below by ``delta(x) = delta(x + 16) + sum_{k<16} [(x + k + 1/2) log(1 + 1/(x + k)) - 1]``:
    no difference of log Gammas, in the value or in the derivatives.
    """
    x = jnp.asarray(x)
    small = x < _SHIFT
    z = _shifted(jnp.where(small, x, 1))
    shift = jnp.sum((z + 0.5) * jnp.log1p(1 / z) - 1, axis=-1)
    big = jnp.where(small, x + _SHIFT, x)
    series = _even_powers([b / (2 * j * (2 * j - 1)) for j, b in enumerate(_BERNOULLI, 1)], 1 / big) * big
    return jnp.where(small, shift + series, series)


def log_factorial_gap(n: Array) -> Array:
    """``log n! - (n log n - n)`` for counts n, with its limit 0 at n = 0."""
    positive = jnp.where(n > 0, n, 1)
    return jnp.where(n > 0, stirling_error(positive) + (special.LOG_2PI + jnp.log(positive)) / 2, 0)


@jax.custom_jvp
def log_gamma_gap(x: Array) -> Array:
    """``log Gamma(x) - x log x + x`` for x > 0; its derivative is minus :func:`digamma_gap`."""
    return stirling_error(x) + (special.LOG_2PI - jnp.log(x)) / 2


@log_gamma_gap.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return log_gamma_gap(x), -digamma_gap(x) * dx


@jax.custom_jvp
def digamma_gap(x: ArrayLike) -> Array:
    """``log x - psi(x)`` for x > 0, positive: ``sum_{k<16} [1/z - log(1 + 1/z)], z = x + k``, and its series at x + 16.

    Example:
        >>> from jaxml.loggamma import digamma_gap
        >>> print(f"{digamma_gap(1.0):.4f}")  # Euler's constant
        0.5772
    """
    x = jnp.asarray(x)
    big = x + _SHIFT
    series = _even_powers([b / (2 * j) for j, b in enumerate(_BERNOULLI, 1)], 1 / big)
    return jnp.sum(special.log_gap(1 / _shifted(x)), axis=-1) + 0.5 / big + series


@digamma_gap.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return digamma_gap(x), -_trigamma_excess(x) * dx


def _trigamma_excess(x: Array) -> Array:
    """``psi'(x) - 1/x``: ``sum_{k<16} 1 / (z^2 (z + 1))``, and its series at x + 16."""
    z, big = _shifted(x), x + _SHIFT
    series = _even_powers(_BERNOULLI, 1 / big) / big
    return jnp.sum(1 / z / z / (z + 1), axis=-1) + 0.5 / big / big + series


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def polygamma(n: int, x: Array) -> Array:
    """``psi^(n)(x)``, n >= 1 static, for x > 0."""
    return (-1) ** (n + 1) * _size(n, x, jnp.inf)


@polygamma.defjvp
def _(n, primals, tangents):
    (x,), (dx,) = primals, tangents
    return polygamma(n, x), polygamma(n + 1, x) * dx


def polygamma_gap(n: int, x: Array, h: Array) -> Array:
    """``psi^(n)(x + h) - psi^(n)(x)``, n >= 0 static, for x, h > 0."""
    return (-1) ** n * _size(n, x, h)


def _size(n: int, x: Array, h: ArrayLike) -> Array:
    """The absolute value of :func:`polygamma_gap`, that of :func:`polygamma` where h is infinite."""
    # z^-m - (z + h)^-m, free of cancellation.
    fall = lambda z, h, m: (1 / z) ** m * -jnp.expm1(-m * jnp.log1p(h / z))
    big = x + _SHIFT
    near = factorial(n) * jnp.sum(fall(_shifted(x), jnp.asarray(h)[..., None], n + 1), axis=-1)
    lead = jnp.log1p(h / big) if n == 0 else factorial(n - 1) * fall(big, h, n)
    lead += factorial(n) / 2 * fall(big, h, n + 1)
    even = range(2, 2 * len(_BERNOULLI) + 1, 2)
    c = jnp.array([b * factorial(j + n - 1) / factorial(j) for b, j in zip(_BERNOULLI, even, strict=True)], x.dtype)
    m = jnp.array([float(j + n) for j in even], x.dtype)
    return near + (lead + jnp.sum(c * fall(big[..., None], jnp.asarray(h)[..., None], m), axis=-1))


def _even_powers(coefficients: Sequence[float], t: Array) -> Array:
    """c_1 t^2 + c_2 t^4 + ..."""
    total = jnp.zeros_like(t)
    for c in reversed(coefficients):
        total = t * t * (c + total)
    return total


def _shifted(x: Array) -> Array:
    """x, x + 1, ..., x + 15 along a new last axis."""
    return x[..., None] + jnp.arange(_SHIFT, dtype=x.dtype)
