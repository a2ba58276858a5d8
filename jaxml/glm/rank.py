"""The rank of the design, its null space, and the minimum-norm representative of a solution.

Rank is decided on X (with the rows of weight 0 left out, the columns centred where there is an intercept and scaled by powers
of two), never on X'WX, whose condition number is the square. A Cholesky factor of the Gram of a few rows proves full rank at
next to no cost; only where it does not is the whole X factored by QR, columns in their order, so that of equal columns the
later ones are aliased, as in R.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxml.predictors import Linear
from jaxml.rows import Rows


class Rank(NamedTuple):
    """Rank of [X, 1], and what X does not see.

    Attributes:
        rank: integer.
        null: (d, d), the projector on the null space of the centred X in the user's units.
        extended: (p, p), the projector on the null space of [X - c, 1]; p = d, or d + 1 with an intercept.
    """

    rank: Array
    null: Array
    extended: Array


def surely_full_rank(rows: Rows, center: Array, intercept: bool) -> Array:
    """Whether a few of the rows alone prove that [X, 1] has full column rank."""
    n, d = rows.X.shape
    p = d + intercept
    if n < p:
        return jnp.asarray(False)
    if d == 0:
        return jnp.asarray(True)
    x, on = rows.X[:: max(1, n // max(20 * p, 1000))], _on(rows)[:: max(1, n // max(20 * p, 1000))]
    x = _centred(jnp.where(on[:, None], x, 0), on, center, intercept)
    x = x * _power_of_two(jnp.linalg.norm(x, axis=0))
    pivots = jnp.diagonal(jnp.linalg.cholesky(jnp.matmul(x.T, x, precision="highest"))) ** 2
    return jnp.all(pivots > 1e4 * d * jnp.finfo(x.dtype).eps) & (jnp.sum(on) >= p)


def design_rank(rows: Rows, center: Array, intercept: bool, known_full: bool, status: Array) -> Rank:
    """See :class:`Rank`; ``known_full`` (static) leaves the factorisation out of the program.

    The status of the solver makes this loop wait for the solver's: run side by side, large batches of the two were seen to
    wait for each other's threads for ever (jaxlib 0.10 on two cores).
    """
    d = rows.X.shape[1]
    p = d + intercept
    start = Rank(jnp.asarray(p, jnp.int32), jnp.zeros((d, d), rows.X.dtype), jnp.zeros((p, p), rows.X.dtype))
    if known_full:
        return start
    done = surely_full_rank(rows, center, intercept) | (status == jnp.iinfo(status.dtype).max)
    # A loop of no or one trip: under vmap nothing is factored where no lane needs it.
    return lax.while_loop(
        lambda c: ~c[1], lambda c: (_factored(rows, center, intercept), jnp.asarray(True)), (start, done)
    )[0]


def minimum_norm(rank: Rank, params: Linear) -> Linear:
    """Remove the part of the weight that X does not see; the bias of centred columns stays as it is."""
    return params._replace(weight=params.weight - jnp.matmul(rank.null, params.weight, precision="highest"))


def _on(rows: Rows) -> Array:
    return jnp.ones(rows.n, bool) if rows.weights is None else rows.weights > 0


def _centred(x: Array, on: Array, center: Array, intercept: bool) -> Array:
    if not intercept:
        return x
    x = jnp.where(on[:, None], x - center, 0)
    mean = jnp.sum(x, axis=0) / jnp.maximum(jnp.sum(on), 1)
    return jnp.where(on[:, None], x - mean, 0)


def _power_of_two(norms: Array) -> Array:
    return jnp.where(norms > 0, jnp.exp2(-jnp.round(jnp.log2(jnp.where(norms > 0, norms, 1)))), 1)


def _factored(rows: Rows, center: Array, intercept: bool) -> Rank:
    on = _on(rows)
    x = jnp.where(on[:, None], rows.X, 0)
    n, d = x.shape
    centred = _centred(x, on, center, intercept)
    scale = _power_of_two(jnp.linalg.norm(centred, axis=0))
    vectors, aliased = _null_vectors(centred * scale, max(n, d) * float(jnp.finfo(x.dtype).eps))
    vectors = vectors * scale[:, None]
    null = _projector(vectors, aliased)
    rank = jnp.sum(~aliased).astype(jnp.int32) + intercept
    if not intercept:
        return Rank(rank, null, null)
    level = jnp.sum(jnp.where(on[:, None], x - center, 0), axis=0) / jnp.maximum(jnp.sum(on), 1)
    return Rank(rank, null, _projector(jnp.concatenate([vectors, -(level @ vectors)[None]]), aliased))


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
    solution = jax.scipy.linalg.solve_triangular(jnp.where(aliased[None, :], jnp.eye(d, dtype=x.dtype), r), known)
    return jnp.where(aliased[None, :], jnp.eye(d, dtype=x.dtype) - solution, 0), aliased


def _projector(vectors: Array, used: Array) -> Array:
    """On the span of the `used` columns; the others are zero."""
    length = jnp.linalg.norm(vectors, axis=0)
    unit = vectors / jnp.where(length > 0, length, 1)
    gram = jnp.matmul(unit.T, unit, precision="highest") + jnp.diag(jnp.where(used, 0, 1).astype(unit.dtype))
    return jnp.matmul(unit, jax.scipy.linalg.solve(gram, unit.T, assume_a="pos"), precision="highest")
