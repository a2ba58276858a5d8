"""Every solver on every kind of problem, how each status is reached, and derivatives of the minimiser."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from compiles import compiles
from jaxml import ConvergenceWarning, Status, optimize, report
from jaxml.chunks import where_needed
from jaxml.optimize import LBFGS, SGD, GradientDescent, Newton, Optax
from jaxml.optimize.driver import Point
from jaxml.optimize.newton import empty_pairs, lbfgs_product, push
from jaxml.records import record
from marks import mostly_slow

X64 = jax.config.jax_enable_x64
RTOL = 1e-10 if X64 else 1e-4
A = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 1.5]])
B = np.array([1.0, -2.0, 0.5])
X = np.array([[1, 0.5], [-1, 1], [0.2, -1], [1, 1], [0.5, -0.5], [-0.3, 0.8], [1, -1], [0, 1], [0.7, 0.1], [-1, -0.4]])
THETA = np.array([1.5, -0.5])  # fits Y without error, so that constant learning rates converge
Y = X @ THETA

SECOND_ORDER = {"newton": Newton(), "newton, reused Hessian": Newton(reuse=True), "lbfgs": LBFGS()}
FULL_BATCH = SECOND_ORDER | {
    "gradient descent": GradientDescent(learning_rate=0.4),
    "gradient descent, schedule": GradientDescent(learning_rate=optax.exponential_decay(0.6, 10, 0.95)),
    "adam": Optax(transform=optax.adam(0.2), tol=1e-5),
    "momentum": Optax(transform=optax.sgd(0.3, momentum=0.5)),
}
MINIBATCH = {
    "sgd": SGD(learning_rate=0.5, epochs=60),
    "sgd, batches of 7": SGD(learning_rate=1.0, epochs=80, batch_size=7),
    "sgd, schedule": SGD(learning_rate=optax.constant_schedule(0.5), epochs=60),
    "momentum, batches of 4": Optax(transform=optax.sgd(0.3, momentum=0.5), epochs=120, batch_size=4),
}


def quadratic(theta, A, b):
    t = jnp.append(theta["weight"], theta["bias"])
    return t @ A @ t / 2 - b @ t


def run_quadratic(solver, b=B, dtype=float, trace=False):
    start = {"bias": jnp.zeros((), dtype), "weight": jnp.zeros(2, dtype)}
    return optimize.minimize(quadratic, start, jnp.asarray(A, dtype), jnp.asarray(b, dtype), solver=solver, trace=trace)


def squared(theta, example):
    x, y = example
    return (x @ theta - y) ** 2 / 2


def run_batches(solver, dtype=float, **options):
    data = (jnp.asarray(X, dtype), jnp.asarray(Y, dtype))
    return optimize.sgd(squared, jnp.zeros(2, dtype), data, solver=solver, **options)


def rosenbrock(t):
    return (1 - t[0]) ** 2 + 100 * (t[1] - t[0] ** 2) ** 2


# -- every solver ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FULL_BATCH)
def test_quadratic_of_a_pytree(name):
    solver = FULL_BATCH[name]
    run = run_quadratic(solver)
    tol = solver.tol or (1e-8 if X64 else 1e-4)
    assert run.status == Status.CONVERGED, report(run)
    assert run.params.keys() == {"bias", "weight"}
    solution = np.linalg.solve(A, B)
    found = np.append(run.params["weight"], run.params["bias"])
    assert_allclose(found, solution, atol=RTOL if isinstance(solver, Newton) else 3 * tol)
    assert_allclose(run.value, -B @ solution / 2, atol=tol)
    assert 0 < run.steps < solver.max_steps
    assert run.evaluations > run.steps
    assert compiles(lambda: run_quadratic(solver, 2 * B)) == 0


@pytest.mark.parametrize("name", MINIBATCH)
def test_minibatches(name):
    solver = MINIBATCH[name]
    run = run_batches(solver)
    assert run.status == Status.CONVERGED, (run, report(run))
    assert_allclose(run.params, THETA, atol=1e-7 if X64 else 1e-3)
    assert run.steps == solver.epochs * -(-10 // solver.batch_size)
    assert compiles(lambda: run_batches(solver)) == 0


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_rosenbrock_with_trace(name):
    run = optimize.minimize(rosenbrock, jnp.array([-1.2, 1.0]), solver=SECOND_ORDER[name], trace=True)
    assert run.status == Status.CONVERGED
    assert_allclose(run.params, 1, atol=1e-7 if X64 else 2e-3)
    steps, values = int(run.steps), np.asarray(run.trace.value)
    assert values.shape == run.trace.gradient_norm.shape == (SECOND_ORDER[name].max_steps + 1,)
    assert_array_equal(np.isnan(values), np.arange(values.size) > steps)
    assert_array_equal(np.isnan(run.trace.gradient_norm), np.arange(values.size) > steps)
    assert_allclose(values[0], 24.2, rtol=1e-6)
    assert np.all(np.diff(values[: steps + 1]) <= 16 * np.finfo(values.dtype).eps * values[:steps])
    assert values[steps] == run.value
    assert run.trace.gradient_norm[steps] == run.gradient_norm


@pytest.mark.parametrize("name", ["newton", "lbfgs", "gradient descent, schedule", "adam", "sgd, batches of 7"])
def test_float32_stays_float32(name):
    run = (run_quadratic if name in FULL_BATCH else run_batches)((FULL_BATCH | MINIBATCH)[name], dtype=jnp.float32)
    floating = [a for a in jax.tree.leaves(run) if jnp.issubdtype(a.dtype, jnp.floating)]
    assert {a.dtype for a in floating} == {jnp.dtype("float32")}
    assert run.status == Status.CONVERGED


def test_python_numbers_start_in_the_default_precision():
    for start in (4.0, 4, np.float64(4)):
        run = optimize.newton(cosh, start)
        assert run.params.dtype == jnp.zeros(()).dtype
        assert run.params.shape == ()
        assert_allclose(run.params, 0, atol=1e-12 if X64 else 1e-6)


def cosh(t):
    return jnp.cosh(t)


# -- the update rules by hand ----------------------------------------------------------------------------------------
def test_newton_of_one_number_by_hand():
    """J = t - 2 log t, J' = 1 - 2/t, J'' = 2/t^2: three steps of t - J'/J''."""
    t = 1.1
    for _ in range(3):
        t = t - (1 - 2 / t) / (2 / t**2)
    run = optimize.newton(lambda t: t - 2 * jnp.log(t), 1.1, max_steps=3)
    assert_allclose(run.params, t, rtol=RTOL)
    assert run.status == Status.STEP_LIMIT
    assert (run.steps, run.evaluations, run.curvatures) == (3, 4, 4)


@pytest.mark.parametrize("rate", [0.3, optax.exponential_decay(0.5, 2, 0.5)])
def test_gradient_descent_by_hand(rate):
    theta, values, norms = np.zeros(3), [], []
    for k in range(7):
        gradient = A @ theta - B
        values.append(theta @ A @ theta / 2 - B @ theta)
        norms.append(np.abs(gradient).max())
        last, theta = theta, theta - (float(rate(jnp.int32(k))) if callable(rate) else rate) * gradient
    run = run_quadratic(GradientDescent(learning_rate=rate, max_steps=6), trace=True)
    assert_allclose(np.append(run.params["weight"], run.params["bias"]), last, rtol=RTOL)
    assert_allclose(run.trace.value, values, rtol=RTOL, atol=RTOL)
    assert_allclose(run.trace.gradient_norm, norms, rtol=RTOL)
    assert run.status == Status.STEP_LIMIT


def test_one_example_is_the_lms_rule():
    theta, alpha = np.array([0.3, -0.7]), 0.2
    only = (jnp.asarray(X[3:4]), jnp.asarray(Y[3:4]))
    run = optimize.sgd(squared, jnp.asarray(theta), only, learning_rate=alpha, epochs=1)
    assert_allclose(run.params, theta - alpha * (theta @ X[3] - Y[3]) * X[3], rtol=RTOL)
    assert run.steps == 1


@pytest.mark.parametrize("batch_size", mostly_slow([1, 3, 4, 10, 99], [3]))
def test_an_epoch_visits_every_example_once(batch_size):
    """A loss linear in theta moves entry i at visits of example i only, by alpha over the size of its batch."""
    fun = lambda theta, i: theta @ (jnp.arange(10) == i)
    run = optimize.sgd(fun, jnp.zeros(10), jnp.arange(10), learning_rate=1.0, epochs=3, batch_size=batch_size)
    size = min(batch_size, 10)
    if 10 % size == 0:
        assert_allclose(-run.params, np.full(10, 3 / size), rtol=RTOL)
    else:  # the last batch of each epoch holds 10 % size examples
        rest = 10 % size
        late = (-run.params - 3 / size) / (1 / rest - 1 / size)  # how often each example came last
        assert_allclose(late, np.round(late), atol=1e-4)
        assert_allclose(jnp.sum(late), 3 * rest, rtol=RTOL)


def test_sgd_depends_on_its_seed_only():
    first, same, other = (run_batches(SGD(learning_rate=0.5, epochs=2, seed=seed), trace=True) for seed in (1, 1, 2))
    assert_array_equal(first.params, same.params)
    assert np.all(np.asarray(first.params != other.params))
    assert first.trace.value.shape == (2,)
    assert first.trace.value[1] < first.trace.value[0]
    assert first.status == Status.STEP_LIMIT


def test_sgd_reshuffles_every_epoch():
    """With alpha = 1 each update of (t - y)^2 / 2 forgets the past: epochs of equal order would have equal losses."""
    forgetful = lambda t, y: (t - y) ** 2 / 2
    run = optimize.sgd(forgetful, 0.0, jnp.arange(50.0), learning_rate=1.0, epochs=5, trace=True)
    assert float(run.params) in range(50)
    assert len(set(np.asarray(run.trace.value).tolist())) == 5


# -- statuses --------------------------------------------------------------------------------------------------------
@jax.custom_jvp
def wrong_gradient(t):
    return jnp.sum(t**2)


@wrong_gradient.defjvp
def _(primals, tangents):
    return wrong_gradient(*primals), -2 * primals[0] @ tangents[0]


def edge(t):
    """Smallest at the edge t = 0 of its domain t > 0, with slope 2 there."""
    inside = t > 0
    return jnp.where(inside, t + jnp.log1p(jnp.where(inside, t, 1)), jnp.inf)


def linear_function(t):
    return 3 * t[0] - t[1]


def ravine(t):
    return (t[0] + t[1] - 1) ** 2


def saddle(t):
    return t[0] ** 2 / 2 - t[1] ** 2 / 2 + t[1] ** 4 / 4


def square(t):
    return t**2


NEWTON_LIKE = [Newton(), LBFGS()]
DESCENT = GradientDescent(learning_rate=3.0)
SHORT = [Newton(max_steps=3), LBFGS(max_steps=3), GradientDescent(learning_rate=1e-4, max_steps=3)]
ENDINGS = [  # status, function, start, solvers
    (Status.STEP_LIMIT, rosenbrock, [-1.2, 1.0], SHORT),
    (Status.STEP_LIMIT, linear_function, [0.0, 0.0], [*NEWTON_LIKE, GradientDescent(learning_rate=0.1)]),
    (Status.LINE_SEARCH_FAILED, wrong_gradient, [1.0, -2.0], NEWTON_LIKE),
    (Status.BOUNDARY, edge, 0.7, NEWTON_LIKE),
    (Status.INFEASIBLE, edge, -1.0, [*NEWTON_LIKE, DESCENT]),
    (Status.NON_FINITE, square, np.nan, [*NEWTON_LIKE, DESCENT]),
    (Status.NON_FINITE, square, 1.0, [DESCENT]),
    (Status.CONVERGED, ravine, [0.0, 0.0], [*NEWTON_LIKE, GradientDescent(learning_rate=0.2)]),
    (Status.CONVERGED, saddle, [1.0, 1e-3], [*NEWTON_LIKE, GradientDescent(learning_rate=0.2)]),
    (Status.CONVERGED, square, 0.0, [*NEWTON_LIKE, DESCENT]),
]
CASES = [(status, fun, start, solver) for status, fun, start, solvers in ENDINGS for solver in solvers]
NAMES = [f"{s.name.lower()}-{f.__name__}-{type(solver).__name__.lower()}" for s, f, _, solver in CASES]


QUICK = [name for name in NAMES if "lbfgs" not in name or "boundary" in name]


@pytest.mark.parametrize(("status", "fun", "start", "solver"), mostly_slow(CASES, QUICK, NAMES))
def test_status(status, fun, start, solver):
    run = optimize.minimize(fun, jnp.asarray(start), solver=solver)
    assert Status(int(run.status)) is status
    if status is Status.CONVERGED:
        assert report(run) == status.message
    else:
        with pytest.warns(ConvergenceWarning, match=status.name.lower().replace("_", ".")):
            assert report(run) == status.message
    if status is Status.INFEASIBLE or (fun is square and np.isnan(start)):
        value, slope = jax.value_and_grad(fun)(jnp.asarray(start))
        assert_array_equal((run.value, run.gradient_norm), (value, jnp.abs(slope)))
    if fun is ravine:
        assert_allclose(run.params, [0.5, 0.5], atol=1e-6 if X64 else 1e-3)
    if fun is saddle:
        assert_allclose(run.params, [0, 1], atol=1e-6 if X64 else 1e-3)
    if status is Status.BOUNDARY:
        assert 0 < run.params < 1e-6


def test_sgd_that_diverges_is_non_finite():
    run = run_batches(SGD(learning_rate=1e3, epochs=100))
    assert run.status == Status.NON_FINITE


def test_messages_and_counts():
    assert len({status.message for status in Status}) == len(Status)
    assert all(len(status.message) > 20 for status in Status)
    batch = jax.vmap(lambda t: optimize.newton(edge, t))(jnp.array([0.7, -1.0, -2.0]))
    with pytest.warns(ConvergenceWarning, match="3 fits: 1 boundary, 2 infeasible"):
        report(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert report(jax.vmap(lambda t: optimize.newton(cosh, t))(jnp.arange(3.0))) == "3 fits: 3 converged"


# -- transformations -------------------------------------------------------------------------------------------------
def tilted(t, c):
    return jnp.sum(jnp.cosh(t)) + (t @ c) ** 2 / 2 - t[0] * c[1]


@pytest.mark.parametrize("solver", mostly_slow(NEWTON_LIKE, ["lbfgs"], ["newton", "lbfgs"]))
def test_vmap_and_jit_are_the_loop(solver):
    starts = jnp.array([[0.0, 0.0], [3.0, -2.0], [0.5, 6.0]])
    cs = jnp.array([[1.0, 2.0], [0.0, 1.0], [-1.0, 0.3]])
    run = lambda t, c: optimize.minimize(tilted, t, c, solver=solver)
    loop = [run(t, c) for t, c in zip(starts, cs, strict=True)]
    batch = jax.jit(jax.vmap(run))(starts, cs)
    assert_array_equal(batch.steps, [r.steps for r in loop])
    assert_array_equal(batch.status, [r.status for r in loop])
    assert_allclose(batch.params, jnp.stack([r.params for r in loop]), rtol=RTOL, atol=RTOL)


def scaled(t, c):
    """c e^t - t, smallest at t = -log c."""
    return c["rate"] * jnp.exp(t) - t


def test_derivatives_of_the_minimiser():
    """t(c) = -log c: t' = -1 / c, t'' = 1 / c^2, in reverse mode twice and forward over reverse, under jit and vmap."""
    t = lambda c: optimize.newton(scaled, 0.0, {"rate": c}).params
    first, second = jax.value_and_grad(t), jax.grad(jax.grad(t))
    forward = lambda c: jax.jvp(first, (c,), (jnp.ones_like(c),))
    c = jnp.array([0.5, 1.0, 3.0])
    ((value, slope), (slope_forward, curvature)), twice = jax.jit(jax.vmap(lambda c: (forward(c), second(c))))(c)
    assert_allclose(value, -jnp.log(c), rtol=RTOL, atol=RTOL)
    assert_allclose(slope, -1 / c, rtol=RTOL)
    assert_allclose(slope_forward, -1 / c, rtol=RTOL)
    assert_allclose(curvature, 1 / c**2, rtol=RTOL)
    assert_allclose(twice, 1 / c**2, rtol=RTOL)


