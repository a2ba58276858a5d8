"""Standard errors, tests, diagnostics and predictions against statsmodels on real data, and robust errors against formulas typed here."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from jaxml import families, glm
from jaxml.glm import tails
from jaxml.predictors import Linear
from marks import mostly_slow
from test_glm_oracles import LINKS, PAIRS, Row, columns, fitted, flat, loader, randhie, response, spector
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="8 digits need 64-bit mode")

QUICK = ("spector-logit", "star98-logit", "scotland-log", "longley")
SOME = (*QUICK, "spector-probit", "randhie-negative-binomial", "scotland-inverse-gaussian", "normal-inverse")
OF = [row for row in PAIRS if row.name in SOME]
some_rows = pytest.mark.parametrize("row", mostly_slow(OF, QUICK, [row.name for row in OF]))


def inferred(row: Row, **options):
    X, y, expected, fit = fitted(row)
    return X, y, expected, glm.infer(fit, X, y, **options)


def refitted(row: Row, X, y, **options):
    """statsmodels' fit with another covariance."""
    law = row.oracle(LINKS[row.link]) if row.link else row.oracle()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sm.GLM(response(y), sm.add_constant(X, prepend=False, has_constant="add"), family=law)
        return model.fit(tol=1e-14, maxiter=300, tol_criterion="params", **options)


def digits(actual, expected, kind="oracle"):
    assert_agree(np.asarray(actual), np.asarray(expected), kind, np.max(np.abs(expected)))


# -- coefficients ----------------------------------------------------------------------------------------------------
@some_rows
def test_standard_errors_statistics_and_p_values(row):
    _, _, expected, inference = inferred(row)
    assert_agree(flat(glm.standard_errors(inference)), expected.bse, "oracle")
    tests = glm.coefficient_tests(inference)
    assert_agree(flat(tests.statistic), expected.tvalues, "oracle", 1)
    freedom = expected.df_resid if row.family.estimates_dispersion else np.inf
    assert float(inference.freedom) == freedom
    digits(flat(tests.p_value), 2 * stats.t.sf(np.abs(expected.tvalues), freedom))
    low, high = glm.confidence_intervals(inference, level=0.9)
    half = stats.t.ppf(0.95, freedom) * expected.bse
    assert_agree(flat(low), expected.params - half, "oracle", expected.bse)
    assert_agree(flat(high), expected.params + half, "oracle", expected.bse)


@some_rows
def test_heteroscedasticity_consistent_errors(row):
    X, y, _, inference = inferred(row, covariance="HC0")
    if isinstance(row.family, families.Normal) and not row.link:
        # Its GLM loses half of the digits on longley, by a pseudo-inverse that differs between machines.
        expected = sm.OLS(y, sm.add_constant(X, prepend=False)).fit(method="qr").HC0_se
    else:
        expected = refitted(row, X, y, cov_type="HC0").bse
    np.testing.assert_allclose(flat(glm.standard_errors(inference)), expected, rtol=1e-7)


def typed(kind, a, u, W, bread):
    """HC1 to HC3 from the design, the scores and the weights of a row."""
    n, k = a.shape
    h = W * np.einsum("ni,ij,nj->n", a, np.linalg.inv(a.T @ (W[:, None] * a)), a)
    c = {"HC0": 1, "HC1": n / (n - k), "HC2": 1 / (1 - h), "HC3": 1 / (1 - h) ** 2}[kind]
    return bread @ (a.T @ ((c * u**2)[:, None] * a)) @ bread


@pytest.mark.parametrize("kind", ["HC0", "HC1", "HC2", "HC3"])
def test_robust_errors_by_the_formulas(kind):
    X, y = spector()
    a = np.column_stack([X, np.ones(len(X))])
    for family, link in ((families.Bernoulli(), "logit"), (families.Normal(), None)):
        fit = glm.fit(family, X, y, link=link)
        mu = np.asarray(glm.predict(fit, X))
        W = mu * (1 - mu) if link else np.ones(len(X))
        V = typed(kind, a, y - mu, W, np.linalg.inv(a.T @ (W[:, None] * a)))
        digits(glm.infer(fit, X, y, covariance=kind).covariance, V)


