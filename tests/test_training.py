"""Training of any predictor with any family: against full-batch fits, early stopping, chunks, randomness."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from jaxml import Status, families, glm, kernels, optimize, predictors, training
from jaxml.predictors import MLP, KernelExpansion, Linear, linear
from marks import mostly_slow

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
RNG = np.random.default_rng(0)
N = 90
X = RNG.normal(size=(N, 3)).astype(DTYPE)
COUNTS = RNG.poisson(np.exp(0.3 + X @ [0.5, -0.3, 0.2]))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
KEY = jax.random.key(0)
NET = MLP((8,), predictors.tanh)
ADAM = optimize.Optax(transform=optax.adam(0.01), epochs=6, batch_size=16)


def start(family=families.Bernoulli(), net=NET):
    return net.init(jax.random.key(1), 3, family, dtype=DTYPE)


def train(family=families.Bernoulli(), y=LABELS, net=NET, data=X, **options):
    options = {"key": KEY, "solver": ADAM} | options
    return training.train(family, net, options.pop("params", None) or start(family, net), data, y, **options)


def same(a, b, rtol=0.0):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert_allclose(left, right, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.slow
def test_a_linear_predictor_reaches_the_generalised_linear_model(l2):
    """With a decaying rate: the objective, its penalty and its weights are those of glm.fit."""
    w = (np.arange(N) % 3).astype(DTYPE)
    exact = glm.fit(families.Poisson(), X, COUNTS, weights=w, l2=l2)
    solver = optimize.Optax(transform=optax.adam(optax.exponential_decay(0.05, 400, 0.003)), epochs=400, batch_size=N)
    fit = train(
        families.Poisson(),
        COUNTS,
        linear,
        params=Linear(jnp.zeros(3, DTYPE), jnp.zeros((), DTYPE)),
        weights=w,
        l2=l2,
        solver=solver,
    )
    assert_allclose(fit.params.weight, exact.params.weight, atol=1e-3)
    assert_allclose(fit.params.bias, exact.params.bias, atol=1e-3)
    assert_allclose(training.predict(fit, X), glm.predict(exact, X), rtol=3e-3)
    assert fit.status == Status.STEP_LIMIT


FAMILIES = [
    (families.Normal(), X[:, 0]), (families.Bernoulli(), LABELS), (families.Poisson(), COUNTS), (families.Categorical(3), COUNTS % 3),
    (families.Gamma(), np.exp(X[:, 1])), (families.InverseGaussian(), np.exp(X[:, 1])), (families.NegativeBinomial(2.0), COUNTS),
    (families.Exponential(), np.exp(X[:, 1])), (families.NormalMeanVariance(), X[:, 0]), (families.Beta(), 1 / (1 + np.exp(X[:, 0]))),
    (families.MultivariateNormal(2), X[:, :2]), (families.GammaShapeRate(), np.exp(X[:, 1])),
    (families.Multinomial(2), np.stack([COUNTS, COUNTS + 1], 1)), (families.Binomial(), (COUNTS, COUNTS + 2)),
    (families.independent(families.Poisson(), 2), np.stack([COUNTS, COUNTS], 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "y"),
    mostly_slow(FAMILIES, ["Poisson", "MultivariateNormal"], [type(family).__name__ for family, _ in FAMILIES]),
)
def test_every_family_at_the_output(family, y):
    y = jax.tree.map(lambda a: a if a.dtype.kind == "i" else a.astype(DTYPE), y)
    fit = train(family, y)
    assert np.all(np.isfinite(fit.history.train)) and fit.history.train[-1] < fit.history.train[0]
    trials = {"trials": np.full(N, 3)} if family.has_trials else {}
    assert np.all(np.isfinite(training.predict(fit, X, **trials)))
    assert np.isfinite(training.score(fit, X, y))
    assert {leaf.dtype for leaf in jax.tree.leaves(fit.params)} == {np.dtype(DTYPE)}


def test_a_kernel_expansion_is_a_predictor_as_well():
    net = KernelExpansion(kernels.Gaussian(1.0), jnp.asarray(X[:20]))
    params = Linear(jnp.zeros(20, DTYPE), jnp.zeros((), DTYPE))
    fit = train(net=net, params=params)
    assert fit.history.train[-1] < fit.history.train[0]


def test_the_same_key_gives_the_same_and_another_another():
    same(train().params, train().params)
    other = train(key=jax.random.key(5)).params
    assert not np.allclose(other[0].weight, train().params[0].weight)


def test_a_second_training_compiles_nothing():
    train()
    size = training._run._cache_size()
    train(data=X[::-1], key=jax.random.key(3), l2=0.0)
    assert training._run._cache_size() == size


@pytest.mark.slow
def test_integer_weights_are_repeated_rows_in_full_batches():
    w = np.arange(N) % 3
    again = np.repeat(np.arange(N), w)
    solver = optimize.SGD(learning_rate=0.1, epochs=5, batch_size=1000)
    weighted = train(data=np.where(w[:, None] == 0, np.nan, X).astype(DTYPE), weights=w, solver=solver, l2=0.01)
    copies = train(data=X[again], y=LABELS[again], solver=solver, l2=0.01)
    same(weighted.params, copies.params, 1e-10 if X64 else 1e-4)


@pytest.mark.slow
def test_early_stopping_returns_the_best_epoch():
    noise = RNG.integers(0, 2, N)
    solver = optimize.Optax(transform=optax.adam(0.05), epochs=60, batch_size=8)
    fit = train(
        y=noise, solver=solver, validation=(X[:30], 1 - noise[:30]), patience=4
    )  # what it learns is wrong there
    best = int(fit.best_epoch)
    assert fit.stopped_early and fit.epochs == best + 4 < 60
    assert best == 1 + np.nanargmin(fit.history.validation)
    assert np.all(np.isnan(fit.history.train[int(fit.epochs) :])) and np.all(
        np.isfinite(fit.history.train[: int(fit.epochs)])
    )
    shorter = train(y=noise, solver=optimize.Optax(transform=solver.transform, epochs=best, batch_size=8))
    same(fit.params, shorter.params, 1e-9 if X64 else 1e-4)


@pytest.mark.slow
def test_a_share_of_the_rows_is_set_apart():
    fit = train(validation=0.2)
    assert fit.history.validation.shape == (6,) and np.all(np.isfinite(fit.history.validation))
    assert not fit.stopped_early
    with pytest.raises(ValueError, match="between 0 and 1"):
        train(validation=1.5)
    with pytest.raises(ValueError, match="validation"):
        train(patience=3)


@pytest.mark.slow
def test_chunks():
    whole = lambda epoch: [(X, LABELS)]
    chunked = training.train_in_chunks(families.Bernoulli(), NET, start(), whole, key=KEY, solver=ADAM, l2=0.01)
    straight = train(l2=0.01)
    same(chunked.params, straight.params, 1e-10 if X64 else 1e-4)
    same(chunked.history.train, straight.history.train, 1e-10 if X64 else 1e-4)
    # Chunks of 40, 40 and 10: the last one is filled up, and nothing compiles again for it.
    before = training._visit_chunk._cache_size()
    pieces = lambda epoch: ((X[i : i + 40], LABELS[i : i + 40]) for i in range(0, N, 40))
    held = (X[:30], LABELS[:30])
    fit = training.train_in_chunks(
        families.Bernoulli(), NET, start(), pieces, key=KEY, solver=ADAM, validation=held, patience=50
    )
    assert training._visit_chunk._cache_size() == before + 1
    assert (
        fit.epochs == 6 and fit.history.train[-1] < fit.history.train[0] and np.all(np.isfinite(fit.history.validation))
    )
    bad = lambda epoch: [(X[:10], LABELS[:10]), (X, LABELS)]
    with pytest.raises(ValueError, match="more than the first"):
        training.train_in_chunks(families.Bernoulli(), NET, start(), bad, key=KEY, solver=ADAM)
    with pytest.raises(ValueError, match="no chunk"):
        training.train_in_chunks(families.Bernoulli(), NET, start(), lambda epoch: [], key=KEY, solver=ADAM)


def test_an_offset_is_part_of_the_prediction_and_asked_for():
    offset = np.linspace(-1, 1, N).astype(DTYPE)
    fit = train(families.Poisson(), COUNTS, offset=offset)
    eta = training.predict_natural(fit, X, offset=offset)
    assert_allclose(eta, NET(fit.params, jnp.asarray(X)) + offset, rtol=1e-5)
    each = families.log_prob(families.Poisson(), eta, COUNTS)
    assert_allclose(training.score(fit, X, COUNTS, offset=offset), np.mean(each), rtol=1e-5)
    for call in (training.predict, lambda fit, X: training.score(fit, X, COUNTS)):
        with pytest.raises(ValueError, match="fitted with an offset"):
            call(fit, X)
    with pytest.raises(ValueError, match="without an offset"):
        training.predict(train(families.Poisson(), COUNTS), X, offset=offset)


def test_dropout_changes_training_but_not_prediction():
    net = MLP((8,), predictors.tanh, dropout=0.5)
    dropped = train(net=net)
    assert not np.allclose(dropped.params[0].weight, train().params[0].weight)
    np.testing.assert_array_equal(training.predict(dropped, X), training.predict(dropped, X))
    same(train(net=MLP((8,), predictors.tanh, dropout=0.0)).params, train().params)


def test_a_rate_that_is_too_large_ends_non_finite_with_finite_params():
    solver = optimize.SGD(learning_rate=1e8, epochs=5, batch_size=16)
    fit = train(
        families.Poisson(), COUNTS, linear, params=Linear(jnp.zeros(3, DTYPE), jnp.zeros((), DTYPE)), solver=solver
    )
    assert fit.status == Status.NON_FINITE
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(fit.params))


@pytest.mark.slow
def test_a_batch_of_keys_and_rates_is_a_loop():
    def one(rate):
        solver = optimize.SGD(learning_rate=rate, epochs=2, batch_size=30)
        return training.train(
            families.Bernoulli(), NET, start(), jnp.asarray(X), jnp.asarray(LABELS), key=KEY, solver=solver
        ).params

    rates = jnp.asarray([0.01, 0.1], DTYPE)
    batch = jax.jit(jax.vmap(one))(rates)
    for i in range(2):
        same(jax.tree.map(lambda a, i=i: a[i], batch), one(rates[i]), 1e-10 if X64 else 1e-4)


def test_training_refuses_to_be_differentiated():
    """Where a fit stops short of the minimum, the derivative of the minimiser is not that of the answer."""
    with pytest.raises(TypeError, match="a training that stops by its epochs is not differentiable"):
        jax.grad(lambda l2: train(l2=l2).params[0].weight[0, 0])(0.1)


def test_bad_input():
    with pytest.raises(TypeError, match="epochs"):
        train(solver=optimize.Newton())
    with pytest.raises(ValueError, match="missing"):
        train(data=np.full_like(X, np.nan))
    with pytest.raises(ValueError, match="support of Bernoulli"):
        train(y=LABELS + 1)
    with pytest.raises(ValueError, match="chunk is"):
        training.train_in_chunks(families.Bernoulli(), NET, start(), lambda epoch: [X], key=KEY, solver=ADAM)


@pytest.mark.slow
def test_digits_as_well_as_another_package():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = (X[order] / 16).astype(DTYPE), y[order]
    rest, held = slice(0, 1400), slice(1400, None)
    other = MLPClassifier(
        (64, 32),
        random_state=0,
        max_iter=60,
        learning_rate_init=2e-3,
        batch_size=64,
        alpha=0,
        tol=0,
        n_iter_no_change=100,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other.fit(X[rest], y[rest])
    family, net = families.Categorical(10), MLP((64, 32))
    solver = optimize.Optax(transform=optax.adam(2e-3), epochs=60, batch_size=64)
    fit = training.train(family, net, net.init(KEY, 64, family, dtype=DTYPE), X[rest], y[rest], key=KEY, solver=solver)
    ours = np.mean(np.argmax(training.predict(fit, X[held]), axis=1) == y[held])
    assert ours >= other.score(X[held], y[held]) - 0.01, (ours, other.score(X[held], y[held]))
    assert ours > 0.96
