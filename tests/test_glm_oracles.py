"""Generalised linear models against statsmodels and scikit-learn on real data.

Agreement to 8 digits in float64 (4 in float32) means |difference| <= 1e-8 max(|value|, its standard error). The oracles
run tight: at their defaults they stop at fewer digits than that.
"""

import importlib
import importlib.resources
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, stats
from scipy.special import softmax
from sklearn import datasets, linear_model

from jaxml import families, glm
from jaxml.likelihood import log_likelihood
from jaxml.predictors import Linear, linear
from jaxml.status import Status
from marks import covering, mostly_slow
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="8 digits need 64-bit mode")

LINKS = {
    "log": sm.families.links.Log(),
    "identity": sm.families.links.Identity(),
    "probit": sm.families.links.Probit(),
    "cloglog": sm.families.links.CLogLog(),
    "sqrt": sm.families.links.Sqrt(),
    "inverse": sm.families.links.InversePower(),
}


class Row(NamedTuple):
    """A data set, a family and link of jaxml, and the statsmodels family of the same law."""

    name: str
    load: Callable[[], tuple[Any, Any]]
    family: Any
    oracle: Any
    link: str | None = None


def columns(frame: Any) -> np.ndarray:
    return np.ascontiguousarray(frame, float)


def loader(
    name: str, change: Callable[[Any, Any], tuple[Any, Any]] = lambda X, y: (X, y)
) -> Callable[[], tuple[Any, Any]]:
    def load():
        data = getattr(sm.datasets, name).load_pandas()
        return change(columns(data.exog), np.asarray(data.endog, float))

    return load


spector = loader("spector", lambda X, y: (X, y.astype(int)))
scotland, cpunish, stackloss = loader("scotland"), loader("cpunish"), loader("stackloss")
star98 = loader("star98", lambda X, y: (X, (y[:, 0].astype(int), y.sum(axis=1).astype(int))))
fair = loader("fair", lambda X, y: (X, (y > 0).astype(int)))
randhie = loader("randhie", lambda X, y: (X[::4], y[::4].astype(int)))
engel = loader("engel", lambda X, y: (X / 100, y / 100))
cancer = loader("cancer", lambda X, y: (X, y.astype(int)))


def committee_with_interaction(X, y):
    X[:, 2] = np.log(X[:, 2])
    return np.column_stack([X, X[:, 2] * X[:, 1]]), y.astype(int)


committee = loader("committee", committee_with_interaction)


def shipped(name: str) -> Callable[[], tuple[Any, Any]]:
    """A data set of statsmodels' own tests, less its column of ones."""

    def load():
        data = getattr(importlib.import_module("statsmodels.genmod.tests.results.results_glm"), name)()
        return columns(data.exog)[:, :-1], np.asarray(data.endog, float)

    return load


def birth_weights():
    X, y = shipped("Lbw")()
    return X, y.astype(int)


def ships():
    path = importlib.resources.files("statsmodels.discrete.tests.results") / "ships.csv"
    data = np.genfromtxt(path.read_text().splitlines(), delimiter=",", names=True)
    kept = ~np.isnan(data["accident"])
    return np.column_stack([data["yr_con"], data["op_75_79"]])[kept], data["accident"][kept].astype(int)


def curve(mean: Callable[[np.ndarray], np.ndarray]) -> Callable[[], tuple[Any, Any]]:
    """The quadratic curves with noise that statsmodels' tests of the normal family make."""

    def load():
        x = np.arange(100.0)
        return np.column_stack([x, x**2]), mean(x) + 0.001 * np.random.RandomState(54321).randn(100)

    return load


falling = curve(lambda x: np.exp(-(-1.0 + 0.02 * x + 0.0001 * x**2)))
reciprocal = curve(lambda x: 1 / (1.0 + 0.02 * x + 0.001 * x**2))

