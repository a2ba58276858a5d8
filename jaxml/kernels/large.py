r"""Ridge regression on the span of some centres, by preconditioned conjugate gradients: hundreds of thousands of rows.

    minimise  (1/2N) sum_i w_i (y_i - f(x_i) - b)^2 + l2/2 ||f||^2,    f = sum_j beta_j K(c_j, .)

In the features phi of :func:`jaxml.kernels.nystrom`, ||f||^2 = ||theta||^2 and the matrix of the normal equations is that of the rows,
(1/N) phi(X)'W phi(X) + l2 I. The preconditioner is the same matrix of all rows or, of many, a sample: of all rows it is the normal
equations solved directly, and one or two iterations are what refines their solution. The features of the rows are computed in
blocks in each iteration and never kept: memory is a block of rows and a few m x m matrices.

Source: Rudi, Carratino & Rosasco (2017), "FALKON: an optimal large scale kernel method".
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import cho_factor, cho_solve

from jaxml import families, links
from jaxml.kernels.conjugate_gradients import conjugate_gradients
from jaxml.kernels.features import Nystrom, nystrom
from jaxml.kernels.models import KernelFit, read_centers, read_problem
from jaxml.linalg import from_lower_products, lower_products, matmul
from jaxml.predictors import Linear
from jaxml.rows import Rows, fold_blocks
from jaxml.status import Status, warn_unless_converged

_BLOCK = 2048
_FEW, _MANY = 10, 60  # rows for each centre that the preconditioner sees


def nystrom_ridge(
    kernel: Any,
    centers: Any,
    X: Any,
    y: Any,
    *,
    l2: Any,
    weights: Any = None,
    intercept: bool = True,
    tol: Any = None,
    max_steps: int = 200,
    check: bool = True,
) -> KernelFit:
    """Ridge regression on the span of the centres.

    Args:
        kernel: of :mod:`jaxml.kernels`, or a function of two points.
        centers: (m, d), chosen, or from :func:`jaxml.kernels.sample_centers`.
        X: (n, d).
        y: (n,) real.
        l2: penalty, positive.
        weights: (n,), not negative; a row of weight 0 is as good as absent.
        intercept: whether there is an unpenalised bias.
        tol: stop when the norm of the residual of the normal equations is at most this share of that of their right-hand side; None:
            1e-10 in float64, 1e-5 in float32.
        max_steps: most iterations; each goes through all rows once.
        check: False: look at no value, warn of nothing.

    Returns:
        :class:`jaxml.kernels.KernelFit` whose points are the centres, with the ``residual`` that was reached;
        differentiable in X, y, weights, l2, the centres and the kernel.

    Raises:
        ValueError, TypeError: bad input, naming argument, value and place (values only outside jit).

    Warns:
        ConvergenceWarning: the residual stayed above 10 tol (outside jit, unless check=False).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X = jnp.linspace(0.0, 6.0, 500)[:, None]
        >>> fit = kernels.nystrom_ridge(kernels.Gaussian(1.0), X[::50], X, jnp.sin(X[:, 0]), l2=1e-5)
        >>> print(f"{kernels.predict(fit, jnp.array([[1.5]]))[0]:.2f}")
        1.00

    Source: Rudi, Carratino & Rosasco (2017).
    """
    family = families.Normal()
    kernel, rows, l2 = read_problem(family, kernel, X, y, l2, weights, None, check)
    centers = read_centers(centers, rows)
    tol = (1e-10 if rows.X.dtype.itemsize >= 8 else 1e-5) if tol is None else tol
    phi = nystrom(kernel, centers)
    params, residual, steps = _solve(phi, rows, l2, jnp.asarray(tol, rows.X.dtype), max_steps, intercept)
    status = jnp.where(residual <= 10 * tol, int(Status.CONVERGED), int(Status.STEP_LIMIT))
    status = jnp.where(jnp.isfinite(residual), status, int(Status.NON_FINITE)).astype(jnp.int32)
    none = jnp.zeros((), rows.X.dtype)
    result = KernelFit(params, kernel, centers, family, status, steps, none, links.identity, residual=residual)
    if check:
        warn_unless_converged(result)
    return result


@partial(jax.jit, static_argnames="intercept")
def _solve(
    phi: Nystrom, rows: Rows, l2: Array, tol: Array, max_steps: Any, intercept: bool
) -> tuple[Linear, Array, Array]:
    w = rows.mass
    total = jnp.sum(w)
    m, dtype = len(phi.centers), rows.X.dtype
    penalty = l2 * jnp.append(jnp.ones(m, dtype), 0 if intercept else 1)

    def params(theta: Array) -> Linear:
        return Linear(matmul(phi.root, theta[:-1]), theta[-1] if intercept else None)

    def collect(beta: Array, level: Array) -> Array:
        """The sums over rows in the features, of which there may be none that is constant."""
        return jnp.append(matmul(phi.root.T, beta), level if intercept else 0) / total

    def normal(theta: Array) -> Array:
        coefficients = params(theta)
        level = coefficients.bias if intercept else 0
        predicted = lambda K, y: matmul(K, coefficients.weight) + level
        return collect(*_through(phi, rows, w, predicted)) + penalty * theta

    right = collect(*_through(phi, rows, w, lambda K, y: y))
    still = lax.stop_gradient((phi, rows, w, l2, penalty))
    rough = _second_moment(*still[:-1], intercept) + jnp.diag(still[-1])
    rough = rough.at[-1, -1].add(jnp.finfo(dtype).eps * jnp.trace(rough))
    factor = cho_factor(rough, lower=True)
    precondition = lambda r: cho_solve((factor[0], True), r)
    # The derivative of a solution needs no derivative of the iterations.
    solve = lambda product, b: conjugate_gradients(product, b, precondition, tol, max_steps)[::2]
    theta, steps = lax.custom_linear_solve(normal, right, solve, symmetric=True, has_aux=True)
    left, right = lax.stop_gradient((right - normal(theta), right))
    size = jnp.linalg.norm(right)
    residual = jnp.linalg.norm(left) / jnp.where(size > 0, size, 1)
    return params(theta), residual, steps


def _second_moment(phi: Nystrom, rows: Rows, w: Array, l2: Array, intercept: bool) -> Array:
    """The mean of (phi, 1)(phi, 1)', or of (phi, 0)(phi, 0)' without an intercept, over every k-th row, or all.

    As R'K'W K R it takes half the products that phi(X)'W phi(X) takes, and so may see more rows; but the rounding of K'W K is
    magnified by R. Where that reaches the penalty, phi itself is formed for a few rows: ten for each centre know the matrix well
    enough for some 25 iterations whatever the penalty, where the centres alone leave hundreds.
    """
    K = phi.kernel.matrix(phi.centers, phi.centers, True)
    noise = jnp.finfo(K.dtype).eps * jnp.mean(jnp.sum(K * K, axis=1)) * jnp.sum(phi.root * phi.root)

    few = lambda: _moment(phi, rows, w, _FEW)

    def many() -> tuple[Array, Array]:
        gram, side = _moment(lambda X: phi.kernel.matrix(X, phi.centers, False), rows, w, _MANY)
        return matmul(matmul(phi.root.T, gram), phi.root), matmul(side, phi.root)

    moment, mean = lax.cond(noise <= l2, many, few)
    side = jnp.append(mean, 1) if intercept else jnp.zeros(len(mean) + 1, w.dtype)
    return jnp.pad(moment, (0, 1)).at[-1].set(side).at[:, -1].set(side)


def _moment(features: Any, rows: Rows, w: Array, each: int) -> tuple[Array, Array]:
    """The means of f f' and f, f = features(x), over every k-th row, `each` for each feature, or over all where that is near."""
    m = jax.eval_shape(features, rows.X[:1]).shape[1]
    index = jnp.arange(0, rows.n, max(1, rows.n // (each * m)))
    size = min(_BLOCK, len(index))

    def add(total: Any, first: Array, fresh: Array) -> Any:
        chosen = lax.dynamic_slice_in_dim(index, first, size)
        share = jnp.where(fresh, w[chosen], 0)
        root = jnp.sqrt(share)
        f = root[:, None] * features(rows.X[chosen])
        return jax.tree.map(jnp.add, total, (lower_products(f), matmul(root, f), jnp.sum(share)))

    zeros = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(lower_products, jnp.zeros((1, m), w.dtype))
    )
    gram, side, share = fold_blocks(add, (zeros, jnp.zeros(m, w.dtype), jnp.zeros((), w.dtype)), len(index), size)
    share = jnp.where(share > 0, share, 1)
    return from_lower_products(gram) / share, side / share


def _through(phi: Nystrom, rows: Rows, w: Array, inner: Any) -> tuple[Array, Array]:
    """sum over rows of w inner(K, y) times their row of K = K(X, centers), and of w inner(K, y) alone; a block at a time."""
    size = min(_BLOCK, rows.n)

    @jax.checkpoint  # a derivative makes the blocks of K again rather than keep them
    def add(total: tuple[Array, Array], first: Array, fresh: Array) -> tuple[Array, Array]:
        X, y, wb = (lax.dynamic_slice_in_dim(a, first, size) for a in (rows.X, rows.y, w))
        K = phi.kernel.matrix(X, phi.centers, False)
        values = jnp.where(fresh, wb, 0) * inner(K, y)
        return total[0] + matmul(values, K), total[1] + jnp.sum(values)

    zero = jnp.zeros(len(phi.centers), rows.X.dtype)
    return fold_blocks(add, (zero, zero[0]), rows.n, size)