def test_derivatives_through_lbfgs():
    t = lambda c: optimize.lbfgs(scaled, 0.0, {"rate": c}).params
    assert_allclose(jax.grad(t)(2.0), -0.5, rtol=1e-6 if X64 else 1e-3)


def test_derivatives_of_a_vector_minimiser():
    """theta = A^-1 b: d theta / db = A^-1, and d(c'theta)/dA = -(A^-1 c) theta' for symmetric A."""
    b = jnp.asarray(B)
    start = {"bias": jnp.zeros(()), "weight": jnp.zeros(2)}

    def theta(A, b):
        params = optimize.newton(quadratic, start, (A + A.T) / 2, b).params
        return jnp.append(params["weight"], params["bias"])

    inverse, c = np.linalg.inv(A), np.array([1.0, 2.0, -1.0])
    assert_allclose(jax.jacrev(theta, 1)(jnp.asarray(A), b), inverse, rtol=RTOL, atol=RTOL)
    outer = -np.outer(inverse @ c, inverse @ B)
    gradient = jax.jit(jax.grad(lambda A: theta(A, b) @ c))(jnp.asarray(A))
    assert_allclose(gradient, (outer + outer.T) / 2, rtol=RTOL, atol=RTOL)


def test_the_starting_point_has_no_influence():
    assert jax.grad(lambda start: optimize.newton(square, start).params)(2.0) == 0


