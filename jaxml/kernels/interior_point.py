r"""The linear support vector machine by a primal-dual interior-point method.

    min_(w, b)  ||w||^2 / 2 + sum_i C_i L(m_i),                   m_i = s_i (x_i'w + b)
    max_a       sum_i a_i - ||w||^2 / 2 - sum_i r_i a_i^2 / 2,    w = sum_i a_i s_i x_i,  0 <= a_i <= u_i,  sum_i s_i a_i = 0

in the notation of :mod:`jaxml.kernels.margin`; a penalised bias is one more weight, and the last constraint goes. Newton's method on
the perturbed conditions of optimality,

    m_i + r_i a_i - 1 = low_i - high_i,    a_i low_i = mu,    (u_i - a_i) high_i = mu,

comes down to the matrix of a weighted ridge regression, X'WX + I, once an iteration: some thirty to sixty reach a relative duality gap
of 1e-9, whatever the costs. A proximal term, which vanishes at the solution, keeps W from growing beyond what rounding allows. The
weights w are a variable of their own, which meets w = sum_i a_i s_i x_i at the solution only: computed from a, whose entries are
up to C_i with rounding errors to match, they would have no digits at large costs. Where the matrix is too close to singular for its
Cholesky factor, a QR factor of [W^1/2 X; I] serves; the step taken is refined once.

Source: Mehrotra (1992), "On the implementation of a primal-dual interior point method"; Ferris & Munson (2002), "Interior-point
methods for massive support vector machines"; Friedlander & Orban (2012), "A primal-dual regularized interior-point method".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.kernels.margin import RUNNING, Margin, Search, before
from jaxml.linalg import matmul
from jaxml.optimize.driver import Curvature
from jaxml.optimize.newton import cholesky_root, inverse_root
from jaxml.predictors.design import Design
from jaxml.predictors.linear import Linear, linear

_INSIDE = 0.995  # of the way to the edge of the box
_ROOM = 0.01  # a tenth of a margin between the first iterate and complementarity
_PROXIMAL = {
    4: 0.1,
    8: 1e-5,
}  # by bytes of the dtype: more slows the last digits, less lets W outgrow those of the dtype
_PATIENCE = 40  # the first iterates of a hard problem move away from the solution in the gap


class _Point(NamedTuple):
    """An iterate: the dual a, the weights and the bias, and the multipliers of a >= 0 and of a <= u."""

    a: Array
    theta: Array
    low: Array
    high: Array


class _Sight(NamedTuple):
    """What an iterate costs a pass over the rows: the decision values (n,) at theta and sum_i a_i s_i [x_i, 1]."""

    f: Array
    moment: Array


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

    def look(self, point: _Point) -> _Sight:
        return _Sight(self.decide(point.theta), self.collect(point.a))

    def norm(self, theta: Array) -> Array:
        """||w||^2, of the weights alone if the bias is free."""
        return jnp.sum(self.penalty * theta * theta)

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
        point, sight, best, search = carry
        point = _advance(machine, point, sight)
        sight = machine.look(point)
        primal = margin.primal(machine.norm(point.theta), sight.f)
        objectives = primal, margin.dual(machine.norm(sight.moment), point.a)
        better = search.better(*objectives)
        # Of a variable and its multiplier, one goes to 0: the larger one, each in its own unit, tells which.
        support = margin.on & (point.a > point.low * margin.cost)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (point.theta, point.a, support), best)
        return point, sight, best, search.after(*objectives, 1, tol=tol, max_steps=max_steps, patience=_PATIENCE)

    start = _start(machine)
    nothing = jnp.zeros_like(machine.penalty), jnp.zeros_like(start.a), jnp.zeros(len(x), bool)
    going = lambda carry: carry[-1].status == RUNNING
    carry = start, machine.look(start), nothing, before(x.dtype)
    *_, (theta, a, support), search = lax.while_loop(going, trip, carry)
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
    theta = machine.penalty * machine.collect(a)
    f = machine.decide(theta)
    shrink = 1 / jnp.maximum(1, jnp.max(jnp.abs(jnp.where(margin.on, f, 0)), initial=0))
    a, theta, v = a * shrink, theta * shrink, margin.sign * f * shrink + margin.ridge * a * shrink - 1
    if margin.squared:
        return _Point(a, theta, jnp.maximum(v, _ROOM), jnp.zeros_like(a))
    low = (v + jnp.sqrt(v * v + 4 * _ROOM)) / 2
    return _Point(a, theta, low, low - v)


def _advance(machine: _Machine, p: _Point, sight: _Sight) -> _Point:
    """One step of Mehrotra's predictor and corrector."""
    step = _newton(machine, p, sight)
    low, high = -p.a * p.low, -(machine.margin.upper - p.a) * p.high
    if machine.margin.squared:
        high = jnp.zeros_like(low)
    guess = step(low, high)
    mu = _complementarity(machine.margin, p)
    there = _complementarity(machine.margin, _moved(p, guess, jnp.minimum(1, _reach(machine.margin, p, guess))))
    target = mu * (there / mu) ** 3
    move = step(low + target - guess.a * guess.low, high + target + guess.a * guess.high, refine=True)
    return _moved(p, move, jnp.minimum(1, _INSIDE * _reach(machine.margin, p, move)))


