"""Digits in the tails: mean, variance and log p of every scalar family and the categorical one, against mpmath."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxml import families
from test_special import dtypes, ulps

mp.mp.dps = 300
SIZES = np.concatenate([np.logspace(-8, 4, 37), [0.5, 0.693, 0.694, 16.0, 36.5, 87.0, 100.0, 500.0, 700.0]])
BOTH = np.concatenate([-SIZES, [0.0], SIZES])
one = mp.mpf(1)


def _logistic(x):
    return 1 / (1 + mp.exp(-x))


def _wait(e):
    return one / mp.expm1(-e)


# name: family, etas, mean, variance, log-partition, observation, log p
TABLE = {
    "bernoulli": (families.Bernoulli(), BOTH, _logistic, lambda e: _logistic(e) * _logistic(-e), lambda e: mp.log1p(mp.exp(e)), 1,
                  lambda e: -mp.log1p(mp.exp(-e))),
    "poisson": (families.Poisson(), BOTH, mp.exp, mp.exp, mp.exp, 3, lambda e: 3 * e - mp.exp(e) - mp.log(6)),
    "geometric": (families.Geometric(), -SIZES, lambda e: 1 + _wait(e), lambda e: _wait(e) * (1 + _wait(e)),
                  lambda e: e - mp.log(-mp.expm1(e)), 3, lambda e: 2 * e + mp.log(-mp.expm1(e))),
    "negative_binomial": (families.NegativeBinomial(2.5), -SIZES, lambda e: 2.5 * _wait(e), lambda e: 2.5 * _wait(e) * (1 + _wait(e)),
                          lambda e: -2.5 * mp.log(-mp.expm1(e)), 3,
                          lambda e: mp.log(mp.mpf(2.5) * 3.5 * 4.5 / 6) + 3 * e + 2.5 * mp.log(-mp.expm1(e))),
    "normal": (families.Normal(), BOTH, lambda e: e, lambda e: one, lambda e: e * e / 2, 2,
               lambda e: -((2 - e) ** 2) / 2 - mp.log(2 * mp.pi) / 2),
    "gamma": (families.Gamma(), -SIZES, lambda e: -1 / e, lambda e: 1 / e**2, lambda e: -mp.log(-e), 2, lambda e: 2 * e + mp.log(-e)),
    "inverse_gaussian": (families.InverseGaussian(), -SIZES, lambda e: 1 / mp.sqrt(-2 * e), lambda e: (-2 * e) ** mp.mpf(-1.5),
                         lambda e: -mp.sqrt(-2 * e), 2,
                         lambda e: 2 * e + mp.sqrt(-2 * e) - mp.mpf(1) / 4 - mp.log(2 * mp.pi * 8) / 2),
}  # fmt: skip

mean, variance, log_prob, deviance = map(
    jax.jit, (families.mean, families.variance, families.log_prob, families.deviance)
)


@pytest.mark.parametrize("name", TABLE)
@dtypes
def test_mean_and_variance_to_8_ulp(name, dtype):
    family, etas, first, second, *_ = TABLE[name]
    eta = jnp.asarray(etas, dtype)
    exact = [mp.mpf(float(e)) for e in eta]
    assert ulps(mean(family, eta), [first(e) for e in exact], eta.dtype) <= 4
    assert ulps(variance(family, eta), [second(e) for e in exact], eta.dtype) <= 4


@pytest.mark.parametrize("name", TABLE)
@dtypes
def test_log_prob_to_8_eps_of_its_terms(name, dtype):
    family, etas, _, _, partition, y, exact = TABLE[name]
    eta = jnp.asarray(etas, dtype)
    info = jnp.finfo(eta.dtype)
    for e, got in zip(np.asarray(eta), np.asarray(log_prob(family, eta, y)), strict=True):
        e = mp.mpf(float(e))
        if abs(exact(e)) > float(info.max):
            assert got == -np.inf
            continue
        room = 8 * float(info.eps) * (1 + abs(partition(e)) + abs(e * y))
        assert abs(mp.mpf(float(got)) - exact(e)) <= room, (e, got, exact(e))


@dtypes
def test_categorical_to_8_ulp(dtype):
    rng = np.random.default_rng(0)
    family = families.Categorical(4)
    for scale in (1e-3, 1.0, 30.0, 300.0):
        eta = jnp.asarray(scale * rng.normal(size=(4, 4)), dtype)
        first, second = mean(family, eta), variance(family, eta)
        for k in range(4):
            e = [mp.exp(mp.mpf(float(v))) for v in eta[k]]
            p = [v / sum(e) for v in e]
            assert ulps(first[k], p, eta.dtype) <= 8
            exact = [
                p[i] * sum(p[m] for m in range(4) if m != i) if i == j else -p[i] * p[j]
                for i in range(4)
                for j in range(4)
            ]
            assert ulps(np.asarray(second[k]).ravel(), exact, eta.dtype) <= 8
            assert ulps(log_prob(family, eta, k)[k][None], [mp.log(p[k])], eta.dtype) <= 8


@dtypes
@pytest.mark.parametrize("name", ["beta", "dirichlet"])
def test_log_moments_of_very_unequal_parameters_to_8_ulp(name, dtype):
    k = 2 if name == "beta" else 3
    family = families.Beta() if k == 2 else families.Dirichlet(3)
    extreme = [[1e-8, 1e-8, 1.0], [3.0, 1e-12, 1e9], [1e-12, 3.0, 1e6], [1e6, 1e6, 2e6], [0.3, 0.3, 0.3]]
    alpha = np.concatenate([np.array(extreme)[:, :k], 10 ** np.random.default_rng(2).uniform(-9, 7, (20, k))]).astype(
        dtype
    )
    first, second = mean(family, alpha), variance(family, alpha)
    exact = [[mp.mpf(float(a)) for a in row] for row in alpha]
    psi = lambda n, row, i: mp.psi(n, row[i]) - mp.psi(n, sum(row))
    assert ulps(np.ravel(first), [psi(0, row, i) for row in exact for i in range(k)], alpha.dtype) <= 4
    if dtype is np.float64:  # in float32 some of them overflow
        entry = lambda row, i, j: psi(1, row, i) if i == j else -mp.psi(1, sum(row))
        want = [entry(row, i, j) for row in exact for i in range(k) for j in range(k)]
        assert ulps(np.ravel(second), want, alpha.dtype) <= 6


@dtypes
def test_log_moments_of_shape_and_rate_to_8_ulp_of_their_terms(dtype):
    rng = np.random.default_rng(3)
    shape = np.concatenate([10 ** rng.uniform(-9, 9, 20), [1e-12, 1e6, 1e6, 7.0]]).astype(dtype)
    rate = np.concatenate([10 ** rng.uniform(-9, 9, 20), [1.0, 1e6, 1e6 + 1, 7.0]]).astype(dtype)
    eta = np.stack([shape, -rate], axis=-1)
    first, second = (np.asarray(f(families.GammaShapeRate(), eta), float) for f in (mean, variance))
    for i, (a, b) in enumerate((mp.mpf(float(a)), mp.mpf(float(b))) for a, b in zip(shape, rate, strict=True)):
        gap = mp.log(a) - mp.digamma(a)
        room = 4 * float(np.finfo(dtype).eps)
        assert abs(mp.mpf(first[i, 0]) - (mp.digamma(a) - mp.log(b))) <= room * (
            abs(mp.log(a)) + abs(mp.log(b)) + gap if abs(a - b) > b / 2 else abs(mp.log(a / b)) + gap
        )
        for got, want in (
            (first[i, 1], a / b),
            (second[i, 0, 0], mp.psi(1, a)),
            (second[i, 0, 1], 1 / b),
            (second[i, 1, 1], a / b**2),
        ):
            assert abs(mp.mpf(got) - want) <= 2 * room * want


@dtypes
def test_swapping_labels_flips_signs_exactly(dtype):
    eta = jnp.asarray(BOTH, dtype)
    slope = jax.jit(jax.vmap(jax.grad(lambda e, y: families.log_prob(families.Bernoulli(), e, y)), (0, None)))
    np.testing.assert_array_equal(slope(eta, 1), -slope(-eta, 0))
    np.testing.assert_array_equal(log_prob(families.Bernoulli(), eta, 1), log_prob(families.Bernoulli(), -eta, 0))


@dtypes
def test_large_counts_keep_their_digits(dtype):
    """By difference float32 gives deviance 0.0 and log p -12.0 here."""
    y = 3_000_000
    eta = dtype(np.log(3_001_000.0))
    m = mp.exp(mp.mpf(float(eta)))
    exact = 2 * (y * mp.log(y / m) - (y - m))
    tol = 1e-11 if families.Poisson().log_partition(jnp.asarray(eta)).dtype == np.float64 else 2e-3
    np.testing.assert_allclose(deviance(families.Poisson(), eta, y), float(exact), rtol=tol)
    log_mass = y * mp.log(m) - m - mp.loggamma(y + 1)
    np.testing.assert_allclose(log_prob(families.Poisson(), eta, y), float(log_mass), rtol=tol / 10)
    m, s, e = 4_000_000, 3_000_000, dtype(np.log(3.0) + 1e-3)
    p = _logistic(mp.mpf(float(e)))
    log_mass = mp.log(mp.binomial(m, s)) + s * mp.log(p) + (m - s) * mp.log1p(-p)
    np.testing.assert_allclose(log_prob(families.Binomial(), e, (s, m)), float(log_mass), rtol=tol / 10)


def test_overflow_and_underflow_are_as_rounding_has_it():
    assert mean(families.Poisson(), 1e4) == np.inf and mean(families.Poisson(), -1e4) == 0
    assert mean(families.Geometric(), -1e4) == 1 and mean(families.Bernoulli(), 1e4) == 1
    assert families.log_prob(families.Poisson(), 1e4, 3) == -np.inf
    assert families.Geometric().log_partition(jnp.array(0.0)) == np.inf
    assert families.Gamma().log_partition(jnp.array(1.0)) == np.inf
