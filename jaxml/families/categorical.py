"""Categorical and multinomial families: a(eta) = log sum_k e^eta_k, eta in R^K with eta + c the same law."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxml import special
from jaxml.families.base import Family, family, static_field, unit_base
from jaxml.families.bernoulli import Binomial, log_ratio_term, outcomes_loss, share_entropy
from jaxml.families.expectation import average, lattice
from jaxml.families.functions import log_density
from jaxml.families.poisson import Poisson
from jaxml.loggamma import log_factorial_gap


@family
class Categorical(Family):
    """y in {0, ..., K-1}; T = one-hot(y), a = log sum_k e^eta_k, b = 1. The mean is the softmax of eta.

    Args:
        classes: K, static; y is (...), of any dtype, eta (..., K).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.log_prob(families.Categorical(4), jnp.zeros(4), 2))
        -1.38629...

    Source: notes 4.3, 5.3.
    """

    classes: int = static_field()

    labels = True
    redundant = True

    @property
    def natural_size(self):
        return self.classes

    def log_partition(self, eta):
        return special.logsumexp(eta)

    def statistic(self, y):
        return jax.nn.one_hot(y, self.classes)

    log_base = unit_base

    def support(self, y):
        return (y >= 0) & (y < self.classes) & (y == jnp.floor(y))

    def loss(self, eta, y):
        # log(1 + sum_{k != y} e^(eta_k - eta_y)), with entry y a constant 0: the residual 1 - p_y keeps its digits.
        hit = jnp.asarray(y)[..., None] == jnp.arange(self.classes)
        own = jnp.sum(jnp.where(hit, eta, 0), axis=-1, keepdims=True)
        return special.logsumexp(jnp.where(hit, 0, eta - own))

    def losses(self, eta, y):
        return outcomes_loss(jax.nn.one_hot(y, self.classes, dtype=eta.dtype), _minus_log_softmax(eta))

    def uniform(self):
        return jnp.full(self.classes, 1 / self.classes), self.classes

    def natural(self, mean):
        return _centred_log(mean)

    def conjugate(self, mean):
        return jnp.sum(special.xlogx(mean), axis=-1)

    def expected_log_base(self, eta, trials=None):
        return jnp.zeros_like(eta[..., 0])

    def entropy(self, eta, trials=None):
        return jnp.sum(special.product(special.softmax(eta), _minus_log_softmax(eta)), axis=-1)

    def divergence(self, p, q):
        return _divergence(p, q)

    def support_function(self, v):
        return jnp.max(v, axis=-1)

    def sample(self, key, eta, shape, trials=None):
        return jax.random.categorical(key, eta, shape=shape + eta.shape[:-1])


@family
class Multinomial(Family):
    """y in N^K, counts of m = sum_k y_k trials; T = y, a = log sum_k e^eta_k per trial, b = m! / prod_k y_k!.

    The mean is m softmax(eta). Without y, give the trials m by name.

    Args:
        classes: K, static; y and eta are (..., K).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.mean(families.Multinomial(3), jnp.zeros(3), trials=6))
        [2. 2. 2.]

    Source: McCullagh & Nelder (1989), chapter 5.
    """

    classes: int = static_field()

    counts = True
    observation_ndim = 1
    has_trials = True
    redundant = True

    @property
    def natural_size(self):
        return self.classes

    def log_partition(self, eta):
        return special.logsumexp(eta)

    def statistic(self, y):
        return y

    def trials(self, y):
        return jnp.sum(y, axis=-1)

    def log_base(self, y):
        return gammaln(jnp.sum(y, axis=-1) + 1) - jnp.sum(gammaln(y + 1), axis=-1)

    def support(self, y):
        return jnp.all((y >= 0) & (y == jnp.floor(y)) & jnp.isfinite(y), axis=-1)

    def hull(self, y):
        return jnp.all((y >= 0) & jnp.isfinite(y), axis=-1)

    def loss(self, eta, y):
        return jnp.sum(special.product(y, _minus_log_softmax(eta)), axis=-1)

    def losses(self, eta, y):
        return outcomes_loss(y, _minus_log_softmax(eta))

    def uniform(self):
        return jnp.full(self.classes, 1 / self.classes), self.classes

    def natural(self, mean):
        return _centred_log(mean)

    def conjugate(self, mean):
        return jnp.sum(special.xlogx(mean), axis=-1)

    def saturated(self, y):
        m = jnp.sum(y, axis=-1, keepdims=True)
        eta = _centred_log(jnp.where(m > 0, y, 1))
        return eta, jnp.sum(share_entropy(y, m - y), axis=-1)

    def divergence(self, p, q):
        return _divergence(p, q)

    def log_saturated(self, y):
        return log_factorial_gap(jnp.sum(y, axis=-1)) - jnp.sum(log_factorial_gap(y), axis=-1)

    def expected_log_base(self, eta, trials=None):
        y, log_mass, weights, _, m = _marginals(eta, trials)
        return gammaln(m[..., 0] + 1) - jnp.sum(average(gammaln(y + 1), log_mass, weights), axis=-1)

    def entropy(self, eta, trials=None):
        # The multinomial law is that of independent Poisson counts of means m p_k, given their sum.
        y, log_mass, weights, p, m = _marginals(eta, trials)
        terms = average(-log_density(Poisson(), jnp.log(m * p), y), log_mass, weights)
        return jnp.sum(terms, axis=-1) - log_factorial_gap(m[..., 0])

    def support_function(self, v):
        return jnp.max(v, axis=-1)

    def sample(self, key, eta, shape, trials=None):
        batch = jnp.broadcast_shapes(eta.shape[:-1], jnp.shape(trials))
        m = jnp.broadcast_to(jnp.asarray(trials, eta.dtype), shape + batch)
        p = jnp.broadcast_to(special.softmax(eta), shape + batch + eta.shape[-1:])
        return jax.random.multinomial(key, m, p, shape=p.shape, dtype=eta.dtype)


def _centred_log(mean):
    """log mean, summing to zero over the entries that are not -inf."""
    inner = mean > 0
    log = jnp.where(inner, jnp.log(jnp.where(inner, mean, 1)), 0)
    centre = jnp.sum(log, axis=-1, keepdims=True) / jnp.maximum(jnp.sum(inner, axis=-1, keepdims=True), 1)
    return jnp.where(inner, log - centre, jnp.where(mean == 0, -jnp.inf, jnp.nan))


def _minus_log_softmax(eta):
    # The largest entry is made 0 first: -log p of a class with p near 1 keeps its digits.
    shifted = eta - jnp.max(eta, axis=-1, keepdims=True)
    return special.logsumexp(shifted)[..., None] - shifted


def _divergence(p, q):
    """KL(p || q) as a sum over the classes of terms that are not negative, free of the gauge."""
    top = jnp.max(p, axis=-1, keepdims=True)
    step = q - p - jnp.max(jnp.where(p == top, q - p, -jnp.inf), axis=-1, keepdims=True)
    near = jnp.max(jnp.abs(step), axis=-1, keepdims=True) < 1
    step = jnp.where(near, step, 0)
    shares = special.softmax(p)
    small = step - special.log1p(jnp.sum(shares * jnp.expm1(step), axis=-1, keepdims=True))
    ratio = jnp.where(near, small, _minus_log_softmax(p) - _minus_log_softmax(q))
    ratio = jnp.where(shares == 0, 0, ratio)
    return jnp.sum(log_ratio_term(shares, special.softmax(q), ratio), axis=-1)


def _marginals(eta, trials):
    """Summation rule for each count y_k, binomial, in terms of the rarer of y_k and m - y_k."""
    m = jnp.broadcast_to(
        jnp.asarray(trials, eta.dtype)[..., None], jnp.broadcast_shapes((*jnp.shape(trials), 1), eta.shape)
    )
    log_p = jnp.broadcast_to(-_minus_log_softmax(eta), m.shape)
    logit = log_p - special.log1mexp(jnp.minimum(log_p, -jnp.finfo(eta.dtype).tiny))
    rare = special.sigmoid(-jnp.abs(logit))
    x, weights = lattice(m * rare, m * rare * (1 - rare))
    log_mass = jnp.where(x <= m, log_density(Binomial(), -jnp.abs(logit), (jnp.minimum(x, m), m)), -jnp.inf)
    x = jnp.minimum(x, m)
    return jnp.where(logit < 0, x, m - x), log_mass, weights, special.softmax(eta) * jnp.ones_like(m), m
