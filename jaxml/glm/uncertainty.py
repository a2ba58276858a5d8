r"""How sure a fit is of its predictions.

    linear predictor   z +- t se(z),      se(z)^2 = [x, 1] V [x, 1]'
    mean               the ends of that interval through the inverse link, or by the delta method mu +- t |dmu/dz| se(z)
    a new y            quantiles of draws: coefficients from N(theta, V), then y from the family

Source: McCullagh & Nelder (1989), section 2.5; Davison & Hinkley (1997), section 7.2.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxml.compiling import program
from jaxml.dtypes import as_array, to_compute
from jaxml.families import functions
from jaxml.families.base import Family
from jaxml.glm.covariance import Inference, determined, of_inference
from jaxml.glm.dispersion import law_of_rows
from jaxml.glm.inference import read_level
from jaxml.glm.laplace import sample_posterior
from jaxml.glm.result import Fit
from jaxml.glm.tails import two_sided_quantile
from jaxml.links import natural_parameter
from jaxml.prediction import expected_from, read_features, read_offset, read_trials
from jaxml.predictors import linear
from jaxml.predictors.design import Design

SCALES = ("mean", "linear")
METHODS = ("link", "delta")


class Prediction(NamedTuple):
    """Predictions of n rows with standard errors and the ends of confidence intervals; (n,), or (n, k) for several outputs."""

    value: Array
    error: Array
    low: Array
    high: Array


@of_inference
def predict_with_errors(
    inference: Inference,
    X: Any,
    *,
    offset: Any = None,
    trials: Any = None,
    scale: str = "mean",
    level: Any = 0.95,
    method: str | None = None,
) -> Prediction:
    """Predictions with standard errors and confidence intervals: of the mean, or of the linear predictor.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        X: (m, d).
        offset: of the shape of the linear predictor; required if the fit had one.
        trials: () or (m,), for Binomial and Multinomial, whose expected counts it scales.
        scale: 'mean', E[Y | x] (probabilities of the classes), or 'linear', X w + b + offset.
        level: of the intervals.
        method: of the interval of a mean: 'link', the ends of the interval of z through the inverse link, which stays inside the range
            of the mean, or 'delta', symmetric. None: 'link' where a mean has one linear predictor, else 'delta'.

    Returns:
        :class:`Prediction`; NaN where the design of the fit does not determine a prediction.

    Raises:
        ValueError, TypeError, OverflowError: as :func:`jaxml.glm.predict`, and unknown options.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> inference = glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> print(*(f"{float(v[0]):.2f}" for v in glm.predict_with_errors(inference, jnp.array([[4.0]]))))
        19.64 9.80 7.38 52.23

    Source: McCullagh & Nelder (1989), section 2.5.
    """
    fit = inference.fit
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r} is not known; use one of {SCALES}")
    one = fit.family.natural_size is None
    method = ("link" if one else "delta") if method is None else method
    if method not in METHODS or (method == "link" and not one):
        raise ValueError(f"method={method!r}: use 'delta', or 'link' where a mean has one linear predictor")
    if scale == "linear" and trials is not None:
        raise ValueError("trials scale counts; scale='linear' has no use for them")
    weight = fit.params.weight
    X = read_features(X, len(weight), weight.dtype)
    z = linear(fit.params, X)
    offset = read_offset(fit, offset, z)
    if scale == "mean":
        trials = read_trials(fit.family, trials, z)
    return _predict(inference, X, offset, trials, read_level(level, weight.dtype), scale=scale, method=method)


@of_inference
def sample_predictive(
    inference: Inference,
    X: Any,
    key: Array,
    draws: int = 1000,
    *,
    offset: Any = None,
    trials: Any = None,
    weights: Any = None,
) -> Any:
    """Draws of new y at each row: coefficients from N(theta, V), then y from the family at its dispersion.

    Quantiles of the draws are the ends of a prediction interval, which covers what a new observation does, not only its mean:
    ``jnp.quantile(glm.sample_predictive(inference, X, key), jnp.array([0.025, 0.975]), axis=0)``.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        X: (m, d).
        key: a random key.
        draws: how many.
        offset, trials: as for :func:`jaxml.glm.predict`.
        weights: () or (m,), as for :func:`jaxml.glm.prediction_intervals`.

    Returns:
        (draws, m), or (draws, m, k) where y is a vector.

    Raises:
        ValueError: for a quasi-likelihood fit, which has no law to draw from, weights missing or without meaning; else as
            :func:`jaxml.glm.predict`.
        NotImplementedError: a family without a sampler.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> inference = glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> glm.sample_predictive(inference, X, jax.random.key(0), 500).shape
        (500, 4)

    Source: Davison & Hinkley (1997), section 7.2.4.
    """
    fit = inference.fit
    if fit.quasi:
        raise ValueError("a quasi-likelihood fit (check='hull') has no law of y to draw from")
    weight = fit.params.weight
    X = read_features(X, len(weight), weight.dtype)
    z = linear(fit.params, X)
    offset, trials = read_offset(fit, offset, z), read_trials(fit.family, trials, z)
    family = law_of_rows(fit.family, fit.weight_kind, inference.dispersion, read_precision_weights(fit, weights, z))
    of_theta, of_y = jax.random.split(key)
    z = jax.vmap(lambda params: linear(params, X))(sample_posterior(inference, of_theta, draws))
    z = z if offset is None else z + offset
    eta = natural_parameter(family, fit.link, z)
    return functions.sample(
        family, eta, of_y, trials=None if trials is None else jnp.broadcast_to(trials, (draws, len(X)))
    )


def read_precision_weights(fit: Fit, weights: Any, z: Array) -> Array | None:
    """The precision weights (m,) of new rows; ValueError where the fit had none, or where they are missing."""
    asked = fit.weight_kind == "precision" and type(fit.family).with_dispersion is not Family.with_dispersion
    if asked and weights is None:
        raise ValueError("the model was fitted with precision weights; give weights= for the new rows (ones for none)")
    if not asked and weights is not None:
        raise ValueError("weights have a meaning for new rows only where precision weights divide a dispersion")
    if weights is None:
        return None
    weights = to_compute(as_array(weights, "weights"), z.dtype, "weights")
    if weights.shape not in ((), z.shape[:1]):
        raise ValueError(f"weights has shape {weights.shape}, expected {z.shape[:1]} to match X")
    if not isinstance(weights, jax.core.Tracer) and not bool(jnp.all(weights > 0)):
        raise ValueError("weights of new rows must be positive")
    return jnp.broadcast_to(weights, z.shape[:1])


# -- the numbers -----------------------------------------------------------------------------------------------------
@program(static_argnames=("scale", "method"))
def _predict(
    inference: Inference, X: Array, offset: Array | None, trials: Any, level: Array, *, scale: str, method: str
) -> Prediction:
    t = two_sided_quantile(level, inference.freedom)
    z = linear(inference.params, X)
    z = z if offset is None else z + offset
    covariance = variance_of_linear(inference, X)  # (m,) or (m, k, k)

    mean = partial(expected_from, inference.fit)
    if scale == "linear":
        variance = covariance if z.ndim == 1 else jnp.diagonal(covariance, axis1=1, axis2=2)
        error = jnp.sqrt(variance)
        return Prediction(z, error, z - t * error, z + t * error)
    value = mean(z, trials)
    if z.ndim == 1:
        slope = jax.jvp(lambda z: mean(z, trials), (z,), (jnp.ones_like(z),))[1]
        error = jnp.abs(slope) * jnp.sqrt(covariance)
        if method == "link":
            half = t * jnp.sqrt(covariance)
            ends = mean(z - half, trials), mean(z + half, trials)
            return Prediction(value, error, jnp.minimum(*ends), jnp.maximum(*ends))
    else:
        if trials is None:
            J = jax.vmap(jax.jacfwd(lambda z: mean(z, None)))(z)
        else:
            J = jax.vmap(jax.jacfwd(mean))(z, trials)
        error = jnp.sqrt(jnp.einsum("m...i,mij,m...j->m...", J, covariance, J, precision="highest"))
    return Prediction(value, error, value - t * error, value + t * error)


def variance_of_linear(inference: Inference, X: Array) -> Array:
    """The covariance of the linear predictors of each row, (m,) or (m, k, k); NaN where the design does not determine them."""
    params = inference.params
    a = Design(X, params.bias is not None).dense()
    k = 1 if params.weight.ndim == 1 else params.weight.shape[1]
    q = a.shape[1]
    value = jnp.einsum("na,aibj,nb->nij", a, inference.covariance.reshape(q, k, q, k), a, precision="highest")
    value = jnp.where(determined(a, inference.null.reshape(q, -1))[:, None, None], value, jnp.nan)
    return value[:, 0, 0] if params.weight.ndim == 1 else value
