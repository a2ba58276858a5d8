r"""One compiled program per fit: start, solve, judge, and the derivatives of the minimiser.

It minimises the summed loss over the columns centred at their means, where a shift of a column changes nothing but the bias,
and gives the answer back in the user's coordinates.
"""

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml import links
from jaxml.chunks import in_chunks, where_needed
from jaxml.compiling import program
from jaxml.families.base import Family, unit_base
from jaxml.families.functions import hessian, natural
from jaxml.glm import dispersion
from jaxml.glm.certificate import runs_away
from jaxml.glm.jeffreys import JeffreysObjective
from jaxml.glm.location import in_doubt
from jaxml.glm.objective import (
    GLMObjective,
    balanced,
    flat_directions,
    l2_penalty,
    penalty_table,
    recentred,
    tame,
    total_weight,
)
from jaxml.glm.rank import Rank, design_rank, gram_tells, minimum_norm, proof
from jaxml.glm.result import Fit
from jaxml.glm.start import starting_point
from jaxml.glm.subsample import subsample, subsample_tells
from jaxml.glm.survey import Survey, survey
from jaxml.linalg import diagonal
from jaxml.links import Link
from jaxml.optimize import LBFGS, Newton, Result, Trace, driver
from jaxml.optimize.driver import UNDECIDED, Curvature
from jaxml.optimize.implicit import attach
from jaxml.optimize.minimize import descend_in_batches, tolerance
from jaxml.optimize.newton import inverse_root
from jaxml.predictors import Linear
from jaxml.records import record
from jaxml.rows import Rows
from jaxml.special import with_derivative_of
from jaxml.status import Status

_DENSE = 1000  # parameters up to which a first-order solver's end point is judged by the whole Hessian
_STATIC = ("link", "weight_kind", "block", "hull", "firth", "plain", "trace")


