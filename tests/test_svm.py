"""Support vector machines against scikit-learn, against their own dual, and against each other."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, LinearSVC

from jaxml import Status, kernels
from jaxml.kernels import svm
from jaxml.predictors import Linear

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
TIGHT = 1e-9 if X64 else 1e-3
CLOSE = 1e-4 if X64 else 3e-2  # of decision values, whose error is the root of that of the objective


def table(load):
    X, y = load(return_X_y=True)
    return ((X - X.mean(0)) / X.std(0)).astype(DTYPE), y


CANCER, IRIS, WINE = map(table, (load_breast_cancer, load_iris, load_wine))
SIGMA = 3.0


def machine(X, y, C=1.0, tol=TIGHT, **options):
    return kernels.support_vector_machine(X, y, l2=1 / (len(X) * C), tol=tol, **options)


def assert_close(actual, expected, scale=CLOSE):
    actual, expected = np.asarray(actual), np.asarray(expected)
    np.testing.assert_allclose(actual, expected, atol=scale * np.abs(expected).max())


def quietly(model, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*data)


# -- another package -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("C", [0.1, 10.0])
@pytest.mark.parametrize("name", ["gaussian", "linear"])
def test_svc(name, C):
    X, y = CANCER
    other = SVC(C=C, kernel={"gaussian": "rbf"}.get(name, name), gamma=1 / (2 * SIGMA**2), tol=1e-9).fit(X, y)
    fit = machine(X, y, C, kernel=kernels.Gaussian(SIGMA) if name == "gaussian" else None)
    assert fit.status == Status.CONVERGED and fit.gap <= TIGHT
    assert_close(kernels.decision_function(fit, X), other.decision_function(X))
    np.testing.assert_array_equal(kernels.classify(fit, X), other.predict(X))
    if X64:
        np.testing.assert_array_equal(np.flatnonzero(fit.support), np.sort(other.support_))


@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_linear_svc(loss, C):
    X, y = CANCER
    other = quietly(LinearSVC(C=C, loss=loss, tol=1e-10, max_iter=1_000_000, random_state=0), X, y)
    fit = machine(X, y, C, loss=loss, penalize_bias=True)
    assert fit.status == Status.CONVERGED
    assert_close(kernels.decision_function(fit, X), other.decision_function(X))


@pytest.mark.parametrize(("name", "data"), [("iris", IRIS), ("wine", WINE)])
@pytest.mark.slow
def test_one_against_the_rest(name, data):
    X, y = data
    other = OneVsRestClassifier(SVC(C=1.0, gamma=1 / (2 * SIGMA**2), tol=1e-9)).fit(X, y)
    fit = machine(X, y, kernel=kernels.Gaussian(SIGMA))
    assert fit.status.shape == (3,) and np.all(fit.status == Status.CONVERGED)
    expected = np.stack([e.decision_function(X) for e in other.estimators_], axis=1)
    assert_close(kernels.decision_function(fit, X), expected)
    linear = quietly(LinearSVC(C=1.0, loss="hinge", tol=1e-10, max_iter=1_000_000, random_state=0), X, y)
    fit = machine(X, y, penalize_bias=True)
    assert_close(kernels.decision_function(fit, X), linear.decision_function(X))


def test_class_weights():
    X, y = CANCER
    other = SVC(C=1.0, gamma=1 / (2 * SIGMA**2), tol=1e-9, class_weight={0: 5.0, 1: 0.5}).fit(X, y)
    fit = machine(X, y, kernel=kernels.Gaussian(SIGMA), class_weights=[5.0, 0.5])
    assert_close(kernels.decision_function(fit, X), other.decision_function(X))


# -- the answer proves itself ----------------------------------------------------------------------------------------
def objectives(X, y, fit, C, squared, K, penalize_bias):
    """Primal at the params and dual at the dual variables, typed anew."""
    s, a = np.where(y == 1, 1.0, -1.0), np.asarray(fit.dual, np.float64)
    f = np.asarray(kernels.decision_function(fit, X), np.float64)
    bias = 0.0 if fit.params.bias is None else float(fit.params.bias)
    weight = np.asarray(fit.params.weight, np.float64)
    size = weight @ (K @ weight) if fit.points is not None else weight @ weight
    slack = np.maximum(0, 1 - s * f)
    primal = size / 2 + penalize_bias * bias**2 / 2 + C * np.sum(slack**2 if squared else slack)
    Q = K + penalize_bias
    dual = a.sum() - (s * a) @ Q @ (s * a) / 2 - squared * np.sum(a * a) / (4 * C)
    return primal, dual


@pytest.mark.parametrize(
    ("kernel", "loss", "bias"),
    [  # every pair of two of them
        (None, "hinge", "free"),
        (None, "squared_hinge", "penalized"),
        (None, "hinge", "none"),
        (kernels.Gaussian(SIGMA), "squared_hinge", "free"),
        (kernels.Gaussian(SIGMA), "hinge", "penalized"),
        (kernels.Gaussian(SIGMA), "squared_hinge", "none"),
    ],
)
@pytest.mark.slow
def test_the_gap_encloses_the_minimum(kernel, loss, bias):
    X, y = CANCER[0][:200], CANCER[1][:200]
    C, squared = 2.0, loss == "squared_hinge"
    options = {"intercept": bias != "none", "penalize_bias": bias == "penalized"}
    fit = machine(X, y, C, tol=1e-6 if X64 else 1e-3, kernel=kernel, loss=loss, **options)
    assert fit.status == Status.CONVERGED
    K = np.asarray(X @ X.T if kernel is None else kernels.gram(kernel, X), np.float64)
    primal, dual = objectives(X, y, fit, C, squared, K, bias == "penalized")
    tol = 1e-6 if X64 else 1e-3
    assert abs(primal - dual) <= 1.01 * tol * primal
    np.testing.assert_allclose(fit.value * len(X) * C, primal, rtol=tol)
    a, s = np.asarray(fit.dual), np.where(y == 1, 1, -1)
    assert np.all(a >= 0) and (squared or np.all(a <= C * (1 + 1e-6)))
    if bias == "free":
        assert abs(np.sum(s * a)) <= (1e-9 if X64 else 1e-3) * np.sum(a)


@pytest.mark.parametrize("scale", ["standardized", "raw"])
@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_a_linear_machine_at_any_penalty(loss, scale):
    """A separable set at costs that do not matter, and columns of sizes from 1e-3 to 1e3; the gap is computed again in numpy."""
    X, y = CANCER if scale == "standardized" else load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)).astype(DTYPE)
    tol = 1e-6 if X64 else 1e-3
    costs = [1e-4, 1.0, 1e2, 1e4] + [
        1e6
    ] * X64  # at the last one l2 is 1e-9, below the rounding error of a mean in float32
    for C in costs:
        fit = machine(X, y, C, tol, loss=loss)
        assert fit.status == Status.CONVERGED, (C, fit.gap)
        a, s = np.asarray(fit.dual, np.float64), np.where(y == 1, 1.0, -1.0)
        primal, _ = objectives(X, y, fit, C, loss == "squared_hinge", np.zeros((len(X),) * 2), False)
        dual = a.sum() - np.sum(((s * a) @ X) ** 2) / 2 - (loss == "squared_hinge") * np.sum(a * a) / (4 * C)
        assert primal - dual <= 2 * tol * primal, C
        assert abs(s @ a) <= tol * a.sum()


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
@pytest.mark.parametrize("penalize_bias", [False, True])
@pytest.mark.slow
def test_a_linear_kernel_gives_the_linear_machine(loss, penalize_bias):
    X, y = CANCER
    primal = machine(X, y, 0.5, loss=loss, penalize_bias=penalize_bias)
    dual = machine(X, y, 0.5, loss=loss, penalize_bias=penalize_bias, kernel=kernels.Linear())
    assert_close(kernels.decision_function(dual, X), kernels.decision_function(primal, X))
    assert_close(np.asarray(X).T @ np.asarray(dual.params.weight), primal.params.weight)


@pytest.mark.slow
def test_rows_of_the_kernel_matrix_computed_as_they_are_needed(monkeypatch):
    X, y = CANCER[0][:60], CANCER[1][:60]
    stored = machine(X, y, kernel=kernels.Gaussian(SIGMA))
    monkeypatch.setattr(svm, "_STORED", 0)
    jax.clear_caches()
    fit = machine(X, y, kernel=kernels.Gaussian(SIGMA))
    assert fit.status == Status.CONVERGED
    assert_close(kernels.decision_function(fit, X), kernels.decision_function(stored, X))


# -- weights, labels, transforms -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kernel", [None, kernels.Gaussian(SIGMA)], ids=["linear", "gaussian"])
@pytest.mark.slow
def test_weights_are_copies_and_rows_of_weight_0_are_absent(kernel):
    X, y = CANCER[0][:100], CANCER[1][:100]
    w = np.arange(100) % 3
    l2 = 1 / w.sum()
    bad = np.where(w[:, None] == 0, np.nan, X).astype(DTYPE)
    fit = kernels.support_vector_machine(
        bad, np.where(w == 0, 7, y), classes=2, l2=l2, weights=w, kernel=kernel, tol=TIGHT
    )
    again = np.repeat(np.arange(100), w)
    copies = kernels.support_vector_machine(X[again], y[again], l2=l2, kernel=kernel, tol=TIGHT)
    assert np.all(np.asarray(fit.dual)[w == 0] == 0)
    assert_close(kernels.decision_function(fit, X), kernels.decision_function(copies, X))


@pytest.mark.slow
def test_swapped_labels_swap_signs_and_permuted_classes_permute():
    X, y = WINE
    fit = machine(X, y)
    turned = machine(X, 2 - y)
    assert_close(kernels.decision_function(turned, X)[:, ::-1], kernels.decision_function(fit, X))
    keep = y < 2
    pair, swapped = machine(X[keep], y[keep]), machine(X[keep], 1 - y[keep])
    assert_close(-kernels.decision_function(swapped, X), kernels.decision_function(pair, X))


@pytest.mark.slow
def test_a_shift_of_the_columns_moves_the_bias_alone():
    X, y = CANCER
    shift = np.arange(X.shape[1]) * (1e6 if X64 else 10.0)
    fit, moved = machine(X, y), machine((X + shift).astype(DTYPE), y, tol=1e-7 if X64 else 1e-3)
    assert_close(moved.params.weight, fit.params.weight, 1e-2)


@pytest.mark.parametrize("kernel", [None, kernels.Gaussian(SIGMA)], ids=["linear", "gaussian"])
@pytest.mark.slow
def test_a_batch_of_penalties_is_a_loop_over_them(kernel):
    X, y = jnp.asarray(CANCER[0][:100]), jnp.asarray(CANCER[1][:100])
    l2 = jnp.asarray([1e-3, 1e-1], DTYPE)
    one = lambda l2: kernels.support_vector_machine(X, y, l2=l2, kernel=kernel, classes=2, tol=TIGHT)
    batch = jax.jit(jax.vmap(one))(l2)
    for i in range(2):
        lane = jax.tree.map(lambda a, i=i: a[i], batch.params)
        single = one(l2[i])
        assert batch.status[i] == single.status
        assert_close(lane.weight, single.params.weight, 1e-3 if X64 else 1e-1)


def test_a_second_fit_compiles_nothing():
    X, y = CANCER[0][:60], CANCER[1][:60]
    fit = lambda l2, sigma: kernels.support_vector_machine(X, y, l2=l2, kernel=kernels.Gaussian(sigma), classes=2)
    fit(0.1, 2.0)
    size = svm._fit._cache_size()
    fit(0.2, 3.0)
    fit(np.float32(0.2), jnp.asarray(3.0))
    assert svm._fit._cache_size() == size


# -- how a search ends, and what is refused --------------------------------------------------------------------------
@pytest.mark.parametrize("kernel", [None, kernels.Gaussian(SIGMA)], ids=["linear", "gaussian"])
def test_out_of_steps(kernel):
    with pytest.warns(UserWarning, match="step limit"):
        fit = machine(*CANCER, kernel=kernel, max_steps=2)
    assert fit.status == Status.STEP_LIMIT and fit.gap > TIGHT
    assert np.all(np.isfinite(fit.params.weight))


def test_more_digits_than_the_arithmetic_has():
    with pytest.warns(UserWarning, match="rounding floor"):
        fit = machine(*CANCER, C=1e3 if X64 else 10.0, tol=0.0)
    assert fit.status == Status.LINE_SEARCH_FAILED
    assert abs(fit.gap) < (1e-8 if X64 else 1e-2)


def test_constant_columns_and_a_single_row_of_a_class():
    X = np.c_[np.ones(4), [0.0, 1.0, 2.0, 3.0]].astype(DTYPE)
    fit = machine(X, np.array([0, 0, 0, 1]), C=1e3)
    assert fit.status == Status.CONVERGED
    widest = [-5, -3, -1, 1]  # half way between 2 and 3
    assert_close(kernels.decision_function(fit, X), widest, 1e-3)
    assert fit.params.weight[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"l2": 0.0}, ValueError, "l2 must be positive"),
        ({"l2": [1.0, 2.0]}, ValueError, "l2 has shape"),
        ({"loss": "huber"}, ValueError, "loss='huber'"),
        ({"y": np.zeros(60, int)}, ValueError, "one class only"),
        ({"y": np.zeros(60, int), "classes": 2}, ValueError, "no row of class 1"),
        ({"y": np.full(60, -1)}, ValueError, "labels run from 0 to 1|at least two"),
        ({"y": np.full(60, 0.5)}, ValueError, "not a class label"),
        ({"X": np.full((60, 2), np.nan, DTYPE)}, ValueError, "missing"),
        ({"X": np.zeros(60, DTYPE)}, ValueError, "must have shape"),
        ({"weights": -np.ones(60, DTYPE)}, ValueError, "negative"),
        ({"class_weights": [1.0, 0.0]}, ValueError, "class_weights must be positive"),
        ({"class_weights": [1.0, 1.0, 1.0]}, ValueError, "class_weights has shape"),
        ({"classes": 1}, ValueError, "at least two"),
        ({"kernel": "rbf"}, TypeError, "kernel"),
    ],
)
def test_bad_input(change, error, match):
    X, y = CANCER[0][:60], CANCER[1][:60]
    arguments = {"X": X, "y": y, "l2": 0.1} | change
    with pytest.raises(error, match=match):
        kernels.support_vector_machine(arguments.pop("X"), arguments.pop("y"), **arguments)


def test_other_columns_are_refused():
    fit = kernels.support_vector_machine(CANCER[0][:60], CANCER[1][:60], l2=0.1)
    with pytest.raises(ValueError, match="30 columns"):
        kernels.decision_function(fit, np.zeros((2, 3), DTYPE))


def test_the_bias_of_given_weights_is_the_best():
    key = np.random.default_rng(0)
    for _ in range(20):
        n = 12
        sign, cost = np.where(key.random(n) < 0.5, 1.0, -1.0), key.integers(0, 3, n) * 1.0
        cost[:2], sign[:2] = 1.0, [1.0, -1.0]
        f = key.normal(size=n).round(1)
        margin = svm.Margin(jnp.asarray(sign, DTYPE), jnp.asarray(cost, DTYPE))
        b = float(svm._best_bias(margin, jnp.asarray(f, DTYPE), jnp.asarray(0.0, DTYPE)))
        loss = lambda b, s=sign, c=cost, f=f: np.sum(c * np.maximum(0, 1 - s * (f + b)))
        grid = np.linspace(-6, 6, 1201)
        assert loss(b) <= min(map(loss, grid)) + 1e-6


def test_params_are_those_of_the_predictors():
    X, y = CANCER[0][:60], CANCER[1][:60]
    fit = machine(X, y, kernel=kernels.Gaussian(SIGMA))
    assert isinstance(fit.params, Linear) and fit.params.weight.shape == (60,)
    K = np.asarray(kernels.gram(fit.kernel, X, fit.points))
    expected = K @ np.asarray(fit.params.weight) + float(fit.params.bias)
    assert_close(kernels.decision_function(fit, X), expected, 1e-6 if X64 else 1e-4)


# -- derivatives -----------------------------------------------------------------------------------------------------
FEW = np.random.default_rng(1).normal(size=(40, 2))
SIDES = (FEW[:, 0] * FEW[:, 1] + 0.3 * np.random.default_rng(2).normal(size=40) > 0).astype(int)
THREE = (FEW[:, 0] > 0).astype(int) + (FEW[:, 1] > 0.3)


@pytest.mark.skipif(not X64, reason="finite differences of a solution want float64")
@pytest.mark.parametrize(
    ("y", "options"),
    [
        (SIDES, {}),
        (SIDES, {"loss": "squared_hinge", "penalize_bias": True}),
        (THREE, {"intercept": False}),
    ],
    ids=["hinge", "squared, penalised bias", "three classes, no bias"],
)
@pytest.mark.slow
def test_derivatives_are_those_of_the_solution(y, options):
    """Of decision values and of the objective, in the width, the penalty, a point and the weights, against differences."""

    @jax.jit
    def summary(width, log_l2, shift, tilt):
        X = jnp.asarray(FEW).at[3, 1].add(shift)
        weights = 1 + tilt * jnp.linspace(-0.5, 0.5, 40)
        fit = kernels.support_vector_machine(
            X,
            y,
            l2=jnp.exp(log_l2),
            kernel=kernels.Gaussian(width),
            weights=weights,
            tol=1e-13,
            classes=int(y.max()) + 1,
            check=False,
            **options,
        )
        return jnp.stack([jnp.sum(jnp.sin(kernels.decision_function(fit, FEW[:5] / 2))), jnp.sum(fit.value)])

    at, h = (1.0, -4.0, 0.0, 0.3), 1e-4
    jacobian = np.stack(jax.jit(jax.jacobian(summary, (0, 1, 2, 3)))(*at), axis=1)
    for k in range(4):
        up, down = (summary(*(v + sign * h * (j == k) for j, v in enumerate(at))) for sign in (1, -1))
        difference = (np.asarray(up) - np.asarray(down)) / (2 * h)
        np.testing.assert_allclose(jacobian[1, k], difference[1], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(jacobian[0, k], difference[0], rtol=2e-2, atol=2e-3)  # of the root of the accuracy


@pytest.mark.skipif(not X64, reason="second differences want float64")
@pytest.mark.slow
def test_second_derivatives_and_rows_that_repeat_each_other():
    X, y = np.r_[FEW, FEW[:7]], np.r_[SIDES, SIDES[:7]]
    value = jax.jit(
        lambda width: (
            kernels.support_vector_machine(
                X, y, l2=0.01, kernel=kernels.Gaussian(width), tol=1e-13, classes=2, check=False
            ).value
        )
    )
    slope, h = jax.jit(jax.grad(value)), 1e-4
    np.testing.assert_allclose(slope(1.0), (value(1 + h) - value(1 - h)) / (2 * h), rtol=1e-5)
    curvature = jax.jit(jax.grad(slope))(1.0)
    np.testing.assert_allclose(curvature, (slope(1 + h) - slope(1 - h)) / (2 * h), rtol=1e-3)


@pytest.mark.slow
def test_derivatives_are_finite_where_no_row_is_on_the_margin():
    """Costs so small that every row is at its bound: beta is -C or C whatever the width, and C = 1 / (n l2)."""
    X, y = FEW[:6].astype(DTYPE), np.arange(6) % 2
    weight = lambda width, l2: (
        kernels.support_vector_machine(
            X, y, l2=l2, kernel=kernels.Gaussian(width), classes=2, check=False
        ).params.weight
    )
    np.testing.assert_allclose(np.abs(weight(1.0, 100.0)), 1 / 600, rtol=1e-5)
    by_width, by_l2 = jax.jit(jax.jacobian(weight, (0, 1)))(1.0, 100.0)
    np.testing.assert_allclose(by_width, 0, atol=1e-9)
    np.testing.assert_allclose(by_l2, -weight(1.0, 100.0) / 100, rtol=1e-4)


def test_a_linear_machine_refuses_to_be_differentiated():
    bias = lambda l2: kernels.support_vector_machine(*CANCER, l2=l2, check=False, classes=2).params.bias
    with pytest.raises(TypeError, match=r"kernel=kernels.Linear\(\)"):
        jax.grad(bias)(0.01)
