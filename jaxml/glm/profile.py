r"""Profile-likelihood intervals: the values t of a coefficient a'theta at which the likelihood, maximised over all else, is not yet
lower than a test at that level allows.

    { t : 2 (max l - max_{a'theta = t} l) / phi <= z^2 }

z^2 is the quantile of chi-square(1), or of F(1, n - rank) where phi is estimated. Unlike Wald's they do not depend on how a coefficient
is written, and they stay right where the likelihood is no parabola.

The search runs in coordinates in which it would be one with curvature I at the estimate, theta = estimate + R u with R R' = I^-1: there
the constraint is v'u = tau for a unit vector v, whatever the units of the columns. For each tau Newton's method moves u across v; the
root of the likelihood ratio is nearly linear in tau, and its crossing of z is bracketed and found by false position.

Source: Venzon & Moolgavkar (1988), Applied Statistics 37; Heinze & Schemper (2002), Statistics in Medicine 21, for Firth's penalty.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.compiling import program
from jaxml.glm import dispersion
from jaxml.glm.covariance import Inference, determined, fitted_objective, of_inference, to_user
from jaxml.glm.inference import read_level
from jaxml.glm.jeffreys import JeffreysObjective
from jaxml.glm.objective import GLMObjective, linear_predictors, recentred
from jaxml.glm.separation import limits_of
from jaxml.glm.tails import two_sided_quantile
from jaxml.likelihood import row_loss
from jaxml.linalg import matmul
from jaxml.optimize import Newton, driver
from jaxml.optimize.objective import Evaluation, Objective
from jaxml.predictors import Linear
from jaxml.records import record
from jaxml.rows import block_rows
from jaxml.status import Status

_EXPAND = 4.0  # how far the search goes on at most, in one step, where the bound is not yet passed
_FARTHEST = 1e7  # in units of Wald's interval: what does not reach the bound by then has no end
_MOST_TRIPS = 200
MOST_ROWS = 20_000  # up to which what is infinite of a separated fit is decided by linear programming


@of_inference
def profile_intervals(inference: Inference, combinations: Any = None, *, level: Any = 0.95) -> tuple[Any, Any]:
    """Profile-likelihood intervals of coefficients, or of linear combinations of them.

    Args:
        inference: from :func:`jaxml.glm.infer`, of kind 'model'; or of :func:`jaxml.glm.contrast`.
        combinations: (m, p) or (p,) rows over the coefficients in the order of the covariance (weight by rows, then the bias); None:
            each coefficient, which takes some twenty Newton steps for each.
        level: () the share of intervals that hold the coefficient, between 0 and 1.

    Returns:
        Lower and upper ends, each a Linear, or (m,) or () for combinations. An end that is not reached, as with separated data, is
        inf or -inf; one at which the domain of the link ends is that point. NaN where the design does not determine the coefficient,
        for a saturated model, and where the search fails. For Firth's penalty the profile is that of the penalised likelihood, which
        for links that are not canonical may have several maxima: then of the one that is followed from the estimate.

    Raises:
        ValueError: a robust covariance, l2 > 0, sampling weights, a fit that neither converged nor is separated, or shapes that do not
            match (values only outside jit, where such a fit gives NaN).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> low, high = glm.profile_intervals(glm.infer(glm.fit(families.Poisson(), X, y), X, y))
        >>> print(f"{low.weight[0]:.3f} to {high.weight[0]:.3f}")
        0.239 to 1.256

    Source: Venzon & Moolgavkar (1988).
    """
    fit, V = inference.fit, inference.covariance
    if inference.kind != "model":
        raise ValueError(
            f"a profile is that of the likelihood, not of covariance={inference.kind!r}; infer with 'model'"
        )
    if fit.weight_kind == "sampling":
        raise ValueError("with sampling weights there is no likelihood to profile; use Wald's intervals")
    if not isinstance(inference.penalized, jax.core.Tracer) and bool(inference.penalized):
        raise ValueError("the profile of a fit with l2 > 0 is no interval of confidence; use Wald's, of the posterior")
    ended = (Status.CONVERGED, Status.SEPARATED)
    if not isinstance(fit.status, jax.core.Tracer) and int(fit.status) not in ended:
        raise ValueError(f"the fit ended {Status(int(fit.status)).name.lower().replace('_', ' ')}, not at its maximum")
    p = len(V)
    L = jnp.eye(p, dtype=V.dtype) if combinations is None else jnp.asarray(combinations, V.dtype)
    if L.ndim not in (1, 2) or L.shape[-1] != p:
        raise ValueError(f"combinations has shape {np.shape(combinations)}, expected (m, {p}) or ({p},)")
    settled = not isinstance(fit.status, jax.core.Tracer) and int(fit.status) == Status.CONVERGED
    ends = _ends(inference, jnp.atleast_2d(L), read_level(level, V.dtype), settled=settled)
    if not settled and not isinstance(fit.status, jax.core.Tracer) and inference.rows.n <= MOST_ROWS:
        # What is infinite is decided exactly where it can be.
        limits = limits_in(inference, np.atleast_2d(np.asarray(L, float)))
        low, high = ((limits == inf) | np.isnan(limits) for inf in (-np.inf, np.inf))
        ends = jnp.where(low, -jnp.inf, ends[0]), jnp.where(high, jnp.inf, ends[1])
    if combinations is None:
        return inference.unravel(ends[0]), inference.unravel(ends[1])
    return (ends[0], ends[1]) if L.ndim == 2 else (ends[0][0], ends[1][0])


@record
class _Across(Objective):
    """The objective on the plane v'u = tau of the coordinates u, as a function of all u: its part along v makes no difference.

    Attributes:
        objective: of the params.
        reference: Linear, the estimate.
        root: (p, p) R.
        idle: (p, p) projector on the u that move nothing.
        normal: (p,) v.
        tau: ().
    """

    objective: Any
    reference: Linear
    root: Array
    idle: Array
    normal: Array
    tau: Array

    def params(self, u: Array) -> Linear:
        theta, unravel = ravel_pytree(self.reference)
        return unravel(theta + self.root @ (self._in_plane(u) + self.tau * self.normal))

    def evaluate(self, u: Array, curvature: Any, stage: Any) -> Evaluation:
        del curvature
        ev = self.objective.evaluate(self.params(u), True, stage)
        gradient = self._in_plane(self.root.T @ ravel_pytree(ev.gradient)[0])
        scoring = None if ev.scoring is None else self._turned(ev.scoring)
        return Evaluation(ev.value, gradient, self._turned(ev.hessian), scoring)

    def _in_plane(self, u: Array) -> Array:
        return u - self.normal * (self.normal @ u)

    def _turned(self, matrix: Array) -> Array:
        inner = matmul(matmul(self.root.T, matrix), self.root) + self.idle
        across = jax.vmap(self._in_plane)(jax.vmap(self._in_plane)(inner).T)
        return across + self.normal[:, None] * self.normal


class _Bracket(NamedTuple):
    """Where the signed root passes z: between low and high, multiples of Wald's half-interval; roots in units of z."""

    low: Array
    high: Array  # inf: not passed yet
    at_low: Array  # root - 1
    at_high: Array  # inf where the likelihood is not defined, or not known
    failed: Array  # whether it is not known
    side: Array  # -1, 1: which end moved last
    wall: Array  # the low end when the search last began again beyond a point without a likelihood
    tau: Array
    u: Array
    trips: Array
    done: Array


