"""Least squares to the last digits: the NIST reference data sets, rank, derivatives, and weighted and penalised fits in 60 digits."""

import warnings

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxml import families, glm
from jaxml.status import Status
from nist_data import NAMES, digits, load, solved

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="certified to more digits than float32 has")


def in_order(params):
    """Coefficients as NIST orders them, the bias first."""
    return [*([] if params.bias is None else [float(params.bias)]), *map(float, params.weight)]


# -- the files -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_the_published_data_give_the_certified_values_in_exact_arithmetic(name):
    data = load(name)
    A, y = data.exact()
    assert (data.name, A.rows, A.cols) == (name, data.observations, len(data.estimates))
    theta, errors, variance = solved(A, y)
    assert digits(theta, data.estimates) > 14  # they are published to 15 significant digits
    assert digits(errors, data.deviations) > 14
    with mp.workdps(60):
        mean = sum(data.y) / len(data.y) if data.intercept else 0
        total = sum((v - mean) ** 2 for v in data.y)
        assert digits([mp.sqrt(variance)], [data.residual_deviation]) > 14
        assert digits([1 - variance * (A.rows - A.cols) / total], [data.r_squared]) > 14


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("Wampler", "Pontius"))])
def test_powers_of_integers_are_exact_in_float64(name):
    data = load(name)
    first = data.exact()[0][:, 1:]
    assert np.array_equal(data.floats()[0], np.array(first.tolist(), dtype=float))
    assert all(mp.mpf(v) == w for v, w in zip(data.floats()[0].ravel(), first, strict=True))


# -- NIST ------------------------------------------------------------------------------------------------------------
def fitted(name):
    """The coefficients by both routes, the standard errors, and the fit."""
    data = load(name)
    X, y = data.floats()
    fit = glm.linear_regression(X, y, intercept=data.intercept)
    direct = glm.least_squares(X, y, intercept=data.intercept)
    errors = glm.standard_errors(glm.infer(fit, X, y))
    return data, fit, in_order(direct), in_order(fit.params), in_order(errors)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Filip"])
def test_twelve_certified_digits(name):
    data, fit, direct, params, errors = fitted(name)
    assert Status(int(fit.status)) is Status.CONVERGED
    assert int(fit.rank) == len(data.estimates)
    assert digits(direct, data.estimates) >= 12
    assert digits(params, data.estimates) >= 12
    if any(data.deviations):
        assert digits(errors, data.deviations) >= 12
    else:
        assert max(errors) <= 1e-10


def test_filip_is_solved_to_the_digits_that_its_float64_matrix_holds():
    data, fit, direct, params, errors = fitted("Filip")
    assert Status(int(fit.status)) is Status.CONVERGED
    assert int(fit.rank) == 11
    for values, certified in ((direct, data.estimates), (params, data.estimates), (errors, data.deviations)):
        assert digits(values, certified) >= 7
    X, y = data.floats()
    A = mp.matrix(np.column_stack([np.ones(len(y)), X]).tolist())
    theta, deviations, variance = solved(A, mp.matrix(y.tolist()))
    assert digits(direct, theta) > 15
    assert digits(params, theta) > 15
    assert digits([fit.dispersion], [variance]) > 14.5
    assert digits(errors, deviations) > 14


# -- rank ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("gap", "rank"), [(0, 7), (1e-9, 8), (1e-17, 7)])
def test_rank_of_longley_with_a_copy_of_a_column(gap, rank):
    X, y = load("Longley").floats()
    copy = X[:, 2] * (1 + gap * np.random.default_rng(0).normal(size=16))
    fit = glm.linear_regression(np.column_stack([X, copy]), y)
    assert int(fit.rank) == rank
    if rank == 7:  # the two share the coefficient, the others stay
        weight = glm.least_squares(X, y).weight
        expected = np.append(weight, weight[2] / 2)
        expected[2] /= 2
        np.testing.assert_allclose(fit.params.weight, expected, rtol=1e-8)


def test_rank_of_a_near_copy_among_independent_columns():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(16, 6)), rng.normal(size=16)
    noise = rng.normal(size=16)
    for gap, rank in ((0, 7), (1e-9, 8), (1e-17, 7)):
        assert int(glm.linear_regression(np.column_stack([X, X[:, 0] + gap * noise]), y).rank) == rank


# -- beyond plain least squares --------------------------------------------------------------------------------------
def ill_conditioned():
    """Powers of 0 to 20, which depend on each other to one part in 1,600, with y, weights and an offset."""
    rng = np.random.default_rng(1)
    X = load("Wampler1").floats()[0]
    return X, rng.normal(size=21), rng.integers(1, 5, 21).astype(float), rng.normal(size=21)


@pytest.mark.parametrize("l2", [0.0, 1e-3])
def test_weights_offset_and_penalty_agree_with_sixty_digits(l2):
    X, y, w, offset = ill_conditioned()
    fit = glm.linear_regression(X, y, weights=w, weight_kind="precision", offset=offset, l2=l2)
    errors = glm.standard_errors(glm.infer(fit, X, y, weights=w, offset=offset))
    A = mp.matrix(np.column_stack([np.ones(21), X]).tolist())
    with mp.workdps(60):
        target = mp.matrix([mp.mpf(a) - mp.mpf(b) for a, b in zip(y, offset, strict=True)])
    theta, deviations, variance = solved(A, target, list(w), [0] + [mp.mpf(l2) * int(w.sum())] * 5)
    assert digits(in_order(fit.params), theta) > 14.5
    assert digits([fit.dispersion], [variance]) > 14.5
    assert digits(in_order(errors), deviations) > 14
    eta = X @ np.asarray(fit.params.weight) + float(fit.params.bias) + offset
    penalty = l2 / 2 * float(np.sum(np.square(fit.params.weight)))
    np.testing.assert_allclose(fit.value, w @ (eta**2 / 2 - eta * y) / w.sum() + penalty, rtol=1e-9)
    plain = glm.fit(families.Normal(), X, y, weights=w, weight_kind="precision", offset=offset, l2=l2)
    np.testing.assert_allclose(fit.log_likelihood, plain.log_likelihood, rtol=1e-9)


