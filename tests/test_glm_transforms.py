"""Fits as functions: compiled once, inside jit and vmap, and differentiated by the implicit function theorem."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiles import compiles
from jaxml import families, glm
from jaxml.glm.engine import plain_fit
from jaxml.status import Status
from marks import mostly_slow
from registry_glm import CASES, D, N, base_fit, data, default_dtype, fit, flat
from tolerances import assert_agree

differences = pytest.mark.skipif(
    not jax.config.jax_enable_x64, reason="differences and single roundings need 64-bit mode"
)

H = 1e-4


# -- compile once ----------------------------------------------------------------------------------------------------
def test_the_counter_of_compiles_counts():
    assert compiles(lambda: jax.jit(lambda x: x * 3.25 + 1)(np.arange(7.0))) >= 1


def test_a_second_plain_fit_of_the_same_shapes_compiles_nothing():
    case = CASES["poisson-log"]
    X, y, weights = data(case)
    base_fit(case)
    fit(case, X, y, weights, l2=0.5)
    assert compiles(lambda: fit(case, X[::-1].copy(), y, weights + 1)) == 0
    assert compiles(lambda: fit(case, X, y[::-1].copy(), weights, l2=0.25)) == 0
    assert compiles(lambda: fit(case, X, y, weights, l2=1)) == 0
    assert compiles(lambda: fit(case, X, y, weights, l2=np.float64(2.0))) == 0


def test_dtype_of_y_and_weights_costs_no_new_fit():
    case = CASES["poisson-log"]
    X, y, weights = data(case)
    base_fit(case)
    kinds = [y.astype(default_dtype()), y.astype(np.int32), y.astype(np.uint8), y.tolist(), jnp.asarray(y, float)]
    for kind in kinds:
        fit(case, X, kind, weights)  # small conversions may compile once for each dtype
        assert compiles(lambda kind=kind: fit(case, X, kind, weights)) == 0
    before = plain_fit.alone._cache_size()
    for kind in kinds:
        fit(case, X, kind, weights.astype(int))
    assert plain_fit.alone._cache_size() == before


@differences
def test_fields_of_a_family_of_any_number_type_share_one_program():
    case = CASES["normal-identity"]
    X, y, weights = data(case)
    one = lambda v: glm.fit(families.Normal(variance=v), X, y, weights=weights)
    one(2.0)
    for v in (3, np.float64(2.5), np.float32(1.5), jnp.asarray(4.0)):
        one(v)
        assert compiles(lambda v=v: one(v)) == 0
    before = plain_fit.alone._cache_size()
    one(7), one(np.int32(2)), one(jnp.float64(5.5))
    assert plain_fit.alone._cache_size() == before


def test_prediction_and_score_compile_nothing_the_second_time():
    case = CASES["poisson-log"]
    X, y, _ = data(case)
    fitted = base_fit(case)
    calls = [lambda: glm.predict(fitted, X), lambda: glm.score(fitted, X, y), lambda: glm.predict_natural(fitted, X)]
    for call in calls:
        call()
        assert compiles(call) == 0


# -- jit and vmap ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", mostly_slow(["bernoulli-logit", "gamma-inverse", "categorical"], ["categorical"]))
def test_fit_inside_jit_equals_the_plain_fit(name):
    case = CASES[name]
    inside = jax.jit(partial(fit, case))(*data(case))
    outside = base_fit(case)
    assert jax.tree.structure(inside) == jax.tree.structure(outside)
    for a, b in zip(
        jax.tree.leaves((inside.params, inside.log_likelihood)),
        jax.tree.leaves((outside.params, outside.log_likelihood)),
        strict=True,
    ):
        assert_agree(a, b, "same", 1)
    assert int(inside.status) == Status.CONVERGED
    assert (int(inside.rank), int(inside.steps)) == (int(outside.rank), int(outside.steps))


def test_vmap_over_y_weights_and_l2_equals_a_loop():
    case = CASES["bernoulli-logit"]
    X, y, weights = data(case)
    rng = np.random.default_rng(1)
    ys = np.stack([y, 1 - y, rng.permutation(y)])
    ws = np.stack([weights, np.ones(N), rng.integers(0, 3, N)]).astype(weights.dtype)
    l2 = np.array([0.0, 0.1, 2.0], weights.dtype)
    batch = jax.vmap(lambda y, w, l2: fit(case, X, y, w, l2=l2))(ys, ws, l2)
    assert np.all(np.asarray(batch.status) == Status.CONVERGED)
    for i in range(3):
        one = fit(case, X, ys[i], ws[i], l2=l2[i])
        assert_agree(batch.params.weight[i], one.params.weight, "same", 1)
        assert_agree(batch.params.bias[i], one.params.bias, "same", 1)
        assert_agree(batch.log_likelihood[i], one.log_likelihood, "same", 1)
        assert int(batch.steps[i]) == int(one.steps)


@pytest.mark.slow
def test_folds_and_penalties_side_by_side_equal_single_fits():
    """Large enough for a subsample and reused curvature: lanes of one fold share the data, and none is led by what another needs."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((12_000, 15)).astype(default_dtype())
    y = (rng.random(12_000) < 1 / (1 + np.exp(-X @ np.full(15, 0.4)))).astype(X.dtype)
    folds, l2 = (np.arange(12_000) % 3 != np.arange(3)[:, None]).astype(X.dtype), np.array([0.0, 1e-3, 1.0], X.dtype)
    one = lambda w, l2: glm.fit(families.Bernoulli(), X, y, weights=w, l2=l2)
    grid = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(folds, l2)
    assert np.all(np.asarray(grid.status) == Status.CONVERGED)
    for i, j in np.ndindex(3, 3):
        single = glm.fit(families.Bernoulli(), X[folds[i] > 0], y[folds[i] > 0], l2=l2[j])
        assert_agree(grid.params.weight[i, j], single.params.weight, "fit", 0.02)
        assert_agree(grid.log_likelihood[i, j], single.log_likelihood, "fit", 0.02)


