"""Products of families, and the moments by which every family is fitted: a monoid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxml import families, glm
from registry_families import ROWS
from tolerances import assert_agree

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
RNG = np.random.default_rng(3)
LAW = families.Product(
    (families.MultivariateNormal(2), families.Bernoulli(), families.Categorical(3)), ((3, 0), (1,), (2,))
)
ROW = np.array([0.3, 1.0, 2.0, -1.2])


def eta_of_law():
    normal = families.MultivariateNormal(2).pack(jnp.array([1.0, -0.5]), jnp.array([[2.0, 0.3], [0.3, 1.0]]))
    return jnp.concatenate([normal, jnp.array([0.7]), jnp.array([0.1, -0.4, 0.3])])


def cast(y):
    return jax.tree.map(lambda a: jnp.asarray(a, DTYPE), y)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_moments_merge_into_those_of_all_rows(row):
    y = row.ys if row.family.labels else cast(row.ys)
    part = lambda rows: jax.tree.map(lambda a: a[rows], y)
    n = len(jax.tree.leaves(y)[0])
    w = np.arange(1.0, n + 1).astype(DTYPE)
    moments = lambda s: row.family.moments(part(s), jnp.asarray(w[s] / w[s].sum()))
    trials = np.broadcast_to(row.family.trials(y), (n,)) * w
    share = jnp.asarray(trials[1:].sum() / trials.sum(), DTYPE)
    both = row.family.merge(moments(slice(0, 1)), moments(slice(1, None)), share)
    for merged, whole in zip(jax.tree.leaves(both), jax.tree.leaves(moments(slice(None))), strict=True):
        assert_agree(merged, whole, "same", error=1.0, what=row.name)


SPREADS = [
    r
    for r in ROWS
    if not isinstance(r.family, families.Product) and type(r.family).raised is not families.Family.raised
]


@pytest.mark.parametrize("row", SPREADS, ids=lambda r: r.name)
def test_a_spread_of_0_beside_that_of_all_rows_is_raised_and_others_stay(row):
    y = cast(row.ys)
    uniform = lambda y: row.family.moments(y, jnp.full(len(y), 1 / len(y), DTYPE))
    moments, count = row.family.raised(uniform(y[:1]), uniform(y))
    assert int(count) >= 1 and np.all(np.isfinite(families.functions.maximum_likelihood(row.family, moments)))
    # A multivariate normal needs more rows than it has columns.
    own = uniform(jnp.concatenate([y, y[::-1] * jnp.asarray(RNG.uniform(1.1, 2.0, y.shape), DTYPE)]))
    kept, count = row.family.raised(own, own)
    assert int(count) == 0
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(own), strict=True):
        assert_agree(a, b, "same", error=1e-3)


@pytest.mark.slow
def test_values_that_do_not_occur_have_probability_0():
    """Also where the shares of the others do not sum to 1 exactly."""
    for n in (10, 49, 50, 1000):
        assert families.fit(families.Bernoulli(), np.ones(n, DTYPE)) == np.inf
        assert families.fit(families.Bernoulli(), np.zeros(n, DTYPE)) == -np.inf
        assert families.fit(families.Binomial(), (np.full(n, 3, DTYPE), np.full(n, 3, DTYPE))) == np.inf
        assert families.fit(families.Geometric(), np.ones(n, DTYPE)) == -np.inf


def test_columns_that_belong_together_and_columns_on_their_own():
    eta = eta_of_law().astype(DTYPE)
    expected = (
        stats.multivariate_normal([1.0, -0.5], [[2.0, 0.3], [0.3, 1.0]]).logpdf(ROW[[3, 0]])
        - np.log1p(np.exp(-0.7)) + 0.3 - np.log(np.sum(np.exp([0.1, -0.4, 0.3])))
    )  # fmt: skip
    assert_agree(families.log_prob(LAW, eta, ROW.astype(DTYPE)), expected, "same" if X64 else "oracle")
    assert LAW.natural_size == 5 + 1 + 3


def test_draws_stand_in_their_columns():
    draws = np.asarray(families.sample(LAW, eta_of_law(), jax.random.key(0), (4000,)), float)
    assert draws.shape == (4000, 4)
    assert set(draws[:, 1]) == {0.0, 1.0} and set(draws[:, 2]) == {0.0, 1.0, 2.0}
    assert abs(draws[:, 3].mean() - 1.0) < 0.1 and abs(draws[:, 0].mean() + 0.5) < 0.1
    assert abs(np.cov(draws[:, 3], draws[:, 0])[0, 1] - 0.3) < 0.12


@pytest.mark.slow
def test_several_responses_in_one_regression_are_as_many_regressions():
    X = RNG.normal(size=(80, 2)).astype(DTYPE)
    y = np.c_[RNG.random(80) < 0.4, RNG.random(80) < 1 / (1 + np.exp(-X[:, 0]))].astype(DTYPE)
    both = glm.fit(families.independent(families.Bernoulli(), 2), X, y, link="canonical")
    for j in range(2):
        one = glm.fit(families.Bernoulli(), X, y[:, j])
        assert_agree(both.params.weight[:, j], one.params.weight, "fit" if X64 else "first_order", error=0.3)
        assert_agree(both.params.bias[j], one.params.bias, "fit" if X64 else "first_order", error=0.3)


@pytest.mark.parametrize(
    ("law", "error", "match"),
    [
        (families.Product((families.Multinomial(3), families.Poisson()), ((0, 1, 2), (3,))), TypeError, "counts trials"),
        (families.Product((families.Poisson(), families.Bernoulli()), ((0, 1), (1,))), ValueError, "once"),
        (families.Product((families.Poisson(),), ((0, 2),)), ValueError, "once"),
        (families.Product((families.Poisson(),), ((0,), (1,))), ValueError, "1 parts, but columns for 2"),
        (families.independent(families.Normal(-1.0), 2), ValueError, "no law"),
    ],
)  # fmt: skip
def test_bad_products_are_refused_by_models(law, error, match):
    with pytest.raises(error, match=match):
        glm.fit(law, np.ones((4, 1), DTYPE), np.ones((4, 2), DTYPE))
