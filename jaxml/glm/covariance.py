r"""The covariance of the coefficients of a fit, by the model or robust, and what each row contributes to it.

    information      I = sum_i w_i x_i W_i x_i',  W_i = -d^2 log p / dz^2 at dispersion 1, or its expectation
    by the model     phi (I + N l2 P)^-1
    sandwich         B M B,  B = (I + N l2 P)^-1,  M = sum_i w_i c_i (x_i u_i) (x_i u_i)',  u_i = d log p / dz

All derivatives are those of the one log-likelihood. With a penalty (P on the weight) the first is the covariance of Laplace's
approximation to the posterior. The corrections c of a sandwich, with leverage h and k coefficients:

    HC0  1     HC1  n / (n - k)     HC2  1 / (1 - h)     HC3  1 / (1 - h)^2
    cluster  u summed over each of G clusters first, G / (G - 1) (n - 1) / (n - k); two ways: V_a + V_b - V_(a and b)

For several outputs 1 / (1 - h) becomes the matrix (I - H)^-1 of the row.

Source: McCullagh & Nelder (1989), section 2.5; White (1980); MacKinnon & White (1985); Cameron, Gelbach & Miller (2011).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxml.chunks import where_needed
from jaxml.compiling import program
from jaxml.glm.jeffreys import JeffreysObjective
from jaxml.glm.objective import (
    GLMObjective,
    by_output,
    curvatures,
    flat_directions,
    linear_predictors,
    penalty_table,
    recentred,
    total_weight,
    value_and_slope,
)
from jaxml.glm.rank import Rank, design_rank
from jaxml.glm.result import Fit
from jaxml.linalg import matmul
from jaxml.optimize.newton import cholesky_root
from jaxml.predictors import Linear
from jaxml.predictors.design import Design
from jaxml.records import record, static_field
from jaxml.rows import Rows


@record
class Inference:
    """A fit together with its data and the covariance of its coefficients; from :func:`jaxml.glm.infer`, for the functions of glm.

    Attributes:
        params: Linear, those of the fit, or log odds after :func:`jaxml.glm.contrast`.
        covariance: (p, p) of the params, weight by rows and then the bias, as ``ravel_pytree`` has them; of the part that the design
            determines.
        null: (p, p), whose columns span the directions of the params that change nothing (zeros where the design has full rank).
        dispersion: () that the covariance by the model is multiplied with; 1 for a family without one.
        freedom: () degrees of freedom of the residuals, n - rank; inf where no dispersion is estimated, so that t is z and F a
            chi-square.
        penalized: () whether the fit had a penalty: then errors are those of a posterior.
        root: (p, p) R with R R' = (I + N l2 P)^-1 for centred columns, without the directions that nothing depends on.
        center: (d,) means of the columns, zeros without an intercept.
        rows: the data, as read.
        fit: the fit.
        turn: (p, p), what the params are of those of the fit after :func:`jaxml.glm.contrast`; None: the same.
        kind: static, 'model', 'HC0', 'HC1', 'HC2', 'HC3' or 'cluster'.
        information: static, 'expected' or 'observed'.
    """

    params: Linear
    covariance: Array
    null: Array
    dispersion: Array
    freedom: Array
    penalized: Array
    root: Array
    center: Array
    rows: Rows
    fit: Fit
    kind: str = static_field()
    information: str = static_field()
    turn: Any = None

    @property
    def estimable(self) -> Linear:
        """Linear of bool, which coefficients the design determines."""
        return self.unravel(~jnp.any(self.null != 0, axis=1))

    @property
    def ridge(self) -> Array:
        """(p,) N l2, what the penalty adds to the diagonal of the information."""
        return ravel_pytree(self.fit.l2)[0] * total_weight(self.fit.family, self.rows)

    def unravel(self, v: Array) -> Linear:
        """A vector (p,) in the shape of the params."""
        return ravel_pytree(self.params)[1](v)

    def combination(self, L: Array) -> tuple[Array, Array]:
        """The covariance L V L' of linear combinations (m, p), and which of them the design determines."""
        return matmul(matmul(L, self.covariance), L.T), determined(L, self.null)


