"""The rank of the design, its null space, and the minimum-norm representative of a solution.

Rank is decided on X (with the rows of weight 0 left out, the columns centred where there is an intercept and scaled by powers
of two), never on X'WX, whose condition number is the square. That, though, proves full rank where its eigenvalues are far above
rounding (see :func:`proof`): the first factor of a fit without penalties does, which is there anyway, or one of the Gram of a few
rows. Only where neither does is the whole X factored by QR, columns in their order, so that of equal columns the later ones are
aliased, as in R.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.lax.linalg import cholesky
from jax.scipy.linalg import solve_triangular

from jaxml.chunks import where_needed
from jaxml.compiling import program
from jaxml.linalg import matmul
from jaxml.optimize.newton import eigenvalue_bound, equilibrate
from jaxml.predictors import Linear
from jaxml.predictors.design import Design
from jaxml.rows import Rows


class Rank(NamedTuple):
    """Rank of [X, 1], and what X does not see.

    Attributes:
        rank: integer.
        null: (k, q, q), for each output the projector on the directions that neither [X - c, 1] nor the penalty sees; q = d, or
            d + 1 with an intercept. None where the rank is known to be full.
    """

    rank: Array
    null: Array | None


class Pivot(NamedTuple):
    """What a few rows tell of the rank.

    Attributes:
        share: the least share of a column, less its center if there is an intercept, that those before it do not explain, up to a
            factor of 2, for many columns of 5; it is 1 / (variance inflation). 0 or NaN where it is lost in rounding.
        proves: whether these rows prove that [X, 1] has full column rank.
    """

    share: Array
    proves: Array


def proof(columns: int) -> float:
    """Above how many eps the eigenvalues of a Gram or X'WX with a unit diagonal are no rounding: X has full column rank, whatever W."""
    return 1e4 * columns


def gram_tells(dtype: Any) -> bool:
    """Whether a Gram of most designs of full rank proves it: in float32 rounding hides eigenvalues below some 1e-3 d, and few do."""
    return float(jnp.finfo(dtype).eps) < 1e-10