@pytest.mark.parametrize("solver", NEWTON_LIKE, ids=["newton", "lbfgs"])
def test_an_objective_is_minimised_like_the_function_it_is_made_from(solver):
    objective = optimize.Scalar(tilted, (jnp.array([1.0, 2.0]),))
    start = jnp.array([3.0, -2.0])
    run, plain = (
        optimize.minimize(objective, start, solver=solver),
        optimize.minimize(tilted, start, *objective.args, solver=solver),
    )
    assert_allclose(run.params, plain.params, rtol=RTOL, atol=RTOL)
    assert (
        compiles(
            lambda: optimize.minimize(optimize.Scalar(tilted, (jnp.array([0.5, 1.0]),)), start, solver=solver).params
        )
        == 0
    )


# -- the door --------------------------------------------------------------------------------------------------------
def test_minibatch_solvers_need_examples():
    with pytest.raises(TypeError, match="sgd"):
        optimize.minimize(square, 1.0, solver=SGD())


@pytest.mark.parametrize("data", [(np.ones((3, 2)), np.ones(4)), np.ones((0, 2)), 1.0, ()])
def test_examples_share_their_leading_dimension(data):
    with pytest.raises(ValueError, match="leading"):
        optimize.sgd(squared, jnp.zeros(2), data)


