"""What is compiled, with which options, and what is not compiled at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiles import compiles
from jaxml import families, links
from jaxml.compiling import program, quickly, staged


def test_what_the_user_tells_xla_is_left_alone():
    whole = quickly("")
    assert set(quickly("--xla_backend_optimization_level=3")) == set(whole) - {"xla_backend_optimization_level"}
    assert quickly("--xla_force_host_platform_device_count=8") == whole


@program(static_argnames="power")
def raised(x, power):
    return x**power


@pytest.mark.parametrize("x", [jnp.arange(3.0), np.arange(3.0), 2.0])
def test_a_program_may_be_part_of_another_one_whatever_it_is_given(x):
    """Options of XLA are refused in a part of a program: also where nothing of what is given is traced."""
    expected = np.asarray(x) ** 2
    np.testing.assert_array_equal(raised(x, power=2), expected)
    np.testing.assert_array_equal(jax.jit(lambda: raised(x, power=2))(), expected)
    np.testing.assert_array_equal(jax.jit(lambda x: raised(x, power=2))(x), expected)
    assert not staged(x)
    assert jax.jit(lambda: jnp.asarray(staged(x)))()


def test_a_key_alone_does_not_hide_that_a_program_is_being_traced():
    assert jax.jit(lambda: jnp.asarray(staged((jax.random.key(0), np.ones(2)))))()


@pytest.mark.parametrize("link", [links.logit, links.probit, links.cloglog])
def test_the_domain_of_a_sigmoid_link_is_known_without_a_computation(link):
    assert compiles(lambda: links.domain(families.Bernoulli(), link)) == 0
    assert links.domain(families.Bernoulli(), link) == (-np.inf, np.inf)


def test_a_link_of_ones_own_may_say_that_it_is_sigmoid():
    own = links.Link("tanh", lambda z: (1 + jnp.tanh(z)) / 2, lambda m: jnp.arctanh(2 * m - 1), sigmoid=True)
    assert links.spans_mean(families.Bernoulli(), own) and not own.known
    assert not links.spans_mean(families.Bernoulli(), links.Link("tanh", own.inverse, own.forward))
    assert links.domain(families.Bernoulli(), own) == (-np.inf, np.inf)
