"""Section 9: neural networks. Layers, activations, training and backpropagation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from course.data import alligators, standardised
from course.table import row
from jaxml import families, likelihood, optimize, predictors, training
from jaxml.predictors import MLP, Linear

Z = np.array([-2.0, -0.3, 0.5, 3.0])
NET = MLP((4, 3), predictors.tanh)


@row("9.1", "layers", "a^[k] = f(W^[k] a^[k-1] + b^[k]), h(x) = W^[r] a^[r-1] + b^[r]")
def layers():
    X, _ = _alligators()
    _, activities = _forward(_weights(), X)
    return activities[-1], NET(_params(_weights()), jnp.asarray(X))


@row("9.2", "activations", "1 / (1 + e^-z), tanh z, max(0, z), max(z / 100, z)")
def activations():
    closed = [1 / (1 + np.exp(-Z)), np.tanh(Z), np.maximum(0, Z), np.maximum(Z / 100, Z)]
    functions = (predictors.sigmoid, predictors.tanh, predictors.relu, predictors.leaky_relu)
    return closed, [f(jnp.asarray(Z)) for f in functions]


@row("9.2", "their slopes", "g (1 - g), 1 - tanh^2, [z > 0], [z > 0] + [z < 0] / 100")
def slopes():
    g, t = 1 / (1 + np.exp(-Z)), np.tanh(Z)
    closed = [g * (1 - g), 1 - t**2, Z > 0, np.where(Z > 0, 1, 0.01)]
    functions = (predictors.sigmoid, predictors.tanh, predictors.relu, predictors.leaky_relu)
    return closed, [jax.vmap(jax.grad(f))(jnp.asarray(Z)) for f in functions]


@row("9.3", "training", "batch, forward, backpropagate, W <- W - alpha dJ/dW", ulps=1e4)
def three_updates():
    """Three epochs of one batch each, with the mean loss; both sides end in the same weights."""
    X, y = _alligators()
    weights = _weights()
    for _ in range(3):
        steps = _backpropagate(weights, X, y)
        weights = [
            (W - 0.5 * dW / len(y), b - 0.5 * db / len(y)) for (W, b), (dW, db) in zip(weights, steps, strict=True)
        ]
    solver = optimize.SGD(learning_rate=0.5, epochs=3, batch_size=len(y))
    start = _params(_weights())
    fit = training.train(families.Categorical(3), NET, start, jnp.asarray(X), y, solver=solver, key=jax.random.key(0))
    return weights, [(layer.weight.T, layer.bias) for layer in fit.params]


@row("9.4", "backpropagation", "delta^[k-1] = (W^[k]'delta^[k]) f'(z^[k-1]), dJ/dW^[k] = delta^[k] a^[k-1]'", ulps=1e3)
def backpropagation():
    X, y = _alligators()
    J = lambda params: -likelihood.log_likelihood(families.Categorical(3), NET, params, jnp.asarray(X), jnp.asarray(y))
    gradient = jax.jit(jax.grad(J))(_params(_weights()))
    return _backpropagate(_weights(), X, y), [(layer.weight.T, layer.bias) for layer in gradient]


def _forward(weights, X):
    """z^[1] .. z^[r] and a^[0] .. a^[r], an example in each row; the last layer is linear."""
    z, a = [], [X]
    for k, (W, b) in enumerate(weights):
        z.append(a[-1] @ W.T + b)
        a.append(np.tanh(z[-1]) if k < len(weights) - 1 else z[-1])
    return z, a


def _backpropagate(weights, X, y):
    """(dJ/dW^[k], dJ/db^[k]) of every layer for J = -sum_i log p(y_i | x_i), p the softmax of h(x)."""
    z, a = _forward(weights, X)
    scores = np.exp(z[-1])
    delta = scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[y]
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for k in reversed(range(len(weights))):
        steps.insert(0, (delta.T @ a[k], delta.sum(axis=0)))
        if k:
            delta = delta @ weights[k][0] * (1 - np.tanh(z[k - 1]) ** 2)
    return steps


def _weights():
    """W^[k] (outputs, inputs) and b^[k], small and irregular."""
    rng = np.random.default_rng(0)
    sizes = (1, 4, 3, 3)
    return [(rng.normal(size=(m, n)), rng.normal(size=m) / 2) for n, m in itertools.pairwise(sizes)]


def _params(weights):
    return tuple(Linear(jnp.asarray(W.T), jnp.asarray(b)) for W, b in weights)


def _alligators():
    X, y = alligators()
    return standardised(X), y