def test_no_parameters_at_all():
    run = optimize.newton(lambda t: jnp.sum(t**2) + 1, jnp.zeros(0))
    assert run.status == Status.CONVERGED
    assert run.value == 1


def test_pairs_of_a_quadratic_are_conjugate_and_end_preconditioned_steps_within_its_dimension():
    """Steps from a wrong constant Hessian, as from a subsample: conjugate pairs make them those of conjugate gradients."""
    d = len(A)
    rng = np.random.default_rng(0)
    noise = 0.2 * rng.normal(size=(d, d))
    wrong = jnp.linalg.inv(A + noise @ noise.T)
    look = lambda x: Point(x, x @ A @ x / 2 - B @ x, A @ x - B)
    point, pairs = look(jnp.zeros(d)), empty_pairs(d, jnp.zeros(d))
    step = lambda: point.x - lbfgs_product(pairs, point.gradient, lambda q: wrong @ q)
    for _ in range(d):
        new = look(step())
        pairs, point = push(pairs, point, new, keep=jnp.asarray(True), conjugate=True), new
    products = np.asarray(pairs.s @ A @ pairs.s.T)
    assert_allclose(products, np.diag(np.diag(products)), atol=RTOL * np.max(products))
    assert_allclose(step(), np.linalg.solve(A, B), rtol=10 * RTOL)


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize(
    ("fun", "start", "least"),
    [
        (lambda x: jnp.cos(x), 0.0, -1.0),  # a maximum
        (lambda x: jnp.cos(x), 1e-12, -1.0),  # as good as one
        (lambda x: jnp.sum(x**4 - x**2), np.zeros(2), -0.5),
        (lambda x: x[0] * x[1] + 0.1 * jnp.sum(x**4), np.zeros(2), -1.25),  # a saddle
        (lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([0.0, 2.0]), 0.0),  # reached along its stable direction
    ],
)
def test_newton_leaves_maxima_and_saddles(fun, start, least, reuse):
    result = optimize.minimize(fun, start, solver=Newton(reuse=reuse))
    assert Status(int(result.status)) is Status.CONVERGED
    assert_allclose(result.value, least, atol=10 * RTOL)


