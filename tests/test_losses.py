"""Losses against their formulas, at kinks and in the tails, and the cost of a predictor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxml import losses
from jaxml.predictors import Linear, linear

SIGNS = (losses.logistic, losses.hinge)
EPS = 2e-16 if jax.config.jax_enable_x64 else 1.2e-7
Z = np.array([-3.0, -0.5, 0.25, 1.0, 2.0])

FORMULAS = [  # loss, predictions, outcomes, value, derivative in z
    (losses.squared_error, Z, Z[::-1], lambda z, y: (y - z) ** 2 / 2, lambda z, y: z - y),
    (
        losses.logistic,
        Z,
        np.array([1, -1, 1, -1, 1]),
        lambda z, y: np.log(1 + np.exp(-y * z)),
        lambda z, y: -y / (1 + np.exp(y * z)),
    ),
    (
        losses.hinge,
        Z,
        np.array([1, -1, 1, -1, 1]),
        lambda z, y: np.maximum(0, 1 - y * z),
        lambda z, y: np.where(y * z < 1, -y, 0),
    ),
    (
        losses.cross_entropy,
        np.array([0.01, 0.3, 0.5, 0.75, 0.99]),
        np.array([0, 1, 0.5, 0.25, 1]),
        lambda z, y: -(y * np.log(z) + (1 - y) * np.log(1 - z)),
        lambda z, y: (z - y) / (z * (1 - z)),
    ),
]


@pytest.mark.parametrize(("loss", "z", "y", "value", "slope"), FORMULAS)
def test_formula_and_derivative(loss, z, y, value, slope):
    assert_allclose(loss(jnp.asarray(z), y), value(z, y), rtol=64 * EPS)
    assert_allclose(jax.vmap(jax.grad(loss))(jnp.asarray(z), jnp.asarray(y, float)), slope(z, y), rtol=64 * EPS)


@pytest.mark.parametrize(("loss", "z", "y", "value", "slope"), FORMULAS)
def test_jit_broadcast_and_dtype(loss, z, y, value, slope):
    table = jax.jit(loss)(jnp.asarray(z, jnp.float32)[:, None], jnp.asarray(y, jnp.float32))
    assert table.shape == (5, 5)
    assert table.dtype == jnp.float32
    assert_allclose(table, value(z[:, None], y), rtol=1e-5, atol=1e-7)


def test_kinks():
    assert jax.grad(losses.hinge)(1.0, 1) == 0
    assert jax.grad(losses.hinge)(-1.0, -1) == 0
    assert jax.grad(losses.logistic)(0.0, 1) == -0.5
    assert jax.grad(losses.squared_error)(2.0, 2.0) == 0


@pytest.mark.parametrize("y", [-1, 1])
def test_signs_in_the_tails(y):
    for loss in SIGNS:
        assert loss(1e4 * y, y) == 0
        assert_allclose(loss(-1e4 * y, y), 1e4 + (loss is losses.hinge), rtol=EPS)
        assert jax.grad(loss)(1e4 * y, y) == 0
        assert jax.grad(loss)(-1e4 * y, y) == -y
    assert_allclose(losses.logistic(40.0 * y, y), np.exp(-40.0), rtol=64 * EPS)
    assert_allclose(jax.grad(jax.grad(losses.logistic))(40.0 * y, y), np.exp(-40.0), rtol=64 * EPS)


def test_cross_entropy_at_certain_predictions():
    z, y = jnp.array([0.0, 1.0, 0.0, 1.0]), jnp.array([0, 1, 1, 0])
    assert_array_equal(losses.cross_entropy(z, y), [0, 0, np.inf, np.inf])
    assert_allclose(jax.vmap(jax.grad(losses.cross_entropy))(z[:2], y[:2]), [1, -1])


def test_cost_is_a_sum_over_examples():
    X, y = jnp.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]]), jnp.array([1.0, 0.0, 2.0])
    theta = Linear(jnp.array([0.5, -1.0]), jnp.array(0.25))
    z = np.array([-1.25, 1.25, 1.25])
    J = lambda theta: losses.cost(losses.squared_error, linear, theta, X, y)
    assert_allclose(J(theta), np.sum((z - np.asarray(y)) ** 2) / 2, rtol=8 * EPS)
    gradient = jax.jit(jax.grad(J))(theta)
    assert_allclose(gradient.weight, np.asarray(X).T @ (z - np.asarray(y)), rtol=8 * EPS)
    assert_allclose(gradient.bias, np.sum(z - np.asarray(y)), rtol=8 * EPS)


@pytest.mark.parametrize("shape", [(3, 1), (1,), (), (4,)])
def test_cost_never_broadcasts(shape):
    theta = Linear(jnp.zeros(2), None)
    with pytest.raises(ValueError, match=r"shape .*must be equal"):
        losses.cost(losses.squared_error, linear, theta, jnp.zeros((3, 2)), jnp.zeros(shape))