@pytest.mark.slow
def test_clusters_of_one_and_of_two_kinds():
    X, y = randhie()
    X, y = X[:1500], y[:1500]
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 40, len(y)), rng.integers(0, 25, len(y))
    fit = glm.fit(families.Poisson(), X, y)
    model = sm.GLM(y, sm.add_constant(X, prepend=False), family=sm.families.Poisson())
    for clusters, groups in ((first, first), ((first, second), np.column_stack([first, second]))):
        expected = model.fit(tol=1e-14, cov_type="cluster", cov_kwds={"groups": groups}).bse
        inference = glm.infer(fit, X, y, clusters=clusters)
        np.testing.assert_allclose(flat(glm.standard_errors(inference)), expected, rtol=1e-7)
    inside = jax.jit(lambda *codes: glm.infer(fit, X, y, clusters=codes).covariance)(first, second)
    digits(inside, inference.covariance, "same")
    words = np.array([f"town {c}" for c in first])
    digits(glm.infer(fit, X, y, clusters=words).covariance, glm.infer(fit, X, y, clusters=first).covariance, "same")


def test_each_row_a_cluster_is_hc1():
    X, y = spector()
    fit = glm.fit(families.Bernoulli(), X, y)
    of = lambda **options: glm.infer(fit, X, y, **options).covariance
    digits(of(clusters=np.arange(len(y))), of(covariance="HC1"), "same")


@pytest.mark.slow
def test_multinomial_logit():
    data = sm.datasets.anes96.load_pandas()
    X, y = columns(data.exog), np.asarray(data.endog, int)
    model = sm.MNLogit(y, sm.add_constant(X, prepend=False))
    fit = glm.fit(families.Categorical(7), X, y)
    for kind, oracle in (("model", "nonrobust"), ("HC0", "HC0")):
        expected = model.fit(method="newton", tol=1e-14, maxiter=100, disp=False, cov_type=oracle)
        inference = glm.contrast(glm.infer(fit, X, y, covariance=kind), reference=0)
        errors = np.vstack(glm.standard_errors(inference))
        assert np.all(errors[:, 0] == 0)
        assert_agree(errors[:, 1:], np.asarray(expected.bse), "oracle")
    good = glm.goodness_of_fit(glm.infer(fit, X, y))
    digits([good.aic, good.bic, good.mcfadden], [expected.aic, expected.bic, expected.prsquared])
    X = X[:, :2]
    small = glm.infer(glm.fit(families.Categorical(7), X, y), X, y)
    test = glm.likelihood_ratio_test(small, glm.infer(fit, columns(data.exog), y))
    assert int(test.constraints) == 6 * (data.exog.shape[1] - 2)


@pytest.mark.slow
def test_precision_weights_are_weighted_least_squares():
    X, y = loader("ccard")()
    weights = 1 / X[:, 1]
    fit = glm.fit(families.Normal(), X, y, weights=weights, weight_kind="precision")
    inference = glm.infer(fit, X, y, weights=weights)
    expected = sm.WLS(y, sm.add_constant(X, prepend=False), weights=weights).fit(method="qr")
    assert_agree(flat(glm.standard_errors(inference)), expected.bse, "oracle")
    root = np.sqrt(weights)
    white = sm.OLS(root * y, root[:, None] * sm.add_constant(X, prepend=False)).fit(method="qr")
    influence = white.get_influence()
    digits(glm.leverage(inference), influence.hat_matrix_diag)
    digits(glm.cooks_distance(inference), influence.cooks_distance[0])
    digits(glm.residuals(inference, "pearson", standardized=True), influence.resid_studentized_internal)
    # HC0 of weighted least squares: the weights multiply the scores.
    for kind in ("HC0", "HC1", "HC2", "HC3"):
        robust = flat(glm.standard_errors(glm.infer(fit, X, y, weights=weights, covariance=kind)))
        np.testing.assert_allclose(robust, getattr(expected, f"{kind}_se"), rtol=1e-7)


