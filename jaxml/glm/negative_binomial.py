r"""Negative binomial regression with its size estimated: coefficients and r by maximum likelihood together.

    y | x ~ NegativeBinomial(r, mu),   Var = mu + alpha mu^2,   alpha = 1 / r,   g(mu) = X w + b + offset

alpha = 0 is Poisson regression, where every such fit starts: its derivative sum_i w_i [(y_i - mu_i)^2 - y_i] / 2 in alpha says whether
the likelihood rises into the family. If it does not, the counts are not over-dispersed, and the Poisson fit is the answer, on the
boundary. Else Newton's method goes on over (w, b, log alpha), with the log-likelihood written so that it and its derivatives keep
their digits as alpha tends to 0. Errors come from the observed information of all parameters together.

Source: McCullagh & Nelder (1989), section 6.2; Lawless (1987), "Negative binomial and mixed Poisson regression"; Self & Liang (1987).
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxml import families, links
from jaxml.checks import read_rows
from jaxml.compiling import program
from jaxml.glm.covariance import user_null
from jaxml.glm.dispersion import weighted_sum
from jaxml.glm.fit import fit_rows
from jaxml.glm.objective import flat_directions, l2_penalty, linear_predictors, penalty_table, recentred, total_weight
from jaxml.glm.rank import Rank, design_rank, least_pivot, minimum_norm
from jaxml.glm.result import Fit
from jaxml.glm.tails import chi_square_tail
from jaxml.likelihood import row_loss
from jaxml.linalg import matmul
from jaxml.links import Link
from jaxml.loggamma import stirling_error
from jaxml.optimize import Newton, driver
from jaxml.optimize.implicit import attach
from jaxml.optimize.minimize import tolerance
from jaxml.optimize.objective import Evaluation, Objective
from jaxml.predictors import Linear
from jaxml.records import record, static_field
from jaxml.rows import Rows
from jaxml.status import Status, warn_unless_converged

_NONE = -60.0  # log alpha of no over-dispersion to speak of


@record
class NegativeBinomialFit:
    """A negative binomial regression with its size; what a :class:`jaxml.glm.Fit` answers is asked of ``fit``, its family known.

    Attributes:
        fit: the regression at the estimated r. On the boundary the family has so large an r that it is Poisson to rounding.
        r: () the size; inf where the counts are not over-dispersed.
        alpha: () 1 / r.
        covariance: (p + 1, p + 1) of the coefficients (weight, then bias) and alpha, the inverse of their joint observed information.
            On the boundary that of the Poisson coefficients, NaN for alpha.
        poisson_log_likelihood: () that of Poisson regression.
    """

    fit: Fit
    r: Array
    alpha: Array
    covariance: Array
    poisson_log_likelihood: Array

    @property
    def params(self) -> Linear:
        """Linear, the coefficients."""
        return self.fit.params

    @property
    def status(self) -> Array:
        """A code of :class:`jaxml.Status`: BOUNDARY where r is infinite."""
        return self.fit.status

    @property
    def log_likelihood(self) -> Array | None:
        """The maximised log-likelihood."""
        return self.fit.log_likelihood

    @property
    def standard_errors(self) -> Linear:
        """Linear, of the coefficients; NaN where they are not estimable."""
        errors = jnp.sqrt(jnp.diagonal(self.covariance, axis1=-2, axis2=-1))
        d = self.params.weight.shape[-1]
        return Linear(errors[..., :d], None if self.params.bias is None else errors[..., d])

    @property
    def alpha_error(self) -> Array:
        """The standard error of alpha."""
        return jnp.sqrt(self.covariance[..., -1, -1])

    @property
    def r_error(self) -> Array:
        """The standard error of r, alpha_error r^2."""
        return self.alpha_error * jnp.square(self.r)

    @property
    def statistic(self) -> Array:
        """2 (l - l_Poisson), of the test against Poisson regression."""
        return jnp.maximum(2 * (self.fit.log_likelihood - self.poisson_log_likelihood), 0)

    @property
    def p_value(self) -> Array:
        """Of that test: Poisson is on the boundary of the family, so the statistic is 0 with probability 1/2, else chi-square(1)."""
        return jnp.where(self.statistic > 0, chi_square_tail(self.statistic, 1) / 2, 1)

    @property
    def parameters(self) -> Array:
        """The coefficients that were estimated, and r."""
        return self.fit.rank + 1

    @property
    def aic(self) -> Array:
        """Akaike's criterion, r counted as a parameter."""
        return 2 * self.parameters - 2 * self.fit.log_likelihood

    @property
    def bic(self) -> Array:
        """Schwarz's criterion, r counted as a parameter."""
        return self.parameters * jnp.log(self.fit.observations) - 2 * self.fit.log_likelihood

    @property
    def notes(self) -> list[str]:
        """What ``jaxml.report`` adds to the status of a single fit."""
        if not jnp.isinf(self.r):
            return []
        return [
            "r is infinite: the counts are not over-dispersed, and the coefficients are those of Poisson regression."
        ]


