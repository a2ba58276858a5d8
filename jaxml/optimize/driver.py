"""The one loop behind every full-batch solver: a flat accept-or-halve descent, compiled once.

Each trip evaluates the objective at one trial point x + a p and either accepts it (and asks the solver for a new direction) or
halves a. Step and line search share the evaluation, which is the only large thing to compile.

Acceptance is Armijo's rule. Once a decrease is too small to be seen in the value, a step is accepted if it makes the slope
along p smaller (Hager & Zhang 2005, "approximate Wolfe" condition), so that convergence does not stop at sqrt(eps).
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.optimize.objective import Objective
from jaxml.status import Status

RUNNING = -1
_MOST_HALVINGS = 45
_SAMPLE_STEPS = 12  # most steps on the subsample (stage 0)
_SAMPLE_TOLERANCE = 0.3  # of a standard error of the subsample, far below its own sampling error


class Trace(NamedTuple):
    """Objective and norm of the gradient after each accepted step, index 0 at the start; NaN past the last step."""

    value: Array
    gradient_norm: Array


class Result(NamedTuple):
    """What a solver returns; all arrays, so that vmap gives a batch of them.

    Attributes:
        params: the minimiser, a pytree like the starting point.
        value: the objective at the last point evaluated.
        gradient_norm: the largest absolute entry of the gradient there.
        decrement: the Newton decrement sqrt(g' H^-1 g) there, sqrt(2 (value - minimum)) for a quadratic; with first-order
            solvers the Euclidean norm of the gradient.
        steps: accepted steps.
        evaluations: calls of the objective, rejected trial points included.
        status: how the loop ended, a code of :class:`jaxml.Status`.
        trace: see :class:`Trace`; None unless asked for.
    """

    params: Any
    value: Array
    gradient_norm: Array
    decrement: Array
    steps: Array
    evaluations: Array
    status: Array
    trace: Trace | None = None


class Point(NamedTuple):
    """An accepted point: flat params, value and flat gradient."""

    x: Array
    value: Array
    gradient: Array


class Rule(Protocol):
    """What distinguishes one solver from another: how a direction follows from what has been evaluated."""

    max_steps: int
    line_search: bool
    curvature: bool  # evaluates the curvature at all
    reuse: bool  # may keep the curvature of an earlier point

    def init(self, x: Array) -> Any:
        """The solver's memory before the first evaluation."""
        ...

    def direction(
        self, memory: Any, previous: Point, point: Point, curvature: Any, first: Array
    ) -> tuple[Array, Array, Any]:
        """Direction, decrement and new memory at an accepted point; ``curvature`` is None or (fresh, hessian,
        scoring, better), see :func:`jaxml.optimize.newton.inverse_root`."""
        ...


class _State(NamedTuple):
    point: Point
    direction: Array
    size: Array
    memory: Any
    decrement: Array
    fresh: Array  # the next evaluation computes the curvature
    current: Array  # the direction comes from the curvature of its own point
    first: Array  # the next evaluation is accepted if finite
    blocked: Array  # a trial point along this direction was outside the domain
    halvings: Array
    steps: Array
    evaluations: Array
    stage: Array
    status: Array
    trace: Trace | None


def minimize(objective: Objective, params: Any, rule: Any, *, tol: Any, trace: bool = False) -> tuple[Result, Point]:
    """Run one solver on one objective; see the module docstring.

    Args:
        objective: what to minimise.
        params: starting point, a pytree of floating-point arrays.
        rule: a solver.
        tol: stop when the decrement is at most this.
        trace: record value and gradient norm at each step.

    Returns:
        A :class:`Result` and the last accepted :class:`Point`, which is where value and gradient were evaluated. Not
        differentiable: see :mod:`jaxml.optimize.implicit`.
    """
    x, unravel = ravel_pytree(params)
    evaluate = lambda x, fresh, stage: objective.evaluate(unravel(x), fresh if rule.curvature else False, stage)
    certificate, faint, root = (getattr(objective, name, None) for name in ("unbounded", "faint", "root"))
    root = root if getattr(objective, "precise", False) else None
    eps = jnp.finfo(x.dtype).eps
    last = objective.stages - 1
    floor = tol * eps**-0.25  # a rounding floor above this is no convergence

    def body(s: _State) -> _State:
        trial = s.point.x + s.size * s.direction
        always = rule.curvature and not rule.reuse
        ev = evaluate(trial, True if always else s.fresh, s.stage)
        new = Point(trial, ev.value.astype(x.dtype), ravel_pytree(ev.gradient)[0])
        finite = jnp.isfinite(new.value) & jnp.all(jnp.isfinite(new.gradient))
        accept = finite & (s.first | _sufficient(s, new, eps)) if rule.line_search else finite

        better = None if root is None else lambda: root(unravel(trial), ev.hessian)
        curvature = (s.fresh, ev.hessian, ev.scoring, better) if rule.curvature else None
        direction, decrement, memory = rule.direction(s.memory, s.point, new, curvature, s.first)
        # A Newton step that does not halve the decrement is rounding; one from old or no curvature may just be slow.
        no_gain = s.current & (decrement > s.decrement / 2) if rule.curvature else decrement >= s.decrement
        stalled = rule.line_search & no_gain & below_rounding(decrement, new.value, eps) & (decrement <= floor)
        done = (decrement <= tol) | stalled
        slow = ~s.first & (decrement > 0.3 * s.decrement)
        ok = jnp.all(jnp.isfinite(direction))

        # A rejected step along a direction from old curvature is tried again with fresh curvature before it is halved.
        refresh = ~accept & ~s.first & ~s.current & rule.reuse
        halvings = jnp.where(accept | refresh, 0, s.halvings + 1)
        exhausted = ~accept & ~refresh & (halvings > _MOST_HALVINGS) | (~accept & (not rule.line_search))
        blocked = ~accept & (s.blocked | ~finite)
        steps = s.steps + (accept & ~s.first)

        # At a maximum on the edge of the domain the curvature is infinite and the decrement 0, but every step is cut back.
        ended = jnp.where(s.blocked, int(Status.BOUNDARY), int(Status.CONVERGED))
        status = jnp.where(accept & done, ended, RUNNING)
        limit = (status == RUNNING) & accept & (steps >= rule.max_steps)
        status = jnp.where(limit, int(Status.STEP_LIMIT), status)
        status = jnp.where(
            exhausted, _why_exhausted(s, blocked, floor, eps) if rule.line_search else int(Status.NON_FINITE), status
        )
        if certificate is not None:
            suspect = ~done & (decrement > s.decrement / 2) & ~s.first & (steps >= 3)
            if rule.curvature:
                suspect |= done & s.fresh & faint(ev.hessian)
            suspect &= accept & (s.stage == last)
            # A loop of no or one trip: under vmap it runs only where some lane asks for it, as lax.cond would not.
            check = lambda c: (jnp.asarray(False), certificate(unravel(trial), unravel(direction)))
            separated = lax.while_loop(lambda c: c[0], check, (suspect, jnp.asarray(False)))[1]
            status = jnp.where(separated, int(Status.SEPARATED), status)
            # Newton's method ends superlinearly; a decrement that shrinks at a fixed rate is a coefficient on its way to infinity.
            creeping = (status == int(Status.CONVERGED)) & slow & (steps > 15) & rule.curvature
            status = jnp.where(creeping, int(Status.STEP_LIMIT), status)
        status = jnp.where(accept & ~ok, int(Status.NON_FINITE), status)
        start_failed = s.first & ~finite
        status = jnp.where(
            start_failed, jnp.where(new.value == jnp.inf, int(Status.INFEASIBLE), int(Status.NON_FINITE)), status
        )

        # Stage 0 (a subsample) hands its point and its curvature over, however it ended.
        advance = (s.stage < last) & (
            (status != RUNNING) | (accept & ((decrement <= _SAMPLE_TOLERANCE) | (steps >= _SAMPLE_STEPS)))
        )
        restart = advance | refresh
        keep = accept & ok
        unusable = ~rule.reusable(memory) if rule.reuse else False
        choose = lambda yes, no: jax.tree.map(lambda a, b: jnp.where(keep, a, b), yes, no)
        point = choose(new, s.point)
        direction = jnp.where(restart, 0, choose(direction, s.direction))
        return _State(
            point=point,
            direction=direction,
            size=jnp.where(accept | restart, 1, s.size / 2).astype(x.dtype),
            memory=choose(memory, s.memory),
            decrement=jnp.where(accept, decrement, s.decrement),
            fresh=jnp.where(advance, ~keep, refresh | (accept & slow)) | unusable if rule.reuse else jnp.asarray(True),
            current=jnp.where(accept, s.fresh, s.current),
            first=restart,
            blocked=blocked,
            halvings=halvings,
            steps=steps,
            evaluations=s.evaluations + 1,
            stage=s.stage + advance,
            status=jnp.where(advance, RUNNING, status).astype(jnp.int32),
            trace=_record(s.trace, steps, point, accept),
        )

    zero = jnp.zeros((), jnp.int32)
    inf = jnp.asarray(jnp.inf, x.dtype)
    nan = jnp.full(rule.max_steps + 1, jnp.nan, x.dtype)
    start = _State(
        point=Point(x, inf, jnp.zeros_like(x)),
        direction=jnp.zeros_like(x),
        size=jnp.ones((), x.dtype),
        memory=rule.init(x),
        decrement=inf,
        fresh=jnp.asarray(True),
        current=jnp.asarray(False),
        first=jnp.asarray(True),
        blocked=jnp.asarray(False),
        halvings=zero,
        steps=zero,
        evaluations=zero,
        stage=zero,
        status=zero + RUNNING,
        trace=Trace(nan, nan) if trace else None,
    )
    end = lax.while_loop(lambda s: s.status == RUNNING, body, start)
    # One more step of a second-order method, from within the tolerance, is exact to rounding.
    polish = (end.status == int(Status.CONVERGED)) & (end.decrement <= tol) & rule.curvature
    x = jnp.where(polish, end.point.x + end.direction, end.point.x)
    g = end.point.gradient
    largest = jnp.max(jnp.abs(g)) if g.size else jnp.zeros((), x.dtype)
    result = Result(
        unravel(x), end.point.value, largest, end.decrement, end.steps, end.evaluations, end.status, end.trace
    )
    return result, end.point


def _sufficient(s: _State, new: Point, eps: Any) -> Array:
    change, slope = new.value - s.point.value, s.point.gradient @ s.direction
    tie = jnp.abs(change) <= 16 * eps * jnp.maximum(jnp.abs(new.value), jnp.abs(s.point.value))
    after, before = jnp.abs(new.gradient @ s.direction), jnp.abs(slope)
    # A halved step that changes nothing at all is no progress.
    flatter = jnp.where(s.size < 1, after < before, after <= before)
    return (change <= 1e-4 * s.size * slope) | (tie & flatter)


def below_rounding(decrement: Array, value: Array, eps: Any) -> Array:
    """Whether the decrease still to come, decrement^2 / 2, is lost in the rounding of the value."""
    return decrement**2 <= 16 * eps * jnp.abs(value)


def _why_exhausted(s: _State, blocked: Array, floor: Array, eps: Any) -> Array:
    tiny = below_rounding(s.decrement, s.point.value, eps) & (s.decrement <= floor)
    return jnp.where(
        blocked, int(Status.BOUNDARY), jnp.where(tiny, int(Status.CONVERGED), int(Status.LINE_SEARCH_FAILED))
    )


def _record(trace: Trace | None, steps: Array, point: Point, accept: Array) -> Trace | None:
    if trace is None:
        return None
    put = lambda a, v: a.at[steps].set(jnp.where(accept, v, a[steps]))
    return Trace(put(trace.value, point.value), put(trace.gradient_norm, jnp.max(jnp.abs(point.gradient))))
