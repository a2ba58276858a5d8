"""Stable primitives with derivative rules of their own.

Everything else in the package is differentiated by JAX. These few functions carry a rule because autodiff of a stable
formula is not always a stable formula: the second derivative of ``log(1 + e^x)`` taken by autodiff is exactly 0 from
x = 36 on in float64, and its first derivative at x = 0 depends on which branch of ``max(x, 0)`` is taken. Each rule is
again written in terms of a function of this file, so derivatives of any order stay stable.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import erfcx
from jax.typing import ArrayLike

LOG_2PI = 1.8378770664093453
_HALF_LOG_2PI = LOG_2PI / 2
_SQRT_HALF = 0.7071067811865476
_SQRT_2_OVER_PI = 0.7978845608028654


@jax.custom_jvp
def sigmoid(x: ArrayLike) -> Array:
    """``g(x) = 1 / (1 + e^-x)``, with ``g' = g(x) g(-x)`` free of the cancellation in ``1 - g``."""
    small = jnp.exp(-jnp.abs(x))  # as in softplus, so that a program with both computes it once
    return jnp.where(jnp.asarray(x) >= 0, 1, small) / (1 + small)


@sigmoid.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return sigmoid(x), _sigmoid_slope(x) * dx


@jax.custom_jvp
def _sigmoid_slope(x: ArrayLike) -> Array:
    """``g(x) g(-x)``, by the one exponential that :func:`sigmoid` and :func:`softplus` take, too."""
    small = jnp.exp(-jnp.abs(x))
    return small / jnp.square(1 + small)


@_sigmoid_slope.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _sigmoid_slope(x), _sigmoid_slope(x) * (sigmoid(-x) - sigmoid(x)) * dx


@jax.custom_jvp
def softplus(x: ArrayLike) -> Array:
    """``log(1 + e^x)``, the log-partition function of the Bernoulli family; its derivative is :func:`sigmoid`."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return softplus(x), sigmoid(x) * dx


@jax.custom_jvp
def binary_loss(failures: Array, successes: Array, x: Array) -> Array:
    """``f softplus(x) + s softplus(-x)``, minus the log-likelihood of f zeros and s ones at the log odds x.

    In either label the residual of a well-fitted row keeps its digits, and swapping labels flips signs. One exponential and one
    logarithm serve both terms and the derivative; the sum as it stands costs six times as much on a CPU.
    """
    linear, small = _binary_parts(failures, successes, x)
    return linear + (failures + successes) * jnp.log1p(small)


def total_binary_loss(successes: Array, x: Array, on: Array | None = None) -> Array:
    """The sum of :func:`binary_loss` over those rows that are ``on`` (None: all), each of one trial, with few logarithms."""
    linear, small = _binary_parts(1 - successes, successes, x)
    if on is not None:
        linear, small = jnp.where(on, linear, 0), jnp.where(on, small, 0)
    return jnp.sum(linear) + sum_log1p(small)


def _binary_parts(failures: Array, successes: Array, x: Array) -> tuple[Array, Array]:
    size = jnp.abs(x)
    larger = jnp.where(x >= 0, failures, successes)
    return jnp.where(larger == 0, 0, larger * size), jnp.exp(-size)


def sum_log1p(x: Array) -> Array:
    """``sum_i log(1 + x_i)`` of numbers from 0 to 1, (n,), by one logarithm for sixteen of them: it costs as much as ten products.

    ``(1 + a)(1 + b) - 1 = a + b + ab`` is a sum of positive terms, so no digits are lost, however small they are.
    """
    x = jnp.pad(x, (0, -len(x) % 16))
    for _ in range(4):
        a, b = jnp.split(x, 2)
        x = a + b + a * b
    return jnp.sum(jnp.log1p(x))


@jax.custom_jvp
def _binary_residual(failures: Array, successes: Array, x: Array) -> Array:
    """``f g(x) - s g(-x)``, the derivative of :func:`binary_loss` in x."""
    small = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, failures - successes * small, failures * small - successes) / (1 + small)


def _linear_in_counts(tangents: Any, of_failures: Callable[[], Array], of_successes: Callable[[], Array]) -> Any:
    """The part of a tangent that comes from the counts, which hardly anybody asks for: symbolic zeros cost nothing."""
    terms = zip(tangents, (of_failures, of_successes), strict=True)
    return sum(slope() * t for t, slope in terms if not isinstance(t, SymbolicZero))


@partial(binary_loss.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    f, s, x = primals
    change = _linear_in_counts(tangents[:2], lambda: softplus(x), lambda: softplus(-x))
    change += 0 if isinstance(tangents[2], SymbolicZero) else _binary_residual(f, s, x) * tangents[2]
    return binary_loss(f, s, x), change + jnp.zeros_like(x)


@partial(_binary_residual.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    f, s, x = primals
    change = _linear_in_counts(tangents[:2], lambda: sigmoid(x), lambda: -sigmoid(-x))
    change += 0 if isinstance(tangents[2], SymbolicZero) else (f + s) * _sigmoid_slope(x) * tangents[2]
    return _binary_residual(f, s, x), change + jnp.zeros_like(x)


@jax.custom_jvp
def reciprocal(x: Any) -> Array:
    """``1 / x``, with the derivative ``-(1 / x)^2``: the square of a small x, which JAX's rule divides by, underflows."""
    return 1 / jnp.asarray(x)


