r"""Fit a generalised linear model: y ~ family(eta(z)), z = X w + b + offset.

Minimises ``-(1/N) sum_i w_i log p(y_i | x_i; dispersion 1) + l2/2 |w|^2``, N = sum of weights (times trials), by Newton's method
unless another solver is given. One engine serves every family and link; the named models of a first course are rows of its
table. Source: notes 6; McCullagh & Nelder (1989), chapter 2.
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
from jaxml.glm.checks import check_options, check_values, read_rows
from jaxml.glm.objective import GLMObjective
from jaxml.glm.rank import Rank, design_rank, minimum_norm
from jaxml.glm.separation import runs_away
from jaxml.glm.start import starting_point
from jaxml.glm.survey import Survey, survey
from jaxml.links import Link
from jaxml.optimize import LBFGS, SGD, GradientDescent, Newton, Optax, Result, Trace, driver
from jaxml.optimize.first_order import with_schedule
from jaxml.optimize.implicit import attach
from jaxml.optimize.minimize import descend_in_batches, tolerance
from jaxml.optimize.newton import inverse_root
from jaxml.predictors import Linear
from jaxml.records import record, static_field
from jaxml.rows import Rows
from jaxml.status import Status, report

_BLOCK_BYTES = 1 << 19  # a block of X that stays in a core's cache
_DENSE = 1000  # parameters up to which a first-order solver's end point is judged by the whole Hessian
_LARGE = 1 << 21  # n d^2 from which a subsample start and reused curvature pay


@record
class Fit:
    """A fitted generalised linear model; every field that is not static is an array, so vmap gives a batch of fits.

    Attributes:
        params: Linear(weight, bias): weight (d,) or (d, k), bias () or (k,), None without an intercept.
        status: a code of :class:`jaxml.Status`; ``jaxml.report(fit)`` says it in words.
        rank: rank of X with the intercept; below the number of columns the answer is the one of minimum norm.
        steps: accepted steps of the solver.
        evaluations: evaluations of the objective.
        value: the objective (per unit of weight, without log b) at the end.
        gradient_norm: max_j |g_j| / (sum w rms(x_j)) at the last evaluated point.
        decrement: Newton decrement there: distance to the optimum in standard errors at dispersion 1 (first-order solvers with
            more than 1,000 parameters: the solver's own measure).
        log_likelihood: maximised log-likelihood (at the maximum-likelihood dispersion where it is estimated); None for
            sampling weights and for check='hull'.
        dispersion: Pearson statistic / (n - rank) where it is estimated, the known one elsewhere, None for a family without.
        observations: n, the sum of frequency weights or the number of rows with positive weight.
        trace: objective and gradient norm by step (by epoch for minibatches), or None.
        family: as given.
        link: static.
        weight_kind: static.
        offset: static, whether the fit had an offset, which ``predict`` then asks for.
    """

    params: Linear
    status: Array
    rank: Array
    steps: Array
    evaluations: Array
    value: Array
    gradient_norm: Array
    decrement: Array
    log_likelihood: Array | None
    dispersion: Array | None
    observations: Array
    trace: Trace | None
    family: Family
    link: Link = static_field()
    weight_kind: str = static_field()
    offset: bool = static_field()


def fit(
    family: Family,
    X: Any,
    y: Any,
    *,
    weights: Any = None,
    weight_kind: str = "frequency",
    offset: Any = None,
    l2: Any = 0.0,
    intercept: bool = True,
    link: Any = None,
    init: Linear | None = None,
    solver: Any = None,
    check: Any = "support",
    trace: bool = False,
) -> Fit:
    """Maximum (penalised) likelihood of a generalised linear model.

    Args:
        family: the law of y, from :mod:`jaxml.families`.
        X: (n, d) floating or integer, without a column of ones.
        y: (n,); (n, k) counts for Multinomial; the pair (successes, trials) for Binomial; integer labels for Categorical.
        weights: (n,), not negative. A row of weight 0 is as good as absent, even where it holds NaN.
        weight_kind: 'frequency' (a row counts k times), 'precision' (variance phi / w) or 'sampling' (survey weights): one
            fit, three kinds of dispersion, log-likelihood and standard errors.
        offset: of the shape of the linear predictor, (n,) or (n, k), added to it.
        l2: penalty on the weight (never on the bias): a number, an array of its shape or of (d,), or a Linear of two penalties.
        intercept: whether there is a bias.
        link: None for the family's usual link, a name ('identity', 'log', 'logit', 'probit', 'cloglog', 'inverse', 'sqrt',
            'inverse_squared', 'canonical', 'unconstrained'), or a function mu = f(z) (made once: a fresh lambda compiles again).
        init: Linear to start from.
        solver: None for Newton, or Newton, LBFGS, GradientDescent, SGD or Optax of :mod:`jaxml.optimize`. First-order solvers
            minimise the objective per unit of weight, and count as converged within 1e-6 standard errors of the optimum.
        check: 'support': refuse y outside the support; 'hull': accept y in its convex hull (quasi-likelihood: Pearson
            dispersion, no log-likelihood); False: look at no value, warn of nothing, return before the fit has run.
        trace: record objective and gradient norm at each step.

    Returns:
        :class:`Fit`. Its params are differentiable in X, y, weights, offset and l2 by the implicit function theorem.

    Raises:
        ValueError, TypeError, OverflowError: bad input, naming argument, value and place (values only outside jit).

    Warns:
        ConvergenceWarning: the fit did not converge (outside jit, unless check=False).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> print(f"{glm.fit(families.Poisson(), X, y).params.weight[0]:.3f}")
        0.706
    """
    check_options(weight_kind, check)
    link = links.resolve(family, link)
    rows = read_rows(family, X, y, weights, offset)
    family, l2, init = _cast(family, rows, l2, init, intercept)
    if solver is not None and not isinstance(solver, Newton | LBFGS | GradientDescent | SGD | Optax):
        raise TypeError(
            f"solver must be Newton, LBFGS, GradientDescent, SGD or Optax of jaxml.optimize, got {solver!r}"
        )
    solver = with_schedule(_default_solver(rows, family) if solver is None else solver)
    block = _block_rows(rows)
    facts = survey(family, rows, check or "support", block, intercept)
    if check and not isinstance(facts.ok, jax.core.Tracer) and not facts.ok:
        check_values(family, rows, check)
    # Read on the host where it can be: most designs have full rank, and a program that need not factor X compiles faster.
    full_rank = check is not False and not isinstance(facts.full_rank, jax.core.Tracer) and bool(facts.full_rank)
    static = {
        "link": link,
        "weight_kind": weight_kind,
        "block": block,
        "hull": check == "hull",
        "full_rank": full_rank,
        "trace": trace,
    }
    result = _fit(family, rows, l2, init, solver, facts, **static)
    if check and not isinstance(result.status, jax.core.Tracer) and result.status != int(Status.CONVERGED):
        report(result)
    return result


# -- at the door -----------------------------------------------------------------------------------------------------
def _cast(family: Family, rows: Rows, l2: Any, init: Any, intercept: bool) -> tuple[Family, Linear, Linear | None]:
    """Family fields, penalties and starting point in the compute dtype, penalties in the shapes of the params."""
    dtype, k = rows.X.dtype, () if family.natural_size is None else (family.natural_size,)
    shape = rows.X.shape[1:] + k
    family = jax.tree.map(lambda a: jnp.asarray(a, dtype), family)
    pair = l2 if isinstance(l2, Linear) else Linear(l2, 0.0)
    on_weight = jnp.asarray(pair.weight, dtype)
    if on_weight.ndim == 1 and len(shape) == 2:
        on_weight = on_weight[:, None]
    try:
        on_weight = jnp.broadcast_to(on_weight, shape)
        on_bias = jnp.broadcast_to(jnp.asarray(0.0 if pair.bias is None else pair.bias, dtype), k)
    except ValueError:
        raise ValueError(f"l2 has shape {jnp.shape(pair.weight)}, expected () or {shape[:1]} or {shape}") from None
    for a in (on_weight, on_bias):
        if not isinstance(a, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(a) & (a >= 0))):
            raise ValueError(f"l2 must be finite and not negative, got {l2}")
    if init is not None:
        if not isinstance(init, Linear) or (init.bias is None) == intercept:
            raise ValueError(f"init must be a Linear with {'a' if intercept else 'no'} bias, got {init!r}")
        if jnp.shape(init.weight) != shape or (intercept and jnp.shape(init.bias) != k):
            raise ValueError(
                f"init.weight and init.bias must have shapes {shape} and {k}, got {jax.tree.map(jnp.shape, init)}"
            )
        init = Linear(jnp.asarray(init.weight, dtype), jnp.asarray(init.bias, dtype) if intercept else None)
    return family, Linear(on_weight, on_bias if intercept else None), init


def _default_solver(rows: Rows, family: Family) -> Newton:
    large = rows.n * rows.X.shape[1] ** 2 * (family.natural_size or 1) ** 2 >= _LARGE
    return Newton(reuse=bool(large and _block_rows(rows)))


def _block_rows(rows: Rows) -> int | None:
    """Rows in a block: cache-sized on one CPU device; None (the whole array) on accelerators, for sharded and for traced X."""
    X = rows.X
    if isinstance(X, jax.core.Tracer) or len(X.sharding.device_set) > 1 or next(iter(X.devices())).platform != "cpu":
        return None
    size = max(256, min(4096, _BLOCK_BYTES // max(1, X.shape[1] * X.dtype.itemsize)))
    return int(size) if X.shape[0] > 2 * size else None


# -- the compiled fit ------------------------------------------------------------------------------------------------
@partial(jax.jit, static_argnames=("link", "weight_kind", "block", "hull", "full_rank", "trace"))
def _fit(
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
