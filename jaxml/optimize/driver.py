"""The one loop behind every full-batch solver: a flat accept-or-halve descent, compiled once.

Each trip evaluates the objective at one trial point x + a p and either accepts it (and asks the solver for a new direction) or
halves a. Step and line search share the evaluation, which is the only large thing to compile.

Acceptance is Armijo's rule. Once a decrease is too small to be seen in the value, a step is accepted if it makes the slope
along p smaller (Hager & Zhang 2005, "approximate Wolfe" condition), so that convergence does not stop at sqrt(eps).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.chunks import where_needed
from jaxml.linalg import diagonal
from jaxml.optimize.objective import Objective
from jaxml.status import Status

RUNNING = -1
UNDECIDED = -2  # a plain objective met what only the full program can settle; see fit
_MOST_HALVINGS = 45
_LEAST_CUT = 1 / 1024
_SAMPLE_STEPS = 12  # most steps on the subsample (stage 0)
_SURELY = 1.5  # times its price that curvature of all rows must save: rates are guesses, and L-BFGS becomes better
_MISLED = 2  # halvings along a direction from curvature of a sample
_IDLE = 10  # steps without gain after which a search without curvature ends
_SUSPECT = 8  # steps from which slow convergence with curvature that is not of each point is looked into


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
        curvatures: at how many of them the Hessian was computed, of some or of all rows.
        status: how the loop ended, a code of :class:`jaxml.Status`.
        trace: see :class:`Trace`; None unless asked for.
    """

    params: Any
    value: Array
    gradient_norm: Array
    decrement: Array
    steps: Array
    evaluations: Array
    curvatures: Array
    status: Array
    trace: Trace | None = None


class Point(NamedTuple):
    """An accepted point: flat params, value and flat gradient."""

    x: Array
    value: Array
    gradient: Array


class Curvature(NamedTuple):
    """What a second-order rule has to work with.

    Attributes:
        fresh: whether the matrices were computed at this point.
        hessian: (p, p), or the blocks of it (b, q, q).
        scoring: of that shape, or None.
        substitutes: whether a root is sought by other means where that of the matrices fails (else it is NaN); static.
        better: from the Hessian a way to the root with more digits than that has, and whether it worked; or None.
        complete: what makes of the inverse of blocks that of the Hessian, as far as it is known, ``complete(inverse, v)``; or None.
        least_eigenvalue: see :func:`jaxml.optimize.newton.cholesky_root`.
    """

    fresh: Array
    hessian: Array
    scoring: Array | None = None
    substitutes: bool = True
    better: Callable[[Array], tuple[Array, Array]] | None = None
    complete: Callable[[Callable[[Array], Array], Array], Array] | None = None
    least_eigenvalue: Any = None


class Rule(Protocol):
    """What distinguishes one solver from another: how a direction follows from what has been evaluated."""

    max_steps: int
    line_search: bool
    curvature: bool  # evaluates the curvature at all
    reuse: bool  # may keep the curvature of an earlier point

    def init(self, x: Array, blocks: int) -> Any:
        """The solver's memory before the first evaluation, of a Hessian of so many blocks."""
        ...

    def direction(
        self, memory: Any, previous: Point, point: Point, curvature: "Curvature | None", first: Array
    ) -> tuple[Array, Array, Any]:
        """Direction, decrement and new memory at an accepted point."""
        ...


class _State(NamedTuple):
    point: Point
    direction: Array
    size: Array
    memory: Any
    decrement: Array
    held: Array  # the decrement that the rounding of the point costs
    fresh: Array  # the next evaluation computes the curvature
    current: Array  # the direction comes from the curvature of its own point
    first: Array  # the next evaluation is accepted if finite
    rate: Array  # by what the decrement shrinks in a step, averaged over the last ones; 0: not known
    seen: Array  # curvatures computed in this stage
    idle: Array  # steps without gain since what they could gain is lost in rounding
    blocked: Array  # a trial point along this direction was outside the domain
    halvings: Array
    steps: Array
    evaluations: Array
    curvatures: Array
    stage: Array
    status: Array
    trace: Trace | None


