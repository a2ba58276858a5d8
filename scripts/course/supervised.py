"""Section 1: supervised learning. Prediction, losses, cost, likelihood."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from course.data import boiling, kicks, launches
from course.table import row
from jaxml import families, glm, losses
from jaxml.predictors import Linear, linear

Z = np.array([-1.5, -0.2, 0.0, 0.4, 2.5])  # predictions
REAL = np.array([0.3, -0.2, 1.0, -1.0, 2.0])  # outcomes of a regression
SIGN = np.array([-1, 1, 1, -1, 1])  # outcomes of a classification, as signs
PROBABILITY, LABEL = np.array([0.1, 0.5, 0.8, 0.99]), np.array([0, 1, 1, 0])


@row("1.1", "regression: predict a number", "y = m_y + (S_xy / S_xx) (x - m_x)", ulps=1e4)
def regression():
    """The line of least squares, learnt from 17 pairs, at temperatures that are not among them."""
    X, y = boiling()
    x, unseen = X[:, 0], np.array([190.0, 205.0, 215.0])
    slope = np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2)
    closed = y.mean() + slope * (unseen - x.mean())
    fit = glm.linear_regression(jnp.asarray(X), jnp.asarray(y))
    return closed, glm.predict(fit, jnp.asarray(unseen[:, None]))


@row("1.1", "classification: predict a class", "class 1 where theta_0 + theta_1 x > 0")
def classification():
    """p > 1/2 exactly where theta'x > 0; theta as published, 15.04 and -0.2322."""
    X, y = launches()
    unseen = np.array([31.0, 50.0, 64.0, 66.0, 80.0])
    closed = 15.04 - 0.2322 * unseen > 0
    fit = glm.logistic_regression(jnp.asarray(X), jnp.asarray(y))
    return closed, glm.predict(fit, jnp.asarray(unseen[:, None])) > 0.5


@row("1.2", "discriminative = generative on a table", "p(y|x) = p(x|y) p(y) / p(x)", ulps=1e6)
def two_routes():
    """Cold launch or not, damage or not: four counts. Both routes lead to the same p(y = 1 | x)."""
    X, y = launches()
    cold = (X[:, 0] < 70).astype(int)
    joint = np.array([[np.mean((cold == c) & (y == label)) for label in (0, 1)] for c in (0, 1)])
    p_y = joint.sum(axis=0)
    p_x_given_y = joint / p_y
    closed = p_x_given_y[:, 1] * p_y[1] / (p_x_given_y @ p_y)
    fit = glm.logistic_regression(jnp.asarray(cold[:, None], float), jnp.asarray(y))
    return closed, glm.predict(fit, jnp.asarray([[0.0], [1.0]]))


@row("1.3", "squared error", "(y - z)^2 / 2")
def squared_error():
    return (REAL - Z) ** 2 / 2, losses.squared_error(jnp.asarray(Z), REAL)


@row("1.3", "logistic loss", "log(1 + exp(-y z)), y = -1 or 1")
def logistic_loss():
    return np.log(1 + np.exp(-SIGN * Z)), losses.logistic(jnp.asarray(Z), SIGN)


@row("1.3", "hinge loss", "max(0, 1 - y z)")
def hinge_loss():
    return np.maximum(0, 1 - SIGN * Z), losses.hinge(jnp.asarray(Z), SIGN)


@row("1.3", "cross-entropy", "-[y log z + (1 - y) log(1 - z)]")
def cross_entropy():
    z, y = PROBABILITY, LABEL
    return -(y * np.log(z) + (1 - y) * np.log(1 - z)), losses.cross_entropy(jnp.asarray(z), y)


@row("1.4", "cost", "J(theta) = sum_i L(h(x_i), y_i)")
def cost():
    X, y = boiling()
    closed = sum((y_i - (-80 + 0.5 * x_i[0])) ** 2 / 2 for x_i, y_i in zip(X, y, strict=True))
    theta = Linear(jnp.array([0.5]), jnp.array(-80.0))
    return closed, losses.cost(losses.squared_error, linear, theta, X, y)


@row("1.5", "log-likelihood", "l = log prod_i p(y_i) = sum_i log p(y_i)")
def log_likelihood():
    rate, y = 0.7, kicks()
    likelihood = np.prod([math.exp(-rate) * rate**k / math.factorial(k) for k in y])
    return np.log(likelihood), _log_likelihood(jnp.log(rate), y)


@row("1.5", "its maximum", "argmax l = mean of y, for Poisson")
def maximum_likelihood():
    """The rate with the largest likelihood is the average count, and the slope of l vanishes there."""
    y, law = kicks(), families.Poisson()
    eta = families.fit(law, y)
    slope = jax.jit(jax.grad(_log_likelihood))(eta, y) / len(y)
    return [y.mean(), 0.0], [families.mean(law, eta), slope]


@jax.jit
def _log_likelihood(eta, y):
    return jnp.sum(families.log_prob(families.Poisson(), eta, y))
