"""Kernel ridge regression of thousands of rows: conjugate gradients where they are quicker than the factor, else the factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxml import Status, kernels

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
EPS = np.finfo(DTYPE).eps
N = 3000  # from so many rows on they are tried
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5)).astype(DTYPE)
Y = (np.sin(X[:, 0]) + 0.1 * RNG.normal(size=N)).astype(DTYPE)
KERNEL = kernels.Gaussian(2.0)


def equations(fit, X, y, w, shift):
    """The largest residual of the equations as a share of their largest term; rows of weight 0 have none."""
    on = w > 0
    K = np.asarray(kernels.gram(fit.kernel, X[on]), float)
    beta = np.asarray(fit.params.weight, float)[on]
    bias = 0 if fit.params.bias is None else float(fit.params.bias)
    left = K @ beta + shift / w[on] * beta + bias - y[on]
    return np.max(np.abs(left)) / np.max(np.abs(K) @ np.abs(beta))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("shift", [10.0, 1e-4])
def test_both_ways_solve_the_equations(shift, intercept):
    w = (1 + np.arange(N) % 3).astype(DTYPE)
    w[::7] = 0
    data = np.where(w[:, None] == 0, np.nan, X)
    fit = kernels.kernel_ridge(KERNEL, data, Y, l2=shift / w.sum(), weights=w, intercept=intercept)
    assert fit.status == Status.CONVERGED and fit.jitter == 0
    assert (fit.steps > 0) == (shift == 10.0)  # a small penalty takes more products than a factor costs
    assert np.all(fit.params.weight[w == 0] == 0)
    assert equations(fit, X, Y, w, shift) < 50 * EPS
    if intercept:
        assert abs(np.sum(fit.params.weight)) < 100 * EPS * np.sum(np.abs(fit.params.weight))


def test_derivatives_are_those_of_the_solution():
    """beta = (K + N l2 I)^-1 y: d beta / d l2 = -N (K + N l2 I)^-1 beta, and along y the solution of that."""
    l2 = 10.0 / N
    weight = lambda l2, t: (
        kernels.kernel_ridge(KERNEL, X, Y + t * X[:, 1], l2=l2, intercept=False, check=False).params.weight
    )
    beta, by_penalty = jax.jvp(lambda l2: weight(l2, 0.0), (l2,), (1.0,))
    solve = lambda right: kernels.kernel_ridge(KERNEL, X, right, l2=l2, intercept=False).params.weight
    close = {"rtol": 0, "atol": 1e4 * EPS}
    assert_allclose(by_penalty / N, -solve(beta), **close)
    assert_allclose(jax.jvp(lambda t: weight(l2, t), (0.0,), (1.0,))[1], solve(X[:, 1]), **close)
    backward = jax.grad(lambda l2: jnp.sum(weight(l2, 0.0) * X[:, 2]))(l2)
    assert_allclose(backward, by_penalty @ X[:, 2], rtol=1e5 * EPS)


def test_lanes_that_iterate_and_lanes_that_factor():
    shifts = np.array([1e-4, 10.0], DTYPE)
    batch = jax.vmap(lambda l2: kernels.kernel_ridge(KERNEL, X, Y, l2=l2, check=False))(jnp.asarray(shifts / N))
    assert batch.steps[0] == 0 and batch.steps[1] > 0 and np.all(batch.status == Status.CONVERGED)
    for i, shift in enumerate(shifts):
        alone = kernels.kernel_ridge(KERNEL, X, Y, l2=shift / N)
        size = np.max(np.abs(alone.params.weight))
        assert_allclose(batch.params.weight[i], alone.params.weight, rtol=0, atol=(1e-9 if X64 else 2e-2) * size)


@pytest.mark.parametrize(
    "bad", [lambda x, z: -jnp.sum(x * z), lambda x, z: x[0] * z[0] - x[1] * z[1]], ids=["no", "half"]
)
def test_what_is_no_kernel_is_refused(bad):
    with pytest.warns(UserWarning, match="non-finite"):
        fit = kernels.kernel_ridge(bad, X, Y, l2=1.0 / N)
    assert fit.status == Status.NON_FINITE


@pytest.mark.parametrize("unit", [1e-200, 1e200] if X64 else [1e-30, 1e30])
def test_unit_of_y_is_that_of_the_coefficients(unit):
    fit, other = (kernels.kernel_ridge(KERNEL, X, Y * DTYPE(s), l2=10.0 / N) for s in (1.0, unit))
    assert other.steps == fit.steps > 0
    size = np.max(np.abs(fit.params.weight))
    assert_allclose(other.params.weight / DTYPE(unit), fit.params.weight, rtol=0, atol=100 * EPS * size)


def test_responses_of_zeros_take_no_step():
    fit = kernels.kernel_ridge(KERNEL, X, np.zeros(N, DTYPE), l2=10.0 / N, intercept=False)
    assert fit.status == Status.CONVERGED and np.all(fit.params.weight == 0)


def test_a_kernel_of_low_rank_and_copies_of_rows():
    twice = np.r_[X[: N // 2], X[: N // 2]]
    for kernel in (kernels.Linear(), kernels.Gaussian(5.0)):
        fit = kernels.kernel_ridge(kernel, twice[:, :2], Y, l2=1.0 / N)
        assert fit.status == Status.CONVERGED and fit.steps > 0
        assert equations(fit, twice[:, :2], Y, np.ones(N), 1.0) < 50 * EPS


def test_one_factor_serves_the_solution_of_fewer_rows_and_its_derivatives():
    total = lambda l2: jnp.sum(kernels.kernel_ridge(KERNEL, X[:50], Y[:50], l2=l2, check=False).params.weight)
    program = jax.jit(jax.value_and_grad(total)).lower(0.1).compile().as_text()
    assert len([line for line in program.splitlines() if "potrf" in line and "custom-call" in line]) == 1