# -- derivatives of the coefficients ---------------------------------------------------------------------------------
ALIKE = [pytest.param(name, marks=pytest.mark.slow) for name in ("normal-identity", "poisson-log", "gamma-log")]
SMOOTH = ["bernoulli-logit", "categorical", *ALIKE]


def arguments(name):
    """X, y, weights, offset, l2, of which y is not differentiated where it holds labels or counts."""
    case = CASES[name]
    X, y, weights = data(case)
    offset = 0.1 * np.cos(np.arange(N * (3 if case.vector else 1), dtype=float)).reshape(
        (N, 3) if case.vector else (N,)
    )
    return (X, weights, offset, np.float64(0.5), y)


@cache
def functional(name):
    """A fixed linear function of the coefficients as a function of the data, and its gradient, in one program."""
    case = CASES[name]
    c = np.cos(1.0 + np.arange((D + 1) * (3 if case.vector else 1)))
    real = name in ("normal-identity", "gamma-log")

    def value(X, weights, offset, l2, y):
        params = fit(case, X, y, weights, offset=offset, l2=l2).params
        return sum(
            jnp.vdot(jnp.asarray(part), leaf)
            for part, leaf in zip(parts(c, params), jax.tree.leaves(params), strict=True)
        )

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2, 3, 4) if real else (0, 1, 2, 3)))


def parts(c, params):
    size = params.weight.size
    return c[:size].reshape(params.weight.shape), c[size:].reshape(params.bias.shape)


@differences
@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_of_the_coefficients_agrees_with_central_differences(name):
    function, args = functional(name), arguments(name)
    gradients = function(*args)[1]
    rng = np.random.default_rng(2)
    for i, gradient in enumerate(gradients):
        # Along a random direction; rows of weight 0 stay at 0, where the weight has a one-sided derivative only.
        direction = rng.normal(size=np.shape(args[i]))
        direction = np.where(args[1] > 0, direction, 0) if i == 1 else direction
        direction = direction * np.abs(args[4]) / np.max(np.abs(args[4])) if i == 4 else direction
        ahead, behind = ((*args[:i], args[i] + s * H * direction, *args[i + 1 :]) for s in (1, -1))
        difference = (function(*ahead)[0] - function(*behind)[0]) / (2 * H)
        size = np.linalg.norm(np.ravel(gradient)) * np.linalg.norm(np.ravel(direction))
        assert_agree(np.vdot(gradient, direction), difference, "difference", 0.1 * size, f"argument {i}")


@differences
@pytest.mark.slow
def test_forward_and_reverse_mode_agree():
    name = "gamma-log"
    args = arguments(name)
    tangents = jax.tree.map(lambda a: np.cos(np.arange(np.size(a), dtype=float)).reshape(np.shape(a)), args)
    case = CASES[name]
    coefficients = lambda X, weights, offset, l2, y: fit(case, X, y, weights, offset=offset, l2=l2).params
    primal, tangent = jax.jit(lambda args, tangents: jax.jvp(coefficients, args, tangents))(args, tangents)
    value, gradients = functional(name)(*args)
    c = np.cos(1.0 + np.arange(D + 1))
    assert_agree(c @ flat(primal), value, "same", 1)
    assert_agree(
        c @ flat(tangent), sum(np.vdot(g, t) for g, t in zip(gradients, tangents, strict=True)), "derivative", 1
    )


