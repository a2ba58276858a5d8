r"""Tail probabilities of the reference distributions of tests, and the quantiles of intervals; all work inside jit.

    P(|T| > t) = I_{f/(f + t^2)}(f/2, 1/2),    P(F > x) = I_{f/(f + k x)}(f/2, k/2),    P(C > x) = Q(k/2, x/2)

with f degrees of freedom below, k above; f = inf gives the normal and the chi-square. Eight digits or more up to f = 1e5, in float64.

Source: Abramowitz & Stegun (1964), sections 26.4 to 26.7.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import betainc, gammaincc, gammaln, ndtr, ndtri

from jaxml.compiling import program


@program()
def chi_square_tail(x: Array, k: Any) -> Array:
    """P(C > x) of a chi-square with k degrees of freedom; 1 below 0 and for k = 0, NaN for NaN."""
    some = jnp.asarray(k) > 0
    return jnp.where(some, gammaincc(jnp.where(some, k, 1) / 2.0, jnp.maximum(x, 0) / 2), jnp.where(x == x, 1.0, x))


@program()
def f_tail(x: Array, k: Any, freedom: Array) -> Array:
    """P(F > x) with k and ``freedom`` degrees of freedom; 1 below 0 and for k = 0, NaN for NaN and without freedom."""
    finite, some = jnp.isfinite(freedom), jnp.asarray(k) > 0
    f = jnp.where(finite & (freedom > 0), freedom, jnp.where(finite, jnp.nan, 1)) * jnp.ones_like(x)
    k = jnp.where(some, k, 1) * jnp.ones_like(x)
    ratio = k * jnp.maximum(x, 0) / f
    left, right = ratio / (1 + ratio), 1 / (1 + ratio)
    # Of the two complementary forms the one that is no difference and whose argument is not next to 1.
    near, far = 1 - betainc(k / 2, f / 2, jnp.where(right > 0, left, 1)), betainc(f / 2, k / 2, right)
    value = jnp.where((left < 0.5) & (near > 0.5), near, far)
    value = jnp.where(finite, value, chi_square_tail(k * x, k))
    return jnp.where(some, value, jnp.where(x == x, 1.0, x))


@program()
def two_sided(t: Array, freedom: Array) -> Array:
    """P(|T| > |t|) of Student's t with ``freedom`` degrees of freedom, of the standard normal where that is infinite."""
    normal = 2 * ndtr(-jnp.abs(t))
    return jnp.where(jnp.isfinite(freedom), f_tail(jnp.square(t), 1, freedom), normal)


@program()
def two_sided_quantile(level: Array, freedom: Array) -> Array:
    """The t with P(|T| > t) = 1 - level.

    Newton's method on log P as a function of log t, which is concave, so that it converges from anywhere.
    """
    tail = 1 - jnp.asarray(level)
    normal = -ndtri(tail / 2)
    finite = jnp.isfinite(freedom)
    f = jnp.where(finite, freedom, 1.0)
    constant = gammaln((f + 1) / 2) - gammaln(f / 2) - jnp.log(f * jnp.pi) / 2

    def step(_: int, s: Array) -> Array:
        t = jnp.exp(s)
        log_density = constant - (f + 1) / 2 * jnp.log1p(t * t / f)
        p = f_tail(t * t, 1, f)
        return s + (jnp.log(p) - jnp.log(tail)) * p / (2 * jnp.exp(log_density) * t)

    student = jnp.exp(lax.fori_loop(0, 30, step, jnp.log(normal)))
    return jnp.where(finite, student, normal)
