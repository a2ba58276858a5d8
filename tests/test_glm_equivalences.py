"""Generalised linear models against themselves: two routes to one number, on every family and link of the registry."""

from dataclasses import replace
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxml import families, glm, links, optimize
from jaxml.families.base import Family
from jaxml.glm.objective import GLMObjective
from jaxml.likelihood import log_likelihood
from jaxml.predictors import Linear, linear
from jaxml.rows import Rows
from jaxml.status import Status
from marks import mostly_slow
from registry_glm import (
    CASES,
    FLAT,
    USED,
    N,
    base_fit,
    data,
    default_dtype,
    derivatives,
    fit,
    flat,
    floats,
    gauge,
    over,
    standard_errors,
)
from tolerances import assert_agree, tolerance

DTYPE = default_dtype()
X64 = np.float64 == DTYPE
ADAM = optax.adam(0.02)


def same_fit(actual, expected, error, kind="fit", what="params"):
    assert int(actual.status) == int(expected.status) == Status.CONVERGED
    assert_agree(flat(actual.params), flat(expected.params), kind, error, what)


# -- derivatives -----------------------------------------------------------------------------------------------------
@over()
@pytest.mark.parametrize("place", ["fit", "beside"])
def test_gradient_of_the_objective_is_autodiff_of_the_log_likelihood(case, place):
    structured, gradient, hessian = derivatives(case)[place]
    for name, (ours, _) in structured.items():
        assert_agree(ours, gradient, "derivative", np.sqrt(np.diag(hessian)), name)


@over(
    "bernoulli-logit",
    "bernoulli-probit",
    "binomial-logit",
    "poisson-log",
    "normal-identity",
    "gamma-log",
    "categorical",
)
def test_gradient_and_curvature_where_every_linear_predictor_is_zero(case):
    structured, gradient, hessian = derivatives(case)["zero"]
    whole = structured["whole"]
    size = np.sqrt(np.diag(hessian))
    assert_agree(whole[0], gradient, "derivative", size)
    project = gauge(case)
    assert_agree(project @ whole[1] @ project, project @ hessian @ project, "derivative", np.outer(size, size))


@over("normal-identity", "poisson-log", "bernoulli-logit", "categorical")
def test_gradient_vanishes_at_the_fit_without_an_intercept_which_starts_from_zero(case):
    X, y, weights = data(case)
    fitted = fit(case, X, y, weights, intercept=False)
    target = np.eye(3)[y] if case.family.labels else y
    residual = (np.asarray(glm.predict(fitted, X)) - target).astype(float)
    assert int(fitted.status) == Status.CONVERGED
    gradient = (weights * X.T) @ residual
    assert_agree(gradient.astype(DTYPE), 0 * gradient, "fit", float(weights.sum()))


@over()
def test_curvature_of_the_objective_is_the_autodiff_hessian(case):
    structured, _, hessian = derivatives(case)["beside"]
    project, size = gauge(case), np.sqrt(np.outer(*2 * (np.abs(np.diag(hessian)),)))
    for name, (_, matrix) in structured.items():
        assert_agree(project @ matrix @ project, project @ hessian @ project, "derivative", size, name)


@over()
def test_gradient_of_the_log_likelihood_is_zero_at_the_fit(case):
    _, gradient, hessian = derivatives(case)["fit"]
    step = np.linalg.pinv(np.asarray(hessian, float), hermitian=True, rcond=FLAT) @ gradient
    assert int(base_fit(case).status) == Status.CONVERGED
    assert np.sqrt(abs(gradient @ step)) <= (1e-8 if np.float64 == DTYPE else 3e-3)


@over("bernoulli-logit", "gamma-log", "categorical")
def test_notes_6_3_the_fit_maximises_the_log_likelihood(case):
    X, y, weights = data(case)
    slope = jax.grad(lambda p: log_likelihood(case.family, linear, p, X, y, weights=weights, link=base_fit(case).link))
    size = np.sqrt(np.diag(derivatives(case)["fit"].hessian))
    assert_agree(flat(slope(base_fit(case).params)), 0 * size, "derivative", size)


@over("bernoulli-logit", "poisson-log", "normal-identity", "categorical")
def test_notes_6_2_prediction_is_the_gradient_of_the_log_partition_function(case):
    X, _, _ = data(case)
    eta = glm.predict_natural(base_fit(case), X)
    mean = jax.vmap(jax.grad(case.family.log_partition))(eta)
    assert_agree(glm.predict(base_fit(case), X), mean, "same", 1)