def test_gradient_of_ridge_regression_equals_the_closed_form():
    name = "normal-identity"
    args = arguments(name)
    c = jnp.cos(1.0 + jnp.arange(D + 1))

    def closed(X, weights, offset, l2, y):
        a = jnp.append(X, jnp.ones((N, 1)), axis=1)
        matrix = (a.T * weights) @ a + jnp.sum(weights) * l2 * jnp.diag(jnp.array([1.0, 1.0, 0.0]))
        return c @ jnp.linalg.solve(matrix, (a.T * weights) @ (y - offset))

    value, gradients = jax.jit(jax.value_and_grad(closed, argnums=range(5)))(*args)
    actual, ours = functional(name)(*args)
    assert_agree(actual, value, "derivative", 1)
    for i, (a, b) in enumerate(zip(ours, gradients, strict=True)):
        if i == 1:  # a row of weight 0 counts in nothing: its weight has the derivative of the penalty only
            a, b = a[args[1] > 0], b[args[1] > 0]
        assert_agree(a, b, "derivative", np.max(np.abs(b)), f"argument {i}")


def test_gradient_ignores_rows_of_weight_zero_that_hold_nan():
    name = "poisson-log"
    X, weights, offset, l2, y = arguments(name)
    off = weights == 0
    spoilt = functional(name)(np.where(off[:, None], np.nan, X), weights, np.where(off, np.inf, offset), l2, y)[1]
    clean = functional(name)(X, weights, offset, l2, y)[1]
    assert np.all(np.asarray(spoilt[0])[off] == 0)
    for i in (0, 2, 3):
        assert_agree(spoilt[i], clean[i], "same", 1, f"argument {i}")
    assert_agree(np.asarray(spoilt[1])[~off], np.asarray(clean[1])[~off], "same", 1)


def along_l2(name):
    case = CASES[name]
    X, y, weights = data(case)
    return lambda l2: jnp.vdot(jnp.cos(1.0 + jnp.arange(D)), fit(case, X, y, weights, l2=l2).params.weight)


@pytest.mark.slow
@differences
@pytest.mark.parametrize("name", ["bernoulli-logit", "gamma-log"])
def test_second_derivatives_in_l2(name):
    value = along_l2(name)
    first = jax.grad(value)
    both = jax.jit(lambda l2: (first(l2), jax.grad(first)(l2), jax.jvp(first, (l2,), (1.0,))[1]))
    slope, reverse, forward = both(0.1)
    difference = (both(0.1 + H)[0] - both(0.1 - H)[0]) / (2 * H)
    assert_agree(reverse, difference, "difference", abs(slope))
    assert_agree(forward, reverse, "derivative", abs(slope))


@pytest.mark.slow
def test_gradient_inside_vmap_and_jit_equals_a_loop():
    gradient = jax.grad(along_l2("bernoulli-logit"))
    l2 = np.array([0.01, 0.1, 1.0])
    one = jax.jit(gradient)
    assert_agree(jax.jit(jax.vmap(gradient))(l2), np.array([one(v) for v in l2]), "derivative", 1e-3)


def test_dispersion_is_differentiable_in_y():
    case = CASES["normal-identity"]
    X, y, weights = data(case)
    dispersion = jax.jit(jax.grad(lambda y: fit(case, X, y, weights).dispersion))
    a = np.column_stack([X, np.ones(N)])
    residual = np.where(weights > 0, y - a @ flat(base_fit(case).params), 0)
    assert_agree(dispersion(y), 2 * weights * residual / (weights.sum() - 3), "derivative", 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["normal-identity", "gamma-log"])
def test_gradient_of_fitted_values_is_that_with_the_dependent_column_dropped(name):
    case = CASES[name]
    X, y, weights = data(case)
    wide = np.column_stack([X, X[:, 0] - 2 * X[:, 1] + 1])
    c = np.cos(np.arange(N))

    def gradient(X):
        fitted = lambda y, weights: jnp.vdot(c, glm.predict_natural(fit(case, X, y, weights), X))
        return jax.jit(jax.grad(fitted, argnums=(0, 1)))(y, weights)

    on = weights > 0
    for a, b in zip(gradient(wide), gradient(X), strict=True):
        assert_agree(np.asarray(a)[on], np.asarray(b)[on], "fit", np.max(np.abs(b)))


@differences
def test_gradient_of_a_separated_fit_is_finite_where_l2_makes_it_exist():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    slope = jax.jit(jax.value_and_grad(lambda l2: glm.fit(families.Bernoulli(), X, y, l2=l2).params.weight[0]))
    value, gradient = slope(0.01)
    difference = (slope(0.01 + 1e-5)[0] - slope(0.01 - 1e-5)[0]) / 2e-5
    assert np.isfinite(value)
    assert abs(gradient - difference) <= 1e-5 * abs(difference)