@program(static_argnames="settled")
def _ends(inference: Inference, L: Array, level: Array, *, settled: bool) -> tuple[Array, Array]:
    """The ends; unless the fit is ``settled`` the search first goes on to where the likelihood is as high as it gets to rounding."""
    fit, center, root = inference.fit, inference.center, inference.root
    plain, objective = _objectives(inference)
    tol = _tolerance(inference)
    reference = recentred(fit.params, center)
    ev = plain.evaluate(reference, True, 0)
    expected = inference.information == "expected" and ev.scoring is not None
    seen = matmul(matmul(root.T, ev.scoring if expected else ev.hessian), root)  # a projector, but for rounding
    values, vectors = jnp.linalg.eigh((seen + seen.T) / 2)
    unseen = jnp.where(values < 0.5, vectors, 0)
    idle = matmul(unseen, unseen.T)

    z, phi = two_sided_quantile(level, inference.freedom), inference.dispersion
    turn = (
        to_user(fit.params, center) if inference.turn is None else matmul(inference.turn, to_user(fit.params, center))
    )
    directions = matmul(matmul(L, turn), root)
    if not settled:
        reference = driver.minimize(objective, reference, Newton(reuse=False), tol=tol)[0].params
    estimate = matmul(L, matmul(turn, ravel_pytree(reference)[0]))
    fine = (phi > 0) & jnp.isfinite(z) & ~inference.penalized
    fine &= (fit.status == int(Status.CONVERGED)) | (fit.status == int(Status.SEPARATED))

    def end(direction: Array, sign: Array) -> Array:
        """a'theta at one end, less its estimate."""
        length = jnp.linalg.norm(direction)
        v = direction / jnp.where(length > 0, length, 1)
        across = _Across(objective, reference, root, idle, v, jnp.zeros_like(length))
        unit = sign * z * jnp.sqrt(phi)

        def root_at(tau: Array, u: Array) -> tuple[Array, Array, Array]:
            plane = replace(across, tau=tau * unit)
            result, _ = driver.minimize(plane, u, Newton(reuse=False), tol=tol)
            rise = _rise(objective, plane.params(result.params), reference)
            height = jnp.sqrt(jnp.maximum(2 * rise / phi, 0)) / z - 1
            # What a search that failed reached is only a bound from above.
            ended = (result.status == int(Status.CONVERGED)) | (result.status == int(Status.BOUNDARY))
            failed = jnp.isfinite(rise) & ~ended & (height > 0)
            return jnp.where(jnp.isfinite(rise) & ~failed, height, jnp.inf), result.params, failed

        return jnp.where(length > 0, unit * length * _crossing(root_at, len(v), v.dtype), 0)

    both = lambda direction: tuple(lax.map(lambda sign: end(direction, sign), jnp.array([-1.0, 1.0], root.dtype)))
    known = fine & determined(L, inference.null)
    low, high = lax.map(both, jnp.where(known[:, None], directions, 0))
    return tuple(jnp.where(known, estimate + a, jnp.nan) for a in (low, high))  # type: ignore[return-value]


