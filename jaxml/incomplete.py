r"""Tails of the gamma and beta laws, both to full relative precision, for parameters of any size.

    P(a, x) = integral_0^x t^(a-1) e^-t dt / Gamma(a),              I_x(a, b) = integral_0^x t^(a-1) (1-t)^(b-1) dt / B(a, b)

The usual factor x^a e^-x / Gamma(a) is a difference of logarithms of the size of a log a: at a = 1e5 it leaves one digit in float32.
Here it is Loader's: with d = x / a - 1 and g(d) = d - log(1 + d), which do not cancel, and the error delta of Stirling's formula,

    x^a e^-x / Gamma(a) = sqrt(a / (2 pi)) exp(-a g(d) - delta(a))

Where the parameters are large the tail away from the mean is an integral of a smooth density, taken by Gauss-Legendre from the point
to where the density has fallen by e^-40, whatever the parameters: no loop. Small ones go by series and continued fraction.

Source: Loader (2000); Press et al. (2007), *Numerical Recipes*, sections 6.2 and 6.4; Abramowitz & Stegun (1964), 26.5.8.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import gammainc, gammaincc

from jaxml import special
from jaxml.double_double import DoubleDouble, two_sum
from jaxml.loggamma import stirling_error

_LARGE = 20.0  # from here on by quadrature
_FALL = 40.0  # how far the logarithm of the density falls along the range of integration
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(40)[0] + 1) / 2, np.polynomial.legendre.leggauss(40)[1] / 2


def gamma_tails(a: Array, x: Array) -> tuple[Array, Array]:
    """P(a, x) and 1 - P(a, x): both tails of a gamma law of shape a at x.

    Args:
        a: positive.
        x: not negative, broadcast against ``a``; of the same dtype.

    Returns:
        The lower and the upper tail, both to within some tens of eps (for a < 1 the upper one: eps / a).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml.incomplete import gamma_tails
        >>> print(*(f"{v:.4f}" for v in gamma_tails(jnp.float32(1e6), jnp.float32(1e6))))
        0.5001 0.4999
    """
    a, x = jnp.broadcast_arrays(a, x)
    large, finite = a >= _LARGE, x < jnp.inf
    x = jnp.where(finite, x, 1)
    few, some = jnp.where(large, 1, a), jnp.where(large, 1, x)
    low, high = _gamma_quadrature(jnp.where(large, a, _LARGE), jnp.where(large, x, _LARGE))
    low, high = jnp.where(large, low, gammainc(few, some)), jnp.where(large, high, gammaincc(few, some))
    return jnp.where(finite, low, 1), jnp.where(finite, high, 0)


def beta_tails(a: Array, b: Array, x: Array, rest: Array) -> tuple[Array, Array]:
    """I_x(a, b) and 1 - I_x(a, b): both tails of a beta law at x.

    Args:
        a, b: positive.
        x: between 0 and 1.
        rest: 1 - x, given so that neither has to be a difference; all of one dtype and broadcast against each other.

    Returns:
        The lower and the upper tail, both to within some tens of eps, as far as x and rest are exact.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml.incomplete import beta_tails
        >>> print(*(f"{v:.4f}" for v in beta_tails(jnp.float32(2), jnp.float32(3), jnp.float32(0.25), jnp.float32(0.75))))
        0.2617 0.7383
    """
    a, b, x, rest = jnp.broadcast_arrays(a, b, x, rest)
    # The tail on the other side of the mean is the small one: that is computed, the other is what it leaves.
    turn = x * b > rest * a
    a, b = jnp.where(turn, b, a), jnp.where(turn, a, b)
    x, rest = jnp.where(turn, rest, x), jnp.where(turn, x, rest)
    inside = (x > 0) & (rest > 0)
    x, rest = jnp.where(inside, x, 0.5), jnp.where(inside, rest, 0.5)
    large = a >= _LARGE
    of = lambda here, a0: (jnp.where(here, v, v0) for v, v0 in ((a, a0), (b, a0), (x, 0.5), (rest, 0.5)))
    small = jnp.where(large, _beta_quadrature(*of(large, _LARGE)), _beta_fraction(*of(~large, 1.0)))
    small = jnp.where(inside, small, 0)
    return jnp.where(turn, 1 - small, small), jnp.where(turn, small, 1 - small)


# -- by quadrature -----------------------------------------------------------------------------------------------------
def _gamma_quadrature(a: Array, x: Array) -> tuple[Array, Array]:
    d, ratio = (x - a) / a, x / a
    up = d > 0
    fall = _FALL / a
    r = jnp.where(up, _reach_up(fall, jnp.where(up, d, 0)), -_reach_down(fall, jnp.where(up, 0, -d)))
    u = jnp.asarray(_NODES, a.dtype)
    step = r[..., None] * u  # t = ratio (1 + step), in units of the mean
    gap = _gap(d[..., None] + ratio[..., None] * step, ratio[..., None] * (1 + step))
    density = jnp.exp(-a[..., None] * gap) / (1 + step)
    total = jnp.abs(r) * jnp.sum(jnp.asarray(_WEIGHTS, a.dtype) * density, axis=-1)
    tail = jnp.sqrt(a) * jnp.exp(-stirling_error(a) - special.LOG_2PI / 2) * total
    tail = jnp.where(x > 0, tail, 0)
    return jnp.where(up, 1 - tail, tail), jnp.where(up, tail, 1 - tail)


def _beta_quadrature(a: Array, b: Array, x: Array, rest: Array) -> Array:
    """I_x(a, b) for x below the mean, over the logarithm of 1 - t: a power (1 - t)^(b - 1) with small b is smooth in that."""
    n = a + b
    below, above = _distances(a, b, x, rest)
    down = _reach_down(_FALL / a, jnp.maximum(below, 0)) * x / rest
    up = _reach_up(_FALL / b, jnp.maximum(above, 0))
    width = jnp.log1p(jnp.minimum(down, up))
    factor = jnp.exp(_log_beta_factor(a, b, n)) * width / x
    a, b, n, x, rest, below, above = (v[..., None] for v in (a, b, n, x, rest, below, above))
    growth = jnp.expm1(width[..., None] * jnp.asarray(_NODES, a.dtype))  # of 1 - t
    left = 1 - rest / x * growth  # t in units of x
    first = _gap(-below - rest * (n / a) * growth, x * (n / a) * left)
    second = _gap(above + rest * (n / b) * growth, rest * (n / b) * (1 + growth))
    density = jnp.exp(-a * first - b * second) / left
    return factor * jnp.sum(jnp.asarray(_WEIGHTS, density.dtype) * density, axis=-1)


def _reach_up(fall: Array, d: Array) -> Array:
    """r with ``d r + r^2 / (2 (1 + r)) = fall``, d >= 0: from 1 + d to (1 + d)(1 + r) the density falls by one to two times that."""
    gap = fall - d
    return jnp.where(
        gap > 0,
        (gap + jnp.sqrt(gap * gap + 2 * fall * (2 * d + 1))) / (2 * d + 1),
        2 * fall / (jnp.sqrt(gap * gap + 2 * fall * (2 * d + 1)) - gap),
    )


def _reach_down(fall: Array, d: Array) -> Array:
    """r with ``d r + r^2 / 2 = fall``, at most 1: the same from 1 - d down to (1 - d)(1 - r)."""
    return jnp.minimum(2 * fall / (d + jnp.sqrt(d * d + 2 * fall)), 1)


def _distances(a: Array, b: Array, x: Array, rest: Array) -> tuple[Array, Array]:
    """1 - x / p and rest / q - 1, whose products with a and b are equal: both from that of x and rest which is known better.

    The rounding of (a + b) x alone would be eps sqrt(a) standard deviations.
    """
    total = two_sum(a, b)
    from_x, from_rest = _minus(a, total.times(x)) / a, -_minus(b, total.times(rest)) / b
    left = x < rest
    return jnp.where(left, from_x, from_rest * (b / a)), jnp.where(left, from_x * (a / b), from_rest)


def _minus(a: Array, b: DoubleDouble) -> Array:
    return (a - b.high) - b.low


def _gap(d: Array, ratio: Array) -> Array:
    """``d - log(1 + d)``, given 1 + d also where d rounds to -1."""
    low = ratio < 0.25
    return jnp.where(low, d - jnp.log(jnp.where(low, ratio, 1)), special.log_gap(jnp.where(low, 0, d)))


# -- by a continued fraction -------------------------------------------------------------------------------------------
def _log_beta_factor(a: Array, b: Array, n: Array) -> Array:
    """log of p^a q^b / B(a, b), p = a / n, q = b / n."""
    size = jnp.log(a) + jnp.log(b / n) - special.LOG_2PI
    return size / 2 + stirling_error(n) - stirling_error(a) - stirling_error(b)


@jax.custom_jvp
def _beta_fraction(a: Array, b: Array, x: Array, rest: Array) -> Array:
    """I_x(a, b) for x below the mean, by a continued fraction."""
    return _lentz(a, b, x, rest)


@partial(_beta_fraction.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # In x by the density, for reverse mode does not pass a loop; in a and b through the loop, forward only.
    a, b, x, rest = primals
    still = lambda t: type(t) is SymbolicZero
    slope = jnp.zeros_like(x) if still(tangents[2]) else _beta_power(*primals) / (x * rest) * tangents[2]
    if not (still(tangents[0]) and still(tangents[1])):
        moves = [jnp.zeros_like(x) if still(t) else t for t in tangents[:2]]
        slope += jax.jvp(lambda a, b: _lentz(a, b, x, rest), (a, b), tuple(moves))[1]
    return _beta_fraction(*primals), slope


def _beta_power(a: Array, b: Array, x: Array, rest: Array) -> Array:
    """x^a (1 - x)^b / B(a, b)."""
    n = a + b
    below, above = _distances(a, b, x, rest)
    fit = a * _gap(-below, x * (n / a)) + b * _gap(above, rest * (n / b))
    return jnp.exp(_log_beta_factor(a, b, n) - fit)


def _lentz(a: Array, b: Array, x: Array, rest: Array) -> Array:
    """The continued fraction of Abramowitz & Stegun 26.5.8 in Lentz's form."""
    n = a + b
    front = _beta_power(a, b, x, rest) / a
    tiny, eps = jnp.asarray(jnp.finfo(a.dtype).tiny / jnp.finfo(a.dtype).eps, a.dtype), jnp.finfo(a.dtype).eps
    guard = lambda v: jnp.where(jnp.abs(v) < tiny, tiny, v)

    def going(carry: Any) -> Array:
        return jnp.any(carry[4]) & (carry[0] < 1000)

    def step(carry: Any) -> Any:
        m, c, d, value, active = carry
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / guard(1 + even * d), guard(1 + even / c)
        value_even = value * d * c
        odd = -(a + m) * (n + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / guard(1 + odd * d), guard(1 + odd / c)
        change = d * c
        value = jnp.where(active, value_even * change, value)
        return m + 1, c, d, value, active & (jnp.abs(change - 1) > 2 * eps)

    one = jnp.ones_like(a)
    d = 1 / guard(1 - n * x / (a + 1))
    value = lax.while_loop(going, step, (jnp.ones((), a.dtype), one, d, d, jnp.isfinite(x)))[3]
    return front * value
