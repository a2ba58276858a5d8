"""Poisson family: a(eta) = e^eta."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxml import special
from jaxml.families.base import Family, family
from jaxml.families.expectation import average, lattice
from jaxml.families.functions import log_density

_LOG_2PI = 1.8378770664093453


@family
class Poisson(Family):
    """y in {0, 1, 2, ...}; eta = log lambda in R, T = y, a = e^eta, b = 1 / y!. The mean is lambda.

    Example:
        >>> from jaxml import families
        >>> print(families.mean(families.Poisson(), 0.0))
        1.0

    Source: notes 5.3; McCullagh & Nelder (1989), chapter 6.
    """

    counts = True
    mean_bounds = (0.0, math.inf)
    space = "positive"
    default_link = "log"
    canonical_link = "log"

    def log_partition(self, eta):
        return jnp.exp(eta)

    def statistic(self, y):
        return y

    def log_base(self, y):
        return -gammaln(y + 1)

    def support(self, y):
        return (y >= 0) & (y == jnp.floor(y)) & jnp.isfinite(y)

    def hull(self, y):
        return (y >= 0) & jnp.isfinite(y)

    def natural(self, mean):
        return jnp.log(mean)

    def conjugate(self, mean):
        return special.xlogx(mean) - mean

    def log_saturated(self, y):
        positive = jnp.where(y > 0, y, 1)
        return jnp.where(y > 0, -special.stirling_error(positive) - (_LOG_2PI + jnp.log(positive)) / 2, 0)

    def natural_from_coordinate(self, u):
        return u

    def expected_log_base(self, eta, trials=None):
        y, weights = lattice(jnp.exp(eta), jnp.exp(eta))
        return average(self.log_base(y), log_density(self, eta, y), weights)

    def entropy(self, eta, trials=None):
        y, weights = lattice(jnp.exp(eta), jnp.exp(eta))
        log_mass = log_density(self, eta, y)
        return average(-log_mass, log_mass, weights)

    def sample(self, key, eta, shape, trials=None):
        return jax.random.poisson(key, jnp.exp(eta), shape + eta.shape).astype(eta.dtype)
