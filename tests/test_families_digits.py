"""Where families once lost digits, or gave a number where there is none; exact values by mpmath with 50 digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxml import families as f
from marks import mostly_slow

X64 = jax.config.jax_enable_x64
SINGLE = np.float32


def many(s, m, eta):
    return f.Binomial(), SINGLE(eta), (SINGLE(s), SINGLE(m))


@pytest.mark.parametrize(
    ("s", "m", "eta"),
    [(1e7 - 20, 1e7, 12.429216), (20, 1e7, -11.736069), (1e7 - 20, 1e7, 11.736069), (1, 1e7, -15.424949), (1, 1e5, -10.819778)],
)  # fmt: skip
def test_rare_outcomes_of_many_trials_in_float32(s, m, eta):
    eta = float(SINGLE(eta))
    log_prob = scipy.stats.binom.logpmf(s, m, scipy.special.expit(eta)) if eta < 0 else scipy.stats.binom.logpmf(m - s, m, scipy.special.expit(-eta))  # fmt: skip
    deviance = 2 * (
        s * np.log(s / m / scipy.special.expit(eta)) + (m - s) * np.log((m - s) / m / scipy.special.expit(-eta))
    )
    np.testing.assert_allclose(f.log_prob(*many(s, m, eta)), log_prob, rtol=2e-6)
    np.testing.assert_allclose(f.deviance(*many(s, m, eta)), deviance, rtol=1e-5)
    both = jnp.array([eta, 0], SINGLE), jnp.array([s, m - s], SINGLE)
    np.testing.assert_allclose(f.deviance(f.Multinomial(2), *both), deviance, rtol=1e-5)


@pytest.mark.skipif(not X64, reason="digits of float64")
@pytest.mark.parametrize(
    ("s", "m", "eta", "expected"),
    [(1.0, 1e15, -50.0, -15.461223797964), (1.0, 1e12, -28.834993920254483, -1.503972804325888)],
)
def test_rare_outcomes_of_many_trials(s, m, eta, expected):
    np.testing.assert_allclose(f.log_prob(f.Binomial(), eta, (s, m)), expected, rtol=1e-13)
    np.testing.assert_allclose(f.log_prob(f.Binomial(), -eta, (m - s, m)), expected, rtol=1e-13)


NMV, MVN = f.NormalMeanVariance(), f.MultivariateNormal(2)


def normal(mean, variance):
    return MVN.pack(jnp.full(2, mean, SINGLE), variance * jnp.eye(2, dtype=SINGLE))


@pytest.mark.parametrize(
    ("family", "p", "q", "expected"),
    [
        (NMV, [1e4, -0.5], [4e4, -2.0], 0.8068528),  # means many deviations from 0
        (NMV, [1e4, -0.5], [0.5e4, -0.25], 0.0965736),
        (MVN, normal(1e5, 1.0), normal(1e5, 0.25), 1.6137056),
        (f.Gamma(), -1e-20, -2e-20, 0.3068528),  # steps whose square underflows
        (f.Bernoulli(), 1e6, 0.0, 0.6931472),  # large log-partition functions
        (f.Bernoulli(), 100.0, 1.0, 0.3132617),
        (f.Bernoulli(), -100.0, -1.0, 0.3132617),
        (f.Categorical(3), [1e6, 0, 0], [0, 0, 0], 1.0986123),
        (f.Categorical(3), [1e4, 1e4 - 1, 1e4 - 2], [0, 3, 1], 1.5132346),  # the gauge does not matter
    ],
)
def test_divergence_in_float32(family, p, q, expected):
    p, q = (jnp.asarray(a, SINGLE) for a in (p, q))
    np.testing.assert_allclose(f.kl_divergence(family, p, q), expected, rtol=5e-6)
    assert f.kl_divergence(family, p, p) == 0


@pytest.mark.skipif(not X64, reason="digits of float64")
def test_divergence_of_neighbours_keeps_its_digits():
    for family, p in (
        (f.Bernoulli(), 0.3),
        (f.Categorical(3), jnp.array([0.3, -1.0, 2.0])),
        (NMV, jnp.array([300.0, -0.5])),
    ):
        step = 1e-9 * (1 + jnp.arange(jnp.size(p), dtype=float).reshape(jnp.shape(p)))
        d = (p + step) - p
        expected = d @ f.hessian(family, p) @ d / 2 if jnp.ndim(p) else d * d * f.hessian(family, p) / 2
        np.testing.assert_allclose(f.kl_divergence(family, p, p + step), expected, rtol=1e-6)
    np.testing.assert_allclose(
        f.kl_divergence(f.Bernoulli(), 30.0, 31.0), f.kl_divergence(f.Bernoulli(), -30.0, -31.0), rtol=1e-14
    )


OUTSIDE = {
    "exponential": (f.Exponential(), 1.0), "gamma": (f.Gamma(), 1.0), "geometric": (f.Geometric(), 1.0),
    "negative binomial": (f.NegativeBinomial(2.0), 1.0), "inverse gaussian": (f.InverseGaussian(), 1.0),
    "beta": (f.Beta(), [-1.0, 2.0]), "gamma shape, rate": (f.GammaShapeRate(), [1.0, 1.0]), "dirichlet": (f.Dirichlet(2), [1.0, -1.0]),
    "normal mean, variance": (NMV, [1.0, 1.0]), "inverse gaussian mean, shape": (f.InverseGaussianMeanShape(), [1.0, -1.0]),
    "multivariate normal": (MVN, [0.0, 0.0, 1.0, 0.0, 1.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(OUTSIDE, set(OUTSIDE) - {"beta", "negative binomial", "inverse gaussian"}))
def test_outside_the_natural_domain_and_at_nan_there_is_no_number(name):
    family, eta = OUTSIDE[name]
    eta = jnp.asarray(eta, float)
    for point in (eta, eta * jnp.nan):
        for function in (f.mean, f.variance, f.fisher, f.entropy):
            assert np.all(np.isnan(function(family, point))), function.__name__
        assert np.isnan(f.kl_divergence(family, point, -jnp.abs(point)))
        assert np.all(np.isnan(f.sample(family, point, jax.random.key(0), (3,))))


@pytest.mark.parametrize(
    ("family", "mean"),
    [(f.InverseGaussian(), -1.0), (f.Gamma(), -1.0), (f.Geometric(), 0.5), (f.Bernoulli(), 1.5), (NMV, [2.0, 1.0]), (f.Beta(), [-0.1, -0.1])],
)  # fmt: skip
def test_an_impossible_mean_has_no_natural_parameter(family, mean):
    assert np.all(np.isnan(f.natural(family, jnp.asarray(mean, float))))


def test_limits_on_the_edge_of_the_domain():
    inf = f.fit(f.Bernoulli(), jnp.ones(3))
    assert inf == np.inf and f.log_prob(f.Bernoulli(), inf, 1.0) == 0 and f.log_prob(f.Bernoulli(), inf, 0.0) == -np.inf
    assert f.entropy(f.Bernoulli(), inf) == 0 and f.deviance(f.Bernoulli(), -inf, 0.0) == 0
    assert f.mean(f.InverseGaussian(), 0.0) == np.inf and f.variance(f.InverseGaussian(), 0.0) == np.inf


@pytest.mark.parametrize("eta", [2.0, 2.4, 6.0, 12.0, 18.0 if X64 else 14.0])
def test_poisson_draws_have_the_mean_and_the_variance_of_large_rates(eta):
    draws = np.asarray(f.sample(f.Poisson(), eta, jax.random.key(1), (100_000,)), float)
    rate = np.exp(eta)
    assert abs(draws.mean() - rate) < 4.5 * np.sqrt(rate / draws.size)
    assert abs(draws.var() / rate - 1) < 4.5 * np.sqrt((2 + 1 / rate) / draws.size)
    assert 0.45 < np.mean(draws % 2) < 0.55


@pytest.mark.parametrize(
    ("family", "eta"),
    [(f.Gamma(shape=1e-3), -1e3), (f.GammaShapeRate(), [1e-3, -1.0]), (f.Dirichlet(3), [0.01, 1.0, 1000.0]), (f.Beta(), [0.02, 0.02])],
)  # fmt: skip
def test_draws_are_in_the_support(family, eta):
    eta = jnp.asarray(eta, SINGLE)
    draws = f.sample(family, eta, jax.random.key(0), (2000,))
    assert np.all(family.support(draws)) and np.all(np.isfinite(f.log_prob(family, eta, draws)))


def test_fit_ignores_idle_rows_whose_trials_are_missing():
    y = jnp.array([1.0, 2.0, 1.0]), jnp.array([3.0, 4.0, jnp.nan])
    np.testing.assert_allclose(f.fit(f.Binomial(), y, weights=jnp.array([1.0, 1.0, 0.0])), np.log(3 / 4), rtol=1e-6)


@pytest.mark.parametrize(
    ("family", "y", "weights", "words"),
    [
        (f.Categorical(3), [0, 7], None, r"y\[1\] = 7 is outside the support"),
        (f.Poisson(), [1.0, -2.0], None, r"y\[1\] = -2.0 is outside"),
        (f.Binomial(), ([1.0, 5.0], [2.0, 4.0]), None, r"y\[1\] = \(5.0, 4.0\) is outside"),
        (f.Normal(), [1.0, 2.0], [-1.0, 3.0], r"weights\[0\] = -1.0 is negative"),
    ],
)
def test_fit_refuses_values_without_a_likelihood(family, y, weights, words):
    with pytest.raises(ValueError, match=words):
        f.fit(family, y, weights=weights if weights is None else jnp.array(weights))


def test_eta_of_the_wrong_length_is_refused_and_lists_are_arrays():
    with pytest.raises(ValueError, match=r"takes arrays of shape \(..., 3\), got \(\)"):
        f.log_prob(f.Categorical(3), 0.0, 1)
    np.testing.assert_allclose(f.log_prob(f.Poisson(), 0.0, [1, 2]), [-1, -1 - np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(f.fit(f.Normal(), [1.0, 2.0, 3.0]), 2.0)


@pytest.mark.skipif(not X64, reason="digits of float64")
def test_log1p_where_that_of_the_compiler_loses_digits():
    eta = -0.881752210040823
    np.testing.assert_allclose(f.log_prob(f.Geometric(), eta, 1), np.log1p(-np.exp(eta)), rtol=1e-15)
    np.testing.assert_allclose(f.natural(f.Bernoulli(), 0.4), -0.405465108108164381978, rtol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "eta"),
    [(f.Dirichlet(3), [1.0, 2.0, 3.0]), (NMV, [1.0, -0.5]), (MVN, [0.0, 0.0, -0.5, 0.0, -0.5]), (f.Gamma(), -1.0)],
)
def test_draws_moments_and_divergences_of_a_batch_have_its_shape(family, eta):
    eta = jnp.asarray(eta) * jnp.linspace(1, 2, 4).reshape((4,) + (1,) * (jnp.ndim(jnp.asarray(eta))))
    tail = eta.shape[1:]
    assert f.sample(family, eta, jax.random.key(0), (5, 2)).shape == (5, 2, 4) + (tail and f.sample(family, eta[0], jax.random.key(0)).shape)  # fmt: skip
    assert f.mean(family, eta).shape == (4, *tail) and f.variance(family, eta).shape == (4, *tail, *tail)
    assert f.kl_divergence(family, eta, eta[:1]).shape == f.entropy(family, eta).shape == (4,)


@pytest.mark.parametrize(
    ("family", "eta", "expected"),
    [(f.Gamma(), -1e-19, 1e38), (f.Exponential(), -1.1e-19, 8.2644626e37), (f.InverseGaussian(), -1e-25, 1.118034e37)],
)
def test_variance_in_float32_is_finite_while_it_can_be(family, eta, expected):
    np.testing.assert_allclose(f.variance(family, SINGLE(eta)), expected, rtol=1e-6)


@pytest.mark.skipif(not X64, reason="in float32 the mean does not determine parameters this unequal")
@pytest.mark.parametrize(
    "alpha", [[1e-3, 1.0], [1e-3, 1e3], [1e-6, 1e6], [30.0, 1e-5], [1e-3, 1e-3], [1e-4, 2.0, 1e4], [1e5, 1e5, 1e-5]]
)
def test_very_unequal_parameters_of_beta_laws_are_found_from_their_mean(alpha):
    family = f.Beta() if len(alpha) == 2 else f.Dirichlet(3)
    alpha = jnp.array(alpha)
    np.testing.assert_allclose(f.natural(family, f.mean(family, alpha)), alpha, rtol=1e-6)
