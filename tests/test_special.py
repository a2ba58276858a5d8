"""The stable primitives against mpmath, with their first two derivatives: at 0, in both tails, in both precisions."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxml import loggamma, special

mp.mp.dps = 40
needs_x64 = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="float64 is off")
dtypes = pytest.mark.parametrize("dtype", [pytest.param(np.float64, marks=needs_x64), np.float32], ids=["f64", "f32"])

SIZES = np.concatenate(
    [np.logspace(-6, 2, 17), [0.5, 0.6931, 0.6932, 5.9, 6.1, 15.9, 16.0, 30.0, 36.1, 80.0, 300.0, 700.0]]
)
NEGATIVE, POSITIVE = -SIZES, SIZES
BOTH = np.concatenate([NEGATIVE, [0.0], POSITIVE])
FRACTIONS = np.concatenate([np.logspace(-6, 6, 25), [15.9, 16.0, 16.1]])
LARGE_AND_SMALL = np.concatenate([np.logspace(-12, 12, 25), [0.3, 1.4616321449683622, 15.9]])


def _sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def _bose(x):
    return 1 / mp.expm1(-x)


def _cdf(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _hazard(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi) / _cdf(x)


def _stirling(x):
    return mp.loggamma(x + 1) - ((x + 0.5) * mp.log(x) - x + mp.log(2 * mp.pi) / 2)


# name: points, (f, f', f''), ulps allowed for each. Below 1e-308 everything counts as 0. Known losses, none of them in a mean or
# variance of a family: sigmoid'' is 0 at 0, log_expm1 at log 2;
# x + h and 1 - h (x + h) cancel (inverse_mills_excess and with it log_ndtr''); stirling_error and log_odds_ndtr are measured absolutely
# below 1, in eps.
TABLE = {
    "softplus": (BOTH, (lambda x: mp.log1p(mp.exp(x)), _sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)), (2, 2, 3)),
    "sigmoid": (BOTH, (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x), lambda x: _sigmoid(x) * _sigmoid(-x) * (_sigmoid(-x) - _sigmoid(x))), (2, 3, 1e6)),
    "bose": (NEGATIVE, (_bose, lambda x: _bose(x) * (1 + _bose(x)), lambda x: _bose(x) * (1 + _bose(x)) * (1 + 2 * _bose(x))), (2, 4, 8)),
    "log1mexp": (NEGATIVE, (lambda x: mp.log1p(-mp.exp(x)) if x < -1 else mp.log(-mp.expm1(x)), lambda x: -_bose(x), lambda x: -_bose(x) * (1 + _bose(x))), (8, 2, 4)),
    "log_expm1": (POSITIVE, (lambda x: mp.log(mp.expm1(x)), lambda x: 1 + 1 / mp.expm1(x), lambda x: -_bose(-x) * (1 + _bose(-x))), (1e4, 2, 4)),
    "log_ndtr": (BOTH[np.abs(BOTH) < 400], (lambda x: mp.log1p(-_cdf(-x)) if x > 0 else mp.log(_cdf(x)), _hazard, lambda x: -_hazard(x) * (x + _hazard(x))), (4, 4, 16)),
    "log_odds_ndtr": (BOTH[np.abs(BOTH) < 400], (lambda x: mp.log(_cdf(x)) - mp.log(_cdf(-x)), lambda x: _hazard(x) + _hazard(-x), lambda x: _hazard(-x) * (_hazard(-x) - x) - _hazard(x) * (x + _hazard(x))), (3, 3, 32)),
    "inverse_mills_excess": (BOTH[np.abs(BOTH) < 400], (lambda x: x + _hazard(x), lambda x: 1 - _hazard(x) * (x + _hazard(x))), (128, 1e6)),
    "stirling_error": (FRACTIONS, (_stirling, lambda x: mp.digamma(x + 1) - mp.log(x) - 0.5 / x,
                                   lambda x: mp.psi(1, x + 1) - 1 / x + 0.5 / x**2), (8, 8, 8)),
    "digamma_gap": (LARGE_AND_SMALL, (lambda x: mp.log(x) - mp.digamma(x), lambda x: 1 / x - mp.psi(1, x), lambda x: -1 / x**2 - mp.psi(2, x)), (3, 3, 4)),
}  # fmt: skip


def ulps(got, want, dtype, floor=0):
    """Largest relative error in units of eps, over the values that are representable; overflow and underflow as rounding has it."""
    info, worst = jnp.finfo(dtype), 0.0
    for g, w in zip(np.asarray(got, np.float64), want, strict=True):
        if abs(w) > float(info.max):
            assert np.isinf(g)
        elif abs(w) < float(info.tiny):
            assert abs(g) <= 2 * float(info.tiny)
        else:
            assert np.isfinite(g)
            worst = max(worst, float(abs(mp.mpf(float(g)) - w) / max(abs(w), floor)) / float(info.eps))
    return worst


def derivatives(f, x, count):
    """f, f', f'' at the points x."""
    functions = [f, jax.grad(f), jax.grad(jax.grad(f))][:count]
    return [jax.jit(jax.vmap(g))(x) for g in functions]


@pytest.mark.parametrize("name", TABLE)
@dtypes
def test_primitive_and_derivatives_against_mpmath(name, dtype):
    points, exact, allowed = TABLE[name]
    x = jnp.asarray(points, dtype)
    got = derivatives(getattr(special, name, None) or getattr(loggamma, name), x, len(exact))
    assert all(g.dtype == x.dtype for g in got)
    floor = 1 if name in ("stirling_error", "log_odds_ndtr") else 0
    measured = [ulps(g, [f(mp.mpf(float(v))) for v in x], x.dtype, floor) for g, f in zip(got, exact, strict=True)]
    print(name, [round(m, 1) for m in measured])
    assert all(m <= a for m, a in zip(measured, allowed, strict=True)), measured


