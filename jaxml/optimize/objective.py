"""What a solver minimises: value, gradient and curvature at a point.

An :class:`Objective` is a pytree with a method ``evaluate(params, curvature, stage)``; its array leaves are the data, so that any data
of the same shapes reuse one compiled program. :class:`Scalar` makes one from any scalar function by ``jax.grad`` and
``jax.hessian``; a model that knows a faster way to the same numbers brings its own class.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxml.records import record, static_field


class Evaluation(NamedTuple):
    """An objective at one point; p is the number of scalars in params.

    Attributes:
        value: (), the objective; +inf or NaN outside its domain.
        gradient: pytree of the shapes of params.
        hessian: (p, p) in the order of ``ravel_pytree``, or its blocks, see :func:`jaxml.linalg.split`; or None.
        scoring: of that shape, a positive semi-definite stand-in (the expected information) where the Hessian is indefinite, or None.
    """

    value: Array
    gradient: Any
    hessian: Array | None = None
    scoring: Array | None = None


class Costs(NamedTuple):
    """What an objective with stages says of them, to weigh fresh curvature against more steps.

    Attributes:
        price: for each stage, the evaluations that one curvature is worth there.
        tries: how often curvature is taken from the sample in stage 1 before all rows are asked, and blocks of it in the last stage.
        rate: for each stage, by what a step with fresh curvature shrinks the decrement.
        near: the decrement at which stage 0 has done its work.
        jump: the decrement to expect at the beginning of stage 1.
    """

    price: tuple[float, ...]
    tries: int
    rate: tuple[float, ...]
    near: Array
    jump: Array


class Objective:
    """The base of an objective, a pytree: ``evaluate`` is its own, and the rest is as simple as here unless it says otherwise.

    With ``certifies`` it has methods by which a search proves that there is no minimum, see :class:`jaxml.glm.engine.Separable`.
    """

    @property
    def stages(self) -> int:
        """1; or 3: stage 0 evaluates a cheap subsample to start from, stage 1 everything, but curvature on a subsample, stage 2
        everything. Then it has ``costs``."""
        return 1

    @property
    def costs(self) -> Costs | None:
        """What curvature costs, to decide when it is computed again; None: where convergence is slow."""
        return None

    @property
    def warm(self) -> bool:
        """Whether with stages the first evaluation is one of stage 1, and stage 0 is for a start that is far away."""
        return False

    @property
    def plain(self) -> bool:
        """Whether what only hard problems need is left out of the program: where it is called for the search ends UNDECIDED."""
        return False

    @property
    def precise(self) -> bool:
        """Whether there is a better root of the Hessian than that of its matrix: ``root(params, hessian)``."""
        return False

    @property
    def blocks(self) -> int:
        """Of how many blocks the Hessian is; what lies between them is left out, and ``complete(inverse, v)`` makes of their inverse
        one of the whole, as far as that is known."""
        return 1

    @property
    def least_eigenvalue(self) -> Any:
        """What the first factor of a search, or of a stage of it, is to show of the Hessian with a unit diagonal, in eps, to count as
        one; None: nothing."""
        return None

    @property
    def certifies(self) -> bool:
        """Whether it can prove that it has no minimum."""
        return False

    def evaluate(self, params: Any, curvature: bool | Array, stage: Any) -> Evaluation:
        """Value and gradient at params, and the curvature where it is asked for."""
        raise NotImplementedError(f"{type(self).__name__} must define evaluate(params, curvature, stage)")


@record
class Scalar(Objective):
    """``fun(params, *args)``, any scalar function of any pytree of floating-point arrays."""

    fun: Callable[..., Array] = static_field()
    args: tuple[Any, ...]

    def evaluate(self, params: Any, curvature: bool | Array, stage: Any) -> Evaluation:
        """See :class:`Objective`."""
        del stage
        value, gradient = jax.value_and_grad(self.fun)(params, *self.args)
        if curvature is False:
            return Evaluation(value, gradient)
        x, unravel = ravel_pytree(params)
        return Evaluation(value, gradient, jax.hessian(lambda x: self.fun(unravel(x), *self.args))(x))
