"""Jeffreys' penalty: closed forms, a direct maximisation of the definition, and estimates where the likelihood has none."""

import warnings

import jax
import numpy as np
import pytest
from scipy import optimize as so
from scipy.stats import norm

from jaxml import families, glm, optimize
from jaxml.status import Status
from marks import mostly_slow
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="compared to more digits than float32 has")

RNG = np.random.default_rng(5)
X = RNG.normal(size=(24, 2))
LABELS = (X[:, 0] + 0.7 * RNG.normal(size=24) > 0).astype(int)
COUNTS = RNG.poisson(np.exp(0.3 + 0.5 * X[:, 0]))
CLASSES = np.argmax(np.stack([X[:, 0], X[:, 1], 0 * X[:, 0]], axis=1) + RNG.gumbel(size=(24, 3)), axis=1)
APART = (X[:, 0] > 0).astype(int)


def logistic(z):
    return 1 / (1 + np.exp(-z))


# name: family, link, y, log-likelihood and W of z, typed from textbooks
DEFINITIONS = {
    "logit": (families.Bernoulli(), "logit", LABELS, lambda z: LABELS * z - np.logaddexp(0, z), lambda z: logistic(z) * logistic(-z)),
    "apart": (families.Bernoulli(), "logit", APART, lambda z: APART * z - np.logaddexp(0, z), lambda z: logistic(z) * logistic(-z)),
    "log": (families.Poisson(), "log", COUNTS, lambda z: COUNTS * z - np.exp(z), np.exp),
    "probit": (families.Bernoulli(), "probit", LABELS, lambda z: np.where(LABELS == 1, norm.logcdf(z), norm.logcdf(-z)),
               lambda z: np.exp(2 * norm.logpdf(z) - norm.logcdf(z) - norm.logcdf(-z))),
    "nothing": (families.Poisson(), "log", 0 * COUNTS, lambda z: -np.exp(z), np.exp),
}  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(list(DEFINITIONS), ["apart"]))
def test_maximum_of_the_definition(name):
    family, link, y, log_p, W = DEFINITIONS[name]
    one = np.column_stack([X, np.ones(24)])

    def penalised(b):
        return -np.sum(log_p(one @ b)) - 0.5 * np.linalg.slogdet((one.T * W(one @ b)) @ one)[1]

    best = so.minimize(
        penalised, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 5000}
    )
    fit = glm.fit(family, X, y, link=link, firth=True)
    assert int(fit.status) == Status.CONVERGED
    np.testing.assert_allclose([*fit.params.weight, fit.params.bias], best.x, atol=2e-6)
    assert penalised(np.array([*fit.params.weight, fit.params.bias])) <= best.fun + 1e-12
    assert_agree(fit.log_likelihood, glm.score(fit, X, y) * 24, "same")


@pytest.mark.slow
def test_closed_forms_without_columns():
    """Half a success and half a failure more; half an event more; half of each class more."""
    none = np.zeros((24, 0))
    bias = lambda family, y: np.asarray(glm.fit(family, none, y, firth=True).params.bias)
    s = LABELS.sum()
    np.testing.assert_allclose(bias(families.Bernoulli(), LABELS), np.log((s + 0.5) / (24 - s + 0.5)), rtol=1e-9)
    np.testing.assert_allclose(bias(families.Bernoulli(), np.zeros(24, int)), np.log(0.5 / 24.5), rtol=1e-9)
    np.testing.assert_allclose(bias(families.Poisson(), COUNTS), np.log((COUNTS.sum() + 0.5) / 24), rtol=1e-9)
    logs = np.log(np.bincount(CLASSES) + 0.5)
    np.testing.assert_allclose(bias(families.Categorical(3), CLASSES), logs - logs.mean(), rtol=1e-9, atol=1e-12)


