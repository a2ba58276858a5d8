"""How fits end: each status by a designed case, and the verdict on separation against an exact linear program."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn import datasets

import jaxml
from jaxml import families, glm, optimize
from jaxml.likelihood import log_likelihood
from jaxml.predictors import Linear, linear
from jaxml.status import ConvergenceWarning, Status
from marks import mostly_slow

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
pytestmark = pytest.mark.filterwarnings("ignore:float64 data are computed in float32")

OVERLAPPING = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]], DTYPE), np.array([0, 1, 0, 1, 0, 1])
COMPLETE = np.array([[-3.0], [-2.0], [-1.0], [1.0], [2.0], [3.0]], DTYPE), np.array([0, 0, 0, 1, 1, 1])
QUASI = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]], DTYPE), np.array([0, 0, 0, 1, 1, 1])
LEVEL = np.array([[1.0], [1.0], [1.0], [0.0], [0.0], [0.0]], DTYPE), np.array([0, 0, 0, 1, 4, 2])


def ends(status, family, X, y, **options):
    """Fit, demand the status and its warning, and finite params."""
    words = status.name.lower().replace("_", "[ -]")
    with pytest.warns(ConvergenceWarning, match=words):
        fit = glm.fit(family, X, y, **options)
    assert int(fit.status) == status
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(fit.params))
    return fit


# -- one case for each status ----------------------------------------------------------------------------------------
def test_converged_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = glm.logistic_regression(*OVERLAPPING)
    assert int(fit.status) == Status.CONVERGED
    assert jaxml.report(fit).startswith("converged")


def test_step_limit():
    fit = ends(Status.STEP_LIMIT, families.Bernoulli(), *OVERLAPPING, solver=optimize.Newton(max_steps=1))
    assert int(fit.steps) == 1
    ends(
        Status.STEP_LIMIT,
        families.Bernoulli(),
        *OVERLAPPING,
        solver=optimize.GradientDescent(learning_rate=0.01, max_steps=5),
    )


def test_evaluations_of_a_search_that_is_given_up_count():
    fit = ends(Status.SEPARATED, families.Bernoulli(), *COMPLETE)
    surer = jax.jit(lambda X, y: glm.fit(families.Bernoulli(), X, y))(*COMPLETE)
    assert surer.status == fit.status and fit.evaluations > surer.evaluations > 1 and fit.curvatures > surer.curvatures


@jax.custom_jvp
def uphill(x):
    return x * x


uphill.defjvps(lambda tangent, _, x: -2 * x * tangent)


def wrong(x):
    return uphill(x - 1.0) + 1.0


@pytest.mark.parametrize("solver", [optimize.Newton(), optimize.LBFGS()], ids=["newton", "lbfgs"])
def test_line_search_failed_where_the_derivative_has_the_wrong_sign(solver):
    result = optimize.minimize(wrong, 3.0, solver=solver)
    assert int(result.status) == Status.LINE_SEARCH_FAILED
    assert float(result.params) == 3.0
    with pytest.warns(ConvergenceWarning, match="line search failed"):
        jaxml.report(result)


def test_boundary_where_the_maximum_of_a_poisson_identity_model_lies_on_it():
    with pytest.warns(
        ConvergenceWarning, match=r"boundary: .* Row 2 is on the edge: .* in a domain of \(0, inf\)"
    ) as caught:
        fit = glm.fit(families.Poisson(), np.array([[0], [1], [2]], DTYPE), np.array([3, 0, 0]), link="identity")
    assert caught[0].filename == __file__
    assert Status(int(fit.status)) is Status.BOUNDARY
    # The maximum over the closed domain is at bias 2, weight -1: means 2, 1, 0.
    assert np.allclose([fit.params.bias, fit.params.weight[0]], [2.0, -1.0], atol=1e-9 if X64 else 1e-5)


def test_boundary_of_a_log_binomial_model():
    X, y = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [4.0]]), np.array([0, 0, 1, 0, 1, 1])
    fit = ends(Status.BOUNDARY, families.Bernoulli(), X, y, link="log")
    assert np.allclose(fit.params.bias, -4 * fit.params.weight[0])  # the mean at x = 4 is 1, and both y there are


@pytest.mark.slow
def test_a_link_given_as_a_function_warns_where_it_saturates():
    X, y = np.array([[0], [1], [2], [3], [4], [50]], DTYPE), np.array([0, 0, 1, 0, 1, 1])
    with pytest.warns(ConvergenceWarning, match=r"'ndtr' goes through the mean, which saturates in 1 row \(.*row 5"):
        glm.fit(families.Bernoulli(), X, y, link=jax.scipy.special.ndtr)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        glm.fit(families.Bernoulli(), X, y, link="probit")
        glm.fit(families.Bernoulli(), X[:5], y[:5], link=jax.scipy.special.ndtr)


def test_as_many_parameters_as_observations_is_called_saturated():
    fit = glm.fit(families.Normal(), np.array([[0.0], [1.0]]), np.array([0.0, 1.0]))
    assert np.isnan(fit.dispersion)
    assert jaxml.report(fit).endswith(
        "Saturated: as many parameters as observations, so that the dispersion is not defined (NaN)."
    )


@pytest.mark.parametrize("rows", [COMPLETE, QUASI], ids=["complete", "quasi-complete"])
@pytest.mark.parametrize("link", mostly_slow(["logit", "probit", "cloglog"], ["logit"]))
def test_separated_binary_data(rows, link):
    ends(Status.SEPARATED, families.Bernoulli(), *rows, link=link)


def test_separated_softmax_on_iris_without_penalty():
    ends(Status.SEPARATED, families.Categorical(3), *datasets.load_iris(return_X_y=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_separated_real_data_without_penalty(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    ends(Status.SEPARATED, families.Categorical(int(y.max()) + 1), X, y)


@pytest.mark.parametrize("family", [families.Bernoulli(), families.Poisson()], ids=["bernoulli", "poisson"])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_separated_where_y_is_all_zero_whatever_the_penalty_on_the_weight(family, l2):
    ends(Status.SEPARATED, family, OVERLAPPING[0], np.zeros(6, int), l2=l2)


def test_all_zero_y_converges_with_a_penalty_on_the_bias():
    fit = glm.fit(families.Bernoulli(), OVERLAPPING[0], np.zeros(6, int), l2=Linear(0.1, 0.1))
    assert int(fit.status) == Status.CONVERGED


def test_separated_poisson_counts_that_are_zero_wherever_a_level_is_present():
    ends(Status.SEPARATED, families.Poisson(), *LEVEL)
    ends(Status.SEPARATED, families.NegativeBinomial(r=2.0), *LEVEL)


def test_separated_class_that_never_occurs():
    X, y = datasets.load_iris(return_X_y=True)
    ends(Status.SEPARATED, families.Categorical(4), X[50:], y[50:])


@pytest.mark.parametrize(
    "solver", [optimize.LBFGS(), optimize.Newton(reuse=True), optimize.GradientDescent(learning_rate=1.0)]
)
def test_other_solvers_do_not_call_separated_data_converged(solver):
    with pytest.warns(ConvergenceWarning):
        fit = glm.logistic_regression(*COMPLETE, solver=solver)
    assert int(fit.status) in (Status.SEPARATED, Status.STEP_LIMIT)
    assert np.isfinite(fit.params.weight).all()


def test_infeasible_where_no_mean_is_positive():
    ends(
        Status.INFEASIBLE,
        families.Gamma(),
        np.array([[1.0], [-1.0]]),
        np.array([1.0, 2.0]),
        link="identity",
        intercept=False,
    )


def test_infeasible_where_weights_times_counts_overflow():
    huge = np.finfo(DTYPE).max / 10
    ends(Status.INFEASIBLE, families.Poisson(), np.eye(2, dtype=DTYPE)[:, :1], [100, 200], weights=[huge, huge])


def test_infeasible_start_given_by_the_user():
    init = Linear(jnp.array([-10.0]), jnp.array(-1.0))
    ends(Status.INFEASIBLE, families.Gamma(), OVERLAPPING[0], np.arange(1.0, 7.0), link="identity", init=init)


def test_non_finite_where_gradient_descent_diverges():
    with pytest.warns(ConvergenceWarning, match=r"non-finite|step limit"):
        fit = glm.linear_regression(
            np.array([[0.0], [9.0], [20.0]]), [1.0, 2.0, 4.0], solver=optimize.GradientDescent(learning_rate=9.0)
        )
    assert int(fit.status) == Status.NON_FINITE


def test_a_fit_whose_coefficients_are_lost_has_no_numbers():
    X, y = np.array([[0.0], [9.0], [20.0]]), np.array([1.0, 2.0, 4.0])
    with pytest.warns(ConvergenceWarning, match="non-finite"):
        fit = glm.linear_regression(X, y, solver=optimize.SGD(learning_rate=1e3, epochs=300))
    assert int(fit.status) == Status.NON_FINITE
    for number in (*jax.tree.leaves(fit.params), fit.value, fit.log_likelihood, fit.dispersion, glm.predict(fit, X)):
        assert not np.any(np.isfinite(number))


@pytest.mark.parametrize("place", ["X", "y", "weights", "offset"])
@pytest.mark.parametrize(("family", "spoilt"), [(families.Bernoulli(), np.nan), (families.Gamma(), np.inf)])
def test_non_finite_data_inside_jit_are_told_by_the_status(family, spoilt, place):
    X, y = OVERLAPPING
    rows = {"X": X, "y": y + 0.5 * isinstance(family, families.Gamma), "weights": np.ones(6), "offset": np.zeros(6)}
    rows[place] = np.where(np.arange(rows[place].size).reshape(rows[place].shape) == 2, spoilt, rows[place])
    assert int(in_jit(family, **rows).status) == Status.NON_FINITE


def test_all_weights_zero_or_a_negative_one_inside_jit_are_told_by_the_status():
    X, y = OVERLAPPING
    for weights in (np.zeros(6), np.array([1.0, 1.0, -1.0, 1.0, 1.0, 1.0])):
        assert int(in_jit(families.Bernoulli(), X, y.astype(float), weights, np.zeros(6)).status) == Status.NON_FINITE


def test_y_outside_the_support_inside_jit_is_told_by_the_status():
    X, y = OVERLAPPING
    assert int(in_jit(families.Bernoulli(), X, y + 1.0, np.ones(6), np.zeros(6)).status) == Status.NON_FINITE


@jax.jit
def in_jit(family, X, y, weights, offset):
    return glm.fit(family, X, y, weights=weights, offset=offset)


def test_check_false_looks_at_nothing_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = glm.logistic_regression(*COMPLETE, check=False)
        spoilt = glm.logistic_regression(np.where(COMPLETE[0] == 3, np.nan, COMPLETE[0]), COMPLETE[1], check=False)
    assert int(fit.status) == Status.SEPARATED
    assert int(spoilt.status) == Status.NON_FINITE


# -- what is told ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_message_that_starts_with_its_name(status):
    name = status.name.lower()
    assert status.message.replace("-", " ").startswith(name.replace("_", " "))


def test_report_counts_a_batch():
    X = np.stack([OVERLAPPING[0], COMPLETE[0], OVERLAPPING[0]])
    y = np.stack([OVERLAPPING[1], COMPLETE[1], OVERLAPPING[1]])
    batch = jax.vmap(partial(glm.fit, families.Bernoulli()))(X, y)
    with pytest.warns(ConvergenceWarning, match="3 fits: 2 converged, 1 separated"):
        text = jaxml.report(batch)
    assert text == "3 fits: 2 converged, 1 separated"


@pytest.mark.slow
def test_gradient_norm_decrement_and_counts_are_those_of_the_last_point_evaluated():
    rng = np.random.default_rng(3)
    X = rng.normal(1.0, [1.0, 50.0], (40, 2)).astype(DTYPE)
    y, w = rng.poisson(2.0, 40), rng.integers(1, 4, 40)
    fit = ends(Status.STEP_LIMIT, families.Poisson(), X, y, weights=w, solver=optimize.Newton(max_steps=1))
    assert int(fit.steps) == 1 and int(fit.evaluations) == 2  # so params are where the objective was evaluated
    loss = lambda t: -log_likelihood(families.Poisson(), linear, Linear(t[:2], t[2]), X, y, weights=jnp.asarray(w))
    theta = jnp.append(fit.params.weight, fit.params.bias)
    g, H = jax.grad(loss)(theta), jax.hessian(loss)(theta)
    rms = np.append(np.sqrt(np.average(X**2, axis=0, weights=w)), 1)
    rtol = 1e-8 if X64 else 1e-3
    np.testing.assert_allclose(fit.gradient_norm, np.max(np.abs(g) / rms) / w.sum(), rtol=rtol)
    np.testing.assert_allclose(fit.decrement, np.sqrt(g @ np.linalg.solve(H, g)), rtol=rtol)
    np.testing.assert_allclose(fit.log_likelihood, -loss(theta), rtol=rtol)


# -- close calls -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("overlap", mostly_slow([1e-1, 1e-2, 1e-3, 1e-4], [1e-4]))
def test_nearly_separated_data_with_one_overlapping_pair_converge(overlap):
    x = np.concatenate([np.linspace(-2, -0.5, 8), np.linspace(0.5, 2, 8), [overlap, -overlap]]).astype(DTYPE)
    y = np.concatenate([np.zeros(8), np.ones(8), [0, 1]]).astype(int)
    fit = glm.logistic_regression(x[:, None], y)
    assert int(fit.status) == Status.CONVERGED
    p = np.asarray(glm.predict(fit, x[:, None]))
    assert abs(np.sum(p - y)) <= (1e-8 if X64 else 1e-6)
    assert abs(np.sum((p - y) * x)) <= (1e-8 if X64 else 1e-6)


def binary_designs(seed, lanes, counts=2):
    """Small designs on a coarse grid, padded with rows of weight 0: ties make quasi-complete separation common."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, (lanes, 16, 2)).astype(float)
    X[::3] += 0.3 * rng.normal(size=X[::3].shape)
    y = rng.integers(0, counts, (lanes, 16))
    lean = rng.random((lanes, 1)) < 0.4
    y = np.where(lean, np.minimum(X[:, :, 0] + rng.normal(scale=0.6, size=(lanes, 16)) > 0, 1), y)
    weights = (np.arange(16) < rng.integers(4, 17, (lanes, 1))).astype(float)
    return X, y.astype(int), weights


