"""Geometric and negative binomial families: waiting times, a(eta) in terms of log(1 - e^eta), eta < 0."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxml import special
from jaxml.families.base import Family, family, tails_from, unit_base
from jaxml.families.expectation import average, lattice
from jaxml.families.functions import log_density
from jaxml.families.poisson import draw
from jaxml.incomplete import beta_tails
from jaxml.loggamma import stirling_error


@family
class Geometric(Family):
    """y in {1, 2, ...}, trials up to the first success; eta = log(1 - phi) < 0, T = y, a = log(e^eta / (1 - e^eta)), b = 1.

    The mean is 1 / phi = 1 / (1 - e^eta).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.mean(families.Geometric(), jnp.log(0.5)))
        2.0

    Source: notes 5.3.
    """

    counts = True
    discrete = True
    mean_bounds = (1.0, math.inf)
    natural_bounds = (-math.inf, 0.0)
    space = "positive"
    default_link = "log"

    def log_partition(self, eta):
        inside = eta < 0
        eta = jnp.where(inside, eta, -1)
        return jnp.where(inside, eta - special.log1mexp(eta), jnp.inf)

    def statistic(self, y):
        return y

    log_base = unit_base

    def support(self, y):
        return (y >= 1) & (y == jnp.floor(y)) & jnp.isfinite(y)

    def hull(self, y):
        return (y >= 1) & jnp.isfinite(y)

    def moments(self, y, weights):
        """E[Y - 1], exactly 0 where all y are 1."""
        return jnp.tensordot(weights, y - 1, 1)

    def from_moments(self, moments):
        return -jnp.log1p(1 / moments)

    def natural(self, mean):
        large = mean > 2
        return jnp.where(large, special.log1p(-1 / jnp.where(large, mean, 2)), jnp.log((mean - 1) / mean))

    def conjugate(self, mean):
        return special.product(mean - 1, self.natural(mean)) - jnp.log(mean)

    def natural_from_coordinate(self, u):
        # A mean of 1 or less has no eta: 0, outside the domain, makes the loss infinite there.
        possible = u > 0
        return jnp.where(possible, special.log1mexp(-jnp.where(possible, u, 1)), 0)

    def loss_from_coordinate(self, u, y):
        possible = u > 0
        inside = jnp.where(possible, u, 1)
        return jnp.where(possible, inside + (1 - y) * special.log1mexp(-inside), jnp.inf)

    def information_from_coordinate(self, u):
        return 1 + special.bose(-u)

    def cumulative(self, eta, y):
        return tails_from(1, y, lambda y: (-jnp.expm1(eta * y), jnp.exp(eta * y)))

    def expected_log_base(self, eta, trials=None):
        return jnp.zeros_like(eta)

    def entropy(self, eta, trials=None):
        q = special.bose(eta)
        return special.product(q, -eta) - special.log1mexp(eta)

    def sample(self, key, eta, shape, trials=None):
        u = jax.random.uniform(key, shape + eta.shape, eta.dtype)
        return 1 + jnp.floor(jnp.log1p(-u) / eta)


@family
class NegativeBinomial(Family):
    """y in {0, 1, 2, ...}, variance mu + mu^2 / r; eta = log(mu / (mu + r)) < 0, T = y, a = -r log(1 - e^eta).

    b = Gamma(y + r) / (Gamma(r) y!). The size r is known: with r unknown this is not an exponential family.

    Args:
        r: a positive number, an integer or not, shared by all observations.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.variance(families.NegativeBinomial(2.0), jnp.log(0.5)))  # mu = 2
        4.0

    Source: McCullagh & Nelder (1989), section 6.2; Loader (2000).
    """

    r: Any

    counts = True
    discrete = True
    mean_bounds = (0.0, math.inf)
    natural_bounds = (-math.inf, 0.0)
    space = "positive"
    default_link = "log"

    def parameters_valid(self):
        return (self.r > 0) & jnp.isfinite(self.r)

    def log_partition(self, eta):
        inside = eta < 0
        return jnp.where(inside, -self.r * special.log1mexp(jnp.where(inside, eta, -1)), jnp.inf)

    def statistic(self, y):
        return y

    def log_base(self, y):
        return gammaln(y + self.r) - gammaln(self.r) - gammaln(y + 1)

    def support(self, y):
        return (y >= 0) & (y == jnp.floor(y)) & jnp.isfinite(y)

    def hull(self, y):
        return (y >= 0) & jnp.isfinite(y)

    def natural(self, mean):
        return -jnp.log1p(self.r / mean)

    def conjugate(self, mean):
        return special.product(mean, self.natural(mean)) - self.r * jnp.log1p(mean / self.r)

    def log_saturated(self, y):
        r, positive = self.r, jnp.where(y > 0, y, 1)
        error = stirling_error(positive + r) - stirling_error(r) - stirling_error(positive)
        # log(y / (y + r)) from the eta that fits y.
        spread = special.LOG_2PI + jnp.log(r) + self.natural(positive)
        return jnp.where(y > 0, -jnp.log1p(positive / r) + error - spread / 2, 0)

    def natural_from_coordinate(self, u):
        # -log(1 + r / mu), for a small mean log mu - log(r + mu): the rounding of log r - u would be magnified by |u|.
        large = u > -30
        ratio = self.r * jnp.exp(-jnp.where(large, u, 0))
        return jnp.where(large, -jnp.log1p(ratio), u - jnp.log(self.r + jnp.exp(u)))

    def loss_from_coordinate(self, u, y):
        t = u - jnp.log(self.r)
        return self.r * special.softplus(t) + special.product(y, special.softplus(-t))

    def information_from_coordinate(self, u):
        return self.r * special.sigmoid(u - jnp.log(self.r))

    def cumulative(self, eta, y):
        return tails_from(0, y, lambda y: beta_tails(self.r, y + 1, -jnp.expm1(eta), jnp.exp(eta)))

    def expected_log_base(self, eta, trials=None):
        y, log_mass, weights = self._rule(eta)
        return average(self.log_base(y), log_mass, weights)

    def entropy(self, eta, trials=None):
        _, log_mass, weights = self._rule(eta)
        return average(-log_mass, log_mass, weights)

    def sample(self, key, eta, shape, trials=None):
        key, other = jax.random.split(key)
        rate = special.bose(eta) * jax.random.gamma(other, self.r, shape + eta.shape, eta.dtype)
        return draw(key, rate)

    def _rule(self, eta):
        q = special.bose(eta)
        y, weights = lattice(self.r * q, self.r * q * (1 + q), jnp.maximum(-1 / eta, 1 / 3))
        return y, log_density(self, eta, y), weights