F = TypeVar("F", bound=Callable[..., Any])


def of_inference(function: F) -> F:
    """Decorator of what is asked of an :class:`Inference`: a fit alone is refused, naming the remedy."""

    @wraps(function)
    def ask(*args: Any, **options: Any) -> Any:
        if any(isinstance(a, Fit) for a in jax.tree.leaves(args, is_leaf=lambda a: isinstance(a, Fit | Inference))):
            name = function.__name__
            raise TypeError(
                f"{name} asks a fit and its data: glm.{name}(glm.infer(fit, X, y), ...); a fit alone keeps no data"
            )
        return function(*args, **options)

    return ask  # type: ignore[return-value]


class Computed(NamedTuple):
    """The inference; in standard errors, how far the params are from the optimum of these rows and from 0; the rank; the largest
    inflation of a variance by the other columns."""

    inference: Inference
    distance: Array
    length: Array
    rank: Array
    inflation: Array


def determined(L: Array, null: Array) -> Array:
    """Which rows of L (m, p) give 0 along all columns of ``null`` (p, r), up to rounding."""
    eps = jnp.finfo(L.dtype).eps
    return ~jnp.any(jnp.abs(matmul(L, null)) > jnp.sqrt(eps) * matmul(jnp.abs(L), jnp.abs(null)), axis=1)


class Pieces(NamedTuple):
    """What each row contributes: the centred design, z, u = d log p / dz, and the expected W."""

    design: Design
    z: Array
    score: Array
    expected: Array


def pieces(inference: Inference) -> Pieces:
    """See :class:`Pieces`; (n,) or (n, k), and W (n,) or (n, k, k). Rows of weight 0 are made safe, and still count as rows."""
    return _pieces(inference.fit, inference.rows, inference.center)


def _pieces(fit: Fit, rows: Rows, center: Array) -> Pieces:
    rows = rows.safe()
    design, z = linear_predictors(rows, center, recentred(fit.params, center))
    expected = curvatures(fit.family, fit.link, z, rows.y)[-1]
    return Pieces(design, z, -value_and_slope(fit.family, fit.link, z, rows.y)[1], expected)


@program(static_argnames=("kind", "information", "block"))
def compute(fit: Fit, rows: Rows, codes: Array | None, *, kind: str, information: str, block: int | None) -> Computed:
    """See :class:`Computed`."""
    intercept = fit.params.bias is not None
    penalized = jnp.any(ravel_pytree(fit.l2)[0] > 0)
    w = rows.mass
    x = jnp.where(rows.on[:, None], rows.X, 0)
    free = ~jnp.any(fit.l2.bias > 0) if intercept else jnp.asarray(False)
    share = (jnp.where(rows.on, w, 0) / jnp.sum(w))[:, None]
    center = jnp.sum(share * x, axis=0)
    center += jnp.sum(share * (x - center), axis=0)  # a mean far larger than the spread is rounded by as much
    center = jnp.where(free, center, 0)
    objective, rank = fitted_objective(fit, rows, center, block)
    flat = objective.flat
    params = recentred(fit.params, center)
    ev = objective.evaluate(params, True, 0)
    root = _root(objective, params, ev, information)
    root = root if flat is None else root - matmul(flat, root)
    gradient = ev.gradient
    if fit.firth:
        bonus = jax.grad(JeffreysObjective(**vars(objective)).half_log_det)(params)
        gradient = jax.tree.map(jnp.subtract, gradient, bonus)
    distance = jnp.linalg.norm(root.T @ ravel_pytree(gradient)[0])

    estimated = fit.family.estimates_dispersion or fit.quasi
    phi = jnp.ones((), root.dtype) if fit.dispersion is None else jnp.asarray(fit.dispersion, root.dtype)
    freedom = (fit.observations - fit.rank) * fit.family.free_size if estimated else jnp.asarray(jnp.inf, root.dtype)
    if kind == "model":
        V = phi * matmul(root, root.T)
    else:
        V = _sandwich(fit, rows, center, root, codes, kind)
    back = to_user(fit.params, center)
    V = matmul(matmul(back, V), back.T)
    null = jnp.zeros_like(V)
    if rank.null is not None:
        user = lambda params, null, center: user_null(params, null, rows, center)
        null = where_needed(rank.rank < len(fit.l2.weight) + intercept, user, null, fit.params, rank.null, center)
    done = Inference(
        params=fit.params,
        covariance=V,
        null=null,
        dispersion=phi,
        freedom=freedom.astype(root.dtype),
        penalized=penalized,
        root=root,
        center=center,
        rows=rows,
        fit=fit,
        kind=kind,
        information=information,
    )
    theta = ravel_pytree(params)[0]
    length = jnp.sqrt(theta @ matmul(ev.hessian if ev.scoring is None else ev.scoring, theta))
    unit = jnp.sqrt(jnp.where(phi > 0, phi, 1))
    inflation = jnp.max(jnp.diagonal(ev.hessian) * jnp.sum(jnp.square(root), axis=1), initial=1)
    return Computed(done, distance / unit, length / unit, rank.rank, inflation)