@program(static_argnames=_STATIC)
def compiled_fit(
    family: Family,
    rows: Rows,
    l2: Linear,
    init: Linear | None,
    solver: Any,
    facts: Survey,
    *,
    link: Link,
    weight_kind: str,
    block: int | None,
    hull: bool,
    firth: bool,
    plain: bool,
    trace: bool,
) -> Fit:
    """Everything of :func:`jaxml.glm.fit` that runs on the device; the arguments have been read, cast and surveyed.

    With ``plain``, for Newton's method and a design that has full rank, or of which every slope is penalised (then the rank is not
    looked at, and ``rank`` that of full rank), the program has no part for what most fits never meet: a design of less rank, a
    Hessian that Cholesky cannot factor, and the certificate of separation. It compiles in half the time. Where one of them is called
    for the search stops, the status is :data:`jaxml.optimize.driver.UNDECIDED`, and the full program must be run. Without penalties
    the rank need not be known before: the first factor of the search proves it, or the search stops there.
    """
    intercept = l2.bias is not None
    frozen, still = lax.stop_gradient((family, rows, l2)), lax.stop_gradient(facts)
    # A penalty on the bias means the user's bias, not that of centred columns and offsets.
    free_bias = ~jnp.any(l2.bias > 0) if intercept else jnp.asarray(False)
    frame = _Frame(*(jnp.where(free_bias & jnp.isfinite(a), a, 0) for a in (still.mean, still.offset)))
    moved = frame.shift(frozen[1])
    warm = init is not None
    spread = jnp.square(still.rms) - jnp.square(frame.center)
    objective = GLMObjective(
        family=frozen[0],
        rows=moved,
        center=frame.center,
        l2=frozen[2],
        total=still.total,
        scale=1,
        link=link,
        block=block,
        warm=warm,
        tame=tame(family, moved, block, frame.center, spread),
    )
    if firth:
        objective = JeffreysObjective(**vars(objective))
    elif _may_separate(family, link):
        size = still.weight * jnp.sum(spread, initial=intercept)
        extreme = _extreme(family, still, intercept)
        objective = Separable(**vars(objective), spread=spread, size=size, extreme=extreme)
    start = starting_point(objective, still, intercept) if init is None else frame.enter(lax.stop_gradient(init))
    if family.redundant:  # steps keep the sum over the classes, so the start decides it
        start = jax.tree.map(lambda a: a - jnp.mean(a, axis=-1, keepdims=True), start)
    settled = jnp.asarray(True)
    if plain:
        settled, tells, least = _before_a_plain_search(family, still, l2, firth)
        objective = replace(objective, least_eigenvalue=least)
    start = jax.tree.map(lambda a: jnp.where(settled, a, jnp.nan), start)
    unit = _unit(frozen[0], objective.rows, still, link, weight_kind)

    search = in_chunks(partial(_search, plain=plain, trace=trace))
    result, point, rank, spent = search(objective, start, lax.stop_gradient(solver), unit, still.full_rank, spread)
    if plain:  # a start without curvature has no factor
        settled &= ~tells | ((result.status != int(Status.NON_FINITE)) & (result.status != int(Status.INFEASIBLE)))
    centred = balanced(minimum_norm(rank, result.params), l2, family)
    # what the last step, after the last evaluation, gains
    gain = jnp.where(jnp.all(ravel_pytree(result.params)[0] == point.x), 0, jnp.square(result.decrement) / 2)
    value = lax.stop_gradient(result.value) / still.total
    params, value = _differentiable(centred, value, family, rows, l2, frame, rank, link, firth)

    judged = isinstance(solver, Newton) or point.x.size <= _DENSE or solver.tol is not None
    gradient_norm = _relative_gradient(ravel_pytree(start)[1](point.gradient), frame.center, still)
    n = dispersion.observations(rows, weight_kind)
    loss = None
    if not firth and type(family).log_base is unit_base:
        weight = total_weight(family, rows)
        loss = value * weight - lax.stop_gradient(gain) - l2_penalty(l2, weight, params)
    likelihood, phi = _likelihood(family, rows, params, loss, rank, n, link, weight_kind, hull, block)
    total = still.total
    return Fit(
        params=params,
        status=jnp.where(settled, _status(result, gradient_norm, still, judged), UNDECIDED),
        rank=rank.rank,
        steps=result.steps,
        evaluations=result.evaluations + spent[0],
        curvatures=result.curvatures + spent[1],
        value=value,
        gradient_norm=gradient_norm,
        decrement=result.decrement / unit,
        log_likelihood=likelihood,
        dispersion=phi,
        observations=n,
        l2=l2,
        trace=None if result.trace is None else Trace(*(a / total for a in result.trace)),
        family=family,
        link=link,
        weight_kind=weight_kind,
        offset=rows.offset is not None,
        quasi=hull,
        firth=firth,
    )


@program(static_argnames=(*_STATIC, "full_rank", "pivot", "check"))
def plain_fit(*data: Any, full_rank: bool, pivot: bool, check: str, **static: Any) -> tuple[Fit, Survey, Array, Array]:
    """The survey, what most fits need after it, :func:`jaxml.glm.location.in_doubt`, and whether nothing is left to do or to say: one
    program for the host; see :func:`compiled_fit`.

    Where the survey does not find good values, or where nothing proves full rank, the search ends where it starts, with the status
    :data:`jaxml.optimize.driver.UNDECIDED`.

    Args:
        *data: those of :func:`compiled_fit` before the facts.
        full_rank: whether the columns are known to be independent.
        pivot: whether the survey's is wanted; else it is looked at only where the first factor cannot tell the rank.
        check: as of :func:`jaxml.glm.fit`, a string.
        **static: those of :func:`compiled_fit`, but for ``plain``.
    """
    family, rows, l2, _, solver = data
    tells = _tells_rank(l2, static["firth"])
    look = not full_rank and (~tells if gram_tells(rows.X.dtype) else True)
    facts = survey(family, rows, check, static["block"], l2.bias is not None, pivot or look)
    if full_rank:
        facts = facts._replace(full_rank=jnp.asarray(True))
    fit = compiled_fit(*data, facts, plain=True, **static)
    proven = tells & ((fit.status != UNDECIDED) | (fit.steps > 0))
    facts = facts._replace(full_rank=facts.full_rank | proven)
    doubt = in_doubt(fit, facts, tolerance(solver.tol, rows.X.dtype))
    return fit, facts, doubt, (fit.status == int(Status.CONVERGED)) & facts.full_rank & ~doubt


