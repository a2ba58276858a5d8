r"""Tweedie families between Poisson and gamma: variance phi mu^p with 1 < p < 2, positive amounts with exact zeros.

Y is the sum of N gamma variables, N ~ Poisson(lam), each of shape g = (2 - p)/(p - 1): a claim count and the claims' sizes. With
x = y^(2-p) / (phi (2-p)) the density at the mean y itself, times y, is a sum over the counts j that the zeros leave,

    S(x) = sum_{j>=1} Poisson(j; x) Gamma(x g; shape j g) x g
         = sqrt(g) / (2 pi) sum_j exp(-(x - j - j log(x/j)) / (p-1) - delta(j) - delta(j g))

where delta is Stirling's error: the large terms of both laws have been taken together, so that none cancel. Up to x = 40 (p-1) all
terms that matter are summed. Above, where they are many and a smooth function of j with no end nearby, some 30 points at equal
distances do the same: the trapezoidal rule is then exact to rounding. What is left out is below e^-40 of the sum (e^-20 in float32).

Source: Dunn & Smyth (2005), "Series evaluation of Tweedie exponential dispersion model densities"; Jorgensen (1987); Loader (2000).
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxml import special
from jaxml.families.base import Family, family
from jaxml.families.poisson import draw
from jaxml.loggamma import stirling_error


@family
class Tweedie(Family):
    """y >= 0, 0 with positive probability; T = y, dispersion phi, variance phi mu^p, 1 < p < 2.

    eta = mu^(1-p) / (1-p) < 0, a = mu^(2-p) / (2-p), mu = ((1-p) eta)^(1/(1-p)), P(Y = 0) = exp(-a / phi). The density of y > 0 is
    log y + log p = log S(x) - deviance / (2 phi), see the module. ``Tweedie(p)`` leaves phi to be estimated by a fit and takes it as 1
    in a bare ``log_prob``. As p falls to 1 the family tends to Poisson, as it rises to 2 to Gamma, while eta loses the digits
    1 / (p - 1) and 1 / (2 - p) of the mean. The power is given, not estimated; log-likelihoods are differentiable in it. There is no
    closed form of the entropy, which is refused.

    Args:
        power: p, a number strictly between 1 and 2 shared by all observations; 1.5 is usual for insurance claims and rainfall.
        phi: None, or a positive number shared by all observations.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> law = families.Tweedie(1.5, phi=2.0)
        >>> print(families.mean(law, -1.0), families.variance(law, -1.0))  # mu = 4, phi mu^1.5 = 16
        4.0 16.0
        >>> print(f"{jnp.exp(families.log_prob(law, -1.0, 0.0)):.4f}")  # exp(-2)
        0.1353

    Source: Jorgensen (1987), "Exponential dispersion models"; McCullagh & Nelder (1989), section 2.2.
    """

    power: Any
    phi: Any = None

    mean_bounds = (0.0, math.inf)
    natural_bounds = (-math.inf, 0.0)
    space = "positive"
    default_link = "log"
    mass_at_zero = True
    dispersion_by_deviance = False
    parameters_rule = "power must lie strictly between 1 (Poisson) and 2 (Gamma), phi must be positive and finite"

    @property
    def dispersion(self):
        return 1 if self.phi is None else self.phi

    @property
    def estimates_dispersion(self):
        return self.phi is None

    def parameters_valid(self):
        inside = (self.power > 1) & (self.power < 2)
        return inside if self.phi is None else inside & (self.phi > 0) & jnp.isfinite(self.phi)

    def with_dispersion(self, phi):
        return Tweedie(self.power, phi=phi)

    def maximum_likelihood_dispersion(self, mean_deviance):
        """That of the saddle-point approximation of the density; a fit goes on from there to the maximum itself."""
        return mean_deviance

    def log_partition(self, eta):
        p, inside = self.power, eta < 0
        log_mean = -special.log((1 - p) * jnp.where(inside, eta, -1)) / (p - 1)
        return jnp.where(inside, jnp.exp((2 - p) * log_mean) / (2 - p), jnp.inf)

    def statistic(self, y):
        return y

    def log_base(self, y):
        positive = jnp.where(y > 0, y, 1)
        return self.log_saturated(y) - jnp.where(y > 0, self.conjugate(positive) / self.dispersion, 0)

    def support(self, y):
        return (y >= 0) & jnp.isfinite(y)

    def natural(self, mean):
        return mean ** (1 - self.power) / (1 - self.power)

    def conjugate(self, mean):
        p = self.power
        return mean ** (2 - p) / ((1 - p) * (2 - p))

    def log_saturated(self, y):
        p, positive = jnp.asarray(self.power, jnp.result_type(y)), jnp.where(y > 0, y, 1)
        return jnp.where(y > 0, log_series(positive ** (2 - p) / (self.dispersion * (2 - p)), p) - jnp.log(positive), 0)

    def natural_from_coordinate(self, u):
        return jnp.exp((1 - self.power) * u) / (1 - self.power)

    def loss_from_coordinate(self, u, y):
        p = self.power
        return jnp.exp((2 - p) * u) / (2 - p) + special.product(y, jnp.exp((1 - p) * u)) / (p - 1)

    def information_from_coordinate(self, u):
        return jnp.exp((2 - self.power) * u)

    def sample(self, key, eta, shape, trials=None):
        p, phi = self.power, self.dispersion
        key, other = jax.random.split(key)
        claims = draw(key, jnp.broadcast_to(self.log_partition(eta) / phi, shape + eta.shape))
        some = claims > 0
        shapes = jnp.where(some, claims, 1) * (2 - p) / (p - 1)
        log = jax.random.loggamma(other, shapes, dtype=eta.dtype) + jnp.log(phi) - jnp.log(-eta)
        # Amounts that underflow are not the zeros of no claim.
        return jnp.where(some, jnp.maximum(jnp.exp(log), jnp.finfo(eta.dtype).tiny), 0)


_CHUNK = 16  # points that are added in one go


def log_series(x: Array, p: Array) -> Array:
    """log S(x), see the module.

    Args:
        x: positive, y^(2-p) / (phi (2-p)), of any shape.
        p: the power, broadcast against x.

    Returns:
        Of the broadcast shape, differentiable in both.
    """
    nats, most = (40.0, 128) if x.dtype.itemsize >= 8 else (20.0, 64)
    x, p = jnp.broadcast_arrays(x, p)
    shape = (2 - p) / (p - 1)
    first, step, count = jax.lax.stop_gradient(_points(x, p, nats))
    term = lambda j: -_gap(x, j) / (p - 1) - _stirling_error(j) - _stirling_error(j * shape)
    unit = jax.lax.stop_gradient(term(jnp.maximum(jnp.round(x), 1)))  # a term near the largest

    def add(k: Any, total: Array) -> Array:
        return total + jnp.exp(term(first + step * k) - unit)

    def chunk(total: Array, start: Array) -> tuple[Array, None]:
        more = lambda total: jax.lax.fori_loop(0, _CHUNK, lambda k, total: add(start + k, total), total)
        return jax.lax.cond(jnp.any(count >= start), more, lambda total: total, total), None

    total, _ = jax.lax.scan(chunk, jnp.zeros_like(x), jnp.arange(0, most, _CHUNK, dtype=x.dtype))
    return jnp.log(step * total) + unit + jnp.log(shape) / 2 - special.LOG_2PI


def _points(x: Array, p: Array, nats: float) -> tuple[Array, Array, Array]:
    """The first count j, the distance to the next and how many more there are: all whose terms are within e^-nats of the largest, or
    where j = 0 is not near, points at 0.6 standard deviations of j, which with a bell curve is as good (error below e^-nats).

    The terms are exp(-x/(p-1) h(j/x)) up to a slow factor, and h(1 + t) = (1 + t) log(1 + t) - t is at least t^2 / (2 + 2t/3)
    above and t^2 / 2 below 0 (Bennett, Bernstein).
    """
    top = jnp.maximum(x, 1)
    c = nats * (p - 1) / top
    first = jnp.maximum(jnp.floor(top * (1 - jnp.sqrt(2 * c))) - 1, 1)
    last = top * (1 + c / 3 + jnp.sqrt(c * c / 9 + 2 * c)) + 2
    step = jnp.where(c < 1, jnp.maximum(0.6 * jnp.sqrt(x * (p - 1)), 1), 1)
    return first, step, (last - first) / step


def _gap(x: Array, j: Array) -> Array:
    """x - j - j log(x/j), by (x - j) s - 2 j (s^3/3 + s^5/5 + ...), s = (x - j)/(x + j), where the two are close (Loader 2000)."""
    d = x - j
    s = d / (x + j)
    series = functools.reduce(lambda series, k: 1 / k + s * s * series, range(19, 1, -2), jnp.zeros_like(s))
    return jnp.where(jnp.abs(s) < 0.1, s * (d - 2 * j * s * s * series), d - j * (jnp.log(x) - jnp.log(j)))


def _stirling_error(x: Array) -> Array:
    """:func:`jaxml.loggamma.stirling_error`, its value below 10 by log((x + 1) ... (x + 10)): good to 1e-14 and many times cheaper."""
    small = x < 10
    z, far = jnp.where(small, x, 1), jnp.where(small, x + 10, x)
    w = z * (z + 11)
    product = (w + 10) * (w + 18) * (w + 24) * (w + 28) * (w + 30)
    shift = (z + 10.5) * jnp.log(z + 10) - (z + 0.5) * jnp.log(z) - 10 - jnp.log(product)
    r = 1 / far
    t = r * r
    series = r * (1 / 12 - t * (1 / 360 - t * (1 / 1260 - t * (1 / 1680 - t * (1 / 1188 - t * (691 / 360360))))))
    return special.with_derivative_of(stirling_error, jnp.where(small, shift, 0) + series, x)
