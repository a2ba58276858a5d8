"""Records: what is an array and what is structure, and that no cache can take one class for another."""

import jax
import jax.numpy as jnp
import pytest

from jaxml import families, optimize
from jaxml.records import record, static_field


@record
class First:
    x: jax.Array
    n: int = static_field(default=3)


@record
class Second:
    x: jax.Array
    n: int = static_field(default=3)


@record
class Child(First):
    pass


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (First(1.0), Second(1.0)),
        (First(1.0), Child(1.0)),
        (First(1.0), First(1.0, n=4)),
        (families.Categorical(3), families.Multinomial(3)),
        (families.Bernoulli(), families.Poisson()),
        (families.Gamma(shape=1.0), families.InverseGaussian(shape=1.0)),
        (optimize.GradientDescent(learning_rate=0.1, max_steps=5), optimize.SGD(learning_rate=0.1, epochs=5)),
    ],
)
def test_records_of_different_classes_or_static_fields_differ_in_structure(a, b):
    assert jax.tree.structure(a) != jax.tree.structure(b)


def test_equal_static_fields_share_a_structure_whatever_the_arrays():
    assert jax.tree.structure(First(1.0)) == jax.tree.structure(First(jnp.ones(4)))
    assert jax.tree.structure(families.NegativeBinomial(2.0)) == jax.tree.structure(families.NegativeBinomial(3))


def test_records_are_frozen_and_survive_flattening_with_paths():
    one = First(jnp.ones(2), n=7)
    with pytest.raises(AttributeError):
        one.x = 0
    ((path, leaf),) = jax.tree_util.tree_leaves_with_path(one)
    assert jax.tree_util.keystr(path) == ".x"
    assert leaf is one.x
    assert jax.tree.map(lambda a: a + 1, one).n == 7
    assert jax.vmap(lambda r: r.x * r.n)(one).tolist() == [7.0, 7.0]
