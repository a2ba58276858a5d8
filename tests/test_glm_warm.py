"""Fits of many rows that start where the user says: near, far away and in lanes; all end where a fit without a start does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import families, glm, optimize
from jaxml.predictors import Linear
from jaxml.status import Status
from marks import mostly_slow
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="the cases are designed for 64-bit mode")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30_000, 20)) * np.geomspace(0.1, 10, 20) + 3
Z = (X - 3) @ (RNG.normal(size=20) / np.geomspace(0.1, 10, 20) / 5)
CASES = {
    "logistic": (families.Bernoulli(), (RNG.random(30_000) < 1 / (1 + np.exp(-Z))).astype(int)),
    "Poisson": (families.Poisson(), RNG.poisson(np.exp(Z))),
    "softmax": (families.Categorical(3), RNG.integers(3, size=30_000) * (Z > -0.5)),
}


def same(fit, other):
    assert Status(int(fit.status)) is Status.CONVERGED
    assert_agree(fit.params.weight, other.params.weight, "fit", 0.02)
    assert_agree(fit.params.bias, other.params.bias, "fit", 0.02)


@pytest.mark.parametrize("case", mostly_slow(CASES, ["logistic"]))
def test_near_and_far_starts(case):
    family, y = CASES[case]
    cold = glm.fit(family, X, y)
    again = glm.fit(family, X, y, init=cold.params)
    same(again, cold)
    assert again.evaluations == 1
    near, moved = (glm.fit(family, X, y, l2=1e-4, init=init) for init in (cold.params, None))
    same(near, moved)
    assert near.evaluations < moved.evaluations
    usual = Linear(jnp.zeros_like(cold.params.weight), glm.fit(family, X[:, :0], y).params.bias)
    far = glm.fit(family, X, y, init=usual)
    same(far, cold)
    assert far.evaluations <= cold.evaluations + 2  # one look at all rows, then the subsample as ever


@pytest.mark.slow
def test_lanes_and_a_start_that_is_none():
    family, y = CASES["logistic"]
    cold = glm.fit(family, X, y)
    starts = jax.tree.map(lambda a: jnp.stack([a, jnp.zeros_like(a)]), cold.params)
    solver = optimize.Newton(reuse=True)
    lanes = jax.vmap(lambda init: glm.fit(family, X, y, init=init, solver=solver, check=False))(starts)
    assert lanes.evaluations[0] == 1 and lanes.evaluations[1] > 2
    for i in range(2):
        assert_agree(lanes.params.weight[i], cold.params.weight, "fit", 0.02)
    counts = CASES["Poisson"][1]
    endless = Linear(np.full(20, 1e3), 0.0)  # no mean of such a predictor is finite
    with pytest.warns(UserWarning, match="infeasible"):
        fit = glm.fit(families.Poisson(), X, counts, init=endless)
    assert Status(int(fit.status)) is Status.INFEASIBLE
