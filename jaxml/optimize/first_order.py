"""First-order methods: batch gradient descent, stochastic gradient descent, and any optax optimiser.

    batch       theta <- theta - alpha grad J(theta)
    stochastic  theta <- theta - alpha grad J_B(theta), B one example or a minibatch, all examples shuffled in each epoch

Source: notes 2.1, 2.2; Robbins & Monro (1951); Widrow & Hoff (1960) for the LMS rule.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from jaxml.optimize.driver import Point
from jaxml.records import record, static_field


@dataclass(frozen=True)
class _FirstOrder:
    curvature: ClassVar[bool] = False
    line_search: ClassVar[bool] = False
    reuse: ClassVar[bool] = False


@record(kw_only=True)
class GradientDescent(_FirstOrder):
    """Batch gradient descent without a line search: theta <- theta - alpha grad J(theta).

    Args:
        learning_rate: alpha, a number or an optax schedule (a function of the step; a fresh one compiles again).
        max_steps: most steps.
        tol: stop when the Euclidean norm of the gradient is at most this; None: 1e-8 in float64, 1e-4 in float32.

    Example:
        >>> from jaxml import optimize
        >>> solver = optimize.GradientDescent(learning_rate=0.25, max_steps=2)
        >>> print(optimize.minimize(lambda x: x**2, 1.0, solver=solver).params)
        0.25

    Source: notes 2.1; Nocedal & Wright (2006), section 2.2.
    """

    learning_rate: Any = 0.1
    max_steps: int = static_field(default=1000)
    tol: Any = None

    def init(self, x: Array, blocks: int) -> Array:
        """See :class:`jaxml.optimize.driver.Rule`."""
        del x
        return jnp.zeros((), jnp.int32)

    def direction(
        self, memory: Any, previous: Point, point: Point, curvature: Any, first: Array
    ) -> tuple[Array, Array, Any]:
        """See :class:`jaxml.optimize.driver.Rule`."""
        del previous, curvature, first
        alpha = self.learning_rate(memory) if callable(self.learning_rate) else self.learning_rate
        return -jnp.asarray(alpha, point.x.dtype) * point.gradient, jnp.linalg.norm(point.gradient), memory + 1


@record(kw_only=True)
class SGD:
    """Stochastic gradient descent: every epoch visits all examples once, in an order shuffled anew.

    Args:
        learning_rate: alpha, a number or an optax schedule of the update count.
        epochs: passes over the examples.
        batch_size: examples in an update; 1 is the classical method (for least squares the LMS rule).
        seed: seed of the shuffling.
        tol: the norm of the full gradient that counts as converged at the end; None: 1e-8 in float64, 1e-4 in float32.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import optimize
        >>> solver = optimize.SGD(learning_rate=0.5, epochs=20, batch_size=4)
        >>> data = jnp.array([1.0, 2.0, 3.0, 6.0])
        >>> print(f"{optimize.sgd(lambda m, y: (y - m) ** 2 / 2, 0.0, data, solver=solver).params:.3f}")  # the mean
        3.000

    Source: notes 2.2; Robbins & Monro (1951); Widrow & Hoff (1960).
    """

    learning_rate: Any = 0.01
    epochs: int = static_field(default=10)
    batch_size: int = static_field(default=1)
    seed: Any = 0
    tol: Any = None

    @property
    def transform(self) -> Any:
        """The optax transformation with this learning rate."""
        import optax

        return optax.sgd(self.learning_rate)


@record(kw_only=True)
class Optax(_FirstOrder):
    """Any optax gradient transformation, on the whole batch or on shuffled minibatches.

    Args:
        transform: an ``optax.GradientTransformation``, as ``optax.adam(1e-2)``; make it once, a fresh one compiles again.
        max_steps: most full-batch steps, where ``epochs`` is None.
        epochs: passes over the examples in minibatches; None: full batch.
        batch_size: examples in a minibatch.
        seed: seed of the shuffling.
        tol: stop when the Euclidean norm of the gradient is at most this (minibatches: judged once, at the end); None: 1e-8 in
            float64, 1e-4 in float32.

    Example:
        >>> import optax
        >>> from jaxml import optimize
        >>> solver = optimize.Optax(transform=optax.adam(0.1))
        >>> print(f"{optimize.minimize(lambda x: (x - 3.0) ** 2, 0.0, solver=solver).params:.3f}")
        3.000
    """

    transform: Any = static_field()
    max_steps: int = static_field(default=1000)
    epochs: int | None = static_field(default=None)
    batch_size: int = static_field(default=32)
    seed: Any = 0
    tol: Any = None

    def init(self, x: Array, blocks: int) -> Any:
        """See :class:`jaxml.optimize.driver.Rule`."""
        return self.transform.init(x)

    def direction(
        self, memory: Any, previous: Point, point: Point, curvature: Any, first: Array
    ) -> tuple[Array, Array, Any]:
        """See :class:`jaxml.optimize.driver.Rule`."""
        del previous, curvature, first
        try:
            update, memory = self.transform.update(point.gradient, memory, point.x)
        except TypeError as error:
            raise TypeError(
                "the transform of Optax is called as update(gradient, state, params) and asks for more (a line search needs value"
                " and value_fn); use LBFGS, or a transform without a line search as optax.scale_by_lbfgs"
            ) from error
        return update, jnp.linalg.norm(point.gradient), memory