# -- weights and rows ------------------------------------------------------------------------------------------------
@over()
def test_weight_k_equals_the_row_repeated_k_times(case):
    X, y, weights = data(case)
    index = np.resize(np.repeat(np.arange(N), weights.astype(int)), N)
    count = int(weights.sum())
    repeated = fit(case, *jax.tree.map(lambda a: a[index], (X, y)), floats((np.arange(N) < count).astype(float)))
    base = base_fit(case)
    same_fit(repeated, base, standard_errors(case))
    assert_agree(repeated.log_likelihood, base.log_likelihood, "fit", 1, "log-likelihood")
    assert (repeated.dispersion is None) == (base.dispersion is None)
    if base.dispersion is not None:
        assert_agree(repeated.dispersion, base.dispersion, "fit", 0, "dispersion")


@over()
def test_rows_of_weight_zero_may_hold_anything(case):
    X, y, weights = data(case)
    off = weights == 0
    X = np.where(off[:, None], np.resize([np.nan, np.inf, np.finfo(DTYPE).max], X.shape).astype(DTYPE), X)
    y = jax.tree.map(lambda a: spoil(case, a, off), y)
    spoilt, base = fit(case, X, y, weights), base_fit(case)
    same_fit(spoilt, base, standard_errors(case), "same")
    assert_agree(spoilt.log_likelihood, base.log_likelihood, "same", 1, "log-likelihood")


def spoil(case, a, off):
    off = off.reshape((-1,) + (1,) * (a.ndim - 1))
    return np.where(off, -9, a) if case.family.labels else np.where(off, np.nan, a).astype(DTYPE)


@over("bernoulli-logit", "gamma-log", "categorical")
def test_rows_of_weight_zero_equal_rows_removed(case):
    kept = jax.tree.map(lambda a: a[:USED], data(case))
    removed, base = fit(case, *kept), base_fit(case)
    same_fit(removed, base, standard_errors(case))
    assert_agree(removed.log_likelihood, base.log_likelihood, "fit", 1)
    assert float(removed.observations) == float(base.observations)


# -- units, labels and order -----------------------------------------------------------------------------------------
UNITS = {
    "powers of two": [2.0**20, 2.0**-20],
    "powers of ten": [1e-6, 1e6],
    "all large": [1e6, 1e6],
    "all small": [1e-6, 1e-6],
}
SHIFTS = {"near": [3.0, -5.0], "far": [1e6, -1e3] if X64 else [100.0, -30.0]}


def predictors(fitted, X):
    """Of float64 arithmetic, whatever the dtype of the fit."""
    weight, bias = (np.asarray(a, float) for a in fitted.params)
    return np.asarray(X, float) @ weight + bias


def same_way(moved, case, X, kind="fit"):
    """The same end, number of steps to within one and predictors as the base fit, X the columns of the moved one."""
    base, Z = base_fit(case), data(case)[0]
    assert int(moved.status) == Status.CONVERGED
    assert abs(int(moved.steps) - int(base.steps)) <= 1, (int(moved.steps), int(base.steps))
    assert_agree(predictors(moved, X).astype(DTYPE), predictors(base, Z), kind, 1.0)
    assert_agree(moved.log_likelihood, base.log_likelihood, kind, 1, "log-likelihood")


@over()
def test_units_and_location_of_columns(case):
    X, y, weights = data(case)
    for change in UNITS.values():
        scaled = floats(X * change)
        same_way(fit(case, scaled, y, weights), case, scaled)
    for change in SHIFTS.values():
        moved = floats(X + change)
        # Predictors carry the rounding of a bias that takes up the shift: 1e6 eps times a slope.
        same_way(fit(case, moved, y, weights), case, moved, "oracle" if X64 else "first_order")


@over()
def test_order_of_rows(case):
    for order in (np.arange(N)[::-1], np.random.default_rng(5).permutation(N)):
        moved = jax.tree.map(lambda a, order=order: a[order], data(case))
        same_way(fit(case, *moved), case, data(case)[0])


@over("categorical", "multinomial")
def test_labels_of_classes(case):
    X, y, weights = data(case)
    for order in map(np.array, permutations(range(3))):
        moved = fit(case, X, order[y] if case.family.labels else y[:, np.argsort(order)], weights)
        back = Linear(moved.params.weight[:, order], moved.params.bias[order])
        same_way(replace(moved, params=back), case, X)