@reciprocal.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    r = reciprocal(x)
    return r, -r * r * dx


@jax.custom_jvp
def log(x: Any) -> Array:
    """``log x``; its derivative is :func:`reciprocal`."""
    return jnp.log(x)


@log.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return log(x), reciprocal(x) * dx


@jax.custom_jvp
def bose(x: Any) -> Array:
    """``q(x) = 1 / (e^-x - 1)`` for x < 0, with ``q' = q (1 + q)``: sums of positive terms only."""
    return 1 / jnp.expm1(-x)


@bose.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    q = bose(x)
    return q, q * (1 + q) * dx


def log1p(x: ArrayLike) -> Array:
    """``log(1 + x)``; that of XLA 0.10 on CPUs is off by up to 118 ulp for x between -0.42 and -0.37."""
    x = jnp.asarray(x)
    below = x < -0.3
    return jnp.where(below, jnp.log(1 + jnp.where(below, x, 0)), jnp.log1p(jnp.where(below, 0, x)))


def logit(m: ArrayLike) -> Array:
    """``log(m / (1 - m))``, the inverse of :func:`sigmoid`."""
    return jnp.log(m) - log1p(-jnp.asarray(m))


def exp_gap(x: Array) -> Array:
    """``e^x - 1 - x``, not negative, by its Taylor series near 0."""
    near = jnp.abs(x) < 0.5
    z = jnp.where(near, x, 0)
    series = jnp.ones_like(z)
    for k in range(17, 2, -1):
        series = 1 + series * z / k
    return jnp.where(near, z * z / 2 * series, jnp.expm1(jnp.where(near, 0, x)) - x)


def log_gap(x: Array) -> Array:
    """``x - log(1 + x)``, not negative, near 0 by ``x s - 2 (s^3/3 + s^5/5 + ...)``, ``s = x / (2 + x)``."""
    near = jnp.abs(x) < 0.5
    z = jnp.where(near, x, 0)
    s = z / (2 + z)
    series = jnp.zeros_like(z)
    for k in range(35, 1, -2):
        series = 1 / k + series * s * s
    far = jnp.where(near, 1, x)
    return jnp.where(near, s * (z - 2 * s * s * series), far - jnp.log(1 + far))


@jax.custom_jvp
def log1mexp(x: Any) -> Array:
    """``log(1 - e^x)`` for x < 0; the two forms change over at -log 2 (Maechler 2012, "Accurately computing log(1 - exp(-|a|))")."""
    near = x > -0.6931471805599453
    return jnp.where(near, jnp.log(-jnp.expm1(jnp.where(near, x, -1.0))), log1p(-jnp.exp(jnp.where(near, -1.0, x))))


@log1mexp.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return log1mexp(x), -bose(x) * dx


def log_expm1(x: Any) -> Array:
    """``log(e^x - 1)`` for x > 0, the inverse of :func:`softplus`."""
    return x + log1mexp(-jnp.asarray(x))


def inverse_mills(x: Any) -> Array:
    """``h(x) = phi(x) / Phi(x)``, the inverse Mills ratio, with ``h' = -h (x + h)``."""
    return inverse_mills_of_both(x)[0]


def inverse_mills_excess(x: Any) -> Array:
    """``x + h(x)``; below -6 by Laplace's continued fraction ``1/(t + 2/(t + 3/(t + ...)))``, ``t = -x``, without cancellation."""
    return _excess_of_both(x)[0]


# The two sides of 0 come together, for the scaled complementary error function at |x| gives all of them, and takes long to compile.
@jax.custom_jvp
def inverse_mills_of_both(x: Any) -> tuple[Array, Array]:
    """``h(x)`` and ``h(-x)``, see :func:`inverse_mills`."""
    x = jnp.asarray(x)
    t = jnp.abs(x)
    below, density = _SQRT_2_OVER_PI / erfcx(t * _SQRT_HALF), normal_density(t)
    return _sides(x, density / (1 - density / below), below)


@inverse_mills_of_both.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    (above, below), (over, under) = inverse_mills_of_both(x), _excess_of_both(x)
    return (above, below), (-above * over * dx, below * under * dx)


@jax.custom_jvp
def _excess_of_both(x: Any) -> tuple[Array, Array]:
    x = jnp.asarray(x)
    t = jnp.abs(x)
    far = jnp.maximum(t, 6)
    fraction = far
    for k in range(24, 1, -1):
        fraction = far + k / fraction
    above, below = _sides(x, *inverse_mills_of_both(x))  # at t and -t
    return _sides(x, t + above, jnp.where(t > 6, 1 / fraction, below - t))


@_excess_of_both.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    (above, below), (over, under) = inverse_mills_of_both(x), _excess_of_both(x)
    return (over, under), ((1 - above * over) * dx, (below * under - 1) * dx)


