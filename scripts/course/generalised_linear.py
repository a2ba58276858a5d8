"""Section 6: generalised linear models. eta = theta'x, h(x) = grad a(eta), theta by maximum likelihood."""

import jax
import jax.numpy as jnp
import numpy as np

from course.data import alligators, boiling, deaths, launches, standardised, with_ones
from course.table import row
from jaxml import families, glm, likelihood
from jaxml.predictors import Linear, linear


@row("6.1", "eta is linear in x", "eta = theta'x")
def linear_eta():
    X, y = deaths()
    fit = glm.poisson_regression(jnp.asarray(X), jnp.asarray(y))
    theta = np.array([float(fit.params.bias), float(fit.params.weight[0])])
    return with_ones(X) @ theta, glm.predict_natural(fit, jnp.asarray(X))


@row("6.2", "hypothesis = mean = slope of a", "h(x) = E[T(Y); eta] = grad a(theta'x)")
def hypothesis():
    """For Poisson, a = e^eta is its own slope: h(x) = exp(theta'x)."""
    X, y = deaths()
    fit = glm.poisson_regression(jnp.asarray(X), jnp.asarray(y))
    eta = with_ones(X) @ np.array([float(fit.params.bias), float(fit.params.weight[0])])
    slope = jax.vmap(jax.grad(families.Poisson().log_partition))(jnp.asarray(eta))
    return [np.exp(eta), np.exp(eta)], [glm.predict(fit, jnp.asarray(X)), slope]


@row("6.3", "gradient of the log-likelihood", "grad l = sum_i (y_i - h(x_i)) x_i")
def score():
    X, y = deaths()
    theta = np.array([0.2, 0.25])
    closed = with_ones(X).T @ (y - np.exp(with_ones(X) @ theta))
    total = lambda theta: likelihood.log_likelihood(families.Poisson(), linear, theta, jnp.asarray(X), y)
    gradient = jax.jit(jax.grad(total))(Linear(jnp.asarray(theta[1:]), jnp.asarray(theta[0])))
    return closed, [gradient.bias, gradient.weight]


@row("6.3", "zero at the fit", "sum_i (y_i - h(x_i)) x_i = 0", ulps=1e5)
def zero_score():
    """The fit balances counts: expected deaths add up to the observed ones, also when weighted by time."""
    X, y = deaths()
    fit = glm.poisson_regression(jnp.asarray(X), jnp.asarray(y))
    h = np.exp(with_ones(X) @ np.array([float(fit.params.bias), float(fit.params.weight[0])]))
    return np.zeros(2), jnp.asarray(with_ones(X).T @ (y - h))


@row("6.4", "normal: linear regression", "h(x) = theta'x", ulps=1e4)
def normal():
    X, y = _standardised(boiling)
    fit = glm.linear_regression(jnp.asarray(X), jnp.asarray(y))
    return np.linalg.lstsq(with_ones(X), y)[0], [fit.params.bias, fit.params.weight]


@row("6.4", "Bernoulli: logistic regression", "h(x) = 1 / (1 + exp(-theta'x))", ulps=1e4)
def bernoulli():
    X, y = _standardised(launches)
    g = lambda eta: 1 / (1 + np.exp(-eta))
    closed = _newton(with_ones(X), y, g, lambda eta: g(eta) * (1 - g(eta)), np.zeros(2))
    fit = glm.logistic_regression(jnp.asarray(X), jnp.asarray(y))
    return closed, [fit.params.bias, fit.params.weight]


@row("6.4", "Poisson: Poisson regression", "h(x) = exp(theta'x)", ulps=1e4)
def poisson():
    X, y = _standardised(deaths)
    closed = _newton(with_ones(X), y, np.exp, np.exp, np.array([np.log(y.mean()), 0.0]))
    fit = glm.poisson_regression(jnp.asarray(X), jnp.asarray(y))
    return closed, [fit.params.bias, fit.params.weight]


@row("6.4", "categorical: softmax regression", "h(x)_k = exp(theta_k'x) / sum_j exp(theta_j'x)", ulps=1e4)
def categorical():
    """Log-odds against 'other', the last class: only differences of the theta_k are determined."""
    X, y = alligators()
    closed = _softmax_newton(with_ones(X), y)
    theta = glm.softmax_regression(jnp.asarray(X), jnp.asarray(y)).params
    both = jnp.concatenate([theta.bias[None], theta.weight])
    return closed, both[:, :2] - both[:, 2:]


def _standardised(data):
    X, y = data()
    return standardised(X), y


def _newton(X, y, h, slope, theta):
    """theta <- theta + [sum_i h'(eta_i) x_i x_i']^-1 sum_i (y_i - h(eta_i)) x_i, 25 times."""
    for _ in range(25):
        eta = X @ theta
        theta = theta + np.linalg.solve(X.T * slope(eta) @ X, X.T @ (y - h(eta)))
    return theta


def _softmax_newton(X, y, classes=3, steps=25):
    """Newton's method for theta_1 .. theta_(K-1) with theta_K = 0, (d, K-1); W_i = diag(p_i) - p_i p_i'."""
    hit, theta = np.eye(classes)[y][:, :-1], np.zeros((X.shape[1], classes - 1))
    for _ in range(steps):
        scores = np.exp(np.hstack([X @ theta, np.zeros((len(X), 1))]))
        p = (scores / scores.sum(axis=1, keepdims=True))[:, :-1]
        W = np.einsum("nk,kl->nkl", p, np.eye(classes - 1)) - np.einsum("nk,nl->nkl", p, p)
        hessian = np.einsum("ni,nkl,nj->ikjl", X, W, X).reshape(theta.size, theta.size)
        theta = theta + np.linalg.solve(hessian, (X.T @ (hit - p)).ravel()).reshape(theta.shape)
    return theta
