r"""Gram matrices K_ij = K(x_i, z_j): whole, in blocks of rows, or only their products with vectors."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxml.dtypes import as_array, compute_dtype, to_compute
from jaxml.kernels.functions import Kernel, as_kernel
from jaxml.linalg import matmul

_BLOCK_BYTES = 1 << 25


def gram(kernel: Any, X: Any, Z: Any = None, *, block: int | None = None) -> Array:
    """The matrix of all K(x_i, z_j).

    Args:
        kernel: of :mod:`jaxml.kernels`, or a function of two points (x (d,), z (d,)) -> ().
        X: (n, d).
        Z: (m, d), cast to the dtype of X; None: Z = X, a symmetric matrix whose distances on the diagonal are exactly 0.
        block: rows of X worked on at a time, which bounds the memory of intermediate arrays; None: all.

    Returns:
        (n, m) in the floating dtype of X.

    Raises:
        ValueError: where X or Z is no matrix, or their columns differ.
        TypeError: not a kernel, or values that are not numeric.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(kernels.gram(kernels.Polynomial(2), jnp.array([[0.0], [1.0], [2.0]])))
        [[ 1.  1.  1.]
         [ 1.  4.  9.]
         [ 1.  9. 25.]]

    Source: notes 8.2, 8.3.
    """
    kernel, X, Z = _points(kernel, X, Z)
    return _gram(kernel, X, Z, block)


def gram_matvec(kernel: Any, X: Any, Z: Any, v: Any, *, block: int | None = None) -> Array:
    """The product of the Gram matrix with a vector, without the matrix.

    Args:
        kernel: as for :func:`gram`.
        X: (n, d).
        Z: (m, d), or None for X.
        v: (m,) or (m, k).
        block: rows of X worked on at a time; None: as many as make 32 MiB of the matrix.

    Returns:
        K v, (n,) or (n, k).

    Raises:
        ValueError, TypeError: as :func:`gram`, or where v does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X = jnp.array([[0.0], [1.0], [2.0]])
        >>> print(kernels.gram_matvec(kernels.Polynomial(2), X, None, jnp.array([1.0, 0.0, 1.0])))
        [ 2. 10. 26.]
    """
    kernel, X, Z = _points(kernel, X, Z)
    v = to_compute(as_array(v, "v"), X.dtype, "v")
    m = len(X if Z is None else Z)
    if v.shape[:1] != (m,) or v.ndim > 2:
        raise ValueError(f"v has shape {v.shape}, expected ({m},) or ({m}, k) to match the columns of the Gram matrix")
    return _matvec(kernel, X, Z, v, block or max(1, _BLOCK_BYTES // (m * X.dtype.itemsize)))


@partial(jax.jit, static_argnames="block")
def _gram(kernel: Kernel, X: Array, Z: Array | None, block: int | None) -> Array:
    whole = lambda X, Z: kernel.matrix(X, Z, False)
    if block is None or block >= len(X):
        return kernel.matrix(X, X, True) if Z is None else whole(X, Z)
    return _by_blocks(lambda rows: whole(rows, X if Z is None else Z), X, block)


@partial(jax.jit, static_argnames="block")
def _matvec(kernel: Kernel, X: Array, Z: Array | None, v: Array, block: int) -> Array:
    Z = X if Z is None else Z
    return _by_blocks(lambda rows: matmul(kernel.matrix(rows, Z, False), v), X, block)


def _by_blocks(function: Any, X: Array, block: int) -> Array:
    """function(X) where rows are independent, `block` of them at a time; the last block is filled up with copies of a row."""
    n = len(X)
    count = -(-n // block)
    padded = jnp.concatenate([X, jnp.broadcast_to(X[:1], (count * block - n, X.shape[1]))])
    out = lax.map(function, padded.reshape(count, block, -1))
    return out.reshape(count * block, *out.shape[2:])[:n]


def _points(kernel: Any, X: Any, Z: Any) -> tuple[Kernel, Array, Array | None]:
    X = as_array(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n, d), got {X.shape}")
    X = to_compute(X, compute_dtype(X), "X")
    if Z is not None:
        Z = to_compute(as_array(Z, "Z"), X.dtype, "Z")
        if Z.ndim != 2 or Z.shape[1] != X.shape[1]:
            raise ValueError(f"Z has shape {Z.shape}, expected (m, {X.shape[1]}) to match X")
    return as_kernel(kernel, X.dtype), X, Z