def fitted_objective(fit: Fit, rows: Rows, center: Array, block: int | None) -> tuple[GLMObjective, Rank]:
    """The objective of a fit, without Jeffreys' penalty, and the rank of its design."""
    intercept = fit.params.bias is not None
    full = fit.rank == len(fit.l2.weight) + intercept
    rank = design_rank(rows, center, penalty_table(fit.family, fit.l2), intercept, full)
    flat = flat_directions(rank.null, fit.l2, fit.family)
    total = total_weight(fit.family, rows)
    return GLMObjective(fit.family, rows, center, fit.l2, total, 1, fit.link, block, flat=flat, precise=True), rank


def _root(objective: GLMObjective, params: Linear, ev: Any, information: str) -> Array:
    """R with R R' = H^-1; by QR of the weighted design where Cholesky would cost more than a quarter of the digits."""
    expected = information == "expected" and ev.scoring is not None
    matrix = ev.scoring if expected else ev.hessian
    canonical = ev.scoring is None
    root, ok = cholesky_root(matrix, float(jnp.finfo(matrix.dtype).eps) ** -0.75)

    def precise(params: Linear, matrix: Array) -> Array:
        if expected or canonical:
            return objective.root(params, matrix)[0]
        rough, fine = cholesky_root(matrix)
        return jnp.where(fine, rough, jnp.nan)

    return where_needed(~ok, precise, root, params, matrix)


def to_user(params: Linear, center: Array) -> Array:
    """(p, p) that takes coefficients of centred columns to the user's, in the order of ravel."""
    flat, unravel = ravel_pytree(params)
    move = lambda v: ravel_pytree(recentred(unravel(v), -center))[0]
    return jax.jacfwd(move)(flat)


def user_null(params: Linear, null: Array, rows: Rows, center: Array) -> Array:
    """The null space of the design in the user's coordinates, rows that are rounding alone set to 0; (p, p)."""
    d, eps = len(params.weight), jnp.sqrt(jnp.finfo(null.dtype).eps)
    x = jnp.where(rows.on[:, None], rows.X - center, 0)
    length = jnp.linalg.norm(x, axis=0)
    part = null[:, :d]  # (k, d, q)
    say = jnp.linalg.norm(part, axis=2) * jnp.where(length > 0, length, 1)
    some = say > eps * jnp.max(say, axis=1, keepdims=True, initial=0)
    weight = jnp.where(some[:, :, None], part, 0)
    if params.bias is None:
        return by_output(weight)
    terms = center[:, None] * weight
    bias = -jnp.sum(terms, axis=1, keepdims=True)
    bias = jnp.where(jnp.abs(bias) > eps * jnp.sum(jnp.abs(terms), axis=1, keepdims=True), bias, 0)
    return by_output(jnp.concatenate([weight, bias], axis=1))