@over("bernoulli-logit", "bernoulli-probit", "binomial-logit")
def test_labels_of_success_and_failure(case):
    X, y, weights = data(case)
    moved = fit(case, X, (y[1] - y[0], y[1]) if case.family.has_trials else 1 - y, weights)
    same_way(replace(moved, params=jax.tree.map(jnp.negative, moved.params)), case, X)


@over("categorical", "multinomial")
def test_softmax_coefficients_sum_to_zero_over_the_classes(case):
    params = base_fit(case).params
    assert_agree(jnp.sum(params.weight, axis=1), np.zeros(2), "same", 1)
    assert_agree(jnp.sum(params.bias), np.zeros(()), "same", 1)


# -- offset ----------------------------------------------------------------------------------------------------------
OFFSET_CASES = ("poisson-log", "gamma-log", "categorical")


@over(*OFFSET_CASES)
def test_constant_offset_of_700_moves_the_bias_and_nothing_else(case):
    moved, base = fit(case, *data(case), offset=offset(case, np.full(N, 700.0))), base_fit(case)
    assert int(moved.status) == Status.CONVERGED
    gap = 0 if case.family.redundant else 700  # softmax: the same constant for all classes is no change at all
    # z = 700 + bias is rounded to 700 eps, which is what is left of the digits.
    room = 2 * 700 * np.finfo(DTYPE).eps / tolerance("fit", DTYPE) + np.max(standard_errors(case))
    assert_agree(moved.params.weight, base.params.weight, "fit", room)
    assert_agree(moved.params.bias + gap, base.params.bias, "fit", room)


@over(*OFFSET_CASES)
def test_offset_that_is_linear_in_x_moves_the_weight_by_it(case):
    X, _, _ = data(case)
    moved, base = fit(case, *data(case), offset=offset(case, 0.5 * X[:, 0] - 0.25 * X[:, 1])), base_fit(case)
    slope = np.array([0.5, -0.25])
    expected = base.params.weight - (slope[:, None] * [1, 0, -1] if case.vector else slope)
    assert_agree(moved.params.weight, expected, "fit", np.max(standard_errors(case)))
    assert_agree(moved.log_likelihood, base.log_likelihood, "fit", 1)


def offset(case, column):
    constant = np.ptp(column) == 0
    return floats(column[:, None] * np.array([1, 1, 1] if constant else [1, 0, -1]) if case.vector else column)


# -- one model in two forms ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_grouped_binomial_equals_ungrouped_bernoulli(l2):
    case, half = CASES["binomial-logit"], N // 2
    X, (successes, trials), _ = data(case)
    grouped = fit(case, X, (successes, trials), floats((np.arange(N) < half).astype(float)), l2=l2)
    twice = np.concatenate([X[:half], X[:half]])
    y = np.repeat([1, 0], half)
    weights = np.concatenate([successes[:half], (trials - successes)[:half]])
    ungrouped = fit(CASES["bernoulli-logit"], twice, y, floats(weights.astype(float)), l2=l2)
    same_fit(grouped, ungrouped, 0.1)


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_multinomial_counts_equal_categorical_rows(l2):
    case, some = CASES["multinomial"], N // 3
    X, y, _ = data(case)
    grouped = fit(case, X, y, floats((np.arange(N) < some).astype(float)), l2=l2)
    index = np.resize(np.arange(3 * some) % some, N)
    labels = np.resize(np.arange(3 * some) // some, N)
    weights = np.where(np.arange(N) < 3 * some, y[index, labels], 0).astype(float)
    rows = fit(CASES["categorical"], X[index], labels, floats(weights), l2=l2)
    same_fit(grouped, rows, 0.1)


def test_softmax_of_two_classes_at_l2_equals_logistic_at_half_the_l2():
    case, l2 = CASES["bernoulli-logit"], 0.3
    X, y, weights = data(case)
    softmax = glm.fit(families.Categorical(2), X, y, weights=weights, l2=l2).params
    logistic = fit(case, X, y, weights, l2=l2 / 2).params
    assert_agree(softmax.weight[:, 1] - softmax.weight[:, 0], logistic.weight, "fit", 0.1)
    assert_agree(softmax.bias[1] - softmax.bias[0], logistic.bias, "fit", 0.1)


def test_exponential_is_gamma_of_shape_one():
    case = CASES["exponential-inverse"]
    X, y, weights = data(case)
    gamma = glm.fit(families.Gamma(shape=1.0), X, y, weights=weights)
    same_fit(gamma, base_fit(case), standard_errors(case), "same")
    assert_agree(gamma.log_likelihood, base_fit(case).log_likelihood, "same", 1)
    assert_agree(
        base_fit(CASES["gamma-inverse"]).params.weight,
        gamma.params.weight,
        "fit",
        0.1,
        "the shape does not move the mean",
    )


@pytest.mark.parametrize(("name", "function"), [("bernoulli-probit", jax.scipy.stats.norm.cdf), ("gamma-log", jnp.exp)])
def test_link_given_as_a_function_equals_the_named_one(name, function):
    case = CASES[name]
    X, y, weights = data(case)
    custom = glm.fit(case.family, X, y, weights=weights, link=function)
    same_fit(custom, base_fit(case), standard_errors(case))
    assert_agree(custom.log_likelihood, base_fit(case).log_likelihood, "fit", 1)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("bernoulli-logit", "canonical"),
        ("poisson-log", "canonical"),
        ("normal-identity", None),
        ("bernoulli-logit", None),
    ],
)
def test_default_and_canonical_links_have_the_conventional_names(name, other):
    case = CASES[name]
    X, y, weights = data(case)
    same_fit(glm.fit(case.family, X, y, weights=weights, link=other), base_fit(case), standard_errors(case), "same")


