r"""What all support vector machines share: costs of margins, primal and dual objective, and the duality gap as the stopping rule.

    primal(f) = ||f||^2 / 2 + sum_i C_i L(m_i),                        m_i = s_i f(x_i),  L(m) = max(0, 1 - m) or its square
    dual(a)   = sum_i a_i - ||f_a||^2 / 2 - sum_i r_i a_i^2 / 2,       0 <= a_i <= u_i

u_i = C_i, r_i = 0 for the hinge and u_i = inf, r_i = 1 / (2 C_i) for its square. primal >= dual, with equality at the
optimum only: their difference bounds the distance of either from it.

Source: Schölkopf & Smola (2002), *Learning with Kernels*, sections 6.3 and 10.1.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxml.losses import hinge
from jaxml.records import record, static_field
from jaxml.status import Status

RUNNING = -1


@record
class Margin:
    """Signs and costs of the rows of one two-class problem.

    Attributes:
        sign: (n,) -1 or +1.
        cost: (n,) C_i, 0 for rows that do not count.
        squared: static; whether the hinge is squared.
    """

    sign: Array
    cost: Array
    squared: bool = static_field(default=False)

    @property
    def on(self) -> Array:
        """Which rows count."""
        return self.cost > 0

    @property
    def upper(self) -> Array:
        """u (n,), the largest values of the dual variables."""
        return jnp.where(self.on, jnp.inf, 0) if self.squared else self.cost

    @property
    def ridge(self) -> Array:
        """r (n,), what is added to the diagonal of the kernel matrix."""
        return jnp.where(self.on, 0.5 / jnp.where(self.on, self.cost, 1), 0) if self.squared else 0 * self.cost

    def primal(self, norm: Array, f: Array) -> Array:
        """The primal objective of a machine with decision values ``f`` (n,), bias included, and ``norm``, ||f||^2."""
        loss = hinge(f, self.sign)
        return norm / 2 + jnp.sum(jnp.where(self.on, self.cost * (loss * loss if self.squared else loss), 0))

    def dual(self, norm: Array, a: Array) -> Array:
        """The dual objective; ``norm`` is ||f_a||^2."""
        return jnp.sum(a) - norm / 2 - jnp.sum(self.ridge * a * a) / 2


class Search(NamedTuple):
    """How far a search has come: the objectives at the best point so far, and a status code, RUNNING while it goes on."""

    primal: Array
    dual: Array
    highest: Array  # dual objective so far
    steps: Array
    idle: Array  # trips since the gap last shrank or the dual objective last rose
    status: Array

    @property
    def gap(self) -> Array:
        """(primal - dual) / max(|primal|, |dual|)."""
        size = jnp.maximum(jnp.abs(self.primal), jnp.abs(self.dual))
        return (self.primal - self.dual) / jnp.where(size > 0, size, 1)

    def better(self, primal: Array, dual: Array) -> Array:
        """Whether these objectives are closer to each other."""
        return primal - dual < self.primal - self.dual

    def after(self, primal: Array, dual: Array, steps: Any, *, tol: Any, max_steps: int, patience: int) -> "Search":
        """The state after some more steps that led to these objectives."""
        better = self.better(primal, dual)
        rises = dual > self.highest + 4 * jnp.finfo(dual.dtype).eps * jnp.abs(self.highest)
        new = Search(
            jnp.where(better, primal, self.primal),
            jnp.where(better, dual, self.dual),
            jnp.maximum(dual, self.highest),
            self.steps + steps,
            jnp.where(better | rises, 0, self.idle + 1),
            self.status,
        )
        cases = [
            (new.gap <= tol, Status.CONVERGED),
            (~jnp.isfinite(new.gap), Status.NON_FINITE),
            (new.idle >= patience, Status.LINE_SEARCH_FAILED),
            (new.steps >= max_steps, Status.STEP_LIMIT),
        ]
        conditions, codes = zip(*cases, strict=True)
        return new._replace(status=jnp.select(conditions, [jnp.int32(code) for code in codes], jnp.int32(RUNNING)))


def before(dtype: Any) -> Search:
    """The state before the first step: any finite gap is better."""
    zero = jnp.zeros((), jnp.int32)
    nothing, worst = jnp.zeros((), dtype), jnp.asarray(jnp.inf, dtype)
    return Search(worst, nothing, nothing, zero, zero, zero + RUNNING)