def least_pivot(rows: Rows, center: Array, intercept: bool) -> Pivot:
    """The least pivot of the Gram of a few rows, or where that does not tell, see :func:`gram_tells`, of their QR."""
    n, d = rows.X.shape
    p, eps = d + intercept, float(jnp.finfo(rows.X.dtype).eps)
    exact = gram_tells(rows.X.dtype)
    if n < p or d == 0:
        return Pivot(jnp.asarray(float(n >= p), rows.X.dtype), jnp.asarray(n >= p))

    def some_rows(count: int, rows: Rows, center: Array) -> Array:
        some = rows.take(slice(None, None, max(1, n // count)))
        design = Design(some.X - center if intercept else some.X, intercept)
        return jnp.where(some.on[:, None], design.dense(), 0)

    def least(factor: Array) -> Array:
        return jnp.min(jnp.square(jnp.diagonal(factor)))

    def by_gram(count: int) -> Pivot:
        x = some_rows(count, rows, center)
        factor = cholesky(equilibrate(matmul(x.T, x))[1])
        share = least(factor)
        if not exact:  # pivots above so much cannot make rounding look like another
            return Pivot(share, share > proof(p) * eps)
        inverse = solve_triangular(factor, jnp.eye(p, dtype=x.dtype), lower=True)
        return Pivot(share, eigenvalue_bound(inverse) > proof(p) * eps)

    def by_qr(rows: Rows, center: Array) -> Pivot:
        x = some_rows(many, rows, center)
        unit = x * _power_of_two(jnp.linalg.norm(x, axis=0))
        share = least(jnp.linalg.qr(unit, mode="r"))
        return Pivot(share, share > (10 * max(x.shape) * eps) ** 2)

    few, many = max(3 * p, 1000), max(20 * p, 1000)
    pivot = by_gram(few)
    if few != many:
        pivot = lax.cond(pivot.proves, lambda: pivot, lambda: by_gram(many))
    return pivot if exact else where_needed(~pivot.proves, by_qr, pivot, rows, center)


def design_rank(rows: Rows, center: Array, penalties: Array, intercept: bool, surely_full: Array | None) -> Rank:
    """See :class:`Rank`.

    Args:
        rows: X and weights.
        center: (d,) subtracted from the columns.
        penalties: (q, k) on the weight and, with an intercept, the bias of each output.
        intercept: static.
        surely_full: (), whether the rank is known to be full; None: it is, and the factorisation is left out of the program.
    """
    q, k = penalties.shape
    full = jnp.asarray(q, jnp.int32)
    if surely_full is None or not rows.X.shape[1]:
        return Rank(full, None)

    def factor(rows: Rows, center: Array) -> Rank:
        rank, null = _factored(rows, center, intercept)
        return Rank(rank, jax.vmap(lambda column: _unpenalised(null, column), 1)(penalties))

    return where_needed(~surely_full, factor, Rank(full, jnp.zeros((k, q, q), rows.X.dtype)), rows, center)


@program(static_argnames="intercept")
def few_rows_prove(rows: Rows, center: Array, intercept: bool) -> Array:
    """Whether a few rows prove it, see :func:`least_pivot`, alone."""
    return least_pivot(rows, center, intercept).proves


@program(static_argnames="intercept")
def matrix_rank(rows: Rows, center: Array, intercept: bool) -> Array:
    """That of [X, 1], of the columns less their ``center``, alone."""
    return _factored(rows, center, intercept)[0]


def minimum_norm(rank: Rank, params: Linear) -> Linear:
    """Remove the part of the weight that makes no difference. The bias stays: that of centred columns has no part in it."""
    if rank.null is None:
        return params
    d, weight = params.weight.shape[0], params.weight
    table = weight.reshape(d, -1)
    part = jnp.einsum("kij,jk->ik", rank.null[:, :d, :d], table, precision="highest")
    return params._replace(weight=(table - part).reshape(weight.shape))


def _unpenalised(null: Array, penalties: Array) -> Array:
    """The projector on the directions of a null space, given as a projector, along which no penalty rises."""
    largest = jnp.max(penalties, initial=0)
    risen = matmul(null * (penalties / jnp.where(largest > 0, largest, 1)), null)
    values, vectors = jnp.linalg.eigh(risen + jnp.eye(len(null), dtype=null.dtype) - null)
    free = jnp.where(values <= 16 * len(null) * jnp.finfo(null.dtype).eps, vectors, 0)
    return jnp.where(largest > 0, matmul(free, free.T), null)


def centred_columns(x: Array, on: Array, center: Array, intercept: bool) -> Array:
    """The rows that are on less ``center`` and less what their mean then is, the others 0; x itself without an intercept."""
    if not intercept:
        return x
    x = jnp.where(on[:, None], x - center, 0)
    mean = jnp.sum(x, axis=0) / jnp.maximum(jnp.sum(on), 1)
    return jnp.where(on[:, None], x - mean, 0)


def _power_of_two(norms: Array) -> Array:
    return jnp.where(norms > 0, jnp.exp2(-jnp.round(jnp.log2(jnp.where(norms > 0, norms, 1)))), 1)


def _factored(rows: Rows, center: Array, intercept: bool) -> tuple[Array, Array]:
    """The rank of [X, 1] and the projector on the null space of [X - c, 1]."""
    on = rows.on
    x = jnp.where(on[:, None], rows.X, 0)
    n, d = x.shape
    eps = float(jnp.finfo(x.dtype).eps)
    centred = centred_columns(x, on, center, intercept)
    # What centring leaves of a constant column is rounding.
    constant = jnp.linalg.norm(centred, axis=0) <= 8 * eps * jnp.linalg.norm(x, axis=0)
    centred = jnp.where(constant, 0, centred)
    scale = _power_of_two(jnp.linalg.norm(centred, axis=0))
    vectors, aliased = _null_vectors(centred * scale, max(n, d) * eps)
    vectors = vectors * scale[:, None]
    rank = jnp.sum(~aliased).astype(jnp.int32) + intercept
    if not intercept:
        return rank, _projector(vectors, aliased)
    level = jnp.sum(jnp.where(on[:, None], x - center, 0), axis=0) / jnp.maximum(jnp.sum(on), 1)
    return rank, _projector(jnp.concatenate([vectors, -(level @ vectors)[None]]), aliased)


def _null_vectors(x: Array, tol: float) -> tuple[Array, Array]:
    """QR in the order of the columns by Gram-Schmidt done twice; a column in the span of those before it is aliased.

    Returns the null vectors of x in the columns where ``aliased``, zeros elsewhere. Plain array operations, so that batches
    of designs need no batched LAPACK.
    """
    d = x.shape[1]
    norms = jnp.linalg.norm(x, axis=0)

    def column(j: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        q, r, aliased = carry
        v = x[:, j]
        first = v @ q
        v = v - q @ first
        again = v @ q
        v = v - q @ again
        size = jnp.linalg.norm(v)
        drop = size <= tol * norms[j]
        q = q.at[:, j].set(jnp.where(drop, 0, v / jnp.where(drop, 1, size)))
        r = r.at[:, j].set((first + again).at[j].set(jnp.where(drop, 1, size)))
        return q, r, aliased.at[j].set(drop)

    start = jnp.zeros_like(x), jnp.zeros((d, d), x.dtype), jnp.zeros(d, bool)
    _, r, aliased = lax.fori_loop(0, d, column, start)
    # x_j = sum of earlier columns times c, r c = r_j: the null vector is e_j - c.
    known = jnp.where(aliased[None, :], r - jnp.diag(jnp.diagonal(r)), 0)
    solution = solve_triangular(jnp.where(aliased[None, :], jnp.eye(d, dtype=x.dtype), r), known)
    return jnp.where(aliased[None, :], jnp.eye(d, dtype=x.dtype) - solution, 0), aliased


def _projector(vectors: Array, used: Array) -> Array:
    """On the span of the `used` columns; the others are zero."""
    length = jnp.linalg.norm(vectors, axis=0)
    unit = vectors / jnp.where(length > 0, length, 1)
    gram = matmul(unit.T, unit) + jnp.diag(jnp.where(used, 0, 1).astype(unit.dtype))
    return matmul(unit, jax.scipy.linalg.solve(gram, unit.T, assume_a="pos"))