def test_answers_of_first_order_solvers_refuse_to_be_differentiated():
    answer = lambda c: optimize.gradient_descent(lambda x, c: (x - c) ** 2, 0.0, c, learning_rate=0.5).params
    assert_allclose(jax.vmap(answer)(jnp.arange(3.0)), [0, 1, 2])
    with pytest.raises(TypeError, match="first-order solver is not differentiable"):
        jax.grad(answer)(2.0)


@pytest.mark.parametrize(
    ("solver", "error", "words"),
    [
        (LBFGS(memory=0), ValueError, "memory of LBFGS must be at least 1, got 0"),
        (Newton(max_steps=-1), ValueError, "max_steps of Newton must be at least 0"),
        ("newton", TypeError, "solver must be Newton, LBFGS, GradientDescent, SGD or Optax, got 'newton'"),
        (Optax(transform=optax.lbfgs()), TypeError, "asks for more .* use LBFGS"),
    ],
)
def test_settings_that_no_search_can_work_with_are_refused(solver, error, words):
    with pytest.raises(error, match=words):
        optimize.minimize(lambda x: x**2, 1.0, solver=solver)


def test_numpy_numbers_as_settings_compile_nothing_new():
    run = lambda tol: optimize.minimize(parabola, 0.0, solver=Newton(tol=tol)).value
    run(1e-6)
    assert compiles(lambda: run(np.float64(1e-7))) == 0 == compiles(lambda: run(np.float32(1e-3)))


