"""The generative classifiers of a first course by name: :func:`jaxml.generative.fit` with a model filled in."""

from typing import Any

import jax
import numpy as np

from jaxml import families
from jaxml.dtypes import as_array
from jaxml.generative.classifier import Classifier
from jaxml.generative.estimation import fit
from jaxml.generative.gaussian import GaussianDiscriminant
from jaxml.generative.naive_bayes import NaiveBayes


def gaussian_discriminant_analysis(
    X: Any, y: Any, *, covariance: str = "shared", shrinkage: Any = 0.0, variance_smoothing: Any = 0.0, **options: Any
) -> Classifier:
    """x | y = k ~ N(mu_k, Sigma) ('shared'), N(mu_k, Sigma_k) ('full') or with diagonal Sigma_k ('diagonal').

    Args:
        X: (n, d).
        y: (n,) integer labels 0..K-1.
        covariance: 'shared', 'full' or 'diagonal'.
        shrinkage: in [0, 1], towards a multiple of the identity; 'auto': by Ledoit and Wolf, see :class:`GaussianDiscriminant`.
        variance_smoothing: share of the largest variance added to all.
        **options: ``classes``, ``weights``, ``prior``, ``check`` of :func:`jaxml.generative.fit`.

    Returns:
        :class:`jaxml.generative.Classifier`.

    Raises:
        ValueError, TypeError: as :func:`jaxml.generative.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [6.0]]), jnp.array([0, 0, 1, 1])
        >>> fit = generative.gaussian_discriminant_analysis(X, y)  # mu = 1, 5 and s^2 = 1
        >>> print(generative.predict(fit, jnp.array([[3.0]])))
        [[0.5 0.5]]

    Source: notes 7.2.
    """
    return fit(GaussianDiscriminant(covariance, shrinkage, variance_smoothing), X, y, **options)


def gaussian_naive_bayes(X: Any, y: Any, *, variance_smoothing: Any = 0.0, **options: Any) -> Classifier:
    """Independent normal columns with a mean and a variance for each class.

    Args:
        X: (n, d).
        y: (n,) integer labels 0..K-1.
        variance_smoothing: share of the largest variance of a column added to all variances (scikit-learn's var_smoothing is 1e-9).
        **options: as for :func:`gaussian_discriminant_analysis`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [6.0]]), jnp.array([0, 0, 1, 1])
        >>> print(generative.classify(generative.gaussian_naive_bayes(X, y), jnp.array([[2.0], [4.0]])))
        [0 1]

    Source: notes 7.3.
    """
    options |= {"covariance": "diagonal", "variance_smoothing": variance_smoothing}
    return gaussian_discriminant_analysis(X, y, **options)


def bernoulli_naive_bayes(X: Any, y: Any, *, smoothing: Any = 1.0, **options: Any) -> Classifier:
    """Independent columns of 0 and 1: p(x_j = 1 | y = k) = (alpha + count) / (2 alpha + n_k).

    Args:
        X: (n, d) of 0 and 1.
        y: (n,) integer labels 0..K-1.
        smoothing: alpha, the pseudo-count; 1 is Laplace's.
        **options: ``classes``, ``weights``, ``prior``, ``check`` of :func:`jaxml.generative.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[1.0], [1.0], [0.0], [0.0]]), jnp.array([0, 0, 1, 1])
        >>> print(generative.predict(generative.bernoulli_naive_bayes(X, y), jnp.array([[1.0]])))
        [[0.75 0.25]]

    Source: notes 7.3, 7.4.
    """
    return _fit(families.independent(families.Bernoulli(), _width(X)), X, y, smoothing, options)


