r"""The models of a first course by name, and least squares in closed form.

    linear    y | x ~ Normal(theta'x)            h(x) = theta'x
    logistic  y | x ~ Bernoulli(g(theta'x))      h(x) = 1 / (1 + exp(-theta'x))
    softmax   y | x ~ Categorical                h(x)_k = exp(theta_k'x) / sum_j exp(theta_j'x)
    Poisson   y | x ~ Poisson(exp(theta'x))      h(x) = exp(theta'x)

Each is :func:`jaxml.glm.fit` with a family filled in. Source: notes 3, 4 and 6.4.
"""

from typing import Any

import jax

from jaxml import families
from jaxml.checks import count_classes, read_rows
from jaxml.glm.fit import fit
from jaxml.glm.result import Fit
from jaxml.least_squares import least_squares_solution
from jaxml.linalg import matmul
from jaxml.optimize import Newton
from jaxml.predictors import Linear
from jaxml.predictors.design import Design


def linear_regression(X: Any, y: Any, **options: Any) -> Fit:
    """Linear regression: ``fit(Normal(), X, y, refine=True, **options)``, exact after one Newton step.

    Where columns are nearly dependent (a variance inflation above 100), coefficients, dispersion and log-likelihood are refined to the
    digits that the data hold: QR of the columns scaled by powers of two, and steps of refinement of the augmented system with
    residual, X'r and solution in double-double. The standard errors that ``glm.infer`` gives for it are refined likewise. On the
    reference data sets of NIST all coefficients and standard errors have 12 certified digits or more in float64, and 7 on Filip, which
    is all that its powers of x hold once they are rounded to float64. ``refine=False`` leaves it at the Newton step.

    Args:
        X: (n, d).
        y: (n,) real.
        **options: of :func:`jaxml.glm.fit`; with another link or a first-order solver nothing is refined.

    Returns:
        :class:`jaxml.glm.Fit`; its dispersion estimates the variance of y given x.

    Raises:
        ValueError, TypeError, OverflowError: as :func:`jaxml.glm.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{glm.linear_regression(X, y).params.weight[0]:.4f}")
        2.0000

    Source: notes 3, 6.4; McCullagh & Nelder (1989), chapter 3; Björck (1967), *Iterative refinement of linear least squares
    solutions I*.
    """
    usual = options.get("link") in (None, "identity", "canonical") and isinstance(options.get("solver"), Newton | None)
    return fit(families.Normal(), X, y, **{"refine": usual} | options)


def logistic_regression(X: Any, y: Any, **options: Any) -> Fit:
    """Logistic regression of labels 0 and 1: ``fit(Bernoulli(), X, y, **options)``.

    Args:
        X: (n, d).
        y: (n,) labels 0 and 1.
        **options: of :func:`jaxml.glm.fit`.

    Returns:
        :class:`jaxml.glm.Fit`; status SEPARATED where the columns tell the labels apart without error and l2 is 0.

    Raises:
        ValueError, TypeError, OverflowError: as :func:`jaxml.glm.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 1, 0, 1])
        >>> print(f"{glm.logistic_regression(X, y).params.weight[0]:.3f}")
        0.908

    Source: notes 4.1, 4.2; McCullagh & Nelder (1989), chapter 4.
    """
    return fit(families.Bernoulli(), X, y, **options)


def softmax_regression(X: Any, y: Any, *, classes: int | None = None, **options: Any) -> Fit:
    """Softmax regression of labels 0..K-1: ``fit(Categorical(K), X, y, **options)``.

    Args:
        X: (n, d).
        y: (n,) integer labels.
        classes: K, 2 or more; by default the largest label + 1, which must be readable (not inside jit).
        **options: of :func:`jaxml.glm.fit`.

    Returns:
        :class:`jaxml.glm.Fit` with weight (d, K) and bias (K,), summing to 0 over the classes unless their penalties
        differ.

    Raises:
        ValueError: fewer than two classes, or classes not given inside jit.
        ValueError, TypeError, OverflowError: as :func:`jaxml.glm.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 1, 0, 2])
        >>> fit = glm.softmax_regression(X, y, l2=0.1)
        >>> print(glm.predict(fit, jnp.array([[3.0]])).argmax(axis=1))
        [2]

    Source: notes 4.3, 6.4; Bishop (2006), section 4.3.4.
    """
    return fit(families.Categorical(count_classes(y, classes)), X, y, **options)


