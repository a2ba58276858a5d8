"""Digits in the tails: mean, variance and log p of every scalar family and the categorical one, against mpmath."""

from functools import partial

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

TABLE |= {
    "exponential": (families.Exponential(), *TABLE["gamma"][1:]),
    "normal_known": (families.Normal(variance=4.0), BOTH, lambda e: e, lambda e: mp.mpf(4), lambda e: e * e / 8, 2,
                     lambda e: -((2 - e) ** 2) / 8 - mp.log(8 * mp.pi) / 2),
    "gamma_known": (families.Gamma(shape=4.0), -SIZES, lambda e: -1 / e, lambda e: 1 / e**2 / 4, lambda e: -4 * mp.log(-e), 2,
                    lambda e: 8 * e + 4 * mp.log(-e) + 4 * mp.log(4) - mp.log(6) + 3 * mp.log(2)),
    "inverse_gaussian_known": (families.InverseGaussian(shape=2.0), -SIZES, lambda e: 1 / mp.sqrt(-2 * e),
                               lambda e: (-2 * e) ** mp.mpf(-1.5) / 2, lambda e: -2 * mp.sqrt(-2 * e), 2,
                               lambda e: 4 * e + 2 * mp.sqrt(-2 * e) - one / 2 - mp.log(mp.pi * 8) / 2),
}  # fmt: skip
# The derivative of the variance; with both signs in a coin's, which is 0 at 0, and 0 for a normal law.
THIRD = {
    "bernoulli": lambda e: _logistic(e) * _logistic(-e) * (_logistic(-e) - _logistic(e)),
    "poisson": mp.exp,
    "geometric": lambda e: _wait(e) * (1 + _wait(e)) * (1 + 2 * _wait(e)),
    "negative_binomial": lambda e: 2.5 * _wait(e) * (1 + _wait(e)) * (1 + 2 * _wait(e)),
    "normal": lambda e: mp.mpf(0),
    "normal_known": lambda e: mp.mpf(0),
    "exponential": lambda e: -2 / e**3,
    "gamma": lambda e: -2 / e**3,
    "gamma_known": lambda e: -one / 2 / e**3,
    "inverse_gaussian": lambda e: 3 * (-2 * e) ** mp.mpf(-2.5),
    "inverse_gaussian_known": lambda e: 3 * (-2 * e) ** mp.mpf(-2.5) / 2,
}

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


@pytest.mark.parametrize("name", TABLE)
@dtypes
def test_gradients_of_log_prob_mean_and_variance(name, dtype):
    """T - mean to 8 eps of its two terms, the others to 8 ulp (a coin's variance' to 8 eps of its variance); never NaN."""
    family, etas, first, second, _, y, _ = TABLE[name]
    eta = jnp.asarray(etas, dtype)
    info, phi = jnp.finfo(eta.dtype), float(family.dispersion)
    slope = lambda f: np.asarray(jax.jit(lambda e: jax.jvp(f, (e,), (jnp.ones_like(e),))[1])(eta))
    exact = [mp.mpf(float(e)) for e in eta]
    assert ulps(slope(lambda e: mean(family, e)), [second(e) / phi for e in exact], eta.dtype) <= 8
    third = [THIRD[name](e) for e in exact]
    kept = [abs(t) > 1e-30 or name != "inverse_gaussian" for t in third]
    got = slope(lambda e: variance(family, e))
    if name == "bernoulli":
        assert all(
            abs(g - t) <= 8 * float(info.eps) * second(e) + float(info.tiny)
            for g, t, e in zip(got, third, exact, strict=True)
        )
    else:
        assert ulps(got[kept], [t for t, k in zip(third, kept, strict=True) if k], eta.dtype) <= 8
    for got, e in zip(slope(lambda e: log_prob(family, e, y)), exact, strict=True):
        want, room = (y - first(e)) / phi, 8 * float(info.eps) * (y + abs(first(e))) / phi
        if name == "bernoulli":
            want = _logistic(-e)
            room = 8 * float(info.eps) * want + float(info.tiny)
        assert abs(got - want) <= room or (abs(want) > float(info.max) and got == -np.inf), (e, got, want)


