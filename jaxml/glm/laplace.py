r"""Laplace's approximation of the posterior of a fit with a penalty.

    theta | y ~ N(params, phi (I + N l2 P)^-1)                     the prior: weight ~ N(0, phi / (N l2)), flat on the bias
    log p(y) = l(theta) + log p(theta) + k/2 log(2 pi) + 1/2 log det(phi (I + N l2 P)^-1)

An inference holds the mean and the covariance already. The evidence is exact for the normal family.

Source: MacKay (1992), "Bayesian interpolation"; Bishop (2006), section 4.4.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxml.compiling import program
from jaxml.glm.covariance import Inference, of_inference
from jaxml.glm.goodness import log_likelihood
from jaxml.linalg import matmul, normal_draws
from jaxml.predictors import Linear


@of_inference
def log_evidence(inference: Inference) -> Array:
    """log p(y), to compare penalties and sets of columns: larger is better.

    With a flat prior on the bias it lacks a constant that models with the same unpenalised coefficients share.

    Args:
        inference: from :func:`jaxml.glm.infer`, of kind 'model', of a fit with l2 > 0.

    Returns:
        (); NaN inside jit where the posterior is improper along some direction.

    Raises:
        ValueError: a robust covariance, no penalty, sampling weights, quasi-likelihood, or a posterior that is improper because
            neither data nor penalty determine some direction (values only outside jit).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> of = lambda l2: glm.log_evidence(glm.infer(glm.fit(families.Poisson(), X, y, l2=l2), X, y))
        >>> print(*(f"{of(l2):.2f}" for l2 in (0.01, 0.3, 10.0)))
        -9.88 -8.51 -10.17

    Source: MacKay (1992); Bishop (2006), section 4.4.1.
    """
    if inference.kind != "model":
        raise ValueError(f"the evidence is that of the model, not of covariance={inference.kind!r}")
    if not isinstance(inference.penalized, jax.core.Tracer) and not bool(inference.penalized):
        raise ValueError("without a penalty there is no proper prior, and no evidence; fit with l2 > 0")
    likelihood = log_likelihood(inference, dispersion="pearson" if inference.fit.family.estimates_dispersion else "ml")
    value = _log_evidence(inference, likelihood)
    if not isinstance(value, jax.core.Tracer) and bool(jnp.any(inference.null != 0)):
        raise ValueError(
            "neither data nor penalty determine some combination of the coefficients, so that the posterior is improper"
        )
    return value


@of_inference
def sample_posterior(inference: Inference, key: Array, draws: int = 1000) -> Linear:
    """Draws of the coefficients from N(params, covariance).

    Args:
        inference: from :func:`jaxml.glm.infer`.
        key: a random key.
        draws: how many.

    Returns:
        Linear whose leaves lead with ``draws``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> inference = glm.infer(glm.fit(families.Poisson(), X, y, l2=0.1), X, y)
        >>> glm.sample_posterior(inference, jax.random.key(0), 500).weight.shape
        (500, 1)
    """
    theta, unravel = ravel_pytree(inference.params)
    return jax.vmap(unravel)(normal_draws(key, theta, inference.covariance, draws))


@program()
def _log_evidence(inference: Inference, likelihood: Array) -> Array:
    theta, phi = ravel_pytree(inference.fit.params)[0], inference.dispersion
    value = evidence(likelihood, theta, inference.ridge / phi, inference.root, phi)
    return jnp.where(jnp.any(inference.null != 0), jnp.nan, value)


def evidence(likelihood: Array, theta: Array, precision: Array, root: Array, phi: Array) -> Array:
    """Laplace's log p(y), for a prior of this precision (p,) and the posterior N(theta, phi R R')."""
    # On the directions that the posterior knows; those of a softmax that change nothing have no say in either.
    values, basis = jnp.linalg.eigh(matmul(root, root.T))
    kept = values > 10 * len(values) * jnp.finfo(values.dtype).eps * values[-1]
    half_log_det = jnp.sum(jnp.where(kept, jnp.log(jnp.where(kept, phi * values, 1)), 0)) / 2
    inside = jnp.where(kept, basis, 0)
    prior = jnp.linalg.eigvalsh(matmul(matmul(inside.T, jnp.diag(precision)), inside))
    some = prior > 10 * len(prior) * jnp.finfo(prior.dtype).eps * prior[-1]
    log_prior = jnp.sum(jnp.where(some, jnp.log(jnp.where(some, prior, 1) / (2 * jnp.pi)), 0)) / 2
    log_prior -= jnp.sum(precision * jnp.square(theta)) / 2
    return likelihood + log_prior + jnp.sum(kept) / 2 * jnp.log(2 * jnp.pi) + half_log_det