class _Trial(NamedTuple):
    """A trial point evaluated, and what it means for the search."""

    point: Point
    hessian: Any
    finite: Array
    accept: Array
    direction: Array
    decrement: Array
    held: Array
    memory: Any
    usable: Array  # the direction is finite
    slow: Array  # the decrement shrinks at a linear rate at best
    rate: Array
    idle: Array
    endless: Array  # so may the steps
    dragging: Array  # Newton steps that hardly help
    doubtful: Array  # what it looks like only fresh curvature at the next point can tell: converged, if in value alone; or dragging
    converged: Array
    refresh: Array  # the step was rejected, and is tried again with fresh curvature before it is halved
    blocked: Array
    halvings: Array
    steps: Array


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
    descent = _Descent(objective, rule, tol, unravel, jnp.finfo(x.dtype).eps)
    end = lax.while_loop(lambda s: s.status == RUNNING, descent.trip, descent.start(x, trace))
    # One more step of a second-order method, from within the tolerance, is exact to rounding.
    polish = (end.status == int(Status.CONVERGED)) & (end.decrement <= tol) & rule.curvature
    x = jnp.where(polish, end.point.x + end.direction, end.point.x)
    largest = jnp.max(jnp.abs(end.point.gradient), initial=0)
    result = Result(
        params=unravel(x),
        value=end.point.value,
        gradient_norm=largest,
        decrement=end.decrement,
        steps=end.steps,
        evaluations=end.evaluations,
        curvatures=end.curvatures,
        status=end.status,
        trace=end.trace,
    )
    return result, end.point