# -- the fit as a whole ----------------------------------------------------------------------------------------------
@some_rows
def test_goodness_of_fit(row):
    _, _, expected, inference = inferred(row)
    good = glm.goodness_of_fit(inference)
    assert_agree(good.deviance, expected.deviance, "oracle")
    assert_agree(good.null_deviance, expected.null_deviance, "oracle")
    assert_agree(good.pearson, expected.pearson_chi2, "oracle")
    assert (float(good.freedom), float(good.null_freedom)) == (expected.df_resid, expected.nobs - 1)
    if not row.family.estimates_dispersion:
        digits([good.aic, good.bic], [expected.aic, expected.bic_llf])
        assert_agree(good.mcfadden, 1 - expected.llf / expected.llnull, "oracle")
        assert_agree(good.cox_snell, expected.pseudo_rsquared("cs"), "oracle")
    elif row.link or not isinstance(row.family, families.Normal):
        assert_agree(glm.log_likelihood(inference, dispersion="pearson"), expected.llf, "oracle", 1)
        assert float(glm.log_likelihood(inference)) > float(glm.log_likelihood(inference, dispersion="pearson"))


def test_without_an_intercept_the_null_model_is_the_offset():
    X, y = loader("cpunish")()
    X = X[:, :2] / X[:, :2].max(0)
    inference = glm.infer(glm.fit(families.Poisson(), X, y, intercept=False), X, y)
    good = glm.goodness_of_fit(inference)
    expected = sm.GLM(y, X, family=sm.families.Poisson()).fit(tol=1e-14)
    assert_agree(glm.goodness_of_fit(inference, null="intercept").null_deviance, expected.null_deviance, "oracle")
    zero = families.Poisson()
    assert_agree(good.null_deviance, np.sum(families.deviance(zero, jnp.zeros(len(y)), y)), "oracle")
    assert float(good.null_freedom) == len(y)


# -- rows ------------------------------------------------------------------------------------------------------------
@some_rows
def test_residuals_and_influence(row):
    _, y, expected, inference = inferred(row)
    influence = expected.get_influence(observed=False)
    digits(glm.residuals(inference, "pearson"), expected.resid_pearson)
    digits(glm.residuals(inference, "deviance"), expected.resid_deviance)
    if not isinstance(row.family, families.NegativeBinomial):
        digits(glm.residuals(inference, "anscombe"), expected.resid_anscombe_unscaled)
    if not isinstance(y, tuple):
        digits(glm.residuals(inference, "response"), expected.resid_response)
        digits(glm.residuals(inference, "working"), expected.resid_working)
    digits(glm.leverage(inference), influence.hat_matrix_diag)
    digits(glm.cooks_distance(inference), influence.cooks_distance[0])
    digits(glm.residuals(inference, "pearson", standardized=True), influence.resid_studentized)


@pytest.mark.slow
def test_dfbeta_is_the_change_without_the_row():
    X, y = loader("stackloss")()
    fit = glm.fit(families.Normal(), X, y)
    change = glm.dfbetas(glm.infer(fit, X, y), scaled=False)
    for i in (0, 7):
        without = glm.fit(families.Normal(), np.delete(X, i, 0), np.delete(y, i))
        for all_rows, fewer, moved in zip(fit.params, without.params, change, strict=True):
            np.testing.assert_allclose(moved[i], all_rows - fewer, rtol=1e-7)
    # statsmodels has the other sign for links that fall: compare with the fit itself.
    X, y = loader("scotland")()
    fit = glm.fit(families.Gamma(), X, y)
    change = glm.dfbetas(glm.infer(fit, X, y), scaled=False).weight[3]
    without = glm.fit(families.Gamma(), np.delete(X, 3, 0), np.delete(y, 3))
    np.testing.assert_allclose(change, fit.params.weight - without.params.weight, rtol=0.1)


