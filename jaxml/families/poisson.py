"""Poisson family: a(eta) = e^eta."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxml import special
from jaxml.families.base import Family, family, tails_from
from jaxml.families.expectation import average, lattice
from jaxml.families.functions import log_density
from jaxml.incomplete import gamma_tails
from jaxml.linalg import matmul
from jaxml.loggamma import log_factorial_gap


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
    discrete = True
    mean_bounds = (0.0, math.inf)
    space = "positive"
    default_link = "log"
    canonical_link = "log"
    canonical_scale = 1.0

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

    def losses(self, eta, y):
        rate = jnp.exp(eta)
        impossible = matmul(y.reshape(len(y), -1), jnp.where(rate > 0, 0.0, 1.0).reshape(len(eta), -1).T) > 0
        total = jnp.sum(rate.reshape(len(eta), -1), axis=1)
        logs = jnp.where(rate > 0, eta, 0).reshape(len(eta), -1)
        return jnp.where(impossible, jnp.inf, total - matmul(y.reshape(len(y), -1), logs.T))

    def natural(self, mean):
        return jnp.log(mean)

    def conjugate(self, mean):
        return special.xlogx(mean) - mean

    def divergence(self, p, q):
        near = jnp.abs(q - p) < 0.5
        return jnp.where(near, jnp.exp(p) * special.exp_gap(jnp.where(near, q - p, 0)), jnp.nan)

    def log_saturated(self, y):
        return -log_factorial_gap(y)

    def natural_from_coordinate(self, u):
        return u

    def cumulative(self, eta, y):
        return tails_from(0, y, lambda y: gamma_tails(y + 1, jnp.exp(eta))[::-1])

    def expected_log_base(self, eta, trials=None):
        y, weights = lattice(jnp.exp(eta), jnp.exp(eta))
        return average(self.log_base(y), log_density(self, eta, y), weights)

    def entropy(self, eta, trials=None):
        y, weights = lattice(jnp.exp(eta), jnp.exp(eta))
        log_mass = log_density(self, eta, y)
        return average(-log_mass, log_mass, weights)

    def sample(self, key, eta, shape, trials=None):
        return draw(key, jnp.broadcast_to(jnp.exp(eta), shape + eta.shape))


def draw(key, rate):
    """Poisson counts of the given rates, in their dtype; from 10 on by transformed rejection (Hoermann 1993, algorithm PTRS).

    jax.random.poisson computes in float32 and is biased from rates of 1e5 on.
    """
    small_key, key = jax.random.split(key)
    large = rate >= 10
    mu = jnp.where(large & jnp.isfinite(rate), rate, 10)
    b = 0.931 + 2.53 * jnp.sqrt(mu)
    a = 0.02483 * b - 0.059
    squeeze, area = 0.9277 - 3.6224 / (b - 2), jnp.log(1.1239 + 1.1328 / (b - 3.4))

    def attempt(carry):
        key, y, done, trips = carry
        key, first, second = jax.random.split(key, 3)
        u = jax.random.uniform(first, mu.shape, mu.dtype) - 0.5
        v = 1 - jax.random.uniform(second, mu.shape, mu.dtype)
        side = 0.5 - jnp.abs(u)
        k = jnp.floor((2 * a / side + b) * u + mu + 0.43)
        mass = log_density(Poisson(), jnp.log(mu), jnp.maximum(k, 0))
        accept = ((side >= 0.07) & (v <= squeeze)) | (
            (k >= 0) & ((side >= 0.013) | (v <= side)) & (jnp.log(v) + area - jnp.log(a / side**2 + b) <= mass)
        )
        return key, jnp.where(accept & ~done, k, y), done | accept, trips + 1

    going = lambda carry: ~jnp.all(carry[2]) & (carry[3] < 1000)
    _, y, _, _ = jax.lax.while_loop(going, attempt, (key, jnp.round(mu), ~large, 0))
    few = jax.random.poisson(small_key, jnp.where(large, 1, rate), rate.shape).astype(rate.dtype)
    return jnp.where(large, jnp.where(jnp.isfinite(rate), y, rate), few)
