r"""Gaussian discriminant analysis: x | y = k ~ N(mu_k, Sigma_k), with one covariance for all classes or one for each.

    mu_k = mean of class k,   Sigma = (1/n) sum_i (x_i - mu_{y_i})(x_i - mu_{y_i})',   Sigma_k likewise over class k alone

The laws are held in whitened coordinates z = (x - c) R with R'Sigma R = I and c the mean of all rows. With a shared covariance
z | y = k is N(m_k, I), a row of independent normal numbers; otherwise the class covariances are measured in units of the one they have
on average, so that columns of any scale and far from 0 keep their digits, and "singular" has a meaning.

Source: notes 7.2; Hastie, Tibshirani & Friedman (2009), section 4.3.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxml.families import MultivariateNormal, Normal, NormalMeanVariance, independent
from jaxml.families.functions import maximum_likelihood
from jaxml.generative import ledoit_wolf
from jaxml.generative.classifier import Classifier, Transform
from jaxml.generative.naive_bayes import known, merged, pool, refuse_number, share_of
from jaxml.linalg import matmul, roots
from jaxml.records import record, static_field
from jaxml.rows import fold_blocks

COVARIANCES = ("shared", "full", "diagonal")


@record
class GaussianDiscriminant:
    """The model: a normal law of x in each class.

    Args:
        covariance: static; 'shared': one covariance, linear boundaries; 'full': one for each class, quadratic boundaries;
            'diagonal': independent columns with variances for each class (Gaussian naive Bayes).
        shrinkage: s in [0, 1], the covariances become (1 - s) Sigma + s tr(Sigma)/d I; for few rows and many columns. 'auto': towards
            the diagonal of each class, by the estimate of Ledoit and Wolf, which costs three products of the rows a class.
        variance_smoothing: this share of the largest variance of a column of X is added to every variance.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [10.0]]), jnp.array([0, 0, 1, 1])
        >>> fit = generative.fit(generative.GaussianDiscriminant("full"), X, y)
        >>> print(generative.classify(fit, jnp.array([[2.5], [-9.0]])))  # the wider law wins far out on either side
        [0 1]

    Source: Friedman (1989), "Regularized discriminant analysis"; Ledoit & Wolf (2004).
    """

    covariance: str = static_field(default="shared")
    shrinkage: Any = 0.0
    variance_smoothing: Any = 0.0

    def checked(self) -> "GaussianDiscriminant":
        """The model, 'auto' as None, or an error that says what is wrong with it."""
        if self.covariance not in COVARIANCES:
            raise ValueError(f"covariance={self.covariance!r} is not known; use one of {COVARIANCES}")
        refuse_number("variance_smoothing", self.variance_smoothing)
        if isinstance(self.shrinkage, str) and self.shrinkage != "auto":
            raise ValueError(f"shrinkage={self.shrinkage!r} is not known; use a number between 0 and 1, or 'auto'")
        automatic = self.shrinkage is None or isinstance(self.shrinkage, str)
        if automatic and self.covariance == "diagonal":
            raise ValueError("shrinkage='auto' shrinks covariances, and covariance='diagonal' has none; use a number")
        if not automatic:
            refuse_number("shrinkage", self.shrinkage, 1)
        return replace(self, shrinkage=None) if automatic else self

    def moments(self, X: Array, y: Array, shares: Array, weight: Array, block: int | None) -> Any:
        """Means (K, d) and covariances or variances of each class; the one covariance within classes where it is shared."""
        share = weight / jnp.sum(weight)
        shares = jnp.where(weight[:, None] > 0, shares, 0)
        mean = matmul(shares, X)

        def sums(x: Array, y: Array, shares: Array) -> Any:
            residual = x - mean[y]
            return matmul(shares, residual), self._spread(residual, shares, share)

        rest, spread = _over_blocks(sums, block, X, y, shares)  # the rest: the rounding errors of the means
        if self.covariance == "diagonal":
            return mean + rest, jnp.maximum(spread - rest * rest, 0)
        if self.shrinkage is None:
            return mean + rest, spread[0] - rest[:, :, None] * rest[:, None, :], *spread[1:]
        if self.covariance == "full":
            return mean + rest, spread - rest[:, :, None] * rest[:, None, :]
        return mean + rest, spread - matmul(rest.T * share, rest)

    def merge(self, a: Any, b: Any) -> Any:
        """The moments of both summaries together."""
        share = share_of(a.weight, b.weight)
        if self.covariance != "shared" or self.shrinkage is None:
            law = self._law(a.moments[0].shape[1]).merge if self.shrinkage is not None else ledoit_wolf.merge
            return jax.vmap(partial(merged, law))(a.moments, b.moments, share)
        (mean, within), (other, more) = a.moments, b.moments
        mean, other = known(mean, other, share[:, None])
        part = share_of(jnp.sum(a.weight), jnp.sum(b.weight))
        within, more = known(within, more, part)
        step = other - mean
        total = jnp.sum(a.weight) + jnp.sum(b.weight)
        between = matmul(step.T * (a.weight * share), step) / jnp.where(total > 0, total, 1)
        mean = (1 - share)[:, None] * mean + share[:, None] * other
        return mean, (1 - part) * within + part * more + between

    def estimate(self, summary: Any, log_prior: Array) -> Classifier:
        """See :func:`jaxml.generative.estimate`."""
        means, spreads, *higher = summary.moments
        share = summary.weight / jnp.sum(summary.weight)
        if self.shrinkage is None:
            spreads = jax.vmap(ledoit_wolf.shrunk)(means, spreads, higher[1], jnp.where(share > 0, summary.weight, 1))
            if self.covariance == "shared":
                spreads = jnp.tensordot(share, jnp.where(share[:, None, None] > 0, spreads, 0), 1)
            return replace(self, shrinkage=0.0).estimate(summary._replace(moments=(means, spreads)), log_prior)
        center = jnp.sum(jnp.where(share[:, None] > 0, share[:, None] * means, 0), axis=0)
        means = jnp.where(share[:, None] > 0, means, center)
        build = {"shared": _shared, "full": _full, "diagonal": _diagonal}[self.covariance]
        transform, law, eta, floored = build(self, center, means, spreads, share)
        left = (means - center) - matmul(transform(means), transform.back)  # what the whitened means do not hold
        separated = jnp.any(jnp.abs(left) > 1e3 * jnp.finfo(left.dtype).eps * _size(center, means))
        # Beyond the range of the dtype there is no answer: the status says so.
        some = share > 0 if self.covariance != "shared" else jnp.ones((1,), bool)
        finite = jnp.isfinite(spreads.reshape(len(some), -1)) | ~some[:, None]
        eta = jnp.where(jnp.all(finite) & jnp.all(jnp.isfinite(center)), eta, jnp.nan)
        return Classifier(log_prior, eta, law, transform, summary.weight, floored, separated)

    def _spread(self, residual: Array, shares: Array, share: Array) -> Any:
        """What a block of centred rows adds to the spreads."""
        if self.covariance == "diagonal":
            return matmul(shares, residual * residual)
        if self.shrinkage is None:
            return lax.map(partial(ledoit_wolf.comoments, residual), shares)
        gram = lambda w: matmul((residual * w[:, None]).T, residual)
        return lax.map(gram, shares) if self.covariance == "full" else gram(share @ shares)

    def _law(self, d: int) -> Any:
        return NormalMeanVariance() if self.covariance == "diagonal" else MultivariateNormal(d)


def _shared(model: GaussianDiscriminant, center: Array, means: Array, within: Array, share: Array) -> Any:
    total = jnp.diagonal(within) + share @ (means - center) ** 2
    within = _shrunk(within, model.shrinkage) + model.variance_smoothing * jnp.max(total) * jnp.eye(len(center))
    transform = whitening(center, within, _smallest(center, means))
    law = independent(Normal(jnp.ones((), means.dtype)), len(center))
    return transform, law, transform(means), jnp.zeros(len(means), jnp.int32)


def _full(model: GaussianDiscriminant, center: Array, means: Array, spreads: Array, share: Array) -> Any:
    (_, total), _ = pool(MultivariateNormal(len(center)).merge, (means, spreads), share)
    identity = jnp.eye(len(center), dtype=center.dtype)
    extra = model.variance_smoothing * jnp.max(jnp.diagonal(total)) * identity
    spreads = jnp.where(share[:, None, None] > 0, spreads, total)
    spreads = jax.vmap(lambda s: _shrunk(s, model.shrinkage) + extra)(spreads)
    transform = whitening(center, jnp.tensordot(share, spreads, 1), _smallest(center, means))
    white = matmul(matmul(transform.root.T, spreads), transform.root)
    white = (white + jnp.swapaxes(white, 1, 2)) / 2
    kept = jnp.any(transform.root != 0, axis=0)
    white = white + jnp.where(kept, 0, 1) * identity  # a direction that is ignored: the same law in every class
    law = MultivariateNormal(len(center))
    return transform, law, *_laws(law, transform(means), white, identity)


def _diagonal(model: GaussianDiscriminant, center: Array, means: Array, spreads: Array, share: Array) -> Any:
    (_, total), _ = pool(NormalMeanVariance().merge, (means, spreads), share)
    spreads = jnp.where(share[:, None] > 0, spreads, total)
    spreads = (1 - model.shrinkage) * spreads + model.shrinkage * jnp.mean(spreads, axis=1, keepdims=True)
    spreads = spreads + model.variance_smoothing * jnp.max(total)
    transform = _scaling(center, share @ spreads, _smallest(center, means))
    kept = jnp.any(transform.root != 0, axis=0)
    white = jnp.where(kept, spreads * jnp.square(jnp.diagonal(transform.root)), 1)
    law = independent(NormalMeanVariance(), len(center))
    return transform, law, *_laws(NormalMeanVariance(), transform(means), white, jnp.ones_like(center))


def _laws(law: Any, means: Array, spreads: Array, unit: Array) -> tuple[Array, Array]:
    """eta of each class, and how many of its variances were 0 in whitened units."""

    def of_class(mean: Array, spread: Array) -> tuple[Array, Array]:
        moments, low = law.raised((mean, spread), (jnp.zeros_like(mean), unit))
        return maximum_likelihood(law, moments).reshape(-1), low.astype(jnp.int32)

    return jax.vmap(of_class)(means, spreads)


def whitening(center: Array, covariance: Array, smallest: Array) -> Transform:
    """The transform after which the covariance is the identity; variances (d,) up to the smallest count as 0.

    Its rank is decided on the correlations; directions below it get columns of zeros.
    """
    variance = jnp.diagonal(covariance)
    varies = variance > smallest
    scale = jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1)), 1)
    correlation = jnp.where(varies[:, None] & varies, covariance, 0) / scale[:, None] / scale
    found = roots(correlation, _tolerance(center))
    return _transform(center, found.inverse / scale[:, None], found.root * scale, found.half_log_det, scale, found.kept)


def _scaling(center: Array, variance: Array, smallest: Array) -> Transform:
    kept = variance > smallest
    scale = jnp.sqrt(jnp.where(kept, variance, 1))
    return _transform(
        center, jnp.diag(jnp.where(kept, 1 / scale, 0)), jnp.diag(jnp.where(kept, scale, 0)), 0, scale, kept
    )


def _transform(center: Array, root: Array, back: Array, half_log_det: Any, scale: Array, kept: Array) -> Transform:
    # The law of the whitened row has a standard normal factor for each ignored direction, which is taken out of the density.
    volume = jnp.sum(~kept) * jnp.log(2 * jnp.pi) / 2 - half_log_det - jnp.sum(jnp.log(scale))
    return Transform(center, root, back, volume.astype(center.dtype), jnp.sum(kept).astype(jnp.int32))


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


def _over_blocks(sums: Any, block: int | None, *rows: Array) -> Any:
    """The sum of ``sums(X, y, shares)`` over blocks of rows, all at once for None; shares have the rows in their last axis."""
    if block is None:
        return sums(*rows)

    def add(total: Any, first: Array, fresh: Array) -> Any:
        x, y = (lax.dynamic_slice_in_dim(a, first, block) for a in rows[:2])
        shares = jnp.where(fresh, lax.dynamic_slice_in_dim(rows[2], first, block, axis=1), 0)
        return jax.tree.map(jnp.add, total, sums(x, y, shares))

    zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(sums, *rows))
    return fold_blocks(add, zero, len(rows[0]), block)