def limits_in(inference: Inference, L: np.ndarray) -> np.ndarray:
    """The limits of combinations L of the coefficients of a separated fit: inf, -inf, NaN for either, 0 for what stays finite."""
    fit = inference.fit
    turned = L if inference.turn is None else L @ np.asarray(inference.turn, float)
    return limits_of(fit.family, inference.rows, fit.link, fit.l2, turned)


@program()
def settled_params(inference: Inference) -> Linear:
    """The params where the likelihood of a separated fit is nearly as high as it gets, so that what has a limit is next to it; not
    farther, for the information about it must not be lost beside that of the rows that have next to none left."""
    start, eps = recentred(inference.fit.params, inference.center), jnp.finfo(inference.root.dtype).eps
    result, _ = driver.minimize(_objectives(inference)[1], start, Newton(reuse=False), tol=eps**0.25)
    return recentred(result.params, -inference.center)


def _objectives(inference: Inference) -> tuple[GLMObjective, GLMObjective]:
    """That of the likelihood alone, and that of the fit."""
    plain, _ = fitted_objective(inference.fit, inference.rows, inference.center, block_rows(inference.rows.X))
    return plain, JeffreysObjective(**vars(plain)) if inference.fit.firth else plain


def _tolerance(inference: Inference) -> Array:
    return jnp.sqrt(inference.dispersion) * jnp.finfo(inference.root.dtype).eps ** 0.4


