r"""Losses L(z, y) of a prediction z and an outcome y, and the cost J(theta) = sum_i L(h_theta(x_i), y_i).

Elementwise functions of one prediction, broadcast over batches. Source: notes 1.3, 1.4.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxml import special


def squared_error(z: ArrayLike, y: ArrayLike) -> Array:
    """(y - z)^2 / 2.

    Args:
        z: predictions, real.
        y: outcomes, real, broadcast against z.

    Returns:
        The loss of each pair, of the broadcast shape.

    Example:
        >>> from jaxml import losses
        >>> print(losses.squared_error(1.0, 3.0))
        2.0

    Source: notes 1.3; Bishop (2006), section 3.1.1.
    """
    return jnp.square(jnp.asarray(y) - z) / 2


def logistic(z: ArrayLike, y: ArrayLike) -> Array:
    """log(1 + exp(-y z)) with labels y = -1 or +1.

    Args:
        z: predictions, real; z is the logit of the probability of y = +1. Large ones do not overflow.
        y: labels -1 or +1 (not checked), broadcast against z.

    Returns:
        The loss of each pair, of the broadcast shape.

    Example:
        >>> from jaxml import losses
        >>> print(losses.logistic(0.0, -1))
        0.6931472

    Source: notes 1.3; Bishop (2006), section 7.1.2.
    """
    return special.softplus(-jnp.asarray(y) * z)


def hinge(z: ArrayLike, y: ArrayLike) -> Array:
    """max(0, 1 - y z) with labels y = -1 or +1; its derivative at the kink y z = 1 is taken as 0.

    Args:
        z: predictions, real.
        y: labels -1 or +1 (not checked), broadcast against z.

    Returns:
        The loss of each pair, of the broadcast shape.

    Example:
        >>> from jaxml import losses
        >>> print(losses.hinge(0.25, 1))
        0.75

    Source: notes 1.3; Bishop (2006), section 7.1.2.
    """
    margin = 1 - jnp.asarray(y) * z
    return jnp.where(margin > 0, margin, 0)


def cross_entropy(z: ArrayLike, y: ArrayLike) -> Array:
    """-[y log z + (1 - y) log(1 - z)], z a probability, y in [0, 1]; 0 log 0 is 0.

    For a linear predictor use ``families.log_prob(Bernoulli(), eta, y)``, which keeps its digits where z saturates.

    Args:
        z: probabilities in [0, 1] (not checked).
        y: labels 0 or 1 or what lies between (not checked), broadcast against z.

    Returns:
        The loss of each pair, of the broadcast shape; inf where z is 0 or 1 and y is not the same.

    Example:
        >>> from jaxml import losses
        >>> print(losses.cross_entropy(0.5, 1))
        0.6931472

    Source: notes 1.3; Bishop (2006), section 4.3.2.
    """
    z, y = jnp.asarray(z), jnp.asarray(y)
    return -special.product(y, jnp.log(jnp.where(y == 0, 1, z))) - special.product(
        1 - y, special.log1p(-jnp.where(y == 1, 0, z))
    )


def cost(loss: Callable[..., Array], predictor: Callable[..., Array], params: Any, X: ArrayLike, y: ArrayLike) -> Array:
    """J(theta) = sum_i L(h_theta(x_i), y_i).

    Args:
        loss: (z, y) -> losses, as the functions of this module.
        predictor: (params, X) -> z of the shape of y, for example :func:`jaxml.predictors.linear`.
        params: theta, whatever the predictor takes.
        X: (n, d), or whatever the predictor takes.
        y: (n,).

    Returns:
        () cost, a sum and not a mean.

    Raises:
        ValueError: where predictions and y differ in shape (they are never broadcast).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import losses
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.array([[0.0], [1.0]]), jnp.array([1.0, 3.0])
        >>> print(losses.cost(losses.squared_error, linear, Linear(jnp.array([1.0]), jnp.array(1.0)), X, y))
        0.5

    Source: notes 1.4.
    """
    z, y = predictor(params, jnp.asarray(X)), jnp.asarray(y)
    if z.shape != y.shape:
        raise ValueError(f"y has shape {y.shape}, the predictions have shape {z.shape}; they must be equal")
    return jnp.sum(loss(z, y))
