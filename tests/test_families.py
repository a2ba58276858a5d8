"""Identities of every exponential family, by one table: autodiff of the log-partition function against textbooks and scipy.

All that the tests look at is computed once per family and dtype, in one compiled program.
"""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxml import families
from registry_families import BY_NAME, ROWS

X64 = jax.config.jax_enable_x64
F64, F32 = np.float64, np.float32
every = pytest.mark.parametrize("name", BY_NAME)
dtypes = pytest.mark.parametrize(
    "dtype", [pytest.param(F64, marks=pytest.mark.skipif(not X64, reason="float64 is off")), F32], ids=["f64", "f32"]
)
# Values in float32 for one of each kind (compiling is what costs); dtypes in test_float32_in_is_float32_out for all.
NARROW = ("binomial", "categorical", "poisson", "negative_binomial", "normal_known", "gamma_known", "gamma_shape_rate",
          "inverse_gaussian_known", "tweedie_known", "beta", "rayleigh")  # fmt: skip


def cases(names):
    """The pairs of family and dtype that are tested."""
    wide = [pytest.param(name, F64, id=f"{name}-f64") for name in names if X64]
    narrow = [pytest.param(name, F32, id=f"{name}-f32") for name in names if name in NARROW or not X64]
    return pytest.mark.parametrize(("name", "dtype"), wide + narrow)


needs_x64 = pytest.mark.skipif(not X64, reason="float64 is off")
DEFAULT = F64 if X64 else F32
SEARCHED = ("beta", "dirichlet", "rayleigh")  # no closed form of natural: Newton's method, slow to compile

log_prob, entropy = jax.jit(families.log_prob), jax.jit(families.entropy)


def trials(family, value):
    return {"trials": value} if family.has_trials else {}


@functools.partial(jax.jit, static_argnames="search")
def everything(family, eta, y, m, search):
    """All that derives from the log-partition function, at each eta and each pair of eta and y."""
    grid = jnp.broadcast_to(eta[:, None], (len(eta), len(jax.tree.leaves(y)[0]), *eta.shape[1:]))
    t = family.statistic(y)
    out = {
        "mean": families.mean(family, eta, **trials(family, m)),
        "variance": families.variance(family, eta, **trials(family, m)),
        "fisher": families.fisher(family, eta, **trials(family, m)),
        "log_prob": families.log_prob(family, grid, y),
        "score": jax.grad(lambda e: jnp.sum(families.log_prob(family, e, y)))(grid),
        "formula": family.trials(y) * family.log_partition(grid) - family.inner(grid, t),
        "loss": family.loss(grid, y),
        "total": jax.vmap(
            lambda e: jnp.stack([family.total_loss(e, y, on) for on in (None, jnp.arange(len(e)) % 3 == 1)])
        )(grid),
        "direct": -family.loss(grid, y) / family.dispersion + family.log_base(y),
        "statistic": t,
        "round_trip": family.from_unconstrained(family.to_unconstrained(eta)),
    }
    if search:
        out["natural"] = families.natural(family, families.mean(family, eta, **trials(family, 1)))
    if type(family).conjugate is not families.Family.conjugate:
        real = y if family.labels else jax.tree.map(lambda v: v.astype(eta.dtype), y)
        best = family.trials(real) * family.conjugate(family.unit_statistic(real))
        out["saturated"] = best / family.dispersion + family.log_base(real)
        out["deviance"] = families.deviance(family, grid, y)
        out["deviance_score"] = jax.grad(lambda e: jnp.sum(families.deviance(family, e, y)))(grid)
    return out


@functools.cache
def results(name, dtype):
    row = BY_NAME[name]
    got = everything(row.family, jnp.asarray(row.etas, dtype), cast(row, dtype), row.trials, name not in SEARCHED)
    return jax.tree.map(np.asarray, got)


