"""Generative classifiers against scikit-learn, to 8 digits, on every bundled data set on which it has an answer."""

import warnings

import jax
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, GaussianNB, MultinomialNB

from jaxml import generative
from marks import mostly_slow
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="8 digits are asked for in float64")

TABLES = {load.__name__[5:]: load(return_X_y=True) for load in (load_iris, load_wine, load_breast_cancer, load_digits)}
EVERY = pytest.mark.parametrize("name", mostly_slow(TABLES, ["wine"]))


def agree(ours, theirs, what):
    assert_agree(ours, theirs, "oracle", error=1.0, what=what)


def scores(values):
    """Discriminant values of all classes, their mean taken out, as they are known up to a function of x."""
    values = np.asarray(values)
    values = np.stack([-values / 2, values / 2], axis=1) if values.ndim == 1 else values
    return values - values.mean(axis=1, keepdims=True)


@EVERY
def test_linear_discriminant_analysis(name):
    X, y = TABLES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # collinear columns of digits
        other = LinearDiscriminantAnalysis().fit(X, y)
    fit = generative.gaussian_discriminant_analysis(X, y)
    agree(scores(generative.log_joint(fit, X)), scores(other.decision_function(X)), "log joint")
    agree(generative.predict(fit, X), other.predict_proba(X), "posterior")
    c = generative.coefficients(fit)
    agree(scores(X @ np.asarray(c.weight) + np.asarray(c.bias)), scores(other.decision_function(X)), "coefficients")


@EVERY
def test_shrunk_discriminant_analysis(name):
    X, y = TABLES[name]
    other = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(X, y)
    fit = generative.gaussian_discriminant_analysis(X, y, shrinkage=0.3)
    agree(scores(generative.log_joint(fit, X)), scores(other.decision_function(X)), "log joint")


@EVERY
def test_shrinkage_of_ledoit_and_wolf(name):
    X, y = TABLES[name]
    # Its solver lsqr inverts the covariance in the units of the data, and keeps 7 digits on breast_cancer (condition 1.5e11).
    other = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(X, y)
    fit = generative.gaussian_discriminant_analysis(X, y, shrinkage="auto")
    agree(scores(generative.log_joint(fit, X)), scores(other.decision_function(X)), "log joint")
    means, covariance = np.asarray(fit.eta @ fit.transform.back + fit.transform.center), other.covariance_
    agree(means, other.means_, "means")
    agree(np.asarray(fit.transform.back.T @ fit.transform.back), covariance, "covariance")


@pytest.mark.parametrize(
    "name", mostly_slow(["iris", "wine"], ["wine"])
)  # it raises on the singular covariances of the others
def test_quadratic_discriminant_analysis(name):
    X, y = TABLES[name]
    other = QuadraticDiscriminantAnalysis().fit(X, y)
    fit = generative.gaussian_discriminant_analysis(X, y, covariance="full")
    agree(generative.predict_log(fit, X), other.predict_log_proba(X), "log posterior")


@pytest.mark.parametrize(
    ("name", "smoothing"),
    mostly_slow([(n, s) for n in TABLES for s in (0.0, 1e-9) if not (n == "digits" and s == 0)], [("wine", 1e-9)]),
)  # without smoothing the constant pixels have variance 0
def test_gaussian_naive_bayes(name, smoothing):
    X, y = TABLES[name]
    other = GaussianNB(var_smoothing=smoothing).fit(X, y)
    fit = generative.gaussian_naive_bayes(X, y, variance_smoothing=smoothing)
    agree(generative.log_joint(fit, X), other.predict_joint_log_proba(X), "log joint")


@EVERY
@pytest.mark.parametrize("smoothing", mostly_slow([1.0, 0.3], [0.3]))
def test_bernoulli_naive_bayes(name, smoothing):
    X, y = TABLES[name]
    bits = (X.mean(axis=0) < X) * 1.0
    other = BernoulliNB(alpha=smoothing).fit(bits, y)
    fit = generative.bernoulli_naive_bayes(bits, y, smoothing=smoothing)
    agree(generative.log_joint(fit, bits), other.predict_joint_log_proba(bits), "log joint")


@EVERY
def test_categorical_naive_bayes(name):
    X, y = TABLES[name]
    codes = np.floor(4 * (X - X.min(axis=0)) / (np.ptp(X, axis=0) + 1e-9)).astype(int)
    other = CategoricalNB().fit(codes, y)
    fit = generative.categorical_naive_bayes(codes, y)
    agree(generative.log_joint(fit, codes), other.predict_joint_log_proba(codes), "log joint")


@EVERY
def test_multinomial_naive_bayes(name):
    X, y = TABLES[name]
    other = MultinomialNB().fit(X, y)
    fit = generative.multinomial_naive_bayes(X, y, check="hull")
    # Its joint density leaves out the multinomial coefficient of the row, which is the same in every class.
    agree(scores(generative.log_joint(fit, X)), scores(other.predict_joint_log_proba(X)), "log joint")
    agree(generative.predict_log(fit, X), other.predict_log_proba(X), "log posterior")


def test_weights_and_priors():
    X, y = TABLES["iris"]
    w = np.linspace(0.1, 2.0, len(y))
    other = GaussianNB(var_smoothing=0, priors=[0.2, 0.3, 0.5]).fit(X, y, sample_weight=w)
    fit = generative.gaussian_naive_bayes(X, y, weights=w, prior=[0.2, 0.3, 0.5])
    agree(generative.log_joint(fit, X), other.predict_joint_log_proba(X), "log joint")
