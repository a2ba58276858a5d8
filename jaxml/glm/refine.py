r"""Normal fits with the identity link to the last digits, see :mod:`jaxml.least_squares`: coefficients, dispersion and covariance.

Newton's method leaves the rounding errors of one step, some condition number times eps. That is 13 digits for most data, so only
designs with nearly dependent columns are refined.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular

from jaxml import links
from jaxml.chunks import where_needed
from jaxml.double_double import DoubleDouble, two_sum
from jaxml.families.base import Family
from jaxml.families.normal import Normal
from jaxml.glm.covariance import Inference
from jaxml.glm.dispersion import fitted_log_likelihood, pearson_dispersion
from jaxml.glm.objective import recentred, total_weight
from jaxml.glm.result import Fit
from jaxml.least_squares import Equations, Solution, column_scales, refined, refined_gram, triangular_factor
from jaxml.linalg import matmul
from jaxml.links import Link
from jaxml.predictors.design import Design
from jaxml.rows import Rows
from jaxml.special import with_derivative_of
from jaxml.status import Status

LEAST_PIVOT = 1e-2  # above it, at variance inflations up to 100, the last Newton step leaves some 13 digits
MOST_INFLATION = 1e3  # of the variance of a coefficient: up to it, its standard error has some 13 digits by QR alone


def is_least_squares(family: Family, link: Link) -> bool:
    """Whether it is a normal family with the identity link."""
    return isinstance(family, Normal) and link is links.identity


def may_be(condition: Array, look: Any) -> bool:
    """True unless the host may look at the condition and sees that it is not so: most data need no program for what is rare."""
    return not look or isinstance(condition, jax.core.Tracer) or bool(condition)


@jax.jit
def refined_fit(fit: Fit, rows: Rows, pivot: Array) -> Fit:
    """The fit of a normal family with the identity link, refined where its columns are closer to dependent than :data:`LEAST_PIVOT`.

    A fit of less than full rank, and one that no refinement converges for, stays as it is. Derivatives are those of the fit.

    Args:
        fit: of these rows.
        rows: the data.
        pivot: of :class:`jaxml.glm.survey.Survey`.
    """
    intercept = fit.params.bias is not None
    theta = ravel_pytree(fit.params)[0]
    wanted = ~(pivot >= LEAST_PIVOT) & (fit.rank == theta.size) & (fit.status != Status.NON_FINITE)
    still, data = lax.stop_gradient((fit, rows.safe()))
    w, total = jnp.where(data.on, data.mass, 0), total_weight(fit.family, data)
    scale, by_column = _scales(data, intercept)
    f = DoubleDouble.of(data.y) if data.offset is None else two_sum(data.y, -data.offset)
    ridge = ravel_pytree(still.l2)[0] * total * jnp.square(by_column)
    equations = Equations(data.X * scale, w, f, jnp.zeros_like(theta), ridge)

    def solve(equations: Equations, w: Array, ridge: Array) -> Solution:
        return refined(equations, triangular_factor(equations.x, w, ridge, intercept), intercept)

    zero = jnp.zeros((), theta.dtype)
    nothing = Solution(theta, jnp.zeros_like(w), jnp.zeros_like(theta), zero, jnp.asarray(False))
    solved = where_needed(lax.stop_gradient(wanted), solve, nothing, equations, w, ridge)
    new = _with_solution(still, data, equations, total, solved, by_column)
    return jax.tree.map(
        lambda new, old: with_derivative_of(_itself, jnp.where(solved.ok, new, lax.stop_gradient(old)), old), new, fit
    )


def _with_solution(fit: Fit, rows: Rows, equations: Equations, total: Array, solved: Solution, scale: Array) -> Fit:
    """The fit with the numbers of the solution. To have all digits of y - eta, likelihoods are those of the residual about 0."""
    theta, s, y = solved.theta * scale, solved.residual, rows.y
    w, n = equations.w, fit.observations
    about = rows._replace(y=s), jnp.zeros_like(s)
    estimated, mass = fit.family.estimates_dispersion, jnp.sum(w)
    # What decrements are measured in, as in the engine: the standard error of the model of an intercept alone.
    unit = jnp.ones_like(mass) if fit.weight_kind == "frequency" else mass / n
    unit = w @ jnp.square(y - (w @ y) / mass) / n if estimated else unit
    length = jnp.sqrt(w @ jnp.square(Design(equations.x, fit.params.bias is not None).dense()) / mass)
    return replace(
        fit,
        params=ravel_pytree(fit.params)[1](theta),
        status=jnp.full_like(fit.status, int(Status.CONVERGED)),
        value=w @ ((s - y) * (s + y)) / (2 * total) + ravel_pytree(fit.l2)[0] @ jnp.square(theta) / 2,
        gradient_norm=jnp.max(jnp.abs(solved.gradient) / jnp.where(length > 0, length, 1), initial=0) / mass,
        decrement=solved.distance / jnp.sqrt(jnp.where(unit > 0, unit, 1)),
        dispersion=pearson_dispersion(fit.family, *about, n, fit.rank) if estimated else fit.dispersion,
        log_likelihood=None
        if fit.log_likelihood is None
        else fitted_log_likelihood(fit.family, *about, n, fit.weight_kind),
    )


@jax.jit
def refined_inference(inference: Inference, inflation: Array) -> Inference:
    """The covariance by the model of a least-squares fit of full rank, refined above an inflation of :data:`MOST_INFLATION`.

    For any R near a root of (A'W A + P)^-1 the Gram R'(A'W A + P) R is near 1, and is found in working precision from Z = A R summed in
    double-double; with L its Cholesky factor, R L'^-1 is a root to working precision.
    """
    rows, root = lax.stop_gradient((inference.rows.safe(), inference.root))
    intercept = inference.params.bias is not None
    w = jnp.where(rows.on, rows.mass, 0)
    scale, by_column = _scales(rows, intercept)
    shift = lambda column: ravel_pytree(recentred(inference.unravel(column), -lax.stop_gradient(inference.center)))[0]
    user = jax.vmap(shift, 1, 1)(root) / by_column[:, None]
    ridge = lax.stop_gradient(inference.ridge) * jnp.square(by_column)
    identity = jnp.eye(len(root), dtype=root.dtype)

    def solve(_: Any) -> tuple[Array, Array]:
        return refined_gram(rows.X * scale, w, user, intercept) + matmul(user.T * ridge, user), jnp.asarray(False)

    wanted = (inflation > MOST_INFLATION) & ~jnp.any(inference.null != 0)
    gram = lax.while_loop(lambda c: c[1], solve, (identity, lax.stop_gradient(wanted)))[0]
    near = wanted & (jnp.max(jnp.abs(gram - identity), initial=0) < 0.1)
    factor = jnp.linalg.cholesky(jnp.where(near, gram, identity))
    better = solve_triangular(factor, user.T, lower=True).T * by_column[:, None]
    covariance = inference.dispersion * matmul(better, better.T)
    covariance = with_derivative_of(_itself, lax.stop_gradient(covariance), inference.covariance)
    return replace(inference, covariance=jnp.where(near, covariance, inference.covariance))


def _scales(rows: Rows, intercept: bool) -> tuple[Array, Array]:
    """Powers of two that scale the columns of X, and those of the design."""
    scale = column_scales(jnp.where(rows.on[:, None], rows.X, 0))
    return scale, jnp.append(scale, jnp.ones((int(intercept),), scale.dtype))


def _itself(a: Array) -> Array:
    return a
