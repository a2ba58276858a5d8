"""Linear predictor eta = X w + b."""

from typing import Any, NamedTuple

from jax import Array

from jaxml.linalg import matmul


class Linear(NamedTuple):
    """Parameters of a linear predictor: weight (d,) or (d, k), bias () or (k,), None without an intercept."""

    weight: Any
    bias: Any = None


def linear(params: Linear, X: Array) -> Array:
    """X w + b, one row of X per example.

    Args:
        params: weight (d,) or (d, k) and bias.
        X: (..., d), an array.

    Returns:
        (...) or (..., k), at the full precision of the dtype also on accelerators.

    Raises:
        TypeError: by JAX, where shapes do not match or X is no array.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml.predictors import Linear, linear
        >>> print(linear(Linear(jnp.array([1.0, 2.0]), jnp.array(0.5)), jnp.array([[1.0, 1.0], [0.0, 3.0]])))
        [3.5 6.5]

    Source: notes 6.1.
    """
    product = matmul(X, params.weight)
    return product if params.bias is None else product + params.bias