def _sides(x: Array, above: Array, below: Array) -> tuple[Array, Array]:
    """A function at x and -x, from what it is at |x| and -|x|."""
    negative = x < 0
    return jnp.where(negative, below, above), jnp.where(negative, above, below)


@jax.custom_jvp
def log_ndtr(x: Any) -> Array:
    """``log Phi(x)`` of the standard normal; its derivative is :func:`inverse_mills`."""
    x = jnp.asarray(x)
    above, below = _log_tails(jnp.abs(x))
    return jnp.where(x < 0, below, above)


@log_ndtr.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return log_ndtr(x), inverse_mills(x) * dx


@jax.custom_jvp
def log_odds_ndtr(x: Any) -> Array:
    """``log Phi(x) - log Phi(-x)``, the log odds of a probit model."""
    x = jnp.asarray(x)
    larger, smaller = _log_tails(jnp.abs(x))
    odds = jnp.where(x == 0, 0, larger - smaller)  # (which are log 1/2 by two formulas there)
    return jnp.where(x < 0, -odds, odds)


@log_odds_ndtr.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    above, below = inverse_mills_of_both(x)
    return log_odds_ndtr(x), (above + below) * dx


def _log_tails(t: Array) -> tuple[Array, Array]:
    """``log Phi(t)`` and ``log Phi(-t)``, t >= 0."""
    mills = upper_mills(t)
    return log1p(-normal_density(t) * mills), -t * t / 2 - _HALF_LOG_2PI + jnp.log(mills)


@jax.custom_jvp
def normal_density(x: Array) -> Array:
    """phi(x); a head of x whose square is exact is split off, for the rounding of x^2 would be magnified by e^(-x^2 / 2)."""
    grid = 2.0**20 if x.dtype.itemsize >= 8 else 2.0**8
    head = jnp.round(x * grid) / grid
    density = 0.3989422804014327 * jnp.exp(-head * head / 2)
    return density + density * jnp.expm1(-(x - head) * (x + head) / 2)  # (a product of two exp would be merged by XLA)


@normal_density.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    density = normal_density(x)
    return density, -x * density * dx


def upper_mills(x: Array) -> Array:
    """``(1 - Phi(x)) / phi(x)``, the Mills ratio, for x not far below 0."""
    return erfcx(x * _SQRT_HALF) / _SQRT_2_OVER_PI


@jax.custom_jvp
def softmax(x: Array) -> Array:
    """``e^x_k / sum_j e^x_j`` over the last axis."""
    top = jnp.max(x, axis=-1, keepdims=True)
    d = jnp.where(x == top, 0, x - top)
    # What rounding took from the difference (Knuth's two-sum): e^-60 would otherwise be off by up to 30 ulp.
    back = d - x
    lost = jnp.where(jnp.isfinite(d), (x - (d - back)) - (top + back), 0)
    e = jnp.exp(d)
    e = e + e * lost
    return e / jnp.sum(e, axis=-1, keepdims=True)


@softmax.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    p = softmax(x)
    # sum_j p_k p_j (dx_k - dx_j): no difference of nearly equal probabilities.
    return p, p * jnp.sum(p[..., None, :] * (dx[..., :, None] - dx[..., None, :]), axis=-1)


@jax.custom_jvp
def logsumexp(x: Array) -> Array:
    """``log sum_j e^x_j`` over the last axis; its gradient is :func:`softmax`."""
    top = lax.stop_gradient(jnp.max(x, axis=-1, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0)
    # log1p of the sum over all entries but one largest: where x is 0 and the rest far below, the answer keeps its digits.
    largest = jnp.arange(x.shape[-1]) == jnp.argmax(x, axis=-1, keepdims=True)
    rest = jnp.sum(jnp.where(largest, jnp.expm1(x - top), jnp.exp(x - top)), axis=-1)
    return jnp.log1p(rest) + top[..., 0]


@logsumexp.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return logsumexp(x), jnp.sum(softmax(x) * dx, axis=-1)


def product(x: ArrayLike, y: ArrayLike) -> Array:
    """``x y`` with 0 times infinity equal to 0, as limits such as ``0 log 0`` need; safe to differentiate."""
    limit = ((x == 0) & jnp.isinf(y)) | ((y == 0) & jnp.isinf(x))
    return jnp.where(limit, 0, jnp.where(limit, 1, x) * jnp.where(limit, 1, y))


def xlogx(x: Any) -> Array:
    """``x log x`` with value 0 at x = 0."""
    positive = x > 0
    return jnp.where(positive, x * jnp.log(jnp.where(positive, x, 1)), jnp.where(x == 0, 0, jnp.nan))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def with_derivative_of(fun: Callable[..., Array], value: Array, *args: Any) -> Array:
    """`value`, differentiated as ``fun(*args)``: for a value computed in a better or cheaper way than its formula.

    ``fun`` is not evaluated unless a derivative is asked for.
    """
    del fun, args
    return value


@with_derivative_of.defjvp
def _(fun, primals, tangents):
    value, *args = primals
    return value, jax.jvp(fun, tuple(args), tuple(tangents[1:]))[1].astype(value.dtype)