def negative_binomial_regression(
    X: Any,
    y: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    link: Any = "log",
    l2: Any = 0.0,
    intercept: bool = True,
    check: Any = "support",
) -> NegativeBinomialFit:
    """Regression of over-dispersed counts, the size r of the negative binomial estimated with the coefficients.

    For a known r fit ``families.NegativeBinomial(r)``. The likelihood is maximised over alpha = 1/r > 0 if it rises from alpha = 0.

    Args:
        X: (n, d), without a column of ones.
        y: (n,) counts 0, 1, 2, ...
        weights: (n,), how often each row counts.
        offset: (n,), added to the linear predictor: the logarithm of the exposure.
        link: of the mean, a name ('log', 'sqrt', 'identity', ...) or a function mu = f(z); not 'canonical', whose mean depends on r.
        l2: penalty on the weight, as in :func:`jaxml.glm.fit`.
        intercept: whether there is a bias.
        check: 'support': refuse y outside the support; False: look at no value and warn of nothing.

    Returns:
        :class:`NegativeBinomialFit`; params and r are differentiable in X, y, weights, offset and l2.

    Raises:
        ValueError, TypeError, OverflowError: bad input, naming argument, value and place (values only outside jit).

    Warns:
        ConvergenceWarning: the fit did not converge, or r is infinite (outside jit, unless check=False).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.arange(8.0)[:, None], jnp.array([0, 3, 1, 9, 2, 14, 3, 30])
        >>> model = glm.negative_binomial_regression(X, y)
        >>> print(f"{model.params.weight[0]:.3f} r = {model.r:.2f} +- {model.r_error:.2f} p = {model.p_value:.4f}")
        0.436 r = 2.08 +- 1.51 p = 0.0002

    Source: Lawless (1987), "Negative binomial and mixed Poisson regression"; Venables & Ripley (2002), section 7.4.
    """
    if check not in ("support", False):
        raise ValueError(f"check={check!r} is not known here; use 'support' or False")
    link = links.resolve(families.Poisson(), link)
    if link in (links.canonical, links.unconstrained):
        raise ValueError(f"link={link.name!r} has a mean that depends on r; use 'log' or another link of the mean")
    rows = read_rows(families.Poisson(), X, y, weights, offset)
    if not intercept and not rows.X.shape[1]:
        raise ValueError("X has no columns and intercept=False leaves no parameter to fit")
    largest = jnp.max(jnp.where(rows.on, rows.y, 0))
    limit = families.NegativeBinomial(jnp.maximum(largest, 1) / jnp.finfo(rows.X.dtype).eps)
    poisson = fit_rows(limit, rows, l2=l2, intercept=intercept, link=link, solver=None, check=check)
    known = not isinstance(poisson.status, jax.core.Tracer)
    columns = rows.X.shape[1] + intercept
    found = _search(poisson, rows, link=link, full=known and int(poisson.rank) == columns)
    model = _estimate(poisson, rows, found, link=link)
    if check and known and int(poisson.status) == Status.CONVERGED:  # else that has been said
        warn_unless_converged(model)
    return model


