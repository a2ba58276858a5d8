"""Predictions and scores of a fitted generalised linear model."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxml.checks import read_rows
from jaxml.dtypes import as_array, to_compute
from jaxml.families import functions
from jaxml.glm.dispersion import weighted_sum
from jaxml.glm.result import Fit
from jaxml.likelihood import log_likelihood
from jaxml.links import natural_parameter
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
    return natural_parameter(fit.family, fit.link, _linear_predictor(fit, X, offset))


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
    return functions.mean(fit.family, eta, trials=_trials(fit, trials, eta))


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
    eta = predict_natural(fit, X, offset=offset)
    return functions.expected_value(fit.family, eta, trials=_trials(fit, trials, eta))


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
    _needs_offset(fit, offset)
    rows = read_rows(fit.family, X, y, weights, offset)
    _same_columns(fit, rows.X)
    family = fit.family.with_dispersion(fit.dispersion) if fit.family.estimates_dispersion else fit.family
    total = log_likelihood(
        family, linear, fit.params, rows.X, rows.y, weights=rows.weights, offset=rows.offset, link=fit.link
    )
    return total / weighted_sum(rows.weights, jnp.ones(rows.n, rows.X.dtype))


def contrast(fit: Fit, reference: int = 0) -> Linear:
    """The coefficients of a softmax regression as log odds against one class, as multinomial logit reports them.

    Args:
        fit: a :class:`Fit` of Categorical or Multinomial, whose own coefficients sum to zero over the classes.
        reference: the class to compare with, 0..K-1.

    Returns:
        Linear of weight (d, K) and bias (K,), or None without an intercept; those of the reference are 0.

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
    if not fit.family.redundant:
        raise TypeError(f"contrast is for the classes of Categorical and Multinomial, got a fit of {fit.family}")
    classes = fit.family.natural_size
    if not 0 <= reference < classes:
        raise ValueError(f"reference = {reference} is no class; the fit has 0..{classes - 1}")
    return jax.tree.map(lambda a: a - a[..., reference : reference + 1], fit.params)


# -- helpers ---------------------------------------------------------------------------------------------------------
def _needs_offset(fit: Fit, offset: Any) -> None:
    if fit.offset and offset is None:
        raise ValueError("the model was fitted with an offset; give offset= for the new rows (zeros for none)")
    if not fit.offset and offset is not None:
        raise ValueError("the model was fitted without an offset, so offset= has no meaning here")


def _same_columns(fit: Fit, X: Any) -> None:
    d = fit.params.weight.shape[0]
    if X.ndim != 2 or X.shape[1] != d:
        raise ValueError(f"X has shape {X.shape}, but the model was fitted on {d} columns: expected (n, {d})")


def _linear_predictor(fit: Fit, X: Any, offset: Any) -> Array:
    _needs_offset(fit, offset)
    weight = fit.params.weight
    X = to_compute(as_array(X, "X"), weight.dtype, "X")
    _same_columns(fit, X)
    z = linear(fit.params, X)
    if offset is None:
        return z
    offset = to_compute(as_array(offset, "offset"), weight.dtype, "offset")
    if offset.shape != z.shape:
        raise ValueError(f"offset has shape {offset.shape}, expected {z.shape} to match X")
    return z + offset


def _trials(fit: Fit, trials: Any, eta: Array) -> Array | None:
    if fit.family.has_trials and trials is None:
        raise ValueError(f"{type(fit.family).__name__} counts successes out of trials; give trials= for the new rows")
    if trials is None:
        return None
    trials = to_compute(as_array(trials, "trials"), eta.dtype, "trials")
    n = eta.shape[0]
    if trials.shape not in ((), (n,)):
        raise ValueError(f"trials has shape {trials.shape}, expected ({n},) to match X")
    return jnp.broadcast_to(trials, (n,))
