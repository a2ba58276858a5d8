r"""Residuals: how far each y is from what the fit expects.

    response   y - mu                        pearson   (y - mu) / sqrt(V(mu) / w)
    working    (y - mu) dz/dmu               deviance  sign(y - mu) sqrt(w d)
    anscombe   sqrt(w) [A(y) - A(mu)] / V(mu)^(1/6),  A' = V^(-1/3): nearest to normal among functions of y less one of mu
    quantile   Phi^-1(F(y; mu, phi)), normal under the right model; for discrete y at a random point between F(y - 1) and F(y)

V is the variance at dispersion 1. A row of frequency weight w stands for w equal rows, and these are the figures of one of them. Rows
of weight 0 have none: NaN.

Source: McCullagh & Nelder (1989), section 2.4; Cox & Snell (1968); Dunn & Smyth (1996), "Randomized quantile residuals".
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

from jaxml import families, special
from jaxml.compiling import program
from jaxml.families import functions
from jaxml.families.base import Family
from jaxml.glm.covariance import Inference, of_inference, pieces
from jaxml.glm.diagnostics import leverages, only_counted, refuse_several, row_weight
from jaxml.glm.dispersion import law_of_rows
from jaxml.incomplete import beta_tails
from jaxml.links import natural_parameter

KINDS = ("response", "working", "pearson", "deviance", "anscombe", "quantile")
POWERS = {  # k of families with V(mu) = mu^k
    families.Normal: 0,
    families.Poisson: 1,
    families.Exponential: 2,
    families.Gamma: 2,
    families.InverseGaussian: 3,
}
_BETA = math.gamma(2 / 3) ** 2 / math.gamma(4 / 3)  # B(2/3, 2/3)


@of_inference
def residuals(
    inference: Inference, kind: str = "deviance", *, standardized: bool = False, key: Array | None = None
) -> Array:
    """The distance of each y from what the fit expects; see the module docstring.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        kind: 'response', 'working', 'pearson', 'deviance', 'anscombe' or 'quantile'. Those of Binomial and Multinomial are of counts,
            not shares. Quantile residuals are infinite where a tail underflows, some 38 deviations out (13 in float32).
        standardized: divide by sqrt(phi (1 - h)), so that a residual of a right model has a variance near 1; pearson and deviance.
        key: a random key, for the quantile residuals of families of discrete y.

    Returns:
        (n,), or (n, k) of response and pearson for Categorical and Multinomial.

    Raises:
        ValueError: an unknown kind, one that is not defined for the family, quantile residuals of a quasi-likelihood fit, or those of
            discrete y without a key.
        NotImplementedError: quantile residuals of a family that does not define ``cumulative``.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> inference = glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> print(np.round(np.float64(glm.residuals(inference, "response")), 2))
        [-0.17 -0.36  1.22 -0.69]
        >>> glm.residuals(inference, "quantile", key=jax.random.key(0)).shape
        (4,)
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not known; use one of {KINDS}")
    family = inference.fit.family
    if standardized and (kind not in ("pearson", "deviance") or family.natural_size is not None):
        raise ValueError(
            "standardized=True is for pearson and deviance residuals of families with one linear predictor"
        )
    if kind == "quantile":
        return _quantile(inference, _read_key(inference, key))
    if not family.has_deviance:
        raise ValueError(
            f"{kind} residuals need a family whose eta says the mean alone, {family} has {family.natural_size} parameters"
        )
    if kind == "working":
        refuse_several("a working residual", family)
    if kind == "anscombe":
        if type(family) not in (*POWERS, families.Bernoulli, families.Binomial):
            known = ", ".join(f.__name__ for f in (*POWERS, families.Bernoulli, families.Binomial))
            raise ValueError(
                f"anscombe residuals are known for {known}, not for {type(family).__name__}; use 'deviance' or 'quantile'"
            )
        return _anscombe(inference)
    return _residuals(inference, kind=kind, standardized=standardized)


def _read_key(inference: Inference, key: Array | None) -> Array | None:
    family = inference.fit.family
    if inference.fit.quasi:
        raise ValueError("a quasi-likelihood fit (check='hull') has no law of y, and so no quantile residuals")
    if family.discrete and key is None:
        raise ValueError(
            f"quantile residuals of {type(family).__name__} are drawn at random between P(Y < y) and P(Y <= y): give"
            " key=jax.random.key(seed)"
        )
    return key if family.discrete else None