def rises(rows, equal=None):
    """Whether some d with rows @ d >= 0 and equal @ d = 0 has rows @ d != 0: exact, by linear programming."""
    rows = np.asarray(rows)
    zeros = None if equal is None or not len(equal) else np.zeros(len(equal))
    best = linprog(
        -rows.sum(axis=0),
        -rows,
        np.zeros(len(rows)),
        equal if zeros is not None else None,
        zeros,
        bounds=(-1, 1),
        method="highs",
    )
    return -best.fun > 1e-7


def with_one(X):
    return np.column_stack([X, np.ones(len(X))])


def conditions(name, X, y):
    """What a direction of separation must not make negative, and what it must leave at 0, typed from the definition."""
    one = with_one(X)
    if name == "bernoulli":
        return (2 * y[:, None] - 1) * one, None
    if name == "poisson":
        return -one[y == 0], one[y > 0]
    if name == "binomial":
        return np.concatenate([one[y == 2], -one[y == 0]]), one[y == 1]
    # One row for each example and other class: (d_y - d_k)' x, in the 9 entries of D.
    other = lambda c: [k for k in range(3) if k != c]
    return [np.kron(np.eye(3)[c] - np.eye(3)[k], row) for row, c in zip(one, y, strict=True) for k in other(c)], None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bernoulli", "poisson", "binomial", "categorical"])
