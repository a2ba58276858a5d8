"""Distribution functions of every family in both tails, against scipy; their incomplete gamma and beta functions against mpmath."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special as sp
from scipy import stats

from jaxml import families
from jaxml.incomplete import beta_tails, gamma_tails
from registry_families import BY_NAME

X64 = jax.config.jax_enable_x64
DEFAULT = np.float64 if X64 else np.float32
RTOL = 1e-11 if X64 else 2e-5
LAWS = [name for name, row in BY_NAME.items() if row.law is not None]
both = jax.jit(lambda family, eta, y: (families.cdf(family, eta, y), families.sf(family, eta, y)))


@functools.cache
def points(name):
    """Observations, and points far out on both sides, at each eta."""
    row = BY_NAME[name]
    seen = row.ys[0] if name == "binomial" else row.ys
    far = lambda law: [seen.min() - 1, law.ppf(1e-6), law.ppf(0.1), law.isf(0.1), law.mean() + 8 * law.std()]
    return np.stack([np.append(seen, far(row.law(e))) for e in row.etas]).astype(DEFAULT)


@pytest.mark.parametrize("name", LAWS)
def test_both_tails_equal_scipy(name):
    row, y = BY_NAME[name], points(name)
    eta = np.asarray(row.etas, DEFAULT)
    given = (y, np.full_like(y, row.trials)) if row.trials else y
    low, high = both(row.family, eta[:, None], given)
    assert low.dtype == high.dtype == DEFAULT
    for e, y_, low_, high_ in zip(eta.astype(float), y.astype(float), low, high, strict=True):
        np.testing.assert_allclose(low_, row.law(e).cdf(y_), rtol=RTOL)
        np.testing.assert_allclose(high_, row.law(e).sf(y_), rtol=RTOL)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in LAWS])
def test_vectors_classes_and_families_without_one_refuse(name):
    row = BY_NAME[name]
    with pytest.raises(NotImplementedError, match=rf"{type(row.family).__name__} does not define cumulative"):
        families.cdf(row.family, row.etas[0], jax.tree.map(lambda v: v[0], row.ys))


@pytest.mark.parametrize("name", LAWS)
def test_the_ends_of_the_line_and_what_is_not_known(name):
    row = BY_NAME[name]
    shape = points(name).shape
    y = np.tile(
        np.resize(np.array([-np.inf, np.inf, np.nan], DEFAULT), shape[1]), (shape[0], 1)
    )  # the program of the other test
    given = (y, np.full_like(y, row.trials)) if row.trials else y
    low, high = both(row.family, np.asarray(row.etas, DEFAULT)[:, None], given)
    np.testing.assert_array_equal(low[:, :3], [[0, 1, np.nan]] * len(y))
    np.testing.assert_array_equal(high[:, :3], [[1, 0, np.nan]] * len(y))
    assert np.all(np.isnan(both(row.family, np.full_like(row.etas, np.nan, DEFAULT)[:, None], given)))


def test_counts_between_the_integers_and_outside_the_domain():
    np.testing.assert_array_equal(
        families.cdf(families.Poisson(), 0.5, [2, 2.7]), [families.cdf(families.Poisson(), 0.5, 2)] * 2
    )
    np.testing.assert_array_equal(families.cdf(families.Exponential(), jnp.array([0.5, -0.5]), -1.0), [np.nan, 0])


def test_jit_and_vmap_equal_the_batch():
    family, y = families.NegativeBinomial(2.5), jnp.array([0, 3, 7])
    eta = jnp.array([-0.2, -0.5, -1.0])
    one = jax.jit(jax.vmap(families.sf, (None, 0, 0)))(family, eta, y)
    np.testing.assert_allclose(one, families.sf(family, eta, y), rtol=1e-6)
    np.testing.assert_allclose(one[1], families.sf(family, eta[1], y[1]), rtol=1e-6)


def test_density_is_the_derivative():
    slope = jax.jit(jax.grad(lambda y, family, eta: families.cdf(family, eta, y)))
    for family in (
        families.Gamma(shape=3.5),
        families.Gamma(shape=35.0),
        families.InverseGaussian(shape=2.0),
        families.Normal(2.0),
    ):
        density = jnp.exp(families.log_prob(family, -0.7, 1.3))
        np.testing.assert_allclose(slope(1.3, family, -0.7), density, rtol=1e-10 if X64 else 1e-4)


def test_derivatives_in_eta_of_laws_by_the_beta_function():
    """Backward in eta, forward in the size: d P(S <= s) / d eta = -(m - s) p P(S = s), from the derivative of I_x."""
    eta, s, m = 0.4, 3, 9
    for pair in ((s, m), (60, 150)):
        slope = jax.grad(lambda eta: families.cdf(families.Binomial(), eta, pair))(eta)  # noqa: B023
        law = stats.binom(pair[1], sp.expit(eta))
        np.testing.assert_allclose(
            slope, -(pair[1] - pair[0]) * sp.expit(eta) * law.pmf(pair[0]), rtol=1e-10 if X64 else 1e-4
        )
    of = lambda r: families.cdf(families.NegativeBinomial(r), -0.5, 3)
    h = 1e-5 if X64 else 1e-2
    slope = jax.jvp(of, (2.5,), (1.0,))[1]
    np.testing.assert_allclose(slope, (of(2.5 + h) - of(2.5 - h)) / (2 * h), rtol=1e-8 if X64 else 1e-2)


# -- incomplete gamma and beta functions of any size ------------------------------------------------------------------
SHAPES = [0.5, 3.0, 19.9, 20.0, 50.0, 1e3, 1e5, 1e7]
PAIRS = [(0.5, 0.7), (3, 5), (2.5, 100), (50, 50), (25, 3000), (1e3, 3e3), (1e5, 1e5), (3, 1e6), (0.5, 1e6), (1, 1e7)]
SPREADS = [-8, -1, 0, 1, 8]


def near(mean, spread, top):
    """Points up to 8 standard deviations off, those outside (0, top) decades off."""
    x = mean + np.array(SPREADS) * spread
    decades = 10.0 ** (-np.abs(SPREADS) / 3.0)
    return np.where(x <= 0, mean * decades, np.where(x >= top, top - (top - mean) * decades, x))


@functools.cache
def incomplete_cases():
    """Parameters and points that float32 holds, with both tails."""
    narrow = lambda v: np.asarray(v, np.float32).astype(float)
    a = narrow(SHAPES)
    x = narrow([near(s, np.sqrt(s), 1e30) for s in a])
    gamma = [[gamma_by_quadrature(s, v) for v in xs] for s, xs in zip(a, x, strict=True)]
    p, q = narrow(PAIRS).T
    m, n = p / (p + q), p + q
    z = narrow([near(*v, 1) for v in zip(m, np.sqrt(m * (1 - m) / n), strict=True)])
    beta = [[beta_by_quadrature(*v, t) for t in ts] for *v, ts in zip(p, q, z, strict=True)]
    return (a[:, None], x), gamma, (p[:, None], q[:, None], z, 1 - z), beta


@pytest.mark.parametrize(
    "dtype", [pytest.param(np.float64, marks=pytest.mark.skipif(not X64, reason="float64 is off")), np.float32]
)
def test_incomplete_functions_of_any_size(dtype):
    """Where the shape is large, the factors by log Gamma would leave 8 digits in float64 and none in float32."""
    at, gamma, where, beta = incomplete_cases()
    check(jax.jit(gamma_tails)(*(np.asarray(v, dtype) for v in at)), gamma, dtype)
    check(jax.jit(beta_tails)(*(np.asarray(v, dtype) for v in where)), beta, dtype)


def check(actual, exact, dtype):
    for got, want in zip(actual, np.moveaxis(np.array(exact), -1, 0), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12 if dtype is np.float64 else 1e-5, atol=np.finfo(dtype).tiny)


@mpmath.workdps(40)
def gamma_by_quadrature(a, x):
    a, x = mpmath.mpf(float(a)), mpmath.mpf(float(x))
    norm = mpmath.loggamma(a)
    log_density = lambda t: (a - 1) * mpmath.log(t) - t - norm
    return smaller_tail(log_density, x, a, mpmath.sqrt(a), mpmath.inf)


@mpmath.workdps(40)
def beta_by_quadrature(a, b, x):
    a, b, x = (mpmath.mpf(float(v)) for v in (a, b, x))
    norm = mpmath.loggamma(a + b) - mpmath.loggamma(a) - mpmath.loggamma(b)
    log_density = lambda t: (a - 1) * mpmath.log(t) + (b - 1) * mpmath.log1p(-t) + norm
    return smaller_tail(log_density, x, a / (a + b), mpmath.sqrt(a * b / (a + b)) / (a + b), 1)


def smaller_tail(log_density, x, mean, spread, top):
    """Both tails, that away from the mean by quadrature."""
    up = x > mean
    steps = [x + (1 if up else -1) * spread * mpmath.mpf(2) ** k for k in (-1, 1, 3, 6)]
    inside = [t for t in steps if 0 < t < top]
    ends = [x, *inside, *([] if len(inside) == len(steps) else [top if up else 0])]
    top_log = log_density(x)
    tail = abs(mpmath.quad(lambda t: mpmath.exp(log_density(t) - top_log), ends)) * mpmath.exp(top_log)
    return (float(1 - tail), float(tail)) if up else (float(tail), float(1 - tail))
