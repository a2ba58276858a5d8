r"""One compiled program per fit: start, solve, judge, and the derivatives of the minimiser.

It minimises the summed loss over the columns centred at their means, where a shift of a column changes nothing but the bias,
and gives the answer back in the user's coordinates.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml import links
from jaxml.chunks import in_chunks
from jaxml.families.base import Family
from jaxml.glm import dispersion
from jaxml.glm.objective import GLMObjective
from jaxml.glm.rank import Rank, design_rank, minimum_norm
from jaxml.glm.result import Fit
from jaxml.glm.separation import runs_away
from jaxml.glm.start import starting_point
from jaxml.glm.survey import Survey
from jaxml.links import Link
from jaxml.optimize import LBFGS, Newton, Result, Trace, driver
from jaxml.optimize.implicit import attach
from jaxml.optimize.minimize import descend_in_batches, tolerance
from jaxml.optimize.newton import inverse_root
from jaxml.predictors import Linear
from jaxml.records import record
from jaxml.rows import Rows
from jaxml.status import Status

_DENSE = 1000  # parameters up to which a first-order solver's end point is judged by the whole Hessian


@partial(jax.jit, static_argnames=("link", "weight_kind", "block", "hull", "full_rank", "trace"))
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
    full_rank: bool,
    trace: bool,
) -> Fit:
    """Everything of :func:`jaxml.glm.fit` that runs on the device; the arguments have been read, cast and surveyed."""
    intercept = l2.bias is not None
    frozen, still = lax.stop_gradient((family, rows, l2)), lax.stop_gradient(facts)
    # A penalty on the bias means the user's bias, not that of centred columns.
    centred_columns = jnp.isfinite(still.mean) & ~jnp.any(l2.bias > 0) if intercept else False
    center = jnp.where(centred_columns, still.mean, 0)
    objective = _objective_class(family, link)(*frozen[:2], center, frozen[2], still.total, 1, link, block)
    start = (
        starting_point(objective, still, intercept) if init is None else _to_centred(lax.stop_gradient(init), center)
    )
    if family.redundant:  # steps keep the sum over the classes, so the start decides it
        start = jax.tree.map(lambda a: a - jnp.mean(a, axis=-1, keepdims=True), start)

    def search(objective: GLMObjective, start: Linear, solver: Any) -> tuple[Result, driver.Point, Rank]:
        result, point = _solve(objective, start, solver, trace)
        return result, point, design_rank(objective.rows, objective.center, intercept, full_rank, result.status)

    result, point, rank = in_chunks(search)(objective, start, lax.stop_gradient(solver))
    centred = minimum_norm(rank, result.params)
    params = _differentiable(centred, family, rows, l2, center, rank, link)

    n = dispersion.observations(rows, weight_kind)
    likelihood, phi = _likelihood(family, rows, params, facts, rank, n, link, weight_kind, hull)
    total = still.total
    return Fit(
        params=params,
        status=_status(result, still),
        rank=rank.rank,
        steps=result.steps,
        evaluations=result.evaluations,
        value=result.value / total,
        gradient_norm=_relative_gradient(ravel_pytree(start)[1](point.gradient), center, still),
        decrement=result.decrement,
        log_likelihood=likelihood,
        dispersion=phi,
        observations=n,
        trace=None if result.trace is None else Trace(*(a / total for a in result.trace)),
        family=family,
        link=link,
        weight_kind=weight_kind,
        offset=rows.offset is not None,
    )


@record
class _Separable(GLMObjective):
    """A GLM objective that may fall for ever along a direction, and can prove it."""

    def unbounded(self, params: Linear, step: Linear) -> Array:
        return runs_away(self, params, step)


def _objective_class(family: Family, link: Link) -> type[GLMObjective]:
    return _Separable if family.redundant or links.spans_mean(family, link) else GLMObjective


def _to_centred(params: Linear, center: Array) -> Linear:
    return params if params.bias is None else params._replace(bias=params.bias + center @ params.weight)


def _from_centred(params: Linear, center: Array) -> Linear:
    return params if params.bias is None else params._replace(bias=params.bias - center @ params.weight)


def _solve(objective: GLMObjective, start: Linear, solver: Any, trace: bool) -> tuple[Result, driver.Point]:
    """Run the solver; value and gradient are those of the summed objective whatever the solver saw."""
    tol = tolerance(solver.tol, start.weight.dtype)
    if isinstance(solver, Newton):
        quadratic = objective.link is links.identity and objective.family.space == "real"
        reuse = solver.reuse if solver.reuse is not None else False
        sampled = replace(objective, sample=bool(reuse and objective.block and not quadratic))
        return driver.minimize(sampled, start, replace(solver, reuse=reuse), tol=tol, trace=trace)
    mean = replace(objective, scale=1 / objective.total)
    if isinstance(solver, LBFGS):
        result, _ = driver.minimize(objective, start, solver, tol=tol / 10, trace=trace)
    elif getattr(solver, "epochs", None) is not None:
        full = lambda params: mean.evaluate(params, False, 0)[:2]
        result = descend_in_batches(objective.batch, full, start, solver, objective.rows.n, trace)
    else:
        result, _ = driver.minimize(
            mean, start, solver, tol=tol / 100 if solver.tol is None else solver.tol, trace=trace
        )
    return _judge(objective, result, solver, tol)


def _judge(objective: GLMObjective, result: Result, solver: Any, tol: Any) -> tuple[Result, driver.Point]:
    """A first-order solver's end point, judged by the Newton decrement as every fit is, up to a thousand parameters."""
    if sum(a.size for a in jax.tree.leaves(result.params)) > _DENSE:
        ev = objective.evaluate(result.params, False, 0)
        g = ravel_pytree(ev.gradient)[0]
        return result._replace(value=ev.value), driver.Point(ravel_pytree(result.params)[0], ev.value, g)
    ev = objective.evaluate(result.params, True, jnp.zeros((), jnp.int32))
    g = ravel_pytree(ev.gradient)[0]
    decrement = jnp.linalg.norm(inverse_root(ev.hessian, ev.scoring, g).T @ g)
    near = decrement <= (100 * tol if solver.tol is None else jnp.maximum(100 * tol, decrement * (result.status == 0)))
    near |= driver.below_rounding(decrement, ev.value, jnp.finfo(g.dtype).eps)
    ended = jnp.where(result.status == int(Status.CONVERGED), int(Status.STEP_LIMIT), result.status)
    status = jnp.where(near, int(Status.CONVERGED), ended)
    if isinstance(objective, _Separable):
        unravel = ravel_pytree(result.params)[1]
        newton = unravel(-inverse_root(ev.hessian, ev.scoring, g) @ (inverse_root(ev.hessian, ev.scoring, g).T @ g))
        away = lax.cond(near, lambda: jnp.asarray(False), lambda: objective.unbounded(result.params, newton))
        status = jnp.where(away, int(Status.SEPARATED), status)
    trace = (
        result.trace
        if result.trace is None or isinstance(solver, LBFGS)
        else Trace(*(a * objective.total for a in result.trace))
    )
    result = result._replace(value=ev.value, decrement=decrement, status=status.astype(jnp.int32), trace=trace)
    return result, driver.Point(ravel_pytree(result.params)[0], ev.value, g)