def cast(row, dtype):
    """Observations: counts stay integers, as users have them."""
    return jax.tree.map(
        lambda v: jnp.asarray(v, dtype) if np.issubdtype(v.dtype, np.floating) else jnp.asarray(v), row.ys
    )


def close(got, want, dtype, scale=1.0):
    """To 1e-10 in float64 and 2e-5 in float32, relative to the value or to 1."""
    assert got.dtype == dtype
    tol = scale * (1e-10 if dtype is F64 else 2e-5)
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


@every
def test_float32_in_is_float32_out(name):
    row = BY_NAME[name]
    program = functools.partial(everything, search=name not in SEARCHED)
    shapes = jax.eval_shape(
        lambda eta, y: program(row.family, eta, y, row.trials), jnp.asarray(row.etas, F32), cast(row, F32)
    )
    for name in ("statistic", "formula", "direct", "saturated"):  # made here of observations that nothing has cast yet
        shapes.pop(name, None)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(shapes)} == {"float32"}


@cases(BY_NAME)
def test_the_total_of_losses_is_the_sum_of_those_that_are_on(name, dtype):
    loss, total = results(name, dtype)["loss"], results(name, dtype)["total"]
    close(total[:, 0], np.sum(loss, axis=1), dtype)
    close(total[:, 1], np.sum(loss[:, 1::3], axis=1), dtype)


# -- moments ---------------------------------------------------------------------------------------------------------
@cases(BY_NAME)
def test_notes_5_4_mean_is_the_gradient_of_the_log_partition(name, dtype):
    row = BY_NAME[name]
    close(results(name, dtype)["mean"], np.stack([row.mean(e) for e in row.etas]), dtype)


@cases(BY_NAME)
def test_notes_5_5_variance_is_its_hessian(name, dtype):
    row = BY_NAME[name]
    close(results(name, dtype)["variance"], np.stack([np.asarray(row.variance(e)) for e in row.etas]), dtype)


@every
def test_fisher_information_is_variance_over_squared_dispersion(name):
    got = results(name, DEFAULT)
    np.testing.assert_allclose(got["fisher"] * BY_NAME[name].family.dispersion ** 2, got["variance"], rtol=1e-6)


@pytest.mark.parametrize("name", ["poisson", "binomial", "categorical", "gamma_known"])
def test_observed_information_is_fisher_information(name):
    row, y = BY_NAME[name], jax.tree.map(lambda v: jnp.asarray(v[1]), BY_NAME[name].ys)
    observed = -jax.jit(jax.hessian(families.log_prob, argnums=1))(row.family, jnp.asarray(row.etas[0], DEFAULT), y)
    np.testing.assert_allclose(observed, results(name, DEFAULT)["fisher"][0], rtol=2e-5, atol=1e-6)


@cases([name for name in BY_NAME if name not in SEARCHED])
def test_natural_inverts_mean(name, dtype):
    row = BY_NAME[name]
    want = row.etas - row.etas.mean(-1, keepdims=True) if row.family.redundant else row.etas
    close(results(name, dtype)["natural"], want, dtype, 10)


@cases(["rayleigh"])
def test_natural_by_newton_inverts_mean(name, dtype):
    row = BY_NAME[name]
    close(jax.jit(families.natural)(row.family, jnp.asarray(results(name, dtype)["mean"])), row.etas, dtype, 10)


@needs_x64
@pytest.mark.parametrize("name", ["rayleigh", "categorical", "gamma_shape_rate"])
def test_natural_is_differentiable(name):
    """Its derivative is the (pseudo-)inverse of the information."""
    row = BY_NAME[name]
    mu = jnp.asarray(row.mean(row.etas[0]))
    jacobian = np.atleast_2d(jax.jit(jax.jacobian(families.natural, argnums=1))(row.family, mu))
    information = np.atleast_2d(row.variance(row.etas[0]))
    np.testing.assert_allclose(information @ jacobian @ information, information, rtol=1e-7, atol=1e-9)


