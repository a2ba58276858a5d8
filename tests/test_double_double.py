"""Sums and products in double-double are exact on every backend, also inside programs that a compiler may rearrange."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.double_double import DoubleDouble, two_prod, two_sum

DTYPES = [np.float32] + [np.float64] * bool(jax.config.jax_enable_x64)
BACKENDS = sorted({"cpu", jax.default_backend()})
N = 500

both = [pytest.mark.parametrize("dtype", DTYPES), pytest.mark.parametrize("backend", BACKENDS)]


def on_both(test):
    for mark in both:
        test = mark(test)
    return test


def numbers(seed, dtype, backend):
    """Of all signs and of sizes that no product of two of them over- or underflows, with all their digits."""
    rng = np.random.default_rng(seed)
    spread = 12 if dtype == np.float32 else 100
    values = (rng.uniform(-2, 2, N) * 2.0 ** rng.integers(-spread, spread, N)).astype(dtype)
    return jax.device_put(values, jax.devices(backend)[0])


def exact(a):
    return [Fraction(float(v)) for v in np.ravel(a)]


def value(pair):
    return [high + low for high, low in zip(exact(pair.high), exact(pair.low), strict=True)]


@on_both
def test_two_sum_and_two_prod_are_exact_inside_jit(dtype, backend):
    a, b = numbers(0, dtype, backend), numbers(1, dtype, backend)
    total, product = jax.jit(lambda a, b: (two_sum(a, b), two_prod(a, b)))(a, b)
    assert value(total) == [x + y for x, y in zip(exact(a), exact(b), strict=True)]
    assert value(product) == [x * y for x, y in zip(exact(a), exact(b), strict=True)]
    np.testing.assert_array_equal(total.high, np.asarray(a) + np.asarray(b))
    np.testing.assert_array_equal(product.high, np.asarray(a) * np.asarray(b))
    assert product.high.dtype == product.low.dtype == dtype


@on_both
def test_a_sum_of_products_is_exact_where_a_compiler_could_contract_it(dtype, backend):
    a, b, c = (numbers(seed, dtype, backend) for seed in range(3))

    @jax.jit
    def both(a, b, c):
        p = two_prod(a, b)
        return p, two_sum(p.high, c), two_sum(-p.high, p.low)

    p, s, t = both(a, b, c)
    assert value(s) == [x + y for x, y in zip(exact(p.high), exact(c), strict=True)]
    assert value(p) == [x * y for x, y in zip(exact(a), exact(b), strict=True)]
    assert value(t) == [y - x for x, y in zip(exact(p.high), exact(p.low), strict=True)]


@on_both
def test_a_dot_product_that_cancels_has_twice_the_digits(dtype, backend):
    a, b = (np.asarray(numbers(seed, dtype, backend)) for seed in (3, 4))
    rough = -sum(x * y for x, y in zip(exact(a), exact(b), strict=True))
    a, b = np.append(a, dtype(rough)), np.append(b, dtype(1))  # the sum is what this rounding leaves
    dot = lambda a, b: DoubleDouble.of(a).times(b).sum(0)
    a, b = (jax.device_put(v, jax.devices(backend)[0]) for v in (a, b))
    terms = [x * y for x, y in zip(exact(a), exact(b), strict=True)]
    room = N**2 * Fraction(float(np.finfo(dtype).eps)) ** 2 * sum(map(abs, terms))
    for found in (
        jax.jit(dot)(a, b),
        jax.tree.map(lambda v: v[1], jax.vmap(dot)(jnp.stack([b, a]), jnp.stack([a, b]))),
    ):
        assert abs(value(found)[0] - sum(terms)) <= room
        assert abs(float(found.low)) <= np.finfo(dtype).eps * abs(float(found.high))


def test_sums_keep_what_is_below_the_last_digit():
    one, tiny = DoubleDouble.of(jnp.float32(1)), DoubleDouble.of(jnp.float32(1e-10))
    assert value(one.plus(tiny).plus(-one)) == exact(tiny.high)