ROWS = [
    Row("spector-logit", spector, families.Bernoulli(), sm.families.Binomial),
    Row("spector-probit", spector, families.Bernoulli(), sm.families.Binomial, "probit"),
    Row("spector-cloglog", spector, families.Bernoulli(), sm.families.Binomial, "cloglog"),
    Row("fair-logit", fair, families.Bernoulli(), sm.families.Binomial),
    Row("star98-logit", star98, families.Binomial(), sm.families.Binomial),
    Row("cpunish-log", cpunish, families.Poisson(), sm.families.Poisson),
    Row("randhie-log", randhie, families.Poisson(), sm.families.Poisson),
    Row("randhie-sqrt", randhie, families.Poisson(), sm.families.Poisson, "sqrt"),
    Row(
        "randhie-negative-binomial",
        randhie,
        families.NegativeBinomial(r=0.8),
        lambda link: sm.families.NegativeBinomial(link, alpha=1.25),
        "log",
    ),
    Row("scotland-inverse", scotland, families.Gamma(), sm.families.Gamma, "inverse"),
    Row("scotland-log", scotland, families.Gamma(), sm.families.Gamma, "log"),
    Row("scotland-inverse-gaussian", scotland, families.InverseGaussian(), sm.families.InverseGaussian),
    Row("engel-gamma-identity", engel, families.Gamma(), sm.families.Gamma, "identity"),
    Row("engel-inverse-gaussian-log", engel, families.InverseGaussian(), sm.families.InverseGaussian, "log"),
    Row("longley", loader("longley"), families.Normal(), sm.families.Gaussian),
    Row("stackloss", stackloss, families.Normal(), sm.families.Gaussian),
    Row("ccard", loader("ccard"), families.Normal(), sm.families.Gaussian),
    Row("copper", loader("copper"), families.Normal(), sm.families.Gaussian),
    Row("ships-log", ships, families.Poisson(), sm.families.Poisson),
    Row("cancer-log", cancer, families.Poisson(), sm.families.Poisson),
    Row(
        "committee-negative-binomial",
        committee,
        families.NegativeBinomial(r=1.0),
        lambda link: sm.families.NegativeBinomial(link, alpha=1.0),
        "log",
    ),
    Row("lbw-logit", birth_weights, families.Bernoulli(), sm.families.Binomial),
    Row("drug-trial-gamma-log", shipped("Cancer"), families.Gamma(), sm.families.Gamma, "log"),
    Row("drug-trial-gamma-identity", shipped("Cancer"), families.Gamma(), sm.families.Gamma, "identity"),
    Row("inverse-gaussian", shipped("InvGauss"), families.InverseGaussian(), sm.families.InverseGaussian),
    Row("medpar-log", shipped("Medpar1"), families.InverseGaussian(), sm.families.InverseGaussian, "log"),
    Row("medpar-identity", shipped("Medpar1"), families.InverseGaussian(), sm.families.InverseGaussian, "identity"),
    Row("normal-log", falling, families.Normal(), sm.families.Gaussian, "log"),
    Row("normal-inverse", reciprocal, families.Normal(), sm.families.Gaussian, "inverse"),
]
PAIRS = covering(ROWS, lambda row: {(row.family, row.link)})  # of family and link, each once
FEW = covering(ROWS, lambda row: {type(row.family), row.link})  # every family and every link
QUICK = (
    "spector-logit",
    "spector-probit",
    "star98-logit",
    "randhie-log",
    "scotland-inverse",
    "scotland-inverse-gaussian",
    "longley",
    "committee-negative-binomial",
    "normal-log",
)


def response(y: Any) -> Any:
    """statsmodels takes successes and failures."""
    return np.column_stack([y[0], y[1] - y[0]]) if isinstance(y, tuple) else y


def statsmodels_fit(row: Row, X: np.ndarray, y: Any) -> Any:
    link = LINKS[row.link] if row.link else None
    law = row.oracle(link) if link else row.oracle()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sm.GLM(response(y), sm.add_constant(X, prepend=False, has_constant="add"), family=law).fit(
            tol=1e-14, maxiter=300, tol_criterion="params"
        )


def flat(params: Linear) -> np.ndarray:
    return np.append(params.weight, params.bias)


