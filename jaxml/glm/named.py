r"""The models of a first course by name, and least squares in closed form.

    linear    y | x ~ Normal(theta'x)            h(x) = theta'x
    logistic  y | x ~ Bernoulli(g(theta'x))      h(x) = 1 / (1 + exp(-theta'x))
    softmax   y | x ~ Categorical                h(x)_k = exp(theta_k'x) / sum_j exp(theta_j'x)
    Poisson   y | x ~ Poisson(exp(theta'x))      h(x) = exp(theta'x)

Each is :func:`jaxml.glm.fit` with a family filled in. Source: notes 3, 4 and 6.4.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxml import families
from jaxml.glm.checks import read_rows
from jaxml.glm.fit import fit
from jaxml.glm.objective import with_ones
from jaxml.glm.result import Fit
from jaxml.predictors import Linear
from jaxml.rows import Rows


def linear_regression(X: Any, y: Any, **options: Any) -> Fit:
    """Linear regression: ``fit(Normal(), X, y, **options)``, exact after one Newton step.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{glm.linear_regression(X, y).params.weight[0]:.4f}")
        2.0000
    """
    return fit(families.Normal(), X, y, **options)


def logistic_regression(X: Any, y: Any, **options: Any) -> Fit:
    """Logistic regression of labels 0 and 1: ``fit(Bernoulli(), X, y, **options)``."""
    return fit(families.Bernoulli(), X, y, **options)


def softmax_regression(X: Any, y: Any, *, classes: int | None = None, **options: Any) -> Fit:
    """Softmax regression of labels 0..K-1: ``fit(Categorical(K), X, y, **options)``.

    Args:
        X: (n, d).
        y: (n,) integer labels.
        classes: K; by default the largest label + 1, which must be readable (not inside jit).
        **options: of :func:`jaxml.glm.fit`.
    """
    if classes is None:
        if isinstance(y, jax.core.Tracer):
            raise ValueError("inside jit the number of classes must be given: softmax_regression(X, y, classes=K)")
        classes = int(jnp.max(jnp.asarray(y))) + 1
    return fit(families.Categorical(classes), X, y, **options)


def poisson_regression(X: Any, y: Any, **options: Any) -> Fit:
    """Poisson regression of counts: ``fit(Poisson(), X, y, **options)``."""
    return fit(families.Poisson(), X, y, **options)


def normal_equation(X: Any, y: Any, *, intercept: bool = True) -> Linear:
    """The least-squares solution theta = (X'X)^-1 X'y of X'(X theta - y) = 0 (notes 3.4), by Cholesky.

    For teaching and for well-conditioned X of full rank: it squares the condition number. See :func:`least_squares`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{glm.normal_equation(X, y).weight[0]:.4f}")
        2.0000
    """
    rows = read_rows(families.Normal(), X, y, None, None)
    a = _with_ones(rows, intercept)
    gram = jnp.matmul(a.T, a, precision="highest")
    theta = jax.scipy.linalg.solve(gram, jnp.matmul(rows.y, a, precision="highest"), assume_a="pos")
    return _split(theta, intercept)


def least_squares(X: Any, y: Any, *, intercept: bool = True) -> Linear:
    """The least-squares solution by QR: R theta = Q'y. X must have full column rank.

    Source: Golub & Van Loan (2013), *Matrix Computations*, section 5.3.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{glm.least_squares(X, y).weight[0]:.4f}")
        2.0000
    """
    rows = read_rows(families.Normal(), X, y, None, None)
    q, r = jnp.linalg.qr(_with_ones(rows, intercept))
    return _split(jax.scipy.linalg.solve_triangular(r, rows.y @ q), intercept)


def _with_ones(rows: Rows, intercept: bool) -> jax.Array:
    return with_ones(rows.X) if intercept else rows.X


def _split(theta: jax.Array, intercept: bool) -> Linear:
    return Linear(theta[:-1], theta[-1]) if intercept else Linear(theta)
