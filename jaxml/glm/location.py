r"""Whether the number format can hold the slopes and the bias of columns whose means are large beside their spreads.

A fit is made for columns centred at their means c and loses nothing there. The bias that it returns is b = b_c - c'w, and what
rounding takes from it and from the product moves the linear predictors of all rows alike, in standard errors by about

    eps sum_j |c_j w_j| sqrt(I / phi),     I the information of the rows about the bias.

A column whose mean is r spreads costs eps r t, t the t-ratio of its slope: how large a ratio float32 can hold depends on the rows.
All is computed on the host, from what the survey before the fit found.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxml.compiling import program
from jaxml.families.base import Family
from jaxml.families.functions import hessian, natural
from jaxml.glm.result import Fit
from jaxml.glm.start import intercept_only
from jaxml.glm.survey import Survey
from jaxml.likelihood import row_information
from jaxml.links import Link, natural_parameter
from jaxml.rows import Rows

BUDGET = 1e-3  # standard errors
_RESOLVED = 1e3  # residuals of fewer eps of y are themselves rounding


def location(fit: Fit, rows: Rows, facts: Survey, asked: float) -> str:
    """A sentence that names the worst column, its ratio and the remedy; '' where the cost is within the budget, or the decrement
    within the tolerance that was ``asked`` for."""
    return _of_columns(fit, rows, facts) or (
        unresolved(str(rows.X.dtype), float(fit.decrement)) if float(fit.decrement) > max(10 * BUDGET, asked) else ""
    )


def in_doubt(fit: Fit, facts: Survey, asked: Any) -> Array:
    """Whether there may be something for :func:`location` to say: not where the cost is far below the budget, as with float64 or few
    rows."""
    doubt = fit.decrement > jnp.maximum(10 * BUDGET, asked)
    if fit.params.bias is None or not len(facts.mean):
        return doubt
    lost = jnp.finfo(facts.mean.dtype).eps * jnp.max(jnp.abs(facts.mean) @ jnp.abs(fit.params.weight))
    phi = 1 if fit.dispersion is None else jnp.where(jnp.isfinite(fit.dispersion), fit.dispersion, 1)
    size = jnp.max(jnp.abs(facts.statistic), initial=1) * facts.total / phi
    return doubt | ~(10 * lost * jnp.sqrt(size) <= BUDGET)


def _of_columns(fit: Fit, rows: Rows, facts: Survey) -> str:
    d, phi = rows.X.shape[1], 1.0 if fit.dispersion is None else float(fit.dispersion)
    if not np.isfinite(phi) and float(fit.observations) > int(fit.rank):
        phi = 1.0  # some predictor is outside the domain, and that may be by this rounding
    if fit.params.bias is None or not d or not (np.isfinite(phi) and phi > 0):
        return ""
    eps, name = float(jnp.finfo(rows.X.dtype).eps), str(rows.X.dtype)
    parts = np.abs(np.asarray(facts.mean, float)[:, None] * np.asarray(fit.params.weight, float).reshape(d, -1))
    lost = lambda: eps * np.sum(parts, axis=0) / np.sqrt(phi)
    root = np.sqrt(np.asarray(_information(fit.family, fit.link, facts), float))
    if not np.max(lost() * root) > BUDGET or not _resolved(fit, rows, facts, phi, eps):
        return ""
    ratio = {}
    for j in np.flatnonzero(np.max(parts, axis=1) > 0.1 * np.max(parts)):
        ratio[j] = _ratio(rows, int(j))
        parts[j] *= ratio[j] < np.inf  # a constant column is aliased, and has no slope of its own
    cost = float(np.max(lost() * root))
    if not cost > BUDGET:
        return ""
    j = max(ratio, key=lambda j: np.max(parts[j]))
    if ratio[j] < 1:
        return unresolved(name, cost)
    return (
        f"The mean of column {j} of X is {ratio[j]:.3g} times its spread, and its slope times that mean has to cancel against the"
        f" bias: in {name} the rounding of the coefficients may move the fit by {cost:.2g} standard errors. Subtract a constant near"
        f" its mean from the column{', or use float64' if name == 'float32' else ''}."
    )


def unresolved(name: str, cost: float) -> str:
    """The sentence about standard errors that are themselves near the rounding of the coefficients."""
    return (
        f"In {name} the rounding of the coefficients may move the fit by {cost:.2g} standard errors, which are small beside them"
        f"{'; use float64' if name == 'float32' else ''}."
    )


def _ratio(rows: Rows, j: int) -> float:
    """|mean| / spread of a column over the rows that count, in float64; inf for a constant."""
    on = np.asarray(rows.on)
    x, w = np.asarray(rows.X[:, j], float)[on], np.asarray(rows.mass, float)[on]
    if np.ptp(x) == 0:
        return np.inf
    mean = np.average(x, weights=w)
    return float(abs(mean) / np.sqrt(np.average((x - mean) ** 2, weights=w)))


def _resolved(fit: Fit, rows: Rows, facts: Survey, phi: float, eps: float) -> bool:
    """Whether an estimated dispersion is more than the rounding of y, beside which no error is to be measured."""
    if not fit.family.estimates_dispersion or fit.family.natural_size is not None:
        return True
    y = np.asarray(rows.y, float)[np.asarray(rows.on)]
    variance = phi * float(hessian(fit.family, natural(fit.family, facts.statistic)))
    return bool(variance > (_RESOLVED * eps) ** 2 * np.mean(np.square(y)))


@program(static_argnames="link")
def _information(family: Family, link: Link, facts: Survey) -> Array:
    """I at dispersion 1 in the model without columns, () or (k,)."""
    z = intercept_only(family, link, facts)
    if family.natural_size is None:
        return facts.total * row_information(family, link, z)
    eta = lambda z: natural_parameter(family, link, z)
    J = jax.jacfwd(eta)(z)
    return facts.total * jnp.einsum("ai,ab,bi->i", J, hessian(family, eta(z)), J, precision="highest")
