"""The unconstrained coordinate of the mean as a function of z, for the named links of :mod:`jaxml.links`.

log f(z) for positive means and logit f(z) for those in (0, 1), f the inverse link, NaN where f(z) is outside. Each is written so
that neither it nor its derivatives pass through f(z), which rounds to 0 or 1, or through 1 - f(z), which cancels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxml import special

Map = Callable[[Array], Array]


def where_positive(fun: Map) -> Map:
    """The function for z > 0, NaN elsewhere."""
    return lambda z: jnp.where(z > 0, fun(jnp.where(z > 0, z, 1)), jnp.nan)


def logit_of_exp(z: Array) -> Array:
    """logit(e^z) = z - log(1 - e^z), z < 0."""
    inside = z < 0
    safe = jnp.where(inside, z, -1)
    return jnp.where(inside, safe - special.log1mexp(safe), jnp.nan)


def logit_of_square(z: Array) -> Array:
    """logit(z^2) = 2 log z - log(1 - z) - log(1 + z), 0 < z < 1."""
    inside = (z > 0) & (z < 1)
    safe = jnp.where(inside, z, 0.5)
    return jnp.where(inside, 2 * special.log(safe) - special.log1p(-safe) - jnp.log1p(safe), jnp.nan)


def logit_of_reciprocal(z: Array) -> Array:
    """logit(1 / z) = -log(z - 1), z > 1."""
    return where_positive(lambda x: -special.log(x))(z - 1)


def logit_of_inverse_root(z: Array) -> Array:
    """logit(z^-1/2) = log(1 + sqrt z) - log(z - 1), z > 1."""
    inside = z > 1
    safe = jnp.where(inside, z, 2)
    return jnp.where(inside, jnp.log1p(jnp.sqrt(safe)) - special.log(safe - 1), jnp.nan)


# -- probit: f(z) = Phi(z) -------------------------------------------------------------------------------------------
@jax.custom_jvp
def probit_mean(z: Array) -> Array:
    """Phi(z), the smaller of Phi(z) and 1 - Phi(z) to all its digits."""
    t = jnp.abs(z)
    tail = special.normal_density(t) * special.upper_mills(t)
    return jnp.where(z < 0, tail, 1 - tail)


@probit_mean.defjvp
def _(primals, tangents):
    (z,), (dz,) = primals, tangents
    return probit_mean(z), special.normal_density(z) * dz


# -- complementary log-log: f(z) = 1 - e^-x, x = e^z -----------------------------------------------------------------
@jax.custom_jvp
def cloglog_mean(z: Array) -> Array:
    """1 - e^-x, with the derivative ``x e^-x``."""
    return -jnp.expm1(-jnp.exp(z))


@cloglog_mean.defjvp
def _(primals, tangents):
    (z,), (dz,) = primals, tangents
    return cloglog_mean(z), _mean_slope(z) * dz


@jax.custom_jvp
def _mean_slope(z: Array) -> Array:
    x = _x(z)
    return x * jnp.exp(-x)


@_mean_slope.defjvp
def _(primals, tangents):
    (z,), (dz,) = primals, tangents
    slope = _mean_slope(z)
    return slope, slope * (1 - _x(z)) * dz


@jax.custom_jvp
def log_of_cloglog(z: Array) -> Array:
    """log(1 - e^-x), with the derivative ``x / (e^x - 1)``; far below 0 it is z."""
    low = z < -30
    return jnp.where(low, z - jnp.exp(z) / 2, special.log1mexp(-jnp.where(low, 1, _x(z))))


@log_of_cloglog.defjvp
def _(primals, tangents):
    (z,), (dz,) = primals, tangents
    return log_of_cloglog(z), _log_slope(z) * dz


@jax.custom_jvp
def _log_slope(z: Array) -> Array:
    x = _x(z)
    return jnp.where(z < -30, 1 - x / 2, x * jnp.exp(-x) / -jnp.expm1(-jnp.where(x > 0, x, 1)))


@_log_slope.defjvp
def _(primals, tangents):
    (z,), (dz,) = primals, tangents
    x, (low, inner) = _x(z), _inner(z)
    change = jnp.where(low, x / 2, special.exp_gap(-inner) / -jnp.expm1(-inner))  # x / (1 - e^-x) - 1
    slope = _log_slope(z)
    return slope, -slope * change * dz


@jax.custom_jvp
def logit_of_cloglog(z: Array) -> Array:
    """log(e^x - 1), with the derivative ``x / (1 - e^-x)``; far below 0 it is z.

    Where x overflows so does the value, but the derivative is the largest number: it has to give 0 times a residual of 0.
    """
    low = z < -30
    middle = special.log_expm1(jnp.where(low, 1, _x(z)))
    return jnp.where(low, z + jnp.exp(z) / 2, jnp.where(jnp.isinf(jnp.exp(z)), jnp.inf, middle))


@logit_of_cloglog.defjvp
def _(primals, tangents):
    (z,), (dz,) = primals, tangents
    return logit_of_cloglog(z), _logit_slope(z) * dz


@jax.custom_jvp
def _logit_slope(z: Array) -> Array:
    x = _x(z)
    return jnp.where(z < -30, 1 + x / 2, x / -jnp.expm1(-jnp.where(x > 0, x, 1)))


@_logit_slope.defjvp
def _(primals, tangents):
    (z,), (dz,) = primals, tangents
    x, (low, inner) = _x(z), _inner(z)
    inner = jnp.minimum(inner, 80)  # from there on x / (e^x - 1) is below the rounding of 1
    change = jnp.where(low, x / 2, special.exp_gap(inner) / jnp.expm1(inner))  # 1 - x / (e^x - 1)
    slope = _logit_slope(z)
    return slope, slope * change * dz


def _x(z: Array) -> Array:
    """e^z, the largest number where it overflows."""
    return jnp.minimum(jnp.exp(z), jnp.finfo(z.dtype).max)


def _inner(z: Array) -> tuple[Array, Array]:
    """Whether x^2 is below the rounding of x, and x, 1 there."""
    low = z < -37
    return low, jnp.where(low, 1, _x(z))