@over("gamma-inverse", "inverse_gaussian-inverse_squared")
def test_canonical_link_is_a_multiple_of_the_conventional_one(case):
    X, y, weights = data(case)
    canonical = glm.fit(case.family, X, y, weights=weights, link="canonical")
    factor = {"inverse": -1, "inverse_squared": -2}[case.link]  # eta = -1 / mu, eta = -1 / (2 mu^2)
    assert_agree(factor * flat(canonical.params), flat(base_fit(case).params), "fit", standard_errors(case))


def test_penalty_may_be_a_number_an_array_or_a_pair():
    case = CASES["bernoulli-logit"]
    number = fit(case, *data(case), l2=0.2)
    for l2 in (np.full(2, 0.2), Linear(0.2, 0.0), Linear(np.full(2, 0.2), None), jnp.float32(0.2)):
        kind = "fit" if getattr(l2, "dtype", None) != jnp.float32 else "first_order"
        same_fit(fit(case, *data(case), l2=l2), number, 1, kind)
    stiff = fit(case, *data(case), l2=Linear(0.2, 1e9))
    assert abs(float(stiff.params.bias)) < 1e-5


def test_dtype_of_the_arrays_or_lists_that_hold_the_data_does_not_matter():
    case = CASES["poisson-log"]
    X, y, weights = data(case)
    for labels in (y.tolist(), y.astype(np.int8), y.astype(float).astype(DTYPE), jnp.asarray(y)):
        same_fit(fit(case, X, labels, weights), base_fit(case), 0, "same")
    same_fit(fit(case, jnp.asarray(X), y, weights.astype(int)), base_fit(case), 0, "same")


# -- the models of a first course ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("normal-identity", glm.linear_regression),
        ("bernoulli-logit", glm.logistic_regression),
        ("poisson-log", glm.poisson_regression),
        ("categorical", glm.softmax_regression),
    ],
)
def test_notes_6_4_each_family_gives_the_named_model(name, model):
    case = CASES[name]
    X, y, weights = data(case)
    same_fit(model(X, y, weights=weights), base_fit(case), standard_errors(case), "same")


def test_notes_4_1_and_4_2_logistic_likelihood_is_written_with_g():
    X, y, weights = data(CASES["bernoulli-logit"])
    theta = Linear(floats(np.array([0.3, -0.7])), floats(np.array(0.2)))
    g = 1 / (1 + np.exp(-(X @ theta.weight + theta.bias)))
    rows = y * np.log(g) + (1 - y) * np.log(1 - g)
    value = log_likelihood(families.Bernoulli(), linear, theta, X, y, weights=weights)
    assert_agree(value, np.sum(weights * rows), "same", 1)


