"""Section 8: kernels. Inner products of features, without the features."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from course.data import boiling, launches, standardised
from course.table import row
from jaxml import families, kernels

UNSEEN = np.array([[-1.5], [0.1], [2.0]])
ALPHA, STEPS = 0.01, 30


@row("8.1", "prediction by the kernel", "theta'phi(z) = sum_i beta_i K(x_i, z)", ulps=1e3)
def prediction_by_kernel():
    """Gradient descent on explicit features of degree 2, and the same without them."""
    X, y = _pressure()
    theta = np.zeros(3)
    for _ in range(STEPS):
        theta = theta - ALPHA * _phi(X).T @ (_phi(X) @ theta - y)
    return _phi(UNSEEN) @ theta, kernels.predict(_descended(X, y), jnp.asarray(UNSEEN))


@row("8.2", "the kernel trick", "beta_i <- beta_i + alpha (y_i - sum_j beta_j K(x_j, x_i))", ulps=1e3)
def kernel_trick():
    X, y = _pressure()
    K, beta = (X @ X.T + 1) ** 2, np.zeros(len(y))
    for _ in range(STEPS):
        beta = beta + ALPHA * (y - K @ beta)
    return beta, _descended(X, y).params.weight


@row("8.2", "its limit: kernel ridge regression", "(K + n l2 I) beta = y", ulps=1e5)
def kernel_ridge():
    X, y = _pressure()
    beta = np.linalg.solve(np.exp(-((X - X.T) ** 2) / 2) + len(y) * 0.01 * np.eye(len(y)), y)
    fit = kernels.kernel_ridge(kernels.Gaussian(1.0), jnp.asarray(X), jnp.asarray(y), l2=0.01, intercept=False)
    return beta, fit.params.weight


@row("8.2", "logistic regression by a kernel", "l2 beta_i = (y_i - g(sum_j K_ij beta_j)) / n", ulps=1e5)
def kernel_logistic():
    """What the gradient, K (l2 beta - (y - g) / n), is zero at; beta by Newton steps in NumPy."""
    X, y = launches()
    X = standardised(X)
    K, beta, l2, n = np.exp(-((X - X.T) ** 2) / 2), np.zeros(len(y)), 0.1, len(y)
    for _ in range(20):
        g = 1 / (1 + np.exp(-K @ beta))
        slope = np.diag(g * (1 - g)) / n
        beta = beta - np.linalg.solve(slope @ K + l2 * np.eye(n), (g - y) / n + l2 * beta)
    fit = kernels.fit(
        families.Bernoulli(), kernels.Gaussian(1.0), jnp.asarray(X), jnp.asarray(y), l2=l2, intercept=False
    )
    return 1 / (1 + np.exp(-K @ beta)), kernels.predict(fit, jnp.asarray(X))


@row("8.3", "validity of Gram matrices", "valid where no eigenvalue is negative")
def validity():
    """[[1, 0], [0, 0]] has eigenvalues 1 and 0, [[3, 5], [5, 3]] has 8 and -2."""
    verdicts = [kernels.is_valid_gram(jnp.asarray(K)) for K in ([[1.0, 0.0], [0.0, 0.0]], [[3.0, 5.0], [5.0, 3.0]])]
    return [[True, False], [0.0, -2.0]], [[v.valid for v in verdicts], [v.smallest for v in verdicts]]


@row("8.4", "polynomial kernel", "(x'z + 1)^2 = phi(x)'phi(z), phi = (1, sqrt 2 x, x^2)")
def polynomial():
    X, _ = _pressure()
    return _phi(X) @ _phi(X).T, kernels.gram(kernels.Polynomial(2), jnp.asarray(X))


@row("8.5", "Gaussian kernel", "exp(-||x - z||^2 / (2 sigma^2))")
def gaussian():
    X, _ = _pressure()
    closed = [[np.exp(-np.sum((x - z) ** 2) / (2 * 0.7**2)) for z in UNSEEN] for x in X]
    return closed, kernels.gram(kernels.Gaussian(0.7), jnp.asarray(X), jnp.asarray(UNSEEN))


def _descended(X, y):
    how: dict[str, Any] = {"learning_rate": ALPHA, "steps": STEPS}
    return kernels.gradient_descent(families.Normal(), kernels.Polynomial(2), jnp.asarray(X), jnp.asarray(y), **how)


def _phi(X):
    return np.hstack([np.ones_like(X), np.sqrt(2) * X, X**2])


def _pressure():
    X, y = boiling()
    return standardised(X), (y - y.mean()) / y.std()
