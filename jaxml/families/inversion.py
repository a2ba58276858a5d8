"""The natural parameter of a mean, where a family knows no closed form: the minimum of a(eta) - <eta, mean>, by Newton's method."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxml.families.base import Family
from jaxml.families.functions import defines, gradient, hessian
from jaxml.optimize import Evaluation, Newton, Objective, driver
from jaxml.optimize.implicit import attach
from jaxml.optimize.minimize import tolerance
from jaxml.records import record


def natural_by_newton(family: Family, mean: Array) -> Array:
    """eta with grad a(eta) = mean, NaN where there is none, with the derivatives of the inverse."""
    k = 1 if family.natural_size is None else family.natural_size
    slope = lambda eta, data: jnp.reshape(gradient(data[0], eta.reshape(data[1].shape)) - data[1], k)
    curvature = lambda eta, data: jnp.reshape(hessian(data[0], eta.reshape(data[1].shape)), (k, k))

    def one(t: Array) -> Array:
        still = jax.lax.stop_gradient((family, t))
        start = still[0].to_unconstrained(_start(*still))
        z = driver.minimize(_Mismatch(*still), start, Newton(reuse=False), tol=tolerance(None, t.dtype))[0].params
        eta = still[0].from_unconstrained(z)
        gap = jnp.abs(gradient(still[0], eta) - still[1])  # a mean out of range, or on its boundary
        eta = jnp.where(jnp.all(gap <= 1e-3 * (1e-3 + jnp.abs(still[1]))), eta, jnp.nan)
        return attach(slope, curvature, eta.reshape(k), (family, t)).reshape(t.shape)

    return jnp.vectorize(one, signature="()->()" if family.natural_size is None else "(k)->(k)")(mean)


@record
class _Mismatch(Objective):
    """a(eta) - <eta, t>, smallest where grad a(eta) = t, over the unconstrained coordinates z of eta.

    The Hessian without the part of the curvature of eta(z) is positive definite, and stands in for it where it is not: Newton's
    method needs no other substitute.
    """

    family: Family
    t: Array
    plain: ClassVar[bool] = True

    def evaluate(self, z: Array, curvature: Any, stage: Any) -> Evaluation:
        """See :class:`jaxml.optimize.Objective`."""
        k, place = z.size, self.family.from_unconstrained
        eta, turn = place(z), jax.jacfwd(place)(z).reshape(k, k)
        value = self.family.log_partition(eta) - self.family.inner(eta, self.t)
        slope = gradient(self.family, eta) - self.t
        scoring = turn.T @ hessian(self.family, eta).reshape(k, k) @ turn
        bend = jax.hessian(lambda z: jnp.sum(slope * place(z)))(z).reshape(k, k)
        return Evaluation(value, (slope.reshape(k) @ turn).reshape(z.shape), scoring + bend, scoring)


def _start(family: Family, t: Array) -> Array:
    """The family's own starting value, or the best of a grid over sixteen decades of both signs (a vector: 0)."""
    if defines(family, "initial_natural"):
        return family.initial_natural(t)
    if family.natural_size is not None:
        return family.from_unconstrained(jnp.zeros_like(t))
    sizes = jnp.logspace(-8, 8, 65, dtype=t.dtype)
    grid = jnp.concatenate([-sizes, jnp.zeros(1, t.dtype), sizes])
    cost = family.log_partition(grid) - grid * t
    return grid[jnp.argmin(jnp.where(jnp.isfinite(cost), cost, jnp.inf))]