@record
class Separable(GLMObjective):
    """A GLM objective that may fall for ever along a direction, and can prove it.

    Attributes:
        spread: (d,) mean squares of the centred columns.
        size: the trace of the Hessian were the curvature of each row 1.
        extreme: of the shape of the bias (zeros without one): -1 or 1 where every row has the least or greatest statistic.
    """

    spread: Any = None
    size: Any = None
    extreme: Any = None
    certifies: ClassVar[bool] = True

    def unbounded(self, params: Linear, step: Linear) -> Array:
        """See :func:`jaxml.glm.certificate.runs_away`."""
        return runs_away(self, params, step, self.extreme)

    @property
    def open(self) -> Array:
        """Whether some direction that no penalty holds might be one of separation: a weight, or the bias alone."""
        return ~jnp.all(self.l2.weight > 0) | jnp.any(self.extreme != 0)

    def faint(self, hessian: Array, fresh: Array) -> Array:
        """Whether hardly any row still has curvature, as after a long way along a direction of separation, as far as a Hessian that is
        ``fresh`` tells; or the bias alone is one."""
        return (fresh & (jnp.sum(diagonal(hessian)) < 1e-6 * self.scale * self.size)) | jnp.any(self.extreme != 0)

    def drifts(self, step: Linear, decrement: Array) -> Array:
        """Whether the curvature along a last step is lost in rounding beside that of the rows, as where the step is not short though
        it gains nothing."""
        move = jnp.max(jnp.sqrt(jnp.maximum(self.spread, 0)) @ jnp.abs(step.weight), initial=0)
        move = move if step.bias is None else jnp.maximum(move, jnp.max(jnp.abs(step.bias)))
        return jnp.square(decrement) < 10 * jnp.finfo(decrement.dtype).eps * self.scale * self.total * jnp.square(move)


def _extreme(family: Family, facts: Survey, intercept: bool) -> Array:
    """See :class:`Separable`: a class without a row, counts that are all 0, labels that are all alike."""
    low, high = (0.0, jnp.inf) if family.redundant else family.mean_bounds
    at = jnp.where(facts.statistic <= low, -1.0, jnp.where(facts.statistic >= high, 1.0, 0.0))
    return (at if intercept else 0 * at).astype(facts.mean.dtype)


def _before_a_plain_search(family: Family, facts: Survey, l2: Linear, firth: bool) -> tuple[Array, Array, Array]:
    """Whether it may begin, whether its first factor has to tell the rank, and the least eigenvalue that then does, in eps."""
    columns = len(facts.mean) + (l2.bias is not None)
    tells = ~facts.full_rank & _tells_rank(l2, firth) & (facts.rows >= columns)
    settled = facts.ok & (facts.full_rank | needs_no_rank(family, l2) | tells)
    return settled, tells, jnp.where(tells, proof(columns), 0)


def needs_no_rank(family: Family, l2: Linear) -> Any:
    """Whether nothing but ``rank`` itself follows from the rank of the design."""
    return (l2.weight > 0).all() & (not family.estimates_dispersion)


def _tells_rank(l2: Linear, firth: bool) -> Any:
    """Whether the Hessian is that of the likelihood, X'WX, which is singular where the rank is less than full."""
    return ~jnp.any(ravel_pytree(l2)[0] > 0) & (not firth)


def _by_class(family: Family, solver: Any) -> bool:
    """Whether to try curvature of each class alone: that of all classes is at most k times it, and some k times as dear."""
    return isinstance(solver, Newton) and bool(solver.reuse) and family.redundant and family.natural_size > 2


