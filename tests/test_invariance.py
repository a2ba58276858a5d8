"""Convergence does not depend on the units or the location of a column, on the labels of classes, or on the order of rows.

Same status, same linear predictors, and the same number of steps to within one, for every family and link.
"""

from itertools import permutations

import jax
import numpy as np
import pytest

from jaxml import families, glm
from jaxml.predictors import Linear
from jaxml.status import Status
from marks import mostly_slow
from registry_glm import CASES, base_fit, data, fit, floats, over
from tolerances import assert_agree

X64 = jax.config.jax_enable_x64
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


def same(moved, base, X, Z, kind="fit"):
    """The same end, way and predictors, X and Z the columns of the two fits."""
    assert Status(int(moved.status)) is Status.CONVERGED
    assert abs(int(moved.steps) - int(base.steps)) <= 1, (int(moved.steps), int(base.steps))
    dtype = base.params.weight.dtype
    assert_agree(predictors(moved, X).astype(dtype), predictors(base, Z), kind, 1.0)


@over()
def test_units_and_location_of_columns(case):
    X, y, weights = data(case)
    base = base_fit(case)
    for change in UNITS.values():
        same(fit(case, *floats((X * change, y)), weights), base, floats(X * change), X)
    for change in SHIFTS.values():
        moved = floats(X + change)
        # Predictors carry the rounding of a bias that takes up the shift: 1e6 eps times a slope.
        same(fit(case, moved, y, weights), base, moved, X, "oracle" if X64 else "first_order")


@over()
def test_order_of_rows(case):
    X, y, weights = data(case)
    base = base_fit(case)
    for order in (np.arange(len(X))[::-1], np.random.default_rng(5).permutation(len(X))):
        same(fit(case, *jax.tree.map(lambda a, order=order: a[order], (X, y, weights))), base, X, X)


@pytest.mark.parametrize("name", mostly_slow(["categorical", "multinomial"], ["categorical"]))
def test_labels_of_classes(name):
    case = CASES[name]
    X, y, weights = data(case)
    base = base_fit(case)
    for order in permutations(range(3)):
        order = np.array(order)
        labels = order[y] if name == "categorical" else y[:, np.argsort(order)]
        moved = fit(case, X, labels, weights)
        back = Linear(moved.params.weight[:, order], moved.params.bias[order])
        same(glm.Fit(**{**vars(moved), "params": back}), base, X, X)


@pytest.mark.parametrize(
    "name", mostly_slow(["bernoulli-logit", "bernoulli-probit", "binomial-logit"], ["bernoulli-logit"])
)
def test_labels_of_success_and_failure(name):
    case = CASES[name]
    X, y, weights = data(case)
    flipped = (y[1] - y[0], y[1]) if isinstance(case.family, families.Binomial) else 1 - y
    moved = fit(case, X, flipped, weights)
    same(glm.Fit(**{**vars(moved), "params": jax.tree.map(lambda a: -a, moved.params)}), base_fit(case), X, X)
