"""Section 4: logistic regression and softmax regression."""

import jax
import jax.numpy as jnp
import numpy as np

from course.data import alligators, launches, standardised, with_ones
from course.table import row
from jaxml import families, glm, likelihood
from jaxml.predictors import Linear, linear

THETA = np.array([-1.0, -0.9])  # intercept and slope, not the best ones


@row("4.1", "logistic function", "p(y=1|x) = g(theta'x), g(z) = 1 / (1 + e^-z)")
def logistic_function():
    X, _ = _launches()
    z = X @ THETA
    return 1 / (1 + np.exp(-z)), families.mean(families.Bernoulli(), jnp.asarray(z))


@row("4.1", "its slope", "g' = g (1 - g)")
def slope():
    z = np.array([-3.0, 0.0, 0.5, 2.0])
    g = 1 / (1 + np.exp(-z))
    mean = lambda z: families.mean(families.Bernoulli(), z)
    return g * (1 - g), jax.vmap(jax.grad(mean))(jnp.asarray(z))


@row("4.2", "log-likelihood", "l = sum_i y_i log g_i + (1 - y_i) log(1 - g_i)")
def log_likelihood():
    X, y = _launches()
    g = 1 / (1 + np.exp(-X @ THETA))
    return np.sum(y * np.log(g) + (1 - y) * np.log(1 - g)), _l(families.Bernoulli(), X, y, _linear(THETA))


@row("4.2", "its gradient", "grad l = sum_i (y_i - g_i) x_i")
def gradient():
    X, y = _launches()
    g = 1 / (1 + np.exp(-X @ THETA))
    slope = jax.jit(jax.grad(lambda theta: _l(families.Bernoulli(), X, y, theta)))(_linear(THETA))
    return X.T @ (y - g), [slope.bias, slope.weight]


@row("4.2", "maximised", "grad l(theta*) = 0; theta by 20 Newton steps", ulps=1e4)
def maximised():
    X, y = _launches()
    theta = np.zeros(2)
    for _ in range(20):
        g = 1 / (1 + np.exp(-X @ theta))
        theta = theta + np.linalg.solve(X.T * (g * (1 - g)) @ X, X.T @ (y - g))
    fit = glm.logistic_regression(jnp.asarray(X[:, 1:]), jnp.asarray(y))
    return theta, [fit.params.bias, fit.params.weight]


@row("4.3", "softmax", "p(y=k|x) = exp(theta_k'x) / sum_j exp(theta_j'x)")
def softmax():
    X, _ = _alligators()
    theta = np.array([[0.5, -0.2, -0.3], [0.4, -1.0, 0.6]])  # one column per class
    scores = np.exp(X @ theta)
    closed = scores / scores.sum(axis=1, keepdims=True)
    h = jax.jit(lambda params, X: families.mean(families.Categorical(3), linear(params, X)))
    return closed, h(_linear(theta), jnp.asarray(X[:, 1:]))


@row("4.3", "log-likelihood", "l = sum_i log p(y_i|x_i)")
def softmax_log_likelihood():
    X, y = _alligators()
    theta = np.array([[0.5, -0.2, -0.3], [0.4, -1.0, 0.6]])
    scores = np.exp(X @ theta)
    p = scores / scores.sum(axis=1, keepdims=True)
    closed = np.sum(np.log(p[np.arange(len(y)), y]))
    return closed, _l(families.Categorical(3), X, y, _linear(theta))


def _launches():
    X, y = launches()
    return with_ones(standardised(X)), y


def _alligators():
    X, y = alligators()
    return with_ones(X), y


def _linear(theta):
    return Linear(jnp.asarray(theta[1:]), jnp.asarray(theta[0]))


@jax.jit
def _l(family, X, y, params):
    return likelihood.log_likelihood(family, linear, params, jnp.asarray(X[:, 1:]), y)
