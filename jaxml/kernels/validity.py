r"""Which functions of two points are kernels: K is valid if and only if every Gram matrix is positive semi-definite.

Source: notes 8.3; Mercer (1909); Schölkopf & Smola (2002), section 2.2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxml.dtypes import as_array, compute_dtype, to_compute
from jaxml.kernels.gram import gram


class Validity(NamedTuple):
    """The verdict on a Gram matrix.

    Attributes:
        valid: (), symmetric and positive semi-definite up to rounding.
        smallest: (), the smallest eigenvalue (of the symmetric part).
        tolerance: (), the size below which an eigenvalue or an asymmetry is rounding: n eps times the largest |eigenvalue|.
        asymmetry: (), max |K_ij - K_ji|.
    """

    valid: Array
    smallest: Array
    tolerance: Array
    asymmetry: Array


class Counterexample(NamedTuple):
    """Points on which a function is seen not to be a kernel.

    Attributes:
        points: positions of the points, by rising number.
        vector: v with v'K v < 0, one entry for each of the points; None where the matrix is not symmetric.
        value: v'K v, or the asymmetry.
        message: the same in words.
    """

    points: list[int]
    vector: np.ndarray | None
    value: float
    message: str


def is_valid_gram(K: Any) -> Validity:
    """Whether a matrix can be the Gram matrix of a kernel.

    Args:
        K: (n, n).

    Returns:
        :class:`Validity`; a matrix with NaN or infinite entries is not valid.

    Raises:
        ValueError: not a square matrix.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(kernels.is_valid_gram(jnp.array([[1.0, 0.0], [0.0, 0.0]])).valid)
        True
        >>> print(kernels.is_valid_gram(jnp.array([[3.0, 5.0], [5.0, 3.0]])).smallest.round(3))  # eigenvalues 8 and -2
        -2.0

    Source: notes 8.3.
    """
    K = as_array(K, "K")
    if K.ndim != 2 or K.shape[0] != K.shape[1] or not K.shape[0]:
        raise ValueError(f"K has shape {K.shape}, expected (n, n)")
    return _validity(to_compute(K, compute_dtype(K), "K"))


@jax.jit
def _validity(K: Array) -> Validity:
    finite = jnp.all(jnp.isfinite(K))
    safe = jnp.where(finite, K, 0)
    values = jnp.linalg.eigvalsh((safe + safe.T) / 2)
    tolerance = len(K) * jnp.finfo(K.dtype).eps * jnp.max(jnp.abs(values))
    asymmetry = jnp.max(jnp.abs(safe - safe.T))
    valid = finite & (values[0] >= -tolerance) & (asymmetry <= tolerance)
    return Validity(valid, jnp.where(finite, values[0], jnp.nan), tolerance, asymmetry)


def find_counterexample(kernel: Any, points: Any) -> Counterexample | None:
    """Look for points among the given ones on which a function is not a kernel, as few of them as can be.

    Pairs are all looked at (for symmetry, and for K(x,z)^2 > K(x,x) K(z,z)); beyond them, points are taken out one by one as long as
    a negative direction remains. Runs on the host.

    Args:
        kernel: a function of two points, or of :mod:`jaxml.kernels`.
        points: (n, d).

    Returns:
        :class:`Counterexample`, or None: the function may be a kernel, as far as these points can tell.

    Raises:
        ValueError: values of the function that are not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> line = jnp.array([[0.0], [1.0], [2.0]])
        >>> print(kernels.find_counterexample(lambda x, z: -jnp.sum((x - z) ** 2), line).message)
        v'K v = -4 for v = (0.707, 0.707) on points 0 and 2.
        >>> print(kernels.find_counterexample(kernels.Gaussian(1.0), line))
        None

    Source: notes 8.3.
    """
    K = np.asarray(gram(kernel, points, points), np.float64)  # entry by entry: nothing is made symmetric
    if not np.isfinite(K).all():
        i, j = np.argwhere(~np.isfinite(K))[0]
        raise ValueError(f"K(points[{i}], points[{j}]) = {K[i, j]} is not finite")
    eps = float(jnp.finfo(compute_dtype(as_array(points, "points"))).eps)
    tolerance = len(K) * eps * max(np.abs(K).max(), np.abs(np.linalg.eigvalsh((K + K.T) / 2)).max())
    i, j = np.unravel_index(np.argmax(np.abs(K - K.T)), K.shape)
    if abs(K[i, j] - K[j, i]) > tolerance:
        first, second = sorted((int(i), int(j)))
        message = f"Not symmetric: K = {K[i, j]:.6g} and {K[j, i]:.6g} for points {i} and {j} in the two orders."
        return Counterexample([first, second], None, float(abs(K[i, j] - K[j, i])), message)
    chosen = _worst_pair(K, tolerance)
    if chosen is None:
        chosen = _thinned(K, tolerance)
    return None if chosen is None else _described(K, chosen)


def _worst_pair(K: np.ndarray, tolerance: float) -> list[int] | None:
    """A point with K(x, x) < 0, or else the pair whose 2 x 2 matrix has the most negative eigenvalue."""
    diagonal = np.diag(K)
    if diagonal.min() < -tolerance:
        return [int(np.argmin(diagonal))]
    half, middle = (diagonal[:, None] - diagonal) / 2, (diagonal[:, None] + diagonal) / 2
    smallest = middle - np.hypot(half, (K + K.T) / 2)
    np.fill_diagonal(smallest, np.inf)
    i, j = np.unravel_index(np.argmin(smallest), K.shape)
    return sorted((int(i), int(j))) if smallest[i, j] < -tolerance else None


def _thinned(K: np.ndarray, tolerance: float) -> list[int] | None:
    """All points, less those without which a negative eigenvalue is left."""
    smallest = lambda index: np.linalg.eigvalsh(K[np.ix_(index, index)])[0]
    chosen = list(range(len(K)))
    if smallest(chosen) >= -tolerance:
        return None
    vector = np.linalg.eigh((K + K.T) / 2)[1][:, 0]
    for i in np.argsort(np.abs(vector)):  # the points that matter least first
        fewer = [j for j in chosen if j != i]
        if fewer and smallest(fewer) < -tolerance:
            chosen = fewer
    return chosen


def _described(K: np.ndarray, chosen: list[int]) -> Counterexample:
    part = K[np.ix_(chosen, chosen)]
    values, vectors = np.linalg.eigh((part + part.T) / 2)
    vector = vectors[:, 0] * (1 if vectors[np.argmax(np.abs(vectors[:, 0])), 0] > 0 else -1)
    names = " and ".join(map(str, chosen)) if len(chosen) < 3 else ", ".join(map(str, chosen))
    shown = ", ".join(f"{v:.3g}" for v in vector)
    noun = "point" if len(chosen) == 1 else "points"
    message = f"v'K v = {values[0]:.6g} for v = ({shown}) on {noun} {names}."
    return Counterexample(chosen, vector, float(values[0]), message)