@every
def test_unconstrained_map_inverts_and_is_onto_the_domain(name):
    row = BY_NAME[name]
    close(results(name, DEFAULT)["round_trip"], row.etas, DEFAULT)
    if row.family.natural_size is not None:
        at = jax.jit(lambda free: row.family.log_partition(row.family.from_unconstrained(free)))
        assert jnp.isfinite(at(jnp.linspace(-3, 2, row.etas.shape[-1])))


# -- probability -----------------------------------------------------------------------------------------------------
@cases(BY_NAME)
def test_log_prob_equals_scipy(name, dtype):
    row = BY_NAME[name]
    close(results(name, dtype)["log_prob"], np.stack([row.log_prob(e, row.ys) for e in row.etas]), dtype)


@cases(BY_NAME)
def test_log_prob_is_base_less_loss_and_loss_is_its_definition(name, dtype):
    got = results(name, dtype)
    close(got["loss"], got["formula"], dtype)
    close(got["log_prob"], got["direct"], dtype)


@cases(BY_NAME)
def test_gradient_of_log_prob_is_statistic_less_mean(name, dtype):
    row, got = BY_NAME[name], results(name, dtype)
    want = np.stack([(got["statistic"] - row.mean(e)) / row.family.dispersion for e in row.etas])
    close(got["score"], want, dtype)