def _status(result: Result, facts: Survey) -> Array:
    """The solver's status; non-finite where the survey saw bad values, infeasible where good ones have no loss at the start."""
    at_start = (result.status == int(Status.NON_FINITE)) & (result.evaluations == 1)
    status = jnp.where(at_start, int(Status.INFEASIBLE), result.status)
    return jnp.where(facts.ok, status, int(Status.NON_FINITE)).astype(jnp.int32)


def _relative_gradient(gradient: Linear, center: Array, facts: Survey) -> Array:
    weight = gradient.weight
    if gradient.bias is not None:
        weight = weight + (center * gradient.bias if weight.ndim == 1 else center[:, None] * gradient.bias)
    rms = jnp.where(facts.rms > 0, facts.rms, 1)
    largest = jnp.max(jnp.abs(weight) / (rms if weight.ndim == 1 else rms[:, None]), initial=0)
    return jnp.maximum(largest, 0 if gradient.bias is None else jnp.max(jnp.abs(gradient.bias))) / facts.weight


def _differentiable(
    centred: Linear, family: Family, rows: Rows, l2: Linear, center: Array, rank: Rank, link: Link
) -> Linear:
    """The params in the user's coordinates with the derivatives of the minimiser; see :mod:`jaxml.optimize.implicit`."""
    x, unravel = ravel_pytree(centred)
    k = 1 if family.natural_size is None else family.natural_size
    data = (family, rows, l2, center, jnp.kron(rank.extended, jnp.eye(k, dtype=x.dtype)))

    def rebuild(data: Any) -> tuple[GLMObjective, Array]:
        family, rows, l2, center, flat = data
        w = jnp.ones(rows.n, x.dtype) if rows.weights is None else rows.weights
        m = family.trials(
            rows.y if rows.weights is None else jax.tree.map(lambda a: jnp.where(_column(w > 0, a), a, 0), rows.y)
        )
        return GLMObjective(family, rows, center, l2, jnp.sum(w * m), 1, link), flat

    def total(x: Array, data: Any) -> Array:
        objective, _ = rebuild(data)
        params = unravel(x)
        penalty = sum(jnp.sum(p * jnp.square(a)) for p, a in zip(objective.l2, params, strict=True) if a is not None)
        return objective.loss(params) + objective.total / 2 * penalty

    def hessian(x: Array, data: Any) -> Array:
        objective, flat = rebuild(data)
        matrix = objective.curvature(unravel(x))
        return matrix + flat * lax.stop_gradient(jnp.trace(matrix) / len(matrix))

    attached = unravel(attach(jax.grad(total), hessian, lax.stop_gradient(x), data))
    return _from_centred(attached, center)


def _column(on: Array, a: Array) -> Array:
    return on.reshape(on.shape + (1,) * (a.ndim - 1))


def _likelihood(
    family: Family,
    rows: Rows,
    params: Linear,
    facts: Survey,
    rank: Rank,
    n: Array,
    link: Link,
    weight_kind: str,
    hull: bool,
) -> tuple[Array | None, Array | None]:
    """Maximised log-likelihood and dispersion, each None where it is not defined (see :class:`Fit`)."""
    simple = family.natural_size is None or family.redundant
    estimated = family.estimates_dispersion or (hull and simple)
    safe, eta = dispersion.fitted_natural(family, link, rows, params)
    phi = None
    if estimated:
        size = 1 if family.natural_size is None else family.natural_size - 1
        phi = dispersion.pearson_dispersion(family, safe, eta, n * size, rank.rank * size)
    elif not isinstance(family.dispersion, int):
        phi = jnp.asarray(family.dispersion)
    if hull or weight_kind == "sampling":
        return None, phi
    return dispersion.fitted_log_likelihood(family, safe, eta, n, weight_kind), phi
