"""What float32 costs a fit, in standard errors from the float64 answer, and the warning where it is more than a thousandth."""

import re
import warnings

import jax
import numpy as np
import pytest

from jaxml import ConvergenceWarning, Status, families, glm
from jaxml.glm.location import BUDGET

SLOPE = np.array([0.5, -0.3, 0.2, 0.4, -0.1])
LEAN = np.array([1.0, 0.0, 0.0, 1.0, 0.5])  # how much each column has of the ratio
LAWS = {
    "logistic": (families.Bernoulli(), lambda rng, z: rng.random(len(z)) < 1 / (1 + np.exp(-z)), lambda m: m * (1 - m)),
    "poisson": (families.Poisson(), lambda rng, z: rng.poisson(np.exp(z)), lambda m: m),
    "linear": (families.Normal(), lambda rng, z: z + rng.normal(size=len(z)), np.ones_like),
}
needs_x64 = pytest.mark.skipif(
    not jax.config.jax_enable_x64, reason="the float64 answer is what float32 is measured against"
)


def _data(name, n, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, len(SLOPE)))
    return Z, LAWS[name][1](rng, Z @ SLOPE + 0.3).astype(float)


def _quiet_fit(family, X, y, **options):
    """A fit, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        fit = glm.fit(family, X, y, **options)
    assert fit.status == Status.CONVERGED
    return fit, [str(w.message) for w in caught if "spread" in str(w.message)]


def _distance(near, exact, X, spread):
    """sqrt(delta' I delta), in float64 and by centred columns, so that the measure itself does not round."""
    center = X.mean(axis=0)
    slope, bias = (np.asarray(a, float) - np.asarray(b) for a, b in zip(near.params, exact.params, strict=True))
    weight = spread(np.asarray(glm.predict(exact, X)))
    move = (X - center) @ slope + (bias + center @ slope)
    phi = 1.0 if exact.dispersion is None else float(exact.dispersion)
    return float(np.sqrt(np.sum(weight * move**2) / phi))


def _measure(name, n, ratios):
    """For each ratio the distance and whether the fit warned; float64 never does."""
    family, _, spread = LAWS[name]
    Z, y = _data(name, n)
    out = {}
    for ratio in ratios:
        X = (Z + ratio * LEAN).astype(np.float32)  # the same numbers in both precisions
        near, said = _quiet_fit(family, X, y.astype(np.float32))
        exact, nothing = _quiet_fit(family, X.astype(float), y)
        assert near.params.weight.dtype == np.float32 and not nothing
        out[ratio] = _distance(near, exact, X.astype(float), spread), said
    return out


def _check(name, found):
    for ratio, (distance, said) in found.items():
        print(f"{name} ratio {ratio:g}: {distance:.1e} standard errors{', warned' if said else ''}")
        assert distance < BUDGET or said, (ratio, distance)
        for text in said:
            named, size, cost = re.search(r"column (\d) of X is (\S+) times.* by (\S+) standard", text).groups()
            assert named in "03" and abs(float(size) / ratio - 1) < 0.05 and "float64" in text and "ubtract" in text
            assert distance < 3 * float(cost)


@needs_x64
@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_a_million_rows_of_float32_are_a_thousandth_of_a_standard_error_from_float64(name):
    found = _measure(name, 1_000_000, [0, 3, 10, 30, 100, 1e3, 1e5])
    _check(name, found)
    assert found[0][0] < BUDGET / 10
    assert not any(found[ratio][1] for ratio in (0, 3)) and all(found[ratio][1] for ratio in (100, 1e3, 1e5))


@needs_x64
def test_thousands_of_rows_hold_a_larger_ratio():
    found = _measure("logistic", 4_000, [0, 100, 1e4])
    _check("logistic", found)
    assert not found[0][1] and not found[100][1] and found[1e4][1]


def test_no_warning_without_a_slope_a_spread_or_an_intercept():
    family, n = families.Normal(), 4_000
    Z, y = (a.astype(np.float32) for a in _data("linear", n))
    far = Z + np.float32(1e4) * LEAN.astype(np.float32)
    assert len(_quiet_fit(family, far, y)[1]) == 1
    assert not _quiet_fit(family, far - far.mean(axis=0), y)[1]
    assert not _quiet_fit(family, Z + np.float32(100), np.random.default_rng(1).normal(size=n).astype(np.float32))[1]
    constant = np.concatenate([Z, np.full((n, 1), 1e6 + 1, np.float32)], axis=1)
    assert not _quiet_fit(family, constant, y)[1]
    assert not _quiet_fit(family, far[:, :1], y, intercept=False)[1]
    # A perfect fit has no standard errors to measure by.
    x = np.arange(16, dtype=np.float32)[:, None] + 100
    assert not _quiet_fit(family, x, 2 * x[:, 0] + 1)[1]


@needs_x64
def test_float64_holds_years_and_says_where_it_ends():
    Z, y = _data("linear", 4_000)
    assert not _quiet_fit(families.Normal(), Z * 10 + 2000, y)[1]
    assert not _quiet_fit(families.Normal(), Z + 1e6, y)[1]
    (text,) = _quiet_fit(families.Normal(), Z + 1e13 * LEAN, y)[1]
    assert "float64" in text and "or use" not in text


@pytest.mark.parametrize("d", [5, 30])
def test_few_rows_prove_the_rank_of_correlated_columns_and_never_that_of_dependent_ones(d):
    """Nor does a fit of them, with variance inflations in the thousands, need the larger program."""
    from jaxml.glm.rank import least_pivot
    from jaxml.rows import Rows

    rng, n = np.random.default_rng(0), 900
    proof = jax.jit(lambda X, center: least_pivot(Rows(X, X[:, 0]), center, True))
    for trial in range(12):
        Z, mix = rng.normal(size=(n, d)), rng.normal(size=d - 1)
        for left in (0.3, 0.03, 0.003):
            X = Z.copy()
            X[:, -1] = left * Z[:, -1] + Z[:, :-1] @ mix / np.linalg.norm(mix)
            X = (X * 10.0 ** rng.integers(-3, 4, size=d) + rng.normal(size=d)).astype(np.float32)
            share, proves = proof(X, X.mean(axis=0))
            assert proves and 1 / 5 < float(share) / (left**2 / (1 + left**2)) < 5
        # (sums of whole multiples of 1/8 are exact)
        dependent = (rng.integers(-20, 21, (n, d - 1)) * 2.0 ** rng.integers(-3, 4, size=d - 1)).astype(np.float32)
        last = [dependent @ np.ones(d - 1, np.float32), 3 * dependent[:, 0] + 1, np.full(n, 0.1, np.float32)][trial % 3]
        X = np.column_stack([dependent, last]).astype(np.float32)[:, rng.permutation(d)]
        assert not proof(X, X.mean(axis=0)).proves
    fit, said = _quiet_fit(families.Normal(), Z.astype(np.float32), Z[:, 0].astype(np.float32))
    assert int(fit.rank) == d + 1 and not said
