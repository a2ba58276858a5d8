"""What is asked of an :class:`Uncertainty`: errors, draws, and the errors of predictions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.linalg import matmul, normal_draws
from jaxml.prediction import read_features
from jaxml.uncertainty.curvature import Uncertainty, rows_at_a_time


class Prediction(NamedTuple):
    """The predictor of new rows and its standard error, (n,) or (n, k)."""

    linear: Array
    error: Array


def standard_errors(found: Uncertainty) -> Any:
    """The square roots of the variances, in the shape of the params.

    Args:
        found: from :func:`jaxml.uncertainty.infer`.

    Returns:
        A pytree like the params.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, uncertainty
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.zeros((4, 0)), jnp.array([0, 1, 1, 1])
        >>> half = Linear(jnp.zeros(0), jnp.log(3.0))
        >>> print(f"{uncertainty.standard_errors(uncertainty.infer(families.Bernoulli(), linear, half, X, y)).bias:.3f}")
        1.155
    """
    return ravel_pytree(found.params)[1](jnp.sqrt(jnp.diagonal(found.covariance)))


def sample(found: Uncertainty, key: Array, draws: int = 1000) -> Any:
    """Draws of the params from N(params, covariance).

    Args:
        found: from :func:`jaxml.uncertainty.infer`.
        key: a random key.
        draws: how many.

    Returns:
        A pytree like the params, whose leaves lead with ``draws``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxml import families, uncertainty
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.zeros((4, 0)), jnp.array([0, 1, 1, 1])
        >>> found = uncertainty.infer(families.Bernoulli(), linear, Linear(jnp.zeros(0), jnp.log(3.0)), X, y)
        >>> uncertainty.sample(found, jax.random.key(0), 500).bias.shape
        (500,)
    """
    theta, unravel = ravel_pytree(found.params)
    return jax.vmap(unravel)(normal_draws(key, theta, found.covariance, draws))


def predict_with_errors(found: Uncertainty, X: Any, *, offset: Any = None) -> Prediction:
    """The predictor of new rows with its standard error, sqrt(J V J') by the Jacobian J of the row (delta method).

    Args:
        found: from :func:`jaxml.uncertainty.infer`.
        X: (n, d).
        offset: of the shape of the prediction, added to it.

    Returns:
        :class:`Prediction`, before the link.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, uncertainty
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.zeros((4, 0)), jnp.array([0, 1, 1, 1])
        >>> found = uncertainty.infer(families.Bernoulli(), linear, Linear(jnp.zeros(0), jnp.log(3.0)), X, y)
        >>> print(*(f"{a[0]:.3f}" for a in uncertainty.predict_with_errors(found, X[:1])))
        1.099 1.155

    Source: Bishop (2006), section 5.7.
    """
    X = read_features(X, None, found.covariance.dtype)
    theta, unravel = ravel_pytree(found.params)
    z = found.predictor(found.params, X)

    def error(x: Array) -> Array:
        J = jax.jacrev(lambda theta: found.predictor(unravel(theta), x[None])[0])(theta)
        return jnp.sqrt(jnp.sum(matmul(J, found.covariance) * J, axis=-1))

    errors = lax.map(error, X, batch_size=rows_at_a_time(len(theta), z))
    return Prediction(z if offset is None else z + jnp.asarray(offset, z.dtype), errors)
