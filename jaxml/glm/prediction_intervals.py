r"""Where a new observation will lie: intervals that hold the noise of y as well as the uncertainty of the fit, without draws.

    normal, identity link     mu -+ t sqrt(phi / w + se(z)^2),                                  exact
    otherwise                 quantiles of P(Y <= y) = E[F(y; z)] over z ~ N(z, se(z)^2)

The expectation is an integral over x = (z - its estimate) / se(z), by Gauss-Legendre on panels that get narrow around the place where F
steps down from 1 to 0: against the normal law it may be as sharp as a step or as flat as a constant. A link whose z is bounded cuts the
normal law off at its ends. Quantiles come by bracketing and inverse quadratic interpolation, those of counts by bisection of integers.

Source: McCullagh & Nelder (1989), section 2.5; Chandrupatla (1997), "A new hybrid quadratic/bisection algorithm".
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxml.compiling import program
from jaxml.families.base import Family
from jaxml.families.normal import Normal
from jaxml.glm.covariance import Inference, of_inference
from jaxml.glm.dispersion import law_of_rows
from jaxml.glm.inference import read_level
from jaxml.glm.tails import two_sided_quantile
from jaxml.glm.uncertainty import read_precision_weights, variance_of_linear
from jaxml.links import canonical, domain, identity, natural_parameter
from jaxml.prediction import expected_from, read_features, read_offset, read_trials
from jaxml.predictors import linear

_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(10)[0] + 1) / 2, np.polynomial.legendre.leggauss(10)[1] / 2
_BULK = (-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0)  # ends of panels for the normal law
_STEP = (-6.0, -2.0, 2.0, 6.0)  # and, in widths of the step, for F

Tails = Callable[[Array], tuple[Array, Array]]


class PredictionInterval(NamedTuple):
    """The ends of intervals for a new y at each row, (m,)."""

    low: Array
    high: Array


@of_inference
def prediction_intervals(
    inference: Inference, X: Any, *, level: Any = 0.95, offset: Any = None, trials: Any = None, weights: Any = None
) -> PredictionInterval:
    """Intervals that a new y of each row falls into with probability ``level``, as much of the rest on either side.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        X: (m, d).
        level: of the intervals.
        offset: (m,), required if the fit had one.
        trials: () or (m,), for Binomial, whose counts of successes the intervals are of.
        weights: () or (m,), the precision weights of the new rows; required if the fit had precision weights and y a dispersion.

    Returns:
        :class:`PredictionInterval`. For counts each end is the smallest count with at least its share of the probability below or at
        it, so that the interval, ends included, holds ``level`` or more. NaN where the design does not determine a prediction.

    Raises:
        NotImplementedError: a family that does not define ``cumulative``.
        ValueError: a family of several linear predictors, a quasi-likelihood fit, weights missing, without meaning or not positive;
            else as :func:`jaxml.glm.predict`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> inference = glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> print(*(f"{float(end[0]):.0f}" for end in glm.prediction_intervals(inference, jnp.array([[2.0]]))))
        1 11

    Source: McCullagh & Nelder (1989), section 2.5; Seber & Lee (2003), *Linear Regression Analysis*, section 5.3.
    """
    fit = inference.fit
    family, weight = fit.family, fit.params.weight
    if family.natural_size is not None:
        raise ValueError(
            f"prediction intervals need one linear predictor for a row, {family} has {family.natural_size}; take quantiles of"
            " sample_predictive"
        )
    if fit.quasi:
        raise ValueError("a quasi-likelihood fit (check='hull') has no law of y, and so no prediction intervals")
    X = read_features(X, len(weight), weight.dtype)
    z = linear(fit.params, X)
    offset, trials = read_offset(fit, offset, z), read_trials(family, trials, z)
    law = law_of_rows(family, fit.weight_kind, inference.dispersion, read_precision_weights(fit, weights, z))
    level = read_level(level, weight.dtype)
    if isinstance(family, Normal) and fit.link in (identity, canonical):
        return _normal(inference, law, X, offset, level)
    return _intervals(inference, law, X, offset, trials, level)


# -- the numbers -----------------------------------------------------------------------------------------------------
def _located(inference: Inference, X: Array, offset: Array | None) -> tuple[Array, Array]:
    """z and its variance."""
    z = linear(inference.params, X)
    return z if offset is None else z + offset, variance_of_linear(inference, X)


@program()
def _normal(inference: Inference, law: Family, X: Array, offset: Array | None, level: Array) -> PredictionInterval:
    z, variance = _located(inference, X, offset)
    half = two_sided_quantile(level, inference.freedom) * jnp.sqrt(law.dispersion + variance)
    return PredictionInterval(z - half, z + half)


@program()
def _intervals(
    inference: Inference, law: Family, X: Array, offset: Array | None, trials: Array | None, level: Array
) -> PredictionInterval:
    fit = inference.fit
    z, variance = _located(inference, X, offset)
    # The fields of the law are of each row, or of all.
    axes = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, law)

    def one(upper: Array, law: Family, z: Array, se: Array, trials: Array | None) -> Array:
        tails, rest = partial(_predictive, law, fit, z, se, trials), (1 - level) / 2
        if law.discrete:
            return _counts(tails, rest, upper)
        start, slope = jax.jvp(lambda z: expected_from(fit, z, None), (z,), (jnp.ones_like(z),))
        return _numbers(tails, rest, upper, start, jnp.abs(slope) * se, law.space == "positive")

    rows = jax.vmap(one, (None, axes, 0, 0, 0))  # and over the two ends: one program for both
    found = jax.vmap(rows, (0, None, None, None, None))(jnp.asarray([False, True]), law, z, jnp.sqrt(variance), trials)
    known = jnp.isfinite(natural_parameter(fit.family, fit.link, z)) & jnp.isfinite(variance)
    return PredictionInterval(*jnp.where(known, found, jnp.nan))


def _predictive(law: Family, fit: Any, z: Array, se: Array, trials: Array | None, y: Array) -> tuple[Array, Array]:
    """E[P(Y <= y; z + se x)] and E[P(Y > y; z + se x)], x standard normal."""
    se = jnp.maximum(se, jnp.finfo(z.dtype).tiny)
    low, high = (jnp.clip((end - z) / se, _BULK[0], _BULK[-1]) for end in domain(fit.family, fit.link))

    def tails(x: Array) -> tuple[Array, Array]:
        eta = natural_parameter(fit.family, fit.link, z + se * x)
        return law.cumulative(eta, y if trials is None else (y, trials))

    slope = jax.jvp(lambda z: natural_parameter(fit.family, fit.link, z), (z,), (jnp.ones_like(z),))[1]
    place, width = _step(tails, slope > 0, low, high)
    ends = jnp.concatenate([jnp.asarray(_BULK, z.dtype), place + width * jnp.asarray(_STEP, z.dtype)])
    ends = jnp.sort(jnp.clip(ends, low, high))
    spans = jnp.diff(ends)[:, None]
    x = ends[:-1, None] + spans * jnp.asarray(_NODES, z.dtype)
    below, above = tails(x)
    share = jnp.where(jnp.isfinite(below), spans * jnp.asarray(_WEIGHTS, z.dtype) * jnp.exp(-x * x / 2), 0)
    mean = lambda values: jnp.sum(jnp.where(share > 0, share * values, 0)) / jnp.sum(share)
    return mean(below), mean(above)


def _step(tails: Tails, falls: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Where P(Y <= y), falling or rising in x, passes 1/2, and how wide that step is: half the way from 0.16 to 0.84."""
    levels = jnp.asarray([0.16, 0.5, 0.84], low.dtype)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        x = (ends[0] + ends[1]) / 2
        before = (tails(x)[0] > levels) == falls
        return jnp.where(before, x, ends[0]), jnp.where(before, ends[1], x)

    left, right = lax.fori_loop(0, 28, halve, (jnp.full_like(levels, low), jnp.full_like(levels, high)))
    x = (left + right) / 2
    width = jnp.maximum(jnp.abs(x[2] - x[0]) / 2, 1e-7)
    # Where all three lie beyond one end the step is wider than the normal law.
    beyond = (width < 1e-6) & ((x[1] - low < 1e-6) | (high - x[1] < 1e-6))
    return x[1], jnp.where(beyond, high - low, width)