def _may_separate(family: Family, link: Link) -> bool:
    return family.redundant or links.spans_mean(family, link)


class _Frame(NamedTuple):
    """The coordinates of the search: columns centred, and the mean of the offset moved from it into the bias."""

    center: Array
    level: Array

    def shift(self, rows: Rows) -> Rows:
        """Rows with the offset of the search."""
        return rows if rows.offset is None else rows._replace(offset=rows.offset - self.level)

    def enter(self, params: Linear) -> Linear:
        """From the user's coordinates."""
        return recentred(params, self.center, self.level)

    def leave(self, params: Linear) -> Linear:
        """To the user's coordinates."""
        return recentred(params, -self.center, -self.level)


def _unit(family: Family, rows: Rows, facts: Survey, link: Link, weight_kind: str) -> Array:
    """The standard error that decrements are measured in: 1, but free of the unit of y where the dispersion is estimated (that
    of the model of an intercept alone serves), and of that of the weights where they are not frequencies or are below 1."""
    n = dispersion.observations(rows, weight_kind)
    small = jnp.sqrt(jnp.minimum(facts.weight / facts.rows, 1)).astype(rows.X.dtype)
    if not family.estimates_dispersion:
        return jnp.sqrt(facts.weight / n) if weight_kind != "frequency" else small
    eta = jnp.broadcast_to(natural(family, facts.statistic), (rows.n,))
    phi = dispersion.pearson(family, rows.safe(), eta) / n
    # responses all alike
    rounding = jnp.square(8 * jnp.finfo(phi.dtype).eps * facts.statistic / jnp.sqrt(hessian(family, eta[0])))
    size = jnp.sqrt(jnp.where(jnp.isfinite(phi) & (phi > rounding), phi, 1))
    return size * small if weight_kind == "frequency" else size


def _search(
    objective: GLMObjective,
    start: Linear,
    solver: Any,
    unit: Array,
    full_rank: Array,
    spread: Array,
    *,
    plain: bool,
    trace: bool,
) -> tuple[Result, driver.Point, Rank, tuple[Any, Any]]:
    """Where it ends, the last point evaluated, the rank of the design, and how many evaluations and curvatures went into a search that
    was given up before."""
    family, nothing = objective.family, (jnp.int32(0), jnp.int32(0))
    table = penalty_table(family, objective.l2)
    intercept = objective.l2.bias is not None
    rank = design_rank(objective.rows, objective.center, table, intercept, None if plain else full_rank)
    flat = flat_directions(rank.null, objective.l2, family)
    whole = replace(objective, flat=flat, precise=not plain, plain=plain)
    if isinstance(objective, JeffreysObjective) or not _by_class(family, solver):
        return *_solve(whole, start, solver, unit, spread, trace), rank, nothing
    by_class = replace(objective, plain=True, blocks=family.natural_size)
    first = _solve(by_class, start, solver, unit, spread, trace)
    if plain:
        return *first, rank, nothing
    given_up = first[0].status == UNDECIDED
    again = lambda start, unit, spread: _solve(whole, start, solver, unit, spread, trace)
    found = where_needed(given_up, again, first, start, unit, spread)
    return *found, rank, (given_up * first[0].evaluations, given_up * first[0].curvatures)


