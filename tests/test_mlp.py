"""Multilayer perceptrons: the notes' backpropagation typed in numpy, reductions, initial scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special as sp
from scipy import stats

from jaxml import families, likelihood, predictors
from jaxml.predictors import MLP, Linear, linear

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
RTOL = 1e-10 if X64 else 2e-4
RNG = np.random.default_rng(0)

# f, its derivative: typed here, for nothing is typed in the package
ACTIVATIONS = {
    "sigmoid": (predictors.sigmoid, sp.expit, lambda z: sp.expit(z) * sp.expit(-z)),
    "tanh": (predictors.tanh, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (predictors.relu, lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (predictors.leaky_relu, lambda z: np.maximum(z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
    "softplus": (predictors.softplus, lambda z: np.logaddexp(z, 0), sp.expit),
    "gelu": (predictors.gelu, lambda z: z * stats.norm.cdf(z), lambda z: stats.norm.cdf(z) + z * stats.norm.pdf(z)),
}
EVERY = pytest.mark.parametrize("name", ACTIVATIONS)


def forward(f, layers, X):
    """z^[k] and a^[k] of every layer, one row of each an example."""
    a, z = [X], []
    for i, layer in enumerate(layers):
        z.append(a[-1] @ np.asarray(layer.weight, float) + np.asarray(layer.bias, float))
        a.append(f(z[-1]) if i < len(layers) - 1 else z[-1])
    return z, a


def network(name, hidden, outputs, n=7, d=5):
    net = MLP((6, 4, 3, 5)[:hidden], ACTIVATIONS[name][0])
    params = net.init(jax.random.key(hidden), d, outputs, dtype=DTYPE)
    biases = RNG.normal(size=len(params)).astype(DTYPE)
    params = tuple(layer._replace(bias=layer.bias + b) for layer, b in zip(params, biases, strict=True))
    return net, params, RNG.normal(size=(n, d)).astype(DTYPE)


@EVERY
def test_notes_9_1_layers_of_linear_maps_and_activations(name):
    net, params, X = network(name, 3, 2)
    assert_allclose(net(params, X), forward(ACTIVATIONS[name][1], params, X)[1][-1], rtol=RTOL, atol=RTOL)


@EVERY
def test_notes_9_2_activations_and_their_derivatives(name):
    f, value, slope = ACTIVATIONS[name]
    z = np.array([-30.0, -2.0, -0.5, 0.0, 0.5, 2.0, 30.0], DTYPE)
    assert_allclose(f(z), value(z.astype(float)), rtol=RTOL, atol=1e-7 if not X64 else 1e-15)
    assert_allclose(jax.vmap(jax.grad(f))(z), slope(z.astype(float)), rtol=RTOL, atol=1e-7 if not X64 else 1e-15)
    assert f(z).dtype == DTYPE


@EVERY
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_notes_9_4_backpropagation(name, depth):
    """delta^[r] = dJ/dz^[r], delta^[k-1] = (W^[k]'delta^[k]) * f'(z^[k-1]), dJ/dW^[k] = delta^[k] a^[k-1]', dJ/db^[k] = delta^[k]."""
    _, f, slope = ACTIVATIONS[name]
    net, params, X = network(name, depth - 1, 3)
    y = np.arange(len(X)) % 3
    cost = lambda params: -likelihood.log_likelihood(families.Categorical(3), net, params, X, y)
    gradient = jax.jit(jax.grad(cost))(params)
    z, a = forward(f, params, X.astype(float))
    delta = sp.softmax(z[-1], axis=1) - np.eye(3)[y]
    for k in reversed(range(depth)):
        assert_allclose(
            gradient[k].weight, a[k].T @ delta, rtol=RTOL, atol=10 * RTOL, err_msg=f"dJ/dW of layer {k + 1}"
        )
        assert_allclose(
            gradient[k].bias, delta.sum(axis=0), rtol=RTOL, atol=10 * RTOL, err_msg=f"dJ/db of layer {k + 1}"
        )
        if k:
            delta = (delta @ np.asarray(params[k].weight, float).T) * slope(z[k - 1])


@pytest.mark.parametrize(
    ("family", "y", "residual"),
    [
        (families.Normal(), np.linspace(-1, 1, 7), lambda z, y: z - y),
        (families.Bernoulli(), np.arange(7) % 2, lambda z, y: sp.expit(z) - y),
        (families.Poisson(), np.arange(7), lambda z, y: np.exp(z) - y),
    ],
    ids=["normal", "bernoulli", "poisson"],
)
def test_notes_9_4_the_last_delta_is_mean_minus_y_for_every_canonical_family(family, y, residual):
    net, params, X = network("tanh", 1, None)
    gradient = jax.grad(lambda p: -likelihood.log_likelihood(family, net, p, X, y))(params)
    z, a = forward(np.tanh, params, X.astype(float))
    assert_allclose(gradient[-1].weight, a[-2].T @ residual(z[-1], y), rtol=RTOL, atol=10 * RTOL)


@pytest.mark.parametrize("outputs", [None, 3])
def test_no_hidden_layer_is_the_linear_predictor(outputs):
    net = MLP(())
    (layer,) = params = net.init(jax.random.key(0), 5, outputs, dtype=DTYPE)
    X = RNG.normal(size=(4, 5)).astype(DTYPE)
    assert isinstance(layer, Linear)
    np.testing.assert_array_equal(net(params, X), linear(layer, X))
    assert net(params, X).shape == ((4,) if outputs is None else (4, 3))


def test_shapes_follow_the_family():
    net = MLP((8,))
    for family, shape in (
        (families.Poisson(), (4,)),
        (families.Categorical(3), (4, 3)),
        (families.NormalMeanVariance(), (4, 2)),
    ):
        params = net.init(jax.random.key(0), 5, family)
        assert net(params, jnp.ones((4, 5))).shape == shape


@pytest.mark.parametrize(
    ("name", "initializer", "low", "high"),
    [
        ("relu", None, 0.4, 2.5),  # He: E[a^2] stays, up to a chance of 5 / width in its log for each layer
        ("tanh", None, 0.2, 0.7),  # Glorot: the variance of z stays, tanh takes some of it
        ("gelu", jax.nn.initializers.lecun_normal(), 0.0, 0.2),
    ],
)
def test_the_scale_of_activations_through_ten_layers(name, initializer, low, high):
    net = MLP((200,) * 10, ACTIVATIONS[name][0])
    params = net.init(jax.random.key(1), 200, None, initializer=initializer, dtype=DTYPE)
    X = np.random.default_rng(0).normal(size=(50, 200))
    _, a = forward(ACTIVATIONS[name][1], params, X)
    ratio = np.mean(a[-2] ** 2) / np.mean(X**2)
    assert low < ratio < high or (name == "tanh" and 0.05 < ratio < high)


@pytest.mark.slow
def test_dropout_keeps_the_expectation_and_needs_a_key():
    net = MLP((400,), predictors.relu, dropout=0.4)
    params = net.init(jax.random.key(0), 3, None, dtype=DTYPE)
    X = np.ones((1, 3), DTYPE)
    whole = net(params, X)
    np.testing.assert_array_equal(whole, MLP((400,))(params, X))
    draws = jax.vmap(lambda key: net(params, X, key))(jax.random.split(jax.random.key(1), 4000))
    assert np.std(draws) > 0.01 and abs(np.mean(draws) - float(whole[0])) < 5 * np.std(draws) / np.sqrt(4000)


def test_vmap_over_examples_is_the_batch():
    net, params, X = network("gelu", 2, 3)
    assert_allclose(jax.vmap(lambda x: net(params, x[None])[0])(X), net(params, X), rtol=RTOL, atol=RTOL)
