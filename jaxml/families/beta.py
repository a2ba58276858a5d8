"""Beta and Dirichlet families: a(eta) is the logarithm of the (multivariate) beta function."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxml import special
from jaxml.families.base import Family, family, static_field
from jaxml.incomplete import beta_tails
from jaxml.loggamma import polygamma, polygamma_gap, stirling_error


@family
class Beta(Family):
    """0 < y < 1; eta = (alpha, beta), T = (log y, log(1 - y)), a = log B(alpha, beta), b = 1 / (y (1 - y)).

    The domain is alpha > 0, beta > 0; E[Y] = alpha / (alpha + beta).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.log_prob(families.Beta(), jnp.array([1.0, 1.0]), 0.25).round(5) + 0)
        0.0

    Source: Barndorff-Nielsen (1978), chapter 8.
    """

    natural_size = 2
    default_link = "unconstrained"

    def log_partition(self, eta):
        return _log_beta(eta)

    def statistic(self, y):
        return jnp.stack([jnp.log(y), special.log1p(-y)], axis=-1)

    def log_base(self, y):
        return -jnp.log(y) - special.log1p(-y)

    def support(self, y):
        return (y > 0) & (y < 1)

    def initial_natural(self, mean):
        return _start(mean)

    def from_unconstrained(self, z):
        """z = (logit of the mean, log(alpha + beta))."""
        shares = jnp.stack([-special.softplus(-z[..., 0]), -special.softplus(z[..., 0])], axis=-1)
        return jnp.exp(shares + z[..., 1:])

    def to_unconstrained(self, eta):
        return jnp.stack([jnp.log(eta[..., 0]) - jnp.log(eta[..., 1]), jnp.log(jnp.sum(eta, axis=-1))], axis=-1)

    def expectation(self, eta):
        return eta[..., 0] / jnp.sum(eta, axis=-1)

    def cumulative(self, eta, y):
        y = jnp.clip(y, 0, 1)
        return beta_tails(eta[..., 0], eta[..., 1], y, 1 - y)

    def expected_log_base(self, eta, trials=None):
        return -jnp.sum(_digamma_excess(0, eta), axis=-1)

    def support_function(self, v):
        return _support_function(v)

    def sample(self, key, eta, shape, trials=None):
        y = jax.random.beta(key, eta[..., 0], eta[..., 1], shape + eta.shape[:-1], eta.dtype)
        return jnp.clip(y, jnp.finfo(eta.dtype).tiny, 1 - jnp.finfo(eta.dtype).epsneg)  # draws that round to 0 or 1


@family
class Dirichlet(Family):
    """y in the open simplex of R^d; eta = alpha, T = log y, a = sum_k log Gamma(alpha_k) - log Gamma(sum_k alpha_k), b = 1 / prod y_k.

    The domain is alpha_k > 0; E[Y] = alpha / sum_k alpha_k. The entries of y must sum to 1 up to their rounding.

    Args:
        dimension: d, static; y and eta are (..., d).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> log = families.log_prob(families.Dirichlet(3), jnp.ones(3), jnp.array([0.2, 0.3, 0.5]))
        >>> print(f"{jnp.exp(log):.4f}")
        2.0000

    Source: Minka (2000), "Estimating a Dirichlet distribution".
    """

    dimension: int = static_field()

    observation_ndim = 1
    default_link = "unconstrained"

    @property
    def natural_size(self):
        return self.dimension

    def log_partition(self, eta):
        return _log_beta(eta)

    def statistic(self, y):
        return jnp.log(y)

    def log_base(self, y):
        return -jnp.sum(jnp.log(y), axis=-1)

    def support(self, y):
        # A point of the simplex sums to 1 up to the rounding of its own entries.
        room = 8 * self.dimension * jnp.finfo(jnp.result_type(y, float)).eps
        return jnp.all(y > 0, axis=-1) & (jnp.abs(jnp.sum(y, axis=-1) - 1) <= room)

    def initial_natural(self, mean):
        return _start(mean)

    def from_unconstrained(self, z):
        return jnp.exp(z)

    def to_unconstrained(self, eta):
        return jnp.log(eta)

    def expectation(self, eta):
        return eta / jnp.sum(eta, axis=-1, keepdims=True)

    def expected_log_base(self, eta, trials=None):
        return -jnp.sum(_digamma_excess(0, eta), axis=-1)

    def support_function(self, v):
        return _support_function(v)

    def sample(self, key, eta, shape, trials=None):
        y = jax.random.dirichlet(key, eta, shape + eta.shape[:-1], eta.dtype)
        return jnp.maximum(y, jnp.finfo(eta.dtype).tiny)  # draws that underflow to 0


def _log_beta(alpha):
    inside = jnp.all(alpha > 0, axis=-1)
    return jnp.where(inside, _log_beta_inside(jnp.where(inside[..., None], alpha, 1)), jnp.inf)


@jax.custom_jvp
def _log_beta_inside(alpha):
    """By Stirling's remainders, without a difference of log Gammas."""
    total = jnp.sum(alpha, axis=-1)
    shares = jnp.sum((0.5 - alpha) * jnp.log1p(_others(alpha) / alpha) + stirling_error(alpha), axis=-1)
    return shares + (alpha.shape[-1] - 1) * (special.LOG_2PI - jnp.log(total)) / 2 - stirling_error(total)


@_log_beta_inside.defjvp
def _(primals, tangents):
    (alpha,), (d,) = primals, tangents
    return _log_beta_inside(alpha), jnp.sum(_digamma_excess(0, alpha) * d, axis=-1)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _digamma_excess(n, alpha):
    """psi^(n)(alpha_k) - psi^(n)(sum_j alpha_j): for n = 0 the mean of log Y_k."""
    return -polygamma_gap(n, alpha, _others(alpha))


@_digamma_excess.defjvp
def _(n, primals, tangents):
    (alpha,), (d,) = primals, tangents
    shared = polygamma(n + 1, jnp.sum(alpha, axis=-1, keepdims=True))
    return _digamma_excess(n, alpha), _digamma_excess(n + 1, alpha) * d - shared * _others(d)


def _others(v):
    """sum_(j != k) v_j, not as a difference."""
    return jnp.sum(jnp.where(jnp.eye(v.shape[-1], dtype=bool), 0, v[..., None, :]), axis=-1)


def _start(mean):
    """alpha_k = 1/2 + e^t_k (d - 1) / (2 (1 - sum_j e^t_j)), for psi(x) is close to log(x - 1/2); where that is hardly more than
    1/2, from psi(x) close to -1/x - 0.58 (Minka 2000, appendix C)."""
    geometric = jnp.exp(mean)
    room = jnp.maximum(-jnp.expm1(special.logsumexp(mean)), jnp.finfo(mean.dtype).eps)
    large = 0.5 + geometric * ((mean.shape[-1] - 1) / 2) / room[..., None]
    target = mean + jnp.log(jnp.sum(large, axis=-1, keepdims=True) - 0.5)
    small = target < -2.22
    return jnp.where(small, -1 / (jnp.where(small, target, -3) + 0.5772156649), large)


def _support_function(v):
    inside = jnp.all(v >= 0, axis=-1)
    v = jnp.where(inside[..., None], v, 0)
    return jnp.where(inside, jnp.sum(special.xlogx(v), axis=-1) - special.xlogx(jnp.sum(v, axis=-1)), jnp.inf)
