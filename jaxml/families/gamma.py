"""Exponential and gamma families: a(eta) = -log(-eta), eta = -1 / mu < 0; and shape and rate together."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxml import special
from jaxml.families.base import Family, family, raised_spread, tails_from, unit_base
from jaxml.incomplete import gamma_tails
from jaxml.loggamma import digamma_gap, log_gamma_gap


@family
class Exponential(Family):
    """y > 0; eta = -rate < 0, T = y, a = -log(-eta), b = 1. The mean is -1 / eta.

    Example:
        >>> from jaxml import families
        >>> print(families.mean(families.Exponential(), -0.5))
        2.0

    Source: McCullagh & Nelder (1989), section 8.2.
    """

    mean_bounds = (0.0, math.inf)
    natural_bounds = (-math.inf, 0.0)
    space = "positive"
    default_link = "inverse"
    canonical_link = "inverse"
    canonical_scale = -1.0

    def log_partition(self, eta):
        inside = eta < 0
        return jnp.where(inside, -special.log(-jnp.where(inside, eta, -1)), jnp.inf)

    def statistic(self, y):
        return y

    log_base = unit_base

    def support(self, y):
        return (y > 0) & jnp.isfinite(y)

    def hull(self, y):
        return (y >= 0) & jnp.isfinite(y)

    def natural(self, mean):
        return -1 / mean

    def conjugate(self, mean):
        return -1 - jnp.log(mean)

    def natural_from_coordinate(self, u):
        return -jnp.exp(-u)

    def loss_from_coordinate(self, u, y):
        return u + special.product(y, jnp.exp(-u))

    def information_from_coordinate(self, u):
        return jnp.ones_like(u)

    def cumulative(self, eta, y):
        return tails_from(0, y, lambda y: (-jnp.expm1(eta * y), jnp.exp(eta * y)))

    def expected_log_base(self, eta, trials=None):
        return jnp.zeros_like(eta)

    def entropy(self, eta, trials=None):
        return 1 - jnp.log(-eta)

    def sample(self, key, eta, shape, trials=None):
        return _positive(jax.random.exponential(key, shape + eta.shape, eta.dtype) / -eta)


@family
class Gamma(Exponential):
    """y > 0; eta = -1 / mu < 0, T = y, a = -log(-eta), dispersion phi = 1 / shape, variance phi mu^2.

    log b = shape log(shape) - log Gamma(shape) + (shape - 1) log y. ``Gamma()`` leaves the shape to be estimated by a fit and
    takes it as 1 in a bare ``log_prob``.

    Args:
        shape: None, or a positive number shared by all observations.

    Example:
        >>> from jaxml import families
        >>> print(families.variance(families.Gamma(shape=4.0), -0.5))
        1.0

    Source: McCullagh & Nelder (1989), chapter 8.
    """

    shape: Any = None

    @property
    def dispersion(self):
        return 1 if self.shape is None else 1 / self.shape

    @property
    def estimates_dispersion(self):
        return self.shape is None

    def parameters_valid(self):
        return True if self.shape is None else (self.shape > 0) & jnp.isfinite(self.shape)

    def with_dispersion(self, phi):
        return Gamma(shape=1 / phi)

    def maximum_likelihood_dispersion(self, mean_deviance):
        return 1 / shape_from_gap(jnp.asarray(mean_deviance) / 2)

    def log_base(self, y):
        k = self._known(y)
        return k - log_gamma_gap(k) + (k - 1) * jnp.log(y)

    def cumulative(self, eta, y):
        k = self._known(eta)
        return tails_from(0, y, lambda y: gamma_tails(k, k * -eta * y))

    def log_saturated(self, y):
        k = self._known(y)
        return -log_gamma_gap(k) - jnp.log(y)

    def expected_log_base(self, eta, trials=None):
        k = self._known(eta)
        return k - log_gamma_gap(k) - (k - 1) * (jnp.log(-eta) + digamma_gap(k))

    def entropy(self, eta, trials=None):
        k = self._known(eta)
        return _entropy(k, jnp.log(k) + jnp.log(-eta))

    def sample(self, key, eta, shape, trials=None):
        k = self._known(eta)
        # By logarithms: draws with a small shape underflow otherwise.
        return _positive(
            jnp.exp(jax.random.loggamma(key, k, shape + eta.shape, eta.dtype) - jnp.log(-eta) - jnp.log(k))
        )

    def _known(self, like):
        return jnp.asarray(1.0 if self.shape is None else self.shape, jnp.result_type(like))


@family
class GammaShapeRate(Family):
    """y > 0; eta = (alpha, -beta), T = (log y, y), a = log Gamma(alpha) - alpha log beta, b = 1 / y.

    The domain is shape alpha > 0, rate beta > 0; E[Y] = alpha / beta.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> law = families.GammaShapeRate()
        >>> print(law.expectation(jnp.array([2.0, -4.0])))  # alpha = 2, beta = 4
        0.5

    Source: Barndorff-Nielsen (1978), chapter 8.
    """

    natural_size = 2
    default_link = "unconstrained"

    def log_partition(self, eta):
        alpha, beta, inside = _shape_rate(eta)
        return jnp.where(inside, _shape_rate_partition(alpha, beta), jnp.inf)

    def statistic(self, y):
        return jnp.stack([jnp.log(y), y], axis=-1)

    def log_base(self, y):
        return -jnp.log(y)

    def support(self, y):
        return (y > 0) & jnp.isfinite(y)

    def loss(self, eta, y):
        alpha, beta, inside = _shape_rate(eta)
        return jnp.where(inside, _shape_rate_loss(alpha, beta, y), jnp.inf)

    def natural(self, mean):
        alpha = shape_from_gap(jnp.log(mean[..., 1]) - mean[..., 0])
        return jnp.stack([alpha, -alpha / mean[..., 1]], axis=-1)

    def moments(self, y, weights):
        """E[Y], and log E[Y] - E[log Y] as a mean of terms of one sign."""
        mean = jnp.tensordot(weights, y, 1)
        return mean, jnp.tensordot(weights, _excess((y - mean) / mean, jnp.log(y) - jnp.log(mean)), 1)

    def merge(self, a, b, share):
        mean = (1 - share) * a[0] + share * b[0]
        gap = lambda m: _excess((m - mean) / mean, jnp.log(m) - jnp.log(mean))
        return mean, (1 - share) * (a[1] + gap(a[0])) + share * (b[1] + gap(b[0]))

    def raised(self, moments, pooled):
        gap, low = raised_spread(moments[1], pooled[1], 1e-3 * jnp.finfo(pooled[1].dtype).eps ** 2)
        return (moments[0], gap), jnp.sum(low)

    def from_moments(self, moments):
        mean, gap = moments
        alpha = shape_from_gap(gap)
        return jnp.stack([alpha, -alpha / mean], axis=-1)

    def from_unconstrained(self, z):
        """z = (log mean, log shape)."""
        return jnp.stack([jnp.exp(z[..., 1]), -jnp.exp(z[..., 1] - z[..., 0])], axis=-1)

    def to_unconstrained(self, eta):
        alpha, beta = jnp.log(eta[..., 0]), jnp.log(-eta[..., 1])
        return jnp.stack([alpha - beta, alpha], axis=-1)

    def expectation(self, eta):
        return -eta[..., 0] / eta[..., 1]

    def cumulative(self, eta, y):
        return tails_from(0, y, lambda y: gamma_tails(eta[..., 0], -eta[..., 1] * y))

    def expected_log_base(self, eta, trials=None):
        return jnp.log(-eta[..., 1]) - jnp.log(eta[..., 0]) + digamma_gap(eta[..., 0])

    def entropy(self, eta, trials=None):
        return _entropy(eta[..., 0], jnp.log(-eta[..., 1]))

    def support_function(self, v):
        log, linear = v[..., 0], v[..., 1]
        peak = special.xlogx(jnp.maximum(log, 0)) - special.product(jnp.maximum(log, 0), 1 + jnp.log(jnp.abs(linear)))
        bounded = (linear < 0) & (log >= 0)
        return jnp.where(bounded, peak, jnp.where((log == 0) & (linear == 0), 0, jnp.inf))

    def sample(self, key, eta, shape, trials=None):
        log = jax.random.loggamma(key, eta[..., 0], shape + eta.shape[:-1], eta.dtype)
        return _positive(jnp.exp(log - jnp.log(-eta[..., 1])))


def _positive(draws):
    """Draws that underflow to 0, which is outside the support, as the smallest number."""
    return jnp.maximum(draws, jnp.finfo(draws.dtype).tiny)


@jax.custom_jvp
@jax.jit  # the loop would be compiled anew by each eager call
def shape_from_gap(gap: Array) -> Array:
    """The k with ``log k - psi(k) = gap``: the shape of a gamma law by maximum likelihood.

    Minka's approximation, then Newton's method on the logarithms of both sides.

    Args:
        gap: positive, of any shape; log E[Y] - E[log Y] of a gamma law of shape k.

    Returns:
        k, of the shape of ``gap`` and differentiable in it; inf where it is 0, NaN where it is negative.

    Example:
        >>> from jaxml.families.gamma import shape_from_gap
        >>> print(f"{shape_from_gap(0.5772157):.4f}")
        1.0000

    Source: Minka (2002), "Estimating a Gamma distribution".
    """
    positive = gap > 0
    s = jnp.where(positive, gap, 1)
    k = (3 - s + jnp.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)

    def step(_, k):
        value, slope = jax.jvp(digamma_gap, (k,), (jnp.ones_like(k),))
        return k * jnp.exp((jnp.log(s) - jnp.log(value)) * value / (slope * k))

    return jnp.where(positive, jax.lax.fori_loop(0, 4, step, k), jnp.where(gap == 0, jnp.inf, jnp.nan))


@shape_from_gap.defjvp
def _(primals, tangents):
    (gap,), (tangent,) = primals, tangents
    k = shape_from_gap(gap)
    return k, tangent / jax.jvp(digamma_gap, (k,), (jnp.ones_like(k),))[1]


def _shape_rate(eta):
    inside = (eta[..., 0] > 0) & (eta[..., 1] < 0)
    return jnp.where(inside, eta[..., 0], 1), jnp.where(inside, -eta[..., 1], 1), inside


@jax.custom_jvp
def _shape_rate_partition(alpha, beta):
    """log Gamma(alpha) - alpha log beta, with the derivatives psi(alpha) - log beta and -alpha / beta."""
    return alpha * (_log_ratio(alpha, beta) - 1) + log_gamma_gap(alpha)


@_shape_rate_partition.defjvp
def _(primals, tangents):
    (alpha, beta), (d_alpha, d_beta) = primals, tangents
    slope = _log_ratio(alpha, beta) - digamma_gap(alpha)
    return _shape_rate_partition(alpha, beta), slope * d_alpha - alpha / beta * d_beta


@jax.custom_jvp
def _shape_rate_loss(alpha, beta, y):
    """alpha (x - 1 - log x), x = y / mean, and what is left of log Gamma: no difference of terms of the size of alpha, nor, in the
    derivatives -log x - log alpha + psi(alpha) and y - mean, of x."""
    excess = _excess((beta * y - alpha) / alpha, jnp.log(beta) + jnp.log(y) - jnp.log(alpha))
    return alpha * excess + log_gamma_gap(alpha)


@_shape_rate_loss.defjvp
def _(primals, tangents):
    (alpha, beta, y), (d_alpha, d_beta, d_y) = primals, tangents
    slope = -_log_ratio(beta * y, alpha) - digamma_gap(alpha)
    return _shape_rate_loss(*primals), slope * d_alpha + (y - alpha / beta) * d_beta + (beta - alpha / y) * d_y


def _log_ratio(p, q):
    """log(p / q), with all digits also where p and q are neighbours."""
    near = jnp.abs(p - q) < q / 2
    value = jnp.where(near, special.log1p(jnp.where(near, (p - q) / q, 0)), jnp.log(p) - jnp.log(q))
    return special.with_derivative_of(lambda p, q: jnp.log(p) - jnp.log(q), value, p, q)


def _excess(d, log):
    """d - log(1 + d), given the logarithm also where 1 + d rounds to 0."""
    near = jnp.abs(d) < 0.5
    return d - jnp.where(near, special.log1p(jnp.where(near, d, 0)), log)


def _entropy(k, log_rate):
    return log_gamma_gap(k) + jnp.log(k) - log_rate + (k - 1) * digamma_gap(k)