@pytest.mark.slow
def test_a_row_of_weight_zero_may_hold_nan():
    X, y, w, _ = ill_conditioned()
    bad = glm.linear_regression(
        np.vstack([X, np.full((1, 5), np.nan)]), np.append(y, np.nan), weights=np.append(w, 0.0)
    )
    good = glm.linear_regression(X, y, weights=w)
    np.testing.assert_array_equal(in_order(bad.params), in_order(good.params))
    np.testing.assert_allclose(bad.dispersion, good.dispersion, rtol=1e-14)


@pytest.mark.slow
def test_more_rows_than_a_block():
    data = load("Wampler5")
    X, y = data.floats()
    many = glm.least_squares(np.tile(X, (60, 1)), np.tile(y, 60))
    assert digits(in_order(many), data.estimates) > 15
    fit = glm.linear_regression(np.tile(X, (60, 1)), np.tile(y, 60))
    assert digits(in_order(fit.params), data.estimates) > 15
    errors = glm.standard_errors(glm.infer(fit, np.tile(X, (60, 1)), np.tile(y, 60)))
    with mp.workdps(60):  # the same residual sum of squares and information, 60 times
        expected = [s * mp.sqrt(mp.mpf(15) / (1260 - 6)) for s in data.deviations]
    assert digits(in_order(errors), expected) > 14


def test_refinement_is_the_same_in_jit_and_vmap_and_does_not_depend_on_units():
    X, y, w, _ = ill_conditioned()
    fit = lambda X, y: glm.linear_regression(X, y, weights=w).params
    eager = in_order(fit(X, y))
    assert in_order(jax.jit(fit)(X, y)) == eager
    batch = jax.vmap(lambda y: fit(X, y))(jnp.stack([y, 2 * y, 0 * y]))
    np.testing.assert_allclose(batch.weight, np.outer([1, 2, 0], eager[1:]), rtol=1e-15)
    scaled = fit(X * np.array([1e-150, 1, 1e9, 1e120, 1e3]), y)
    np.testing.assert_allclose(scaled.weight * np.array([1e-150, 1, 1e9, 1e120, 1e3]), eager[1:], rtol=1e-11)


def test_least_squares_without_a_solution_ends():
    X = np.column_stack([np.arange(5.0)] * 2)
    assert glm.least_squares(X, np.ones(5)).weight.shape == (2,)


def test_refine_is_for_least_squares_alone():
    X, y = np.arange(4.0)[:, None], np.arange(4.0)
    with pytest.raises(ValueError, match=r"refine=True is for Normal\(\) with the identity link"):
        glm.fit(families.Poisson(), X, y, refine=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other links are fitted as they always were
        assert glm.linear_regression(X[1:], y[1:], link="log").link.name == "log"


# -- derivatives -----------------------------------------------------------------------------------------------------
def test_derivatives_of_the_closed_form():
    X, y, _, _ = ill_conditioned()
    X = jnp.asarray(X / np.max(X, axis=0))
    f = lambda X, y: jnp.append(*reversed(glm.least_squares(X, y)))
    A = np.column_stack([np.ones(21), X])
    squares = lambda y: jnp.sum(jnp.square(y - A @ f(X, y)))
    everything = jax.jit(
        lambda X, y: (f(X, y), jax.jacrev(f, (0, 1))(X, y), jax.jacfwd(f, 1)(X, y), jax.hessian(squares)(y))
    )
    theta, (by_x, by_y), forward, hessian = everything(X, y)
    near = lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * np.max(np.abs(b)))
    pinv = np.linalg.pinv(A)
    near(by_y, pinv)
    near(forward, pinv)
    # d theta = (A'A)^-1 dA' r - A^+ dA theta
    r = y - A @ theta
    near(by_x, (np.einsum("pq,i->piq", pinv @ pinv.T, r) - np.einsum("pi,q->piq", pinv, theta))[:, :, 1:])
    near(hessian, 2 * (np.eye(21) - A @ pinv))


@pytest.mark.slow
def test_derivatives_of_a_refined_fit():
    X, y, w, _ = ill_conditioned()
    X = X / np.max(X, axis=0)
    f = lambda y: in_line(glm.linear_regression(X, y, weights=w))
    A = np.column_stack([np.ones(21), X])
    expected = np.linalg.solve((A.T * w) @ A, A.T * w)
    np.testing.assert_allclose(jax.jacrev(f)(y)[:6], expected, rtol=0, atol=1e-9 * np.max(np.abs(expected)))
    fit = glm.linear_regression(X, y, weights=w)
    r = y - A @ np.array(in_order(fit.params))
    slope = 2 * w * r / float(fit.observations - fit.rank)
    np.testing.assert_allclose(jax.grad(lambda y: f(y)[6])(y), slope, rtol=0, atol=1e-9 * np.max(np.abs(slope)))


def in_line(fit):
    return jnp.concatenate([fit.params.bias[None], fit.params.weight, fit.dispersion[None]])
