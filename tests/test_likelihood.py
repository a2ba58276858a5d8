"""The log-likelihood against sums of scipy's log-densities, with weights, offsets, links and any predictor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from numpy.testing import assert_allclose
from scipy.special import expit

from jaxml import families, likelihood
from jaxml.predictors import Linear, linear

RTOL = 1e-12 if jax.config.jax_enable_x64 else 2e-5
RNG = np.random.default_rng(3)
N, D = 12, 2
X = RNG.normal(size=(N, D))
THETA = Linear(np.array([0.6, -0.3]), np.array(0.2))
ETA = X @ THETA.weight + THETA.bias
COUNTS = RNG.poisson(np.exp(ETA))
TRIALS = RNG.integers(1, 9, N)
SUCCESSES = RNG.binomial(TRIALS, expit(ETA))
REALS = RNG.normal(ETA)
TIMES = np.exp(REALS)
LABELS = RNG.integers(0, 2, N)

LAWS = {  # family, link, y, scipy's log-densities as a function of the linear predictor z
    "normal": (families.Normal(variance=2.0), "canonical", REALS, lambda z: st.norm.logpdf(REALS, z, np.sqrt(2))),
    "bernoulli": (families.Bernoulli(), "canonical", LABELS, lambda z: st.bernoulli.logpmf(LABELS, expit(z))),
    "probit": (families.Bernoulli(), "probit", LABELS, lambda z: st.bernoulli.logpmf(LABELS, st.norm.cdf(z))),
    "cloglog": (families.Bernoulli(), "cloglog", LABELS, lambda z: st.bernoulli.logpmf(LABELS, -np.expm1(-np.exp(z)))),
    "poisson": (families.Poisson(), "log", COUNTS, lambda z: st.poisson.logpmf(COUNTS, np.exp(z))),
    "sqrt": (families.Poisson(), "sqrt", COUNTS, lambda z: st.poisson.logpmf(COUNTS, z**2)),
    "binomial": (
        families.Binomial(),
        "canonical",
        (SUCCESSES, TRIALS),
        lambda z: st.binom.logpmf(SUCCESSES, TRIALS, expit(z)),
    ),
    "geometric": (families.Geometric(), "canonical", COUNTS + 1, lambda z: st.geom.logpmf(COUNTS + 1, -np.expm1(z))),
    "exponential": (families.Exponential(), "log", TIMES, lambda z: st.expon.logpdf(TIMES, scale=np.exp(z))),
    "own link": (families.Poisson(), jnp.exp, COUNTS, lambda z: st.poisson.logpmf(COUNTS, np.exp(z))),
}
SHIFT = {"geometric": -6.0, "sqrt": 6.0}  # keeps the linear predictor inside the domain
WEIGHTS = RNG.integers(0, 4, N).astype(float)


def setting(name):
    family, link, y, rows = LAWS[name]
    theta = Linear(jnp.asarray(THETA.weight), jnp.asarray(THETA.bias + SHIFT.get(name, 0)))
    return family, theta, jnp.asarray(X), jax.tree.map(jnp.asarray, y), link, rows, ETA + SHIFT.get(name, 0)


@pytest.mark.parametrize("name", LAWS)
def test_sum_of_log_densities(name):
    family, theta, design, y, link, rows, z = setting(name)
    offset = RNG.uniform(-0.3, 0.3, N)
    total = jax.jit(
        lambda theta, weights, offset: likelihood.log_likelihood(
            family, linear, theta, design, y, weights=weights, offset=offset, link=link
        )
    )
    assert_allclose(total(theta, None, None), rows(z).sum(), rtol=RTOL)
    assert_allclose(total(theta, WEIGHTS, offset), WEIGHTS @ rows(z + offset), rtol=RTOL)
    if name == "normal":
        assert_allclose(total(theta, WEIGHTS, None), WEIGHTS @ rows(z), rtol=RTOL)
        assert_allclose(total(theta, None, offset), rows(z + offset).sum(), rtol=RTOL)


def test_categorical():
    theta = Linear(jnp.asarray(RNG.normal(size=(D, 3))), jnp.asarray(RNG.normal(size=3)))
    y = RNG.integers(0, 3, N)
    z = X @ np.asarray(theta.weight) + np.asarray(theta.bias)
    expected = np.sum(z[np.arange(N), y] - np.log(np.exp(z).sum(axis=1)))
    total = likelihood.log_likelihood(families.Categorical(3), linear, theta, jnp.asarray(X), y)
    assert_allclose(total, expected, rtol=RTOL)


def test_any_predictor():
    quadratic = lambda theta, X: theta[0] + X @ theta[1:3] + theta[3] * X[:, 0] * X[:, 1]
    theta = np.array([0.1, 0.5, -0.2, 0.7])
    features = np.column_stack([np.ones(N), X, X[:, 0] * X[:, 1]])
    total = lambda theta: likelihood.log_likelihood(families.Poisson(), quadratic, theta, jnp.asarray(X), COUNTS)
    mean = np.exp(features @ theta)
    assert_allclose(jax.jit(total)(jnp.asarray(theta)), st.poisson.logpmf(COUNTS, mean).sum(), rtol=RTOL)
    gradient, hessian = jax.jit(lambda t: (jax.grad(total)(t), jax.hessian(total)(t)))(jnp.asarray(theta))
    assert_allclose(gradient, features.T @ (COUNTS - mean), rtol=10 * RTOL, atol=10 * RTOL)
    assert_allclose(hessian, -features.T * mean @ features, rtol=10 * RTOL, atol=10 * RTOL)


def test_outside_the_support():
    y = jnp.asarray(COUNTS).at[3].set(-1)
    assert likelihood.log_likelihood(families.Poisson(), linear, setting("poisson")[1], jnp.asarray(X), y) == -jnp.inf


@pytest.mark.parametrize("name", ["normal", "poisson", "binomial", "probit"])
def test_rows_of_weight_zero_are_absent(name):
    """What such a row holds changes neither value nor derivatives, be it NaN or infinite."""
    family, theta, design, y, link, rows, z = setting(name)
    y = jax.tree.map(lambda a: a.astype(float), y)
    offset, weights = jnp.asarray(RNG.uniform(-0.3, 0.3, N)), jnp.ones(N).at[4].set(0)

    @jax.jit
    def everything(design, y, offset):
        total = lambda theta, w: likelihood.log_likelihood(
            family, linear, theta, design, y, weights=w, offset=offset, link=link
        )
        return total(theta, weights), *jax.grad(total, (0, 1))(theta, weights), jax.hessian(total)(theta, weights)

    harmless = everything(design, y, offset)
    spoilt = (design.at[4].set(jnp.array([jnp.nan, jnp.inf])), jax.tree.map(lambda a: a.at[4].set(jnp.nan), y))
    harmful = everything(*spoilt, offset.at[4].set(jnp.nan))
    assert_allclose(harmful[0], np.delete(rows(z + np.asarray(offset)), 4).sum(), rtol=RTOL)
    harmless, harmful = ((*out[:2], jnp.delete(out[2], 4), out[3]) for out in (harmless, harmful))
    for a, b in zip(jax.tree.leaves(harmful), jax.tree.leaves(harmless), strict=True):
        assert_allclose(a, b, rtol=RTOL, atol=RTOL)


def test_weight_is_the_number_of_copies():
    family, theta, design, y, *_ = setting("poisson")
    copies = np.repeat(np.arange(N), WEIGHTS.astype(int))
    total = jax.jit(lambda X, y, w: likelihood.log_likelihood(family, linear, theta, X, y, weights=w))
    assert_allclose(total(design, y, WEIGHTS), total(design[copies], y[copies], None), rtol=RTOL)


@pytest.mark.parametrize("name", ["normal", "bernoulli", "poisson", "binomial"])
def test_gradient_and_hessian_at_zero(name):
    """At theta = 0, where fits start: X'(T(y) - mean) and -X'WX."""
    family, _, design, y, *_ = setting(name)
    total = lambda weight: likelihood.log_likelihood(family, linear, Linear(weight), design, y)
    gradient, hessian = jax.jit(lambda w: (jax.grad(total)(w), jax.hessian(total)(w)))(jnp.zeros(D))
    m = TRIALS if name == "binomial" else np.ones(N)
    mean, variance = {"normal": (0, 1), "poisson": (1, 1)}.get(name, (0.5, 0.25))
    response = SUCCESSES if name == "binomial" else np.asarray(y)
    phi = 2 if name == "normal" else 1
    assert_allclose(gradient, X.T @ (response - m * mean) / phi, rtol=10 * RTOL, atol=10 * RTOL)
    assert_allclose(hessian, -(X.T * m * variance) @ X / phi, rtol=10 * RTOL, atol=10 * RTOL)


def test_vmap_over_parameters_and_weights():
    family, theta, design, y, *_ = setting("bernoulli")
    total = jax.jit(lambda theta, w: likelihood.log_likelihood(family, linear, theta, design, y, weights=w))
    thetas = jax.tree.map(lambda a: jnp.stack([a, 2 * a, -a]), theta)
    weights = jnp.asarray(RNG.uniform(0.1, 2, (3, N)))
    loop = [total(jax.tree.map(lambda a, i=i: a[i], thetas), weights[i]) for i in range(3)]
    assert_allclose(jax.vmap(total)(thetas, weights), loop, rtol=RTOL)


def test_derivative_in_the_link_coordinate_has_mean_zero():
    """E[d log p / dz] = 0 for every link: the mean of the score, weighted by the law itself."""
    theta, z = Linear(jnp.zeros(1), jnp.asarray(0.4)), 0.4
    for link, mean in (("logit", expit(z)), ("probit", st.norm.cdf(z)), ("cloglog", -np.expm1(-np.exp(z)))):
        total = lambda t, y, link=link: likelihood.log_likelihood(
            families.Bernoulli(), linear, t, jnp.zeros((1, 1)), y, link=link
        )
        score = jax.jit(jax.grad(total))
        success, failure = (score(theta, jnp.array([y])).bias for y in (1, 0))
        assert_allclose(mean * success + (1 - mean) * failure, 0, atol=RTOL)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"weights": jnp.ones(N - 1)}, "weights"),
        ({"weights": jnp.ones((N, 1))}, "weights"),
        ({"offset": jnp.ones(N + 1)}, "offset"),
        ({"offset": jnp.asarray(1.0)}, "offset"),
        ({"y": jnp.zeros((N, 1))}, "y"),
        ({"y": jnp.zeros(N - 1)}, "predictor"),
        ({"params": Linear(jnp.zeros((D, 3)), jnp.zeros(3))}, "predictor"),
        ({"link": "tan"}, "link"),
    ],
)
def test_shapes_are_never_broadcast(change, name):
    call = {"params": Linear(jnp.zeros(D), jnp.zeros(())), "X": jnp.asarray(X), "y": jnp.zeros(N)} | change
    with pytest.raises(ValueError, match=name):
        likelihood.log_likelihood(families.Bernoulli(), linear, **call)


def test_a_link_needs_one_mean():
    theta = Linear(jnp.zeros((D, 3)), jnp.zeros(3))
    with pytest.raises(ValueError, match="Categorical"):
        likelihood.log_likelihood(families.Categorical(3), linear, theta, jnp.asarray(X), LABELS, link="logit")