def test_verdict_on_1000_random_designs_equals_the_linear_program(name):
    """A quarter of them for each family."""
    seed, counts = {"bernoulli": (0, 2), "poisson": (1, 4), "binomial": (3, 3), "categorical": (2, 3)}[name]
    family = {
        "bernoulli": families.Bernoulli(),
        "poisson": families.Poisson(),
        "binomial": families.Binomial(),
        "categorical": families.Categorical(3),
    }[name]
    X, y, weights = binary_designs(seed, 250, counts)
    given = (lambda y: (y, np.full_like(y, 2))) if name == "binomial" else (lambda y: y)
    fit = jax.jit(jax.vmap(lambda X, y, weights: glm.fit(family, X, y, weights=weights)))(X, given(y), weights)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(fit.params))
    expected, found = [], []
    for a, b, w in zip(X, y, weights, strict=True):
        rows, equal = conditions(name, a[w > 0], b[w > 0])
        expected.append(len(rows) > 0 and rises(rows, equal))
        said = glm.separation(family, a, given(b), weights=w)
        found.append(said.separated)
        # The direction itself proves the verdict.
        D = np.concatenate([np.atleast_1d(p).reshape(-1, 3 if name == "categorical" else 1) for p in said.direction])
        D = D.T.ravel()  # one class after another
        margins = np.asarray(rows) @ D if len(rows) else np.zeros(1)
        assert (margins.max() > 1e-6) == said.separated and margins.min() > -1e-12
        assert equal is None or np.abs(equal @ D).max(initial=0) < 1e-12
    np.testing.assert_array_equal(found, expected)
    wrong = np.flatnonzero(np.asarray(fit.status) != np.where(expected, int(Status.SEPARATED), int(Status.CONVERGED)))
    assert any(expected) and not all(expected)
    assert wrong.size == 0, [(int(i), Status(fit.status[i]).name, expected[i]) for i in wrong]
