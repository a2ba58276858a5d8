"""Quantile residuals against scipy, Anscombe residuals against the integral that defines them."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from jaxml import families, glm
from marks import mostly_slow

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
TOL = 1e-9 if X64 else 2e-3
KEY = jax.random.key(3)
RNG = np.random.default_rng(8)
N = 40
X = RNG.normal(size=(N, 2)).astype(DTYPE)
MEAN = np.exp(0.8 + 0.3 * X[:, 0]).astype(float)
TRIALS = RNG.integers(1, 9, N)
POSITIVE, COUNTS = RNG.gamma(3.0, MEAN / 3).astype(DTYPE), RNG.poisson(MEAN)
SUCCESSES = RNG.binomial(TRIALS, MEAN / (3 + MEAN))

CASES = {  # family, link, y, scipy's law at a mean and a dispersion, V of the mean per trial
    "normal": (families.Normal(), None, POSITIVE, lambda m, phi: stats.norm(m, np.sqrt(phi)), lambda m: 1.0),
    "normal_known": (families.Normal(variance=2.0), None, POSITIVE, lambda m, phi: stats.norm(m, np.sqrt(2)), lambda m: 1.0),
    "gamma": (families.Gamma(), "log", POSITIVE, lambda m, phi: stats.gamma(1 / phi, scale=m * phi), lambda m: m**2),
    "exponential": (families.Exponential(), "log", POSITIVE, lambda m, phi: stats.expon(scale=m), lambda m: m**2),
    "inverse_gaussian": (families.InverseGaussian(), "log", POSITIVE, lambda m, phi: stats.invgauss(m * phi, scale=1 / phi), lambda m: m**3),
    "poisson": (families.Poisson(), None, COUNTS, lambda m, phi: stats.poisson(m), lambda m: m),
    "bernoulli": (families.Bernoulli(), None, (COUNTS > 2).astype(int), lambda m, phi: stats.bernoulli(m), lambda m: m * (1 - m)),
    "binomial": (families.Binomial(), None, (SUCCESSES, TRIALS), lambda m, phi: stats.binom(TRIALS, m), lambda m: m * (1 - m)),
    "geometric": (families.Geometric(), None, COUNTS + 1, lambda m, phi: stats.geom(1 / m), None),
    "negative_binomial": (families.NegativeBinomial(4.0), None, COUNTS, lambda m, phi: stats.nbinom(4, 4 / (4 + m)), None),
}  # fmt: skip
INFERRED = {}


def inferred(name):
    """The inference, y as a number or a count, the mean per trial and the law of each row."""
    family, link, y, law, _ = CASES[name]
    if name not in INFERRED:
        INFERRED[name] = glm.infer(glm.fit(family, X, y, link=link), X, y)
    inference = INFERRED[name]
    one = {"trials": 1} if family.has_trials else {}
    mean = np.asarray(glm.predict(inference.fit, X, **one), float)
    return inference, y[0] if family.has_trials else y, mean, law(mean, float(inference.dispersion))


def test_every_family_with_a_distribution_function_and_one_mean_is_here():
    defines = lambda f: f.cumulative is not families.Family.cumulative and f.natural_size is None
    known = {
        f for f in vars(families).values() if isinstance(f, type) and issubclass(f, families.Family) and defines(f)
    }
    assert known == {type(case[0]) for case in CASES.values()}


@pytest.mark.parametrize("name", mostly_slow([n for n, case in CASES.items() if not case[0].discrete], ["gamma"]))
def test_quantile_residuals_of_continuous_y(name):
    inference, y, _, law = inferred(name)
    got = glm.residuals(inference, "quantile")
    np.testing.assert_allclose(got, stats.norm.ppf(law.cdf(y)), rtol=TOL, atol=TOL)


@pytest.mark.parametrize("name", mostly_slow([n for n, case in CASES.items() if case[0].discrete], ["binomial"]))
def test_quantile_residuals_of_discrete_y_are_uniform_on_their_step(name):
    inference, y, _, law = inferred(name)
    draws = jax.jit(jax.vmap(lambda key: glm.residuals(inference, "quantile", key=key)))(jax.random.split(KEY, 400))
    share = stats.norm.cdf(np.asarray(draws, float))
    low, high = law.cdf(y - 1), law.cdf(y)
    place = (share - low) / (high - low)
    assert np.all((place > -TOL) & (place < 1 + TOL))
    assert stats.kstest(place.ravel(), "uniform").pvalue > 1e-3
    np.testing.assert_allclose(place.mean(axis=0), 0.5, atol=5 / np.sqrt(12 * 400))
    np.testing.assert_allclose(
        glm.residuals(inference, "quantile", key=jax.random.split(KEY, 400)[7]), draws[7], rtol=TOL, atol=TOL
    )


@pytest.mark.parametrize("name", mostly_slow([n for n, case in CASES.items() if case[-1]], ["gamma", "binomial"]))
def test_anscombe_residuals_by_their_integral(name):
    inference, y, mean, _ = inferred(name)
    V, trials = CASES[name][-1], TRIALS if name == "binomial" else np.ones(N, int)
    gap = [
        integrate.quad(lambda t: V(t) ** (-1 / 3), m, v, epsabs=1e-12, limit=200)[0]
        for m, v in zip(mean, y / trials, strict=True)
    ]
    expected = np.sqrt(trials) * gap / V(mean) ** (1 / 6)
    np.testing.assert_allclose(glm.residuals(inference, "anscombe"), expected, rtol=max(TOL, 1e-7), atol=TOL)


def test_outliers_on_both_sides_keep_their_digits():
    noise = np.random.default_rng(0).normal(size=400)
    noise[:2] = 8.0 * np.array([1, -1])
    y = (2 + noise).astype(DTYPE)
    none = np.zeros((400, 0), DTYPE)
    inference = glm.infer(glm.fit(families.Normal(), none, y), none, y)
    expected = np.asarray(glm.residuals(inference, "response")) / np.sqrt(inference.dispersion)
    assert np.max(np.abs(expected)) > 7
    np.testing.assert_allclose(
        glm.residuals(inference, "quantile"), expected, rtol=1e-12 if X64 else 1e-5, atol=1e-12 if X64 else 1e-5
    )


def test_precision_weights_divide_the_dispersion_and_rows_of_weight_0_have_none():
    weights = np.linspace(0.5, 2, N).astype(DTYPE)
    weights[4] = 0
    y = POSITIVE.copy()
    y[4] = np.nan
    fit = glm.fit(families.Normal(), X, y, weights=weights, weight_kind="precision")
    inference = glm.infer(fit, X, y, weights=weights)
    expected = np.asarray(glm.residuals(inference, "pearson")) / np.sqrt(inference.dispersion)
    for kind, unit in (("quantile", 1.0), ("anscombe", np.sqrt(inference.dispersion))):
        np.testing.assert_allclose(np.asarray(glm.residuals(inference, kind)) / unit, expected, rtol=TOL, atol=TOL)
    assert np.isnan(expected[4]) and np.sum(np.isnan(expected)) == 1


@pytest.mark.slow
def test_two_parameters_of_one_number():
    fit = glm.fit(families.NormalMeanVariance(), X[:, :1], POSITIVE)
    inference = glm.infer(fit, X[:, :1], POSITIVE)
    z = np.asarray(glm.predict_with_errors(inference, X[:, :1], scale="linear").value)
    expected = (POSITIVE - z[:, 0]) / np.exp(z[:, 1] / 2)
    np.testing.assert_allclose(glm.residuals(inference, "quantile"), expected, rtol=TOL, atol=TOL)


def traced(family, y, *args, link=None, check="support", **options):
    """The residuals of a fit that is only traced: what is refused is refused before anything is computed."""
    shape = lambda y: glm.residuals(
        glm.infer(glm.fit(family, X, y, link=link, check=check), X, y, check=False), *args, **options
    )
    return jax.eval_shape(shape, y)


def test_what_is_not_defined_says_why():
    with pytest.raises(ValueError, match=r"Poisson are drawn at random .* give key="):
        traced(families.Poisson(), COUNTS, "quantile")
    with pytest.raises(
        ValueError, match=r"anscombe residuals are known for Normal, .*, not for Geometric; use 'deviance'"
    ):
        traced(families.Geometric(), COUNTS + 1, "anscombe")
    with pytest.raises(ValueError, match="standardized=True is for pearson and deviance"):
        traced(families.Normal(), POSITIVE, "quantile", standardized=True)
    with pytest.raises(ValueError, match="no law of y"):
        traced(families.Poisson(), POSITIVE, "quantile", check="hull", key=KEY)
    with pytest.raises(NotImplementedError, match="Categorical does not define cumulative"):
        traced(families.Categorical(3), COUNTS % 3, "quantile", key=KEY)
