"""Data that mislead a solver or its stopping rule: sampled blocks that see nothing, flat directions, other units, the edge."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxml import families, glm, optimize
from jaxml.glm import subsample
from jaxml.predictors import Linear
from jaxml.status import ConvergenceWarning, Status
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="the cases are designed for 64-bit mode")


def logistic(seed, n, d, change=lambda X: X):
    rng = np.random.default_rng(seed)
    X = change(rng.normal(size=(n, d)))
    return X, (rng.random(n) < 1 / (1 + np.exp(-X[:, 0] - X[:, -1]))).astype(int)


def quiet(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return glm.fit(*args, **options)


def ended(fit, status):
    assert Status(int(fit.status)) is status
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(fit.params))


# -- the subsample that large fits start from ------------------------------------------------------------------------
@pytest.mark.slow
def test_large_fit_whose_first_rows_have_weight_zero_equals_the_rest():
    X, y = logistic(0, 30_000, 20)
    fit = glm.fit(families.Bernoulli(), X, y, weights=np.where(np.arange(30_000) < 4000, 0.0, 1.0))
    rest = glm.fit(families.Bernoulli(), X[4000:], y[4000:])
    assert_agree(fit.params.weight, rest.params.weight, "fit", 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["late column", "sorted by y", "sorted by x"])
def test_large_fit_does_not_depend_on_what_the_first_blocks_hold(order):
    def late(X):
        X[:29_000, -1] = 0
        return X

    X, y = logistic(1, 30_000, 20, late if order == "late column" else lambda X: X)
    index = {"late column": slice(None), "sorted by y": np.argsort(y), "sorted by x": np.argsort(X[:, 0])}[order]
    fit = glm.fit(families.Bernoulli(), X[index], y[index], intercept=False)
    plain = glm.fit(families.Bernoulli(), X, y, intercept=False, solver=optimize.Newton(reuse=False))
    assert_agree(fit.params.weight, plain.params.weight, "fit", 0.02)


@pytest.mark.slow
def test_blocks_without_a_row_that_counts_may_hold_nan():
    X, y = logistic(2, 20_000, 20)
    w = np.where(np.arange(20_000) < 9000, 1.0, 0.0)
    spoilt = np.where(w[:, None] > 0, X, np.nan)
    fit, kept = (glm.fit(families.Bernoulli(), a, y, weights=w) for a in (spoilt, X))
    assert_agree(fit.params.weight, kept.params.weight, "same", 1)
    ended(
        quiet(families.Bernoulli(), spoilt, y, weights=w, solver=optimize.SGD(epochs=1, batch_size=100)),
        Status.STEP_LIMIT,
    )


# -- flat and nearly flat directions ---------------------------------------------------------------------------------
def test_polynomial_in_the_year_is_fitted_like_one_in_centred_years():
    year = np.arange(1950.0, 2011)
    t = (year - 1980) / 30
    y = 3 + 3 * t + 2 * t * t + 0.3 * np.random.default_rng(0).normal(size=year.size)
    fit = quiet(families.Normal(), np.stack([year**k for k in range(1, 5)], axis=1), y)
    expected = np.polyval(np.polyfit(t, y, 4), t)
    assert int(fit.rank) == 5
    gap = np.abs(glm.predict(fit, np.stack([year**k for k in range(1, 5)], axis=1)) - expected)
    assert gap.max() < 1e-6


def test_penalty_chooses_between_equal_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    y, l2 = 2 * x + 0.1 * rng.normal(size=50), np.array([0.1, 0.3])
    X = np.column_stack([x, x])
    centred = X - X.mean(axis=0)
    expected = np.linalg.solve(centred.T @ centred + 50 * np.diag(l2), centred.T @ (y - y.mean()))
    assert_agree(glm.linear_regression(X, y, l2=l2).params.weight, expected, "fit", 1)


def test_penalised_bias_with_more_columns_than_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(5, 8)), rng.normal(size=5) + 3
    a = np.column_stack([X, np.ones(5)])
    theta = np.linalg.solve(a.T @ a + 0.5 * np.eye(9), a.T @ y)
    assert_agree(glm.predict(glm.linear_regression(X, y, l2=Linear(0.1, 0.1)), X), a @ theta, "fit", 1)


@pytest.mark.slow
@pytest.mark.parametrize("family", [families.Gamma(), families.InverseGaussian()], ids=["gamma", "inverse_gaussian"])
def test_full_set_of_dummies_with_a_non_canonical_link_converges_as_fast_as_without_one_of_them(family):
    rng = np.random.default_rng(3)
    dummies = np.eye(3)[rng.integers(0, 3, 90)]
    y = rng.gamma(3.0, np.exp(dummies @ [0.2, 0.5, 1.0]) / 3)
    full, one_less = (glm.fit(family, X, y, link="log") for X in (dummies, dummies[:, 1:]))
    assert (int(full.rank), int(one_less.rank)) == (3, 3)
    assert int(full.steps) <= int(one_less.steps) + 1
    assert_agree(full.log_likelihood, one_less.log_likelihood, "fit", 1)


def test_constant_column_is_aliased_whatever_the_weights():
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(20, 3)), rng.normal(size=20), rng.random(20) + 0.1
    X[:, 1] = 0.1
    fit = glm.linear_regression(X, y, weights=w)
    assert int(fit.rank) == 3
    assert float(fit.params.weight[1]) == 0


def test_softmax_with_penalties_that_differ_by_class_converges():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 2)), rng.integers(0, 3, 80)
    fit = glm.fit(families.Categorical(3), X, y, l2=np.tile([0, 0.1, 0.1], (2, 1)))
    assert int(fit.steps) < 8
    # An unpenalised class takes up what is common to all: its coefficients are free, the others sum to zero.
    assert_agree(fit.params.weight[:, 1] + fit.params.weight[:, 2], np.zeros(2), "fit", 1)


# -- units -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("unit", [1e-10, 1e-3, 1e6])
@pytest.mark.parametrize("name", ["normal", "gamma", "inverse_gaussian"])
def test_unit_of_y_moves_the_intercept_of_a_log_link_and_nothing_else(name, unit):
    family = {"normal": families.Normal(), "gamma": families.Gamma(), "inverse_gaussian": families.InverseGaussian()}
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = rng.gamma(20.0, np.exp(0.5 + X @ [0.3, -0.2]) / 20)
    moved, base = (glm.fit(family[name], X, y * u, link="log") for u in (unit, 1.0))
    assert_agree(moved.params.weight, base.params.weight, "fit", 0.01)
    assert_agree(moved.params.bias - np.log(unit), base.params.bias, "fit", 0.01 + abs(np.log(unit)))


def test_offset_on_every_row_of_700_is_taken_out():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 2))
    y = rng.poisson(np.exp(0.5 + X @ [0.4, -0.3]))
    moved, base = (glm.fit(families.Poisson(), X, y, offset=np.full(60, c)) for c in (700.0, 0.0))
    assert_agree(moved.params.weight, base.params.weight, "same", 1)
    assert_agree(moved.params.bias + 700, base.params.bias, "fit", 1)


def test_zero_offset_of_an_inverse_link_changes_nothing():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 2, (60, 1))
    y = 1 / (0.5 + 0.3 * x[:, 0]) + 0.02 * rng.normal(size=60)
    with_offset, without = (glm.fit(families.Normal(), x, y, link="inverse", offset=o) for o in (np.zeros(60), None))
    assert_agree(with_offset.params.weight, without.params.weight, "fit", 0.01)


@pytest.mark.slow
def test_multivariate_normal_of_small_unit():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 2)), rng.normal(size=(80, 2))
    y[:, 1] -= y[:, 0]
    ended(glm.fit(families.MultivariateNormal(2), X, 1e-4 * y), Status.CONVERGED)


# -- no optimum, or not there yet ------------------------------------------------------------------------------------
COMPLETE = np.array([[-3.0], [-2.0], [-1.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 0, 1, 1, 1])


@pytest.mark.slow
def test_far_along_a_direction_of_separation_is_not_an_optimum():
    far = Linear(np.array([1000.0]), 0.0)
    ended(quiet(families.Bernoulli(), *COMPLETE, init=far), Status.SEPARATED)
    wild = optimize.GradientDescent(learning_rate=1e4)
    ended(quiet(families.Bernoulli(), *COMPLETE, solver=wild), Status.SEPARATED)


@pytest.mark.slow
def test_equal_columns_are_no_separation_for_gradient_descent():
    rng = np.random.default_rng(0)
    x = rng.normal(size=100)
    y = (rng.random(100) < 1 / (1 + np.exp(-x))).astype(int)
    fit = quiet(families.Bernoulli(), np.column_stack([x, x]), y, solver=optimize.GradientDescent(learning_rate=0.5))
    ended(fit, Status.CONVERGED)


def test_gamma_is_never_separated():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = 1e-20 * rng.gamma(3, np.exp(0.5 + X @ [0.3, -0.2]) / 3)
    ended(glm.fit(families.Gamma(), X, y, link="log"), Status.CONVERGED)


@pytest.mark.parametrize(
    ("x", "y"), [(np.arange(6.0), np.zeros(6)), ([0, -2, 2, 0, 1, 0, 0, -2], [2, 0, 1, 0, 1, 2, 3, 0])]
)
def test_maximum_on_the_edge_with_a_gradient_is_boundary(x, y):
    fit = quiet(families.Poisson(), np.array(x, float)[:, None], np.array(y, int), link="identity")
    ended(fit, Status.BOUNDARY)
    assert float(fit.gradient_norm) > 0.1


def test_one_step_of_gradient_descent_on_a_large_mean_is_not_converged():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 1))
    y = 1e7 + 0.3 * x[:, 0] + rng.normal(size=1000)
    ended(
        quiet(families.Normal(), x, y, solver=optimize.GradientDescent(learning_rate=1e-3, max_steps=1)),
        Status.STEP_LIMIT,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 6, 7, 8, 9])
def test_lbfgs_reaches_the_optimum_of_badly_scaled_columns(seed):
    X, y = logistic(seed, 400, 6)
    X = X * np.logspace(-4, 4, 6)
    fit, newton = (glm.fit(families.Bernoulli(), X, y, solver=s) for s in (optimize.LBFGS(max_steps=5000), None))
    assert_agree(
        fit.params.weight * np.logspace(-4, 4, 6), newton.params.weight * np.logspace(-4, 4, 6), "first_order", 0.1
    )


# -- the rest --------------------------------------------------------------------------------------------------------
def test_rows_without_trials_count_in_no_dispersion():
    y = np.array([0, 1, 0.5, 2, 1.5, 2]), np.array([0, 3, 3, 3, 3, 3])
    fit = glm.fit(families.Binomial(), np.arange(6.0)[:, None], y, check="hull")
    assert np.isfinite(fit.dispersion)


@pytest.mark.slow
def test_value_has_the_derivative_of_the_minimum():
    X, y = logistic(6, 60, 2)
    value = lambda l2: glm.fit(families.Bernoulli(), X, y, l2=l2).value
    fit = glm.fit(families.Bernoulli(), X, y, l2=0.1)
    assert_agree(
        jax.grad(value)(0.1), float(jnp.sum(fit.params.weight**2)) / 2, "derivative", 1
    )  # the envelope theorem
    minimum = lambda c: optimize.newton(lambda x, c: (x - c) ** 4 + x**2, 0.0, c).value
    x = optimize.newton(lambda x, c: (x - c) ** 4 + x**2, 0.0, 2.0).params
    assert_agree(jax.grad(minimum)(2.0), -4 * (x - 2.0) ** 3, "derivative", 1)


def test_weight_zero_rows_may_hold_what_no_label_is():
    y = np.array([0, 1, np.nan, 0, 1, 0])
    fit = glm.fit(families.Categorical(2), np.arange(6.0)[:, None], y, weights=[1, 1, 0, 1, 1, 1])
    ended(fit, Status.CONVERGED)
    counts = glm.fit(families.Poisson(), np.arange(6.0)[:, None], [1, 2, 2**62, 0, 1, 0], weights=[1, 1, 0, 1, 1, 1])
    ended(counts, Status.CONVERGED)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"family": families.Poisson}, TypeError, r"families.Poisson\(\)"),
        ({"family": "poisson"}, TypeError, "family"),
        ({"family": families.Normal(variance=-1.0)}, ValueError, "positive"),
        ({"family": families.NegativeBinomial(r=-1.0)}, ValueError, "positive"),
        ({"family": families.Gamma(shape=np.nan)}, ValueError, "positive"),
        ({"family": families.Categorical(1)}, ValueError, "two classes"),
        ({"X": np.ma.masked_equal(np.array([[1.0], [2.0], [999.0]]), 999.0)}, TypeError, "masked"),
        ({"X": jnp.ones((3, 1), complex)}, TypeError, "real"),
        ({"X": np.zeros((3, 0)), "intercept": False}, ValueError, "no parameter"),
        ({"l2": np.array([0.1])[None, None]}, ValueError, "l2"),
        ({"l2": Linear(0.1, np.ones(3))}, ValueError, "l2.bias"),
        ({"init": Linear(np.array([np.nan]), 0.0)}, ValueError, "finite"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, error, words):
    call = {"family": families.Poisson(), "X": np.array([[0.0], [1.0], [2.0]]), "y": np.array([1, 0, 2])} | options
    with pytest.raises(error, match=words):
        glm.fit(call.pop("family"), call.pop("X"), call.pop("y"), **call)


@pytest.mark.slow
def test_slow_steps_with_old_curvature_below_the_rounding_of_the_value_are_not_its_floor():
    """The value of 26,000 rows is known to 1e-12, a decrement of 1e-6 changes it by less: that is no reason to stop there."""
    X, y = logistic(0, 26_000, 20)
    exact = glm.fit(families.Bernoulli(), X, y, solver=optimize.Newton(reuse=False))
    fit = glm.fit(families.Bernoulli(), X, y, solver=optimize.Newton(reuse=True))
    ended(fit, Status.CONVERGED)
    assert fit.decrement <= 1e-8
    assert_agree(fit.params.weight, exact.params.weight, "fit", 0.02)


# -- solvers without curvature ---------------------------------------------------------------------------------------
@pytest.mark.slow
def test_lbfgs_that_creeps_at_its_end_is_judged_by_the_newton_decrement():
    X, y = logistic(20, 2000, 12, lambda X: X @ np.diag(np.logspace(0, -1, 12)) + 0.5 * X[:, :1])
    fit = glm.fit(families.Bernoulli(), X, y, solver=optimize.LBFGS())
    ended(fit, Status.CONVERGED)
    assert fit.steps > 15 and fit.decrement <= 1e-8
    assert_agree(fit.params.weight, glm.fit(families.Bernoulli(), X, y).params.weight, "fit", 0.02)


@pytest.mark.parametrize("trap", ["rare level", "weights in a rhythm", "sorted rows"])
def test_a_subsample_that_tells_too_little_leads_nowhere_else(trap):
    """Large fits start from some of the rows; what these do not show must not matter."""
    rng = np.random.default_rng(3)
    n = 40_000
    X, weights = rng.standard_normal((n, 6)), np.ones(n)
    y = (rng.random(n) < 1 / (1 + np.exp(-X @ np.full(6, 0.3)))).astype(float)
    if trap == "rare level":
        X[:, 2] = 0
        X[rng.choice(n, 12, replace=False), 2] = 1
    elif trap == "weights in a rhythm":
        weights = (np.arange(n) % 60 != 0) * 1.0
    else:
        order = np.argsort(y)
        X, y = X[order], y[order]
    fits = [
        glm.fit(families.Bernoulli(), X, y, weights=weights, solver=optimize.Newton(reuse=reuse))
        for reuse in (True, False)
    ]
    assert all(fit.status == Status.CONVERGED for fit in fits)
    np.testing.assert_allclose(*(fit.params.weight for fit in fits), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(*(fit.params.bias for fit in fits), rtol=1e-4, atol=1e-5)


def test_rare_levels_cost_a_large_fit_no_more_than_others():
    """In a plain subsample each of these levels has two or three rows, with luck all alike: its coefficient would run away there."""
    rng = np.random.default_rng(6)
    n, levels, each = 60_000, 6, 30
    X = rng.standard_normal((n, 6 + levels))
    X[:, 6:] = 0
    rare = rng.choice(n, (levels, each), replace=False)
    for j in range(levels):
        X[rare[j], 6 + j] = 1
    eta = X[:, :6] @ np.full(6, 0.3) + 3 * X[:, 6:].sum(axis=1) - 1
    y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)
    fit, plain = (glm.fit(families.Bernoulli(), X, y, solver=optimize.Newton(reuse=reuse)) for reuse in (True, False))
    assert (
        fit.status == Status.CONVERGED
        and fit.evaluations <= 15
        and fit.curvatures < plain.curvatures == plain.evaluations
    )
    np.testing.assert_allclose(fit.params.weight, plain.params.weight, rtol=1e-7, atol=1e-8)


def test_coefficients_whose_rounding_leaves_the_domain_are_not_returned_in_silence():
    """Predictors of size 1 as differences of numbers of 1e18: some of them are on the wrong side of 0."""
    rng = np.random.default_rng(0)
    X = np.stack([1000 + 1e-12 * rng.normal(size=8), 1000 + 1e-6 * rng.normal(size=8)], axis=1)
    y = np.array([0.174, 0.219, 0.453, 0.851, 0.264, 1.176, 0.154, 0.426])
    offset = np.array([-320.0, 154.0, -707.0, -146.0, -111.0, 379.0, 150.0, 249.0])
    with pytest.warns(ConvergenceWarning, match="The mean of column 0 of X is .* times its spread"):
        fit = glm.fit(families.Gamma(), X, y, offset=offset)
    assert not np.isfinite(fit.dispersion)


@pytest.mark.slow
def test_large_softmax_fits_buy_no_curvature_of_all_rows():
    """It is worth a hundred evaluations; steps by that of the sample get there in a few dozen, to the same point."""
    rng = np.random.default_rng(0)
    n, d, k = 20_000, 10, 4
    X = rng.standard_normal((n, d))
    y = np.argmax(X @ rng.standard_normal((d, k)) + rng.gumbel(size=(n, k)), axis=1)
    fit, plain = (
        glm.fit(families.Categorical(k), X, y, solver=optimize.Newton(reuse=reuse)) for reuse in (True, False)
    )
    assert fit.status == Status.CONVERGED and fit.curvatures <= 3 < plain.curvatures
    np.testing.assert_allclose(fit.params.weight, plain.params.weight, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_slow_steps_with_old_curvature_are_no_runaway(monkeypatch):
    """A subsample of two rows for each coefficient leads to many slow steps; fresh curvature then shows how far it still is, which is
    no growth."""
    monkeypatch.setattr(subsample, "_ENOUGH", 20)
    X, y = load_digits(return_X_y=True)
    spread = X.std(axis=0)
    X = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1)
    solver = optimize.Newton(max_steps=101)  # a program of its own, compiled with that subsample
    fit = glm.fit(families.Categorical(10), X, y, l2=1 / len(y), solver=solver)
    assert fit.status == Status.CONVERGED and fit.steps > 15