class _Descent(NamedTuple):
    """What stays the same from trip to trip, and one trip: look at a trial point, judge it, move on."""

    objective: Any
    rule: Any
    tol: Any
    unravel: Any
    eps: Any

    def start(self, x: Array, trace: bool) -> _State:
        zero, inf = jnp.zeros((), jnp.int32), jnp.asarray(jnp.inf, x.dtype)
        yes, no = jnp.asarray(True), jnp.asarray(False)
        nan = jnp.full(self.rule.max_steps + 1, jnp.nan, x.dtype)
        return _State(
            point=Point(x, inf, jnp.zeros_like(x)),
            direction=jnp.zeros_like(x),
            size=jnp.ones((), x.dtype),
            memory=self.rule.init(x, self.objective.blocks),
            decrement=inf,
            held=jnp.zeros((), x.dtype),
            fresh=yes,
            current=no,
            first=yes,
            rate=jnp.zeros((), x.dtype),
            seen=zero,
            idle=zero,
            blocked=no,
            halvings=zero,
            steps=zero,
            evaluations=zero,
            curvatures=zero,
            stage=zero + (1 if self.warm else 0),
            status=zero + RUNNING,
            trace=Trace(nan, nan) if trace else None,
        )

    def trip(self, s: _State) -> _State:
        t = self.look(s)
        return self.move(s, t, self.verdict(s, t))

    def look(self, s: _State) -> _Trial:
        """Evaluate the trial point, accept it or not, and ask the solver for the direction from there."""
        rule, eps = self.rule, self.eps
        x = s.point.x + s.size * s.direction
        fresh = (True if not rule.reuse else s.fresh) if rule.curvature else False
        ev = self.objective.evaluate(self.unravel(x), fresh, s.stage)
        point = Point(x, ev.value.astype(x.dtype), ravel_pytree(ev.gradient)[0])
        finite = jnp.isfinite(point.value) & jnp.all(jnp.isfinite(point.gradient))
        accept = finite & (s.first | _sufficient(s, point, eps)) if rule.line_search else finite

        steps = s.steps + (accept & ~s.first)
        curvature = None
        if rule.curvature:
            root = (lambda hessian: self.objective.root(self.unravel(x), hessian)) if self.objective.precise else None
            complete = self.objective.complete if self.objective.blocks > 1 else None
            least = self.objective.least_eigenvalue
            least = None if least is None else jnp.where(s.first, least, 0)
            curvature = Curvature(s.fresh, ev.hessian, ev.scoring, not self.objective.plain, root, complete, least)
        direction, decrement, memory = rule.direction(s.memory, s.point, point, curvature, s.first)
        # A Newton step that does not halve the decrement is rounding; one from old or no curvature may just be slow.
        no_gain = s.current & (decrement > s.decrement / 2) if rule.curvature else decrement >= s.decrement
        held = self.held(x, ev.hessian) if rule.curvature else jnp.zeros((), x.dtype)
        lost = self.lost(decrement, point.value, held)
        # Where halving does not help soon, the curvature of a sample is not to be trusted.
        misled = (s.stage > 0) & (s.stage < self.last) & (s.halvings >= _MISLED)
        refresh = ~accept & ~s.first & (~s.current | misled) & rule.reuse
        slow = ~s.first & (decrement > 0.3 * s.decrement)
        # An approximate inverse Hessian may know too little of a direction, and learn.
        idle = jnp.where(lost, (0 if rule.curvature else s.idle) + (accept & no_gain), 0).astype(jnp.int32)
        reached = (decrement <= self.tol) | (rule.line_search & (idle >= (1 if rule.curvature else _IDLE)))
        endless, doubtful = slow, jnp.asarray(False)
        dragging = ~reached & (decrement > s.decrement / 2) & ~s.first & (steps >= 3) & (s.stage == self.last)
        if rule.reuse:
            # Old curvature makes any convergence linear. Only steps that do not become shorter may go on for ever, which is judged
            # with curvature of this point.
            endless = slow & (jnp.linalg.norm(direction) > 0.7 * jnp.linalg.norm(s.direction))
            doubtful = reached & endless & (s.steps >= _SUSPECT) & ~(s.fresh & s.current)
            # The decrement before it is one to compare with only if it came from the curvature of its point as well.
            dragging &= s.fresh & (steps >= _SUSPECT)
            doubtful |= dragging & ~s.current
            dragging &= s.current
            doubtful &= self.objective.certifies
        shrunk = jnp.clip(decrement / s.decrement, 1e-3, 0.99)
        rate = jnp.where(s.first, 0, jnp.where(s.fresh | (s.rate == 0), shrunk, shrunk**0.25 * s.rate**0.75))
        return _Trial(
            point=point,
            hessian=ev.hessian,
            finite=finite,
            accept=accept,
            direction=direction,
            decrement=decrement,
            held=held,
            memory=memory,
            usable=jnp.all(jnp.isfinite(direction)),
            slow=slow,
            rate=rate,
            idle=idle,
            endless=endless,
            dragging=dragging,
            doubtful=doubtful,
            converged=reached & ~doubtful,
            refresh=refresh,
            blocked=~accept & (s.blocked | ~finite),
            halvings=jnp.where(accept | refresh, 0, s.halvings + 1),
            steps=steps,
        )

    @property
    def last(self) -> int:
        """The stage in which curvature is that of all rows."""
        return self.objective.stages - 1

    @property
    def warm(self) -> bool:
        """Whether the start may be nearer than the minimum of a subsample: all rows are to tell."""
        return self.last > 0 and self.objective.warm

    @property
    def floor(self) -> Any:
        """A rounding floor of the decrement above this is no convergence."""
        return self.tol * self.eps**-0.25

    def held(self, x: Array, hessian: Array) -> Array:
        """The decrement that a few roundings of the point cost: what is asked for below it, as by a great weight, is not to be had."""
        sizes = jnp.sqrt(jnp.maximum(diagonal(hessian), 0)) * jnp.abs(x)
        return 4 * self.eps * jnp.max(sizes, initial=0)

    def lost(self, decrement: Array, value: Array, held: Array) -> Array:
        """Whether the distance still to go is lost in the rounding of the value, as far as that is convergence, or of the point."""
        return (below_rounding(decrement, value, self.eps) & (decrement <= self.floor)) | (decrement <= held)

    def verdict(self, s: _State, t: _Trial) -> Array:
        """The status, by precedence; RUNNING where the search goes on."""
        rule = self.rule
        outside = jnp.where(t.point.value == jnp.inf, int(Status.INFEASIBLE), int(Status.NON_FINITE))
        # At a maximum on the edge of the domain the curvature is infinite and the decrement 0, but every step is cut back.
        ended = jnp.where(s.blocked, int(Status.BOUNDARY), int(Status.CONVERGED))
        if self.objective.certifies and rule.curvature:
            # Newton's method ends superlinearly; a decrement that shrinks at a fixed rate is a coefficient on its way to infinity.
            ended = jnp.where(~s.blocked & t.endless & (t.steps > 15), int(Status.STEP_LIMIT), ended)
        if rule.line_search:
            exhausted = ~t.accept & ~t.refresh & (t.halvings > _MOST_HALVINGS)
            failed = self._why_exhausted(s, t)
        else:
            exhausted, failed = ~t.accept, jnp.asarray(int(Status.NON_FINITE))
        cases = [
            (s.first & ~t.finite, outside),
            (t.accept & ~t.usable, UNDECIDED if self.objective.plain else int(Status.NON_FINITE)),
            (self._separated(s, t), UNDECIDED if self.objective.plain else int(Status.SEPARATED)),
            (exhausted, failed),
            (t.accept & t.converged, ended),
            (t.accept & (t.steps >= rule.max_steps), int(Status.STEP_LIMIT)),
        ]
        status = jnp.asarray(RUNNING, jnp.int32)
        for condition, code in reversed(cases):
            status = jnp.where(condition, code, status)
        if self.objective.plain and self.objective.blocks > 1:  # whole curvature may do better
            short = (Status.STEP_LIMIT, Status.LINE_SEARCH_FAILED, Status.BOUNDARY)
            status = jnp.where(jnp.isin(status, jnp.array([int(code) for code in short])), UNDECIDED, status)
        return status

    def wants_curvature(self, s: _State, t: _Trial, advance: Array) -> tuple[Array, Array]:
        """Whether fresh curvature pays for itself in evaluations saved, and whether it is to come from the next stage: once this
        one has been tried."""
        costs = self.objective.costs
        if costs is None:
            return t.slow, jnp.asarray(False)
        price, rate = (jnp.asarray(a, t.decrement.dtype) for a in (costs.price, costs.rate))
        tried = s.seen + s.fresh >= costs.tries
        deeper = (s.stage > 0) & (s.stage < self.last) & tried
        stage = s.stage + (advance | deeper)
        worth = jnp.where(deeper, _SURELY, 1) * price[stage]
        goal = jnp.where((stage == 0) & (self.last > 0), costs.near, self.tol)
        left = jnp.log(jnp.maximum(jnp.where(advance, costs.jump, t.decrement) / goal, 1))
        now = left / -jnp.log(jnp.clip(t.rate, 1e-3, 0.99))
        pays = (now > worth + left / -jnp.log(rate[stage]) + 1) | (now > self.rule.max_steps - t.steps)
        pays &= t.rate > 0
        if self.objective.blocks > 1:
            pays &= ~tried | (stage < self.last)
        return pays, deeper & pays & t.accept

    def _separated(self, s: _State, t: _Trial) -> Any:
        if not self.objective.certifies:
            return jnp.asarray(False)
        suspect = t.dragging
        if self.rule.curvature:
            faint = t.converged & self.objective.faint(t.hessian, s.fresh)
            if self.rule.reuse:
                faint |= t.converged & self.objective.drifts(self.unravel(t.direction), t.decrement)
            suspect |= faint & ((s.stage > 0) | (self.objective.stages == 1))
        suspect &= t.accept & self.objective.open
        if self.objective.plain:
            return suspect
        check = lambda x, direction: self.objective.unbounded(self.unravel(x), self.unravel(direction))
        return where_needed(suspect, check, jnp.asarray(False), t.point.x, t.direction)

    def _why_exhausted(self, s: _State, t: _Trial) -> Array:
        tiny = self.lost(s.decrement, s.point.value, s.held)
        inside = jnp.where(tiny, int(Status.CONVERGED), int(Status.LINE_SEARCH_FAILED))
        return jnp.where(t.blocked, int(Status.BOUNDARY), inside)

    def move(self, s: _State, t: _Trial, status: Array) -> _State:
        """The next trial: along a new direction, half the way along the old one, or the next stage."""
        rule = self.rule
        sampled = (s.stage == 0) & (self.objective.stages > 1)
        # Stage 0 (a subsample) hands its point and its curvature over, however it ended.
        near = t.accept & (t.steps >= _SAMPLE_STEPS)
        costs = self.objective.costs
        near |= t.accept & (t.decrement <= costs.near) if costs else False
        advance = sampled & ((status != RUNNING) | near)
        # A warm start that is further away than that of a subsample is left to it.
        far = (s.evaluations == 0) & (status == RUNNING) & ~(t.decrement <= costs.jump) if self.warm else False
        restart = advance | t.refresh | far
        keep = t.accept & t.usable
        choose = lambda yes, no: jax.tree.map(lambda a, b: jnp.where(keep, a, b), yes, no)
        # A start where the objective is not finite is an end as well, and its value and gradient are what there is to report.
        point = jax.tree.map(lambda a, b: jnp.where(keep | s.first, a, b), t.point, s.point)
        memory = choose(t.memory, s.memory)
        fresh, deeper = jnp.asarray(True), jnp.asarray(False)
        if rule.reuse:
            wanted, deeper = self.wants_curvature(s, t, advance)
            deeper |= t.refresh & s.current
            fresh = jnp.where(advance, ~keep | wanted, t.refresh | (t.accept & (wanted | t.doubtful)))
            fresh |= ~rule.reusable(memory) | far
        stage = jnp.where(far, 0, s.stage + (advance | deeper))
        return _State(
            point=point,
            direction=jnp.where(restart, 0, choose(t.direction, s.direction)),
            size=jnp.where(t.accept | restart, 1, s.size * (_cut(s, t) if rule.curvature else 0.5)).astype(
                point.x.dtype
            ),
            memory=memory,
            decrement=jnp.where(t.accept, t.decrement, s.decrement),
            held=jnp.where(t.accept, t.held, s.held),
            fresh=fresh,
            current=jnp.where(t.accept, s.fresh, s.current) & (stage == s.stage),
            first=restart,
            rate=jnp.where(t.accept & ~restart, t.rate, jnp.where(restart, 0, s.rate)),
            seen=jnp.where(stage != s.stage, 0, s.seen + s.fresh),
            idle=t.idle,
            blocked=t.blocked,
            halvings=t.halvings,
            steps=t.steps,
            evaluations=s.evaluations + 1,
            curvatures=s.curvatures + (s.fresh if rule.curvature else 0),
            stage=stage,
            status=jnp.where(advance, RUNNING, status).astype(jnp.int32),
            trace=_record(s.trace, t.steps, point, t.accept),
        )