# -- the joint likelihood --------------------------------------------------------------------------------------------
class _Joint(NamedTuple):
    """What is estimated: coefficients of the centred columns, and log alpha."""

    coefficients: Linear
    log_alpha: Array


@record
class _Objective(Objective):
    """Minus the log-likelihood, up to what y alone says, with the penalty; see :class:`jaxml.optimize.Objective`.

    Where ``fixed`` log alpha does not matter: its curvature is 1.
    """

    rows: Rows
    center: Array
    l2: Linear
    flat: Any
    fixed: Array
    link: Link = static_field()

    def evaluate(self, params: _Joint, curvature: Any, stage: Any) -> Evaluation:
        """Value, gradient, joint observed information, and the expected one of the coefficients beside squared scores of log alpha."""
        rows, theta, t = self.rows.safe(), params.coefficients, params.log_alpha
        design, z = linear_predictors(rows, self.center, theta)
        loss = lambda z, t: -log_likelihood_of_row(self.link.coordinate("positive", z), jnp.exp(t), rows.y)
        select = lambda v: v if rows.weights is None else jnp.where(rows.on, rows.weights * v, 0)
        t = jnp.broadcast_to(t, z.shape)
        along = lambda f, x: jax.jvp(f, (x,), (jnp.ones_like(x),))
        by_z = lambda z, t: along(lambda z: loss(z, t), z)[1]
        by_t = lambda t: along(lambda t: loss(z, t), t)
        (value, score), tt = along(by_t, t)
        slope, zz = along(lambda z: by_z(z, t), z)
        zt, tt = select(along(lambda t: by_z(z, t), t)[1]), select(tt[1])
        u, turn = jax.jvp(lambda z: self.link.coordinate("positive", z), (z,), (jnp.ones_like(z),))
        expected = select(jnp.square(turn) * jnp.exp(u) / (1 + jnp.exp(t + u)))
        total = total_weight(families.Poisson(), self.rows)
        ridge = jnp.diag(total * jnp.concatenate([jnp.ravel(p) for p in jax.tree.leaves(self.l2)]))
        gradient = jax.tree.map(lambda g, p, a: g + total * p * a, design.transposed(select(slope)), self.l2, theta)

        def whole(gram: Array, side: Any, corner: Array) -> Array:
            gram = gram + ridge
            gram = gram if self.flat is None else gram + self.flat * (jnp.trace(gram) / len(gram))
            side = jnp.where(self.fixed, 0, ravel_pytree(side)[0])[:, None]
            return jnp.block([[gram, side], [side.T, jnp.where(self.fixed, 1, corner)[None, None]]])

        none = jax.tree.map(jnp.zeros_like, theta)
        return Evaluation(
            jnp.sum(select(value)) + l2_penalty(self.l2, total, theta),
            _Joint(gradient, jnp.where(self.fixed, 0, jnp.sum(select(score)))),
            whole(design.gram(select(zz)), design.transposed(zt), jnp.sum(tt)),
            whole(design.gram(expected), none, jnp.sum(select(jnp.square(score)))),
        )


def log_likelihood_of_row(u: Array, alpha: Array, y: Array) -> Array:
    """log p(y) + log y! of the negative binomial with log mean u, smooth in alpha down to the Poisson limit at 0.

    With r = 1/alpha and Stirling's error delta, log Gamma(y + r) - log Gamma(r) - y log r is
    y [(1 + v) log(1 + v)/v - 1] - log(1 + v)/2 + delta(y + r) - delta(r), v = alpha y: nothing cancels however large r is.
    """
    mu = jnp.exp(u)
    v, m = alpha * y, alpha * mu
    base = y * _entropy_slope(v) - jnp.log1p(v) / 2 + _stirling_error(alpha / (1 + v)) - _stirling_error(alpha)
    return y * u - y * jnp.log1p(m) - mu * (1 - _log_gap_ratio(m)) + base