def _crossing(root_at: Any, size: int, dtype: Any) -> Array:
    """The tau > 0 at which ``root_at(tau, u)``, which carries u along and says where it failed, passes 0 from -1 at tau = 0.

    inf where it does not pass, NaN where it fails.
    """
    near = jnp.asarray(jnp.finfo(dtype).eps ** 0.6, dtype)
    number = lambda a: jnp.asarray(a, dtype)

    def trip(s: _Bracket) -> _Bracket:
        height, u, failed = root_at(s.tau, s.u)
        inside = height <= 0
        u = jnp.where(jnp.isfinite(height), u, s.u)
        low, high = jnp.where(inside, s.tau, s.low), jnp.where(inside, s.high, s.tau)
        side = jnp.where(inside, -1, 1)
        again = side == s.side  # (Illinois: the end that stays counts for half)
        at_low = jnp.where(inside, height, jnp.where(again, s.at_low / 2, s.at_low))
        at_high = jnp.where(inside, jnp.where(again, s.at_high / 2, s.at_high), height)
        failed = jnp.where(inside, s.failed, failed)
        open_end, defined = ~jnp.isfinite(high), jnp.isfinite(at_high)
        closed = ~open_end & (high - low <= near * high)
        # A point without a likelihood may only have been out of reach from where the search came: it goes on beyond, until none is.
        wall = closed & ~defined & (low > s.wall * (1 + 4 * near))
        onward = low * jnp.clip(1 / jnp.maximum(1 + at_low, 1e-3), 1.25, _EXPAND)
        false = low - at_low * (high - low) / jnp.where(defined, at_high - at_low, 1)
        within = jnp.where(defined & (s.trips < _MOST_TRIPS // 4), false, (low + high) / 2)
        tau = jnp.where(open_end, onward, jnp.where(wall, low * 1.25, within))
        done = (jnp.abs(height) <= near) | (closed & ~wall) | (tau > _FARTHEST) | (s.trips >= _MOST_TRIPS)
        edge = jnp.where(~defined & failed, jnp.nan, (low + high) / 2)
        found = jnp.where(jnp.abs(height) <= near, s.tau, jnp.where(tau > _FARTHEST, jnp.inf, edge))
        tau = jnp.where(done, found, tau)
        u = u * jnp.where(done, 1, tau / s.tau)  # the maxima lie near a line through the estimate
        high, at_high = jnp.where(wall, jnp.inf, high), jnp.where(wall, jnp.inf, at_high)
        return _Bracket(
            low, high, at_low, at_high, failed, side, jnp.where(wall, low, s.wall), tau, u, s.trips + 1, done
        )

    start = _Bracket(
        low=number(0),
        high=number(jnp.inf),
        at_low=number(-1),
        at_high=number(jnp.inf),
        failed=jnp.asarray(False),
        side=jnp.asarray(0),
        wall=number(0),
        tau=number(1),
        u=jnp.zeros(size, dtype),
        trips=jnp.asarray(0),
        done=jnp.asarray(False),
    )
    return lax.while_loop(lambda s: ~s.done, trip, start).tau


def _rise(objective: Any, params: Linear, reference: Linear) -> Array:
    """J(params) - J(reference), row by row: the sums would differ in their last digits only."""
    rows = objective.rows.safe()
    loss = lambda p: row_loss(objective.family, objective.link, linear_predictors(rows, objective.center, p)[1], rows.y)
    rise = dispersion.weighted_sum(rows.weights, loss(params) - loss(reference))
    if isinstance(objective, JeffreysObjective):
        rise -= objective.half_log_det(params) - objective.half_log_det(reference)
    return rise
