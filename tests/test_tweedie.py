"""The Tweedie family: its density against sums in 40 digits and quadrature, its limits, and its fits against statsmodels and
scikit-learn on the hours of Fair's survey, three quarters of which are exact zeros."""

from functools import cache

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import TweedieRegressor

from jaxml import families, glm, links
from jaxml.families.tweedie import log_series
from jaxml.glm import dispersion as scale
from jaxml.status import ConvergenceWarning, Status
from test_glm_oracles import columns, flat
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="8 digits need 64-bit mode")

POWERS = (1.02, 1.3, 1.5, 1.9, 1.999)
series, log_prob = jax.jit(log_series), jax.jit(families.log_prob)


# -- the density -----------------------------------------------------------------------------------------------------
@cache
def exact_series(x, p):
    """The sum over counts of Poisson times gamma masses, term by term in 40 digits."""
    with mpmath.workdps(40):
        x, p = mpmath.mpf(x), mpmath.mpf(p)
        shape, spread = (2 - p) / (p - 1), 14 * mpmath.sqrt(x * (p - 1))
        counts = range(max(1, int(x - spread - 5)), int(x + spread + 90))
        log_poisson = lambda j: j * mpmath.log(x) - x - mpmath.loggamma(j + 1)
        log_gamma = lambda k: k * mpmath.log(x * shape) - x * shape - mpmath.loggamma(k)
        return float(mpmath.log(mpmath.fsum(mpmath.exp(log_poisson(j) + log_gamma(j * shape)) for j in counts)))


@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 2e-14), (np.float32, 4e-6)], ids=["f64", "f32"])
def test_series_has_all_digits(dtype, tol):
    x = np.array([1e-12, 1e-3, 0.3, 1, 2.5, 7.3, 20.4, 39, 41, 60, 100.3, 1000.7], dtype)
    for p in np.array(POWERS, dtype):
        want = np.array([exact_series(float(v), float(p)) for v in x])
        assert np.all(np.abs(series(x, p) - want) <= tol * np.maximum(1, np.abs(want))), p


@pytest.mark.parametrize("p", [1.3, 1.5, 1.9])
@pytest.mark.parametrize("phi", [0.3, 4.0])
def test_atom_and_density_add_up_to_one_and_have_the_textbook_moments(p, phi):
    mu = 1.7
    family, eta = families.Tweedie(p, phi=phi), mu ** (1 - p) / (1 - p)
    density = lambda y: np.exp(np.asarray(log_prob(family, eta, y)))
    # In t, y = t^k, the density has no pole at 0.
    t, w = np.polynomial.legendre.leggauss(40)
    k = max(1.0, 4 * (p - 1) / (2 - p))
    ends = np.linspace(0, 400.0 ** (1 / k), 401)
    half = np.diff(ends)[:, None] / 2
    t, w = (ends[:-1, None] + half * (1 + t)).ravel(), (half * w).ravel()
    y, w = t**k, w * k * t ** (k - 1)
    f = density(y)
    atom = float(density(0.0))
    np.testing.assert_allclose(atom, np.exp(-(mu ** (2 - p)) / phi / (2 - p)), rtol=1e-14)
    np.testing.assert_allclose(atom + w @ f, 1, rtol=1e-9)
    np.testing.assert_allclose(w @ (y * f), mu, rtol=1e-9)
    np.testing.assert_allclose(w @ (y**2 * f) - mu**2, phi * mu**p, rtol=1e-9)


def test_limits_are_poisson_and_gamma():
    y, mu = np.array([0.0, 1.0, 3.0, 7.0]), 2.5
    at = lambda p: mu ** (1 - p) / (1 - p)
    near = 1 + 1e-7
    poisson = families.deviance(families.Poisson(), np.log(mu), y)
    np.testing.assert_allclose(families.deviance(families.Tweedie(near), at(near), y), poisson, rtol=1e-6)
    np.testing.assert_allclose(log_prob(families.Tweedie(near), at(near), 0.0), -mu, rtol=1e-6)
    np.testing.assert_allclose(families.variance(families.Tweedie(near, phi=3.0), at(near)), 3 * mu, rtol=1e-6)
    near, some = 2 - 1e-7, y[1:]
    for phi in (0.2, 1.0, 5.0):
        gamma = log_prob(families.Gamma(shape=1 / phi), -1 / mu, some)
        np.testing.assert_allclose(log_prob(families.Tweedie(near, phi=phi), at(near), some), gamma, rtol=1e-6)
    assert log_prob(families.Tweedie(near), at(near), 0.0) < -1e6


def test_derivatives_of_the_density_equal_differences():
    family, eta = families.Tweedie(1.6, phi=0.7), -1.1
    y = jnp.array([0.0, 0.4, 3.0, 40.0])
    total = jax.jit(lambda p, phi: families.log_prob(families.Tweedie(p, phi=phi), eta, y))
    h = 1e-5
    for i, slope in enumerate(jax.jit(jax.jacrev(total, (0, 1)))(family.power, family.phi)):
        step = np.eye(2)[i] * h
        ends = [total(family.power + s * step[0], family.phi + s * step[1]) for s in (1, -1)]
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * h), rtol=1e-7, atol=1e-8)


