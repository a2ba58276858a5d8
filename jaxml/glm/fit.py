r"""Fit a generalised linear model: y ~ family(eta(z)), z = X w + b + offset.

Minimises ``-(1/N) sum_i w_i log p(y_i | x_i; dispersion 1) + l2/2 |w|^2``, N = sum of weights (times trials), by Newton's method
unless another solver is given. One engine serves every family and link; the named models of a first course are rows of its
table. Source: notes 6; McCullagh & Nelder (1989), chapter 2.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import links
from jaxml.checks import check_family, check_options, check_values, read_rows
from jaxml.compiling import staged
from jaxml.families.base import Family
from jaxml.glm.engine import compiled_fit, needs_no_rank, plain_fit
from jaxml.glm.location import location
from jaxml.glm.objective import curvature_price
from jaxml.glm.rank import few_rows_prove, matrix_rank
from jaxml.glm.refine import LEAST_PIVOT, is_least_squares, may_be, refined_fit
from jaxml.glm.remarks import remarks
from jaxml.glm.result import Fit
from jaxml.glm.subsample import subsample_tells
from jaxml.glm.survey import survey
from jaxml.optimize import Newton
from jaxml.optimize.driver import UNDECIDED
from jaxml.optimize.minimize import prepared, tolerance
from jaxml.predictors import Linear
from jaxml.rows import Rows, block_rows
from jaxml.status import Status, report

_LARGE = 1 << 21  # n d^2 from which reused curvature pays
_DEAR = 10.0  # evaluations that curvature must be worth for it to be reused without a subsample


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
    firth: bool = False,
    check: Any = "support",
    trace: bool = False,
    refine: bool = False,
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
        init: Linear to start from, as the params of a fit with another penalty: near the optimum few evaluations are left.
        solver: None for Newton, or Newton, LBFGS, GradientDescent, SGD or Optax of :mod:`jaxml.optimize`. First-order solvers
            minimise the objective per unit of weight, and count as converged within 1e-6 standard errors of the optimum.
        firth: add half the log-determinant of the expected information to the log-likelihood (Jeffreys' penalty, for canonical links
            Firth's): estimates are finite also where the data are separated, and their bias is smaller. Needs l2=0 and Newton.
        check: 'support': refuse y outside the support; 'hull': accept y in its convex hull (quasi-likelihood: Pearson
            dispersion, no log-likelihood); False: look at no value, warn of nothing, return before the fit has run.
        trace: record objective and gradient norm at each step.
        refine: for the normal family with the identity link and Newton's method: where columns are nearly dependent, refine the
            solution to the last digits, see :func:`jaxml.glm.linear_regression`, which does.

    Returns:
        :class:`Fit`. Its params are differentiable in X, y, weights, offset and l2 by the implicit function theorem.

    Raises:
        ValueError, TypeError, OverflowError: bad input, naming argument, value and place (values only outside jit).

    Warns:
        ConvergenceWarning: the fit did not converge, or the dtype cannot hold the coefficients of columns whose means are large
            beside their spreads to a thousandth of a standard error (outside jit, unless check=False).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> print(f"{glm.fit(families.Poisson(), X, y).params.weight[0]:.3f}")
        0.706
    """
    check_options(weight_kind, check)
    check_family(family)
    link = links.resolve(family, link)
    rows = read_rows(family, X, y, weights, offset)
    if not intercept and not rows.X.shape[1]:
        raise ValueError("X has no columns and intercept=False leaves no parameter to fit")
    how = {"l2": l2, "intercept": intercept, "link": link, "init": init, "solver": solver}
    how |= {"weight_kind": weight_kind, "check": check, "trace": trace, "refine": refine, "firth": firth}
    return fit_rows(family, rows, **how)


def fit_rows(
    family: Family,
    rows: Rows,
    *,
    l2: Any,
    intercept: bool,
    link: Any,
    solver: Any,
    check: Any,
    init: Any = None,
    weight_kind: str = "frequency",
    trace: bool = False,
    full_rank: bool = False,
    refine: bool = False,
    firth: bool = False,
) -> Fit:
    """:func:`fit` of rows that have been read; ``full_rank`` says that the columns are known to be independent."""
    link = links.resolve(family, link)
    if firth:
        _check_firth(l2, solver)
    family, l2, init = _cast(family, rows, l2, init, intercept)
    if refine and not (is_least_squares(family, link) and isinstance(solver, Newton | None)):
        raise ValueError(
            f"refine=True is for Normal() with the identity link and Newton's method, got {family}, link {link.name!r}, solver {solver}"
        )
    solver = prepared(_completed(Newton() if solver is None else solver, rows, family))
    block, intercept = block_rows(rows.X), l2.bias is not None
    static = {
        "link": link,
        "weight_kind": weight_kind,
        "block": block,
        "hull": check == "hull",
        "firth": firth,
        "trace": trace,
    }
    data = family, rows, l2, init, solver
    # Where the host may look at the status, a program half the size does for most data.
    eager = bool(check) and not staged(data)
    plain = eager and isinstance(solver, Newton)
    if plain:
        result, facts, doubt, done = plain_fit.alone(*data, full_rank=full_rank, pivot=refine, check=check, **static)
        # Mostly this one number is all that is read: what the host does takes long beside a small fit.
        if done and link.known and not refine:
            return result
    else:
        facts = survey(family, rows, check or "support", block, intercept)
        if full_rank:
            facts = facts._replace(full_rank=jnp.ones_like(facts.full_rank))
    if not plain or int(result.status) == UNDECIDED:
        if check and not isinstance(facts.ok, jax.core.Tracer) and not facts.ok:
            check_values(family, rows, check)
        if plain and np.isnan(facts.pivot) and not facts.full_rank:  # it was not looked at, or is lost in rounding
            facts = facts._replace(full_rank=few_rows_prove(rows, facts.mean, intercept))
        whole = compiled_fit(*data, facts, plain=False, **static)
        if plain:
            tried = result.evaluations, result.curvatures
            whole = replace(whole, evaluations=whole.evaluations + tried[0], curvatures=whole.curvatures + tried[1])
        result, doubt = whole, True
    elif needs_no_rank(family, l2) and not facts.full_rank:
        result = replace(result, rank=matrix_rank(rows, facts.mean, intercept))
    if refine and may_be(~(facts.pivot >= LEAST_PIVOT), check):
        result = refined_fit(result, rows, facts.pivot)
    if check and not isinstance(result.status, jax.core.Tracer):
        status = int(result.status)
        said = remarks(result, rows) if status == Status.BOUNDARY or not link.known else []
        # (the columns of others are not the user's)
        if eager and status == Status.CONVERGED and not full_rank and doubt:
            asked = float(tolerance(solver.tol, rows.X.dtype))
            said += [sentence for sentence in [location(result, rows, facts, asked)] if sentence]
        if said or status != Status.CONVERGED:
            report(result, *said)
    return result


