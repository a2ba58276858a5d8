"""Section 2: gradient descent, stochastic gradient descent, Newton's method."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np

from course.table import row
from jaxml import optimize


@row("2.1", "gradient descent, five steps", "theta <- theta - alpha grad J(theta)")
def gradient_descent():
    """J = theta_1^2 / 2 + 2 theta_2^2 + theta_1 theta_2."""
    alpha, theta = 0.2, np.array([1.0, -1.0])
    for _ in range(5):
        theta = theta - alpha * np.array([theta[0] + theta[1], 4 * theta[1] + theta[0]])
    J = lambda t: t[0] ** 2 / 2 + 2 * t[1] ** 2 + t[0] * t[1]
    return theta, optimize.gradient_descent(J, jnp.array([1.0, -1.0]), learning_rate=alpha, max_steps=5).params


@row("2.2", "stochastic: one example at a time", "theta <- theta - alpha grad L(theta; i), some order")
def one_at_a_time():
    """An epoch goes through the examples once in a random order: one of the 3! sequences of updates."""
    alpha, examples = 0.3, np.array([1.0, 2.0, 5.0])
    run = optimize.sgd(
        lambda t, y: (y - t) ** 2 / 2, 0.0, jnp.asarray(examples), learning_rate=alpha, epochs=1, batch_size=1
    )
    ends = []
    for order in permutations(examples):
        theta = 0.0
        for y in order:
            theta = theta - alpha * (theta - y)
        ends.append(theta)
    return min(ends, key=lambda end: abs(end - float(run.params))), run.params


@row("2.2", "batch: all examples at once", "theta <- theta - alpha (1/n) sum_i grad L(theta; i)")
def all_at_once():
    alpha, examples, theta = 0.3, np.array([1.0, 2.0, 5.0]), 0.0
    for _ in range(4):
        theta = theta - alpha * float(np.mean(theta - examples))
    run = optimize.sgd(
        lambda t, y: (y - t) ** 2 / 2, 0.0, jnp.asarray(examples), learning_rate=alpha, epochs=4, batch_size=3
    )
    return theta, run.params


@row("2.3", "Newton, one number", "theta <- theta - J'(theta) / J''(theta)")
def newton_scalar():
    """J = theta - 2 log theta: J' = 1 - 2 / theta, J'' = 2 / theta^2."""
    theta = 1.5
    closed = theta - (1 - 2 / theta) / (2 / theta**2)
    return closed, optimize.newton(lambda t: t - 2 * jnp.log(t), theta, max_steps=1).params


@row("2.4", "Newton, a vector", "theta <- theta - [hess J]^-1 grad J")
def newton_vector():
    """J = exp(t_1 + t_2) + t_1^2 + t_2^2 / 2 - t_1."""
    theta = np.array([0.3, -0.5])
    e = np.exp(theta.sum())
    gradient = np.array([e + 2 * theta[0] - 1, e + theta[1]])
    hessian = np.array([[e + 2, e], [e, e + 1]])
    J = lambda t: jnp.exp(t[0] + t[1]) + t[0] ** 2 + t[1] ** 2 / 2 - t[0]
    return theta - np.linalg.solve(hessian, gradient), optimize.newton(J, jnp.asarray(theta), max_steps=1).params


@row("2.5", "gradient, in R^3", "entry i: df / dx_i")
def gradient():
    x = np.array([0.5, -1.2, 2.0])
    closed = [2 * x[0] * x[1], x[0] ** 2 + np.cos(x[1]) * x[2], np.sin(x[1]) + 3 * x[2] ** 2]
    return closed, jax.jit(jax.grad(_f))(jnp.asarray(x))


@row("2.5", "Hessian, 3 x 3", "entry i, j: d^2 f / dx_i dx_j")
def hessian():
    x = np.array([0.5, -1.2, 2.0])
    closed = [
        [2 * x[1], 2 * x[0], 0],
        [2 * x[0], -np.sin(x[1]) * x[2], np.cos(x[1])],
        [0, np.cos(x[1]), 6 * x[2]],
    ]
    return closed, jax.jit(jax.hessian(_f))(jnp.asarray(x))


def _f(x):
    return x[0] ** 2 * x[1] + jnp.sin(x[1]) * x[2] + x[2] ** 3
