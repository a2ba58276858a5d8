"""Large fits of several classes, whose curvature is that of each class alone: the same answers as with all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import Status, families, glm, optimize
from jaxml.glm.objective import GLMObjective, total_weight
from jaxml.linalg import diagonal, join, split
from jaxml.links import resolve
from jaxml.predictors import Linear
from jaxml.rows import Rows
from marks import mostly_slow

X64 = jax.config.jax_enable_x64

DTYPE = jnp.result_type(float)
N, D, K = 1500, 12, 5  # enough for curvature to be reused, and for a subsample
WHOLE = optimize.Newton(reuse=False)
SIZE = 1e-7 if X64 else 2e-3


def _data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D)) @ (np.eye(D) + 0.3 * rng.standard_normal((D, D))) + rng.standard_normal(D)
    logits = X @ rng.standard_normal((D, K)) / np.sqrt(D) + rng.standard_normal(K)
    return X.astype(DTYPE), np.argmax(logits + rng.gumbel(size=(N, K)), axis=1), rng


def test_blocks_of_the_hessian_are_those_of_autodiff():
    X, y, rng = _data()
    rows = Rows(jnp.asarray(X[:40], DTYPE), jnp.asarray(y[:40]), jnp.asarray(rng.integers(0, 3, 40), DTYPE))
    family, l2 = families.Categorical(K), Linear(jnp.full((D, K), 0.1, DTYPE), jnp.zeros(K, DTYPE))
    params = Linear(*(jnp.asarray(rng.standard_normal(a.shape), DTYPE) for a in l2))
    link, total = resolve(family, None), total_weight(family, rows)
    whole, blocks = (
        GLMObjective(family, rows, rows.X[0], l2, total, 1, link, block, blocks=k) for block, k in ((None, 1), (16, K))
    )
    x, unravel = jax.flatten_util.ravel_pytree(params)
    both = jax.jit(
        lambda x: (
            jax.hessian(lambda x: whole.summed(unravel(x)))(x),
            blocks.evaluate(unravel(x), jnp.asarray(True), 0).hessian,
        )
    )
    for point in (x, 0 * x):
        hessian, found = map(np.asarray, both(point))
        expected = np.stack([hessian[i::K, i::K] for i in range(K)])
        np.testing.assert_allclose(found, expected, rtol=10 * SIZE, atol=SIZE * np.max(np.abs(hessian)))
        np.testing.assert_allclose(diagonal(jnp.asarray(found)), np.diagonal(hessian), rtol=10 * SIZE)
    v = jnp.arange(6.0)
    np.testing.assert_array_equal(join(split(v, 2)), v)
    np.testing.assert_array_equal(split(v, 2), [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize(
    ("how", "jitted"),
    mostly_slow(
        [("free", False), ("weighted, offset", False), ("counts", False), ("no intercept", False), ("by class", True)],
        [("free", False)],
    ),
)
def test_fits_by_class_equal_newton_with_the_whole_hessian(how, jitted):
    X, y, rng = _data()
    family, options = families.Categorical(K), {}
    if how == "by class":
        options["l2"] = 0.1 * rng.random((D, K)).astype(DTYPE)
    if how == "weighted, offset":
        options["weights"] = rng.integers(0, 4, N)
        options["offset"] = rng.standard_normal((N, K)).astype(DTYPE)
    if how == "counts":
        family, y = (
            families.Multinomial(K),
            (np.eye(K)[y] + rng.multinomial(2, np.full(K, 1 / K), size=N)).astype(DTYPE),
        )
    if how == "no intercept":
        options["intercept"] = False
    whole = glm.fit(family, X, y, solver=WHOLE, **options)
    call = lambda X: glm.fit(family, X, y, check="support" if not jitted else False, **options)
    fit = (jax.jit(call) if jitted else call)(X)
    assert fit.status == Status.CONVERGED and fit.curvatures < fit.steps / 2 and fit.rank == whole.rank
    np.testing.assert_allclose(fit.params.weight, whole.params.weight, rtol=SIZE, atol=SIZE)
    np.testing.assert_allclose(fit.log_likelihood, whole.log_likelihood, rtol=1e-12 if X64 else 1e-6)
    if how != "by class":
        np.testing.assert_allclose(jnp.sum(fit.params.weight, axis=1), 0, atol=SIZE)


@pytest.mark.slow
def test_penalised_fit_of_dependent_columns_reports_the_rank_and_equals_the_whole():
    X, y, _ = _data()
    X = np.column_stack([X, X[:, 0] - 2 * X[:, 1], np.zeros(N)]).astype(DTYPE)
    fit, whole = (glm.fit(families.Categorical(K), X, y, l2=0.01, solver=s) for s in (None, WHOLE))
    assert fit.rank == whole.rank == D + 1 and fit.status == whole.status == Status.CONVERGED
    np.testing.assert_allclose(fit.params.weight, whole.params.weight, rtol=10 * SIZE, atol=SIZE)
    free = glm.fit(families.Categorical(K), X, y)
    assert free.rank == D + 1 and free.status == Status.CONVERGED
    np.testing.assert_allclose(free.params.weight[-1], 0, atol=SIZE)
    logistic = glm.fit(families.Bernoulli(), X[:10, :], y[:10] > 1, l2=0.1)
    assert logistic.rank == 10 and logistic.status == Status.CONVERGED


@pytest.mark.parametrize("trap", mostly_slow(["separated", "absent class", "two steps"], ["separated", "absent class"]))
def test_what_curvature_by_class_cannot_settle_is_left_to_the_whole(trap):
    X, y, _ = _data()
    solver = None
    if trap == "separated":
        y = np.digitize(X[:, 0], np.quantile(X[:, 0], [0.2, 0.4, 0.6, 0.8]))
    if trap == "absent class":
        y = np.minimum(y, K - 2)
    if trap == "two steps":
        solver = optimize.Newton(max_steps=2)
    with pytest.warns(match="step limit" if solver else "separated"):
        fit = glm.fit(families.Categorical(K), X, y, solver=solver)
    assert fit.status == (Status.STEP_LIMIT if solver else Status.SEPARATED)
    assert fit.steps <= 2 or not solver
