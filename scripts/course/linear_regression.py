"""Section 3: linear regression, by gradient, by example, in closed form and by Newton's method."""

import jax.numpy as jnp
import numpy as np

from course.data import boiling, standardised, with_ones
from course.table import row
from jaxml import glm, losses, optimize

ALPHA = 0.03


@row("3.1", "hypothesis and cost", "J = sum_i (theta'x_i - y_i)^2 / 2")
def cost():
    X, y = _data()
    theta = np.array([20.0, 3.0])
    closed = sum((theta @ x_i - y_i) ** 2 / 2 for x_i, y_i in zip(X, y, strict=True))
    return closed, _J(jnp.asarray(theta), X, y)


@row("3.1", "the same with matrices", "J = |X theta - y|^2 / 2")
def cost_by_matrices():
    X, y = _data()
    theta = np.array([20.0, 3.0])
    return np.linalg.norm(X @ theta - y) ** 2 / 2, _J(jnp.asarray(theta), X, y)


@row("3.2", "batch update, three times", "theta <- theta - alpha sum_i (theta'x_i - y_i) x_i")
def batch_update():
    X, y = _data()
    theta = np.zeros(2)
    for _ in range(3):
        theta = theta - ALPHA * sum((theta @ x_i - y_i) * x_i for x_i, y_i in zip(X, y, strict=True))
    return theta, optimize.gradient_descent(_J, jnp.zeros(2), *_data(), learning_rate=ALPHA, max_steps=3).params


@row("3.3", "one example (LMS)", "theta <- theta - alpha (theta'x_i - y_i) x_i")
def one_example():
    X, y = _data()
    theta = np.array([20.0, 3.0])
    closed = theta - ALPHA * (theta @ X[5] - y[5]) * X[5]
    loss = lambda theta, example: losses.squared_error(example[0] @ theta, example[1])
    only = (jnp.asarray(X[5:6]), jnp.asarray(y[5:6]))
    return closed, optimize.sgd(loss, jnp.asarray(theta), only, learning_rate=ALPHA, epochs=1).params


@row("3.4", "normal equation", "X'X theta = X'y", ulps=1e3)
def normal_equation():
    X, y = _data()
    closed = np.linalg.inv(X.T @ X) @ X.T @ y
    theta = glm.normal_equation(jnp.asarray(X[:, 1:]), jnp.asarray(y))
    return closed, [theta.bias, theta.weight]


@row("3.4", "the fit solves it", "X'(X theta - y) = 0", ulps=1e4)
def stationary():
    X, y = _data()
    theta = glm.linear_regression(jnp.asarray(X[:, 1:]), jnp.asarray(y)).params
    residual = X @ np.array([float(theta.bias), float(theta.weight[0])]) - y
    return np.zeros(2), jnp.asarray(X.T @ residual)


@row("3.5", "Newton from 0 in one step", "theta = -[hess J]^-1 grad J(0) = (X'X)^-1 X'y", ulps=1e3)
def newton_once():
    X, y = _data()
    hessian, gradient_at_0 = X.T @ X, -X.T @ y
    once = optimize.newton(_J, jnp.zeros(2), *_data(), max_steps=1)
    return -np.linalg.solve(hessian, gradient_at_0), once.params


def _J(theta, X, y):
    return losses.cost(losses.squared_error, lambda theta, X: X @ theta, theta, X, y)


def _data():
    X, y = boiling()
    return with_ones(standardised(X)), y
