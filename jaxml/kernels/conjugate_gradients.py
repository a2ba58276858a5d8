"""Conjugate gradients that say how many products they took.

Source: Nocedal & Wright (2006), *Numerical Optimization*, algorithm 5.3.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

_TRIAL = 4  # products before the pace is looked at


def conjugate_gradients(
    product: Callable[[Array], Array],
    right: Array,
    precondition: Callable[[Array], Array],
    tol: Any,
    max_steps: Any,
    pace: Any = None,
) -> tuple[Array, Array, Array]:
    """The solution of product(x) = right for a symmetric positive definite matrix and each column of right by itself.

    Args:
        product: of the matrix and an array like ``right``.
        right: (n,) or (n, k).
        precondition: the same of a matrix near the inverse.
        tol: residual to stop at, as a share of the norm of the right-hand side.
        max_steps: most products.
        pace: give up, from the fourth product on, where the residual falls more slowly than this many would take to the end.

    Returns:
        x, whether every column has reached the tolerance, and the number of products. A matrix that is seen not to be positive
        definite has not.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml.kernels.conjugate_gradients import conjugate_gradients
        >>> x, reached, steps = conjugate_gradients(lambda v: 2 * v, jnp.ones(3), lambda v: v, 1e-6, 10)
        >>> print(x, reached, steps)
        [0.5 0.5 0.5] True 1
    """
    inner = lambda a, b: jnp.sum(a * b, axis=0)
    length = lambda a: jnp.sqrt(inner(a, a))
    largest = jnp.max(jnp.abs(right), axis=0)
    unit = jnp.where(largest > 0, largest, 1)  # squares of other units overflow, or are 0
    right = right / unit
    size = length(right)

    def trip(state: Any) -> Any:
        x, r, z, p, i = state
        image, energy = product(p), inner(r, z)
        curved = inner(p, image)
        # A column that is solved to the last digit stands still; a direction that falls for ever ends the search.
        step = jnp.where(energy == 0, 0, jnp.where(curved > 0, energy / curved, jnp.nan))
        x, r = x + step * p, r - step * image
        new = precondition(r)
        return x, r, new, new + jnp.where(energy == 0, 0, inner(r, new) / energy) * p, i + 1

    def going(state: Any) -> Array:
        rest, i = length(state[1]), state[4]
        hopeful = True if pace is None else jnp.all(rest <= size * tol ** (i / pace)) | (i < _TRIAL)
        return jnp.any(rest > tol * size) & jnp.all(jnp.isfinite(rest)) & hopeful & (i < max_steps)

    first = precondition(right)
    x, r, *_, steps = lax.while_loop(going, trip, (jnp.zeros_like(right), right, first, first, jnp.int32(0)))
    return x * unit, jnp.all(length(r) <= tol * size), steps
