"""Inference against itself: two routes to one number, on the families and links of the registry, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiles import compiles
from jaxml import families, glm
from jaxml.predictors import Linear
from marks import mostly_slow
from registry_glm import CASES, QUICK, USED, base_fit, data, default_dtype, fit, flat, over, standard_errors
from tolerances import tolerance

DTYPE = default_dtype()
RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(40, 3)).astype(DTYPE), RNG.poisson(2, 40)


def infer(case, **options):
    X, y, weights = data(case)
    return glm.infer(base_fit(case), X, y, weights=weights, **options)


def same(actual, expected, kind="same"):
    actual, expected = np.asarray(actual), np.asarray(expected)
    room = tolerance(kind, actual.dtype) * np.max(np.abs(expected))
    np.testing.assert_allclose(actual, expected, atol=100 * room)


# -- kinds of families -----------------------------------------------------------------------------------------------
@over(*sorted(QUICK), "tweedie-canonical", "poisson-function", "dirichlet-unconstrained")
def test_errors_from_observed_information_are_those_of_the_autodiff_hessian(case):
    inference = infer(case, information="observed")
    expected = standard_errors(case) * np.sqrt(float(inference.dispersion))
    np.testing.assert_allclose(flat(glm.standard_errors(inference)), expected, rtol=tolerance("fit", DTYPE) * 10)


COPIES = [("bernoulli-logit", "HC1"), ("bernoulli-logit", "HC3"), ("gamma-log", "model"), ("categorical", "HC2"),
          ("normal_mean_variance-unconstrained", "HC0")]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), COPIES)
def test_a_frequency_weight_is_that_many_rows(name, kind):
    case = CASES[name]
    X, y, weights = data(case)
    copies = np.repeat(np.arange(len(X)), weights.astype(int))
    many = [jax.tree.map(lambda a: a[copies], a) for a in (X, y)]
    repeated = glm.infer(fit(case, *many, None), *many, covariance=kind)
    inference = infer(case, covariance=kind)
    same(inference.covariance, repeated.covariance, "fit")
    same(
        np.asarray(glm.leverage(inference))[:USED],
        np.asarray(glm.leverage(repeated))[np.unique(copies, return_index=True)[1]],
        "fit",
    )


@over(
    "bernoulli-logit",
    "binomial-logit",
    "gamma-log",
    "normal-identity",
    "categorical",
    "normal_mean_variance-unconstrained",
)
def test_leverages_sum_to_the_number_of_coefficients(case):
    inference, weights = infer(case), data(case)[2]
    h = np.asarray(glm.leverage(inference))
    assert np.all(np.isnan(h[USED:])) and np.all((h[:USED] > 0) & (h[:USED] < case.family.free_size))
    rank = int(base_fit(case).rank) * case.family.free_size
    np.testing.assert_allclose(np.sum((weights * h)[:USED]), rank, rtol=1e-4 if np.finfo(DTYPE).eps > 1e-10 else 1e-10)


@pytest.mark.slow
@over("gamma-log")
def test_inside_jit_and_over_a_batch(case):
    X, y, weights = jax.tree.map(jnp.asarray, data(case))

    def errors(weights, kind):
        inference = glm.infer(fit(case, X, y, weights, check=False), X, y, weights=weights, covariance=kind)
        return glm.standard_errors(inference), glm.coefficient_tests(inference).p_value

    scaled = jnp.stack([weights, 2 * weights])
    for kind in ("model", "HC3"):
        outside = errors(weights, kind)
        batch = jax.jit(jax.vmap(lambda w: errors(w, kind)))(scaled)  # noqa: B023
        for one, two in zip(jax.tree.leaves(outside), jax.tree.leaves(batch), strict=True):
            assert two.dtype == DTYPE
            same(two[0], one, "fit")


def test_an_inference_that_was_fetched_from_the_device_is_asked_like_any_other():
    inference = glm.infer(glm.fit(families.Poisson(), X, Y), X, Y)
    fetched = jax.device_get(inference)
    same(glm.goodness_of_fit(fetched).null_deviance, glm.goodness_of_fit(inference).null_deviance)
    same(flat(glm.standard_errors(fetched)), flat(glm.standard_errors(inference)))


def test_derivatives_of_a_standard_error():
    def error(scale):
        fit = glm.fit(families.Poisson(), X, Y, l2=scale, check=False)
        return glm.standard_errors(glm.infer(fit, X, Y, check=False)).weight[0]

    assert np.isfinite(float(jax.jvp(error, (jnp.asarray(0.1, DTYPE),), (jnp.asarray(1.0, DTYPE),))[1]))


# -- weights, penalties, redundancy ----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", mostly_slow(["model", "HC3"], ["HC3"]))
def test_two_classes_of_softmax_are_logistic(kind):
    y = (Y > 2).astype(int)
    logit = glm.infer(glm.fit(families.Bernoulli(), X, y), X, y, covariance=kind)
    softmax = glm.contrast(glm.infer(glm.fit(families.Categorical(2), X, y), X, y, covariance=kind))
    one, two = glm.standard_errors(logit), glm.standard_errors(softmax)
    same(two.weight[:, 1], one.weight, "fit")
    same(two.bias[1], one.bias, "fit")


def test_sampling_weights_are_robust_and_free_of_their_unit():
    weights = RNG.uniform(0.5, 2, 40).astype(DTYPE)
    of = lambda w: glm.infer(glm.fit(families.Poisson(), X, Y, weights=w, weight_kind="sampling"), X, Y, weights=w)
    same(of(7 * weights).covariance, of(weights).covariance, "fit")
    assert of(weights).kind == "HC0"
    with pytest.raises(ValueError, match="sampling weights"):
        glm.infer(of(weights).fit, X, Y, weights=weights, covariance="model")
    with pytest.raises(ValueError, match="no log-likelihood"):
        glm.log_likelihood(of(weights))
    assert glm.goodness_of_fit(of(weights)).aic is None


def test_a_penalty_gives_a_posterior_and_effective_parameters():
    l2, n = 0.3, len(X)
    fit = glm.fit(families.Normal(variance=2.0), X, Y.astype(DTYPE), l2=l2)
    inference = glm.infer(fit, X, Y.astype(DTYPE))
    a = np.column_stack([X, np.ones(n)]).astype(float)
    penalty = n * l2 * np.diag([1, 1, 1, 0])
    same(inference.covariance, 2 * np.linalg.inv(a.T @ a + penalty), "fit")
    effective = np.trace(np.linalg.solve(a.T @ a + penalty, a.T @ a))
    np.testing.assert_allclose(glm.effective_parameters(inference), effective, rtol=1e-5)
    assert np.all(np.isnan(glm.coefficient_tests(inference).p_value.weight))
    assert "P>|z|" not in str(glm.summary(inference)) and "posterior" in str(glm.summary(inference))
    with pytest.raises(ValueError, match="penalty"):
        glm.score_test(inference, X[:, 0] ** 2)


def test_where_columns_depend_on_each_other():
    twice = np.column_stack([X, X[:, 0]])
    fit, plain = (glm.fit(families.Poisson(), a, Y) for a in (twice, X))
    inference, whole = glm.infer(fit, twice, Y), glm.infer(plain, X, Y)
    errors = glm.standard_errors(inference)
    assert np.array_equal(np.isnan(errors.weight), [True, False, False, True]) and np.isfinite(errors.bias)
    same(errors.weight[1:3], glm.standard_errors(whole).weight[1:3], "fit")
    # The sum of the two is what the column had, and predictions are those without the copy.
    one = glm.wald_test(inference, [1.0, 0, 0, 1, 0])
    np.testing.assert_allclose(one.statistic, glm.wald_test(whole, [1.0, 0, 0, 0]).statistic, rtol=1e-3)
    assert np.isnan(glm.wald_test(inference, [1.0, 0, 0, 0, 0]).p_value)
    same(glm.predict_with_errors(inference, twice).error, glm.predict_with_errors(whole, X).error, "fit")
    other = np.column_stack([X, X[:, 0] + 1])  # not in the rows of the fit
    assert np.all(np.isnan(glm.predict_with_errors(inference, other).error))
    assert "not estimable" in str(glm.summary(inference))


def test_a_second_question_compiles_nothing():
    inference = glm.infer(glm.fit(families.Poisson(), X, Y), X, Y)

    def ask(inference):
        glm.coefficient_tests(inference)
        glm.confidence_intervals(inference)
        glm.wald_test(inference, np.eye(4)[:2])
        glm.goodness_of_fit(inference)
        glm.predict_with_errors(inference, X[:5])
        return glm.summary(inference)

    ask(inference)
    assert compiles(lambda: ask(glm.infer(glm.fit(families.Poisson(), 2 * X, Y), 2 * X, Y))) == 0


def test_a_shift_of_the_columns_moves_nothing_but_the_bias():
    far = X + np.array([100, 0, -50], DTYPE)
    one, two = (glm.infer(glm.fit(families.Poisson(), a, Y), a, Y) for a in (X, far))
    same(two.covariance[:3, :3], one.covariance[:3, :3], "fit" if np.finfo(DTYPE).eps < 1e-10 else "stochastic")
    a, b = (glm.predict_with_errors(i, x) for i, x in ((one, X), (two, far)))
    np.testing.assert_allclose(b.error, a.error, rtol=1e-8 if np.finfo(DTYPE).eps < 1e-10 else 0.05)


def test_draws_of_new_observations_spread_as_the_law_and_the_coefficients_do():
    y = (X @ [1.0, -1, 0.5] + RNG.normal(size=40)).astype(DTYPE)
    inference = glm.infer(glm.fit(families.Normal(), X, y), X, y)
    draws = np.asarray(glm.sample_predictive(inference, X[:3], jax.random.key(0), 20_000))
    prediction = glm.predict_with_errors(inference, X[:3])
    assert draws.shape == (20_000, 3)
    expected = np.sqrt(np.asarray(prediction.error) ** 2 + float(inference.dispersion))
    np.testing.assert_allclose(draws.std(0), expected, rtol=0.03)
    np.testing.assert_allclose(draws.mean(0), prediction.value, atol=0.05)

    w = np.linspace(0.5, 3, 40).astype(
        DTYPE
    )  # precision weights divide the variance of a new row as they do that of an old one
    weighted = glm.infer(glm.fit(families.Normal(), X, y, weights=w, weight_kind="precision"), X, y, weights=w)
    new = np.array([0.25, 1, 4], DTYPE)
    draws = np.asarray(glm.sample_predictive(weighted, X[:3], jax.random.key(0), 20_000, weights=new))
    error = np.asarray(glm.predict_with_errors(weighted, X[:3]).error)
    np.testing.assert_allclose(draws.std(0), np.sqrt(error**2 + float(weighted.dispersion) / new), rtol=0.03)
    with pytest.raises(ValueError, match="give weights= for the new rows"):
        glm.sample_predictive(weighted, X[:3], jax.random.key(0))
    with pytest.raises(ValueError, match="only where precision weights"):
        glm.sample_predictive(inference, X[:3], jax.random.key(0), weights=new)


def test_the_evidence_of_a_normal_model_is_the_law_of_y():
    y = (X @ [1.0, -1, 0.5] + RNG.normal(size=40)).astype(DTYPE)
    a, v, n = np.column_stack([X, np.ones(40)]).astype(float), 1.5, 40
    penalty = np.array([0.1, 0.1, 0.1, 0.05])
    spread = v * np.eye(n) + a @ np.diag(v / (n * penalty)) @ a.T
    fit = glm.fit(families.Normal(variance=v), X, y, l2=Linear(0.1, 0.05))
    expected = -(y @ np.linalg.solve(spread, y) + np.linalg.slogdet(spread)[1] + n * np.log(2 * np.pi)) / 2
    np.testing.assert_allclose(
        glm.log_evidence(glm.infer(fit, X, y)), expected, rtol=1e-4 if DTYPE == "float32" else 1e-10
    )


def test_the_evidence_of_two_classes_is_that_of_logistic_regression_and_a_constant():
    y = (Y > 2).astype(int)
    evidence = lambda family, l2: float(glm.log_evidence(glm.infer(glm.fit(family, X, y, l2=l2), X, y)))
    gaps = [evidence(families.Categorical(2), 2 * l2) - evidence(families.Bernoulli(), l2) for l2 in (0.01, 0.1)]
    np.testing.assert_allclose(gaps, -np.log(2) / 2, rtol=1e-3 if DTYPE == "float32" else 1e-7)


def test_draws_of_the_posterior():
    inference = glm.infer(glm.fit(families.Poisson(), X, Y, l2=0.1), X, Y)
    draws = glm.sample_posterior(inference, jax.random.key(1), 40_000)
    both = np.column_stack([draws.weight, draws.bias])
    np.testing.assert_allclose(both.mean(0), flat(inference.params), atol=0.01)
    np.testing.assert_allclose(np.cov(both.T), inference.covariance, atol=2e-3)


def test_no_evidence_without_a_proper_posterior():
    for l2, columns, match in (
        (0.0, X, "no proper prior"),
        (Linear(np.array([0.1, 0, 0, 0]), 0.0), np.c_[X, X[:, 2]], "improper"),
    ):
        inference = glm.infer(glm.fit(families.Poisson(), columns, Y, l2=l2), columns, Y)
        with pytest.raises(ValueError, match=match):
            glm.log_evidence(inference)


# -- the table -------------------------------------------------------------------------------------------------------
def test_the_summary_in_its_forms():
    inference = glm.infer(glm.fit(families.Poisson(), X, Y), X, Y)
    table = glm.summary(inference, names=["a", "b", "c"])
    errors = flat(glm.standard_errors(inference))
    np.testing.assert_array_equal(table.error, errors)
    assert table.names == ["a", "b", "c", "(intercept)"]
    assert table.to_dict()["b"]["error"] == pytest.approx(float(errors[1]))
    frame = table.to_pandas()
    assert list(frame.index) == table.names and frame.loc["c", "error"] == pytest.approx(float(errors[2]))
    y = Y % 3
    classes = glm.contrast(glm.infer(glm.fit(families.Categorical(3), X, y), X, y))
    words = glm.summary(classes, names="abc", outputs=["red", "green", "blue"])
    assert words.names[4] == "green: a" and str(words).count("reference") == 4
    with pytest.raises(ValueError, match="names has 2 entries, expected 3"):
        glm.summary(inference, names=["a", "b"])


# -- what is refused -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"X": X[:30], "y": Y[:30]}, "the fit has 40 observations, these rows have 30"),
        ({"y": np.roll(Y, 7)}, "standard errors away from the optimum"),
        ({"X": X[:, :2]}, "fitted on 3 columns"),
        ({"offset": np.zeros(40)}, "fitted without an offset"),
        ({"covariance": "HC4"}, "covariance='HC4' is not known"),
        ({"information": "both"}, "information='both' is not known"),
        ({"covariance": "cluster"}, "needs clusters="),
        ({"covariance": "HC1", "clusters": np.arange(40)}, "does not use them"),
        ({"clusters": np.arange(30)}, r"clusters has shape \(30,\)"),
        ({"clusters": np.where(np.arange(40) == 3, np.nan, 1.0)}, r"clusters\[3\] is missing"),
        ({"y": np.where(np.arange(40) == 3, -1, Y)}, r"y\[3\] = -1"),
    ],
)
def test_bad_input(change, match):
    fit = glm.fit(families.Poisson(), X, Y)
    arguments = {"X": X, "y": Y} | change
    with pytest.raises(ValueError, match=match):
        glm.infer(fit, **arguments)


def test_a_perfect_fit_and_a_saturated_one():
    y = (X @ [1.0, -1, 0.5]).astype(DTYPE)
    inference = glm.infer(glm.fit(families.Normal(), X, y), X, y)
    assert np.all(flat(glm.standard_errors(inference)) < 1e-5)
    saturated = glm.infer(glm.fit(families.Normal(), X[:4], y[:4]), X[:4], y[:4])
    assert np.all(np.isnan(flat(glm.standard_errors(saturated))))
    np.testing.assert_allclose(glm.leverage(saturated), 1, rtol=1e-4)


def test_a_batch_of_fits_is_refused():
    fits = jax.vmap(lambda w: glm.fit(families.Poisson(), X, Y, weights=w, check=False))(jnp.ones((2, 40), DTYPE))
    with pytest.raises(ValueError, match=r"batch of \(2,\); use jax.vmap"):
        glm.infer(fits, X, Y)


def test_a_fit_without_its_data_is_refused():
    fit = glm.fit(families.Poisson(), X, Y)
    inference = glm.infer(fit, X, Y)
    for ask in (
        glm.standard_errors,
        glm.summary,
        glm.goodness_of_fit,
        glm.leverage,
        lambda f: glm.predict_with_errors(f, X),
    ):
        with pytest.raises(TypeError, match=r"glm.infer\(fit, X, y\)"):
            ask(fit)
    with pytest.raises(TypeError, match="likelihood_ratio_test asks"):
        glm.likelihood_ratio_test(inference, fit)
    with pytest.raises(TypeError, match="analysis_of_deviance asks"):
        glm.analysis_of_deviance([inference, fit])


def test_models_that_cannot_be_compared():
    of = lambda family, X, y, **options: glm.infer(glm.fit(family, X, y, **options), X, y)
    small, large = of(families.Poisson(), X[:, :1], Y), of(families.Poisson(), X, Y)
    for pair, match in (
        ((large, small), "smaller"),
        ((small, of(families.Poisson(), X, Y + 1)), "different y"),
        ((small, of(families.NegativeBinomial(r=2.0), X, Y)), "not nested"),
        ((small, of(families.Poisson(), X, Y, l2=0.1)), "penalty"),
    ):
        with pytest.raises(ValueError, match=match):
            glm.likelihood_ratio_test(*pair)
    with pytest.raises(ValueError, match="two models"):
        glm.analysis_of_deviance([large])


def test_questions_without_an_answer_say_so():
    y = np.abs(RNG.normal(size=40)).astype(DTYPE) + 0.1
    inference = glm.infer(glm.fit(families.GammaShapeRate(), X[:, :1], y), X[:, :1], y)
    good = glm.goodness_of_fit(inference)
    assert good.deviance is None and good.explained_deviance is None and np.isfinite(good.aic)
    for call in (glm.residuals, glm.cooks_distance, glm.dfbetas):
        with pytest.raises(ValueError, match="GammaShapeRate"):
            call(inference)
    poisson = glm.infer(glm.fit(families.Poisson(), X, Y), X, Y)
    with pytest.raises(ValueError, match="kind='raw'"):
        glm.residuals(poisson, "raw")
    with pytest.raises(ValueError, match="no dispersion to choose"):
        glm.log_likelihood(poisson, dispersion=2.0)
    for interval in (
        glm.confidence_intervals,
        glm.marginal_effects,
        lambda i, **how: glm.predict_with_errors(i, X, **how),
    ):
        with pytest.raises(ValueError, match="level = 95"):
            interval(poisson, level=95)
    with pytest.raises(ValueError, match="inside jit"):
        jax.jit(lambda i: glm.summary(i).coefficient)(poisson)