# -- nested models and predictions -----------------------------------------------------------------------------------
def test_nested_linear_models():
    X, y = loader("stackloss")()
    of = lambda X: glm.infer(glm.fit(families.Normal(), X, y), X, y)
    oracle = lambda X: sm.OLS(y, sm.add_constant(X, prepend=False)).fit(method="qr")
    test, expected = glm.likelihood_ratio_test(of(X[:, :1]), of(X)), oracle(X).compare_f_test(oracle(X[:, :1]))
    assert_agree(test.statistic, expected[0], "oracle")
    assert_agree(test.p_value, expected[1], "oracle")
    L = np.eye(4)[[0, 2]]
    test, expected = glm.wald_test(of(X), L, [0.1, 0.0]), oracle(X).f_test((L, [0.1, 0.0]))
    assert_agree(test.statistic, float(expected.fvalue), "oracle")
    assert_agree(test.p_value, float(expected.pvalue), "oracle")
    table = glm.analysis_of_deviance([of(X[:, :j]) for j in (0, 1, 3)])
    rss = np.array([np.sum((y - y.mean()) ** 2), oracle(X[:, :1]).ssr, oracle(X).ssr])
    digits(table.deviance, rss)
    digits(table.statistic, -np.diff(rss) / [1, 2] / (rss[-1] / 17))
    digits(table.p_value, stats.f.sf(-np.diff(rss) / [1, 2] / (rss[-1] / 17), [1, 2], 17))


@pytest.mark.slow
def test_nested_logistic_models():
    X, y = spector()
    of = lambda X: glm.infer(glm.fit(families.Bernoulli(), X, y), X, y)
    oracle = lambda X: sm.GLM(y, sm.add_constant(X, prepend=False), family=sm.families.Binomial()).fit(tol=1e-14)
    small, large = of(X[:, :1]), of(X)
    test, drop = glm.likelihood_ratio_test(small, large), oracle(X[:, :1]).deviance - oracle(X).deviance
    assert_agree(test.statistic, drop, "oracle")
    assert_agree(test.p_value, stats.chi2.sf(drop, 2), "oracle")
    statistic, p_value, k = oracle(X[:, :1]).model.score_test(oracle(X[:, :1]).params, exog_extra=X[:, 1:])
    test = glm.score_test(small, X[:, 1:])
    assert int(test.constraints) == k
    assert_agree(test.statistic, np.squeeze(statistic), "oracle")
    assert_agree(test.p_value, np.squeeze(p_value), "oracle")
    test = glm.wald_test(large, Linear(np.array([False, True, True]), False))
    expected = oracle(X).wald_test(np.eye(4)[1:3], scalar=True)
    assert_agree(test.statistic, float(expected.statistic), "oracle")
    assert_agree(test.p_value, float(expected.pvalue), "oracle")


@some_rows
def test_predictions_with_errors(row):
    X, y, expected, inference = inferred(row)
    new = X[:5] * 1.01
    frame = expected.get_prediction(sm.add_constant(new, prepend=False, has_constant="add"))
    one = {"trials": np.ones(5)} if isinstance(y, tuple) else {}
    got = glm.predict_with_errors(inference, new, method="delta", **one)
    digits(got.value, frame.predicted_mean)
    digits(got.error, frame.se_mean)
    freedom = expected.df_resid if row.family.estimates_dispersion else np.inf
    z = glm.predict_with_errors(inference, new, scale="linear")
    ends = [expected.family.link.inverse(np.asarray(end)) for end in (z.low, z.high)]
    got = glm.predict_with_errors(inference, new, **one)
    digits(got.low, np.minimum(*ends))
    digits(got.high, np.maximum(*ends))
    half = stats.t.ppf(0.975, freedom) * np.asarray(z.error)
    digits(z.high, np.asarray(z.value) + half)