def _stirling_error(inverse: Array) -> Array:
    """delta(1 / inverse), by its series where that is small: derivatives through 1 / inverse would lose their digits."""
    small = inverse < 1 / 16
    a = jnp.where(small, inverse, 0)
    t = a * a
    series = a * (1 / 12 - t * (1 / 360 - t * (1 / 1260 - t * (1 / 1680 - t * (1 / 1188 - t * (691 / 360360))))))
    return jnp.where(small, series, stirling_error(1 / jnp.where(small, 1, inverse)))


def _log_gap_ratio(v: Array) -> Array:
    """1 - log(1 + v)/v, v >= 0."""
    small = v < 0.1
    return jnp.where(small, v * _series(jnp.where(small, v, 0)), 1 - jnp.log1p(v) / jnp.where(small, 1, v))


def _entropy_slope(v: Array) -> Array:
    """(1 + v) log(1 + v)/v - 1, v >= 0."""
    small, h = v < 0.1, _series(jnp.where(v < 0.1, v, 0))
    return jnp.where(small, v * (1 - h * (1 + v)), (1 + v) * jnp.log1p(v) / jnp.where(small, 1, v) - 1)


def _series(v: Array) -> Array:
    """(v - log(1 + v)) / v^2 = 1/2 - v/3 + v^2/4 - ..., to 1e-17 below 0.1."""
    total = jnp.zeros_like(v)
    for k in range(18, 1, -1):
        total = 1 / k - v * total
    return total


# -- the estimate ----------------------------------------------------------------------------------------------------
class _Found(NamedTuple):
    """What the search ended with, in a program of its own: with what follows from it the two are large to compile."""

    joint: _Joint
    result: driver.Result
    point: driver.Point
    center: Array
    flat: Any
    rank: Rank
    fixed: Array  # no over-dispersion: the Poisson model is the answer


@program(static_argnames=("link", "full"))
def _search(poisson: Any, rows: Rows, *, link: Link, full: bool) -> _Found:
    intercept = poisson.params.bias is not None
    still, l2 = jax.lax.stop_gradient((rows, poisson.l2))
    free = ~jnp.any(l2.bias > 0) if intercept else jnp.asarray(False)
    share = jnp.where(still.on, still.mass, 0) / jnp.sum(jnp.where(still.on, still.mass, 0))
    center = jnp.where(free, matmul(share, jnp.where(still.on[:, None], still.X, 0)), 0)
    surely = None if full else least_pivot(still, center, intercept).proves
    rank = design_rank(still, center, penalty_table(families.Poisson(), l2), intercept, surely)
    flat = flat_directions(rank.null, l2, families.Poisson())

    start = jax.lax.stop_gradient(poisson.params)
    u = _log_mean(start, still, link)
    safe = still.safe()
    rise = weighted_sum(still.weights, jnp.square(safe.y - jnp.exp(u)) - safe.y)
    fixed = ~(rise > 0)
    moment = rise / weighted_sum(still.weights, jnp.exp(2 * u))
    t = jnp.where(fixed, _NONE, jnp.log(jnp.where(fixed, 1, moment)))
    objective = _Objective(still, center, l2, flat, fixed, link)
    first = _Joint(recentred(start, center), t.astype(center.dtype))
    result, point = driver.minimize(objective, first, Newton(reuse=False), tol=tolerance(None, center.dtype))
    joint = result.params._replace(coefficients=minimum_norm(rank, result.params.coefficients))
    return _Found(joint, result, point, center, flat, rank, fixed)