def _sandwich(fit: Fit, rows: Rows, center: Array, root: Array, codes: Array | None, kind: str) -> Array:
    row = _pieces(fit, rows, center)
    n, k = fit.observations, fit.rank * fit.family.free_size
    u = row.score
    if kind in ("HC2", "HC3"):
        u = _studentized(row, rows, root, fit.weight_kind, u, -0.5 if kind == "HC2" else -1.0)
    meat = meat_of(_parameter_scores(row.design, u, root), rows, codes, n, k, fit.weight_kind, kind)
    return matmul(root, matmul(meat, root.T))


def meat_of(scores: Array, rows: Rows, codes: Array | None, n: Array, k: Array, weight_kind: str, kind: str) -> Array:
    """The middle of a sandwich from the scores of one replicate of each row (n, p), corrected for n rows and k params."""
    w = rows.mass
    # A frequency weight stands for that many rows with the same score, other weights multiply it.
    many = w if weight_kind != "frequency" or kind == "cluster" else jnp.sqrt(w)
    projected = jnp.where(rows.on[:, None], many[:, None] * scores, 0)
    if codes is None:
        return (n / (n - k) if kind == "HC1" else 1.0) * matmul(projected.T, projected)

    def one(codes: Array) -> Array:
        sums = jax.ops.segment_sum(projected, codes, num_segments=rows.n)
        groups = jnp.sum(jax.ops.segment_max(rows.on.astype(jnp.int32), codes, num_segments=rows.n) > 0)
        return groups / (groups - 1) * matmul(sums.T, sums)

    meats = [one(c) for c in codes]
    meat = meats[0] if len(meats) == 1 else meats[0] + meats[1] - meats[2]
    return (n - 1) / (n - k) * meat


def _parameter_scores(design: Design, u: Array, root: Array) -> Array:
    """R' x_i u_i of each row, (n, p)."""
    x = design.dense()
    if u.ndim == 1:
        return u[:, None] * matmul(x, root)
    q, k = x.shape[1], u.shape[1]
    return matmul((x[:, :, None] * u[:, None, :]).reshape(len(x), q * k), root)


def hat_factors(row: Pieces, root: Array) -> Array:
    """W^1/2 X_i R, (n, p) or (n, k, p): its products with itself are the leverages of one replicate."""
    x = row.design.dense()
    if row.z.ndim == 1:
        return jnp.sqrt(jnp.maximum(row.expected, 0))[:, None] * matmul(x, root)
    k = row.z.shape[1]
    spread = jnp.einsum("na,akp->nkp", x, root.reshape(x.shape[1], k, -1), precision="highest")
    return jnp.einsum("njk,nkp->njp", _half(row.expected, 0.5), spread, precision="highest")


def _studentized(row: Pieces, rows: Rows, root: Array, weight_kind: str, u: Array, power: float) -> Array:
    """u (1 - h)^power, or with the matrices (I - H)^power of rows with several outputs."""
    hat = hat_factors(row, root)
    share = jnp.ones_like(rows.mass) if weight_kind == "frequency" else rows.mass
    if u.ndim == 1:
        return u * (1 - share * jnp.sum(jnp.square(hat), axis=1)) ** power
    H = share[:, None, None] * jnp.einsum("njp,nkp->njk", hat, hat, precision="highest")
    values, vectors = jnp.linalg.eigh(H)
    middle = jnp.einsum("nij,nj,nkj->nik", vectors, (1 - values) ** power, vectors, precision="highest")
    left, right = _half(row.expected, 0.5), _half(row.expected, -0.5)
    return jnp.einsum("nij,njk,nkl,nl->ni", left, middle, right, u, precision="highest")


def _half(W: Array, power: float) -> Array:
    """W^power of symmetric matrices (n, k, k), on the directions where they are not 0."""
    values, vectors = jnp.linalg.eigh(W)
    some = values > 10 * W.shape[-1] * jnp.finfo(W.dtype).eps * jnp.max(values, axis=-1, keepdims=True)
    return jnp.einsum(
        "nij,nj,nkj->nik",
        vectors,
        jnp.where(some, jnp.where(some, values, 1) ** power, 0),
        vectors,
        precision="highest",
    )
