r"""The linear support vector machine by a primal-dual interior-point method.

    min_(w, b)  ||w||^2 / 2 + sum_i C_i L(m_i),                   m_i = s_i (x_i'w + b)
    max_a       sum_i a_i - ||w||^2 / 2 - sum_i r_i a_i^2 / 2,    w = sum_i a_i s_i x_i,  0 <= a_i <= u_i,  sum_i s_i a_i = 0

in the notation of :mod:`jaxml.kernels.margin`; a penalised bias is one more weight, and the last constraint goes. Newton's method on
the perturbed conditions of optimality,

    m_i + r_i a_i - 1 = low_i - high_i,    a_i low_i = mu,    (u_i - a_i) high_i = mu,

comes down to the matrix of a weighted ridge regression, X'WX + I, once an iteration: some twenty or thirty reach a relative duality
gap of 1e-9, whatever the costs. A proximal term, which vanishes at the solution, keeps W from growing beyond what rounding allows.

Source: Mehrotra (1992), "On the implementation of a primal-dual interior point method"; Ferris & Munson (2002), "Interior-point
methods for massive support vector machines"; Friedlander & Orban (2012), "A primal-dual regularized interior-point method".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_factor, cho_solve

from jaxml.kernels.margin import RUNNING, Margin, Search, before
from jaxml.predictors.design import Design
from jaxml.predictors.linear import Linear, linear

_INSIDE = 0.995  # of the way to the edge of the box
_ROOM = 0.01  # a tenth of a margin between the first iterate and complementarity
_PATIENCE = 40  # the first iterates of a hard problem move away from the solution in the gap


class _Point(NamedTuple):
    """An iterate: the dual a, the bias if it is not penalised (else 0), and the multipliers of a >= 0 and of a <= u."""

    a: Array
    bias: Array
    low: Array
    high: Array


class _Machine(NamedTuple):
    design: Design
    margin: Margin
    free_bias: bool

    def params(self, theta: Array) -> Linear:
        return Linear(theta[:-1], theta[-1]) if self.design.intercept else Linear(theta)

    def decide(self, theta: Array) -> Array:
        return linear(self.params(theta), self.design.x)

    def collect(self, a: Array) -> Array:
        """sum_i s_i a_i [x_i, 1]."""
        return ravel_pytree(self.design.transposed(self.margin.sign * a))[0]

    def weights(self, a: Array, bias: Any) -> Array:
        theta = self.collect(a)
        return theta.at[-1].set(bias) if self.free_bias else theta

    @property
    def penalty(self) -> Array:
        p = jnp.ones(self.design.x.shape[1] + self.design.intercept, self.design.x.dtype)
        return p.at[-1].set(0) if self.free_bias else p


def interior_point(
    x: Array, margin: Margin, *, intercept: bool, penalize_bias: bool, tol: Any, max_steps: int
) -> tuple[Linear, Array, Array, Search]:
    """Solve the linear machine; see the module docstring.

    Args:
        x: (n, d); rows that do not count hold finite numbers.
        margin: signs and costs of the rows.
        intercept: static; whether there is a bias.
        penalize_bias: static; whether it is penalised as the weights are.
        tol: relative duality gap to stop at.
        max_steps: most iterations.

    Returns:
        Linear of weight (d,) and bias () or None, the dual (n,), which of it is not 0 in the limit, and how the search ended.
    """
    machine = _Machine(Design(x, intercept), margin, intercept and not penalize_bias)

    def trip(carry: Any) -> Any:
        point, best, search = carry
        point = _advance(machine, point)
        theta = machine.weights(point.a, point.bias)
        norm = jnp.sum(machine.penalty * theta * theta)
        objectives = margin.objectives(point.a, norm, machine.decide(theta))
        better = search.better(*objectives)
        # Of a variable and its multiplier, one goes to 0: the larger one, each in its own unit, tells which.
        support = margin.on & (point.a > point.low * margin.cost)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (theta, point.a, support), best)
        return point, best, search.after(*objectives, 1, tol=tol, max_steps=max_steps, patience=_PATIENCE)

    start = _start(machine)
    nothing = jnp.zeros_like(machine.penalty), jnp.zeros_like(start.a), jnp.zeros(len(x), bool)
    going = lambda carry: carry[2].status == RUNNING
    _, (theta, a, support), search = lax.while_loop(going, trip, (start, nothing, before(x.dtype)))
    return machine.params(theta), a, support, search


def _start(machine: _Machine) -> _Point:
    """Half the costs, balanced between the classes and scaled down to margins of at most 1."""
    margin = machine.margin
    a = margin.cost / 2
    if machine.free_bias:
        sides = [jnp.sum(jnp.where(margin.sign == s, a, 0)) for s in (1, -1)]
        least = jnp.minimum(*sides)
        up, down = (least / jnp.where(side > 0, side, 1) for side in sides)
        a = a * jnp.where(margin.sign > 0, up, down)
    zero = jnp.zeros((), a.dtype)
    f = machine.decide(machine.weights(a, zero))
    shrink = 1 / jnp.maximum(1, jnp.max(jnp.abs(jnp.where(margin.on, f, 0)), initial=0))
    a, v = a * shrink, margin.sign * f * shrink + margin.ridge * a * shrink - 1
    if margin.squared:
        return _Point(a, zero, jnp.maximum(v, _ROOM), jnp.zeros_like(a))
    low = (v + jnp.sqrt(v * v + 4 * _ROOM)) / 2
    return _Point(a, zero, low, low - v)


def _advance(machine: _Machine, p: _Point) -> _Point:
    """One step of Mehrotra's predictor and corrector."""
    step = _newton(machine, p)
    low, high = -p.a * p.low, -(machine.margin.upper - p.a) * p.high
    if machine.margin.squared:
        high = jnp.zeros_like(low)
    guess = step(low, high)
    mu = _complementarity(machine.margin, p)
    there = _complementarity(machine.margin, _moved(p, guess, jnp.minimum(1, _reach(machine.margin, p, guess))))
    target = mu * (there / mu) ** 3
    move = step(low + target - guess.a * guess.low, high + target + guess.a * guess.high)
    return _moved(p, move, jnp.minimum(1, _INSIDE * _reach(machine.margin, p, move)))