def test_draws_are_zero_as_often_as_the_law_says():
    law, eta, n = families.Tweedie(1.2, phi=1.5), -4.5, 20_000
    y = families.sample(law, eta, jax.random.key(2), (n,))
    zero = float(jnp.exp(log_prob(law, eta, 0.0)))
    assert abs(float(jnp.mean(y == 0)) - zero) < 4 * np.sqrt(zero * (1 - zero) / n)


# -- fits ------------------------------------------------------------------------------------------------------------
@cache
def affairs():
    data = sm.datasets.fair.load_pandas()
    return columns(data.exog)[::10], np.asarray(data.endog, float)[::10]


@cache
def fitted(p):
    X, y = affairs()
    law = sm.families.Tweedie(link=sm.families.links.Log(), var_power=p, eql=False)
    oracle = sm.GLM(y, sm.add_constant(X, prepend=False), family=law)
    return oracle.fit(tol=1e-14, maxiter=300, tol_criterion="params"), glm.fit(families.Tweedie(p), X, y)


@pytest.mark.parametrize("p", [1.5, 1.2])
def test_fit_agrees_with_statsmodels_to_8_digits(p):
    X, y = affairs()
    oracle, fit = fitted(p)
    assert int(fit.status) == Status.CONVERGED and np.mean(y == 0) > 0.5
    inference = glm.infer(fit, X, y)
    good = glm.goodness_of_fit(inference)
    assert_agree(flat(fit.params), oracle.params, "oracle", oracle.bse)
    assert_agree(fit.dispersion, oracle.scale, "oracle")
    assert_agree(flat(glm.standard_errors(inference)), oracle.bse, "oracle")
    assert_agree([good.deviance, good.pearson], [oracle.deviance, oracle.pearson_chi2], "oracle")
    assert_agree(good.null_deviance, oracle.null_deviance, "oracle")
    assert_agree(glm.log_likelihood(inference, dispersion="pearson"), oracle.llf, "oracle", 1)
    for kind, expected in (("deviance", oracle.resid_deviance), ("pearson", oracle.resid_pearson)):
        assert_agree(glm.residuals(inference, kind=kind), expected, "oracle", 1e-3)


def test_fit_agrees_with_scikit_learn():
    X, y = affairs()
    oracle = TweedieRegressor(power=1.5, alpha=0, link="log", tol=1e-12, solver="newton-cholesky").fit(X, y)
    expected = np.append(oracle.coef_, oracle.intercept_)
    assert_agree(flat(fitted(1.5)[1].params), expected, "oracle", fitted(1.5)[0].bse)


@pytest.mark.parametrize("kind", ["frequency", pytest.param("precision", marks=pytest.mark.slow)])
def test_log_likelihood_is_the_maximum_over_the_dispersion(kind):
    X, y = affairs()
    fit = glm.fit(families.Tweedie(1.5), X, y, weights=1.0 + np.arange(len(y)) % 3, weight_kind=kind)
    inference = glm.infer(fit, X, y, weights=1.0 + np.arange(len(y)) % 3)
    rows, eta = scale.fitted_natural(fit.family, fit.link, inference.rows, fit.params)
    phi = jax.jit(scale.maximum_likelihood_dispersion, static_argnums=4)(fit.family, rows, eta, fit.observations, kind)
    at = jax.jit(lambda u: scale.log_likelihood_at(fit.family, rows, eta, jnp.exp(u), kind))
    u = jnp.log(phi)
    assert abs(float(jax.grad(at)(u))) < 1e-6
    assert_agree(fit.log_likelihood, at(u), "same")
    assert float(fit.log_likelihood) > max(float(at(u + 0.01)), float(at(u - 0.01)))


@pytest.mark.slow
def test_coefficients_and_likelihood_are_differentiable_in_the_power():
    X, y = affairs()
    offset = jnp.zeros(len(y))
    both = jax.jit(
        lambda p: (lambda fit: (fit.params.weight[0], fit.log_likelihood))(
            glm.fit(families.Tweedie(p), X, y, offset=offset)
        )
    )
    h = 1e-4
    high, low = both(1.5 + h), both(1.5 - h)
    for slope, up, down in zip(jax.jacobian(both)(1.5), high, low, strict=True):
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-5)


def test_a_level_of_zeros_separates_with_log_link_and_has_a_finite_deviance():
    X = np.repeat([[0.0], [1.0]], 5, axis=0)
    y = np.array([1.0, 2.0, 0.0, 0.5, 4.0, 0, 0, 0, 0, 0])
    assert links.spans_mean(families.Tweedie(1.5), links.log)
    with pytest.warns(ConvergenceWarning, match="separated"):
        fit = glm.fit(families.Tweedie(1.5), X, y)
    assert int(fit.status) == Status.SEPARATED and np.all(np.isfinite(flat(fit.params)))


def test_power_outside_its_interval_is_refused():
    X, y = affairs()
    for p in (1.0, 2.0, 3.0, np.nan):
        with pytest.raises(ValueError, match="power must lie strictly between 1"):
            glm.fit(families.Tweedie(p), X, y)
    with pytest.raises(ValueError, match="positive"):
        glm.fit(families.Tweedie(1.5, phi=-1.0), X, y)
