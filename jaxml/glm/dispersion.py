r"""Deviance, Pearson statistic, dispersion and log-likelihood of a fitted model, by the kind of its weights.

    dispersion (for standard errors)   sum w (y - mu)^2 / V(mu) / (n - rank)
    log-likelihood                     at the maximum-likelihood dispersion, a function of the deviance / n but for Tweedie

n is the sum of the weights where they are frequencies, else the number of rows with positive weight.

Source: McCullagh & Nelder (1989), chapters 2 and 8.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxml.families.base import Family
from jaxml.families.functions import deviance, hessian, log_prob
from jaxml.links import Link, natural_parameter
from jaxml.predictors import Linear, linear
from jaxml.rows import Rows, first_where, row_by_row
from jaxml.special import with_derivative_of


def fitted_natural(family: Family, link: Link, rows: Rows, params: Linear) -> tuple[Rows, Array]:
    """The rows made safe and eta of each."""
    z = _predicted(rows, params)
    rows = rows.safe()
    return rows, natural_parameter(family, link, z if rows.offset is None else z + rows.offset)


def _predicted(rows: Rows, params: Linear) -> Array:
    """X w + b; made safe after the product, which needs no copy of X, and differentiated as if before it: NaN times 0 is NaN."""
    if rows.weights is None:
        return linear(params, rows.X)
    safe = lambda X, on, params: linear(params, first_where(on, X))
    X, on, still = jax.lax.stop_gradient((rows.X, rows.on, params))
    return with_derivative_of(safe, first_where(on, linear(still, X)), rows.X, rows.on, params)


def law_of_rows(family: Family, weight_kind: str, phi: Array, weights: Array | None) -> Family:
    """The law of y of each row: at phi where the dispersion is estimated, and divided by precision weights, all positive, where it has
    one."""
    if type(family).with_dispersion is Family.with_dispersion:
        return family
    phi = phi if family.estimates_dispersion else family.dispersion
    return family.with_dispersion(phi if weights is None or weight_kind != "precision" else phi / weights)


def weighted_sum(weights: Array | None, values: Array) -> Array:
    """sum_i w_i v_i over the rows with positive weight."""
    return jnp.sum(values if weights is None else jnp.where(weights > 0, weights * values, 0))


def total_deviance(family: Family, rows: Rows, eta: Array, block: int | None = None) -> Array:
    """sum_i w_i d(y_i; eta_i) at dispersion 1; ``block`` as in :func:`jaxml.rows.row_by_row`."""
    return weighted_sum(rows.weights, row_by_row(_row_deviance, block, family, (eta, rows.y)))


def _row_deviance(family: Family, row: tuple[Array, Any]) -> Array:
    return deviance(family, *row)


def _row_log_prob(family: Family, row: tuple[Array, Any]) -> Array:
    return log_prob(family, *row)


def pearson(family: Family, rows: Rows, eta: Array) -> Array:
    """sum_i w_i (y_i - mu_i)^2 / (m_i V(mu_i)), V the variance at dispersion 1; scalar statistics, Categorical and Multinomial.

    Rows without trials have nothing to say.
    """
    m = family.trials(rows.y)
    if family.has_trials:
        some = m > 0
        m = jnp.where(some, m, 1)
    if family.natural_size is None:
        mean = jax.jvp(family.log_partition, (eta,), (jnp.ones_like(eta),))[1]
        residual = jnp.square((family.statistic(rows.y) - m * mean) / jnp.sqrt(m * hessian(family, eta)))
        residual = jnp.where(some, residual, 0) if family.has_trials else residual
        return weighted_sum(rows.weights, residual)
    mean = jax.vmap(jax.grad(family.log_partition))(eta)
    expected = mean * (m if isinstance(m, int) else m[:, None])
    residual = jnp.sum(jnp.square(family.statistic(rows.y) - expected) / expected, axis=-1)
    residual = jnp.where(some, residual, 0) if family.has_trials else residual
    return weighted_sum(rows.weights, residual)


def observations(rows: Rows, weight_kind: str) -> Array:
    """n for degrees of freedom."""
    if rows.weights is None:
        return jnp.asarray(rows.n, rows.X.dtype)
    counts = rows.weights if weight_kind == "frequency" else jnp.where(rows.weights > 0, 1.0, 0.0)
    return jnp.sum(counts).astype(rows.X.dtype)


def pearson_dispersion(family: Family, rows: Rows, eta: Array, n: Array, parameters: Array) -> Array:
    """Pearson statistic / (n - parameters); NaN where the model is saturated."""
    freedom = n - parameters
    return jnp.where(freedom > 0, pearson(family, rows, eta) / jnp.where(freedom > 0, freedom, 1), jnp.nan)


def fitted_log_likelihood(
    family: Family, rows: Rows, eta: Array, n: Array, weight_kind: str, block: int | None = None
) -> Array:
    """The maximised log-likelihood; see the module docstring. Precision weights divide the dispersion of their row; ``block`` as in
    :func:`jaxml.rows.row_by_row`."""
    if family.estimates_dispersion:
        phi = maximum_likelihood_dispersion(family, rows, eta, n, weight_kind, block)
        return log_likelihood_at(family, rows, eta, phi, weight_kind, block)
    if rows.weights is None or weight_kind != "precision" or isinstance(family.dispersion, int):
        return weighted_sum(rows.weights, row_by_row(_row_log_prob, block, family, (eta, rows.y)))
    return _total_by_row(family, rows, eta, family.dispersion)


def maximum_likelihood_dispersion(
    family: Family, rows: Rows, eta: Array, n: Array, weight_kind: str, block: int | None = None
) -> Array:
    """The phi that maximises the log-likelihood at these eta; a derivative only where it depends on the deviance alone."""
    phi = family.maximum_likelihood_dispersion(total_deviance(family, rows, eta, block) / n)
    if family.dispersion_by_deviance and (rows.weights is None or weight_kind != "precision"):
        return phi
    return _by_search(family, rows, eta, n, phi, weight_kind)


def log_likelihood_at(
    family: Family, rows: Rows, eta: Array, phi: Array, weight_kind: str, block: int | None = None
) -> Array:
    """The log-likelihood at dispersion phi; precision weights divide that of their row."""
    if rows.weights is not None and weight_kind == "precision":
        return _total_by_row(family, rows, eta, phi)
    return weighted_sum(rows.weights, row_by_row(_row_log_prob, block, family.with_dispersion(phi), (eta, rows.y)))


def _total_by_row(family: Family, rows: Rows, eta: Array, phi: Array) -> Array:
    """sum_i log p(y_i; phi / w_i) over the rows with positive weight."""
    values = log_prob(family.with_dispersion(phi / jnp.where(rows.on, rows.weights, 1)), eta, rows.y)
    return jnp.sum(jnp.where(rows.on, values, 0))


def _by_search(family: Family, rows: Rows, eta: Array, n: Array, phi: Array, weight_kind: str) -> Array:
    """The phi that maximises the likelihood, by the secant method on its slope in log phi from nearby; without derivatives, which the
    maximised likelihood does not need. The first step takes the curvature for that of the saddle-point approximation, n/2."""
    family, rows, eta, n, phi = jax.lax.stop_gradient((family, rows, eta, n, phi))
    total = lambda u: log_likelihood_at(family, rows, eta, jnp.exp(u), weight_kind)
    one = jnp.ones_like(phi)

    def step(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        u, last, move, trips = carry
        slope = jax.jvp(total, (u,), (one,))[1]
        curvature = jnp.where(trips == 0, n / 2, (last - slope) / move)
        # Away from the maximum, where the likelihood is not concave in log phi, a step up the slope.
        move = jnp.clip(jnp.where(curvature > 0, slope / curvature, jnp.sign(slope)), -1, 1)
        move = jnp.where(jnp.isfinite(move), move, 0)
        return u + move, slope, move, trips + 1

    near = (
        30 * float(jnp.finfo(phi.dtype).eps) ** 0.5
    )  # what the last step leaves is smaller by the length of the one before
    more = lambda carry: (jnp.abs(carry[2]) > near) & (carry[3] < 40)
    return jnp.exp(jax.lax.while_loop(more, step, (jnp.log(phi), one, one, jnp.zeros((), jnp.int32)))[0])
