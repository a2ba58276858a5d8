"""Matrix products at the full precision of their dtype, also where an accelerator's default is far below it, and roots of matrices."""

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

matmul = partial(jnp.matmul, precision="highest")
_PARTS = 4
_SHARED = 1 << 16  # numbers of a matrix from which on all cores share its product with a vector
_CACHED = 1 << 19  # numbers of a matrix that a cache holds


class Roots(NamedTuple):
    """R with R R' = M^-1 and B with B'B = M, on the directions that M determines.

    Attributes:
        inverse: R (m, m), with columns of zeros for the other directions.
        root: B (m, m), with rows of zeros for those.
        half_log_det: (), log det(M) / 2 over the directions that are kept.
        kept: (m,), which columns and rows those are.
    """

    inverse: Array
    root: Array
    half_log_det: Array
    kept: Array


def roots(matrix: Array, share: Any) -> Roots:
    """Roots of a positive semi-definite matrix (m, m), without the directions whose eigenvalue is up to `share` of the largest.

    The eigenvectors only choose a basis, in which the Cholesky factor is taken: derivatives are those at fixed rank, without
    differences of eigenvalues.
    """
    values, basis = jnp.linalg.eigh(lax.stop_gradient(matrix))
    kept = values > share * values[-1]
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    turned = jnp.where(kept[:, None] & kept, matmul(matmul(basis.T, matrix), basis), identity)
    factor = jnp.linalg.cholesky(turned)
    inverse = jax.scipy.linalg.solve_triangular(factor, identity, lower=True)
    return Roots(
        jnp.where(kept, matmul(basis, inverse.T), 0),
        jnp.where(kept[:, None], matmul(factor.T, basis.T), 0),
        jnp.sum(jnp.log(jnp.diagonal(factor))),
        kept,
    )


def row_combination(r: Array, a: Array) -> Array:
    """r'a of a vector (n,) and a matrix (n, m) that is larger than the caches of a CPU, at the speed of memory.

    XLA's product takes two to four times as long. So X is cut into pieces of equally many rows, small enough for a cache; where n
    has no divisor that makes such pieces, it is a sum over the rows, which takes up to 1.7 times as long as the pieces.
    """
    n, m = a.shape
    least, most = -(-n * m // _CACHED), -(-n * m // _SHARED)
    pieces = next((k for k in range(most, least - 1, -1) if n % k == 0), None)
    if pieces is None:
        return jnp.sum(r[:, None] * a, axis=0)
    cut = lambda a: a.reshape(pieces, n // pieces, *a.shape[1:])
    return jnp.sum(jnp.einsum("kn,knm->km", cut(r), cut(a), precision="highest"), axis=0)


def lower_products(a: Array) -> list[Array]:
    """a'a of a matrix (n, m) in four pieces, rows of it up to its diagonal: 5/8 of the work; sums of them may be taken."""
    ends = [round(i * a.shape[1] / _PARTS) for i in range(_PARTS + 1)]
    return [matmul(a[:, start:end].T, a[:, :end]) for start, end in itertools.pairwise(ends)]


def from_lower_products(pieces: list[Array]) -> Array:
    """The whole symmetric matrix (m, m)."""
    m = pieces[-1].shape[1]
    lower = jnp.concatenate([jnp.pad(piece, ((0, 0), (0, m - piece.shape[1]))) for piece in pieces])
    return jnp.tril(lower) + jnp.tril(lower, -1).T


def split(v: Array, blocks: int) -> Array:
    """The parts of a vector (p,) that b blocks of a matrix (b, q, q) see, (b, q): block i has the coefficients i, i + b, i + 2 b..."""
    return v.reshape(-1, blocks).T


def join(parts: Array) -> Array:
    """The vector of which :func:`split` makes the parts."""
    return parts.T.reshape(-1)


def diagonal(matrix: Array) -> Array:
    """(p,), that of a matrix or of its blocks."""
    return jnp.diagonal(matrix) if matrix.ndim == 2 else join(jnp.diagonal(matrix, axis1=1, axis2=2))


def normal_draws(key: Array, mean: Array, covariance: Array, draws: int) -> Array:
    """(draws, p) from N(mean, covariance), which may be singular.

    Args:
        key: a random key.
        mean: (p,).
        covariance: (p, p).
        draws: how many.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxml.linalg import normal_draws
        >>> normal_draws(jax.random.key(0), jnp.zeros(2), jnp.ones((2, 2)), 5).shape
        (5, 2)
    """
    values, vectors = jnp.linalg.eigh(covariance)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0))
    return mean + matmul(jax.random.normal(key, (draws, len(mean)), mean.dtype), root.T)
