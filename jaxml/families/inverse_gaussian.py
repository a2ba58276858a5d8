"""Inverse Gaussian family: a(eta) = -sqrt(-2 eta), eta = -1 / (2 mu^2); and mean and shape together."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import exp1, ndtr

from jaxml import special
from jaxml.families.base import Family, family, raised_spread, tails_from

_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(12)[0] + 1) / 2, np.polynomial.legendre.leggauss(12)[1] / 2


@family
class InverseGaussian(Family):
    """y > 0; eta = -1 / (2 mu^2) < 0, T = y, a = -sqrt(-2 eta), dispersion phi = 1 / shape, variance phi mu^3.

    log b = -1 / (2 phi y) - log(2 pi phi y^3) / 2. ``InverseGaussian()`` leaves the shape to be estimated by a fit and takes it
    as 1 in a bare ``log_prob``. At eta = 0, the edge of the domain, the law is proper (Lévy) but its mean is infinite.

    Args:
        shape: None, or a positive number shared by all observations.

    Example:
        >>> from jaxml import families
        >>> print(families.variance(families.InverseGaussian(shape=4.0), -0.125))  # mu = 2
        2.0

    Source: McCullagh & Nelder (1989), section 2.2; Tweedie (1957).
    """

    shape: Any = None

    mean_bounds = (0.0, math.inf)
    natural_bounds = (-math.inf, 0.0)
    space = "positive"
    default_link = "inverse_squared"
    canonical_link = "inverse_squared"
    canonical_scale = -0.5

    @property
    def dispersion(self):
        return 1 if self.shape is None else 1 / self.shape

    @property
    def estimates_dispersion(self):
        return self.shape is None

    def parameters_valid(self):
        return True if self.shape is None else (self.shape > 0) & jnp.isfinite(self.shape)

    def with_dispersion(self, phi):
        return InverseGaussian(shape=1 / phi)

    def maximum_likelihood_dispersion(self, mean_deviance):
        return mean_deviance

    def log_partition(self, eta):
        inside = eta <= 0
        return jnp.where(inside, -jnp.sqrt(0 - 2 * jnp.where(inside, eta, -1)), jnp.inf)

    def statistic(self, y):
        return y

    def log_base(self, y):
        return -1 / (2 * self.dispersion * y) + self.log_saturated(y)

    def support(self, y):
        return (y > 0) & jnp.isfinite(y)

    def hull(self, y):
        return (y >= 0) & jnp.isfinite(y)

    def natural(self, mean):
        return -1 / (2 * mean * mean)

    def conjugate(self, mean):
        return 1 / (2 * mean)

    def log_saturated(self, y):
        return -(special.LOG_2PI + jnp.log(self.dispersion)) / 2 - 1.5 * jnp.log(y)

    def natural_from_coordinate(self, u):
        return -jnp.exp(-2 * u) / 2

    def loss_from_coordinate(self, u, y):
        rate = jnp.exp(-u)
        return rate * (special.product(y, rate) / 2 - 1)

    def information_from_coordinate(self, u):
        return jnp.exp(-u)

    def cumulative(self, eta, y):
        return tails_from(0, y, partial(_tails, jnp.sqrt(-2 * eta), 1 / self.dispersion))

    def expected_log_base(self, eta, trials=None):
        mu, shape = 1 / jnp.sqrt(-2 * eta), 1 / self.dispersion
        return -(shape / mu + 1 + special.LOG_2PI - jnp.log(shape)) / 2 - 1.5 * _expected_log(mu, shape)

    def entropy(self, eta, trials=None):
        return _entropy(1 / jnp.sqrt(-2 * eta), 1 / self.dispersion)

    def sample(self, key, eta, shape, trials=None):
        return _draw(key, 1 / jnp.sqrt(-2 * eta), 1 / self.dispersion, shape + eta.shape)


@family
class InverseGaussianMeanShape(Family):
    """y > 0; eta = (-lam / (2 mu^2), -lam / 2), T = (y, 1/y), a = -2 sqrt(eta_1 eta_2) - log(-2 eta_2) / 2, b = 1 / sqrt(2 pi y^3).

    The domain is mean mu > 0, shape lam > 0; E[Y] = mu.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.mean(families.InverseGaussianMeanShape(), jnp.array([-0.5, -0.5])))  # mu = 1, lam = 1
        [1. 2.]

    Source: Tweedie (1957), "Statistical properties of inverse Gaussian distributions".
    """

    natural_size = 2
    default_link = "unconstrained"

    def log_partition(self, eta):
        mu, shape, inside = _mean_shape(eta)
        return jnp.where(inside, -shape / mu - jnp.log(shape) / 2, jnp.inf)

    def statistic(self, y):
        return jnp.stack([y, 1 / y], axis=-1)

    def log_base(self, y):
        return -(special.LOG_2PI + 3 * jnp.log(y)) / 2

    def support(self, y):
        return (y > 0) & jnp.isfinite(y)

    def loss(self, eta, y):
        inside = (eta[..., 0] < 0) & (eta[..., 1] < 0)
        return jnp.where(inside, _loss(*(jnp.where(inside, eta[..., i], -1) for i in (0, 1)), y), jnp.inf)

    def natural(self, mean):
        first, second = mean[..., 0], mean[..., 1]
        return _pack(first, first / (first * second - 1))

    def moments(self, y, weights):
        """E[Y], and E[1/Y] - 1/E[Y] as a mean of squares."""
        mean = jnp.tensordot(weights, y, 1)
        return mean, jnp.tensordot(weights, ((y - mean) / mean) ** 2 / y, 1)

    def merge(self, a, b, share):
        mean = (1 - share) * a[0] + share * b[0]
        gap = lambda m: ((m - mean) / mean) ** 2 / m
        return mean, (1 - share) * (a[1] + gap(a[0])) + share * (b[1] + gap(b[0]))

    def raised(self, moments, pooled):
        rounding = 1e-3 * jnp.finfo(pooled[1].dtype).eps ** 2 / pooled[0]
        gap, low = raised_spread(moments[1], pooled[1], rounding)
        return (moments[0], gap), jnp.sum(low)

    def from_moments(self, moments):
        return _pack(moments[0], 1 / moments[1])

    def from_unconstrained(self, z):
        """z = (log mean, log shape)."""
        return -jnp.exp(jnp.stack([z[..., 1] - 2 * z[..., 0], z[..., 1]], axis=-1)) / 2

    def to_unconstrained(self, eta):
        log = jnp.log(-2 * eta)
        return jnp.stack([(log[..., 1] - log[..., 0]) / 2, log[..., 1]], axis=-1)

    def expectation(self, eta):
        return _mean_shape(eta)[0]

    def cumulative(self, eta, y):
        mu, shape, _ = _mean_shape(eta)
        return tails_from(0, y, partial(_tails, 1 / mu, shape))

    def expected_log_base(self, eta, trials=None):
        mu, shape, _ = _mean_shape(eta)
        return -(special.LOG_2PI + 3 * _expected_log(mu, shape)) / 2

    def entropy(self, eta, trials=None):
        mu, shape, _ = _mean_shape(eta)
        return _entropy(mu, shape)

    def support_function(self, v):
        bounded = jnp.all(v <= 0, axis=-1)
        return jnp.where(bounded, -2 * jnp.sqrt(jnp.where(bounded, v[..., 0] * v[..., 1], 1)), jnp.inf)

    def sample(self, key, eta, shape, trials=None):
        mu, lam, _ = _mean_shape(eta)
        return _draw(key, mu, lam, shape + mu.shape)


@jax.custom_jvp
def _loss(first, second, y):
    """The square completed, lam (y - mu)^2 / (2 mu^2 y) - log(lam) / 2; its derivatives mean - T without the square, whose terms are
    y / mu times as large."""
    mu, shape = jnp.sqrt(second / first), -2 * second
    return shape * ((y - mu) / mu) ** 2 / (2 * y) - jnp.log(shape) / 2


@_loss.defjvp
def _(primals, tangents):
    (first, second, y), (d_first, d_second, d_y) = primals, tangents
    mu, shape = jnp.sqrt(second / first), -2 * second
    away = y - mu
    by_second = away / mu / y + 1 / shape
    by_y = shape * (away / mu / y) * ((y + mu) / mu / y) / 2
    return _loss(*primals), -away * d_first + by_second * d_second + by_y * d_y


def _mean_shape(eta):
    inside = (eta[..., 0] < 0) & (eta[..., 1] < 0)
    first, second = jnp.where(inside, eta[..., 0], -1), jnp.where(inside, eta[..., 1], -1)
    return jnp.sqrt(second / first), -2 * second, inside


def _pack(mean, shape):
    return jnp.stack([-shape / (2 * mean * mean), -shape / 2], axis=-1)


def _expected_log(mu, shape):
    """E[log Y] = log mu - e^x E_1(x), x = 2 shape / mu (Tweedie 1957)."""
    return jnp.log(mu) - _scaled_exp1(2 * shape / mu)


def _scaled_exp1(x):
    """e^x E_1(x); from 20 on by its continued fraction, good to 1e-16 with 24 levels."""
    large = x > 20
    near, far = jnp.where(large, 1, x), jnp.where(large, x, 21)
    fraction = far + 49
    for k in range(24, 0, -1):
        fraction = far + (2 * k - 1) - k * k / fraction
    return jnp.where(large, 1 / fraction, jnp.exp(near) * exp1(near))


def _entropy(mu, shape):
    return (1 + special.LOG_2PI - jnp.log(shape)) / 2 + 1.5 * _expected_log(mu, shape)


def _tails(rate, shape, y):
    """P(Y <= y) = Phi(a) + phi(a) M(b) and P(Y > y) = phi(a) [M(a) - M(b)], rate = 1 / mu and M = (1 - Phi) / phi.

    a, b = sqrt(shape / y) (y rate -+ 1). Shuster (1968) has e^(2 shape / mu) Phi(-b), which overflows, for phi(a) M(b).
    """
    some = y > 0
    root = jnp.sqrt(shape / jnp.where(some, y, 1))
    a, b = root * (y * rate - 1), root * (y * rate + 1)
    density = jnp.exp(-a * a / 2 - special.LOG_2PI / 2)
    mills = lambda t: 1 / special.inverse_mills(-t)
    right = a > 0
    t = jnp.where(right, a, 0)
    # Where M(a) and M(b) are close, their difference is the integral of -M'(t) = 1 - t M(t), which does not cancel.
    u = t + jnp.asarray(_NODES, t.dtype).reshape(-1, *[1] * t.ndim) * (b - t)
    fall = jnp.tensordot(jnp.asarray(_WEIGHTS, t.dtype), special.inverse_mills_excess(-u) * mills(u), axes=1)
    gap = jnp.where(mills(b) > mills(t) / 2, (b - t) * fall, mills(t) - mills(b))
    low = ndtr(a) + density * mills(b)
    return jnp.where(some, low, 0), jnp.where(some & right, density * gap, jnp.where(some, 1 - low, 1))


def _draw(key, mu, shape, size):
    """Michael, Schucany & Haas (1976), with the smaller root in a form free of cancellation."""
    key, other = jax.random.split(key)
    dtype = jnp.result_type(mu)
    r = mu * jax.random.normal(key, size, dtype) ** 2 / (2 * shape)
    ratio = 1 / (1 + r + jnp.sqrt(r * (r + 2)))
    keep = jax.random.uniform(other, size, dtype) * (1 + ratio) <= 1
    return mu * jnp.where(keep, ratio, 1 / ratio)
