"""Bernoulli and binomial families: a(eta) = log(1 + e^eta)."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxml import special
from jaxml.families.base import Family, family, unit_base
from jaxml.families.expectation import average, lattice
from jaxml.families.functions import log_density
from jaxml.incomplete import beta_tails
from jaxml.linalg import matmul
from jaxml.loggamma import stirling_error


@family
class Bernoulli(Family):
    """y in {0, 1}; eta = log(phi / (1 - phi)), T = y, a = log(1 + e^eta), b = 1.

    The domain is R; the mean phi is the logistic function of eta.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.mean(families.Bernoulli(), jnp.log(3.0)).round(2))
        0.75

    Source: notes 5.2; McCullagh & Nelder (1989), chapter 4.
    """

    discrete = True
    mean_bounds = (0.0, 1.0)
    space = "unit"
    default_link = "logit"
    canonical_link = "logit"
    canonical_scale = 1.0

    def log_partition(self, eta):
        return special.softplus(eta)

    def statistic(self, y):
        return y

    log_base = unit_base

    def support(self, y):
        return (y == 0) | (y == 1)

    def hull(self, y):
        return (y >= 0) & (y <= 1)

    def loss(self, eta, y):
        return special.binary_loss(1 - y, y, eta)

    def total_loss(self, eta, y, on=None):
        return special.total_binary_loss(y, eta, on)

    def losses(self, eta, y):
        return outcomes_loss(
            jnp.stack([1 - y, y], axis=-1), jnp.stack([special.softplus(eta), special.softplus(-eta)], axis=-1)
        )

    def uniform(self):
        return (0.5, 0.5), 2

    def moments(self, y, weights):
        """The shares of 0 and of 1: that of a value which does not occur is exactly 0, which 1 - E[Y] would not be."""
        return jnp.tensordot(weights, 1 - y, 1), jnp.tensordot(weights, y, 1)

    def from_moments(self, moments):
        return jnp.log(moments[1]) - jnp.log(moments[0])

    def natural(self, mean):
        return special.logit(mean)

    def conjugate(self, mean):
        return special.xlogx(mean) + special.xlogx(1 - mean)

    def natural_from_coordinate(self, u):
        return u

    def cumulative(self, eta, y):
        p, q = special.sigmoid(eta), special.sigmoid(-eta)
        return jnp.where(y < 0, 0, jnp.where(y < 1, q, 1)), jnp.where(y < 0, 1, jnp.where(y < 1, p, 0))

    def expected_log_base(self, eta, trials=None):
        return jnp.zeros_like(eta)

    def entropy(self, eta, trials=None):
        # -p log p - (1-p) log(1-p): two positive terms.
        p, q = special.sigmoid(eta), special.sigmoid(-eta)
        return special.product(p, special.softplus(-eta)) + special.product(q, special.softplus(eta))

    def divergence(self, p, q):
        return binary_divergence(p, q)

    def sample(self, key, eta, shape, trials=None):
        return jax.random.bernoulli(key, special.sigmoid(eta), shape + eta.shape).astype(eta.dtype)


def outcomes_loss(counts, loss):
    """sum over outcomes of counts (n, ...) times the loss of each (K, ...), as (n, K): one matrix product, in which no count of an
    impossible outcome (an infinite loss) is 0."""
    counts, loss = counts.reshape(len(counts), -1), loss.reshape(len(loss), -1)
    possible = jnp.isfinite(loss)
    total = matmul(counts, jnp.where(possible, loss, 0).T)
    return jnp.where(matmul(counts, (~possible).astype(counts.dtype).T) > 0, jnp.inf, total)


@family
class Binomial(Family):
    """y = (s, m), s successes in m trials; eta = log(phi / (1 - phi)), T = s, a = log(1 + e^eta) per trial, b = m! / (s! (m-s)!).

    y is the pair (s, m) of arrays that broadcast; the mean per trial is phi. Without y, give the trials by name.

    Example:
        >>> from jaxml import families
        >>> print(families.log_prob(families.Binomial(), 0.0, (1, 2)))
        -0.69314...

    Source: McCullagh & Nelder (1989), chapter 4; Loader (2000), "Fast and accurate computation of binomial probabilities".
    """

    has_trials = True
    counts = True
    discrete = True
    mean_bounds = (0.0, 1.0)
    space = "unit"
    default_link = "logit"
    canonical_link = "logit"
    canonical_scale = 1.0

    def log_partition(self, eta):
        return special.softplus(eta)

    def statistic(self, y):
        return y[0]

    def trials(self, y):
        return y[1]

    def log_base(self, y):
        s, m = y
        return gammaln(m + 1) - gammaln(s + 1) - gammaln(m - s + 1)

    def support(self, y):
        s, m = y
        return (s >= 0) & (s <= m) & (s == jnp.floor(s)) & (m == jnp.floor(m)) & jnp.isfinite(m)

    def hull(self, y):
        s, m = y
        return (s >= 0) & (s <= m) & jnp.isfinite(m)

    def loss(self, eta, y):
        s, m = y
        return special.binary_loss(m - s, s, eta)

    def moments(self, y, weights):
        """The shares of failures and of successes: see :meth:`Bernoulli.moments`."""
        s, m = y
        total = jnp.sum(weights * m)
        return jnp.tensordot(weights, m - s, 1) / total, jnp.tensordot(weights, s, 1) / total

    def from_moments(self, moments):
        return jnp.log(moments[1]) - jnp.log(moments[0])

    def natural(self, mean):
        return special.logit(mean)

    def conjugate(self, mean):
        return special.xlogx(mean) + special.xlogx(1 - mean)

    def saturated(self, y):
        s, m = y
        f = m - s
        eta = jnp.log(s / jnp.where(f > 0, f, 1)) - jnp.where(f > 0, 0, -jnp.inf)
        return jnp.where(m > 0, eta, 0), share_entropy(s, f) + share_entropy(f, s)

    def divergence(self, p, q):
        return binary_divergence(p, q)

    def log_saturated(self, y):
        s, m = y
        inner = (s > 0) & (s < m)
        s, m = jnp.where(inner, s, 1), jnp.where(inner, m, 2)
        error = stirling_error(m) - stirling_error(s) - stirling_error(m - s)
        return jnp.where(inner, error - (special.LOG_2PI + jnp.log(s) + jnp.log((m - s) / m)) / 2, 0)

    def natural_from_coordinate(self, u):
        return u

    def cumulative(self, eta, y):
        s, m = y
        some = (s >= 0) & (s < m)
        s, m = jnp.where(some, s, 0), jnp.where(some, m, 1)
        high, low = beta_tails(s + 1, m - s, special.sigmoid(eta), special.sigmoid(-eta))
        none = y[0] < 0
        return jnp.where(some, low, jnp.where(none, 0, 1)), jnp.where(some, high, jnp.where(none, 1, 0))

    def expected_log_base(self, eta, trials=None):
        y, log_mass, weights, m = _rarer(eta, trials)
        return average(self.log_base((y, m)), log_mass, weights)

    def entropy(self, eta, trials=None):
        _, log_mass, weights, _ = _rarer(eta, trials)
        return average(-log_mass, log_mass, weights)

    def sample(self, key, eta, shape, trials=None):
        shape = shape + jnp.broadcast_shapes(eta.shape, jnp.shape(trials))
        # Draw the rarer outcome: its probability keeps its digits where that of the other rounds to 1.
        rarer = jax.random.binomial(
            key, jnp.asarray(trials, eta.dtype), special.sigmoid(-jnp.abs(eta)), shape, eta.dtype
        )
        return jnp.where(eta < 0, rarer, trials - rarer)


def share_entropy(s, rest):
    """``s log(s / (s + rest))``, 0 at s = 0, without the rounding of s / m where it is near 1."""
    m = s + rest
    some = s > 0
    share, other = (jnp.where(some, a / jnp.where(m > 0, m, 1), 1) for a in (s, rest))
    near = share > 0.5
    return jnp.where(some, s * jnp.where(near, special.log1p(-jnp.where(near, other, 0)), jnp.log(share)), 0)


def log_ratio_term(p, q, log_ratio):
    """``q - p - p log(q / p)``: the share of one outcome in the divergence of p from q, not negative."""
    near = (jnp.abs(log_ratio) < 1) & (p > 0)
    return jnp.where(near, p * special.exp_gap(jnp.where(near, log_ratio, 0)), q - p - special.product(p, log_ratio))


def binary_divergence(p, q):
    """KL(p || q) of two Bernoulli laws as a sum of terms that are not negative: no difference of log-partition functions."""
    step = q - p
    near = jnp.abs(step) < 1
    step = jnp.where(near, step, 0)

    def term(p, q, step):
        ratio = jnp.where(
            near, -special.log1p(special.sigmoid(-p) * jnp.expm1(-step)), special.softplus(-p) - special.softplus(-q)
        )
        return log_ratio_term(special.sigmoid(p), special.sigmoid(q), ratio)

    return jnp.where(p == q, 0, term(p, q, step) + term(-p, -q, -step))


def _rarer(eta, trials):
    """Summation rule for the count of the rarer outcome: the law of s and that of m - s have the same entropy and E[log b]."""
    eta, m = jnp.broadcast_arrays(-jnp.abs(eta), jnp.asarray(trials, eta.dtype))
    p = special.sigmoid(eta)
    y, weights = lattice(m * p, m * p * (1 - p))
    y, possible = jnp.minimum(y, m), y <= m
    return y, jnp.where(possible, log_density(Binomial(), eta, (y, m)), -jnp.inf), weights, m