def test_notes_4_3_softmax_probabilities():
    X, _, _ = data(CASES["categorical"])
    fitted = base_fit(CASES["categorical"])
    e = np.exp(X @ fitted.params.weight + fitted.params.bias)
    assert_agree(glm.predict(fitted, X), e / e.sum(axis=1, keepdims=True), "same", 1)


def regression():
    X, y, _ = data(CASES["normal-identity"])
    expected = np.linalg.lstsq(np.column_stack([X, np.ones(N)]).astype(float), y.astype(float), rcond=None)[0]
    return X, y, expected


def squared_error(theta, row):
    x, y = row
    return (theta[:2] @ x + theta[2] - y) ** 2 / 2


def cost(theta, X, y):
    return jnp.sum(jnp.square(X @ theta[:2] + theta[2] - y)) / 2


def test_notes_3_4_normal_equation_solves_least_squares():
    X, y, expected = regression()
    theta = glm.normal_equation(X, y)
    assert_agree(flat(theta), expected, "same", 1)
    residual = X @ theta.weight + theta.bias - y
    assert_agree(residual @ X, np.zeros(2), "same", N)
    assert_agree(flat(glm.least_squares(X, y)), expected, "same", 1)


def test_notes_3_5_newton_solves_least_squares_in_one_step_from_zero():
    X, y, expected = regression()
    one = optimize.newton(cost, jnp.zeros(3, DTYPE), X, y)
    assert int(one.steps) == 1
    assert_agree(one.params, expected, "same", 1)
    fitted = glm.linear_regression(X, y)
    assert int(fitted.steps) <= 1
    assert_agree(flat(fitted.params), expected, "same", 1)


def test_notes_3_2_batch_update_and_its_limit():
    X, y, expected = regression()
    step = optimize.gradient_descent(cost, jnp.zeros(3, DTYPE), X, y, learning_rate=0.01, max_steps=1)
    by_hand = -0.01 * np.array([*((0 - y) @ X), np.sum(0 - y)])
    assert_agree(step.params, by_hand, "same", 1)
    limit = optimize.gradient_descent(cost, jnp.zeros(3, DTYPE), X, y, learning_rate=0.01, max_steps=3000)
    assert_agree(limit.params, expected, "first_order", 1)


def test_notes_3_3_stochastic_update_is_the_lms_rule():
    X, y, expected = regression()
    single = optimize.sgd(squared_error, jnp.zeros(3, DTYPE), (X[:1], y[:1]), learning_rate=0.1, epochs=1)
    assert_agree(single.params, 0.1 * y[0] * np.array([*X[0], 1]), "same", 1)
    decaying = optax.exponential_decay(0.2, N, 0.993)
    limit = optimize.sgd(squared_error, jnp.zeros(3, DTYPE), (X, y), learning_rate=decaying, epochs=1600)
    assert_agree(limit.params, expected, "first_order", 1)


# -- solvers ---------------------------------------------------------------------------------------------------------
SOLVERS = [
    ("bernoulli-logit", optimize.Newton(reuse=True), "fit"),
    ("categorical", optimize.Newton(reuse=True), "fit"),
    ("gamma-log", optimize.Newton(reuse=True), "fit"),
    ("bernoulli-logit", optimize.LBFGS(), "first_order"),
    ("categorical", optimize.LBFGS(), "first_order"),
    ("negative_binomial-log", optimize.LBFGS(), "first_order"),
    ("bernoulli-logit", optimize.GradientDescent(learning_rate=4.0, max_steps=4000), "first_order"),
    ("normal-identity", optimize.GradientDescent(learning_rate=1.0, max_steps=4000), "first_order"),
    ("poisson-log", optimize.Optax(transform=ADAM, max_steps=6000), "first_order"),
]


@pytest.mark.parametrize(
    ("name", "solver", "kind"),
    mostly_slow(
        SOLVERS,
        ["categorical-Newton", "bernoulli-logit-LBFGS", "normal-identity-GradientDescent", "poisson-log-Optax"],
        [f"{name}-{type(solver).__name__}" for name, solver, _ in SOLVERS],
    ),
)
def test_solvers_reach_the_fit_of_newton(name, solver, kind):
    case = CASES[name]
    same_fit(fit(case, *data(case), solver=solver), base_fit(case), standard_errors(case), kind)


def test_minibatches_reach_the_fit_of_newton_with_a_decaying_rate():
    case = CASES["bernoulli-logit"]
    rate = optax.exponential_decay(2.0, 4, 0.99)
    solver = optimize.SGD(learning_rate=rate, epochs=800, batch_size=16, tol=1e-3)
    same_fit(fit(case, *data(case), solver=solver), base_fit(case), 1, "stochastic")


