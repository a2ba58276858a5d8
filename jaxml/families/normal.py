"""Normal families: the mean alone, a(eta) = eta^2 / 2, or mean and variance together."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import ndtr

from jaxml import special
from jaxml.families.base import Family, family, raised_spread
from jaxml.linalg import matmul


@family
class Normal(Family):
    """y real; eta = mu, T = y, a = eta^2 / 2, dispersion phi = variance, b = exp(-y^2 / (2 phi)) / sqrt(2 pi phi).

    ``Normal()`` leaves the variance to be estimated by a fit and takes it as 1 in a bare ``log_prob``.

    Args:
        variance: None, or a positive number shared by all observations.

    Example:
        >>> from jaxml import families
        >>> print(families.log_prob(families.Normal(variance=1.0), 0.0, 0.0))
        -0.91893...

    Source: notes 5.3; McCullagh & Nelder (1989), chapter 3.
    """

    variance: Any = None

    space = "real"
    default_link = "identity"
    canonical_link = "identity"
    canonical_scale = 1.0

    @property
    def dispersion(self):
        return 1 if self.variance is None else self.variance

    @property
    def estimates_dispersion(self):
        return self.variance is None

    def parameters_valid(self):
        return True if self.variance is None else (self.variance > 0) & jnp.isfinite(self.variance)

    def with_dispersion(self, phi):
        return Normal(variance=phi)

    def maximum_likelihood_dispersion(self, mean_deviance):
        return mean_deviance

    def log_partition(self, eta):
        return eta * eta / 2

    def statistic(self, y):
        return y

    def log_base(self, y):
        return -y * y / (2 * self.dispersion) - (special.LOG_2PI + jnp.log(self.dispersion)) / 2

    def support(self, y):
        return jnp.isfinite(y)

    def loss(self, eta, y):
        return _half_square_less(eta, y)

    def losses(self, eta, y):
        eta, y = eta.reshape(len(eta), -1), y.reshape(len(y), -1)
        return jnp.sum(eta * eta, axis=1) / 2 - matmul(y, eta.T)

    def natural(self, mean):
        return mean

    def conjugate(self, mean):
        return mean * mean / 2

    def log_saturated(self, y):
        return jnp.zeros_like(y) - (special.LOG_2PI + jnp.log(self.dispersion)) / 2

    def natural_from_coordinate(self, u):
        return u

    def cumulative(self, eta, y):
        z = (y - eta) / jnp.sqrt(self.dispersion)
        return ndtr(z), ndtr(-z)

    def expected_log_base(self, eta, trials=None):
        phi = self.dispersion
        return -(eta * eta / phi + 1 + special.LOG_2PI + jnp.log(phi)) / 2

    def entropy(self, eta, trials=None):
        return jnp.zeros_like(eta) + (1 + special.LOG_2PI + jnp.log(self.dispersion)) / 2

    def sample(self, key, eta, shape, trials=None):
        return eta + jnp.sqrt(self.dispersion) * jax.random.normal(key, shape + eta.shape, eta.dtype)


@family
class NormalMeanVariance(Family):
    """y real; eta = (mu / s2, -1 / (2 s2)), T = (y, y^2), a = -eta_1^2 / (4 eta_2) - log(-2 eta_2) / 2, b = 1 / sqrt(2 pi).

    The domain is eta_2 < 0; E[Y] = mu = -eta_1 / (2 eta_2) and the variance is s2 = -1 / (2 eta_2).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.mean(families.NormalMeanVariance(), jnp.array([2.0, -0.5])))  # mu = 2, s2 = 1
        [2. 5.]

    Source: Barndorff-Nielsen (1978), chapter 8.
    """

    natural_size = 2
    default_link = "unconstrained"

    def log_partition(self, eta):
        first, second, inside = _halves(eta)
        return jnp.where(inside, -first * first / (4 * second) - jnp.log(-2 * second) / 2, jnp.inf)

    def statistic(self, y):
        return jnp.stack([y, y * y], axis=-1)

    def log_base(self, y):
        return jnp.zeros_like(y) - special.LOG_2PI / 2

    def support(self, y):
        return jnp.isfinite(y)

    def loss(self, eta, y):
        # The square completed: no difference of large terms where the mean is many deviations from 0.
        first, second, inside = _halves(eta)
        return jnp.where(inside, -second * (y + first / (2 * second)) ** 2 - jnp.log(-2 * second) / 2, jnp.inf)

    def natural(self, mean):
        first, second = mean[..., 0], mean[..., 1]
        variance = second - first * first
        return _pack(first, jnp.where(variance >= 0, variance, jnp.nan))

    def divergence(self, p, q):
        first, second, inside = _halves(q)
        ratio = (second - p[..., 1]) / p[..., 1]  # s2_p / s2_q - 1
        between = self.expectation(p) + first / (2 * second)
        return jnp.where(inside, special.log_gap(ratio) / 2 - second * between**2, jnp.inf)

    def moments(self, y, weights):
        # Twice, with the rounding error of the mean taken out: numbers that are all equal have variance 0 (or next to nothing).
        mean = jnp.tensordot(weights, y, 1)
        rest = jnp.tensordot(weights, y - mean, 1)
        return mean + rest, jnp.maximum(jnp.tensordot(weights, (y - mean) ** 2, 1) - rest**2, 0)

    def merge(self, a, b, share):
        # Chan, Golub & LeVeque (1983): no difference of squares.
        between = share * (1 - share) * (b[0] - a[0]) ** 2
        return (1 - share) * a[0] + share * b[0], (1 - share) * a[1] + share * b[1] + between

    def from_moments(self, moments):
        return _pack(*moments)

    def raised(self, moments, pooled):
        rounding = 1e-3 * jnp.square(jnp.finfo(pooled[0].dtype).eps * pooled[0])
        variance, low = raised_spread(moments[1], pooled[1], rounding)
        return (moments[0], variance), jnp.sum(low)

    def from_unconstrained(self, z):
        """z = (mean, log variance)."""
        return _pack(z[..., 0], jnp.exp(z[..., 1]))

    def to_unconstrained(self, eta):
        return jnp.stack([self.expectation(eta), -jnp.log(-2 * eta[..., 1])], axis=-1)

    def expectation(self, eta):
        return -eta[..., 0] / (2 * eta[..., 1])

    def cumulative(self, eta, y):
        z = (y - self.expectation(eta)) * jnp.sqrt(-2 * eta[..., 1])
        return ndtr(z), ndtr(-z)

    def expected_log_base(self, eta, trials=None):
        return jnp.zeros_like(eta[..., 0]) - special.LOG_2PI / 2

    def entropy(self, eta, trials=None):
        return (1 + special.LOG_2PI - jnp.log(-2 * eta[..., 1])) / 2

    def support_function(self, v):
        first, second, inside = _halves(v)
        return jnp.where(inside, -first * first / (4 * second), jnp.where(jnp.all(v == 0, axis=-1), 0, jnp.inf))

    def sample(self, key, eta, shape, trials=None):
        first, second = eta[..., 0], eta[..., 1]
        noise = jax.random.normal(key, shape + first.shape, eta.dtype)
        return -first / (2 * second) + noise / jnp.sqrt(-2 * second)


@jax.custom_jvp
def _half_square_less(eta, y):
    """eta^2 / 2 - eta y, with the derivative eta - y, both without a difference of two infinite terms."""
    return eta * (eta / 2 - y)


@partial(_half_square_less.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    (eta, y), (d_eta, d_y) = primals, tangents
    absent = lambda tangent: isinstance(tangent, SymbolicZero)  # for 0 times an infinite eta is not 0
    change = jnp.zeros_like(eta * y) if absent(d_eta) else (eta - y) * d_eta
    return _half_square_less(eta, y), change if absent(d_y) else change - eta * d_y


def _halves(eta):
    """eta_1, eta_2 made safe, and whether eta is inside the domain."""
    inside = eta[..., 1] < 0
    return eta[..., 0], jnp.where(inside, eta[..., 1], -1), inside


def _pack(mean, variance):
    return jnp.stack([mean / variance, -1 / (2 * variance)], axis=-1)