@cache
def fitted(row: Row) -> tuple[Any, Any, Any, glm.Fit]:
    X, y = row.load()
    return X, y, statsmodels_fit(row, X, y), glm.fit(row.family, X, y, link=row.link)


over_rows = pytest.mark.parametrize("row", mostly_slow(ROWS, QUICK, [row.name for row in ROWS]))


@over_rows
def test_coefficients_agree_with_statsmodels_to_8_digits(row):
    _, _, expected, fit = fitted(row)
    assert int(fit.status) == Status.CONVERGED
    assert_agree(flat(fit.params), expected.params, "oracle", expected.bse)


@over_rows
def test_log_likelihood_agrees_with_statsmodels_at_its_dispersion(row):
    X, y, expected, fit = fitted(row)
    if isinstance(row.family, families.Normal) and not row.link:
        # statsmodels: at the maximum-likelihood variance, as here, but by other links than the identity at Pearson's.
        assert_agree(fit.log_likelihood, expected.llf, "oracle", 1)
        return
    family = row.family.with_dispersion(expected.scale) if row.family.estimates_dispersion else row.family
    to_float = lambda a: jnp.asarray(a, float)
    at = jax.jit(lambda params, X, y: log_likelihood(family, linear, params, X, y, link=fit.link))
    value = at(fit.params, to_float(X), jax.tree.map(to_float, y))
    assert_agree(value, expected.llf, "oracle", 1)
    if family is row.family:
        assert_agree(fit.log_likelihood, expected.llf, "oracle", 1)
    else:
        assert float(fit.log_likelihood) >= expected.llf - 1e-9


@over_rows
def test_pearson_dispersion_agrees_with_statsmodels(row):
    _, _, expected, fit = fitted(row)
    if row.family.estimates_dispersion:
        assert_agree(fit.dispersion, expected.scale, "oracle")
    else:
        assert fit.dispersion is None


@pytest.mark.filterwarnings("ignore:converged.*times its spread:jaxml.ConvergenceWarning")  # (a column far from 0)
@pytest.mark.parametrize("row", mostly_slow(FEW, ["spector-logit"], [row.name for row in FEW]))
def test_float32_data_agree_to_4_digits_and_stay_float32(row):
    X, y = row.load()
    X = X.astype(np.float32)
    y = jax.tree.map(lambda a: a.astype(np.float32) if a.dtype.kind == "f" else a, y)
    expected = statsmodels_fit(row, X.astype(float), jax.tree.map(lambda a: a.astype(float), y))
    fit = glm.fit(row.family, X, y, link=row.link)
    assert int(fit.status) == Status.CONVERGED
    assert {a.dtype.name for a in (*fit.params, fit.log_likelihood, fit.value)} == {"float32"}
    assert_agree(flat(fit.params), expected.params, "oracle", expected.bse)


def test_gamma_log_likelihood_is_the_maximum_over_the_dispersion():
    row = next(r for r in ROWS if r.name == "scotland-log")
    X, y, _, fit = fitted(row)
    at = lambda phi: float(
        log_likelihood(families.Gamma(shape=1 / phi), linear, fit.params, jnp.asarray(X), jnp.asarray(y), link=fit.link)
    )
    grid = float(fit.dispersion) * np.linspace(0.5, 1.2, 701)
    best = max(map(at, grid))
    assert best <= float(fit.log_likelihood) <= best + 1e-4


# -- weights and offsets ---------------------------------------------------------------------------------------------
def test_precision_weights_agree_with_weighted_least_squares():
    X, y = loader("ccard")()
    weights = 1 / X[:, 1]
    fit = glm.fit(families.Normal(), X, y, weights=weights, weight_kind="precision")
    expected = sm.WLS(y, sm.add_constant(X, prepend=False), weights=weights).fit(method="qr")
    assert_agree(flat(fit.params), expected.params, "oracle", expected.bse)
    assert_agree(fit.dispersion, expected.scale, "oracle")
    assert_agree(fit.log_likelihood, expected.llf, "oracle", 1)