def test_trace_falls_to_the_value_of_the_fit():
    case = CASES["poisson-log"]
    fitted = fit(case, *data(case), trace=True)
    values = np.asarray(fitted.trace.value)[: int(fitted.steps) + 1]
    assert np.all(np.diff(values) <= 1e-12 * np.abs(values[0]))
    assert_agree(values[-1], fitted.value, "same", 1)
    assert np.all(np.isnan(np.asarray(fitted.trace.value)[int(fitted.steps) + 1 :]))


def test_starting_at_the_answer_takes_at_most_one_step():
    case = CASES["bernoulli-logit"]
    again = fit(case, *data(case), init=base_fit(case).params)
    assert int(again.steps) <= 1
    same_fit(again, base_fit(case), standard_errors(case), "same")


# -- weight kinds ----------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_weight_kinds_share_the_coefficients_and_differ_in_the_dispersion():
    case = CASES["normal-identity"]
    X, y, weights = data(case)
    a = np.column_stack([X, np.ones(N)])
    residual = y - a @ flat(base_fit(case).params)
    rss = np.sum(weights * residual**2)
    precision = fit(case, X, y, weights, weight_kind="precision")
    sampling = fit(case, X, y, weights, weight_kind="sampling")
    same_fit(precision, base_fit(case), 0, "same")
    assert_agree(base_fit(case).dispersion, rss / (weights.sum() - 3), "fit", 0)
    assert_agree(precision.dispersion, rss / (USED - 3), "fit", 0)
    assert_agree(sampling.dispersion, rss / (USED - 3), "fit", 0)
    assert sampling.log_likelihood is None
    on, phi = weights > 0, rss / USED
    expected = np.sum(-0.5 * np.log(2 * np.pi * phi / weights[on]) - weights[on] * residual[on] ** 2 / (2 * phi))
    assert_agree(precision.log_likelihood, expected, "fit", 1)


@over(*(name for name, case in CASES.items() if not case.family.estimates_dispersion))
def test_log_likelihood_of_a_fit_is_that_of_its_rows(case):
    X, y, weights = data(case)
    rows = families.log_prob(case.family, glm.predict_natural(base_fit(case), X), y)
    expected = np.sum(np.where(weights > 0, weights * np.where(weights > 0, rows, 0), 0))
    assert_agree(base_fit(case).log_likelihood, expected, "same", 1)


def test_score_is_the_mean_log_likelihood():
    case = CASES["poisson-log"]
    X, y, weights = data(case)
    fitted = base_fit(case)
    assert_agree(glm.score(fitted, X, y, weights=weights), fitted.log_likelihood / weights.sum(), "same", 1)


# -- rank ------------------------------------------------------------------------------------------------------------
def minimum_norm(X, y):
    X, y = X.astype(float), y.astype(float)
    middle = X.mean(axis=0)
    # A column made of others in float32 depends on them up to its rounding only.
    weight = np.linalg.lstsq(X - middle, y - y.mean(), rcond=FLAT)[0]
    return weight, y.mean() - middle @ weight


@pytest.mark.parametrize("kind", mostly_slow(["duplicate", "constant", "combination"], ["combination"]))
def test_dependent_column_lowers_the_rank_and_gives_the_minimum_norm(kind):
    X, y, _ = regression()[0], regression()[1], None
    last = {"duplicate": X[:, 0], "constant": np.full(N, 3.0), "combination": X[:, 0] - 2 * X[:, 1] + 5}[kind]
    wide = floats(np.column_stack([X, last]))
    fitted = glm.linear_regression(wide, y)
    weight, bias = minimum_norm(wide, y)
    assert (int(fitted.rank), int(fitted.status)) == (3, Status.CONVERGED)
    assert_agree(fitted.params.weight, weight, "fit", 1)
    assert_agree(fitted.params.bias, bias, "fit", 1)
    assert_agree(glm.predict(fitted, wide), X @ regression()[2][:2] + regression()[2][2], "fit", 1)