def _newton(machine: _Machine, p: _Point, sight: _Sight) -> Callable[..., _Point]:
    """Newton's step for given residuals of the two conditions of complementarity; one factorisation serves them all."""
    margin = machine.margin
    a, u = (jnp.where(margin.on, v, 1) for v in (p.a, margin.upper - p.a))
    over = lambda v: jnp.zeros_like(v) if margin.squared else v / u
    proximal = _PROXIMAL[a.dtype.itemsize] / jnp.where(margin.on, margin.cost, 1)
    stiff = margin.ridge + p.low / a + over(p.high) + proximal
    w = jnp.where(margin.on, 1 / stiff, 0)
    design, penalty = machine.design, machine.penalty
    matrix = design.gram(w) + jnp.diag(penalty)
    curvature = Curvature(jnp.asarray(True), matrix, better=lambda matrix: _precise_root(design, w, penalty, matrix))
    factor = inverse_root(curvature, jnp.zeros_like(p.theta)).factor
    solve = lambda right: factor @ (factor.T @ right)
    gap = margin.sign * sight.f + margin.ridge * p.a - 1 - p.low + p.high
    away = sight.moment - penalty * p.theta

    def step(low: Array, high: Array, refine: bool = False) -> _Point:
        r = low / a - over(high) - gap
        dual = lambda theta: w * (r - margin.sign * machine.decide(theta))
        theta = solve(machine.collect(w * r) + away)
        if refine:  # by products with X, which lose less than those with the matrix
            theta = theta + solve(machine.collect(dual(theta)) + away - penalty * theta)
        change = dual(theta)
        return _Point(change, theta, (low - p.low * change) / a, over(high + p.high * change))

    return step


def _precise_root(design: Design, w: Array, penalty: Array, matrix: Array) -> tuple[Array, Array]:
    """R with R R' = (X'WX + P)^-1, by Cholesky factors of R'(X'WX + P) R, with the products W^1/2 X R formed first.

    The first factor is that of the matrix with a shift above its rounding errors; each of the next two squares what it lacks
    (Fukaya et al. 2020, "Shifted Cholesky QR for computing the QR factorization of ill-conditioned matrices").
    """
    n, p = len(w), len(matrix)
    shift = min(0.01, 11 * (n * p + p * (p + 1)) * float(jnp.finfo(w.dtype).eps))
    root, ok = cholesky_root(matrix + shift * jnp.diag(jnp.diagonal(matrix)))
    for _ in range(2):
        rows = jnp.sqrt(w)[:, None] * matmul(design.dense(), root)
        own = jnp.sqrt(penalty)[:, None] * root
        change, worked = cholesky_root(matmul(rows.T, rows) + matmul(own.T, own))
        root, ok = matmul(root, change), ok & worked
    return root, ok


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
