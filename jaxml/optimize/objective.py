"""What a solver minimises: value, gradient and curvature at a point.

An objective is a pytree with a method ``evaluate(params, curvature, stage)``; its array leaves are the data, so that any data of
the same shapes reuse one compiled program. :class:`Scalar` makes one from any scalar function by ``jax.grad`` and
``jax.hessian``; a model that knows a faster way to the same numbers brings its own class.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

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


class Objective(Protocol):
    """The protocol of an objective.

    ``stages`` is 1, or 3: stage 0 evaluates a cheap subsample to start from, stage 1 everything, but curvature on a subsample, stage 2
    everything. Then it has ``costs``, :class:`jaxml.optimize.driver.Costs`; where ``warm`` the first evaluation is one of stage 1, and
    stage 0 is for a start that is far away. With ``blocks`` above 1 the Hessian is that many blocks, and ``complete`` makes of their
    inverse one of the whole, as far as that is known.
    """

    @property
    def stages(self) -> int:
        """1, or 3 with a subsample."""
        ...

    def evaluate(self, params: Any, curvature: bool | Array, stage: Any) -> Evaluation:
        """Value and gradient at params, and the curvature where it is asked for."""
        ...


@record
class Scalar:
    """``fun(params, *args)``, any scalar function of any pytree of floating-point arrays."""

    fun: Callable[..., Array] = static_field()
    args: tuple[Any, ...]
    stages: ClassVar[int] = 1

    def evaluate(self, params: Any, curvature: bool | Array, stage: Any) -> Evaluation:
        """See :class:`Objective`."""
        del stage
        value, gradient = jax.value_and_grad(self.fun)(params, *self.args)
        if curvature is False:
            return Evaluation(value, gradient)
        x, unravel = ravel_pytree(params)
        return Evaluation(value, gradient, jax.hessian(lambda x: self.fun(unravel(x), *self.args))(x))