def parabola(x):
    return (x - 1) ** 2


@pytest.mark.parametrize("given", ["as an operand", "by closure"])
def test_what_no_lane_needs_is_not_computed(given):
    """XLA moves out of a loop what does not change in it, and would compute it in every trip of the loop around."""
    calls = []

    def costly(x):
        calls.append(1)
        return np.asarray(x)

    def search(x, needed):
        def step(i, x):
            call = lambda x: jax.pure_callback(
                costly, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential"
            )
            if given == "by closure":
                return where_needed(needed & (i == 2), lambda: call(x), x) + 1
            return where_needed(needed & (i == 2), call, x, x) + 1

        return jax.lax.fori_loop(0, 5, step, x)

    many = jax.jit(jax.vmap(search))
    x = jnp.arange(3.0)
    assert many(x, jnp.zeros(3, bool)).tolist() == [5, 6, 7]
    assert not calls
    assert many(x, jnp.array([False, True, False])).tolist() == [5, 6, 7]
    assert calls


# -- objectives that bring their own derivatives ---------------------------------------------------------------------
@record
class Bowl(optimize.Objective):
    """(x - c)' A (x - c) / 2."""

    A: jax.Array
    c: jax.Array

    def evaluate(self, params, curvature, stage):
        slope = self.A @ (params - self.c)
        return optimize.Evaluation((params - self.c) @ slope / 2, slope, self.A)


def test_an_objective_of_ones_own_is_minimised_and_what_is_none_is_refused():
    bowl = Bowl(jnp.diag(jnp.array([1.0, 100.0])), jnp.array([3.0, -1.0]))
    for solver in (Newton(), LBFGS()):
        run = optimize.minimize(bowl, jnp.zeros(2), solver=solver)
        assert run.status == Status.CONVERGED
        assert_allclose(run.params, bowl.c, rtol=1e-6 if X64 else 1e-3)
    with pytest.raises(TypeError, match="no further arguments"):
        optimize.minimize(bowl, jnp.zeros(2), 1.0)

    class Other:
        evaluate = Bowl.evaluate

    with pytest.raises(TypeError, match=r"derived from optimize\.Objective, Other is not"):
        optimize.minimize(Other(), jnp.zeros(2))
    with pytest.raises(NotImplementedError, match="Bare must define evaluate"):
        optimize.minimize(record(type("Bare", (optimize.Objective,), {"__annotations__": {}}))(), jnp.zeros(2))