def _solve(
    objective: GLMObjective, start: Linear, solver: Any, unit: Array, spread: Array, trace: bool
) -> tuple[Result, driver.Point]:
    """Run the solver; value and gradient are those of the summed objective whatever the solver saw."""
    tol = tolerance(solver.tol, start.weight.dtype) * unit
    if isinstance(solver, Newton):
        quadratic = objective.link is links.identity and objective.family.space == "real"
        reuse = solver.reuse if solver.reuse is not None else False
        sampled = objective
        if reuse and objective.block and subsample_tells(objective.family, objective.rows) and not quadratic:
            sampled = replace(objective, sample=subsample(objective, unit, spread))
        return _without_edge(
            objective, *driver.minimize(sampled, start, replace(solver, reuse=reuse), tol=tol, trace=trace)
        )
    mean = replace(objective, scale=1 / objective.total)
    if isinstance(solver, LBFGS):
        result, _ = driver.minimize(objective, start, solver, tol=tol / 10, trace=trace)
    elif getattr(solver, "epochs", None) is not None:
        full = lambda params: mean.evaluate(params, False, 0)[:2]
        result = descend_in_batches(objective.batch, full, start, solver, objective.rows.n, trace)
    else:
        rough = tolerance(None, start.weight.dtype) / 100
        result, _ = driver.minimize(mean, start, solver, tol=rough if solver.tol is None else solver.tol, trace=trace)
    return _without_edge(objective, *_judge(objective, result, solver, tol))


def _without_edge(objective: GLMObjective, result: Result, point: driver.Point) -> tuple[Result, driver.Point]:
    """At a maximum on the edge of the domain the curvature is infinite and the decrement 0, but the gradient is not; in float32 it
    may be lost among terms that large, and a row within rounding of the edge must do as evidence."""
    low, high = links.domain(objective.family, objective.link)
    if objective.family.natural_size is not None or (low == -jnp.inf and high == jnp.inf):
        return result, point
    params = ravel_pytree(result.params)[1](point.x)
    gross = ravel_pytree(objective.gross_gradient(params))[0]
    edge = jnp.any(jnp.abs(point.gradient) > 1e-3 * gross) | objective.on_edge(params, low, high)
    edge &= result.status == int(Status.CONVERGED)
    return result._replace(status=jnp.where(edge, int(Status.BOUNDARY), result.status).astype(jnp.int32)), point


def _judge(objective: GLMObjective, result: Result, solver: Any, tol: Any) -> tuple[Result, driver.Point]:
    """The end point of a solver without curvature, judged by the Newton decrement as every fit is, up to a thousand parameters.

    Where L-BFGS converged by its own approximate curvature, up to three Newton steps carry it over the rest of the way, and one more
    from within the tolerance is exact to rounding, as every Newton fit ends.
    """
    x, unravel = ravel_pytree(result.params)
    if x.size > _DENSE:
        ev = objective.evaluate(result.params, False, 0)
        return result._replace(value=ev.value), driver.Point(x, ev.value, ravel_pytree(ev.gradient)[0])
    ended = result.status == int(Status.CONVERGED)
    refine = ended if isinstance(solver, LBFGS) else jnp.asarray(False)

    def look(carry: Any) -> Any:
        point, step, _, trips, _ = carry
        x = point.x + step
        ev = objective.evaluate(unravel(x), True, jnp.zeros((), jnp.int32))
        g = ravel_pytree(ev.gradient)[0]
        better = (lambda hessian: objective.root(unravel(x), hessian)) if objective.precise else None
        step, decrement = inverse_root(Curvature(jnp.asarray(True), ev.hessian, ev.scoring, better=better), g).step(g)
        more = refine & (decrement > tol) & (decrement < 1) & (trips < 3)
        return driver.Point(x, ev.value, g), step, decrement, trips + 1, more

    zero = jnp.zeros((), x.dtype)
    start = driver.Point(x, zero, jnp.zeros_like(x)), jnp.zeros_like(x), zero, 0, jnp.asarray(True)
    point, step, decrement, _, _ = lax.while_loop(lambda c: c[-1], look, start)
    near = decrement <= 100 * tol
    if solver.tol is not None and not isinstance(solver, LBFGS):
        near |= ended  # by the user's own tolerance on the gradient
    status = jnp.where(near, int(Status.CONVERGED), jnp.where(ended, int(Status.STEP_LIMIT), result.status))
    if isinstance(objective, Separable):
        away = objective.unbounded(unravel(point.x), unravel(step))
        status = jnp.where(away & jnp.isfinite(decrement), int(Status.SEPARATED), status)
    trace = result.trace
    if trace is not None and not isinstance(solver, LBFGS):
        trace = Trace(*(a * objective.total for a in trace))
    last = jnp.where(refine & (decrement <= tol), step, 0)
    result = result._replace(
        params=unravel(point.x + last),
        value=point.value,
        decrement=decrement,
        status=status.astype(jnp.int32),
        trace=trace,
    )
    return result, point


