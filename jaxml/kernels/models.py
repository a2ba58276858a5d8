r"""Kernel ridge regression, generalised linear models by a kernel, and gradient descent without features.

    minimise  -(1/N) sum_i w_i log p(y_i; eta_i) + l2/2 beta'K beta,    eta = K beta + b,   N = sum_i w_i

The representer theorem puts the minimiser over all functions sum_i beta_i K(x_i, .) of the training points. With K = L L' it is the
generalised linear model of :func:`jaxml.glm.fit` on the features L, since beta'K beta = ||L'beta||^2: one engine, any family. For the
normal family the answer is in closed form, (K + N l2 I) beta = y - b.

Source: notes 8.1, 8.2; Kimeldorf & Wahba (1971); Saunders, Gammerman & Vovk (1998), "Ridge regression learning algorithm in dual
variables"; Green & Silverman (1994), chapter 5.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import cho_solve, solve_triangular

from jaxml import families, links
from jaxml.checks import check_family, check_options, read_positive, read_rows, refuse_bad_values
from jaxml.dtypes import as_array, to_compute
from jaxml.families.base import Family
from jaxml.glm.fit import fit_rows
from jaxml.kernels.conjugate_gradients import conjugate_gradients
from jaxml.kernels.features import nystrom
from jaxml.kernels.functions import Kernel, as_kernel
from jaxml.kernels.gram import gram
from jaxml.likelihood import row_loss
from jaxml.linalg import matmul
from jaxml.links import Link
from jaxml.prediction import mean_log_likelihood, natural_from, predict_from, read_features
from jaxml.predictors import KernelExpansion, Linear
from jaxml.records import record, static_field
from jaxml.rows import Rows
from jaxml.status import Status, warn_unless_converged

_JITTERS = (0.0, 10.0, 1e3, 1e5)  # times n eps times the mean of the diagonal
_MANY = 3000  # rows from which conjugate gradients are tried
_STRIDE = 20  # every so many rows make their preconditioner
_PRODUCTS = 80  # n / 80 products with the matrix take as long as its factor, or less


@record
class KernelFit:
    """A model fitted by a kernel: eta(x) = sum_i beta_i K(x_i, x) + b.

    Attributes:
        params: Linear of weight beta, (n,) or (n, k), and bias, () or (k,), None without an intercept.
        kernel: as given.
        points: (n, d), the rows X, or the centres.
        family: the law of y.
        status: a code of :class:`jaxml.Status`.
        steps: accepted steps of the solver, iterations of conjugate gradients, or 0 for a factor.
        jitter: what was added to the diagonal of K, of the size of rounding, to factor it.
        residual: of :func:`jaxml.kernels.nystrom_ridge`, the relative residual of its equations; None elsewhere.
        link: static.
        offset: static, whether the fit had an offset, which ``predict`` then asks for.
    """

    params: Linear
    kernel: Kernel
    points: Array
    family: Family
    status: Array
    steps: Array
    jitter: Array
    link: Link = static_field()
    offset: bool = static_field(default=False)
    residual: Array | None = None


def kernel_ridge(
    kernel: Any, X: Any, y: Any, *, l2: Any, weights: Any = None, intercept: bool = True, check: bool = True
) -> KernelFit:
    """Kernel ridge regression in closed form: (K + N l2 I) beta = y - b, with sum_i beta_i = 0 where there is a bias b.

    The equations are solved by a Cholesky factor; those of 3,000 rows and more by preconditioned conjugate gradients where these take
    less time, as with a penalty N l2 that is not small beside the kernel (``steps`` is then above 0), to the same digits.

    Args:
        kernel: of :mod:`jaxml.kernels`, or a function of two points.
        X: (n, d).
        y: (n,) real.
        l2: penalty, positive; alpha of other packages is N l2.
        weights: (n,), not negative; a row of weight 0 is as good as absent, even where it holds NaN.
        intercept: whether there is an unpenalised bias (scikit-learn's model has none).
        check: False: look at no value, warn of nothing.

    Returns:
        :class:`KernelFit` of the family Normal, differentiable in X, y, weights, l2 and the kernel.

    Raises:
        ValueError, TypeError: bad input, naming argument, value and place (values only outside jit).

    Warns:
        ConvergenceWarning: K + N l2 I could not be factored: not a kernel, or l2 is below rounding (outside jit, unless check=False).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0.0, 1.0, 0.0])
        >>> fit = kernels.kernel_ridge(kernels.Gaussian(0.5), X, y, l2=1e-4)
        >>> print(f"{kernels.predict(fit, jnp.array([[1.0]]))[0]:.2f}")
        1.00

    Source: notes 8.1, 8.2; Saunders, Gammerman & Vovk (1998); Frangella, Tropp & Udell (2023), "Randomized Nystroem preconditioning".
    """
    family = families.Normal()
    kernel, rows, l2 = read_problem(family, kernel, X, y, l2, weights, None, check)
    params, steps, jitter, fine = _ridge(kernel, rows, l2, intercept)
    status = jnp.where(fine, int(Status.CONVERGED), int(Status.NON_FINITE)).astype(jnp.int32)
    result = KernelFit(params, kernel, rows.X, family, status, steps, jitter, links.identity)
    if check:
        warn_unless_converged(result)
    return result


def fit(
    family: Family,
    kernel: Any,
    X: Any,
    y: Any,
    *,
    l2: Any,
    centers: Any = None,
    weights: Any = None,
    offset: Any = None,
    intercept: bool = True,
    link: Any = None,
    solver: Any = None,
    check: Any = "support",
) -> KernelFit:
    """Maximum penalised likelihood of any family by a kernel: kernel logistic, Poisson, softmax regression and the others.

    Each step of Newton's method costs n^3. For more than a few thousand rows give m centres: it then costs n m^2, and n m numbers are
    kept.

    Args:
        family: the law of y.
        kernel: of :mod:`jaxml.kernels`, or a function of two points.
        X: (n, d).
        y: as for :func:`jaxml.glm.fit`.
        l2: penalty on beta'K beta, positive.
        centers: (m, d), chosen, or from :func:`jaxml.kernels.sample_centers`: the minimiser over their span, sum_j beta_j K(c_j, .),
            as the generalised linear model of the features of :func:`jaxml.kernels.nystrom`; None: all rows.
        weights: (n,), not negative; a row of weight 0 is as good as absent, even where it holds NaN.
        offset: of the shape of the linear predictor.
        intercept: whether there is an unpenalised bias.
        link: as for :func:`jaxml.glm.fit`.
        solver: as for :func:`jaxml.glm.fit`.
        check: as for :func:`jaxml.glm.fit`.

    Returns:
        :class:`KernelFit`; its points are the rows, or the centres.

    Raises:
        ValueError, TypeError, OverflowError: as :func:`jaxml.glm.fit`; a penalty that is not positive.

    Warns:
        ConvergenceWarning: as :func:`jaxml.glm.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, kernels
        >>> X, y = jnp.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), jnp.array([0, 0, 1, 1])
        >>> fit = kernels.fit(families.Bernoulli(), kernels.Gaussian(0.5), X, y, l2=0.01)  # no line tells these apart
        >>> print(kernels.predict(fit, X) > 0.5)
        [False False  True  True]

    Source: notes 8.1, 8.2; Zhu & Hastie (2005), "Kernel logistic regression and the import vector machine".
    """
    check_options("frequency", check)
    kernel, rows, l2 = read_problem(family, kernel, X, y, l2, weights, offset, check)
    if centers is None:
        points, (features, jitter) = rows.X, _factor(kernel, rows)
        coefficients = lambda weight: solve_triangular(features, weight, lower=True, trans="T")
    else:
        points, jitter = read_centers(centers, rows), jnp.zeros((), rows.X.dtype)
        phi = nystrom(kernel, points)
        features, coefficients = phi(rows.X), lambda weight: matmul(phi.root, weight)
    options = {"l2": l2, "intercept": intercept, "link": link, "solver": solver, "check": check}
    inner = fit_rows(family, rows._replace(X=features), full_rank=centers is None, **options)
    params = Linear(coefficients(inner.params.weight), inner.params.bias)
    return KernelFit(
        params, kernel, points, inner.family, inner.status, inner.steps, jitter, inner.link, offset is not None
    )


def predict_natural(fit: KernelFit, X: Any, *, offset: Any = None) -> Array:
    """The natural parameter eta of each row, from sum_i beta_i K(x_i, x) + b + offset.

    Args:
        fit: a fitted model.
        X: (m, d).
        offset: of the shape of the prediction; required if the fit had one, refused if not.

    Returns:
        (m,) or (m, k).

    Raises:
        ValueError: where shapes do not match the fit, or the offset is missing or refused.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, kernels
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0.0, 1.0, 0.0])
        >>> fit = kernels.fit(families.Normal(), kernels.Gaussian(0.5), X, y, l2=1e-4)
        >>> print(f"{kernels.predict_natural(fit, jnp.array([[1.0]]))[0]:.2f}")
        1.00

    Source: notes 8.1.
    """
    return natural_from(fit, _expansion(fit, X), offset)


def predict(fit: KernelFit, X: Any, *, offset: Any = None, trials: Any = None) -> Array:
    """E[Y] of each row; for Categorical the probabilities of the classes.

    Args:
        fit: a fitted model.
        X: (m, d).
        offset: as for :func:`predict_natural`.
        trials: () or (m,), for Binomial and Multinomial.

    Returns:
        (m,) or (m, k).

    Raises:
        ValueError: as :func:`predict_natural`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0.0, 1.0, 0.0])
        >>> print(kernels.predict(kernels.kernel_ridge(kernels.Gaussian(0.5), X, y, l2=1e-4), X).round(2) + 0.0)
        [0. 1. 0.]

    Source: notes 6.2, 8.1.
    """
    return predict_from(fit, _expansion(fit, X), offset, trials)


def score(fit: KernelFit, X: Any, y: Any, *, weights: Any = None, offset: Any = None) -> Array:
    """Mean log-likelihood sum_i w_i log p(y_i; eta_i) / sum_i w_i, log b included; larger is better.

    Args:
        fit: a fitted model.
        X: (m, d).
        y: as for :func:`jaxml.glm.fit`.
        weights: (m,), not negative; a row of weight 0 counts in nothing.
        offset: as for :func:`predict_natural`.

    Returns:
        () score in nats, at dispersion 1 where it is unknown.

    Raises:
        ValueError, TypeError, OverflowError: as :func:`jaxml.glm.score`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, kernels
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 4, 1])
        >>> near = kernels.fit(families.Poisson(), kernels.Gaussian(0.5), X, y, l2=0.01)
        >>> far = kernels.fit(families.Poisson(), kernels.Gaussian(0.5), X, y, l2=1.0)
        >>> print(bool(kernels.score(near, X, y) > kernels.score(far, X, y)))
        True

    Source: Gneiting & Raftery (2007), "Strictly proper scoring rules, prediction, and estimation".
    """
    predictor = KernelExpansion(fit.kernel, fit.points)
    return mean_log_likelihood(fit, fit.family, predictor, fit.points.shape[1], (X, y, weights, offset))


def _expansion(fit: KernelFit, X: Any) -> Array:
    """The linear predictors of new rows, less their offset."""
    X = read_features(X, fit.points.shape[1], fit.points.dtype)
    return KernelExpansion(fit.kernel, fit.points)(fit.params, X)


def gradient_descent(
    family: Family, kernel: Any, X: Any, y: Any, *, learning_rate: Any, steps: int, link: Any = None
) -> KernelFit:
    """Gradient descent in the space of features, of which only inner products are taken: beta <- beta - alpha dL/dz(z), z = K beta.

    With theta = sum_i beta_i phi(x_i) it is theta <- theta - alpha grad J(theta) for the cost J = sum_i L(theta'phi(x_i), y_i),
    without a bias, from theta = 0: for squared error beta_i <- beta_i + alpha (y_i - sum_j beta_j K(x_j, x_i)).

    Args:
        family: whose loss is L.
        kernel: of :mod:`jaxml.kernels`, or a function of two points.
        X: (n, d).
        y: as for :func:`jaxml.glm.fit`.
        learning_rate: alpha.
        steps: how many; static under jit.
        link: as for :func:`jaxml.glm.fit`.

    Returns:
        :class:`KernelFit` with status STEP_LIMIT, or NON_FINITE.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, kernels
        >>> X, y = jnp.array([[1.0], [2.0]]), jnp.array([2.0, 4.0])
        >>> fit = kernels.gradient_descent(families.Normal(), kernels.Linear(), X, y, learning_rate=0.1, steps=50)
        >>> print(f"{kernels.predict(fit, jnp.array([[3.0]]))[0]:.3f}")
        6.000

    Source: notes 8.1, 8.2.
    """
    kernel, rows, alpha = read_problem(family, kernel, X, y, learning_rate, None, None, "support", "learning_rate")
    link = links.resolve(family, link)
    beta = _descend(family, link, kernel, rows, alpha, steps)
    fine = jnp.all(jnp.isfinite(beta))
    status = jnp.where(fine, int(Status.STEP_LIMIT), int(Status.NON_FINITE)).astype(jnp.int32)
    return KernelFit(Linear(beta), kernel, rows.X, family, status, jnp.int32(steps), jnp.zeros((), rows.X.dtype), link)


# -- helpers ---------------------------------------------------------------------------------------------------------
def read_problem(
    family: Family, kernel: Any, X: Any, y: Any, l2: Any, weights: Any, offset: Any, check: Any, name: str = "l2"
) -> tuple[Kernel, Rows, Array]:
    """The kernel, the rows, those of weight 0 made harmless, and the penalty, in one dtype and looked through."""
    check_family(family)
    rows = read_rows(family, X, y, weights, offset)
    if check:
        refuse_bad_values(family, rows, "support" if check is True else check)
    return as_kernel(kernel, rows.X.dtype), rows.safe(), read_positive(name, l2, (), rows.X.dtype)


def read_centers(centers: Any, rows: Rows) -> Array:
    """Centres (m, d) in the dtype of the rows.

    Raises:
        ValueError: of other columns than X.
    """
    centers = to_compute(as_array(centers, "centers"), rows.X.dtype, "centers")
    if centers.ndim != 2 or centers.shape[1] != rows.X.shape[1]:
        raise ValueError(f"centers has shape {centers.shape}, expected (m, {rows.X.shape[1]}) to match X")
    return centers


@partial(jax.jit, static_argnames="intercept")
def _ridge(kernel: Kernel, rows: Rows, l2: Array, intercept: bool) -> tuple[Linear, Array, Array, Array]:
    n, dtype = rows.n, rows.X.dtype
    w = rows.mass
    on = w > 0
    root = jnp.where(on, jnp.sqrt(jnp.where(on, w, 1)), 0)
    shift = jnp.sum(w) * l2
    matrix = root[:, None] * gram(kernel, rows.X) * root
    matrix = matrix.at[jnp.diag_indices(n)].add(shift)
    right = jnp.stack([root * rows.y, root], axis=1)
    # The derivative of a solution needs no derivative of how it was found.
    still = lax.stop_gradient((matrix, shift))
    if n < _MANY:  # one factor serves the solution and its derivatives
        factor, jitter, fine = _with_jitter(still[0], lambda factor: factor, jnp.zeros_like(matrix), jnp.asarray(False))
        solve = lambda _, b: (cho_solve((factor, True), b), (jnp.int32(0), jitter, fine))
    else:
        solve = lambda _, b: _solution(*still, b)
    product = lambda v: matmul(matrix, v)
    solved, (steps, jitter, fine) = lax.custom_linear_solve(product, right, solve, symmetric=True, has_aux=True)
    level = jnp.sum(root * solved[:, 0]) / jnp.sum(root * solved[:, 1])
    bias = level if intercept else jnp.zeros((), dtype)
    beta = root * (solved[:, 0] - bias * solved[:, 1])
    return Linear(beta, bias if intercept else None), steps, jitter, fine


def _solution(matrix: Array, shift: Array, right: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    """x with matrix x = right, and the iterations it took, the jitter and whether there was a factor; not to be differentiated.

    By conjugate gradients, where these arrive in fewer products than the factor costs; else by the factor.
    """
    found, done, steps = _iterated(matrix, shift, right)
    solve = lambda factor: cho_solve((factor, True), right)
    x, jitter, fine = _with_jitter(matrix, solve, found, done)
    return x, (jnp.where(done, steps, 0), jitter, fine)


def _iterated(matrix: Array, shift: Array, right: Array) -> tuple[Array, Array, Array]:
    """Conjugate gradients for K + shift I. The preconditioner is K_S' K_SS^-1 K_S + shift I for every 20th row S: it is near for the
    large eigenvalues of K, and the others are not large beside the shift where that is not small."""
    n, eps = len(matrix), jnp.finfo(matrix.dtype).eps
    few = jnp.arange(0, n, _STRIDE)
    rows = matrix[few].at[jnp.arange(len(few)), few].add(-shift)
    own, inner = rows[:, few], matmul(rows, rows.T)
    factor = lambda a: lax.linalg.cholesky(
        a + 10 * eps * jnp.trace(a) * jnp.eye(len(a), dtype=a.dtype), symmetrize_input=False
    )
    root = factor(shift * own + inner)
    # What has no factor here is no kernel, which products with the matrix alone might not tell.
    root = jnp.where(jnp.isfinite(jnp.sum(jnp.diagonal(factor(own)))), root, jnp.nan)
    # by the formula of Woodbury
    precondition = lambda r: (r - matmul(rows.T, cho_solve((root, True), matmul(rows, r)))) / shift
    most = n / _PRODUCTS
    return conjugate_gradients(lambda v: matmul(matrix, v), right, precondition, 16 * eps, int(most), 1.5 * most)


@jax.jit
def _factor(kernel: Kernel, rows: Rows) -> tuple[Array, Array]:
    K = gram(kernel, rows.X)
    smallest = 10 * len(K) * jnp.finfo(K.dtype).eps * jnp.mean(jnp.diagonal(K))
    diagonal = jnp.diag_indices(len(K))
    nothing = jnp.zeros(0, K.dtype)
    _, more, _ = _with_jitter(
        lax.stop_gradient(K).at[diagonal].add(smallest), lambda factor: nothing, nothing, jnp.asarray(False)
    )
    jitter = smallest + more
    return jnp.linalg.cholesky(K.at[diagonal].add(jitter)), jitter


def _with_jitter(matrix: Array, use: Any, found: Any, done: Array) -> tuple[Any, Array, Array]:
    """``use(factor)`` for the least jitter that gives one, the jitter, and whether there is one; unless it is done already."""
    n = len(matrix)
    jitters = jnp.asarray(_JITTERS, matrix.dtype) * n * jnp.finfo(matrix.dtype).eps * jnp.mean(jnp.diagonal(matrix))

    def trip(state: Any) -> Any:
        i = state[0] + 1
        factor = lax.linalg.cholesky(matrix.at[jnp.diag_indices(n)].add(jitters[i]), symmetrize_input=False)
        return i, use(factor), jnp.isfinite(jnp.sum(jnp.diagonal(factor)))

    # Under vmap only lanes that fail go round.
    last, found, done = lax.while_loop(lambda s: ~s[2] & (s[0] < len(_JITTERS) - 1), trip, (jnp.int32(-1), found, done))
    return found, jitters[jnp.maximum(last, 0)], done


@partial(jax.jit, static_argnames=("link", "steps"))
def _descend(family: Family, link: Link, kernel: Kernel, rows: Rows, alpha: Array, steps: int) -> Array:
    K = gram(kernel, rows.X)
    slope = jax.grad(lambda z: jnp.sum(row_loss(family, link, z, rows.y)))
    shape = (rows.n,) if family.natural_size is None else (rows.n, family.natural_size)
    step = lambda _, beta: beta - alpha * slope(matmul(K, beta))
    return lax.fori_loop(0, steps, step, jnp.zeros(shape, K.dtype))
