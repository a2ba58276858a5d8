"""Sums over many rows from products of the whole of X, where that is to be had: the same as plain autodiff, and only there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import families, glm, links
from jaxml.chunks import where_needed
from jaxml.glm.objective import GLMObjective, tame
from jaxml.linalg import row_combination
from jaxml.predictors import Linear
from jaxml.rows import Rows
from tolerances import assert_agree

N, D = 17_000, 3  # more than one piece, the last of which overlaps the one before
RNG = np.random.default_rng(0)
CASES = {
    "logistic": (families.Bernoulli(), "canonical", RNG.integers(2, size=N)),
    "Poisson": (families.Poisson(), "canonical", RNG.poisson(2, size=N)),
    "gamma, log": (families.Gamma(), "log", RNG.gamma(2, size=N)),
}


@pytest.mark.parametrize("whole", [False, True], ids=["bare", "weights, offset, intercept"])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_autodiff(name, whole):
    family, link, y = CASES[name]
    dtype = jnp.zeros(()).dtype
    X = jnp.asarray(RNG.normal(size=(N, D)) + 2, dtype)
    weights, offset = (jnp.asarray(RNG.uniform(size=N), dtype) if whole else None for _ in range(2))
    center = jnp.mean(X, axis=0) if whole else jnp.zeros(D, dtype)
    params = Linear(jnp.array([0.1, -0.2, 0.3], dtype), jnp.asarray(0.2, dtype) if whole else None)
    total = jnp.sum(weights) if whole else jnp.asarray(N, dtype)
    o = GLMObjective(
        family=family,
        rows=Rows(X, jnp.asarray(y, dtype), weights, offset),
        center=center,
        l2=jax.tree.map(lambda a: jnp.full_like(a, 0.01), params),
        total=total,
        scale=1 / total,
        link=links.resolve(family, link),
        block=1000,
        tame=jnp.asarray(True),
    )
    found = jax.jit(lambda o, params: o.evaluate(params, False, 0))(o, params)
    value, gradient = jax.value_and_grad(lambda params: o.summed(params) / total)(params)
    assert_agree(found.value, value, "derivative")
    for a, b in zip(jax.tree.leaves(found.gradient), jax.tree.leaves(gradient), strict=True):
        assert_agree(a, b, "derivative", 1.0)


@pytest.mark.parametrize("n", [10_007, 10_008], ids=["prime", "divided"])
def test_combination_of_rows(n):
    r, a = RNG.normal(size=n), RNG.normal(size=(n, 60))
    assert_agree(row_combination(jnp.asarray(r), jnp.asarray(a)), r @ a, "same", np.sqrt(n))


def test_who_is_tame():
    dtype = jnp.zeros(()).dtype
    rows = Rows(jnp.asarray(RNG.normal(size=(N, 16))), jnp.zeros(N))
    zero, one = jnp.zeros(16), jnp.ones(16)
    if dtype == jnp.float32:  # there the level of the predictor is not exact enough
        assert tame(CASES["logistic"][0], rows, 1000, zero, one) is None
        return
    judge = lambda rows=rows, block=1000, center=zero, family=CASES["logistic"][0]: tame(
        family, rows, block, center, one
    )
    assert judge() and judge(center=9 * one)
    assert not judge(center=zero.at[3].set(-11))
    assert not judge(rows._replace(weights=jnp.ones(N).at[5].set(0)))
    for other in (
        {"block": None},
        {"block": N},
        {"rows": rows._replace(X=rows.X[:, :15])},
        {"family": families.Categorical(3)},
    ):
        assert judge(**other) is None


@pytest.mark.skipif(not jax.config.jax_enable_x64, reason="float32 has no digits for a column that far from 0")
def test_rows_that_hold_anything_and_columns_far_from_0_go_through_in_blocks():
    n = 33_000
    X = RNG.normal(size=(n, 16))
    y = (RNG.random(n) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    plain = glm.fit(families.Bernoulli(), X, y)
    errors = glm.standard_errors(glm.infer(plain, X, y))
    far = glm.fit(families.Bernoulli(), X + 1e6 * (np.arange(16) == 3), y)
    assert_agree(far.params.weight, plain.params.weight, "fit", errors.weight)
    some = np.arange(n) < n - 50
    kept = glm.fit(families.Bernoulli(), X[some], y[some])
    spoilt = glm.fit(families.Bernoulli(), np.where(some[:, None], X, np.nan), y, weights=some * 1.0)
    assert_agree(spoilt.params.weight, kept.params.weight, "fit", errors.weight)


def test_what_is_needed_has_the_shape_of_what_is_there_otherwise():
    with pytest.raises(TypeError, match="as otherwise does"):
        where_needed(jnp.asarray(True), lambda a: a.T, jnp.zeros((2, 3)), jnp.ones((2, 3)))