def _status(result: Result, gradient_norm: Array, facts: Survey, judged: bool) -> Array:
    """The solver's status; non-finite where the survey saw bad values, infeasible where good ones have no loss at the start."""
    at_start = (result.status == int(Status.NON_FINITE)) & (result.evaluations == 1)
    status = jnp.where(at_start, int(Status.INFEASIBLE), result.status)
    if not judged:  # many parameters, a first-order solver and no tolerance of the user's
        status = jnp.where((status == 0) & (gradient_norm > 1e-5), int(Status.STEP_LIMIT), status)
    return jnp.where(facts.ok, status, int(Status.NON_FINITE)).astype(jnp.int32)


def _relative_gradient(gradient: Linear, center: Array, facts: Survey) -> Array:
    weight = gradient.weight
    if gradient.bias is not None:
        weight = weight + (center * gradient.bias if weight.ndim == 1 else center[:, None] * gradient.bias)
    rms = jnp.where(facts.rms > 0, facts.rms, 1)
    largest = jnp.max(jnp.abs(weight) / (rms if weight.ndim == 1 else rms[:, None]), initial=0)
    return jnp.maximum(largest, 0 if gradient.bias is None else jnp.max(jnp.abs(gradient.bias))) / facts.weight


def _differentiable(
    centred: Linear,
    value: Array,
    family: Family,
    rows: Rows,
    l2: Linear,
    frame: _Frame,
    rank: Rank,
    link: Link,
    firth: bool,
) -> tuple[Linear, Array]:
    """The params in the user's coordinates and the mean objective, with the derivatives of the minimiser and of the minimum;
    see :mod:`jaxml.optimize.implicit`."""
    x, unravel = ravel_pytree(centred)
    data = (family, rows, l2, frame, rank.null)

    def rebuild(data: Any) -> GLMObjective:
        family, rows, l2, frame, null = data
        total = total_weight(family, rows)
        flat = flat_directions(null, l2, family)
        objective = GLMObjective(family, frame.shift(rows), frame.center, l2, total, 1, link, flat=flat)
        return JeffreysObjective(**vars(objective)) if firth else objective

    def mean(x: Array, data: Any) -> Array:
        objective = rebuild(data)
        return objective.summed(unravel(x)) / objective.total

    def hessian(x: Array, data: Any) -> Array:
        objective = rebuild(data)
        return objective.curvature(unravel(x)) / objective.total

    attached = attach(jax.grad(mean), hessian, lax.stop_gradient(x), data)
    value = with_derivative_of(mean, value, attached, data)
    return frame.leave(unravel(attached)), value


def _likelihood(
    family: Family,
    rows: Rows,
    params: Linear,
    loss: Array | None,
    rank: Rank,
    n: Array,
    link: Link,
    weight_kind: str,
    hull: bool,
    block: int | None,
) -> tuple[Array | None, Array | None]:
    """Maximised log-likelihood and dispersion, each None where it is not defined (see :class:`Fit`); ``loss`` is that of all rows
    at the params where it tells the log-likelihood, else None."""
    estimated = family.estimates_dispersion or (hull and family.has_deviance)
    safe, eta = dispersion.fitted_natural(family, link, rows, params)
    phi = None
    if estimated:
        phi = dispersion.pearson_dispersion(family, safe, eta, n * family.free_size, rank.rank * family.free_size)
    elif not isinstance(family.dispersion, int):
        phi = jnp.asarray(family.dispersion)
    if hull or weight_kind == "sampling":
        return None, phi
    if loss is not None:
        return -loss, phi
    return dispersion.fitted_log_likelihood(family, safe, eta, n, weight_kind, block), phi