LAWS = {  # log density of y with mean m and dispersion phi / w
    "normal": (families.Normal(), lambda y, m, s: stats.norm.logpdf(y, m, np.sqrt(s))),
    "gamma": (families.Gamma(), lambda y, m, s: stats.gamma.logpdf(y, 1 / s, scale=m * s)),
    "inverse gaussian": (families.InverseGaussian(), lambda y, m, s: stats.invgauss.logpdf(y, m * s, scale=1 / s)),
}


@pytest.mark.parametrize("name", mostly_slow(LAWS, ["gamma"]))
def test_log_likelihood_with_precision_weights_is_the_maximum_over_the_dispersion(name):
    family, log_density = LAWS[name]
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(60, 2)), rng.uniform(0.2, 5, 60)
    mean = np.exp(0.5 + 0.3 * X[:, 0])
    y, weights[5] = rng.gamma(3 * weights, mean / (3 * weights)), 0
    fit = glm.fit(family, X, y, weights=weights, weight_kind="precision", link="log")
    on, fitted = weights > 0, np.asarray(glm.predict(fit, X))
    minus = lambda u: -np.sum(log_density(y[on], fitted[on], np.exp(u) / weights[on]))
    best = optimize.minimize_scalar(minus, bounds=(-5, 3), method="bounded", options={"xatol": 1e-9})
    assert_agree(fit.log_likelihood, -best.fun, "same", 100)


def test_frequency_weights_and_offset_agree_with_statsmodels():
    X, y = randhie()
    X, y = X[:500, :4], y[:500]
    rng = np.random.default_rng(0)
    weights, offset = rng.integers(1, 5, 500).astype(float), rng.normal(size=500)
    fit = glm.fit(families.Poisson(), X, y, weights=weights, offset=offset)
    model = sm.GLM(
        y, sm.add_constant(X, prepend=False), family=sm.families.Poisson(), freq_weights=weights, offset=offset
    )
    expected = model.fit(tol=1e-14, maxiter=300)
    assert_agree(flat(fit.params), expected.params, "oracle", expected.bse)
    assert_agree(fit.log_likelihood, expected.llf, "oracle", 1)


# -- softmax ---------------------------------------------------------------------------------------------------------
def test_softmax_agrees_with_mnlogit_on_anes96():
    data = sm.datasets.anes96.load_pandas()
    X, y = columns(data.exog), np.asarray(data.endog, int)
    expected = sm.MNLogit(y, sm.add_constant(X, prepend=False)).fit(method="newton", tol=1e-14, maxiter=100, disp=False)
    fit = glm.fit(families.Categorical(7), X, y)
    assert int(fit.status) == Status.CONVERGED
    both = np.vstack(glm.contrast(fit, reference=0))
    assert np.all(both[:, 0] == 0)
    assert_agree(both[:, 1:], np.asarray(expected.params), "oracle", np.asarray(expected.bse))
    assert_agree(fit.log_likelihood, expected.llf, "oracle", 1)


# -- scikit-learn ----------------------------------------------------------------------------------------------------
SKLEARN = {
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "digits": lambda: datasets.load_digits(return_X_y=True),
}