@dtypes
def test_trials_multiply_everything(dtype):
    """5 coins are 5 times the mean, the variance and the terms of log p of one, in both tails, gradients included."""
    eta, one_coin, coins = jnp.asarray(BOTH, dtype), families.Bernoulli(), families.Binomial()
    pair = lambda f: jax.jit(lambda e: jax.jvp(f, (e,), (jnp.ones_like(e),)))(eta)
    for whole, single in (
        (lambda e: mean(coins, e, trials=5), lambda e: 5 * mean(one_coin, e)),
        (lambda e: variance(coins, e, trials=5), lambda e: 5 * variance(one_coin, e)),
        (lambda e: log_prob(coins, e, (5, 5)), lambda e: 5 * log_prob(one_coin, e, 1)),
        (lambda e: log_prob(coins, e, (2, 5)) - jnp.log(jnp.asarray(10, dtype)),
         lambda e: 2 * log_prob(one_coin, e, 1) + 3 * log_prob(one_coin, e, 0)),
    ):  # fmt: skip
        for got, want in zip(pair(whole), pair(single), strict=True):
            np.testing.assert_allclose(got, want, rtol=8 * jnp.finfo(dtype).eps, atol=8 * jnp.finfo(dtype).eps)


def _normal_partition(e):
    return -(e[0] ** 2) / (4 * e[1]) - mp.log(-2 * e[1]) / 2


def _plane_partition(e):
    p, q, r = -2 * e[2], -e[3], -2 * e[4]
    det = p * r - q * q
    return (r * e[0] ** 2 - 2 * q * e[0] * e[1] + p * e[1] ** 2) / det / 2 - mp.log(det) / 2


def _log_beta(e):
    return sum(mp.loggamma(a) for a in e) - mp.loggamma(sum(e))


def _random(signs, low=-2.0, high=4.0):
    """Natural parameters of these signs (0: either), of sizes up to 1e4."""
    rng = np.random.default_rng(5)
    sizes = 10 ** rng.uniform(low, high, (6, len(signs)))
    sizes[0] = 1e4
    return sizes * np.where(np.array(signs) == 0, rng.choice([-1, 1], sizes.shape), signs)


def _plane_etas():
    rng = np.random.default_rng(6)
    p, r = 10 ** rng.uniform(-2, 4, (2, 6))
    q = np.sqrt(p * r) * rng.uniform(-0.7, 0.7, 6)
    h = 1e4 ** rng.uniform(0, 1, (6, 2)) * rng.choice([-1, 1], (6, 2))
    return np.column_stack([h, -p / 2, -q, -r / 2])


# name: family, etas, a, y, T(y), log b, what is lost in the mean beside its own size
VECTORS = {
    "normal_mean_variance": (families.NormalMeanVariance(), _random([0, -1]), _normal_partition, 0.5, (0.5, 0.25),
                             -mp.log(2 * mp.pi) / 2, None),
    "multivariate_normal": (families.MultivariateNormal(2), _plane_etas(), _plane_partition, [0.5, -1.0],
                            (0.5, -1, 0.25, -0.5, 1), -mp.log(2 * mp.pi), None),
    "inverse_gaussian_mean_shape": (families.InverseGaussianMeanShape(), _random([-1, -1]),
                                    lambda e: -2 * mp.sqrt(e[0] * e[1]) - mp.log(-2 * e[1]) / 2, 2.0, (2, 0.5),
                                    -(mp.log(2 * mp.pi) + 3 * mp.log(2)) / 2, None),
    "gamma_shape_rate": (families.GammaShapeRate(), _random([1, -1]), lambda e: mp.loggamma(e[0]) - e[0] * mp.log(-e[1]), 2.0,
                         (mp.log(2), 2), -mp.log(2), lambda e: abs(mp.log(e[0])) + abs(mp.log(-e[1]))),
    "beta": (families.Beta(), _random([1, 1]), _log_beta, 0.25, (mp.log(0.25), mp.log(0.75)), -mp.log(0.25) - mp.log(0.75), None),
    "dirichlet": (families.Dirichlet(3), _random([1, 1, 1]), _log_beta, [0.25, 0.25, 0.5],
                  (mp.log(0.25), mp.log(0.25), mp.log(0.5)), -2 * mp.log(0.25) - mp.log(0.5), None),
    "categorical": (families.Categorical(3), _random([0, 0, 0], 0, 1.5), lambda e: mp.log(sum(map(mp.exp, e))), 1, (0, 1, 0), 0, None),
    "multinomial": (families.Multinomial(3), _random([0, 0, 0], 0, 1.5), lambda e: 5 * mp.log(sum(map(mp.exp, e))), [1, 2, 2],
                    (1, 2, 2), mp.log(30), None),
    "product": (families.Product((families.Poisson(), families.NormalMeanVariance()), ((0,), (1,))),
                np.column_stack([[80, 40, 3, -80, -300, -1e4], _random([0, -1])]), lambda e: mp.exp(e[0]) + _normal_partition(e[1:]),
                [3.0, 0.5], (3, 0.5, 0.25), -mp.log(6) - mp.log(2 * mp.pi) / 2, None),
}  # fmt: skip


