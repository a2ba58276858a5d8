"""Prediction intervals: exact ones against statsmodels, the others against the mixture that they are quantiles of, and against draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from jaxml import families, glm
from marks import mostly_slow
from test_residuals import CASES, COUNTS, POSITIVE, TRIALS, X

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
NEW = np.array([[0.0, 0.0], [1.5, -1.0], [-2.0, 2.5], [3.0, 0.5]], DTYPE)
LAWS = {name: case for name, case in CASES.items() if not name.startswith("normal")}
LAWS["binomial"] = (*CASES["binomial"][:3], lambda m, phi: stats.binom(5, m), None)
LAWS["normal_log"] = (families.Normal(), "log", *CASES["normal"][2:])
LAWS["gamma_inverse"] = (families.Gamma(), "inverse", *CASES["gamma"][2:])
FEW = 12
needs_x64 = pytest.mark.skipif(not X64, reason="digits of 64-bit mode")


def inferred(name, **options):
    """An inference from few rows, so that the uncertainty of the fit is large, and what predictions of the family ask for."""
    family, link, y, law, _ = LAWS[name]
    y = jax.tree.map(lambda v: v[:FEW], y)
    options = {key: np.full(FEW, value, DTYPE) if key == "weights" else value for key, value in options.items()}
    separable = isinstance(family, families.Bernoulli)  # so few labels may be separated
    fit = glm.fit(family, X[:FEW], y, link=link, l2=0.05 if separable else 0.0, **options)
    return glm.infer(fit, X[:FEW], y, **options), law, {"trials": 5} if family.has_trials else {}


def mean_of(fit, z):
    """The mean (per trial) at z by the link, NaN outside its domain."""
    inside = z > 0 if fit.link.name == "inverse" else z == z
    return np.where(inside, np.asarray(fit.link.inverse(jnp.asarray(np.where(inside, z, 1.0))), float), np.nan)


@pytest.mark.parametrize("name", mostly_slow(["gamma_inverse", "geometric", "binomial"], ["gamma_inverse"]))
def test_ends_are_the_quantiles_of_the_mixture(name):
    inference, law, more = inferred(name)
    family = inference.fit.family
    z = glm.predict_with_errors(inference, NEW, scale="linear")
    got = glm.prediction_intervals(inference, NEW, level=0.9, **more)
    assert got.low.dtype == got.high.dtype == DTYPE
    tolerance = 1e-6 if X64 else 1e-4
    for i, (at, error) in enumerate(zip(np.asarray(z.value, float), np.asarray(z.error, float), strict=True)):
        confined = inference.fit.link.name == "inverse" or isinstance(family, families.Geometric)  # to z > 0
        cut = max(-9.0, -at / error) if confined else -9.0
        x = cut + (9 - cut) * (np.arange(20_000) + 0.5) / 20_000  # where z is inside the domain of the link
        weight = np.exp(-x * x / 2)
        mixture = law(mean_of(inference.fit, at + error * x), float(inference.dispersion))
        below = lambda y: np.sum(weight * mixture.cdf(y)) / np.sum(weight)  # noqa: B023
        for y, share in ((float(got.low[i]), 0.05), (float(got.high[i]), 0.95)):
            if family.discrete:
                assert below(y - 1) < share + tolerance and below(y) > share - tolerance
            else:
                np.testing.assert_allclose(below(y), share, atol=tolerance)


@pytest.mark.parametrize(
    "name",
    mostly_slow(
        ["negative_binomial", "gamma_inverse", "inverse_gaussian", "binomial", "bernoulli", "poisson", "normal_log"],
        ["negative_binomial"],
    ),
)
def test_without_uncertainty_of_the_fit_they_are_those_of_the_family(name):
    inference, law, more = inferred(name, weights=1e13 if X64 else 1e6)
    got = glm.prediction_intervals(inference, NEW, level=0.9, **more)
    mean = mean_of(inference.fit, np.asarray(glm.predict_with_errors(inference, NEW, scale="linear").value, float))
    known = np.isfinite(mean)
    expected = law(np.where(known, mean, 0.5), float(inference.dispersion))
    for end, share in zip(got, (0.05, 0.95), strict=True):
        want = np.where(known, expected.ppf(share), np.nan)
        if inference.fit.family.discrete:
            np.testing.assert_array_equal(end, want)
        else:
            np.testing.assert_allclose(end, want, rtol=1e-5 if X64 else 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gamma", "binomial"])
def test_ends_are_those_of_draws(name):
    inference, _, more = inferred(name)
    draws = np.asarray(glm.sample_predictive(inference, NEW, jax.random.key(1), 40_000, **more))
    low, high = (np.asarray(end) for end in glm.prediction_intervals(inference, NEW, level=0.9, **more))
    spread = 5 * np.sqrt(0.05 * 0.95 / len(draws))
    assert np.all(np.mean(draws < low, axis=0) < 0.05 + spread) and np.all(
        np.mean(draws <= low, axis=0) > 0.05 - spread
    )
    assert np.all(np.mean(draws < high, axis=0) < 0.95 + spread) and np.all(
        np.mean(draws <= high, axis=0) > 0.95 - spread
    )


@needs_x64
def test_normal_intervals_equal_those_of_least_squares():
    data = sm.datasets.longley.load_pandas()
    A, y = np.ascontiguousarray(data.exog, float), np.asarray(data.endog, float)
    design = lambda A: sm.add_constant(A, prepend=False, has_constant="add")
    new = A[:4] * 1.01
    inference = glm.infer(glm.fit(families.Normal(), A, y), A, y)
    expected = sm.OLS(y, design(A)).fit(method="qr").get_prediction(design(new)).conf_int(obs=True, alpha=0.1)
    np.testing.assert_allclose(
        np.column_stack(glm.prediction_intervals(inference, new, level=0.9)), expected, rtol=1e-8
    )
    # Precision weights: those of the new rows count.
    weights = 1 / A[:, 0]
    inference = glm.infer(
        glm.fit(families.Normal(), A, y, weights=weights, weight_kind="precision"), A, y, weights=weights
    )
    model = sm.WLS(y, design(A), weights=weights).fit(method="qr")
    some = np.array([0.01, 0.02, 0.005, 0.1])
    expected = model.get_prediction(design(new), weights=some).conf_int(obs=True)
    got = glm.prediction_intervals(inference, new, weights=some)
    np.testing.assert_allclose(np.column_stack(got), expected, rtol=1e-8)
    with pytest.raises(ValueError, match="give weights= for the new rows"):
        glm.prediction_intervals(inference, new)
    with pytest.raises(ValueError, match="weights of new rows must be positive"):
        glm.prediction_intervals(inference, new, weights=0 * some)


def test_what_the_design_does_not_determine_is_nan():
    A = np.column_stack([X[:, 0], 2 * X[:, 0]])
    inference = glm.infer(glm.fit(families.Normal(variance=2.0), A, POSITIVE), A, POSITIVE)
    got = glm.prediction_intervals(inference, np.array([[1.0, 2.0], [1.0, 0.0]], DTYPE))
    np.testing.assert_array_equal(np.isnan(np.column_stack(got)), [[False, False], [True, True]])


@pytest.mark.slow
def test_inside_jit_and_over_a_batch():
    inference, _, _ = inferred("poisson")
    batch = jax.jit(jax.vmap(lambda row: glm.prediction_intervals(inference, row[None])))(jnp.asarray(NEW))
    for one, many in zip(glm.prediction_intervals(inference, NEW), batch, strict=True):
        np.testing.assert_array_equal(many[:, 0], one)


def traced(family, y, check="support", **options):
    fit = lambda y: glm.infer(glm.fit(family, X, y, check=check), X, y, check=False)
    return jax.eval_shape(lambda y: glm.prediction_intervals(fit(y), NEW, **options), y)


def test_what_is_refused_says_why():
    with pytest.raises(ValueError, match=r"NormalMeanVariance\(\) has 2; take quantiles of sample_predictive"):
        traced(families.NormalMeanVariance(), POSITIVE)
    with pytest.raises(ValueError, match="no law of y"):
        traced(families.Poisson(), POSITIVE, check="hull")
    with pytest.raises(ValueError, match="weights have a meaning for new rows only where"):
        traced(families.Poisson(), COUNTS, weights=1.0)
    with pytest.raises(ValueError, match="give trials="):
        traced(families.Binomial(), (COUNTS % 2, TRIALS))
    with pytest.raises(ValueError, match="level = 95"):
        traced(families.Poisson(), COUNTS, level=95)