@pytest.mark.parametrize(
    ("at", "ours", "dummies"),
    mostly_slow(
        [("overall", "average", ()), ("overall", "average", (2,)), ("mean", "mean", ()), ("mean", "mean", (2,))],
        [("overall", "average", (2,))],
    ),
)
def test_marginal_effects(at, ours, dummies):
    X, y = spector()
    for link, model in ((None, sm.Logit), ("probit", sm.Probit)):
        expected = model(y, sm.add_constant(X, prepend=False)).fit(disp=0, method="newton", tol=1e-14, maxiter=100)
        expected = expected.get_margeff(at=at, dummy=bool(dummies))
        fit = glm.fit(families.Bernoulli(), X, y, link=link)
        got = glm.marginal_effects(glm.infer(fit, X, y, information="observed"), at=ours, dummies=dummies)
        assert_agree(got.value, expected.margeff, "oracle")
        assert_agree(got.error, expected.margeff_se, "oracle")
        digits(got.p_value, expected.pvalues)
        digits(np.column_stack([got.low, got.high]), expected.conf_int())


@pytest.mark.slow
def test_marginal_effects_of_classes_and_of_trials():
    data = sm.datasets.anes96.load_pandas()
    X, y = columns(data.exog), np.asarray(data.endog, int)
    expected = sm.MNLogit(y, sm.add_constant(X, prepend=False)).fit(method="newton", tol=1e-14, maxiter=100, disp=False)
    expected = expected.get_margeff()
    got = glm.marginal_effects(glm.infer(glm.fit(families.Categorical(7), X, y), X, y))
    digits(got.value, expected.margeff)
    digits(got.error, expected.margeff_se)
    # Rows of one trial are Bernoulli; an effect at a point is a difference quotient of the mean.
    X, y = spector()
    pair = y, np.ones_like(y)
    one, many = (glm.infer(glm.fit(f, X, v), X, v) for f, v in ((families.Bernoulli(), y), (families.Binomial(), pair)))
    point, h = X.mean(0), 1e-5
    effect = glm.marginal_effects(many, at=point)
    digits(effect.value, glm.marginal_effects(one, at="mean").value)
    step = [glm.predict(one.fit, (point + s * h * np.eye(3)[0])[None])[0] for s in (-1, 1)]
    np.testing.assert_allclose(effect.value[0], (step[1] - step[0]) / (2 * h), rtol=1e-6)


# -- reference distributions -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("freedom", [1.0, 2.0, 5.5, 30.0, 1e4, np.inf])
def test_tails_and_quantiles(freedom):
    t = np.array([1e-6, 0.01, 0.5, 1.0, 3.0, 10.0, 30.0])
    np.testing.assert_allclose(tails.two_sided(t, freedom), 2 * stats.t.sf(t, freedom), rtol=1e-8)
    assert float(tails.two_sided(jnp.inf, freedom)) == 0
    assert np.isnan(tails.two_sided(jnp.nan, freedom))
    for level in (0.01, 0.5, 0.95, 0.999):
        np.testing.assert_allclose(
            tails.two_sided_quantile(level, freedom), stats.t.ppf(0.5 + level / 2, freedom), rtol=1e-9
        )
    for k in (1, 3, 20):
        x = np.array([1e-4, 0.1, 1.0, 4.0, 30.0])
        expected = stats.f.sf(x, k, freedom) if np.isfinite(freedom) else stats.chi2.sf(k * x, k)
        np.testing.assert_allclose(tails.f_tail(x, k, freedom), expected, rtol=1e-8)
        np.testing.assert_allclose(tails.chi_square_tail(x, k), stats.chi2.sf(x, k), rtol=1e-12)