def _counts(tails: Tails, rest: Array, upper: Array) -> Array:
    """The smallest count with at least the share `rest`, or for the upper end 1 - rest, below or at it."""
    most = 1 / jnp.finfo(rest.dtype).eps  # beyond, not every integer is a number

    def enough(y: Array) -> Array:
        below, above = tails(y)
        return jnp.where(upper, above <= rest, below >= rest)

    def halve(ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = jnp.floor((ends[0] + ends[1]) / 2)
        yes = enough(middle)
        return jnp.where(yes, ends[0], middle), jnp.where(yes, middle, ends[1])

    start = -jnp.ones_like(rest), jnp.zeros_like(rest)
    below, found = lax.while_loop(
        lambda ends: ~enough(ends[1]) & (ends[1] < most), lambda ends: (ends[1], 2 * ends[1] + 1), start
    )
    count = lax.while_loop(lambda ends: ends[1] - ends[0] > 1, halve, (below, found))[1]
    return jnp.where(found < most, count, jnp.inf)


def _numbers(tails: Tails, rest: Array, upper: Array, start: Array, spread: Array, positive: bool) -> Array:
    """The quantile at `rest`, or for the upper end at 1 - rest; on the scale of log y where y is positive."""
    back = jnp.exp if positive else lambda u: u
    center = jnp.log(start) if positive else start
    unit = jnp.ones_like(start) if positive else jnp.maximum(jnp.maximum(spread, 1e-3 * jnp.abs(start)), 1e-6)
    cap = (jnp.log if positive else jnp.asarray)(jnp.finfo(start.dtype).max)
    target = jnp.log(rest) - jnp.log1p(-rest)
    toward = jnp.where(upper, 1.0, -1.0).astype(start.dtype)

    def odds(u: Array) -> Array:
        """log odds of Y <= y less those wanted."""
        below, above = tails(back(u))
        return jnp.clip(jnp.log(below) - jnp.log(above), -300, 300) + toward * target

    # From the mean, which may lie beyond the quantile, as far to both sides as is needed.
    def short(step: Array) -> Array:
        ends = jax.vmap(odds)(center + jnp.stack([-step, step]))
        return ((ends[0] > 0) | (ends[1] < 0)) & (step < cap)

    step = lax.while_loop(short, lambda step: 2 * step, unit)
    return back(_root(odds, center - step, center + step))


def _root(fun: Callable[[Array], Array], a: Array, b: Array) -> Array:
    """The zero of an increasing function between a and b, by Chandrupatla's method."""
    fa, fb = jnp.full_like(a, -1e3), jnp.full_like(b, 1e3)  # signs are all that is asked of the first
    eps = jnp.finfo(a.dtype).eps

    def room(a: Array, b: Array) -> Array:
        return 4 * eps * jnp.maximum(jnp.maximum(jnp.abs(a), jnp.abs(b)), jnp.finfo(a.dtype).tiny / eps)

    def going(carry: Any) -> Array:
        a, fa, b, fb, *_, trips = carry
        return (jnp.abs(b - a) > 2 * room(a, b)) & (fa != 0) & (fb != 0) & (trips < 200)

    def step(carry: Any) -> Any:
        a, fa, b, fb, t, trips = carry
        x = a + t * (b - a)
        f = fun(x)
        same = jnp.sign(f) == jnp.sign(fa)
        c, fc = jnp.where(same, a, b), jnp.where(same, fa, fb)
        b, fb = jnp.where(same, b, a), jnp.where(same, fb, fa)
        a, fa = x, f
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        curved = (phi * phi < xi) & ((1 - phi) ** 2 < 1 - xi)
        quadratic = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        edge = room(a, b) / jnp.abs(b - a)
        t = jnp.where(curved & jnp.isfinite(quadratic), jnp.clip(quadratic, edge, 1 - edge), 0.5)
        return a, fa, b, fb, t, trips + 1

    a, fa, b, fb, *_ = lax.while_loop(going, step, (a, fa, b, fb, jnp.full_like(a, 0.5), 0))
    return jnp.where(jnp.abs(fa) < jnp.abs(fb), a, b)
