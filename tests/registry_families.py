"""Every family once, with textbook moments and an independent log-density: the table that drives the family tests."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import linalg, stats
from scipy import special as sp

from jaxml import families


class Row(NamedTuple):
    """One family: natural parameters, observations, and what textbooks and scipy say."""

    name: str
    family: Any
    etas: np.ndarray  # (e,) or (e, k)
    ys: Any  # (n, ...), or a pair of (n,)
    log_prob: Callable[[np.ndarray, Any], Any]  # of one eta and all ys
    mean: Callable[[np.ndarray], Any]  # of one eta
    variance: Callable[[np.ndarray], Any]
    dimension: int
    trials: int | None = None
    law: Callable[[np.ndarray], Any] | None = None  # scipy's frozen distribution at one eta, where y is a number


@families.family
class Rayleigh(families.Family):
    """p(y; eta) = 2 y exp(eta y^2 + log(-eta)), eta = -1 / (2 s^2), y > 0: what a user writes, four methods and no more."""

    def log_partition(self, eta):
        return jnp.where(eta < 0, -jnp.log(-eta), jnp.inf)

    def statistic(self, y):
        return y**2

    def log_base(self, y):
        return jnp.log(2 * y)

    def support(self, y):
        return y > 0


def _multinomial_variance(eta, m):
    p = sp.softmax(eta)
    return m * (np.diag(p) - np.outer(p, p))


def _beta_variance(a):
    return np.diag(sp.polygamma(1, a)) - sp.polygamma(1, a.sum())


def _mvn(mean, covariance):
    precision = np.linalg.inv(np.array(covariance))
    rows, columns = np.tril_indices(len(mean))
    return np.concatenate([precision @ np.array(mean), -precision[rows, columns] * np.where(rows == columns, 0.5, 1)])


def _mvn_parts(eta):
    precision = np.array([[-2 * eta[2], -eta[3]], [-eta[3], -2 * eta[4]]])
    covariance = np.linalg.inv(precision)
    return covariance @ eta[:2], covariance


def _mvn_mean(eta):
    mu, s = _mvn_parts(eta)
    second = s + np.outer(mu, mu)
    return np.concatenate([mu, second[np.tril_indices(2)]])


def _mvn_variance(eta):
    # Isserlis: cov(y_i, y_j) = s_ij, cov(y_i, y_j y_k) = mu_j s_ik + mu_k s_ij, and so on.
    mu, s = _mvn_parts(eta)
    pairs = list(zip(*np.tril_indices(2), strict=True))
    out = np.zeros((5, 5))
    out[:2, :2] = s
    for a, (i, j) in enumerate(pairs):
        for k in range(2):
            out[k, 2 + a] = out[2 + a, k] = mu[i] * s[j, k] + mu[j] * s[i, k]
        for b, (k, m) in enumerate(pairs):
            out[2 + a, 2 + b] = (
                s[i, k] * s[j, m]
                + s[i, m] * s[j, k]
                + (
                    mu[i] * mu[k] * s[j, m]
                    + mu[i] * mu[m] * s[j, k]
                    + mu[j] * mu[k] * s[i, m]
                    + mu[j] * mu[m] * s[i, k]
                )
            )
    return out


def _ig_log_prob(mu, shape, y):
    return stats.invgauss(mu / shape, scale=shape).logpdf(y)


def _tweedie_log_prob(p, phi, eta, y):
    """Counts of gamma amounts, one by one."""
    mu = ((1 - p) * eta) ** (1 / (1 - p))
    rate, shape, scale = mu ** (2 - p) / phi / (2 - p), (2 - p) / (p - 1), phi * (p - 1) * mu ** (p - 1)
    j = np.arange(1, 400)
    with np.errstate(divide="ignore"):
        terms = stats.poisson(rate).logpmf(j) + stats.gamma(j * shape, scale=scale).logpdf(np.asarray(y)[:, None])
    return np.where(y == 0, -rate, sp.logsumexp(terms, axis=1))


def _igms(eta):
    return np.sqrt(eta[1] / eta[0]), -2 * eta[1]


def _igms_variance(eta):
    mu, lam = _igms(eta)
    return np.array([[mu**3 / lam, -mu / lam], [-mu / lam, 1 / (mu * lam) + 2 / lam**2]])


POSITIVE = np.array([0.1, 0.7, 1.3, 2.9, 6.0])
AMOUNTS = np.array([0.0, 0.7, 1.3, 2.9, 6.0])
COUNTS = np.array([0, 1, 2, 5, 9])
UNIT = np.array([0.05, 0.3, 0.5, 0.75, 0.98])
REAL = np.array([-2.5, -0.4, 0.0, 0.8, 3.1])
POINTS = np.array([[0.2, 0.5, 0.3], [0.05, 0.15, 0.8], [0.6, 0.3, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.4, 0.05, 0.55]])
PLANE = np.array([[0.4, 0.7], [-1.0, 2.0], [3.0, -0.5], [0.0, 0.0], [1.5, 1.5], [-0.7, -1.9], [2.2, 0.3]])
THREE = np.array([[0.0, 0.0, 0.0], [0.4, -1.0, 0.9], [2.0, -0.5, -1.5], [-3.0, 1.0, 2.0]])
NEGATIVE = np.array([-0.2, -0.5, -1.0, -2.5])
LOGITS = np.array([-2.0, -0.3, 0.0, 1.7])


def _blocks(variances):
    """A block-diagonal matrix."""
    return linalg.block_diag(*[np.atleast_2d(v) for v in variances])


BITS = families.independent(families.Bernoulli(), 3)
MIXED = families.Product(
    (families.Poisson(), families.Categorical(3), families.NormalMeanVariance()), ((3, 0), (1,), (2,))
)
MIXED_ROWS = np.array([[2.0, 0.0, -0.4, 1.0], [0.0, 2.0, 1.3, 4.0], [5.0, 1.0, 0.2, 0.0]])


def _mixed_log_prob(e, y):
    normal = stats.norm(-e[5] / e[6] / 2, (-2 * e[6]) ** -0.5).logpdf(y[:, 2])
    counts = stats.poisson(np.exp(e[:2])).logpmf(y[:, [3, 0]]).sum(axis=1)
    return counts + sp.log_softmax(e[2:5])[y[:, 1].astype(int)] + normal


def _normal_variance(e):
    return np.array([[-0.5 / e[1], e[0] / (2 * e[1] ** 2)],
                     [e[0] / (2 * e[1] ** 2), 0.5 / e[1] ** 2 - e[0] ** 2 / (2 * e[1] ** 3)]])  # fmt: skip


ROWS = [
    Row("bernoulli", families.Bernoulli(), LOGITS, np.array([0, 1, 1]), lambda e, y: stats.bernoulli(sp.expit(e)).logpmf(y),
        sp.expit, lambda e: sp.expit(e) * sp.expit(-e), 1, law=lambda e: stats.bernoulli(sp.expit(e))),
    Row("binomial", families.Binomial(), LOGITS, (np.array([0, 1, 3, 6]), np.array([6, 6, 6, 6])),
        lambda e, y: stats.binom(y[1], sp.expit(e)).logpmf(y[0]), lambda e: 6 * sp.expit(e),
        lambda e: 6 * sp.expit(e) * sp.expit(-e), 1, 6, law=lambda e: stats.binom(6, sp.expit(e))),
    Row("categorical", families.Categorical(3), THREE, np.array([0, 1, 2, 1]), lambda e, y: sp.log_softmax(e)[y],
        sp.softmax, lambda e: _multinomial_variance(e, 1), 2),
    Row("multinomial", families.Multinomial(3), THREE, np.array([[5, 0, 0], [1, 2, 2], [0, 4, 1], [2, 3, 0]]),
        lambda e, y: stats.multinomial(5, sp.softmax(e)).logpmf(y), lambda e: 5 * sp.softmax(e),
        lambda e: _multinomial_variance(e, 5), 2, 5),
    Row("poisson", families.Poisson(), LOGITS, COUNTS, lambda e, y: stats.poisson(np.exp(e)).logpmf(y), np.exp, np.exp, 1, law=lambda e: stats.poisson(np.exp(e))),
    Row("geometric", families.Geometric(), NEGATIVE, COUNTS + 1, lambda e, y: stats.geom(-np.expm1(e)).logpmf(y),
        lambda e: -1 / np.expm1(e), lambda e: np.exp(e) / np.expm1(e) ** 2, 1, law=lambda e: stats.geom(-np.expm1(e))),
    Row("negative_binomial", families.NegativeBinomial(2.5), NEGATIVE, COUNTS, lambda e, y: stats.nbinom(2.5, -np.expm1(e)).logpmf(y),
        lambda e: -2.5 * np.exp(e) / np.expm1(e), lambda e: 2.5 * np.exp(e) / np.expm1(e) ** 2, 1, law=lambda e: stats.nbinom(2.5, -np.expm1(e))),
    Row("normal", families.Normal(), LOGITS, REAL, lambda e, y: stats.norm(e, 1).logpdf(y), lambda e: e, lambda e: 1.0, 1, law=lambda e: stats.norm(e, 1)),
    Row("normal_known", families.Normal(variance=4.0), LOGITS, REAL, lambda e, y: stats.norm(e, 2).logpdf(y), lambda e: e,
        lambda e: 4.0, 1, law=lambda e: stats.norm(e, 2)),
    Row("normal_mean_variance", families.NormalMeanVariance(), np.array([[0.3, -0.4], [-2.0, -1.5], [0.0, -0.5]]), REAL,
        lambda e, y: stats.norm(-e[0] / e[1] / 2, (-2 * e[1]) ** -0.5).logpdf(y),
        lambda e: np.array([-e[0] / (2 * e[1]), e[0] ** 2 / (4 * e[1] ** 2) - 1 / (2 * e[1])]),
        _normal_variance, 2, law=lambda e: stats.norm(-e[0] / e[1] / 2, (-2 * e[1]) ** -0.5)),
    Row("multivariate_normal", families.MultivariateNormal(2),
        np.stack([_mvn([1.0, 2.0], [[2.0, 0.3], [0.3, 1.0]]), _mvn([0.0, -1.0], [[0.5, -0.2], [-0.2, 0.8]])]), PLANE,
        lambda e, y: stats.multivariate_normal(*_mvn_parts(e)).logpdf(y), _mvn_mean, _mvn_variance, 5),
    Row("exponential", families.Exponential(), NEGATIVE, POSITIVE, lambda e, y: stats.expon(scale=-1 / e).logpdf(y),
        lambda e: -1 / e, lambda e: 1 / e**2, 1, law=lambda e: stats.expon(scale=-1 / e)),
    Row("gamma", families.Gamma(), NEGATIVE, POSITIVE, lambda e, y: stats.expon(scale=-1 / e).logpdf(y),
        lambda e: -1 / e, lambda e: 1 / e**2, 1, law=lambda e: stats.expon(scale=-1 / e)),
    Row("gamma_known", families.Gamma(shape=3.5), NEGATIVE, POSITIVE, lambda e, y: stats.gamma(3.5, scale=-1 / e / 3.5).logpdf(y),
        lambda e: -1 / e, lambda e: 1 / e**2 / 3.5, 1, law=lambda e: stats.gamma(3.5, scale=-1 / e / 3.5)),
    Row("gamma_shape_rate", families.GammaShapeRate(), np.array([[2.0, -0.4], [0.5, -1.0], [7.0, -3.0]]), POSITIVE,
        lambda e, y: stats.gamma(e[0], scale=-1 / e[1]).logpdf(y), lambda e: np.array([sp.digamma(e[0]) - np.log(-e[1]), -e[0] / e[1]]),
        lambda e: np.array([[sp.polygamma(1, e[0]), -1 / e[1]], [-1 / e[1], e[0] / e[1] ** 2]]), 2, law=lambda e: stats.gamma(e[0], scale=-1 / e[1])),
    Row("inverse_gaussian", families.InverseGaussian(), NEGATIVE, POSITIVE,
        lambda e, y: _ig_log_prob((-2 * e) ** -0.5, 1.0, y), lambda e: (-2 * e) ** -0.5, lambda e: (-2 * e) ** -1.5, 1, law=lambda e: stats.invgauss((-2 * e) ** -0.5)),
    Row("inverse_gaussian_known", families.InverseGaussian(shape=2.0), NEGATIVE, POSITIVE,
        lambda e, y: _ig_log_prob((-2 * e) ** -0.5, 2.0, y), lambda e: (-2 * e) ** -0.5, lambda e: (-2 * e) ** -1.5 / 2, 1, law=lambda e: stats.invgauss((-2 * e) ** -0.5 / 2, scale=2)),
    Row("inverse_gaussian_mean_shape", families.InverseGaussianMeanShape(), np.array([[-2.0, -0.4], [-0.3, -1.0], [-1.0, -4.0]]),
        POSITIVE, lambda e, y: _ig_log_prob(*_igms(e), y), lambda e: np.array([_igms(e)[0], 1 / _igms(e)[0] + 1 / _igms(e)[1]]),
        _igms_variance, 2, law=lambda e: stats.invgauss(_igms(e)[0] / _igms(e)[1], scale=_igms(e)[1])),
    Row("tweedie", families.Tweedie(1.5), NEGATIVE, AMOUNTS, lambda e, y: _tweedie_log_prob(1.5, 1.0, e, y),
        lambda e: 4 / e**2, lambda e: -8 / e**3, 1),
    Row("tweedie_known", families.Tweedie(1.3, phi=0.6), NEGATIVE, AMOUNTS, lambda e, y: _tweedie_log_prob(1.3, 0.6, e, y),
        lambda e: (-0.3 * e) ** (-1 / 0.3), lambda e: 0.6 * (-0.3 * e) ** (-1.3 / 0.3), 1),
    Row("beta", families.Beta(), np.array([[2.0, 0.6], [1.0, 1.0], [5.0, 9.0]]), UNIT, lambda e, y: stats.beta(*e).logpdf(y),
        lambda e: sp.digamma(e) - sp.digamma(e.sum()), _beta_variance, 2, law=lambda e: stats.beta(*e)),
    Row("dirichlet", families.Dirichlet(3), np.array([[2.0, 0.6, 1.0], [1.0, 1.0, 1.0], [5.0, 9.0, 3.0]]), POINTS,
        lambda e, y: stats.dirichlet(e).logpdf(y.T), lambda e: sp.digamma(e) - sp.digamma(e.sum()), _beta_variance, 3),
    Row("independent_bernoulli", BITS, THREE, np.array([[0, 1, 1], [1, 1, 0], [0, 0, 0]]),
        lambda e, y: stats.bernoulli(sp.expit(e)).logpmf(y).sum(axis=1), sp.expit, lambda e: np.diag(sp.expit(e) * sp.expit(-e)), 3),
    Row("product", MIXED, np.array([[0.3, -0.5, 0.0, 0.4, -0.4, 0.3, -0.4], [1.0, 0.2, 1.0, -0.5, -0.5, -2.0, -1.5]]), MIXED_ROWS,
        _mixed_log_prob, lambda e: np.concatenate([np.exp(e[:2]), sp.softmax(e[2:5]), [-e[5] / (2 * e[6]), e[5] ** 2 / (4 * e[6] ** 2) - 1 / (2 * e[6])]]),
        lambda e: _blocks([np.diag(np.exp(e[:2])), _multinomial_variance(e[2:5], 1), _normal_variance(e[5:])]), 6),
    Row("rayleigh", Rayleigh(), NEGATIVE, POSITIVE, lambda e, y: stats.rayleigh(scale=(-2 * e) ** -0.5).logpdf(y),
        lambda e: -1 / e, lambda e: 1 / e**2, 1),
]  # fmt: skip
BY_NAME = {row.name: row for row in ROWS}
