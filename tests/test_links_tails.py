"""Digits in the tails of every family with every link: the row loss, the mean, the variance and what a fit takes of them.

Everything is measured against the exact value at the float z, by jets of arbitrary precision. z has no error, but the two numbers
on the way to the answer have: u, the coordinate of the mean, and eta, each rounded. An answer f is therefore held to

    4 eps (1 + |u| + |eta|) (sum of the sizes of the terms whose difference f is)

the log-density to 4 eps (1 + |a| + |eta T|) and what a relative change of eps in u or in eta does to it, and the mean, which goes by
neither, to 4 ulp; for cloglog with e^z, the argument of its exponential, beside |u|. Where the loss itself overflows its second
derivatives are not looked at. A new link is a row of
``LINKS``, a new family with one mean a row of ``FAMILIES``.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import jets
from jaxml import families, links
from jaxml.glm.objective import curvatures, value_and_slope
from jaxml.likelihood import row_mean
from jets import Jet, variable
from marks import covering, mostly_slow

inf = np.inf
SIZES = np.array([1e-8, 1e-5, 1e-3, 0.1, 0.5, 0.693, 1, 3, 5, 10, 16, 30, 36.5, 44, 87, 300, 400, 700, 720, 1e3, 1e4])
NEAR_ONE = np.concatenate([1 + s * 2.0 ** -np.array([4, 10, 20, 23, 40, 52]) for s in (-1, 1)])
GRID = np.concatenate([-SIZES, [0.0], SIZES, NEAR_ONE])
half = mp.mpf(1) / 2


class Mean:
    """A mean as a function of z, by its logarithm and that of 1 - mean, so that neither tail cancels."""

    def __init__(
        self, log: Callable[[], Jet], rest: Callable[[], Jet] | None = None, value: Callable[[], Jet] | None = None
    ):
        self._log, self._rest, self._value = log, rest, value

    @cached_property
    def log(self) -> Jet:
        return self._log()

    @cached_property
    def rest(self) -> Jet:
        """log(1 - mean)."""
        return self._rest() if self._rest else jets.log_one_minus_exp_minus(-self.log)

    @cached_property
    def rest_of_reciprocal(self) -> Jet:
        """log(1 - 1 / mean)."""
        return jets.log_one_minus_exp_minus(self.log)

    @cached_property
    def value(self) -> Jet:
        return self._value() if self._value else jets.exp(self.log)


class LinkRow(NamedTuple):
    """The mean of a z, and the ends of the z with a mean between two numbers (None: no such z)."""

    mean: Callable[[Jet], Mean]
    ends: Callable[[float, float], tuple[float, float] | None]


def _positive(z):
    return max(z, 0.0)


def _over(z):
    return inf if z <= 0 else 1 / z


_sigmoids = lambda low, high: (-inf, inf) if low <= 0 else None
LINKS = {
    "identity": LinkRow(lambda z: Mean(lambda: jets.log(z), lambda: jets.log(1 - z), lambda: z), lambda low, high: (low, high)),
    "log": LinkRow(lambda z: Mean(lambda: z), lambda low, high: (np.log(_positive(low)) if low > 0 else -inf, np.log(high))),
    "logit": LinkRow(lambda z: Mean(lambda: -jets.softplus(-z), lambda: -jets.softplus(z)), _sigmoids),
    "probit": LinkRow(lambda z: Mean(lambda: jets.log_cdf(z), lambda: jets.log_cdf(-z)), _sigmoids),
    "cloglog": LinkRow(lambda z: Mean(lambda: jets.log_cloglog(z), lambda: -jets.exp(z)), _sigmoids),
    "inverse": LinkRow(lambda z: Mean(lambda: -jets.log(z), lambda: jets.log(z - 1) - jets.log(z), lambda: 1 / z),
                       lambda low, high: (_over(high), _over(low))),
    "sqrt": LinkRow(lambda z: Mean(lambda: 2 * jets.log(z), lambda: jets.log(1 - z) + jets.log1p(z), lambda: z * z),
                    lambda low, high: (_positive(low) ** 0.5, high**0.5)),
    "inverse_squared": LinkRow(lambda z: Mean(lambda: jets.log(z) * -half, lambda: jets.log(1 - z**-half), lambda: z**-half),
                               lambda low, high: (_over(high) ** 2, _over(low) ** 2)),
}  # fmt: skip


class FamilyRow(NamedTuple):
    """A family with one mean in (low, high): a, eta and the variance per trial as functions of it, and some observations."""

    family: Any
    low: float
    high: float
    ys: tuple[Any, ...]
    partition: Callable[[Mean], Jet]
    natural: Callable[[Mean], Jet]
    variance: Callable[[Mean], Jet]


_r = mp.mpf(2.5)
_coin = (lambda m: -m.rest, lambda m: m.log - m.rest, lambda m: jets.exp(m.log + m.rest))
_rate = (lambda m: m.log, lambda m: -jets.exp(-m.log))
_root = (lambda m: -jets.exp(-m.log), lambda m: jets.exp(-2 * m.log) * -half)
FAMILIES = {
    "bernoulli": FamilyRow(families.Bernoulli(), 0, 1, (0, 1), *_coin),
    "binomial": FamilyRow(families.Binomial(), 0, 1, ((2, 5), (5, 5)), *_coin),
    "poisson": FamilyRow(families.Poisson(), 0, inf, (0, 3), lambda m: m.value, lambda m: m.log, lambda m: m.value),
    "geometric": FamilyRow(families.Geometric(), 1, inf, (1, 3), lambda m: m.log + m.rest_of_reciprocal,
                           lambda m: m.rest_of_reciprocal, lambda m: jets.exp(2 * m.log + m.rest_of_reciprocal)),
    "negative_binomial": FamilyRow(families.NegativeBinomial(2.5), 0, inf, (0, 3), lambda m: _r * jets.softplus(m.log - mp.log(_r)),
                                   lambda m: -jets.softplus(mp.log(_r) - m.log), lambda m: m.value + m.value * m.value / _r),
    "normal": FamilyRow(families.Normal(), -inf, inf, (0, 2), lambda m: m.value * m.value * half, lambda m: m.value, lambda m: Jet(1)),
    "normal_known": FamilyRow(families.Normal(variance=4.0), -inf, inf, (2,), lambda m: m.value * m.value * half, lambda m: m.value,
                              lambda m: Jet(1)),
    "exponential": FamilyRow(families.Exponential(), 0, inf, (2,), *_rate, lambda m: jets.exp(2 * m.log)),
    "gamma": FamilyRow(families.Gamma(), 0, inf, (0.5, 2), *_rate, lambda m: jets.exp(2 * m.log)),
    "gamma_known": FamilyRow(families.Gamma(shape=4.0), 0, inf, (2,), *_rate, lambda m: jets.exp(2 * m.log)),
    "tweedie": FamilyRow(families.Tweedie(1.5), 0, inf, (0, 2), lambda m: 2 * jets.exp(m.log * half), lambda m: -2 * jets.exp(m.log * -half),
                         lambda m: jets.exp(m.log * 3 * half)),
    "inverse_gaussian": FamilyRow(families.InverseGaussian(), 0, inf, (0.5, 2), *_root, lambda m: jets.exp(3 * m.log)),
    "inverse_gaussian_known": FamilyRow(families.InverseGaussian(shape=2.0), 0, inf, (2,), *_root, lambda m: jets.exp(3 * m.log)),
}  # fmt: skip
# A known dispersion is in the density and nowhere else: with one link.
CASES = [(f, g) for f, row in FAMILIES.items() for g, link in LINKS.items()
         if link.ends(row.low, row.high) and ("_known" not in f or g == "log")]  # fmt: skip
# In float32 every family, and every link.
NARROW = covering(sorted(CASES, key=lambda case: case[1] != "log"), set)
ROWS = [(*case, np.float64) for case in CASES] + [(*case, np.float32) for case in NARROW]
IDS = [f"{f}-{g}-{np.dtype(dtype).name}" for f, g, dtype in ROWS]
QUICK = [f"{name}-float64" for name in ("bernoulli-probit", "bernoulli-cloglog", "poisson-sqrt", "geometric-log", "normal-log",
                                        "gamma-log", "gamma-inverse", "inverse_gaussian-log")]  # fmt: skip
QUICK += ["bernoulli-probit-float32", "bernoulli-cloglog-float32", "poisson-log-float32"]


def test_table_has_every_link_and_every_family_of_one_mean():
    assert set(LINKS) | {"canonical", "unconstrained"} == set(links.BY_NAME)
    laws = [f for f in vars(families).values() if isinstance(f, type) and issubclass(f, families.Family) and f.space]
    assert set(laws) == {type(row.family) for row in FAMILIES.values()}


class Exact:
    """Everything about one z and one observation."""

    def __init__(self, row: FamilyRow, link: str, z: Any, y: Any) -> None:
        x = variable(z)
        m = LINKS[link].mean(x)
        t, trials = map(mp.mpf, y if isinstance(y, tuple) else (y, 1))
        partition, total = row.partition(m) * trials, abs(m.value.d[0]) * trials + abs(t)
        self.mean, self.eta, self.variance = m.value, row.natural(m), row.variance(m)
        coin = row.high == 1
        u = self.eta if coin else m.log if row.low >= 0 else m.value
        # The two terms of a coin's loss are of one sign, and the residual 1 - p of one trial is no difference.
        self.loss = -(m.log * t + m.rest * (trials - t)) if coin else partition - self.eta * t
        self.terms = abs(partition.d[0]) + abs(self.eta.d[0] * t)
        sides = abs(m.log.d[1]) * t + abs(m.rest.d[1]) * (trials - t) if coin else mp.mpf(0)
        self.slope_terms = sides if coin else total * abs(self.eta.d[1])
        self.information = self.variance.d[0] * trials * self.eta.d[1] ** 2
        self.curvature_terms = self.information + total * abs(self.eta.d[2])
        # What the rounding of u, of eta and of e^z does.
        self.exponent = mp.exp(x.d[0]) if link == "cloglog" and x.d[0] < 709 else mp.mpf(0)
        self.room = 1 + abs(u.d[0]) + abs(self.eta.d[0]) + self.exponent
        by_u = total * abs(self.eta.d[1] / u.d[1] * u.d[0]) if u.d[1] else 0
        self.loss_room = 1 + self.terms + by_u + abs(m.value.d[0] * trials * self.eta.d[0])


def evaluate(family: Any, link: Any) -> Callable[..., dict[str, Any]]:
    """What the library says, (z, y) to all that a fit, a prediction and a log-likelihood use."""

    def at(z, y):
        m, one = (y[1] if family.has_trials else None), jnp.ones_like(z)
        value, slope = value_and_slope(family, link, z, y)
        curvature = curvatures(family, link, z, y)
        natural = lambda z: links.natural_parameter(family, link, z)
        pair = lambda f: jax.jvp(f, (z,), (one,))
        mean = pair(lambda z: row_mean(family, link, z, m if m is None else one))
        variance = pair(lambda z: families.variance(family, natural(z), trials=m))
        log_prob = pair(lambda z: families.log_prob(family, natural(z), y))
        return {
            "loss": value, "slope": slope, "observed": curvature[0], "expected": curvature[-1],
            "mean": mean[0], "mean'": mean[1], "variance": variance[0], "variance'": variance[1],
            "log p": log_prob[0], "log p'": log_prob[1],
        }  # fmt: skip

    return jax.jit(at)


def _compare(worst, name, got, want, room, info):
    """The error in units of the room, after what rounding has to make of numbers that are too large or too small."""
    assert not np.isnan(got), (name, want)
    if abs(want) > float(info.max) / 4:  # a factor on the way may overflow a little before
        assert abs(got) > float(info.max) / 5 and np.sign(got) == mp.sign(want), (name, got, want)
        return
    error = abs(mp.mpf(float(got)) - want) - 16 * mp.mpf(float(info.tiny))
    ratio = float(error / (float(info.eps) * room)) if error > 0 else 0.0
    worst[name] = max(worst.get(name, 0.0), ratio)


@pytest.mark.parametrize(("family", "link", "dtype"), mostly_slow(ROWS, QUICK, IDS))
def test_loss_mean_and_variance_of_z_with_their_derivatives(family, link, dtype):
    if dtype == np.float64 and not jax.config.jax_enable_x64:
        pytest.skip("64-bit mode is off")
    row, info = FAMILIES[family], np.finfo(dtype)
    low, high = LINKS[link].ends(row.low, row.high)
    z = np.unique(GRID.astype(dtype))
    z = z[(z > low) & (z < high)]
    law = jax.tree.map(lambda a: jnp.asarray(a, dtype), row.family)
    phi = mp.mpf(float(law.dispersion))
    program = evaluate(law, links.BY_NAME[link])
    worst: dict[str, float] = {}
    with mp.workdps(60):
        for y in row.ys:
            got = jax.tree.map(np.asarray, program(z, jax.tree.map(lambda v: jnp.full(z.shape, v, dtype), y)))
            base = mp.mpf(float(row.family.log_base(jax.tree.map(lambda v: jnp.asarray(v, float), y))))
            for i, x in enumerate(z):
                check = lambda name, want, room: _compare(worst, name, got[name][i], want, room, info)  # noqa: B023
                e = Exact(row, link, x, y)
                check("loss", e.loss.d[0], e.loss_room)
                check("slope", e.loss.d[1], e.slope_terms * e.room)
                if e.terms < float(info.max) / 4:  # a trial point of infinite loss is never taken
                    check("observed", e.loss.d[2], e.curvature_terms * e.room)
                    check("expected", e.information, e.information * e.room)
                check("mean", e.mean.d[0], abs(e.mean.d[0]) * (1 + e.exponent))
                check("mean'", e.mean.d[1], abs(e.mean.d[1]) * e.room)
                if not float(info.tiny) < abs(e.eta.d[0]) < float(info.max) ** 0.5 and x:
                    continue  # these go by eta, which has to be a number
                v = [d * phi * (y[1] if isinstance(y, tuple) else 1) for d in e.variance.d]
                check("variance", v[0], v[0] * e.room)
                check("variance'", v[1], (abs(v[1]) + abs(v[0] * e.eta.d[1])) * e.room)
                check("log p", base - e.loss.d[0] / phi, e.loss_room / phi + abs(base))
                check("log p'", -e.loss.d[1] / phi, e.slope_terms * e.room / phi)
    print(family, link, {k: round(v, 1) for k, v in worst.items()})
    assert all(v <= 4 for v in worst.values()), worst