# -- the numbers -----------------------------------------------------------------------------------------------------
@program(static_argnames=("kind", "standardized"))
def _residuals(inference: Inference, *, kind: str, standardized: bool) -> Array:
    fit, rows = inference.fit, inference.rows.safe()
    family, y, z = fit.family, rows.y, pieces(inference).z
    eta = natural_parameter(family, fit.link, z)
    m = family.trials(y)
    vector = family.natural_size is not None
    expected = functions.mean(family, eta, trials=m if family.has_trials else None)
    away = family.statistic(y) - expected
    w = row_weight(inference)
    if kind == "response":
        value = away
    elif kind == "working":
        change = jax.jvp(lambda z: natural_parameter(family, fit.link, z), (z,), (jnp.ones_like(z),))[1]
        value = away / (m * functions.hessian(family, eta) * change)
    elif kind == "pearson":
        spread = expected if vector else m * functions.hessian(family, eta)
        value = away * jnp.sqrt((w[:, None] if vector else w) / spread)
    else:
        d = functions.deviance(family, eta, y)
        sign = 1.0 if vector else jnp.sign(away)
        value = sign * jnp.sqrt(w * jnp.maximum(d, 0))
    if standardized:
        value = value / jnp.sqrt(inference.dispersion * (1 - leverages(inference)))
    return only_counted(inference, value)


@program()
def _anscombe(inference: Inference) -> Array:
    fit, rows = inference.fit, inference.rows.safe()
    family, y = fit.family, rows.y
    eta = natural_parameter(family, fit.link, pieces(inference).z)
    y, m = jnp.asarray(family.unit_statistic(y), eta.dtype), family.trials(y)
    value = _normalized_share(y, eta) if family.space == "unit" else _normalized(family, y, eta)
    return only_counted(inference, jnp.sqrt(row_weight(inference) * m) * value)


def _normalized(family: Family, y: Array, eta: Array) -> Array:
    """``[A(y) - A(mu)] / V(mu)^(1/6)`` for V = mu^k: mu^(1 - k/2) times the integral of t^(-k/3) from 1 to y / mu."""
    k, mu = POWERS[type(family)], functions.mean(family, eta)
    if k == 0:
        return y - mu
    away = (y - mu) / mu
    log, p = jnp.where(away < -0.5, jnp.log(y / mu), special.log1p(away)), 1 - k / 3
    return mu ** (1 - k / 2) * (jnp.expm1(p * log) / p if p else log)


def _normalized_share(y: Array, eta: Array) -> Array:
    """The same for V = mu (1 - mu), by the tail of an incomplete beta function that keeps its digits."""
    p, q = special.sigmoid(eta), special.sigmoid(-eta)
    thirds = jnp.asarray(2 / 3, eta.dtype)
    (low, high), (low_fit, high_fit) = (beta_tails(thirds, thirds, *pair) for pair in ((y, 1 - y), (p, q)))
    return _BETA * jnp.where(low_fit < high_fit, low - low_fit, high_fit - high) / (p * q) ** (1 / 6)


@program()
def _quantile(inference: Inference, key: Array | None) -> Array:
    fit, rows = inference.fit, inference.rows.safe()
    eta = natural_parameter(fit.family, fit.link, pieces(inference).z)
    weights = None if rows.weights is None else jnp.where(rows.on, rows.weights, 1)
    law = law_of_rows(fit.family, fit.weight_kind, inference.dispersion, weights)
    y = jax.tree.map(lambda leaf: jnp.asarray(leaf, eta.dtype), rows.y)
    low, high = law.cumulative(eta, y)
    if key is not None:
        before = law.cumulative(eta, (y[0] - 1, y[1]) if law.has_trials else y - 1)
        u = jax.random.uniform(key, low.shape, low.dtype, minval=jnp.finfo(low.dtype).tiny)
        low, high = ((1 - u) * past + u * here for past, here in zip(before, (low, high), strict=True))
    # The quantile of the smaller tail: a probability next to 1 holds no digits of it.
    return only_counted(inference, jnp.where(low < high, ndtri(low), -ndtri(high)))