# -- at the door -----------------------------------------------------------------------------------------------------
def _cast(family: Family, rows: Rows, l2: Any, init: Any, intercept: bool) -> tuple[Family, Linear, Linear | None]:
    """Family fields, penalties and starting point in the compute dtype, penalties in the shapes of the params."""
    dtype, k = rows.X.dtype, () if family.natural_size is None else (family.natural_size,)
    shape = rows.X.shape[1:] + k
    family = jax.tree.map(lambda a: a.astype(dtype) if isinstance(a, jax.Array) else np.asarray(a, dtype), family)
    penalty = read_penalty(l2, shape, dtype, intercept)
    if init is not None:
        if not isinstance(init, Linear) or (init.bias is None) == intercept:
            raise ValueError(f"init must be a Linear with {'a' if intercept else 'no'} bias, got {init!r}")
        if jnp.shape(init.weight) != shape or (intercept and jnp.shape(init.bias) != k):
            raise ValueError(
                f"init.weight and init.bias must have shapes {shape} and {k}, got {jax.tree.map(jnp.shape, init)}"
            )
        for a in jax.tree.leaves(init):
            if not isinstance(a, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(jnp.asarray(a)))):
                raise ValueError(f"init must be finite, got {init}")
        init = Linear(jnp.asarray(init.weight, dtype), jnp.asarray(init.bias, dtype) if intercept else None)
    return family, penalty, init


def read_penalty(l2: Any, shape: tuple[int, ...], dtype: Any, intercept: bool) -> Linear:
    """``l2`` of :func:`fit` in the shapes of the params, the weight's being ``shape``."""
    read = _even_penalty if type(l2) in (float, int) else _read_penalty
    return read(l2, shape, dtype, intercept)


def _read_penalty(l2: Any, shape: tuple[int, ...], dtype: Any, intercept: bool) -> Linear:
    k = shape[1:]
    pair = l2 if isinstance(l2, Linear) else Linear(l2, 0.0)
    traced = any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(pair))
    on = jnp if traced else np  # what the host can read compiles nothing there
    on_weight = on.asarray(pair.weight, dtype)
    if on_weight.ndim == 1 and len(shape) == 2:
        on_weight = on_weight[:, None]
    on_bias = on.asarray(0.0 if pair.bias is None else pair.bias, dtype)
    if np.shape(pair.weight) not in ((), shape[:1], shape):
        raise ValueError(f"l2 has shape {np.shape(pair.weight)}, expected () or {shape[:1]} or {shape}")
    if on_bias.shape not in ((), k):
        raise ValueError(f"l2.bias has shape {on_bias.shape}, expected () or {k}")
    for a in (on_weight, on_bias):
        if not traced and not ((a >= 0) & (a < np.inf)).all():
            raise ValueError(f"l2 must be finite and not negative, got {l2}")
    return Linear(on.broadcast_to(on_weight, shape), on.broadcast_to(on_bias, k) if intercept else None)


_even_penalty = lru_cache(_read_penalty)  # that of a number, read a hundred times


def _check_firth(l2: Any, solver: Any) -> None:
    if any(isinstance(a, jax.core.Tracer) or np.any(np.asarray(a) != 0) for a in jax.tree.leaves(l2)):
        raise ValueError("firth=True is a penalty of its own and needs l2=0")
    if not isinstance(solver, Newton | None):
        raise ValueError(f"firth=True is for Newton's method, got solver={solver}")


def _completed(solver: Any, rows: Rows, family: Family) -> Any:
    """Newton's method with what the user has not chosen: curvature is reused where the size of the problem pays for it, and the
    tolerance is the default number, so that a fit that names one runs the same program."""
    if not isinstance(solver, Newton):
        return solver
    solver = replace(solver, tol=tolerance(solver.tol, rows.X.dtype))
    if solver.reuse is not None:
        return solver
    k, d = family.natural_size or 1, rows.X.shape[1]
    large = rows.n * (d * k) ** 2 >= _LARGE
    sampled = block_rows(rows.X) and subsample_tells(family, rows)
    return replace(solver, reuse=bool(large and (sampled or curvature_price(rows.n, rows.n, d * k, k) > _DEAR)))