OUTSIDE = {
    "bernoulli": [2, -1], "binomial": ([7, -1], [6, 6]), "categorical": [3, -1], "multinomial": [[1.5, 1.5, 2], [-1, 3, 3]],
    "poisson": [-1, 0.5], "geometric": [0, 1.5], "negative_binomial": [-1, 0.5], "exponential": [0, -1], "gamma": [0, -1],
    "inverse_gaussian": [0, -1], "beta": [0, 1], "dirichlet": [[0.5, 0.5, 0.1], [1.2, -0.1, -0.1]], "normal": [np.inf, -np.inf],
    "tweedie": [-1, np.inf],
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_density_is_zero_outside_the_support_and_unknown_at_nan(name):
    row = BY_NAME[name]
    y = tuple(map(np.array, OUTSIDE[name])) if name == "binomial" else np.array(OUTSIDE[name])
    np.testing.assert_array_equal(log_prob(row.family, row.etas[1], y), -np.inf)
    if not row.family.labels:
        missing = jax.tree.map(lambda a: a.astype(row.etas.dtype) * np.nan, y)
        assert np.all(np.isnan(log_prob(row.family, row.etas[1], missing)))
    assert np.all(np.isnan(log_prob(row.family, row.etas[1] * np.nan, jax.tree.map(lambda a: np.ones_like(a), y))))


@jax.jit
def divergences(family, p, q, m):
    kw = trials(family, m)
    return (
        families.entropy(family, p, **kw),
        families.cross_entropy(family, p, q, **kw),
        families.kl_divergence(family, p, q, **kw),
        families.kl_divergence(family, p, p, **kw),
        family.expected_log_base(p, m),
    )


def check_divergences(row, p, q, y, mass, tol):
    """Against sums over y with the probabilities of p (weights of a quadrature included)."""
    p, q = jnp.asarray(p), jnp.asarray(q)
    log_p, log_q = log_prob(row.family, p, y), log_prob(row.family, q, y)
    total = lambda f: np.sum(mass * np.where(mass > 0, f, 0))
    np.testing.assert_allclose(mass.sum(), 1, rtol=tol)
    got = divergences(row.family, p, q, row.trials)
    want = [-total(log_p), -total(log_q), total(log_p - log_q), 0, total(row.family.log_base(y))]
    np.testing.assert_allclose(np.asarray(got), want, rtol=tol, atol=tol)
    assert got[3] == 0


COUNTABLE = {"poisson": 60, "geometric": 400, "negative_binomial": 400, "bernoulli": 2}


def masses(row, eta):
    """All of a countable support that matters, with log p."""
    if row.name == "binomial":
        y = (jnp.arange(7), jnp.full(7, 6))
    elif row.name == "categorical":
        y = jnp.arange(3)
    elif row.name == "multinomial":
        y = jnp.array([(i, j, 5 - i - j) for i in range(6) for j in range(6 - i)])
    else:
        y = jnp.arange(1 if row.name == "geometric" else 0, COUNTABLE[row.name])
    return y, log_prob(row.family, eta, y)


DISCRETE = ["bernoulli", "binomial", "categorical", "multinomial", "poisson", "geometric", "negative_binomial"]


@needs_x64
@pytest.mark.parametrize("name", DISCRETE)
def test_sums_normalisation_entropy_divergence(name):
    row = BY_NAME[name]
    y, log_p = masses(row, jnp.asarray(row.etas[1]))
    check_divergences(row, row.etas[1], row.etas[2], y, np.exp(log_p), 1e-12)


def line(kind):
    """Points and weights of the trapezoidal rule on a line, mapped to the support: exact for what decays at both ends."""
    u = np.linspace(-45, 45, 9001) if kind != "real" else np.linspace(-30, 30, 6001)
    h = u[1] - u[0]
    if kind == "real":
        return u, np.full_like(u, h)
    if kind == "positive":
        u = u[u < 7]
        return np.exp(u), h * np.exp(u)
    u = u[np.abs(u) < 35]
    return 1 / (1 + np.exp(-u)), h / (2 + 2 * np.cosh(u))


CONTINUOUS = {
    "normal": "real", "normal_known": "real", "normal_mean_variance": "real", "exponential": "positive", "gamma": "positive",
    "gamma_known": "positive", "gamma_shape_rate": "positive", "inverse_gaussian": "positive", "inverse_gaussian_known": "positive",
    "inverse_gaussian_mean_shape": "positive", "beta": "unit",
}  # fmt: skip


@needs_x64
@pytest.mark.parametrize("name", CONTINUOUS)
def test_quadrature_normalisation_entropy_divergence(name):
    row = BY_NAME[name]
    y, weights = line(CONTINUOUS[name])
    mass = weights * np.exp(row.log_prob(row.etas[-1], y))
    check_divergences(row, row.etas[-1], row.etas[0], y, mass, 1e-10)


def test_entropy_needs_the_expectation_of_log_b():
    with pytest.raises(NotImplementedError, match="expected_log_base"):
        families.entropy(BY_NAME["rayleigh"].family, -1.0)


@needs_x64
def test_entropy_of_vector_observations_equals_scipy():
    for name, law in (("multivariate_normal", stats.multivariate_normal([1.0, 2.0], [[2.0, 0.3], [0.3, 1.0]])),
                      ("dirichlet", stats.dirichlet(BY_NAME["dirichlet"].etas[0]))):  # fmt: skip
        np.testing.assert_allclose(entropy(BY_NAME[name].family, BY_NAME[name].etas[0]), law.entropy(), rtol=1e-12)


@dtypes
def test_entropy_of_large_counts_keeps_its_digits(dtype):
    """Stirling's expansion of the Poisson entropy, log(2 pi e lambda) / 2 - 1 / (12 lambda)."""
    lam = np.array([1e4, 1e6])
    want = np.log(2 * np.pi * np.e * lam) / 2 - 1 / 12 / lam - 1 / 24 / lam**2
    close(entropy(families.Poisson(), jnp.asarray(np.log(lam), dtype)), want, dtype, 2)
    close(entropy(families.Normal(), jnp.asarray(1e6, dtype)), np.log(2 * np.pi * np.e) / 2, dtype)
    one = entropy(families.Multinomial(2), jnp.zeros(2, dtype), trials=10**6)
    close(one, np.asarray(entropy(families.Binomial(), jnp.zeros((), dtype), trials=10**6)), dtype, 4)


@pytest.mark.parametrize(
    "name", [name for name in BY_NAME if name not in ("rayleigh", "normal", "gamma", "inverse_gaussian")]
)
def test_sampling_moments(name):
    row, n = BY_NAME[name], 20_000

    @jax.jit
    def draws(key, eta):
        y = families.sample(row.family, eta, key, (n,), **trials(row.family, row.trials))
        assert row.family.labels or y.dtype == F32
        whole = (y, jnp.full(n, row.trials)) if name == "binomial" else y
        return row.family.statistic(whole), jnp.all(row.family.support(whole))

    t, inside = draws(jax.random.key(3), jnp.asarray(row.etas[0], F32))
    assert inside
    t = np.asarray(t, F64)
    spread = np.sqrt(np.diag(np.atleast_2d(row.variance(row.etas[0]))) / n)
    assert np.all(np.abs(np.atleast_1d(t.mean(0) - row.mean(row.etas[0]))) < 5 * spread + 1e-6)
    np.testing.assert_allclose(np.cov(t.T), row.variance(row.etas[0]), rtol=0.15, atol=0.15 * n * np.max(spread) ** 2)


def test_a_family_without_a_sampler_says_so():
    with pytest.raises(NotImplementedError, match="sampler"):
        families.sample(BY_NAME["rayleigh"].family, -1.0, jax.random.key(0))


# -- deviance --------------------------------------------------------------------------------------------------------
def _log_ratio(y, m):
    return np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / m), 0)


