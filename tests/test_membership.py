"""What is an exponential family and what is not (notes 5.6)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln

from jaxml import families
from registry_families import ROWS

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="ranks are decided in float64")


def grid(row):
    """Observations and natural parameters, more of each than the dimension needs."""
    rng = np.random.default_rng(1)
    k = 24
    etas = row.etas[rng.integers(len(row.etas), size=k)] * rng.uniform(0.5, 1.5, size=(k,) + (1,) * (row.etas.ndim - 1))
    if row.etas.ndim == 2 and row.name not in ("multivariate_normal",):
        etas = etas * rng.uniform(0.7, 1.3, size=etas.shape)
    if row.name == "multivariate_normal":
        etas = jax.vmap(row.family.from_unconstrained)(jnp.asarray(rng.normal(size=(k, 5)) / 2))
    y = {
        "bernoulli": np.arange(2), "categorical": np.arange(3), "binomial": (np.arange(7), np.full(7, 6)),
        "multinomial": np.array([(i, j, 5 - i - j) for i in range(6) for j in range(6 - i)]),
        "dirichlet": rng.dirichlet([2, 2, 2], 24), "multivariate_normal": rng.normal(size=(24, 2)), "beta": rng.uniform(0.05, 0.95, 24),
        "independent_bernoulli": np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]]),
        "product": np.c_[rng.integers(0, 4, 24), rng.integers(0, 3, 24), rng.normal(size=24), rng.integers(0, 4, 24)],
    }  # fmt: skip
    if row.name in y:
        return y[row.name], etas
    whole = row.name in ("poisson", "geometric", "negative_binomial")
    return (np.arange(1.0, 25.0) if whole else rng.uniform(0.2, 4, 24)), etas


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_notes_5_6_every_family_of_the_package_has_its_dimension(row):
    points, parameters = grid(row)
    found = families.exponential_family_dimension(
        lambda y, eta: families.log_prob(row.family, eta, y), points, parameters
    )
    assert found.constant_support and found.dimension == row.dimension, found.message
    small = min(len(jax.tree.leaves(points)[0]), len(parameters)) - 1 == row.dimension
    assert found.at_limit == small and found.consistent != small


def test_notes_5_6_the_uniform_distribution_is_none():
    uniform = lambda y, ends: jnp.where((y >= ends[0]) & (y <= ends[1]), -jnp.log(ends[1] - ends[0]), -jnp.inf)
    ends = (jnp.linspace(-1.0, 0.0, 9), jnp.linspace(1.0, 3.0, 9))
    found = families.exponential_family_dimension(uniform, jnp.linspace(-2, 4, 25), ends)
    assert not found.consistent and not found.constant_support
    assert "support depends on the parameter" in found.message


@pytest.mark.parametrize("size", [6, 12])
def test_notes_5_6_laplace_location_grows_with_the_grid(size):
    found = families.exponential_family_dimension(
        lambda y, m: -jnp.abs(y - m), jnp.linspace(-3, 3, 2 * size), jnp.linspace(-2, 2, size)
    )
    assert found.constant_support and found.at_limit and not found.consistent
    assert found.dimension == size - 1 and f"at least {size - 1}" in found.message


def test_notes_5_6_laplace_location_on_a_grid_of_points_coarser_than_that_of_parameters():
    found = families.exponential_family_dimension(
        lambda y, m: -jnp.abs(y - m), jnp.linspace(-2, 2, 41), jnp.linspace(-1, 1, 41)
    )
    assert found.dimension == 20 and found.at_limit and not found.consistent and "grows with the grid" in found.message


@pytest.mark.parametrize("size", [5, 30])
def test_notes_5_6_negative_binomial_of_unknown_size_is_none(size):
    law = lambda y, r: gammaln(y + r) - gammaln(r) - gammaln(y + 1) - r * jnp.log(2.0) - y * jnp.log(2.0)
    found = families.exponential_family_dimension(law, jnp.arange(float(size)), jnp.linspace(0.5, 6, size))
    assert found.constant_support and found.at_limit and not found.consistent and "at least" in found.message


def test_a_grid_that_cannot_tell_says_so():
    found = families.exponential_family_dimension(lambda y, m: y * m, jnp.ones(1), jnp.ones(4))
    assert "too small" in found.message and not found.consistent
    found = families.exponential_family_dimension(lambda y, m: jnp.nan * y * m, jnp.ones(3), jnp.ones(4))
    assert "nan at point 0, parameter 0" in found.message


def test_points_and_parameters_may_be_pytrees():
    law = lambda y, p: -((y["a"] - p["m"]) ** 2) / (2 * p["s"]) - jnp.log(p["s"]) / 2
    rng = np.random.default_rng(0)
    found = families.exponential_family_dimension(
        law, {"a": rng.normal(size=9)}, {"m": rng.normal(size=8), "s": rng.uniform(1, 2, 8)}
    )
    assert found.consistent and found.dimension == 2