def categorical_naive_bayes(X: Any, y: Any, *, levels: Any = None, smoothing: Any = 1.0, **options: Any) -> Classifier:
    """Independent columns of levels 0..m_j-1: p(x_j = v | y = k) = (alpha + count) / (m_j alpha + n_k).

    Args:
        X: (n, d) of integer codes.
        y: (n,) integer labels 0..K-1.
        levels: m_j, a number or one for each column; by default the largest code of a column + 1, which must be readable.
        smoothing: alpha, the pseudo-count; 1 is Laplace's.
        **options: ``classes``, ``weights``, ``prior``, ``check`` of :func:`jaxml.generative.fit`.

    Raises:
        ValueError: levels not given inside jit, or too few of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0], [2], [1], [1]]), jnp.array([0, 0, 1, 1])
        >>> fit = generative.categorical_naive_bayes(X, y)  # (1 + 0) / (3 + 2) against (1 + 2) / (3 + 2)
        >>> print(generative.predict(fit, jnp.array([[1]])))
        [[0.25 0.75]]

    Source: notes 7.3, 7.4.
    """
    levels = _levels(X, options.get("weights")) if levels is None else np.asarray(levels)
    if levels.shape not in ((), (_width(X),)):
        raise ValueError(
            f"levels has shape {levels.shape}, expected () or ({_width(X)},), a number for each column of X"
        )
    counts = np.broadcast_to(levels, (_width(X),))
    groups = {int(m): tuple(int(j) for j in np.flatnonzero(counts == m)) for m in np.unique(counts)}
    law = families.Product(tuple(families.Categorical(m) for m in groups), tuple(groups.values()))
    return _fit(law, X, y, smoothing, options)


def multinomial_naive_bayes(X: Any, y: Any, *, smoothing: Any = 1.0, **options: Any) -> Classifier:
    """Rows of counts, as of words: p(word v | y = k) = (alpha + count) / (d alpha + words of class k).

    Args:
        X: (n, d) of counts.
        y: (n,) integer labels 0..K-1.
        smoothing: alpha, the pseudo-count; 1 is Laplace's.
        **options: ``classes``, ``weights``, ``prior``, ``check`` of :func:`jaxml.generative.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[2.0, 0.0], [0.0, 2.0]]), jnp.array([0, 1])
        >>> print(generative.predict(generative.multinomial_naive_bayes(X, y), jnp.array([[1.0, 0.0]])))
        [[0.75 0.25]]

    Source: notes 7.3, 7.4; McCallum & Nigam (1998), "A comparison of event models for naive Bayes text classification".
    """
    return _fit(families.Multinomial(_width(X)), X, y, smoothing, options)


def poisson_naive_bayes(X: Any, y: Any, *, smoothing: Any = 0.0, **options: Any) -> Classifier:
    """Independent Poisson columns with a rate for each class.

    Args:
        X: (n, d) of counts.
        y: (n,) integer labels 0..K-1.
        smoothing: alpha rows with the mean of all rows are added to each class; with 0, a column of zeros in a class makes any
            other count impossible in it.
        **options: ``classes``, ``weights``, ``prior``, ``check`` of :func:`jaxml.generative.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[1.0], [3.0], [8.0], [8.0]]), jnp.array([0, 0, 1, 1])
        >>> print(generative.classify(generative.poisson_naive_bayes(X, y), jnp.array([[3.0], [6.0]])))
        [0 1]

    Source: notes 7.3.
    """
    return _fit(families.independent(families.Poisson(), _width(X)), X, y, smoothing, options)


def _fit(family: Any, X: Any, y: Any, smoothing: Any, options: Any) -> Classifier:
    return fit(NaiveBayes(family, smoothing), X, y, **options)


def _levels(X: Any, weights: Any) -> np.ndarray:
    """The largest code of each column + 1, of the rows that count; what is no code is refused later."""
    if isinstance(X, jax.core.Tracer) or isinstance(weights, jax.core.Tracer):
        raise ValueError("inside jit the number of levels of each column must be given: levels=")
    codes = np.asarray(as_array(X, "X"))
    if weights is not None:
        codes = codes[np.asarray(weights) > 0]
    return 1 + np.max(np.where(np.isfinite(codes) & (codes > 0), codes, 0), axis=0, initial=0).astype(int)


def _width(X: Any) -> int:
    shape = np.shape(X)
    if len(shape) != 2:
        raise ValueError(f"X must have shape (n, d), got {shape}")
    return shape[1]