DEVIANCES = {
    "bernoulli": lambda y, m: 2 * (_log_ratio(y, m) + _log_ratio(1 - y, 1 - m)),
    "binomial": lambda y, m: 2 * (_log_ratio(y[0], m) + _log_ratio(y[1] - y[0], y[1] - m)),
    "categorical": lambda y, m: -2 * np.log(m[y]),
    "multinomial": lambda y, m: 2 * _log_ratio(y, m).sum(-1),
    "poisson": lambda y, m: 2 * (_log_ratio(y, m) - (y - m)),
    "geometric": lambda y, m: 2 * (_log_ratio(y - 1, m - 1) - _log_ratio(y, m)),
    "negative_binomial": lambda y, m: 2 * (_log_ratio(y, m) - (y + 2.5) * np.log((y + 2.5) / (m + 2.5))),
    "normal": lambda y, m: (y - m) ** 2,
    "normal_known": lambda y, m: (y - m) ** 2,
    "exponential": lambda y, m: 2 * ((y - m) / m - np.log(y / m)),
    "gamma_known": lambda y, m: 2 * ((y - m) / m - np.log(y / m)),
    "inverse_gaussian_known": lambda y, m: (y - m) ** 2 / (m**2 * y),
    "tweedie_known": lambda y, m: 2 * (y**0.7 / (-0.3 * 0.7) + y * m**-0.3 / 0.3 + m**0.7 / 0.7),
}


@cases(DEVIANCES)
def test_deviance_equals_the_textbook(name, dtype):
    row = BY_NAME[name]
    close(results(name, dtype)["deviance"], np.stack([DEVIANCES[name](row.ys, row.mean(e)) for e in row.etas]), dtype)


@cases(DEVIANCES)
def test_deviance_is_twice_the_gap_to_the_saturated_likelihood(name, dtype):
    """log p at the best eta is log b + a* where the mean is y."""
    phi, got = BY_NAME[name].family.dispersion, results(name, dtype)
    close(got["deviance"], 2 * phi * (got["saturated"].astype(F64) - got["log_prob"]), dtype, 4)


@cases(DEVIANCES)
def test_deviance_gradient_is_that_of_log_prob_also_on_the_boundary(name, dtype):
    got = results(name, dtype)
    close(got["deviance_score"], -2 * BY_NAME[name].family.dispersion * got["score"], dtype)


def test_two_parameter_families_refuse_a_deviance():
    with pytest.raises(TypeError, match="NormalMeanVariance has no deviance"):
        families.deviance(families.NormalMeanVariance(), jnp.array([0.0, -0.5]), 1.0)