def posterior_errors(X: np.ndarray, p: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Laplace standard errors of the sum-to-zero coefficients from the textbook Hessian X' W X + ridge, by columns."""
    a, k = np.column_stack([X, np.ones(len(X))]), p.shape[1]
    w = np.einsum("ni,ij->nij", p, np.eye(k)) - np.einsum("ni,nj->nij", p, p)
    hessian = np.einsum("na,nij,nb->aibj", a, w, a, optimize=True).reshape(a.shape[1] * k, -1)
    hessian[np.diag_indices(X.shape[1] * k)] += ridge
    hessian[-k:, -k:] += 1 / k  # the constant on the biases changes nothing
    errors = np.sqrt(np.diag(np.linalg.inv(hessian))).reshape(-1, k)
    return errors[:-1], errors[-1]


def sklearn_softmax(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression with C = 1, in the gauge that sums to zero."""
    model = linear_model.LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-14, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own line search meets the rounding floor below 1e-12
        model.fit(X, y)
    return model.coef_.T, model.intercept_


def unit(X: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and standard deviation 1; constant ones are 0."""
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1)


@pytest.mark.parametrize("name", mostly_slow(["iris", "wine", "digits"], ["iris"]))
def test_softmax_at_l2_one_over_n_agrees_with_scikit_learn_at_c_one(name):
    X, y = SKLEARN[name]()
    X = unit(X)
    weight, bias = sklearn_softmax(X, y)
    fit = glm.softmax_regression(X, y, l2=1 / len(y))
    assert int(fit.status) == Status.CONVERGED
    errors = posterior_errors(X, softmax(X @ weight + bias, axis=1), 1.0)
    assert_agree(fit.params.weight, weight - weight.mean(axis=1, keepdims=True), "oracle", errors[0])
    assert_agree(fit.params.bias, bias - bias.mean(), "oracle", errors[1])


def binary_errors(X: np.ndarray, z: np.ndarray, ridge: float) -> np.ndarray:
    a = np.column_stack([X, np.ones(len(X))])
    p = 1 / (1 + np.exp(-z))
    hessian = (a.T * (p * (1 - p))) @ a + ridge * np.diag([*np.ones(X.shape[1]), 0])
    return np.sqrt(np.diag(np.linalg.inv(hessian)))


@pytest.mark.parametrize("scaled", mostly_slow([False, True], [True]))
def test_logistic_at_l2_one_over_n_agrees_with_scikit_learn_on_breast_cancer(scaled):
    X, y = SKLEARN["breast_cancer"]()
    X = unit(X) if scaled else X
    weight, bias = sklearn_softmax(X, y)
    fit = glm.logistic_regression(X, y, l2=1 / len(y))
    assert int(fit.status) == Status.CONVERGED
    expected = np.append(weight, bias)
    assert_agree(flat(fit.params), expected, "oracle", binary_errors(X, X @ weight[:, 0] + bias, 1.0))


@pytest.mark.slow
def test_float32_logistic_on_breast_cancer_agrees_to_4_digits():
    X, y = SKLEARN["breast_cancer"]()
    X = unit(X).astype(np.float32)
    weight, bias = sklearn_softmax(X.astype(float), y)
    fit = glm.logistic_regression(X, y, l2=1 / len(y))
    assert fit.params.weight.dtype == jnp.float32
    assert_agree(
        flat(fit.params),
        np.append(weight, bias),
        "oracle",
        binary_errors(X.astype(float), X @ weight[:, 0] + bias, 1.0),
    )


@pytest.mark.slow
def test_float32_softmax_on_iris_agrees_to_4_digits():
    X, y = SKLEARN["iris"]()
    X = X.astype(np.float32)
    weight, bias = sklearn_softmax(X.astype(float), y)
    fit = glm.softmax_regression(X, y, l2=1 / len(y))
    assert fit.params.weight.dtype == jnp.float32
    errors = posterior_errors(X.astype(float), softmax(X @ weight + bias, axis=1), 1.0)
    assert_agree(fit.params.weight, weight - weight.mean(axis=1, keepdims=True), "oracle", errors[0])
    assert_agree(fit.params.bias, bias - bias.mean(), "oracle", errors[1])


@pytest.mark.parametrize("scaled", [False, True])
def test_ridge_agrees_with_scikit_learn_at_alpha_n_l2(scaled):
    X, y = datasets.load_diabetes(return_X_y=True, scaled=scaled)
    fit = glm.linear_regression(X, y, l2=0.01)
    model = linear_model.Ridge(alpha=len(y) * 0.01, solver="cholesky").fit(X, y)
    assert_agree(flat(fit.params), np.append(model.coef_, model.intercept_), "oracle", 1e-3)


def test_poisson_agrees_with_scikit_learn_at_alpha_l2():
    X, y = randhie()
    X, y = unit(X), y.astype(float)
    fit = glm.poisson_regression(X, y, l2=0.1)
    model = linear_model.PoissonRegressor(alpha=0.1, tol=1e-14, max_iter=500, solver="newton-cholesky")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert_agree(flat(fit.params), np.append(model.coef_, model.intercept_), "oracle", 1e-2)