def _partial(a, e, *directions):
    order = tuple(directions.count(i) for i in range(len(e)))
    return mp.diff(lambda *x: a(list(x)), tuple(e), order)


@pytest.mark.parametrize("name", VECTORS)
@dtypes
def test_vector_families_with_their_gradients(name, dtype):
    """The mean of T to 8 eps of itself and its standard deviation, covariances to 8 and third cumulants to 16 eps of the product
    of standard deviations, log p to 8 eps of its terms; for correlated normals times the condition of their correlations."""
    family, etas, a, y, t, base, lost = VECTORS[name]
    eta, k = jnp.asarray(etas, dtype), np.shape(etas)[1]
    info = jnp.finfo(eta.dtype)
    options = {"trials": 5} if family.has_trials else {}
    y = y if family.labels else jnp.asarray(y, eta.dtype)
    one_law = lambda e: (
        mean(family, e, **options), variance(family, e, **options), jax.jacfwd(lambda e: variance(family, e, **options))(e),
        log_prob(family, e, y), jax.grad(lambda e: log_prob(family, e, y))(e),
    )  # fmt: skip
    got = [np.asarray(g) for g in jax.jit(jax.vmap(one_law))(eta)]
    with mp.workdps(90):
        for n, row in enumerate(np.asarray(eta)):
            e = [mp.mpf(float(v)) for v in row]
            m = [_partial(a, e, i) for i in range(k)]
            v = {(i, j): _partial(a, e, *sorted((i, j))) for i in range(k) for j in range(k)}
            spread = [mp.sqrt(abs(v[i, i])) for i in range(k)]
            more = lost(e) if lost else 0

            def close(value, want, room, what):
                if abs(want) > float(info.max):
                    assert abs(value) == np.inf, (what, row, value)  # noqa: B023
                    return
                assert np.isfinite(value), (what, row, value, want)  # noqa: B023
                gap = abs(mp.mpf(float(value)) - want) - mp.mpf(10) ** -30
                allowed = (16 if what == "variance'" else 8) * (6 if name == "multivariate_normal" else 1)
                assert gap <= allowed * float(info.eps) * room, (what, row, value, want, gap / float(info.eps) / room)  # noqa: B023

            for i in range(k):
                size = abs(m[i]) + spread[i] + more * (i == 0)
                close(got[0][n, i], m[i], size, "mean")
                close(got[4][n, i], t[i] - m[i], abs(t[i]) + size, "log p'")
                for j in range(k):
                    close(got[1][n, i, j], v[i, j], spread[i] * spread[j], "variance")
                    for h in range(i, k):
                        third = _partial(a, e, *sorted((i, j, h)))
                        close(got[2][n, i, j, h], third, spread[i] * spread[j] * spread[h] + abs(third), "variance'")
            inner = [x * s for x, s in zip(e, t, strict=True)]
            value = sum(inner) - a(e) + base
            if abs(value) < float(info.max):
                close(got[3][n], value, 1 + abs(a(e)) + sum(map(abs, inner)) + abs(base), "log p")
            else:
                assert got[3][n] == -np.inf


@dtypes
def test_categorical_to_8_ulp(dtype):
    rng = np.random.default_rng(0)
    family = families.Categorical(4)
    # in full: where XLA compiles in haste, without fused products and sums, its own exp(-80) is 30 ulp off in float32
    in_full = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})
    moments = in_full(lambda eta: (mean(family, eta), variance(family, eta)))
    for scale in (1e-3, 1.0, 30.0, 300.0):
        eta = jnp.asarray(scale * rng.normal(size=(4, 4)), dtype)
        first, second = moments(eta)
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