# -- maximum likelihood ----------------------------------------------------------------------------------------------
@every
def test_fit_matches_weighted_moments_and_skips_nan_rows_of_weight_zero(name):
    row = BY_NAME[name]
    poison = lambda v: jnp.concatenate([v, jnp.full_like(v[:1], -7 if row.family.labels else jnp.nan)])
    y = jax.tree.map(lambda v: jnp.asarray(v, int if row.family.labels else DEFAULT), row.ys)
    n = len(jax.tree.leaves(y)[0])
    w = jnp.arange(1.0, n + 1)

    @jax.jit
    def means(y, poisoned, w):
        eta = families.fit(row.family, poisoned, weights=jnp.append(w, 0.0))
        m = jnp.broadcast_to(jnp.asarray(row.family.trials(y)), (n,))
        return families.mean(row.family, eta, **trials(row.family, 1)), (w @ row.family.statistic(y)) / (w @ m)

    close(*map(np.asarray, means(y, jax.tree.map(poison, y), w)), DEFAULT, 100)


@pytest.mark.parametrize("name", ["poisson", "normal_mean_variance"])
def test_fit_is_differentiable_in_the_weights(name):
    """Raising the weight of a row moves the mean towards it, also from weight 0: d mean / d w_i = (T_i - mean) / sum w."""
    row = BY_NAME[name]
    w = jnp.ones(len(row.ys)).at[-1].set(0)
    fitted = lambda w: families.mean(row.family, families.fit(row.family, jnp.asarray(row.ys, DEFAULT), weights=w))
    t = np.asarray(row.family.statistic(jnp.asarray(row.ys, DEFAULT)))
    centre = np.asarray(fitted(w))
    np.testing.assert_allclose(
        jax.jit(jax.jacobian(fitted))(w), ((t - centre) / float(w.sum())).T, rtol=1e-4, atol=1e-4
    )


@needs_x64
def test_fit_of_a_normal_far_from_zero_keeps_its_variance():
    y = 1e6 + np.array([-1.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(
        -1 / (2 * jax.jit(families.fit)(families.NormalMeanVariance(), y)[1]), y.var(), rtol=1e-14
    )
    law, data = families.MultivariateNormal(2), 1e6 + np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0], [-1.0, 2.0]])
    np.testing.assert_allclose(law.unpack(jax.jit(families.fit)(law, data))[1], np.cov(data.T, bias=True), rtol=1e-9)


def test_fit_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="at least one observation"):
        families.fit(families.Poisson(), jnp.zeros(0))
    with pytest.raises(ValueError, match=r"weights must have shape \(3,\)"):
        families.fit(families.Poisson(), jnp.ones(3), weights=jnp.ones(2))


# -- dispersion ------------------------------------------------------------------------------------------------------
@needs_x64
def test_maximum_likelihood_dispersion():
    rng = np.random.default_rng(0)
    score = jax.jit(jax.grad(lambda p, family, eta, y: jnp.sum(families.log_prob(family.with_dispersion(p), eta, y))))
    for law, family in (
        (stats.gamma(3.0), families.Gamma()),
        (stats.invgauss(0.7), families.InverseGaussian()),
        (stats.norm(1), families.Normal()),
    ):
        y = jnp.asarray(law.rvs(size=50, random_state=rng))
        eta = jax.jit(families.fit)(family, y)
        phi = family.maximum_likelihood_dispersion(jnp.mean(jax.jit(families.deviance)(family, eta, y)))
        assert abs(float(score(phi, family, eta, y) * phi)) < 1e-10
        assert family.estimates_dispersion and not family.with_dispersion(phi).estimates_dispersion


