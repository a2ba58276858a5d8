r"""Maximum likelihood of a generative classifier: match the mean sufficient statistic of each class.

The estimates need of the rows only their summary: the weight of each class and the moments of x in it. Summaries of disjoint sets of
rows merge into that of their union, so that batches, files and devices are summarised one by one,

    summary = functools.reduce(partial(merge, model), (summarise(model, X, y, classes=K) for X, y in batches))
    fit = estimate(model, summary)

Source: notes 7.2, 7.3; Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance".
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxml.checks import CHECKS, count_classes, read_rows, refuse_bad_values
from jaxml.dtypes import as_array
from jaxml.families import Categorical
from jaxml.families.base import Family
from jaxml.generative.classifier import Classifier
from jaxml.generative.gaussian import GaussianDiscriminant
from jaxml.generative.naive_bayes import NaiveBayes
from jaxml.rows import Rows, block_rows
from jaxml.status import warn_unless_converged


class Summary(NamedTuple):
    """All that a model needs of a set of rows; summaries merge.

    Attributes:
        weight: (K,), the weight of the rows of each class.
        size: (K,), the same times the trials of each row; equal to it for families without trials.
        moments: pytree, the moments of x in each class; arbitrary for a class without rows.
    """

    weight: Array
    size: Array
    moments: Any


def fit(
    model: Any,
    X: Any,
    y: Any,
    *,
    classes: int | None = None,
    weights: Any = None,
    prior: Any = None,
    check: Any = "support",
) -> Classifier:
    """Fit a generative classifier.

    Args:
        model: :class:`GaussianDiscriminant`, :class:`NaiveBayes`, or any family of a row of X, one law of it for each class.
        X: (n, d), or (n,) for a family of numbers.
        y: (n,) integer labels 0..K-1.
        classes: K; by default the largest label + 1, which must be readable (not inside jit).
        weights: (n,), not negative. A row of weight 0 is as good as absent, even where it holds NaN.
        prior: (K,), the probabilities of the classes; None: their frequencies.
        check: 'support': refuse rows outside the support of the family; 'hull': accept what lies in its convex hull, as shares of
            words for counts; False: look at no value and report nothing.

    Returns:
        :class:`Classifier`. Its fields are differentiable in X, weights, prior, smoothing and shrinkage.

    Raises:
        ValueError, TypeError: bad input, naming argument, value and place (values only outside jit).

    Warns:
        ConvergenceWarning: the estimates are not finite (outside jit, unless check=False).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, generative
        >>> X, y = jnp.array([1.0, 2.0, 3.0, 7.0, 9.0]), jnp.array([0, 0, 0, 1, 1])
        >>> fit = generative.fit(families.Poisson(), X, y)  # rates 2 and 8
        >>> print(jnp.exp(fit.eta).ravel(), jnp.exp(fit.log_prior))
        [2. 8.] [0.6 0.4]

    Source: notes 7.2, 7.3; Bishop (2006), section 4.2.
    """
    classes = count_classes(y, classes)
    summary = summarise(model, X, y, classes=classes, weights=weights, check=check)
    if check and not isinstance(summary.weight, jax.core.Tracer) and not bool(jnp.any(summary.weight > 0)):
        raise ValueError("weights are all zero: no row is left to fit")
    result = estimate(model, summary, prior=prior)
    if check:
        warn_unless_converged(result)
    return result


def summarise(model: Any, X: Any, y: Any, *, classes: int, weights: Any = None, check: Any = "support") -> Summary:
    """The summary of a batch of rows, in which classes may be missing, and all weights 0.

    Args:
        model: as for :func:`fit`.
        X: (n, d), or (n,).
        y: (n,) integer labels.
        classes: K.
        weights: (n,), not negative.
        check: as for :func:`fit`.

    Returns:
        :class:`Summary`.

    Raises:
        ValueError, TypeError: as :func:`fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, generative
        >>> s = generative.summarise(families.Poisson(), jnp.array([1.0, 3.0]), jnp.array([0, 0]), classes=2)
        >>> print(s.weight, s.moments[0])
        [2. 0.] 2.0

    Source: notes 7.2, 7.3.
    """
    if check not in CHECKS:
        raise ValueError(f"check={check!r} is not known; use one of {CHECKS}")
    model = as_model(model)
    X = as_array(X, "X")
    d = model.family.observation_size if isinstance(model, NaiveBayes) else None
    ndim = 1 if isinstance(model, NaiveBayes) and not model.family.observation_ndim else 2
    if X.ndim != ndim or (d is not None and X.shape[1:] != (d,)):
        raise ValueError(f"X has shape {X.shape}, expected (n{', ' + str(d or 'd') if ndim == 2 else ''}) for {model}")
    flat = X if X.ndim == 2 else X[:, None]
    rows = read_rows(Categorical(classes), flat, y, weights, None)
    check = check if _some(rows.weights) else False
    if check:
        refuse_bad_values(Categorical(classes), rows)
    rows = rows._replace(X=rows.X.reshape(X.shape))
    model = jax.tree.map(lambda leaf: jnp.asarray(leaf, rows.X.dtype), model)
    if check and isinstance(model, NaiveBayes):
        _refuse_outside(model.family, rows, check)
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in rows)
    return _summarise(model, rows, classes, None if traced or rows.X.ndim == 1 else block_rows(rows.X))


def merge(model: Any, a: Summary, b: Summary) -> Summary:
    """The summary of the rows of both.

    Args:
        model: as for :func:`fit`, the one that they were made with.
        a: a summary.
        b: another, of the same number of classes.

    Returns:
        :class:`Summary`.

    Raises:
        ValueError: summaries of another number of classes or columns.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, generative
        >>> part = lambda x: generative.summarise(families.Poisson(), jnp.array(x), jnp.zeros(len(x), int), classes=2)
        >>> print(generative.merge(families.Poisson(), part([1.0, 3.0]), part([5.0])).moments[0])
        3.0

    Source: Chan, Golub & LeVeque (1983).
    """
    if jax.tree.map(jnp.shape, a) != jax.tree.map(jnp.shape, b):
        raise ValueError(
            f"the summaries have {len(a.weight)} and {len(b.weight)} classes, or are not both of rows and a model like these"
        )
    return _merge(as_model(model), a, b)


def estimate(model: Any, summary: Summary, *, prior: Any = None) -> Classifier:
    """The classifier of maximum likelihood (smoothed or shrunk as the model says) from the summary of the rows.

    Args:
        model: as for :func:`fit`.
        summary: from :func:`summarise` or :func:`merge`.
        prior: (K,), the probabilities of the classes; None: their frequencies.

    Returns:
        :class:`Classifier`. The law of a class without rows is that of all rows, or follows from the pseudo-counts.

    Raises:
        ValueError: a prior of another shape, or (outside jit) one that is negative or does not sum to 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, generative
        >>> s = generative.summarise(families.Poisson(), jnp.array([1.0, 3.0, 8.0]), jnp.array([0, 0, 1]), classes=2)
        >>> print(jnp.exp(generative.estimate(families.Poisson(), s, prior=[0.5, 0.5]).log_prior))
        [0.5 0.5]

    Source: notes 7.2 to 7.4.
    """
    dtype = summary.weight.dtype
    model = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), as_model(model))
    if prior is not None:
        prior = _read_prior(prior, summary.weight)
    return _estimate(model, summary, prior)


def as_model(model: Any) -> Any:
    """A bare family as naive Bayes without smoothing.

    Raises:
        TypeError: not a model.
        ValueError: an option outside its range.
    """
    if isinstance(model, GaussianDiscriminant | NaiveBayes):
        return model.checked()
    if isinstance(model, Family):
        return NaiveBayes(model, 0.0).checked()
    raise TypeError(f"model must be GaussianDiscriminant, NaiveBayes or a family of jaxml.families, got {model!r}")


# -- helpers ---------------------------------------------------------------------------------------------------------
def _some(weights: Array | None) -> bool:
    """Whether any weight is not 0, as far as that can be read."""
    return weights is None or isinstance(weights, jax.core.Tracer) or bool(jnp.any(weights != 0))


@partial(jax.jit, static_argnames=("classes", "block"))
def _summarise(model: Any, rows: Rows, classes: int, block: int | None) -> Summary:
    rows = rows.safe()
    w = rows.mass
    each = jnp.where(rows.y == jnp.arange(classes)[:, None], w, 0)
    weight = jnp.sum(each, axis=1)
    # A class without rows is summarised by all rows, to which merge and estimate give no weight.
    shares = jnp.where(weight[:, None] > 0, each, w) / jnp.where(weight > 0, weight, jnp.sum(w))[:, None]
    trials = model.family.trials(rows.X) if isinstance(model, NaiveBayes) else 1
    size = jnp.sum(jnp.where(each > 0, each * trials, 0), axis=1)
    return Summary(weight, size, model.moments(rows.X, rows.y, shares, weight, block))


@jax.jit
def _merge(model: Any, a: Summary, b: Summary) -> Summary:
    return Summary(a.weight + b.weight, a.size + b.size, model.merge(a, b))


@jax.jit
def _estimate(model: Any, summary: Summary, prior: Array | None) -> Classifier:
    chances = summary.weight / jnp.sum(summary.weight) if prior is None else prior
    some = chances > 0
    log_prior = jnp.where(some, jnp.log(jnp.where(some, chances, 1)), jnp.where(chances == 0, -jnp.inf, jnp.nan))
    return model.estimate(summary, log_prior)


def _read_prior(prior: Any, weight: Array) -> Array:
    prior = jnp.asarray(prior, weight.dtype)
    if prior.shape != weight.shape:
        raise ValueError(f"prior has shape {prior.shape}, expected {weight.shape}, one probability per class")
    if isinstance(prior, jax.core.Tracer):
        return prior
    if not bool(jnp.all(prior >= 0)) or abs(float(jnp.sum(prior)) - 1) > 1e-5:
        raise ValueError(f"prior must hold probabilities that sum to 1, got {prior}")
    return prior / jnp.sum(prior)


def _refuse_outside(family: Family, rows: Rows, check: str) -> None:
    inside = (family.support if check == "support" else family.hull)(rows.X) | ~rows.on
    if isinstance(inside, jax.core.Tracer) or bool(jnp.all(inside)):
        return
    i = int(jnp.argmin(inside))
    row = np.array2string(np.asarray(rows.X[i]), threshold=8)
    shares = check == "support" and bool(family.hull(rows.X)[i])
    remedy = "; if such values are meant, as shares in the place of counts, use check='hull'" if shares else ""
    raise ValueError(f"X[{i}] = {row} is outside the {check} of {type(family).__name__}{remedy}")