@program(static_argnames=("link",))
def _estimate(poisson: Any, rows: Rows, found: _Found, *, link: Link) -> NegativeBinomialFit:
    joint, result, point, center, flat, rank, fixed = found
    still = jax.lax.stop_gradient(rows)
    mean = lambda params: _log_mean(params, rows, link)
    x, unravel = ravel_pytree(joint)
    data = (rows, poisson.l2, center, flat, fixed.astype(center.dtype))
    rebuild = lambda data: _Objective(data[0], data[2], data[1], data[3], data[4] > 0, link)
    slope = lambda x, data: ravel_pytree(rebuild(data).evaluate(unravel(x), True, 0).gradient)[0]
    hessian = lambda x, data: rebuild(data).evaluate(unravel(x), True, 0).hessian
    joint = unravel(attach(slope, hessian, jax.lax.stop_gradient(x), data))

    either = lambda a, b: jax.tree.map(lambda a, b: jnp.where(fixed, a, b), a, b)
    params = either(poisson.params, recentred(joint.coefficients, -center))
    alpha = jnp.where(fixed, 0, jnp.exp(joint.log_alpha))
    family = families.NegativeBinomial(jnp.where(fixed, poisson.family.r, jnp.exp(-joint.log_alpha)))
    ended = jnp.where(fixed, int(Status.BOUNDARY), result.status)
    status = jnp.where(poisson.status == int(Status.CONVERGED), ended, poisson.status).astype(jnp.int32)
    rows = rows.safe()
    u, l0 = (
        mean(params),
        weighted_sum(rows.weights, families.log_prob(families.Poisson(), mean(poisson.params), rows.y)),
    )
    l1 = weighted_sum(rows.weights, families.log_prob(family, family.natural_from_coordinate(u), rows.y))
    fit = replace(
        poisson,
        params=params,
        status=status,
        steps=poisson.steps + result.steps,
        evaluations=poisson.evaluations + result.evaluations,
        curvatures=poisson.curvatures + result.curvatures,
        value=_mean_objective(family, link, rows, params, poisson.l2),
        gradient_norm=jnp.where(fixed, poisson.gradient_norm, jnp.max(jnp.abs(point.gradient)) / jnp.sum(rows.mass)),
        decrement=jnp.where(fixed, poisson.decrement, result.decrement),
        log_likelihood=jnp.where(fixed, l0, l1),
        family=family,
        shapes=1,
    )
    information = hessian(ravel_pytree(joint)[0], data)
    gone = None if rank.null is None else jnp.any(user_null(params, rank.null, still, center) != 0, axis=1)
    covariance = _covariance(information, flat, gone, joint, center, alpha, fixed)
    return NegativeBinomialFit(fit, 1 / alpha, alpha, covariance, l0)


def _log_mean(params: Linear, rows: Rows, link: Link) -> Array:
    rows = rows.safe()
    return link.coordinate("positive", linear_predictors(rows, jnp.zeros_like(params.weight), params)[1])


def _mean_objective(family: Any, link: Link, rows: Rows, params: Linear, l2: Linear) -> Array:
    z = linear_predictors(rows, jnp.zeros_like(params.weight), params)[1]
    total = weighted_sum(rows.weights, row_loss(family, link, z, rows.y))
    return total / jnp.sum(rows.mass) + l2_penalty(l2, 1, params)


def _covariance(H: Array, flat: Any, gone: Any, joint: _Joint, center: Array, alpha: Array, fixed: Array) -> Array:
    """Of the user's coefficients and alpha, from the information about those of centred columns and log alpha; NaN where ``gone``."""
    unit = jax.lax.rsqrt(jnp.diagonal(H))
    V = unit[:, None] * jnp.linalg.inv(H * unit[:, None] * unit) * unit
    x, unravel = ravel_pytree(joint)
    move = lambda x: ravel_pytree(unravel(x)._replace(coefficients=recentred(unravel(x).coefficients, -center)))[0]
    back = jax.jacfwd(move)(x)
    unknown = jnp.zeros(len(x), bool).at[-1].set(fixed)
    if flat is not None:
        V = V.at[:-1].add(-matmul(flat, V[:-1]))
        unknown = unknown.at[:-1].set(gone)
    per_alpha = jnp.ones_like(x).at[-1].set(alpha)
    V = matmul(matmul(back, V), back.T) * per_alpha * per_alpha[:, None]
    return jnp.where(unknown[:, None] | unknown, jnp.nan, V)