@needs_x64
def test_gamma_of_shape_1e8():
    family, y = families.Gamma(shape=1e8), np.array([0.9999, 1.0, 1.0001])
    # Stirling: log p = (log k - log 2 pi) / 2 - 1 / (12 k) - log y - k (y - 1 - log y)
    y_ = y.astype(np.longdouble)
    want = (np.log(1e8) - np.log(2 * np.pi)) / 2 - 1 / 12e8 - np.log(y_) - 1e8 * (y_ - 1 - np.log1p(y_ - 1))
    np.testing.assert_allclose(log_prob(family, -1.0, y), want.astype(float), rtol=1e-9)
    np.testing.assert_allclose(families.Gamma().maximum_likelihood_dispersion(jnp.array(1e-8)), 1e-8, rtol=1e-7)
    np.testing.assert_allclose(entropy(family, -1.0), (1 + np.log(2 * np.pi / 1e8)) / 2, rtol=1e-7)


# -- transforms and extremes -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["poisson", "categorical", "gamma_shape_rate"])
def test_jit_equals_eager_and_vmap_equals_batch(name):
    row = BY_NAME[name]
    eta, y = jnp.asarray(row.etas, DEFAULT), jnp.asarray(row.ys[1])
    batch, tol = results(name, DEFAULT)["log_prob"][:, 1], 1e-13 if X64 else 1e-5
    np.testing.assert_allclose(families.log_prob(row.family, eta[0], y), batch[0], rtol=tol)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(families.log_prob, (None, 0, None)))(row.family, eta, y), batch, rtol=tol
    )


def test_different_families_are_different_structures():
    """The cache of jit compares structures: two families that compare equal would run each other's programs."""
    structures = [jax.tree.structure(family) for family in {type(row.family): row.family for row in ROWS}.values()]
    assert len(structures) == len(set(structures)) == sum(a == b for a in structures for b in structures)
    assert jax.tree.structure(families.Categorical(3)) != jax.tree.structure(families.Categorical(4))
    assert jax.tree.structure(families.Gamma(2.0)) == jax.tree.structure(families.Gamma(3.0))


def test_families_are_pytrees_and_their_fields_are_differentiable():
    got = jax.jit(jax.vmap(lambda r: families.log_prob(families.NegativeBinomial(r), -0.5, 3)))(jnp.array([0.5, 2.0]))
    np.testing.assert_allclose(got, stats.nbinom(np.array([0.5, 2.0]), -np.expm1(-0.5)).logpmf(3), rtol=1e-5)
    slope = jax.jit(jax.grad(lambda v: families.log_prob(families.Normal(variance=v), 0.0, 2.0)))(1.0)
    np.testing.assert_allclose(slope, 1.5, rtol=1e-6)


EXTREME = {
    "bernoulli": [-1e4, 1e4], "binomial": [-1e4, 1e4], "categorical": [[1e4, 0, -1e4], [-1e4, -1e4, 1e4]], "poisson": [-1e4, 80.0],
    "multinomial": [[1e4, 0, -1e4], [-1e4, -1e4, 1e4]], "geometric": [-1e4, -1e-6], "negative_binomial": [-1e4, -1e-6],
    "normal": [-1e4, 1e4], "exponential": [-1e4, -1e-6], "gamma_known": [-1e4, -1e-6], "inverse_gaussian": [-1e4, -1e-6],
    "normal_mean_variance": [[1e4, -1e4], [0, -1e-4]], "gamma_shape_rate": [[1e4, -1e4], [1e-4, -1e-4]],
    "inverse_gaussian_mean_shape": [[-1e4, -1e4], [-1e-4, -1e-4]], "beta": [[1e4, 1e4], [1e-4, 1e-4]], "dirichlet": [[1e4] * 3, [1e-4] * 3],
    "tweedie": [-1e4, -1e-6],
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREME)
def test_gradients_are_finite_at_extreme_eta(name):
    row = BY_NAME[name]
    dtype = F32 if name in NARROW else DEFAULT
    eta = jnp.asarray(EXTREME[name], dtype)
    for e in (eta, eta[::-1]):
        # Padded to the shape of the table, so that the program of the other tests serves.
        e = jnp.concatenate([e, jnp.asarray(row.etas, dtype)])[: len(row.etas)]
        got = everything(row.family, e, cast(row, dtype), row.trials, name not in SEARCHED)
        assert jnp.all(jnp.isfinite(got["score"])) and not jnp.any(jnp.isnan(got["variance"]))