def test_a_table_of_two_by_two_gets_half_a_count_in_each_cell():
    """Haldane's and Anscombe's log odds ratio, also with an empty cell."""
    level, success, trials = np.array([[0.0], [1.0]]), np.array([7, 0]), np.array([10, 8])
    fit = glm.fit(families.Binomial(), level, (success, trials), firth=True)
    odds = np.log((success + 0.5) / (trials - success + 0.5))
    np.testing.assert_allclose([fit.params.bias, fit.params.weight[0]], [odds[0], odds[1] - odds[0]], rtol=1e-9)


@pytest.mark.slow
def test_two_classes_are_logistic_regression():
    one = glm.fit(families.Bernoulli(), X, APART, firth=True)
    two = glm.fit(families.Categorical(2), X, APART, firth=True)
    assert_agree(two.params.weight[:, 1] - two.params.weight[:, 0], one.params.weight, "fit", 0.1)
    assert_agree(two.log_likelihood, one.log_likelihood, "fit", 0.1)


@pytest.mark.slow
def test_units_location_copies_and_repeated_rows_change_nothing():
    plain = glm.fit(families.Bernoulli(), X, APART, firth=True)
    moved = glm.fit(families.Bernoulli(), 1e2 + X * [1e-3, 1e3], APART, firth=True)
    assert_agree(moved.params.weight * np.array([1e-3, 1e3]), plain.params.weight, "oracle", 1)
    copied = glm.fit(families.Bernoulli(), np.column_stack([X, X[:, 0]]), APART, firth=True)
    assert int(copied.rank) == 3
    assert_agree(copied.params.weight[0] + copied.params.weight[2], plain.params.weight[0], "fit", 1)
    w = 1.0 + np.arange(24) % 3
    repeated = np.repeat(np.arange(24), w.astype(int))
    weighted = glm.fit(families.Bernoulli(), X, APART, weights=w, firth=True)
    assert_agree(weighted.params.weight, glm.fit(families.Bernoulli(), X[repeated], APART[repeated], firth=True).params.weight, "fit", 1)  # fmt: skip


@pytest.mark.slow
def test_normal_errors_are_those_of_least_squares():
    y = X[:, 0] + RNG.normal(size=24)
    fit, plain = (glm.fit(families.Normal(), X, y, firth=on) for on in (True, False))
    assert_agree(fit.params.weight, plain.params.weight, "same", 1)


@pytest.mark.slow
def test_errors_are_from_the_information_at_the_estimate():
    fit = glm.fit(families.Bernoulli(), X, APART, firth=True)
    inference = glm.infer(fit, X, APART)
    one = np.column_stack([X, np.ones(24)])
    z = one @ np.array([*fit.params.weight, fit.params.bias])
    V = np.linalg.inv((one.T * (logistic(z) * logistic(-z))) @ one)
    assert_agree(inference.covariance, V, "fit", V.max())
    assert "bias-reducing penalty" in str(glm.summary(inference))
    with pytest.raises(ValueError, match="not those it was fitted"):
        glm.infer(fit, X[::-1], APART)
    with pytest.raises(ValueError, match="firth=False"):
        glm.score_test(inference, X[:, :1])


@pytest.mark.slow
def test_derivatives_and_batches():
    offset = np.zeros((3, 24))
    offset[1, 3], offset[2, 3] = 1e-4, -1e-4
    of = jax.jit(lambda o: glm.fit(families.Bernoulli(), X, APART, offset=o, firth=True).params.weight)
    each = np.stack([of(o) for o in offset])
    np.testing.assert_allclose(jax.jit(jax.vmap(of))(offset), each, rtol=1e-9)
    np.testing.assert_allclose(jax.jacobian(of)(offset[0])[:, 3], (each[1] - each[2]) / 2e-4, rtol=1e-6)


def test_what_does_not_go_with_it():
    with pytest.raises(ValueError, match="needs l2=0"):
        glm.fit(families.Bernoulli(), X, LABELS, firth=True, l2=0.1)
    with pytest.raises(ValueError, match="for Newton's method"):
        glm.fit(families.Bernoulli(), X, LABELS, firth=True, solver=optimize.LBFGS())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert glm.separation(families.Bernoulli(), X, APART).separated
        glm.logistic_regression(X, APART, firth=True)
