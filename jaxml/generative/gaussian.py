r"""Gaussian discriminant analysis: x | y = k ~ N(mu_k, Sigma_k), with one covariance for all classes or one for each.

    mu_k = mean of class k,   Sigma = (1/n) sum_i (x_i - mu_{y_i})(x_i - mu_{y_i})',   Sigma_k likewise over class k alone

The laws are held in whitened coordinates z = (x - c) R with R'Sigma R = I and c the mean of all rows. With a shared covariance
z | y = k is N(m_k, I), a row of independent normal numbers; otherwise the class covariances are measured in units of the one they have
on average, so that columns of any scale and far from 0 keep their digits, and "singular" has a meaning.

Source: notes 7.2; Hastie, Tibshirani & Friedman (2009), section 4.3.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxml.families import MultivariateNormal, Normal, NormalMeanVariance, independent
from jaxml.families.functions import maximum_likelihood
from jaxml.generative.classifier import Classifier, Transform
from jaxml.generative.naive_bayes import pool, share_of
from jaxml.linalg import matmul
from jaxml.records import record, static_field

COVARIANCES = ("shared", "full", "diagonal")


@record
class GaussianDiscriminant:
    """The model: a normal law of x in each class.

    Args:
        covariance: static; 'shared': one covariance, linear boundaries; 'full': one for each class, quadratic boundaries;
            'diagonal': independent columns with variances for each class (Gaussian naive Bayes).
        shrinkage: s in [0, 1], the covariances become (1 - s) Sigma + s tr(Sigma)/d I; for few rows and many columns.
        variance_smoothing: this share of the largest variance of a column of X is added to every variance.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [10.0]]), jnp.array([0, 0, 1, 1])
        >>> fit = generative.fit(generative.GaussianDiscriminant("full"), X, y)
        >>> print(generative.classify(fit, jnp.array([[2.5], [-9.0]])))  # the wider law wins far out on either side
        [0 1]

    Source: Friedman (1989), "Regularized discriminant analysis", for the shrinkage.
    """

    covariance: str = static_field(default="shared")
    shrinkage: Any = 0.0
    variance_smoothing: Any = 0.0

    def moments(self, X: Array, y: Array, shares: Array, weight: Array) -> Any:
        """Means (K, d) and covariances or variances of each class; the one covariance within classes where it is shared."""
        if self.covariance != "shared":
            return jax.vmap(lambda w: self._law(X.shape[1]).moments(X, w))(shares)
        mean = matmul(shares, X)
        residual = X - mean[y]
        share = weight / jnp.sum(weight)
        # The rounding errors of the means, one row for each class.
        rest = matmul(jnp.where(weight[:, None] > 0, shares, 0), residual)
        within = matmul((residual * (share @ shares)[:, None]).T, residual) - matmul(rest.T * share, rest)
        return mean + rest, within

    def merge(self, a: Any, b: Any) -> Any:
        """The moments of both summaries together."""
        share = share_of(a.weight, b.weight)
        law = self._law(a.moments[0].shape[1])
        if self.covariance != "shared":
            return jax.vmap(law.merge)(a.moments, b.moments, share)
        all_a, all_b = jnp.sum(a.weight), jnp.sum(b.weight)
        step = (b.moments[0] - a.moments[0]) * jnp.sqrt(a.weight * share)[:, None]
        within = (all_a * a.moments[1] + all_b * b.moments[1] + matmul(step.T, step)) / (all_a + all_b)
        return (1 - share)[:, None] * a.moments[0] + share[:, None] * b.moments[0], within

    def estimate(self, summary: Any, log_prior: Array) -> Classifier:
        """See :func:`jaxml.generative.estimate`."""
        means, spreads = summary.moments
        share = summary.weight / jnp.sum(summary.weight)
        center = jnp.sum(jnp.where(share > 0, share, 0)[:, None] * means, axis=0)
        means = jnp.where(share[:, None] > 0, means, center)
        build = {"shared": _shared, "full": _full, "diagonal": _diagonal}[self.covariance]
        transform, eta, floored = build(self, center, means, spreads, summary)
        left = (means - center) - matmul(transform(means), transform.back)  # what the whitened means do not hold
        separated = jnp.any(jnp.abs(left) > 1e3 * jnp.finfo(left.dtype).eps * _size(center, means))
        d = means.shape[1]
        law = (
            independent(Normal(jnp.ones((), means.dtype)), d) if self.covariance == "shared" else self._whitened_law(d)
        )
        return Classifier(log_prior, eta, law, transform, summary.weight, floored, separated)

    def _law(self, d: int) -> Any:
        return NormalMeanVariance() if self.covariance == "diagonal" else MultivariateNormal(d)

    def _whitened_law(self, d: int) -> Any:
        return independent(NormalMeanVariance(), d) if self.covariance == "diagonal" else MultivariateNormal(d)


def _shared(model: GaussianDiscriminant, center: Array, means: Array, within: Array, summary: Any) -> Any:
    share = summary.weight / jnp.sum(summary.weight)
    total = jnp.diagonal(within) + share @ (means - center) ** 2
    within = _shrunk(within, model.shrinkage) + model.variance_smoothing * jnp.max(total) * jnp.eye(len(center))
    transform = whitening(center, within, _smallest(center, means))
    return transform, transform(means), jnp.zeros(len(means), jnp.int32)


def _full(model: GaussianDiscriminant, center: Array, means: Array, spreads: Array, summary: Any) -> Any:
    share = summary.weight / jnp.sum(summary.weight)
    (_, total), _ = pool(MultivariateNormal(len(center)).merge, (means, spreads), summary.weight)
    identity = jnp.eye(len(center), dtype=center.dtype)
    extra = model.variance_smoothing * jnp.max(jnp.diagonal(total)) * identity
    spreads = jnp.where(share[:, None, None] > 0, spreads, total)
    spreads = jax.vmap(lambda s: _shrunk(s, model.shrinkage) + extra)(spreads)
    transform = whitening(center, jnp.tensordot(share, spreads, 1), _smallest(center, means))
    white = matmul(matmul(transform.root.T, spreads), transform.root)
    white = (white + jnp.swapaxes(white, 1, 2)) / 2
    kept = jnp.any(transform.root != 0, axis=0)
    white = white + jnp.where(kept, 0, 1) * identity  # a direction that is ignored: the same law in every class
    values = jnp.linalg.eigvalsh(lax.stop_gradient(white))
    low = values <= _tolerance(center) * jnp.maximum(values[:, -1:], 1)
    white = white + jnp.where(jnp.any(low, axis=1), _floor(center), 0)[:, None, None] * identity
    law = MultivariateNormal(len(center))
    eta = jax.vmap(lambda m, s: maximum_likelihood(law, (m, s)))(transform(means), white)
    return transform, eta, jnp.sum(low, axis=1).astype(jnp.int32)


def _diagonal(model: GaussianDiscriminant, center: Array, means: Array, spreads: Array, summary: Any) -> Any:
    share = summary.weight / jnp.sum(summary.weight)
    (_, total), _ = pool(NormalMeanVariance().merge, (means, spreads), summary.weight)
    spreads = jnp.where(share[:, None] > 0, spreads, total)
    spreads = (1 - model.shrinkage) * spreads + model.shrinkage * jnp.mean(spreads, axis=1, keepdims=True)
    spreads = spreads + model.variance_smoothing * jnp.max(total)
    transform = _scaling(center, share @ spreads, _smallest(center, means))
    kept = jnp.any(transform.root != 0, axis=0)
    white = jnp.where(kept, spreads * jnp.square(jnp.diagonal(transform.root)), 1)
    low = white <= _tolerance(center)
    white = white + jnp.where(low, _floor(center), 0)
    law = NormalMeanVariance()
    eta = maximum_likelihood(law, (transform(means), white))
    return transform, eta.reshape(len(means), -1), jnp.sum(low, axis=1).astype(jnp.int32)


def whitening(center: Array, covariance: Array, smallest: Array) -> Transform:
    """The transform after which the covariance is the identity; variances (d,) up to the smallest count as 0.

    Its rank is decided on the correlations; directions below it get columns of zeros. Their eigenvectors only choose a basis, in which
    the Cholesky factor is taken: derivatives are those at fixed rank, without differences of eigenvalues.
    """
    variance = jnp.diagonal(covariance)
    varies = variance > smallest
    scale = jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1)), 1)
    correlation = jnp.where(varies[:, None] & varies, covariance, 0) / scale[:, None] / scale
    values, basis = jnp.linalg.eigh(lax.stop_gradient(correlation))
    kept = values > _tolerance(center) * jnp.maximum(values[-1], 1)
    turned = matmul(matmul(basis.T, correlation), basis)
    both = kept[:, None] & kept
    identity = jnp.eye(len(center), dtype=center.dtype)
    factor = jnp.linalg.cholesky(jnp.where(both, turned, identity))
    inverse = jax.scipy.linalg.solve_triangular(factor, identity, lower=True)
    root = jnp.where(kept, matmul(basis, inverse.T), 0) / scale[:, None]
    back = jnp.where(kept[:, None], matmul(factor.T, basis.T), 0) * scale
    return _transform(center, root, back, jnp.log(jnp.diagonal(factor)), jnp.log(scale), kept)


def _scaling(center: Array, variance: Array, smallest: Array) -> Transform:
    kept = variance > smallest
    scale = jnp.sqrt(jnp.where(kept, variance, 1))
    root = jnp.diag(jnp.where(kept, 1 / scale, 0))
    return _transform(center, root, jnp.diag(jnp.where(kept, scale, 0)), jnp.zeros_like(scale), jnp.log(scale), kept)


def _transform(center: Array, root: Array, back: Array, log_factor: Array, log_scale: Array, kept: Array) -> Transform:
    # The law of the whitened row has a standard normal factor for each ignored direction, which is taken out of the density.
    volume = -jnp.sum(jnp.where(kept, log_factor, 0)) - jnp.sum(log_scale) + jnp.sum(~kept) * jnp.log(2 * jnp.pi) / 2
    return Transform(center, root, back, volume, jnp.sum(kept).astype(jnp.int32))


def _shrunk(covariance: Array, shrinkage: Any) -> Array:
    d = len(covariance)
    mean = jnp.trace(covariance) / d
    return (1 - shrinkage) * covariance + shrinkage * mean * jnp.eye(d, dtype=covariance.dtype)


def _size(center: Array, means: Array) -> Array:
    """(d,), how large the numbers in each column are."""
    return jnp.abs(center) + jnp.max(jnp.abs(means - center), axis=0)


def _smallest(center: Array, means: Array) -> Array:
    """(d,), the variance of a column that is constant within each class, as far as rounding lets it be 0."""
    return 1e-3 * jnp.square(jnp.finfo(center.dtype).eps * _size(center, means))


def _tolerance(a: Array) -> Any:
    """A share of the variance below which a sum of squares is rounding."""
    return 10 * len(a) * jnp.finfo(a.dtype).eps


def _floor(a: Array) -> Any:
    return jnp.sqrt(jnp.finfo(a.dtype).eps)
