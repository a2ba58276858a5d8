r"""How sure any model is of its params: their covariance by the model or robust, and Laplace's approximation of the posterior.

    J(theta) = sum_i w_i L_i(theta) + N/2 sum_j l2_j theta_j^2,    L_i = -log p(y_i; eta_i) at dispersion 1,   N = sum_i w_i m_i

    by the model     phi H^-1, the covariance of theta | y ~ N(params, phi H^-1) for the prior theta_j ~ N(0, phi / (N l2_j))
    sandwich         H^-1 M H^-1,   M = sum_i w_i g_i g_i' or its sums over clusters,   g_i = grad L_i

H is the Hessian of J, or its expectation where predictions are linear in the params, sum_i w_i J_i' W_i J_i + N l2: the Gauss-Newton
matrix, which is never indefinite. Gradients g_i and Jacobians J_i of the rows are those of the predictor by autodiff, whatever it is.
For a linear predictor :func:`jaxml.glm.infer` has more to say, and says it faster.

Source: MacKay (1992), "A practical Bayesian framework for backpropagation networks"; White (1982), Econometrica 50; Bishop (2006),
section 5.7; Martens (2020), "New insights and perspectives on the natural gradient method".
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.families.base import Family
from jaxml.glm import dispersion
from jaxml.glm.covariance import meat_of
from jaxml.glm.laplace import evidence
from jaxml.glm.objective import curvatures, total_weight, value_and_slope
from jaxml.likelihood import log_likelihood, row_loss
from jaxml.linalg import matmul
from jaxml.links import Link, natural_parameter
from jaxml.records import record, static_field
from jaxml.rows import Rows, fold_blocks

_BLOCK = 2**22  # numbers of the Jacobians that are held at a time


@record
class Uncertainty:
    """The params of a model with their covariance; from :func:`jaxml.uncertainty.infer`.

    Attributes:
        params: as given.
        covariance: (p, p), in the order of ``ravel_pytree(params)``; of the part that data and penalty determine.
        dispersion: () phi, 1 for a family without one.
        effective: () the number of params that the data determine, tr H^-1 (H - N l2).
        undetermined: () int, how many directions of the params change no prediction of these rows and have no penalty. Directions that
            change predictions but not the law of y, as the common shift of all classes, do not count.
        log_evidence: () Laplace's log p(y), to compare penalties and models; NaN where the posterior is improper, without any penalty
            and with sampling weights.
        distance: () how far the params are from the minimum of J, in standard errors.
        predictor, family: as given.
        link: static.
    """

    params: Any
    covariance: Array
    dispersion: Array
    effective: Array
    undetermined: Array
    log_evidence: Array
    distance: Array
    predictor: Any
    family: Family
    link: Link = static_field()


@partial(jax.jit, static_argnames=("link", "kind", "weight_kind", "curvature"))
def compute(
    family: Family,
    predictor: Any,
    params: Any,
    rows: Rows,
    l2: Array,
    phi: Array | None,
    codes: Array | None,
    *,
    link: Link,
    kind: str,
    weight_kind: str,
    curvature: str,
) -> tuple[Uncertainty, Array]:
    """What was found, and the least eigenvalue of the Hessian of unit diagonal, 0 where it is not below rounding."""
    theta, unravel = ravel_pytree(params)
    safe, total = rows.safe(), total_weight(family, rows)
    w = jnp.where(rows.on, rows.mass, 0)
    model = _Model(family, link, predictor, unravel)
    gram, moves, gradient, scores = _sums(model, theta, safe, w, keep=kind != "model")
    ridge = total * l2
    if curvature == "observed":
        slope = jax.grad(lambda theta: jnp.sum(jnp.where(w > 0, w * model.loss(theta, safe), 0)))
        gram = lax.map(lambda e: jax.jvp(slope, (theta,), (e,))[1], jnp.eye(len(theta), dtype=theta.dtype))
        gram = (gram + gram.T) / 2
    root, null, least = _root(gram + jnp.diag(ridge))
    # Along some directions without curvature predictions move, and the law of y does not.
    seen = jnp.linalg.eigvalsh(matmul(matmul(null.T, moves), null))
    noise = 10 * len(theta) * jnp.finfo(theta.dtype).eps * jnp.max(jnp.diagonal(moves), initial=0)
    free = jnp.sum(jnp.any(null != 0, axis=0))
    undetermined = free - jnp.sum(seen > noise)

    effective = len(theta) - free - jnp.sum(ridge[:, None] * jnp.square(root))
    n = dispersion.observations(rows, weight_kind)
    if family.estimates_dispersion:
        if phi is None:
            eta = natural_parameter(family, link, model.linear(theta, safe))
            phi = dispersion.pearson_dispersion(family, safe, eta, n * family.free_size, effective * family.free_size)
        law = family.with_dispersion(phi)
    else:
        phi, law = jnp.asarray(family.dispersion, theta.dtype), family
    if kind == "model":
        V = phi * matmul(root, root.T)
    else:
        V = matmul(root, matmul(meat_of(matmul(scores, root), rows, codes, n, effective, weight_kind, kind), root.T))
    proper = jnp.any(l2 > 0) & (undetermined == 0) & (weight_kind == "frequency")
    likelihood = log_likelihood(
        law, predictor, params, rows.X, rows.y, weights=rows.weights, offset=rows.offset, link=link
    )
    value = evidence(likelihood, theta, ridge / phi, root, phi)
    found = Uncertainty(
        params=params,
        covariance=V,
        dispersion=phi,
        effective=effective,
        undetermined=undetermined,
        log_evidence=jnp.where(proper, value, jnp.nan),
        distance=jnp.linalg.norm(root.T @ (gradient + ridge * theta)) / jnp.sqrt(phi),
        predictor=predictor,
        family=family,
        link=link,
    )
    return found, least


class _Model(NamedTuple):
    """A model as a function of flat params."""

    family: Family
    link: Link
    predictor: Any
    unravel: Any

    def linear(self, theta: Array, rows: Rows) -> Array:
        z = self.predictor(self.unravel(theta), rows.X)
        return z if rows.offset is None else z + rows.offset

    def loss(self, theta: Array, rows: Rows) -> Array:
        return row_loss(self.family, self.link, self.linear(theta, rows), rows.y)

    def rows(self, theta: Array, rows: Rows) -> tuple[Array, Array, Array]:
        """The Jacobian (n, k, p) of each row, its slope dL/dz (n, k) and its expected curvature (n, k, k)."""
        one = lambda x: jax.jacrev(lambda theta: jnp.atleast_1d(self.predictor(self.unravel(theta), x[None])[0]))(theta)
        z = self.linear(theta, rows)
        slope = value_and_slope(self.family, self.link, z, rows.y)[1].reshape(len(z), -1)
        W = curvatures(self.family, self.link, z, rows.y)[-1].reshape(*slope.shape, -1)
        return jax.vmap(one)(rows.X), slope, W


def _sums(model: _Model, theta: Array, rows: Rows, w: Array, keep: bool) -> tuple[Array, Array, Array, Array]:
    """Over the rows: sum w J'WJ, sum J'J and the gradient; and where asked for the scores g_i (n, p)."""
    n, p = rows.n, len(theta)
    size = rows_at_a_time(p, jax.eval_shape(model.linear, theta, rows))

    def of(block: Rows, w: Array) -> tuple[Any, Array]:
        J, slope, W = model.rows(theta, block)
        g = jnp.where(w[:, None] > 0, jnp.einsum("nkp,nk->np", J, slope, precision="highest"), 0)
        gram = jnp.einsum("nkp,nkl,nlq->pq", J, w[:, None, None] * W, J, precision="highest")
        on = jnp.where((w > 0)[:, None, None], J, 0)
        return (gram, jnp.einsum("nkp,nkq->pq", on, on, precision="highest"), w @ g), g

    zero = jnp.zeros((p, p), theta.dtype)
    start = (zero, zero, jnp.zeros_like(theta)), jnp.zeros((n if keep else 0, p), theta.dtype)
    if size >= n:
        sums, scores = of(rows, w)
        return *sums, scores

    def add(carry: Any, first: Array, fresh: Array) -> Any:
        sums, scores = carry
        block = rows._replace(weights=None).block(first, size)
        more, g = of(block, jnp.where(fresh, lax.dynamic_slice_in_dim(w, first, size), 0))
        if keep:  # of the last block some rows were there before
            old = lax.dynamic_slice_in_dim(scores, first, size)
            scores = lax.dynamic_update_slice_in_dim(scores, jnp.where(fresh[:, None], g, old), first, 0)
        return jax.tree.map(jnp.add, sums, more), scores

    sums, scores = fold_blocks(add, start, n, size)
    return *sums, scores


def _root(H: Array) -> tuple[Array, Array, Array]:
    """R with R R' the inverse of H on the directions that have curvature, an orthonormal basis of the others (zeros beside it), and the
    least eigenvalue where it is below rounding. R is NaN for an indefinite H."""
    p, eps = len(H), jnp.finfo(H.dtype).eps
    diagonal = jnp.diagonal(H)
    scale = lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))
    values, vectors = jnp.linalg.eigh(H * scale[:, None] * scale)
    noise = 10 * p * eps * jnp.max(jnp.abs(values), initial=0)
    kept, least = values > noise, jnp.min(values, initial=0)
    root = scale[:, None] * jnp.where(kept, vectors * lax.rsqrt(jnp.where(kept, values, 1)), 0)
    # The null space in units of the params: R is to have no part in it.
    null, r = jnp.linalg.qr(jnp.where(kept, 0, scale[:, None] * vectors))
    null = jnp.where(jnp.abs(jnp.diagonal(r)) > 0, null, 0)
    root -= matmul(null, matmul(null.T, root))
    wrong = least < -jnp.sqrt(eps)
    return jnp.where(wrong, jnp.nan, root), null, jnp.where(wrong, least, 0)


def rows_at_a_time(p: int, z: Any) -> int:
    """How many rows of z, (n,) or (n, k), have Jacobians by p params that are small enough to be held together."""
    outputs = 1 if z.ndim == 1 else z.shape[1]
    return max(1, min(z.shape[0], _BLOCK // max(1, p * outputs)))
