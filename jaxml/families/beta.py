"""Beta and Dirichlet families: a(eta) is the logarithm of the (multivariate) beta function."""

import jax
import jax.numpy as jnp

from jaxml import special
from jaxml.families.base import Family, family, static_field


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
        return jnp.stack([jnp.log(y), jnp.log1p(-y)], axis=-1)

    def log_base(self, y):
        return -jnp.log(y) - jnp.log1p(-y)

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

    def expected_log_base(self, eta, trials=None):
        return -jnp.sum(_mean(eta), axis=-1)

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
        return -jnp.sum(_mean(eta), axis=-1)

    def support_function(self, v):
        return _support_function(v)

    def sample(self, key, eta, shape, trials=None):
        y = jax.random.dirichlet(key, eta, shape + eta.shape[:-1], eta.dtype)
        return jnp.maximum(y, jnp.finfo(eta.dtype).tiny)  # draws that underflow to 0


def _log_beta(alpha):
    """By Stirling's remainders: no difference of log Gammas, in the value or in the derivatives."""
    inside = jnp.all(alpha > 0, axis=-1)
    alpha = jnp.where(inside[..., None], alpha, 1)
    total = jnp.sum(alpha, axis=-1)
    others = jnp.sum(jnp.where(jnp.eye(alpha.shape[-1], dtype=bool), 0, alpha[..., None, :]), axis=-1)
    shares = jnp.sum((0.5 - alpha) * jnp.log1p(others / alpha) + special.stirling_error(alpha), axis=-1)
    rest = (alpha.shape[-1] - 1) * (special.LOG_2PI - jnp.log(total)) / 2 - special.stirling_error(total)
    return jnp.where(inside, shares + rest, jnp.inf)


def _mean(alpha):
    return jnp.vectorize(jax.grad(_log_beta), signature="(k)->(k)")(alpha)


def _start(mean):
    """alpha_k = 1/2 + e^t_k (d - 1) / (2 (1 - sum_j e^t_j)): psi(x) is close to log(x - 1/2)."""
    geometric = jnp.exp(mean)
    room = jnp.maximum(-jnp.expm1(special.logsumexp(mean)), jnp.finfo(mean.dtype).eps)
    return 0.5 + geometric * ((mean.shape[-1] - 1) / 2) / room[..., None]


def _support_function(v):
    inside = jnp.all(v >= 0, axis=-1)
    v = jnp.where(inside[..., None], v, 0)
    return jnp.where(inside, jnp.sum(special.xlogx(v), axis=-1) - special.xlogx(jnp.sum(v, axis=-1)), jnp.inf)