@dtypes
@pytest.mark.parametrize("n", [0, 1, 2])
def test_polygamma_and_its_differences_against_mpmath(n, dtype):
    x, h = (a.ravel().astype(dtype) for a in np.meshgrid(LARGE_AND_SMALL[::3], LARGE_AND_SMALL[1::3]))
    exact = lambda v: mp.psi(n, mp.mpf(float(v)))
    gap = jax.jit(lambda x, h: loggamma.polygamma_gap(n, x, h))(x, h)
    want = [mp.psi(n, mp.mpf(float(a)) + mp.mpf(float(b))) - exact(a) for a, b in zip(x, h, strict=True)]
    inside = [dtype(w) != 0 and abs(w) > 1e-30 for w in want]  # products of several powers underflow before they do
    keep = lambda v: [a for a, b in zip(v, inside, strict=True) if b]
    assert ulps(keep(gap), keep(want), dtype) <= 4
    if n:
        x = LARGE_AND_SMALL.astype(dtype)
        assert ulps(jax.jit(lambda x: loggamma.polygamma(n, x))(x), map(exact, x), dtype) <= 4


def test_log_odds_of_a_probit_model_are_odd():
    x = jnp.array([0.0, 1e-300, 1e-8, 0.7, 30.0])
    assert special.log_odds_ndtr(jnp.zeros(())) == 0
    np.testing.assert_array_equal(special.log_odds_ndtr(-x), -special.log_odds_ndtr(x))


@dtypes
def test_softplus_at_zero_and_beyond_36(dtype):
    first, second = jax.grad(special.softplus), jax.grad(jax.grad(special.softplus))
    assert first(dtype(0)) == 0.5 and second(dtype(0)) == 0.25
    assert second(dtype(40)) > 0 and second(dtype(-40)) == second(dtype(40))
    third = jax.grad(second)
    np.testing.assert_allclose(third(dtype(20)), -np.exp(-20.0), rtol=1e-6)


@dtypes
def test_softmax_and_logsumexp_against_mpmath(dtype):
    softmax, logsumexp, hessian = (
        jax.jit(special.softmax),
        jax.jit(special.logsumexp),
        jax.jit(jax.hessian(special.logsumexp)),
    )
    for x in ([0.3, -1.2, 2.0, 0.0], [0.0, -30.0, -60.0, -80.0], [50.0, 49.0, -20.0, 0.0], [0.0, 0.0, 0.0, 0.0]):
        x = jnp.asarray(x, dtype)
        e = [mp.exp(mp.mpf(float(v))) for v in x]
        p = [v / sum(e) for v in e]
        assert ulps(logsumexp(x)[None], [mp.log(sum(e))], x.dtype) <= 4
        assert ulps(softmax(x), p, x.dtype) <= 8
        curvature = np.asarray(hessian(x)).ravel()
        exact = [
            p[i] * sum(p[k] for k in range(4) if k != i) if i == j else -p[i] * p[j] for i in range(4) for j in range(4)
        ]
        assert ulps(curvature, exact, x.dtype) <= 8


def test_logsumexp_keeps_a_small_excess_and_admits_minus_infinity():
    assert special.logsumexp(jnp.array([0.0, -60.0])) == jnp.exp(jnp.array(-60.0))
    np.testing.assert_allclose(special.logsumexp(jnp.array([-jnp.inf, 1.0])), 1.0)
    assert special.logsumexp(jnp.array([-jnp.inf, -jnp.inf])) == -jnp.inf


@dtypes
def test_sum_log1p_keeps_the_digits_of_small_numbers(dtype):
    rng, smallest = np.random.default_rng(0), -300 if dtype is np.float64 else -36
    for n in (1, 15, 16, 17, 200):
        for low in (smallest, -6, 0):
            x = (10.0 ** rng.uniform(low, 0, n)).astype(dtype)
            want = mp.fsum([mp.log1p(mp.mpf(float(v))) for v in x])
            assert (
                abs(float((mp.mpf(float(special.sum_log1p(jnp.asarray(x)))) - want) / want)) < 8 * np.finfo(dtype).eps
            )
    assert special.sum_log1p(jnp.zeros(5, dtype)) == 0 and jnp.isnan(special.sum_log1p(jnp.array([0, jnp.nan], dtype)))


@dtypes
def test_the_total_of_binary_losses_holds_in_the_tails(dtype):
    for size in (0.0, 1.0, 30.0, 80.0, 1e4):
        x, y = jnp.asarray([size, -size] * 9, dtype), jnp.asarray([1, 0, 0, 1, 1, 0] * 3, dtype)
        right = (y == 1) == (x > 0)
        for on in (None, right, ~right):
            loss = np.asarray(special.binary_loss(1 - y, y, x), np.float64)
            want = np.sum(loss if on is None else loss[np.asarray(on)])
            np.testing.assert_allclose(special.total_binary_loss(y, x, on), want, rtol=20 * np.finfo(dtype).eps)


def test_products_with_zero():
    assert special.product(0.0, jnp.inf) == 0 and special.xlogx(jnp.array(0.0)) == 0
    assert jnp.isnan(special.xlogx(jnp.array(-1.0)))
    assert jnp.isfinite(jax.grad(lambda x: special.product(x, jnp.array(0.0)))(2.0))


def test_with_derivative_of_gives_value_and_derivative_apart():
    f = lambda x: special.with_derivative_of(jnp.sin, jnp.cos(x), x)
    assert f(0.3) == jnp.cos(0.3)
    np.testing.assert_allclose(jax.grad(f)(0.3), np.cos(0.3), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(jax.grad(f))(0.3), -np.sin(0.3), rtol=1e-6)
