r"""Sums and products in about twice the working precision: a number as the unevaluated sum of two, high + low.

    two_sum(a, b)   = (s, e),  s = fl(a + b),  s + e = a + b exactly
    two_prod(a, b)  = (p, e),  p = fl(a b),    p + e = a b exactly, unless a term underflows or overflows

Compilers may contract ``a * b + c`` to one rounding, and those of accelerators do so even where the product is also used alone. So
every product here is one of halves of a number, which is exact: it makes no difference whether it is rounded. For the same reason
the halves come from ``lax.reduce_precision``, not from a product with ``2^27 + 1``.

Pure functions of float64 or float32 arrays, for jit and vmap. They are not meant to be differentiated.

Source: Dekker (1971), *A floating-point technique for extending the available precision*; Ogita, Rump & Oishi (2005), *Accurate sum
and dot product*.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class DoubleDouble(NamedTuple):
    """The number high + low; arrays of one shape."""

    high: Array
    low: Array

    @classmethod
    def of(cls, a: Array) -> "DoubleDouble":
        """A working-precision number."""
        return cls(a, jnp.zeros_like(a))

    def __neg__(self) -> "DoubleDouble":
        return DoubleDouble(-self.high, -self.low)

    def plus(self, other: "DoubleDouble") -> "DoubleDouble":
        """The sum, normalised: high is it rounded to working precision."""
        return two_sum(*self.gather(other))

    def gather(self, other: "DoubleDouble") -> "DoubleDouble":
        """The sum without that, as sums of many terms take it: one normalisation at their end is enough."""
        s, e = two_sum(self.high, other.high)
        return DoubleDouble(s, self.low + (e + other.low))

    def times(self, a: Array) -> "DoubleDouble":
        """The product with a working-precision number."""
        p, e = two_prod(self.high, a)
        return DoubleDouble(p, e + self.low * a)

    def sum(self, axis: int) -> "DoubleDouble":
        """The sum along an axis, normalised."""
        zero = jnp.zeros((), self.high.dtype)
        add = lambda a, b: tuple(DoubleDouble(*a).gather(DoubleDouble(*b)))
        return two_sum(*lax.reduce(tuple(self), (zero, zero), add, (axis,)))


def two_sum(a: Any, b: Any) -> DoubleDouble:
    """``a + b`` and the rounding error of the sum (Knuth).

    Args:
        a, b: arrays of one floating dtype.

    Returns:
        :class:`DoubleDouble`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml.double_double import two_sum
        >>> total = two_sum(jnp.float32(1e8), jnp.float32(1.0))
        >>> float(total.high), float(total.low)
        (100000000.0, 1.0)
    """
    s = jnp.add(a, b)
    back = s - a
    return DoubleDouble(s, (a - (s - back)) + (b - back))


def two_prod(a: Any, b: Any) -> DoubleDouble:
    """``a b`` and the rounding error of the product (Dekker).

    Args:
        a, b: arrays of one floating dtype.

    Returns:
        :class:`DoubleDouble`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml.double_double import two_prod
        >>> square = two_prod(jnp.float32(4097.0), jnp.float32(4097.0))  # 2^24 + 2^13 + 1
        >>> float(square.high), float(square.low)
        (16785408.0, 1.0)
    """
    (ah, al), (bh, bl) = _halves(a), _halves(b)
    # The sum of the two middle products has no more than the digits of one number, and neither has e + al bl.
    p, e = _fast_two_sum(ah * bh, ah * bl + al * bh)
    return _fast_two_sum(p, e + al * bl)


def _halves(a: Any) -> tuple[Array, Array]:
    """a as the sum of two numbers with half its digits each."""
    info = jnp.finfo(jnp.result_type(a))
    high = lax.reduce_precision(a, info.nexp, (info.nmant + 1) // 2 - 1)
    return high, a - high


def _fast_two_sum(a: Array, b: Array) -> DoubleDouble:
    """:func:`two_sum` where a is 0 or its exponent is not below that of b."""
    s = a + b
    return DoubleDouble(s, b - (s - a))
