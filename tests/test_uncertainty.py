"""Covariances, sandwiches and Laplace's approximation of any model: linear ones against those of a GLM, networks against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import integrate, stats

from jaxml import ConvergenceWarning, families, glm, predictors, uncertainty
from jaxml.optimize import minimize
from jaxml.predictors import Linear, linear
from jaxml.uncertainty import curvature
from marks import mostly_slow

X64 = jax.config.jax_enable_x64
DIGITS = 1e-8 if X64 else 2e-3
rng = np.random.default_rng(5)
N = 50
X = rng.normal(size=(N, 2))
ETA = 0.5 * X[:, 0] - 0.4 * X[:, 1] + 0.3
TRIALS = rng.integers(1, 5, N)
WEIGHTS = rng.integers(0, 4, N)
CLUSTERS, OTHERS = np.arange(N) % 11, np.arange(N) // 7
MODELS = {
    "normal": (families.Normal(), ETA + rng.normal(size=N), {}),
    "logistic": (families.Bernoulli(), (rng.random(N) < 1 / (1 + np.exp(-ETA))).astype(int), {}),
    "probit": (families.Bernoulli(), (rng.random(N) < 1 / (1 + np.exp(-ETA))).astype(int), {"link": "probit"}),
    "binomial": (families.Binomial(), (rng.binomial(TRIALS, 1 / (1 + np.exp(-ETA))), TRIALS), {"weights": WEIGHTS}),
    "poisson": (families.Poisson(), rng.poisson(np.exp(ETA)), {"offset": 0.1 * X[:, 0]}),
    "gamma": (families.Gamma(), rng.gamma(2.0, np.exp(ETA) / 2), {"link": "log"}),
    "softmax": (families.Categorical(3), rng.integers(0, 3, N), {}),
    "mean and variance": (families.NormalMeanVariance(), ETA + rng.normal(size=N), {"link": "unconstrained"}),
}
pytestmark = pytest.mark.filterwarnings("ignore:float64 data are computed in float32")
over_models = pytest.mark.parametrize("name", mostly_slow(MODELS, ["logistic", "gamma"]))
KINDS = {
    "model": {},
    "HC0": {},
    "HC1": {},
    "cluster": {"clusters": CLUSTERS},
    "two ways": {"clusters": (CLUSTERS, OTHERS)},
}


def flat(tree):
    return np.asarray(ravel_pytree(tree)[0])


# -- linear models -----------------------------------------------------------------------------------------------------
@over_models
def test_of_a_linear_predictor_they_are_those_of_a_glm(name):
    family, y, options = MODELS[name]
    fit = glm.fit(family, X, y, **options)
    rows = {key: options.get(key) for key in ("weights", "offset")}
    for kind, how in KINDS.items():
        if name != "logistic" and kind not in ("model", "HC1"):
            continue  # the kinds are of no family
        how = how | {"covariance": "cluster" if how else kind}
        expected = glm.infer(fit, X, y, information="expected", **rows, **how)
        found = uncertainty.infer(family, linear, fit.params, X, y, link=fit.link, **rows, **how)
        np.testing.assert_allclose(found.covariance, expected.covariance, rtol=DIGITS, atol=DIGITS * 1e-2)
        np.testing.assert_allclose(found.dispersion, expected.dispersion, rtol=DIGITS)
    assert float(found.effective) == pytest.approx(float(fit.rank) * family.free_size, rel=1e-6)
    assert int(found.undetermined) == 0
    errors, expected = uncertainty.standard_errors(found), glm.standard_errors(expected)
    np.testing.assert_allclose(flat(errors), flat(expected), rtol=DIGITS)


@over_models
def test_laplace_of_a_linear_predictor_is_that_of_a_glm(name):
    family, y, options = MODELS[name]
    fit = glm.fit(family, X, y, l2=0.2, **options)
    rows = {key: options.get(key) for key in ("weights", "offset")}
    expected = glm.infer(fit, X, y, **rows)
    phi = expected.dispersion if family.estimates_dispersion else None
    found = uncertainty.infer(family, linear, fit.params, X, y, link=fit.link, l2=0.2, phi=phi, **rows)
    # What all classes have in common changes nothing: a GLM leaves it out, here the prior has a say in it.
    k = 3 if family.redundant else 1
    still = np.kron(np.eye(len(found.covariance) // k), np.eye(k) - (1 / k if k > 1 else 0))
    np.testing.assert_allclose(still @ found.covariance @ still, expected.covariance, rtol=DIGITS, atol=DIGITS * 1e-2)
    np.testing.assert_allclose(found.log_evidence, glm.log_evidence(expected), rtol=1e-9 if X64 else 1e-4)
    assert float(found.effective) == pytest.approx(float(glm.effective_parameters(expected)), rel=1e-6 if X64 else 1e-3)


def test_the_evidence_of_least_squares_is_the_density_of_y():
    y, l2, variance = MODELS["normal"][1], 0.3, 0.7
    penalty = Linear(jnp.full(2, l2), jnp.asarray(2 * l2))
    family = families.Normal(variance=variance)
    fit = glm.fit(family, X, y, l2=penalty)
    found = uncertainty.infer(family, linear, fit.params, X, y, l2=penalty)
    design = np.column_stack([X, np.ones(N)])
    prior = variance / (N * np.array([l2, l2, 2 * l2]))
    law = stats.multivariate_normal(np.zeros(N), (design * prior) @ design.T + variance * np.eye(N))
    assert float(found.log_evidence) == pytest.approx(law.logpdf(y), rel=1e-9 if X64 else 1e-4)


def test_the_evidence_is_near_the_integral():
    x, y = X[:, :1], MODELS["logistic"][1]
    fit = glm.fit(families.Bernoulli(), x, y, l2=0.05, intercept=False)
    found = uncertainty.infer(families.Bernoulli(), linear, fit.params, x, y, l2=0.05)
    prior = stats.norm(0, np.sqrt(1 / (N * 0.05)))
    density = lambda w: np.exp(-np.sum(np.logaddexp(0, -(2 * y - 1) * x[:, 0] * w)) + 30) * prior.pdf(w)
    value = np.log(integrate.quad(density, -3, 3, epsabs=0)[0]) - 30
    assert float(found.log_evidence) == pytest.approx(value, abs=0.01)


def test_frequency_weights_are_rows_and_sampling_weights_are_not():
    family, y, _ = MODELS["poisson"]
    fit = glm.fit(family, X, y, weights=WEIGHTS)
    again = np.repeat(np.arange(N), WEIGHTS)
    for kind in ("model", "HC1"):
        weighted = uncertainty.infer(family, linear, fit.params, X, y, weights=WEIGHTS, covariance=kind)
        repeated = uncertainty.infer(family, linear, fit.params, X[again], y[again], covariance=kind)
        np.testing.assert_allclose(weighted.covariance, repeated.covariance, rtol=DIGITS, atol=DIGITS * 1e-2)
    sampled = glm.fit(family, X, y, weights=WEIGHTS, weight_kind="sampling")
    expected = glm.infer(sampled, X, y, weights=WEIGHTS)
    how = {"weights": WEIGHTS, "weight_kind": "sampling"}
    found = uncertainty.infer(family, linear, fit.params, X, y, **how)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=DIGITS, atol=DIGITS * 1e-2)
    assert np.isnan(found.log_evidence)


# -- networks ----------------------------------------------------------------------------------------------------------
NET = predictors.MLP((3,), predictors.tanh)
COUNTS = MODELS["poisson"][1]
L2 = 0.05


@pytest.fixture(scope="module")
def trained():
    """A small network at its minimum, with a penalty on each of its params."""
    family = families.Poisson()
    start = NET.init(jax.random.key(0), 2, family)
    everything = jax.tree.map(lambda a: jnp.full(a.shape, L2), start)
    objective = lambda params: -families_sum(params, COUNTS) / N + L2 / 2 * jnp.sum(jnp.square(ravel_pytree(params)[0]))
    params = minimize(objective, start).params
    return params, everything


def families_sum(params, y, keep=slice(None)):
    return jnp.sum(families.log_prob(families.Poisson(), NET(params, jnp.asarray(X)[keep]), jnp.asarray(y)[keep]))


def test_a_network_by_its_definition(trained):
    params, everything = trained
    theta, unravel = ravel_pytree(params)
    J = jax.jacobian(lambda t: NET(unravel(t), jnp.asarray(X)))(theta)
    mean = jnp.exp(NET(params, jnp.asarray(X)))
    gauss_newton = (J.T * mean) @ J + N * L2 * np.eye(len(theta))
    hessian = jax.hessian(lambda t: -families_sum(unravel(t), COUNTS))(theta) + N * L2 * np.eye(len(theta))
    scores = J * (mean - COUNTS)[:, None]
    find = lambda **how: uncertainty.infer(families.Poisson(), NET, params, X, COUNTS, l2=everything, **how)
    tight = {"rtol": 1e-7 if X64 else 1e-2, "atol": 1e-9 if X64 else 1e-4}
    found = find()
    np.testing.assert_allclose(found.covariance, np.linalg.inv(gauss_newton), **tight)
    np.testing.assert_allclose(find(curvature="observed").covariance, np.linalg.inv(hessian), **tight)
    bread = np.linalg.inv(gauss_newton)
    np.testing.assert_allclose(find(covariance="HC0").covariance, bread @ (scores.T @ scores) @ bread, **tight)
    sums = np.stack([np.asarray(scores)[g == CLUSTERS].sum(axis=0) for g in range(11)])
    factor = 11 / 10 * (N - 1) / (N - float(found.effective))
    np.testing.assert_allclose(find(clusters=CLUSTERS).covariance, factor * bread @ (sums.T @ sums) @ bread, **tight)
    assert float(found.effective) == pytest.approx(np.trace(bread @ ((J.T * mean) @ J)), rel=1e-6 if X64 else 1e-3)
    prior = stats.norm(0, np.sqrt(1 / (N * L2))).logpdf(np.asarray(theta)).sum()
    logdet = -np.linalg.slogdet(np.asarray(gauss_newton))[1]
    expected = float(families_sum(params, COUNTS)) + prior + len(theta) / 2 * np.log(2 * np.pi) + logdet / 2
    assert float(found.log_evidence) == pytest.approx(expected, rel=1e-8 if X64 else 1e-3)
    assert float(found.distance) < (1e-4 if X64 else 0.1)

    z, error = uncertainty.predict_with_errors(found, X[:5])
    np.testing.assert_allclose(z, NET(params, jnp.asarray(X[:5])), rtol=1e-6)
    np.testing.assert_allclose(
        error, np.sqrt(np.einsum("np,pq,nq->n", J[:5], bread, J[:5])), rtol=1e-6 if X64 else 1e-2
    )
    draws = jax.vmap(lambda p: ravel_pytree(p)[0])(uncertainty.sample(found, jax.random.key(1), 20_000))
    np.testing.assert_allclose(np.cov(draws.T), bread, atol=0.05 * np.max(bread))
    np.testing.assert_allclose(draws.mean(axis=0), theta, atol=0.05 * np.sqrt(np.max(bread)))


def test_rows_go_through_in_blocks(trained, monkeypatch):
    params, everything = trained
    expected = uncertainty.infer(families.Poisson(), NET, params, X, COUNTS, l2=everything, covariance="HC1")
    monkeypatch.setattr(curvature, "_BLOCK", 7 * flat(params).size)
    jax.clear_caches()
    found = uncertainty.infer(families.Poisson(), NET, params, X, COUNTS, l2=everything, covariance="HC1")
    np.testing.assert_allclose(
        found.covariance, expected.covariance, rtol=1e-9 if X64 else 1e-3, atol=1e-10 if X64 else 1e-6
    )
    errors = uncertainty.predict_with_errors(found, X).error
    monkeypatch.undo()
    np.testing.assert_allclose(errors, uncertainty.predict_with_errors(found, X).error, rtol=1e-6 if X64 else 1e-3)


@pytest.mark.slow
def test_classes_of_a_network_and_those_that_change_nothing():
    family, y = families.Categorical(3), MODELS["softmax"][1]
    net = predictors.MLP((2,), predictors.tanh)
    start = net.init(jax.random.key(3), 2, family)
    objective = lambda params: (
        -jnp.sum(families.log_prob(family, net(params, jnp.asarray(X)), jnp.asarray(y))) / N
        + 0.01 * sum(jnp.sum(jnp.square(layer.weight)) for layer in params)
    )
    params = minimize(objective, start).params
    found = uncertainty.infer(
        family, net, params, X, y, l2=0.02
    )  # the weights alone: the classes' biases move together for nothing
    assert int(found.undetermined) == 0 and np.isfinite(found.log_evidence) and np.isfinite(found.covariance).all()
    z, error = uncertainty.predict_with_errors(found, X)
    assert z.shape == error.shape == (N, 3) and np.isfinite(error).all()


def test_in_jit_and_over_a_batch(trained):
    params, everything = trained
    find = lambda y: uncertainty.infer(families.Poisson(), NET, params, X, y, l2=everything, check=False).covariance
    expected = find(COUNTS)
    many = jax.jit(jax.vmap(find))(jnp.stack([jnp.asarray(COUNTS), jnp.asarray(COUNTS)[::-1]]))
    np.testing.assert_allclose(many[0], expected, rtol=1e-8 if X64 else 1e-3, atol=1e-10 if X64 else 1e-5)


# -- what is wrong -----------------------------------------------------------------------------------------------------
def test_what_is_refused_or_told(trained):
    params, everything = trained
    find = lambda params=params, **how: uncertainty.infer(families.Poisson(), NET, params, X, COUNTS, **how)
    with pytest.warns(ConvergenceWarning, match="standard errors from the minimum"):
        find(jax.tree.map(lambda a: a + 1, params), l2=everything)
    with pytest.raises(ValueError, match="expected a number or a tree like params"):
        find(l2=[1.0])
    with pytest.raises(ValueError, match="l2 must be finite"):
        find(l2=-1.0)
    with pytest.raises(ValueError, match="covariance='HC2'"):
        find(covariance="HC2")
    with pytest.raises(ValueError, match="go together"):
        find(covariance="cluster")
    with pytest.raises(ValueError, match="curvature='exact'"):
        find(curvature="exact")
    with pytest.raises(ValueError, match="weight_kind='survey'"):
        find(weight_kind="survey")
    with pytest.raises(ValueError, match=r"has shape \(50,\), expected \(50, 3\)"):
        uncertainty.infer(families.Categorical(3), NET, params, X, MODELS["softmax"][1])
    with pytest.raises(ValueError, match="saddle"):
        find(jax.tree.map(jnp.zeros_like, params), curvature="observed")


def test_params_that_nothing_determines():
    dead = lambda params, X: params[0] * X[:, 0] + 0 * params[1]
    with pytest.warns(ConvergenceWarning, match="1 directions of the params"):
        found = uncertainty.infer(
            families.Normal(variance=1.0), dead, (jnp.array(0.0), jnp.array(1.0)), X, np.zeros(N), l2=0.0
        )
    assert int(found.undetermined) == 1 and np.isnan(found.log_evidence)
    assert float(found.covariance[0, 0]) == pytest.approx(1 / np.sum(X[:, 0] ** 2), rel=1e-6)