@pytest.mark.slow
def test_dependent_column_changes_no_fitted_value_of_a_logistic_regression():
    case = CASES["bernoulli-logit"]
    X, y, weights = data(case)
    wide = floats(np.column_stack([X, X[:, 0] + X[:, 1]]))
    fitted = glm.fit(case.family, wide, y, weights=weights)
    assert (int(fitted.rank), int(fitted.status)) == (3, Status.CONVERGED)
    assert_agree(glm.predict_natural(fitted, wide), glm.predict_natural(base_fit(case), X), "fit", 1)
    assert_agree(fitted.log_likelihood, base_fit(case).log_likelihood, "fit", 1)


def test_more_columns_than_rows_interpolate_with_the_minimum_norm():
    rng = np.random.default_rng(5)
    X, y = floats((rng.normal(size=(6, 9)), rng.normal(size=6)))
    fitted = glm.linear_regression(X, y)
    weight, bias = minimum_norm(X, y)
    assert (int(fitted.rank), int(fitted.status)) == (6, Status.CONVERGED)
    assert_agree(fitted.params.weight, weight, "fit", 1)
    assert_agree(fitted.params.bias, bias, "fit", 1)
    assert_agree(glm.predict(fitted, X), y, "fit", 1)


def test_rank_without_intercept_counts_a_constant_column():
    X, y, _ = regression()
    fitted = glm.linear_regression(floats(np.column_stack([X, np.ones(N)])), y, intercept=False)
    assert int(fitted.rank) == 3
    assert fitted.params.bias is None
    assert_agree(fitted.params.weight, regression()[2], "fit", 1)


@pytest.mark.parametrize(
    "family", mostly_slow([families.Poisson(), families.Categorical(3)], ["poisson"], ["poisson", "categorical"])
)
def test_model_without_columns_is_the_intercept_alone(family):
    y = np.array([0, 1, 2, 2, 1, 2])
    fitted = glm.fit(family, np.zeros((6, 0), DTYPE), y)
    mean = np.bincount(y) / 6 if isinstance(family, families.Categorical) else y.mean()
    assert int(fitted.status) == Status.CONVERGED
    assert_agree(glm.predict(fitted, np.zeros((1, 0), DTYPE))[0], mean, "fit", 1)


def test_new_family_of_four_methods_is_fitted_like_the_others():
    @families.family
    class Rayleigh(Family):
        def log_partition(self, eta):
            return jnp.where(eta < 0, -jnp.log(-eta), jnp.inf)

        def statistic(self, y):
            return y**2

        def log_base(self, y):
            return jnp.log(2 * y)

        def support(self, y):
            return y > 0

    X, y, weights = data(CASES["exponential-inverse"])
    rayleigh = glm.fit(
        Rayleigh(), X, np.sqrt(y), weights=weights, init=Linear(jnp.zeros(2, DTYPE), jnp.asarray(-0.5, DTYPE))
    )
    # Y^2 is exponential with the same rate -eta = 1 / mu.
    assert_agree(-flat(rayleigh.params), flat(base_fit(CASES["exponential-inverse"]).params), "fit", 0.1)


def test_curvature_without_slopes_is_that_of_the_general_formula_and_so_are_its_derivatives():
    """Where all weights are 0, as at the start, a search takes a shorter way to the same matrix."""
    rng = np.random.default_rng(0)
    X, y = jnp.asarray(rng.normal(size=(12, 2))), jnp.asarray(np.arange(12) % 3)
    zero = Linear(jnp.zeros((2, 3), X.dtype), jnp.zeros(3, X.dtype))
    rows = Rows(X, y, jnp.asarray(rng.uniform(1, 2, 12), X.dtype))
    objective = GLMObjective(families.Categorical(3), rows, jnp.zeros(2, X.dtype), zero, 12.0, 1, links.canonical)
    params = zero._replace(bias=jnp.asarray([0.3, -0.1, 0.2], X.dtype))
    x, unravel = ravel_pytree(params)

    @jax.jit
    def everything(x):
        exact = jax.hessian(lambda x: objective.summed(unravel(x)))
        ours = lambda x: objective.curvature(unravel(x))
        searched = objective.evaluate(unravel(x), True, 0).hessian
        return searched, ours(x), exact(x), jax.jacfwd(ours)(x), jax.jacfwd(exact)(x)

    searched, ours, exact, slopes, exact_slopes = everything(x)
    assert_agree(searched, exact, "derivative", 1)
    assert_agree(ours, exact, "derivative", 1)
    assert np.abs(slopes).max() > 0.1
    assert_agree(slopes, exact_slopes, "derivative", 1)
