"""The exact test of separation: what it names, and what it says in words. Its verdicts are tested beside those of the fits."""

import jax
import numpy as np
import pytest
from sklearn import datasets

from jaxml import families, glm
from jaxml.predictors import Linear

pytestmark = pytest.mark.filterwarnings("ignore:float64 data are computed in float32")
BERNOULLI = families.Bernoulli()
LEVEL = np.array([1.0, 1, 1, 0, 0, 0, 0])
DOSE = np.array([0.0, 1, 2, 0, 1, 2, 3])


def test_overlapping_rows_are_not_separated():
    found = glm.separation(BERNOULLI, DOSE[:, None], [0, 1, 0, 1, 0, 1, 0])
    assert not found.separated and not found.rows.any() and found.direction.weight == 0
    assert str(found) == "Not separated: the likelihood has a maximum."


def test_a_level_without_events_runs_off_and_the_dose_does_not():
    found = glm.separation(BERNOULLI, np.stack([LEVEL, DOSE], axis=1), [0, 0, 0, 1, 0, 1, 0], names=["level", "dose"])
    assert found.separated and not found.complete
    np.testing.assert_array_equal(found.rows, LEVEL == 1)
    np.testing.assert_array_equal(found.limits.weight, [-np.inf, 0])
    assert found.limits.bias == 0 and found.direction.weight[1] == 0
    assert "3 rows (0, 1, 2)" in str(found) and "level (-inf)" in str(found) and "dose" not in str(found)


def test_complete_separation_leaves_the_sign_of_other_coefficients_open():
    x = np.array([-3.0, -2, -1, 1, 2, 3])
    found = glm.separation(BERNOULLI, np.stack([x, np.tile([0.0, 1], 3)], axis=1), x > 0)
    assert found.complete and found.rows.all()
    assert found.limits.weight[0] == np.inf and np.isnan(found.limits.weight[1]) and np.isnan(found.limits.bias)
    assert "x0 (+inf), x1 (either way), (intercept) (either way)" in str(found)


def test_the_remaining_coefficients_have_the_limits_of_the_model_without_the_settled_rows():
    """Geyer (2009): a fit far out along the direction agrees with the maximum of the model that is left."""
    X, y = np.stack([LEVEL, DOSE], axis=1), np.array([0, 0, 0, 3, 1, 4, 2])
    found = glm.separation(families.Poisson(), X, y)
    left = glm.fit(families.Poisson(), X[~found.rows][:, 1:], y[~found.rows])
    fit = glm.fit(families.Poisson(), X, y, l2=Linear(np.array([1e-9, 0.0]), 0.0))
    np.testing.assert_array_equal(found.limits.weight, [-np.inf, 0])
    np.testing.assert_allclose(fit.params.weight[1], left.params.weight[0], atol=1e-3)
    assert fit.params.weight[0] < -8


@pytest.mark.parametrize("center", [0.0, 1e6])
def test_a_column_far_from_zero_or_of_large_unit_makes_no_difference(center):
    x = center + 1e3 * np.array([-2.0, -1, 0, 0, 1, 2])
    found = glm.separation(BERNOULLI, x[:, None], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(found.rows, [1, 1, 0, 0, 1, 1])
    assert found.limits.weight == np.inf
    assert found.limits.bias == (-np.inf if center else 0)


@pytest.mark.parametrize("gap", [1e-2, 1e-6, 1e-8, -1e-2, -1e-6, -1e-8])
def test_the_smallest_gap_decides(gap):
    x = np.concatenate([np.linspace(-2, -0.5, 8), np.linspace(0.5, 2, 8), [-gap, gap]])
    y = np.repeat([0, 1, 0, 1], [8, 8, 1, 1])
    assert glm.separation(BERNOULLI, x[:, None], y).separated == (gap > 0)


def test_penalised_coefficients_stay_and_a_free_bias_does_not():
    X = DOSE[:, None]
    found = glm.separation(BERNOULLI, X, np.zeros(7, int), l2=0.1)
    assert found.complete and found.limits.weight == 0 and found.limits.bias == -np.inf
    assert not glm.separation(BERNOULLI, X, np.zeros(7, int), l2=Linear(0.1, 0.1)).separated
    assert not glm.separation(BERNOULLI, X, np.zeros(7, int), l2=0.1, intercept=False).separated


def test_weights_of_zero_and_trials_of_none_do_not_count():
    y = [0, 0, 0, 1, 0, 1, 0]
    found = glm.separation(BERNOULLI, DOSE[:, None], y, weights=np.array([1.0, 0, 1, 1, 0, 1, 0]))
    assert not found.rows[[1, 4, 6]].any()
    counts = np.array([0, 0, 3, 3]), np.array([3, 0, 3, 3])
    found = glm.separation(families.Binomial(), np.array([[-1.0], [5.0], [1.0], [2.0]]), counts)
    np.testing.assert_array_equal(found.rows, [1, 0, 1, 1])


def test_a_class_apart_is_named_and_equal_columns_are_no_separation():
    iris = datasets.load_iris()
    setosa = (iris.target == 0).astype(int)
    assert glm.separation(families.Categorical(2), iris.data, setosa).complete
    found = glm.separation(families.Categorical(3), iris.data, iris.target)
    assert found.separated and not found.complete  # two of the classes overlap
    assert found.rows.all()  # all rows tell the first class from the others
    twice = np.repeat(DOSE[:, None], 2, axis=1)
    assert not glm.separation(BERNOULLI, twice, [0, 1, 0, 1, 0, 1, 0]).separated


@pytest.mark.parametrize("family", [families.Normal(), families.Gamma(), families.InverseGaussian()], ids=str)
def test_families_whose_y_is_never_on_the_edge(family):
    assert not glm.separation(family, DOSE[:, None], DOSE + 1).separated


def test_inside_jit_the_status_is_pointed_at():
    with pytest.raises(ValueError, match="status of a fit"):
        jax.jit(lambda X: glm.separation(BERNOULLI, X, np.zeros(7, int)).rows)(DOSE[:, None])
    with pytest.raises(ValueError, match="names has 2 entries"):
        glm.separation(BERNOULLI, DOSE[:, None], np.zeros(7, int), names=["a", "b"])
