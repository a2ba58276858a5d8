r"""Is a law an exponential family? A numerical test on a grid.

log p(y; theta) = log b(y) + <eta(theta), T(y)> - a(theta) on points y_i and parameters theta_j is a matrix; taking out row
and column means leaves the centred products <eta_j, T_i>, of rank equal to the dimension of the family. A law whose support
moves with theta (the uniform on [a, b]) is in no exponential family: b(y) would depend on the parameter. A law whose rank
grows with the grid (Laplace with unknown location) is in none either, but no grid can show more than "at least r".

Source: Barndorff-Nielsen (1978), section 8.1; Pitman (1936), Koopman (1936), Darmois (1935).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Membership(NamedTuple):
    """What a grid shows about a law.

    Attributes:
        consistent: on this grid the law is an exponential family, of a dimension that the grid does not limit.
        dimension: rank of the doubly centred log-density matrix; 0 where the support is not constant.
        at_limit: the rank is as large as the grid allows, or smaller on half of the grid, or its singular values fade without a gap:
            ``dimension`` is a lower bound.
        constant_support: which points have density 0 does not depend on the parameter.
        singular_values: of the doubly centred matrix, in descending order.
        message: the verdict in a sentence.
    """

    consistent: bool
    dimension: int
    at_limit: bool
    constant_support: bool
    singular_values: np.ndarray
    message: str


def exponential_family_dimension(
    log_density: Callable[[Any, Any], Any], points: Any, parameters: Any, *, tol: float | None = None
) -> Membership:
    """Test on a grid whether a law is an exponential family, and of what dimension.

    Args:
        log_density: ``log_density(y, theta)``, a JAX function to a scalar, -inf outside the support.
        points: observations y, a pytree of arrays with one leading axis.
        parameters: parameters theta, a pytree of arrays with one leading axis.
        tol: singular values up to ``tol`` count as 0; by default what rounding of the log-densities explains.

    Returns:
        :class:`Membership`, of Python and NumPy values: this runs on the host, not inside jit. For a law with a number of trials
        keep it the same for all points. Where there is no verdict (NaN or +inf densities, or fewer than two points or
        parameters) ``consistent`` is False, ``dimension`` 0, and ``message`` says why. A verdict holds for its grid alone:
        on a finer one the dimension of an exponential family stays what it is, that of another law grows.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> inside = lambda y, b: jnp.where((y >= 0) & (y <= b), -jnp.log(b), -jnp.inf)
        >>> found = families.exponential_family_dimension(inside, jnp.linspace(0.0, 3.0, 9), jnp.linspace(1.0, 3.0, 9))
        >>> found.constant_support
        False
        >>> poisson = lambda y, eta: families.log_prob(families.Poisson(), eta, y)
        >>> families.exponential_family_dimension(poisson, jnp.arange(12.0), jnp.linspace(-1.0, 1.0, 9)).message
        'Consistent with an exponential family of dimension 1.'

    Source: Barndorff-Nielsen (1978), section 8.1; notes 5.6.
    """
    rows = jax.jit(jax.vmap(lambda p, y: jax.vmap(lambda theta: log_density(y, theta))(p), (None, 0)))
    matrix = np.asarray(rows(*jax.tree.map(jnp.asarray, (parameters, points))))
    rounding = float(jnp.finfo(matrix.dtype).eps)
    matrix = matrix.astype(np.float64)
    bad = np.isnan(matrix) | (matrix == np.inf)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        return _refusal(f"log_density is {matrix[row, column]} at point {row}, parameter {column}: no verdict.", True)
    outside = matrix == -np.inf
    moving = np.flatnonzero(outside.any(axis=1) & ~outside.all(axis=1))
    if moving.size:
        return _refusal(
            f"Not an exponential family: the support depends on the parameter. Point {moving[0]} has density 0 under parameter"
            f" {np.argmax(outside[moving[0]])} but not under parameter {np.argmin(outside[moving[0]])}.",
            False,
        )
    matrix = matrix[~outside.all(axis=1)]
    limit = min(matrix.shape) - 1
    if limit < 1:
        return _refusal("The grid is too small: it needs two points of the support and two parameters at least.", True)
    return _verdict(
        matrix, limit, tol if tol is not None else 16 * rounding * np.sqrt(matrix.size) * np.abs(matrix).max()
    )


def _verdict(matrix: np.ndarray, limit: int, tol: float) -> Membership:
    values = _spectrum(matrix)
    rank = int(np.sum(values > tol))
    if rank >= limit:
        reason = "as large as a grid of this size allows"
    elif rank and values[rank - 1] < 100 * tol:
        reason = "with singular values that fade without a gap"
    elif any(np.sum(_spectrum(half) > tol) < rank for half in (matrix[::2], matrix[:, ::2])):
        reason = "and less on every second point or parameter, so that it grows with the grid"
    else:
        reason = ""
    if reason:
        message = (
            f"The dimension is at least {rank}, {reason}: either not an exponential family of fixed dimension, or one that this"
            " grid cannot show. Try a larger and wider grid."
        )
        return Membership(False, rank, True, True, values, message)
    return Membership(True, rank, False, True, values, f"Consistent with an exponential family of dimension {rank}.")


def _spectrum(matrix: np.ndarray) -> np.ndarray:
    centred = matrix - matrix.mean(axis=0)
    return np.linalg.svd(centred - centred.mean(axis=1, keepdims=True), compute_uv=False)


def _refusal(message: str, constant_support: bool) -> Membership:
    return Membership(False, 0, False, constant_support, np.zeros(0), message)
