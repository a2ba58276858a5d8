"""Kernel expansion eta = sum_i beta_i K(x_i, x) + b."""

from typing import Any

from jax import Array

from jaxml.predictors.linear import Linear
from jaxml.records import record


@record
class KernelExpansion:
    """The predictor of a kernel machine: params are Linear(beta, bias), with a coefficient for each of the points.

    Args:
        kernel: of :mod:`jaxml.kernels`.
        points: (m, d).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, kernels, likelihood
        >>> from jaxml.predictors import KernelExpansion, Linear
        >>> X, y = jnp.array([[0.0], [1.0]]), jnp.array([0, 1])
        >>> predictor = KernelExpansion(kernels.Gaussian(1.0), X)
        >>> print(likelihood.log_likelihood(families.Bernoulli(), predictor, Linear(jnp.zeros(2)), X, y))
        -1.3862944

    Source: notes 8.1.
    """

    kernel: Any
    points: Array

    def __call__(self, params: Linear, X: Array) -> Array:
        """(n,) or (n, k), by blocks of rows of the Gram matrix."""
        from jaxml.kernels.gram import gram_matvec  # a predictor of any kernel, but not one of the kernels

        product = gram_matvec(self.kernel, X, self.points, params.weight)
        return product if params.bias is None else product + params.bias