def poisson_regression(X: Any, y: Any, **options: Any) -> Fit:
    """Poisson regression of counts: ``fit(Poisson(), X, y, **options)``.

    Args:
        X: (n, d).
        y: (n,) counts 0, 1, 2, ...
        **options: of :func:`jaxml.glm.fit`; for rates give the logarithm of the exposure as ``offset``.

    Returns:
        :class:`jaxml.glm.Fit`.

    Raises:
        ValueError, TypeError, OverflowError: as :func:`jaxml.glm.fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> print(f"{glm.poisson_regression(X, y).params.weight[0]:.3f}")
        0.706

    Source: notes 6.4; McCullagh & Nelder (1989), chapter 6.
    """
    return fit(families.Poisson(), X, y, **options)


def normal_equation(X: Any, y: Any, *, intercept: bool = True) -> Linear:
    """The least-squares solution theta = (X'X)^-1 X'y of X'(X theta - y) = 0 (notes 3.4), by Cholesky.

    For teaching and for well-conditioned X of full rank: it squares the condition number. See :func:`least_squares`.

    Args:
        X: (n, d), of full column rank with the column of ones (not checked: the answer is arbitrary or NaN otherwise).
        y: (n,) real.
        intercept: whether there is a bias.

    Returns:
        Linear of weight (d,) and bias (), or None without an intercept.

    Raises:
        ValueError: shapes that do not match, or no rows.
        TypeError, OverflowError: values that are not numeric or do not fit the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{glm.normal_equation(X, y).weight[0]:.4f}")
        2.0000

    Source: notes 3.4; Bishop (2006), section 3.1.1.
    """
    rows = read_rows(families.Normal(), X, y, None, None)
    a = Design(rows.X, intercept).dense()
    theta = jax.scipy.linalg.solve(matmul(a.T, a), matmul(rows.y, a), assume_a="pos")
    return _split(theta, intercept)


def least_squares(X: Any, y: Any, *, intercept: bool = True) -> Linear:
    """The least-squares solution by QR, R'R theta = [X 1]'y where [X 1] = Q R, refined to the digits that X and y hold.

    The columns are scaled by powers of two, and steps of refinement of the augmented system r + [X 1] theta = y, [X 1]'r = 0 follow,
    with r, [X 1]'r and theta in double-double: the answer is exact to rounding up to condition numbers of 1e13 in float64, where QR
    alone loses the digits of that number and, where residuals are large, of its square. Derivatives of any order are those of the
    minimiser. For standard errors use :func:`linear_regression` and :func:`infer`, which have the same digits.

    Args:
        X: (n, d), of full column rank with the column of ones (not checked: the answer is arbitrary otherwise), n at
            least the number of columns.
        y: (n,) real.
        intercept: whether there is a bias.

    Returns:
        Linear of weight (d,) and bias (), or None without an intercept.

    Raises:
        ValueError: shapes that do not match, no rows, or fewer rows than columns.
        TypeError, OverflowError: values that are not numeric or do not fit the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{glm.least_squares(X, y).weight[0]:.4f}")
        2.0000

    Source: Golub & Van Loan (2013), *Matrix Computations*, section 5.3; Björck (1967), *Iterative refinement of linear least squares
    solutions I*.
    """
    rows = read_rows(families.Normal(), X, y, None, None)
    a = Design(rows.X, intercept).dense()
    if a.shape[0] < a.shape[1]:
        raise ValueError(
            f"X has {a.shape[0]} rows for {a.shape[1]} coefficients; use linear_regression, of minimum norm"
        )
    return _split(least_squares_solution(a, rows.y), intercept)


def _split(theta: jax.Array, intercept: bool) -> Linear:
    return Linear(theta[:-1], theta[-1]) if intercept else Linear(theta)