def _newton(machine: _Machine, p: _Point) -> Callable[[Array, Array], _Point]:
    """Newton's step for given residuals of the two conditions of complementarity; one factorisation serves them all."""
    margin = machine.margin
    a, u = (jnp.where(margin.on, v, 1) for v in (p.a, margin.upper - p.a))
    over = lambda v: jnp.zeros_like(v) if margin.squared else v / u
    proximal = jnp.finfo(a.dtype).eps ** (1 / 3) / jnp.where(margin.on, margin.cost, 1)
    stiff = margin.ridge + p.low / a + over(p.high) + proximal
    w = jnp.where(margin.on, 1 / stiff, 0)
    matrix = machine.design.gram(w) + jnp.diag(machine.penalty)
    scale = jax.lax.rsqrt(jnp.diagonal(matrix))
    factor = cho_factor(matrix * scale[:, None] * scale, lower=True)
    gap = margin.sign * machine.decide(machine.weights(p.a, p.bias)) + margin.ridge * p.a - 1 - p.low + p.high
    excess = jnp.sum(margin.sign * p.a)

    def step(low: Array, high: Array) -> _Point:
        r = low / a - over(high) - gap
        right = machine.collect(w * r)
        if machine.free_bias:
            right = right.at[-1].add(excess)
        theta = scale * cho_solve((factor[0], True), scale * right)
        change = w * (r - margin.sign * machine.decide(theta))
        bias = theta[-1] if machine.free_bias else jnp.zeros_like(p.bias)
        return _Point(change, bias, (low - p.low * change) / a, over(high + p.high * change))

    return step


def _moved(p: _Point, step: _Point, size: Array) -> _Point:
    return jax.tree.map(lambda v, dv: v + size * dv, p, step)


def _reach(margin: Margin, p: _Point, step: _Point) -> Array:
    """The largest step that leaves no multiplier and no side of the box negative."""

    def ratio(v: Array, dv: Array) -> Array:
        falling = margin.on & (dv < 0)
        return jnp.min(jnp.where(falling, -v / jnp.where(falling, dv, -1), jnp.inf), initial=jnp.inf)

    pairs = [(p.a, step.a), (p.low, step.low)]
    if not margin.squared:
        pairs += [(margin.upper - p.a, -step.a), (p.high, step.high)]
    return jnp.min(jnp.stack([ratio(*pair) for pair in pairs]))


def _complementarity(margin: Margin, p: _Point) -> Array:
    """The mean of a low and (u - a) high."""
    products = p.a * p.low if margin.squared else p.a * p.low + (margin.upper - p.a) * p.high
    return jnp.sum(jnp.where(margin.on, products, 0)) / jnp.sum(margin.on) / (1 if margin.squared else 2)
