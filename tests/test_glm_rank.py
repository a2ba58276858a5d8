"""The first factor of a fit without penalties proves full rank, and never that of a dependent design."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import families, glm, links
from jaxml.glm.engine import plain_fit
from jaxml.optimize import Newton
from jaxml.optimize.driver import UNDECIDED
from jaxml.predictors import Linear
from jaxml.rows import Rows, block_rows
from jaxml.status import Status
from marks import mostly_slow

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="in float32 a few rows prove the rank by QR")
SMALL, LARGE = (400, 6), (30_000, 30)
FAMILIES = {
    "Bernoulli": families.Bernoulli(),
    "Poisson": families.Poisson(),
    "Gamma": families.Gamma(),
    "Normal": families.Normal(),
    "Categorical": families.Categorical(3),
}


def responses(name, rng, z):
    p = 1 / (1 + np.exp(-z))
    draws = {
        "Bernoulli": lambda: rng.random(len(z)) < p,
        "Poisson": lambda: rng.poisson(np.exp(z)),
        "Gamma": lambda: rng.gamma(2, np.exp(z)),
        "Normal": lambda: rng.normal(z),
        "Categorical": lambda: np.where(rng.random(len(z)) < 0.3, 2, rng.random(len(z)) < p),
    }
    return draws[name]().astype(int if name == "Categorical" else float)


def columns_of(rng, n, d):
    """Of any unit and place."""
    return rng.normal(size=(n, d)) * 10.0 ** rng.integers(-4, 5, d) * (1 + rng.normal(size=d))


DEPENDENT = {
    "a sum": lambda X: X[:, 0] + X[:, 2],
    "a copy in another unit": lambda X: 1e-3 * X[:, 1],
    "a constant": lambda X: np.full(len(X), 0.1),
    "a copy elsewhere": lambda X: X[:, 1] / 7 + 3 * X[:, 1].std(),
}


def plainly(family, X, y, **options):
    """The plain program alone: fit and survey."""
    from jaxml.glm.fit import _cast

    rows = Rows(jnp.asarray(X), jnp.asarray(y), *(options.get(k) for k in ("weights", "offset")))
    link = links.resolve(family, options.get("link"))
    family, l2, init = _cast(family, rows, 0.0, options.get("init"), True)
    solver = Newton(tol=1e-8, reuse=len(X) > SMALL[0])
    static = {"link": link, "weight_kind": "frequency", "hull": False, "firth": False, "trace": False}
    static |= {"block": block_rows(rows.X), "full_rank": False, "pivot": False, "check": "support"}
    return plain_fit.alone(family, rows, l2, init, solver, **static)[:2]


@pytest.mark.parametrize(
    ("name", "shape"),
    mostly_slow(
        [*((name, SMALL) for name in FAMILIES), ("Bernoulli", LARGE), ("Gamma", LARGE)],
        ["Bernoulli-whole", "Bernoulli-sampled"],
        [*(f"{name}-whole" for name in FAMILIES), "Bernoulli-sampled", "Gamma-sampled"],
    ),
)
def test_the_first_factor_tells_dependent_columns_from_others(name, shape):
    rng, family, link = np.random.default_rng(0), FAMILIES[name], "log" if name == "Gamma" else None
    kinds = DEPENDENT if shape == SMALL else {"a copy in another unit": DEPENDENT["a copy in another unit"]}
    for kind, last in kinds.items():
        X = columns_of(rng, *shape)
        y = responses(name, rng, (X[:, 1] - X[:, 1].mean()) / X[:, 1].std() / 2)
        fit, facts = plainly(family, X, y, link=link)
        assert facts.full_rank and Status(int(fit.status)) is Status.CONVERGED and jnp.isnan(facts.pivot)
        X[:, -1] = last(X)
        fit, facts = plainly(family, X, y, link=link)
        assert not facts.full_rank and int(fit.status) == UNDECIDED, kind
        fit = glm.fit(family, X, y, link=link)
        assert Status(int(fit.status)) is Status.CONVERGED and int(fit.rank) == shape[1], kind


@pytest.mark.parametrize("d", [4, 12])
def test_weights_and_offsets_that_differ_by_many_orders_prove_nothing(d):
    rng, kinds = np.random.default_rng(d), list(DEPENDENT.values())
    for trial in range(40):
        X = columns_of(rng, 300, d)
        X[:, -1] = kinds[trial % len(kinds)](X)
        weights = jnp.asarray(10.0 ** rng.uniform(-8 * (trial % 3), 0, 300) * (rng.random(300) > 0.1))
        offset = jnp.asarray(rng.normal(size=300) * (trial % 5))
        X = X[:, rng.permutation(d)]
        fit, facts = plainly(families.Poisson(), X, rng.poisson(np.exp(offset)), weights=weights, offset=offset)
        assert not facts.full_rank and int(fit.status) == UNDECIDED


@pytest.mark.parametrize("rare", ["rows", "weights", "exposure"])
def test_a_level_that_hardly_counts_does_not_hide_that_the_levels_add_up_to_the_intercept(rare):
    """After the pivot of the rare level, say 1e-5, the next is rounding divided by that, and may be either sign and large."""
    n = 100_000 if rare == "rows" else 300
    for trial in range(5 if rare == "rows" else 40):
        rng = np.random.default_rng(trial)
        level = rng.integers(0, 2 if rare == "rows" else 3, n)
        if rare == "rows":
            level[rng.choice(n, 3, replace=False)] = 2
        X = np.eye(3)[level][:, rng.permutation(3)]
        share = np.where(level == 2, 10.0 ** -(4 + trial % 7), 1) * rng.uniform(0.5, 1, n)
        weights = jnp.asarray(share) if rare == "weights" else None
        offset = jnp.asarray(np.log(share)) if rare == "exposure" else None
        fit, facts = plainly(families.Poisson(), X, rng.poisson(1.5, n).astype(float), weights=weights, offset=offset)
        assert not facts.full_rank and int(fit.status) == UNDECIDED, trial


def test_a_separated_fit_of_full_rank_is_proven_all_the_same():
    X = np.random.default_rng(0).normal(size=SMALL)
    fit, facts = plainly(families.Bernoulli(), X, (X[:, 0] > 0).astype(float))
    assert facts.full_rank and int(fit.status) == UNDECIDED and int(fit.steps) > 0


@pytest.mark.slow
def test_a_start_without_curvature_proves_nothing():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    X[:, 2] = X[:, 0] + X[:, 1]
    init = Linear(jnp.array([1e4, 0.0, 0.0]), jnp.zeros(()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = glm.fit(families.Poisson(), X, rng.poisson(1.0, 200), init=init)
        other = glm.fit(families.Poisson(), X[:, :2], rng.poisson(1.0, 200), init=init._replace(weight=init.weight[:2]))
    assert Status(int(fit.status)) is Status.INFEASIBLE and int(fit.rank) == 3
    assert Status(int(other.status)) is Status.INFEASIBLE and int(other.rank) == 3


def test_what_a_penalty_adds_proves_nothing():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    X[:, 2] = X[:, 0] + X[:, 1]
    y = (rng.random(200) < 0.5).astype(float)
    for l2 in (1.0, jnp.array([1.0, 0.0, 0.0]), Linear(0.0, 1.0)):
        fit = glm.fit(families.Bernoulli(), X, y, l2=l2)
        assert Status(int(fit.status)) is Status.CONVERGED and int(fit.rank) == 3
