"""Section 7: generative classifiers. p(y) and p(x | y) by counting and averaging, p(y | x) by Bayes' rule."""

import jax.numpy as jnp
import numpy as np

from course.data import alligators, launches, standardised, tennis
from course.table import row
from jaxml import generative

NEW_DAYS = np.array([[0, 2, 0, 1], [1, 0, 1, 0], [2, 1, 0, 1]])


@row("1.2", "a generative model of the same table", "p(y|x) = p(x|y) p(y) / sum_k p(x|k) p(k)")
def generative_route():
    """Cold launch or not, damage or not: the classifier counts what the closed form counts."""
    X, y = launches()
    cold = (X < 70).astype(float)
    p_y = np.bincount(y) / len(y)
    p_cold = np.array([cold[y == k].mean() for k in (0, 1)])
    joint = np.stack([(1 - p_cold) * p_y, p_cold * p_y])  # rows: warm, cold
    fit = generative.bernoulli_naive_bayes(jnp.asarray(cold), jnp.asarray(y), smoothing=0)
    return joint / joint.sum(axis=1, keepdims=True), generative.predict(fit, jnp.array([[0.0], [1.0]]))


@row("7.1", "Bayes' rule", "argmax_y p(y|x) = argmax_y p(x|y) p(y)", ulps=1e3)
def bayes_rule():
    """Length and food of alligators: two normal densities typed in, weighed by the class frequencies."""
    X, y = _two_columns()
    prior, means, covariance = _estimates(X, y)
    difference = X[:, None, :] - means
    exponent = np.einsum("nkd,de,nke->nk", difference, np.linalg.inv(covariance), difference) / 2
    joint = np.exp(-exponent) / (2 * np.pi * np.sqrt(np.linalg.det(covariance))) * prior
    fit, X = _discriminant(), jnp.asarray(X)
    return [joint, joint.argmax(axis=1)], [jnp.exp(generative.log_joint(fit, X)), generative.classify(fit, X)]


@row("7.2", "estimates of GDA", "p(y), mu_y, Sigma = (1/n) sum_i (x - mu_y)(x - mu_y)'", ulps=1e3)
def discriminant_estimates():
    fit = _discriminant()
    back = fit.transform.back  # the classifier works with x whitened, z = (x - center) back^-1
    means = fit.transform.center + fit.eta @ back
    return _estimates(*_two_columns()), [jnp.exp(fit.log_prior), means, back.T @ back]


@row(
    "7.2", "its posterior is softmax regression", "theta_y = Sigma^-1 mu_y, b_y = log p(y) - mu_y'theta_y / 2", ulps=1e3
)
def discriminant_coefficients():
    """Only differences between the classes are determined; both sides sum to zero over them."""
    prior, means, covariance = _estimates(*_two_columns())
    theta = np.linalg.solve(covariance, means.T)
    bias = np.log(prior) - np.sum(means.T * theta, axis=0) / 2
    fitted = generative.coefficients(_discriminant())
    return [theta - theta.mean(axis=1, keepdims=True), bias - bias.mean()], [fitted.weight, fitted.bias]


@row("7.3", "naive Bayes", "p(x|y) = prod_j p(x_j|y), by relative frequencies")
def naive_bayes():
    """14 days, tennis or not: the joint probability of three new days; a value that was never seen gives 0."""
    X, y = tennis()
    closed = np.array([[_joint(X, y, day, k, 0) for k in (0, 1)] for day in NEW_DAYS])
    fit = generative.categorical_naive_bayes(jnp.asarray(X), jnp.asarray(y), smoothing=0)
    return closed, jnp.exp(generative.log_joint(fit, jnp.asarray(NEW_DAYS)))


@row("7.4", "Laplace smoothing", "p(x_j|y) = (1 + count(x_j, y)) / (k + count(y))")
def laplace_smoothing():
    X, y = tennis()
    closed = np.array([[_joint(X, y, day, k, 1) for k in (0, 1)] for day in NEW_DAYS])
    fit = generative.categorical_naive_bayes(jnp.asarray(X), jnp.asarray(y))
    return closed, jnp.exp(generative.log_joint(fit, jnp.asarray(NEW_DAYS)))


def _joint(X, y, day, label, alpha):
    """p(y) prod_j p(x_j | y), counted with alpha more of each value."""
    rows = X[y == label]
    levels = X.max(axis=0) + 1
    shares = [(alpha + np.sum(rows[:, j] == v)) / (alpha * levels[j] + len(rows)) for j, v in enumerate(day)]
    return np.mean(y == label) * np.prod(shares)


def _two_columns():
    """The length of an alligator and its square, standardised: a plane in which the classes are told apart by lines."""
    X, y = alligators()
    return standardised(np.hstack([X, X**2])), y


def _estimates(X, y):
    prior = np.bincount(y) / len(y)
    means = np.stack([X[y == k].mean(axis=0) for k in range(len(prior))])
    return prior, means, (X - means[y]).T @ (X - means[y]) / len(y)


def _discriminant():
    X, y = _two_columns()
    return generative.gaussian_discriminant_analysis(jnp.asarray(X), jnp.asarray(y))
