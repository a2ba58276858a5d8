"""Limited-memory BFGS: the inverse Hessian from the last m steps and changes of the gradient.

Source: Nocedal & Wright (2006), *Numerical Optimization*, algorithm 7.4.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from jaxml.optimize.driver import Point
from jaxml.optimize.newton import Pairs, empty_pairs, lbfgs_product, push
from jaxml.records import record, static_field


@record(kw_only=True)
class LBFGS:
    """L-BFGS with m pairs; gradients only, for many parameters.

    Args:
        max_steps: most accepted steps.
        tol: stop when sqrt(g' B g) is at most this, B the approximate inverse Hessian; None: 1e-8 in float64, 1e-4 in float32.
        memory: pairs kept.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import optimize
        >>> target = jnp.array([1.0, 2.0])
        >>> result = optimize.minimize(lambda x: jnp.sum((x - target) ** 2), jnp.zeros(2), solver=optimize.LBFGS())
        >>> print(result.params.round(2))
        [1. 2.]
    """

    max_steps: int = static_field(default=1000)
    tol: Any = None
    memory: int = static_field(default=10)
    curvature: ClassVar[bool] = False
    line_search: ClassVar[bool] = True
    reuse: ClassVar[bool] = False

    def init(self, x: Array, blocks: int) -> Pairs:
        """See :class:`jaxml.optimize.driver.Rule`."""
        return empty_pairs(self.memory, x)

    def direction(
        self, memory: Any, previous: Point, point: Point, curvature: Any, first: Array
    ) -> tuple[Array, Array, Any]:
        """See :class:`jaxml.optimize.driver.Rule`."""
        del curvature
        pairs = push(memory, previous, point, keep=~first)
        s, y, rho = pairs.s[-1], pairs.y[-1], pairs.rho[-1]
        norm = jnp.linalg.norm(point.gradient)
        known = rho > 0
        # Without a pair the scale of the inverse Hessian is unknown: a first step of length 1 at most.
        size = jnp.where(known, (s @ y) / jnp.where(known, y @ y, 1), 1 / jnp.maximum(norm, 1))
        direction = -lbfgs_product(pairs, point.gradient, lambda q: size * q)
        decrement = jnp.sqrt(jnp.maximum(-direction @ point.gradient, 0))
        return direction, jnp.where(known | (norm == 0), decrement, jnp.maximum(decrement, norm)), pairs