# -- the four facts of the course's table ------------------------------------------------------------------------------
def test_notes_5_2_bernoulli():
    eta = np.array([-1.0, 0.5])
    f = families.Bernoulli()
    np.testing.assert_allclose(f.log_partition(eta), np.log(1 + np.exp(eta)), rtol=1e-6)
    np.testing.assert_array_equal([f.statistic(1), f.log_base(jnp.array(1.0))], [1, 0])
    np.testing.assert_allclose(families.natural(f, 0.3), np.log(0.3 / 0.7), rtol=1e-6)


def test_notes_5_3_gaussian_poisson_geometric():
    y = jnp.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(families.Normal().log_partition(3.0), 4.5)
    np.testing.assert_allclose(
        jnp.exp(families.Normal().log_base(y)), np.exp(-(y**2) / 2) / np.sqrt(2 * np.pi), rtol=1e-5
    )
    np.testing.assert_allclose(families.Poisson().log_partition(jnp.log(3.0)), 3.0, rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(families.Poisson().log_base(y)), [1, 1 / 2, 1 / 24], rtol=1e-5)
    eta = np.log(1 - 0.3)
    np.testing.assert_allclose(
        families.Geometric().log_partition(jnp.array(eta)), np.log(np.exp(eta) / (1 - np.exp(eta))), rtol=1e-6
    )
    np.testing.assert_array_equal(families.Geometric().log_base(y), 0)
    np.testing.assert_allclose(
        jnp.exp(families.log_prob(families.Geometric(), eta, y)), 0.3 * 0.7 ** (np.asarray(y) - 1), rtol=1e-5
    )


def test_import_is_light():
    code = "import sys, jaxml.families; assert not {'optax', 'chex', 'scipy.stats', 'sklearn', 'pandas'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_trials_are_asked_for_by_name():
    with pytest.raises(TypeError, match="Binomial needs trials="):
        families.mean(families.Binomial(), 0.0)
    with pytest.raises(TypeError, match="Poisson takes no trials="):
        families.mean(families.Poisson(), 0.0, trials=3)


def test_no_trials_no_information():
    np.testing.assert_array_equal(jax.jit(families.deviance)(families.Binomial(), 0.3, (0, 0)), 0)
    np.testing.assert_array_equal(log_prob(families.Binomial(), 0.3, (0, 0)), 0)
    np.testing.assert_array_equal(log_prob(families.Multinomial(2), jnp.zeros(2), jnp.zeros(2)), 0)


@pytest.mark.parametrize("name", [name for name, row in BY_NAME.items() if row.family.natural_size is not None])
def test_support_function_bounds_the_statistic(name):
    row = BY_NAME[name]
    t = results(name, DEFAULT)["statistic"] / (row.trials or 1)
    for v in (row.etas[0], -np.abs(row.etas[0]), np.abs(row.etas[0])):
        assert np.all(t @ v <= float(row.family.support_function(jnp.asarray(v, DEFAULT))) + 1e-4)


@pytest.mark.parametrize("name", [name for name, row in BY_NAME.items() if row.family.space is not None])
def test_natural_from_the_coordinate_of_the_mean(name):
    family = BY_NAME[name].family
    m = jnp.array([1.3, 2.7, 40.0]) if family.space != "unit" else jnp.array([0.1, 0.5, 0.9])
    u = {"real": lambda m: m, "positive": jnp.log, "unit": lambda m: jnp.log(m) - jnp.log1p(-m)}[family.space](m)
    close(np.asarray(family.natural_from_coordinate(u)), np.asarray(family.natural(m)), DEFAULT, 4)
