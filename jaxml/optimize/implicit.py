r"""Derivatives of a minimiser by the implicit function theorem.

At a minimiser F(x, data) = grad_x J(x, data) = 0, so dx = -[dF/dx]^-1 (dF/d data) d data, whatever loop found x. The rule calls
itself, so derivatives of every order exist, in forward and reverse mode, under jit and vmap.

Source: Krantz & Parks (2002), *The Implicit Function Theorem*; Blondel et al. (2022), "Efficient and modular implicit differentiation".
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def attach(
    gradient: Callable[[Array, Any], Array], hessian: Callable[[Array, Any], Array], x: Array, data: Any
) -> Array:
    """x itself, with the derivatives that the minimiser of J(., data) has.

    Args:
        gradient: F(x, data), the gradient of J in x.
        hessian: dF/dx, (p, p); made invertible by its maker where J has flat directions.
        x: (p,), a minimiser.
        data: pytree of arrays.
    """
    del gradient, hessian, data
    return x


@attach.defjvp
def _(gradient, hessian, primals, tangents):
    x, data = primals
    x = attach(gradient, hessian, x, data)
    _, change = jax.jvp(lambda d: gradient(x, d), (data,), (tangents[1],))
    matrix = hessian(x, data)
    diagonal = lax.stop_gradient(jnp.diagonal(matrix))
    scale = lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))
    return x, -scale * jnp.linalg.solve(matrix * scale[:, None] * scale, scale * change)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def opaque(reason: str, answer: Any, data: Any) -> Any:
    """The answer itself, which refuses to be differentiated in the data: better no derivative than one that is silently 0.

    Args:
        reason: what the error says.
        answer: pytree of arrays.
        data: pytree of arrays.

    Raises:
        TypeError: where it is differentiated.
    """
    del reason, data
    return answer


@opaque.defjvp
def _(reason, primals, tangents):
    raise TypeError(f"{reason}, or jax.lax.stop_gradient")