def _sufficient(s: _State, new: Point, eps: Any) -> Array:
    change, slope = new.value - s.point.value, s.point.gradient @ s.direction
    tie = jnp.abs(change) <= 16 * eps * jnp.maximum(jnp.abs(new.value), jnp.abs(s.point.value))
    after, before = jnp.abs(new.gradient @ s.direction), jnp.abs(slope)
    # A halved step that changes nothing at all is no progress.
    flatter = jnp.where(s.size < 1, after < before, after <= before)
    return (change <= 1e-4 * s.size * slope) | (tie & flatter)


def _cut(s: _State, t: _Trial) -> Array:
    """What is left of a step that is rejected: half, or where the objective has risen along it by many times its size, as a step from
    next to no curvature does, and no faster than by the fourth power (not by an exponential), as much as its chord rises by that size.
    """
    rise, slope = t.point.value - s.point.value, s.size * (t.point.gradient @ s.direction)
    chord = jnp.clip(jnp.abs(s.point.value) / rise, _LEAST_CUT, 0.5)
    return jnp.where(t.finite & (rise > 0) & (slope <= 4 * rise), chord, 0.5)


def below_rounding(decrement: Array, value: Array, eps: Any) -> Array:
    """Whether the decrease still to come, decrement^2 / 2, is lost in the rounding of the value."""
    return decrement**2 <= 16 * eps * jnp.abs(value)


def _record(trace: Trace | None, steps: Array, point: Point, accept: Array) -> Trace | None:
    if trace is None:
        return None
    put = lambda a, v: a.at[steps].set(jnp.where(accept, v, a[steps]))
    return Trace(put(trace.value, point.value), put(trace.gradient_norm, jnp.max(jnp.abs(point.gradient))))
