"""Predictions and scores of a fitted generalised linear model."""

from typing import Any, overload

import jax
from jax import Array

from jaxml.families import functions
from jaxml.glm.covariance import Inference
from jaxml.glm.inference import contrast_inference
from jaxml.glm.result import Fit
from jaxml.prediction import mean_log_likelihood, natural_from, predict_from, read_features, read_trials
from jaxml.predictors import Linear, linear


def predict_natural(fit: Fit, X: Any, *, offset: Any = None) -> Array:
    """The natural parameter eta(X w + b + offset) of each row; with link='canonical' the linear predictor itself.

    Args:
        fit: a fitted model.
        X: (n, d).
        offset: of the shape of the linear predictor, (n,) or (n, k); required if the fit had one, refused if not.

    Returns:
        (n,) or (n, k); NaN where the linear predictor is outside the domain of the link.

    Raises:
        ValueError: where shapes do not match the fit, or the offset is missing or refused.
        TypeError, OverflowError: values that are not numeric or do not fit the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> fit = glm.fit(families.Poisson(), X, y)
        >>> print(f"{glm.predict_natural(fit, jnp.array([[1.0]]))[0]:.3f}")  # log lambda
        0.859

    Source: notes 6.1.
    """
    weight = fit.params.weight
    return natural_from(fit, linear(fit.params, read_features(X, len(weight), weight.dtype)), offset)


def predict_statistic(fit: Fit, X: Any, *, offset: Any = None, trials: Any = None) -> Array:
    """E[T(Y)] = grad a(eta) of each row, T the sufficient statistic; see :func:`predict` for E[Y].

    Args:
        fit: a fitted model.
        X: (n, d).
        offset: as for :func:`predict`.
        trials: () or (n,), required for Binomial and Multinomial, whose expected counts it scales, refused elsewhere.

    Returns:
        (n,) or (n, k).

    Raises:
        ValueError: where shapes do not match the fit, the offset is missing or refused, or the trials are missing.
        TypeError: trials for a family without them, or values that are not numeric.
        OverflowError: values that do not fit the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 2.0, 6.0])
        >>> fit = glm.fit(families.NormalMeanVariance(), X, y)
        >>> print(glm.predict_statistic(fit, jnp.array([[1.0]])).round(2))  # mean, and mean^2 + variance
        [[ 4. 20.]]

    Source: notes 6.2.
    """
    eta = predict_natural(fit, X, offset=offset)
    return functions.mean(fit.family, eta, trials=read_trials(fit.family, trials, eta))


def predict(fit: Fit, X: Any, *, offset: Any = None, trials: Any = None) -> Array:
    """E[Y] of each row; for Categorical the probabilities of the classes, (n, K).

    Args:
        fit: a fitted model.
        X: (n, d).
        offset: of the shape of the linear predictor, (n,) or (n, k); required if the fit had one, refused if not.
        trials: () or (n,), required for Binomial and Multinomial, whose expected counts it scales.

    Returns:
        (n,), or (n, k) where y or the classes are vectors.

    Raises:
        ValueError: where shapes do not match the fit, the offset is missing or refused, or the trials are missing.
        OverflowError: values that do not fit the dtype.
        TypeError: values that are not numeric; or for a family of one's own that neither declares its mean (``space``)
            nor defines ``expectation``.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> fit = glm.fit(families.Normal(), jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 3.0, 5.0]))
        >>> print(glm.predict(fit, jnp.array([[10.0]])).round(4))
        [21.]

    Source: notes 6.2.
    """
    weight = fit.params.weight
    return predict_from(fit, linear(fit.params, read_features(X, len(weight), weight.dtype)), offset, trials)


def score(fit: Fit, X: Any, y: Any, *, weights: Any = None, offset: Any = None) -> Array:
    """Mean log-likelihood sum_i w_i log p(y_i; eta_i) / sum_i w_i, at the fit's dispersion; larger is better.

    log b is included, so that families may be compared on the same y.

    Args:
        fit: a fitted model.
        X: (n, d).
        y: as for :func:`jaxml.glm.fit`.
        weights: (n,), not negative, how often each row counts, whatever the weight_kind of the fit; a row of weight 0
            counts in nothing, even where it holds NaN.
        offset: (n,) or (n, k); required if the fit had one, refused if not.

    Returns:
        () score in nats; -inf where some y is outside the support, NaN where the dispersion is (a saturated fit) or no
        weight is positive.

    Raises:
        ValueError: for a quasi-likelihood fit, which has no log-likelihood; where X does not match the fit, or y, weights or
            offset X; outside jit, where a weight is negative.
        TypeError: values that are not numeric.
        OverflowError: values that do not fit the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> fit = glm.fit(families.Poisson(), X, y)
        >>> print(f"{glm.score(fit, X, y):.3f} {fit.log_likelihood / 4:.3f}")  # equal, as no dispersion is estimated
        -1.593 -1.593

    Source: Gneiting & Raftery (2007), "Strictly proper scoring rules, prediction, and estimation".
    """
    if fit.quasi:
        raise ValueError(
            "a quasi-likelihood fit (check='hull') has no log-likelihood to score with; compare predictions with y instead"
        )
    family = fit.family.with_dispersion(fit.dispersion) if fit.family.estimates_dispersion else fit.family
    return mean_log_likelihood(fit, family, linear, len(fit.params.weight), (X, y, weights, offset))


@overload
def contrast(fit: Fit, reference: int = 0) -> Linear: ...
@overload
def contrast(fit: Inference, reference: int = 0) -> Inference: ...
def contrast(fit: Any, reference: int = 0) -> Any:
    """The coefficients of a softmax regression as log odds against one class, as multinomial logit reports them.

    Args:
        fit: a :class:`Fit` of Categorical or Multinomial, whose own coefficients sum to zero over the classes, or an
            :class:`Inference` of one.
        reference: the class to compare with, 0..K-1.

    Returns:
        Linear of weight (d, K) and bias (K,), or None without an intercept; those of the reference are 0. Of an Inference, the
        same about these coefficients.

    Raises:
        TypeError: the family has no classes.
        ValueError: there is no such class.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 1, 0, 1])
        >>> print(f"{glm.contrast(glm.fit(families.Categorical(2), X, y)).weight[0, 1]:.3f}")
        0.908

    Source: Agresti (2013), *Categorical Data Analysis*, section 8.1.
    """
    inference, fit = (fit, fit.fit) if isinstance(fit, Inference) else (None, fit)
    if not fit.family.redundant:
        raise TypeError(f"contrast is for the classes of Categorical and Multinomial, got a fit of {fit.family}")
    classes = fit.family.natural_size
    if not 0 <= reference < classes:
        raise ValueError(f"reference = {reference} is no class; the fit has 0..{classes - 1}")
    params = jax.tree.map(lambda a: a - a[..., reference : reference + 1], fit.params)
    return contrast_inference(inference, reference, params) if inference is not None else params
