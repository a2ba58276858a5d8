"""Derivatives in arbitrary precision: f(x), f'(x) and f''(x) as one number, by the chain rule on mpmath's functions.

No difference quotient, whose step would have to be below e^-1e4 to see a function such as exp(-e^x).
"""

from collections.abc import Callable
from typing import Any

import mpmath as mp


class Jet:
    """A value with its first two derivatives in x."""

    def __init__(self, value: Any, first: Any = 0, second: Any = 0) -> None:
        self.d = tuple(map(mp.mpf, (value, first, second)))

    def __add__(self, other: Any) -> "Jet":
        return Jet(*(a + b for a, b in zip(self.d, _jet(other).d, strict=True)))

    def __mul__(self, other: Any) -> "Jet":
        (a, a1, a2), (b, b1, b2) = self.d, _jet(other).d
        return Jet(a * b, a1 * b + a * b1, a2 * b + 2 * a1 * b1 + a * b2)

    def __pow__(self, k: Any) -> "Jet":
        k, v = mp.mpf(k), self.d[0]
        return chain(self, v**k, k * v ** (k - 1), k * (k - 1) * v ** (k - 2))

    def __neg__(self) -> "Jet":
        return self * -1

    def __sub__(self, other: Any) -> "Jet":
        return self + -_jet(other)

    def __rsub__(self, other: Any) -> "Jet":
        return _jet(other) - self

    def __truediv__(self, other: Any) -> "Jet":
        return self * _jet(other) ** -1

    def __rtruediv__(self, other: Any) -> "Jet":
        return _jet(other) / self

    __radd__, __rmul__ = __add__, __mul__


def _jet(x: Any) -> Jet:
    return x if isinstance(x, Jet) else Jet(x)


def chain(x: Jet, value: Any, first: Any, second: Any) -> Jet:
    """f(x) given f, f' and f'' at its value."""
    return Jet(value, first * x.d[1], second * x.d[1] ** 2 + first * x.d[2])


def variable(x: Any) -> Jet:
    """The x by which all is differentiated."""
    return Jet(mp.mpf(float(x)), 1)


def _elementary(
    value: Callable[..., Any], first: Callable[..., Any], second: Callable[..., Any]
) -> Callable[[Jet], Jet]:
    return lambda x: chain(x, value(x.d[0]), first(x.d[0]), second(x.d[0]))


def _exp(v: Any) -> Any:
    # What is below e^-1e12 may have an exponent that takes mpmath minutes, and is 0 in any floating-point format.
    return mp.mpf(0) if v < -1e12 else mp.exp(v)


exp = _elementary(_exp, _exp, _exp)
expm1 = _elementary(lambda v: mp.mpf(-1) if v < -1e12 else mp.expm1(v), _exp, _exp)
log = _elementary(mp.log, lambda v: 1 / v, lambda v: -1 / v**2)
log1p = _elementary(mp.log1p, lambda v: 1 / (1 + v), lambda v: -1 / (1 + v) ** 2)


def log_cdf(x: Jet) -> Jet:
    """log Phi of the standard normal."""
    v = x.d[0]
    upper = mp.erfc(abs(v) / mp.sqrt(2)) / 2
    value = mp.log(upper) if v < 0 else mp.log1p(-upper)
    hazard = mp.exp(-v * v / 2 - value) / mp.sqrt(2 * mp.pi)
    return chain(x, value, hazard, -hazard * (v + hazard))


def _logistic(v: Any) -> Any:
    return 1 / (1 + _exp(-v))


softplus = _elementary(lambda v: mp.log1p(_exp(v)), _logistic, lambda v: _logistic(v) * _logistic(-v))


def log_one_minus_exp_minus(x: Jet) -> Jet:
    """log(1 - e^-x) for x > 0."""
    wait = lambda v: _exp(-v) / -mp.expm1(-v)
    return _elementary(
        lambda v: mp.log(-mp.expm1(-v)) if v < 1 else mp.log1p(-_exp(-v)), wait, lambda v: -wait(v) * (1 + wait(v))
    )(x)


def log_cloglog(z: Jet) -> Jet:
    """log(1 - exp(-x)), x = e^z; by log x - x/2 + x^2/24 where the next term, x^4/2880, is below all digits."""
    x = exp(z)
    small = x.d[0] < mp.mpf(10) ** -(mp.mp.dps // 3)
    return z + x * (x / 24 - mp.mpf(1) / 2) if small else log_one_minus_exp_minus(x)
