r"""What each row says of a fit: residuals, leverage and influence.

    response   y - mu                        pearson   (y - mu) / sqrt(V(mu) / w)
    working    (y - mu) dz/dmu               deviance  sign(y - mu) sqrt(w d)

    leverage   h = w W x'(X'WX + N l2 P)^-1 x
    Cook       r^2 h / (k (1 - h)),          r = pearson / sqrt(phi (1 - h))
    DFBETA     (X'WX)^-1 x w u / (1 - h), the change of the coefficients without the row, to first order

A row of frequency weight w stands for w equal rows, and these are the figures of one of them. Rows of weight 0 have none: NaN.

Source: McCullagh & Nelder (1989), sections 2.4 and 12.5; Cook (1977); Pregibon (1981).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxml.families import functions
from jaxml.families.base import Family
from jaxml.glm.covariance import Inference, hat_factors, of_inference, pieces
from jaxml.glm.inference import standard_errors
from jaxml.glm.objective import recentred
from jaxml.linalg import matmul
from jaxml.links import natural_parameter
from jaxml.predictors import Linear
from jaxml.rows import column

KINDS = ("response", "working", "pearson", "deviance")


@of_inference
def residuals(inference: Inference, kind: str = "deviance", *, standardized: bool = False) -> Array:
    """The distance of each y from what the fit expects; see the module docstring.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        kind: 'response', 'working', 'pearson' or 'deviance'. Those of Binomial and Multinomial are of counts, not shares.
        standardized: divide by sqrt(phi (1 - h)), so that a residual of a right model has a variance near 1; pearson and deviance.

    Returns:
        (n,), or (n, k) of response and pearson for Categorical and Multinomial.

    Raises:
        ValueError: an unknown kind, or one that is not defined for the family.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> print(np.round(np.float64(glm.residuals(glm.infer(glm.fit(families.Poisson(), X, y), X, y), "response")), 2))
        [-0.17 -0.36  1.22 -0.69]
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not known; use one of {KINDS}")
    family = inference.fit.family
    if not family.has_deviance:
        raise ValueError(
            f"residuals need a family whose eta says the mean alone, {family} has {family.natural_size} parameters"
        )
    if kind == "working":
        _refuse_several("a working residual", family)
    if standardized and (kind not in ("pearson", "deviance") or family.natural_size is not None):
        raise ValueError(
            "standardized=True is for pearson and deviance residuals of families with one linear predictor"
        )
    return _residuals(inference, kind=kind, standardized=standardized)


@of_inference
def leverage(inference: Inference) -> Array:
    """h of each row, between 0 and 1: how much of its own fitted value a row decides; their sum is the number of coefficients.

    Args:
        inference: from :func:`jaxml.glm.infer`.

    Returns:
        (n,); the trace of the matrix of leverages where a row has several linear predictors.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [9.0]]), jnp.array([1.0, 2.0, 6.0, 9.0])
        >>> print(np.round(np.float64(glm.leverage(glm.infer(glm.fit(families.Normal(), X, y), X, y))), 2))
        [0.43 0.33 0.27 0.97]

    Source: Hoaglin & Welsch (1978); Pregibon (1981).
    """
    return _leverage(inference)


@of_inference
def cooks_distance(inference: Inference) -> Array:
    """How far the fitted values move without the row, relative to their uncertainty; above 1 is large.

    Args:
        inference: from :func:`jaxml.glm.infer`.

    Returns:
        (n,).

    Raises:
        ValueError: a family of several linear predictors.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [9.0]]), jnp.array([1.0, 2.0, 6.0, 9.0])
        >>> print(np.round(np.float64(glm.cooks_distance(glm.infer(glm.fit(families.Normal(), X, y), X, y))), 2))
        [ 0.19  0.07  0.37 25.76]

    Source: Cook (1977).
    """
    _refuse_several("Cook's distance", inference.fit.family)
    return _cook(inference)


@of_inference
def dfbetas(inference: Inference, *, scaled: bool = True) -> Linear:
    """The change of each coefficient without the row, to first order (exact for the normal family).

    Args:
        inference: from :func:`jaxml.glm.infer`.
        scaled: in standard errors (DFBETAS), of the dispersion that all rows give; False: in the unit of the coefficient (DFBETA).

    Returns:
        Linear of weight (n, d) and bias (n,): coefficient with the row minus coefficient without it.

    Raises:
        ValueError: a family of several linear predictors.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [9.0]]), jnp.array([1.0, 2.0, 6.0, 9.0])
        >>> print(np.round(np.float64(glm.dfbetas(glm.infer(glm.fit(families.Normal(), X, y), X, y), scaled=False).weight[:, 0]), 2))
        [ 0.11  0.05 -0.06 -1.68]

    Source: Belsley, Kuh & Welsch (1980); Pregibon (1981).
    """
    _refuse_several("DFBETA", inference.fit.family)
    return _dfbetas(inference, scaled=scaled)


# -- the numbers -----------------------------------------------------------------------------------------------------
def _refuse_several(what: str, family: Family) -> None:
    if family.natural_size is not None:
        raise ValueError(f"{what} needs one linear predictor for a row, {family} has {family.natural_size}")


def _only_counted(inference: Inference, values: Array) -> Array:
    return jnp.where(column(inference.rows.on, values), values, jnp.nan)


def _share(inference: Inference) -> Array:
    """The weight that belongs to one row: 1 for frequencies, which count rows."""
    rows = inference.rows
    return jnp.ones_like(rows.mass) if inference.fit.weight_kind == "frequency" else rows.mass


@partial(jax.jit, static_argnames=("kind", "standardized"))
def _residuals(inference: Inference, *, kind: str, standardized: bool) -> Array:
    fit, rows = inference.fit, inference.rows.safe()
    family, y, z = fit.family, rows.y, pieces(inference).z
    eta = natural_parameter(family, fit.link, z)
    m = family.trials(y)
    vector = family.natural_size is not None
    expected = functions.mean(family, eta, trials=m if family.has_trials else None)
    away = family.statistic(y) - expected
    w = _share(inference)
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
        value = value / jnp.sqrt(inference.dispersion * (1 - _leverages(inference)))
    return _only_counted(inference, value)


def _leverages(inference: Inference) -> Array:
    hat = jnp.square(hat_factors(pieces(inference), inference.root))
    return _share(inference) * jnp.sum(hat, axis=tuple(range(1, hat.ndim)))


@jax.jit
def _leverage(inference: Inference) -> Array:
    return _only_counted(inference, _leverages(inference))


@jax.jit
def _cook(inference: Inference) -> Array:
    row, h = pieces(inference), _leverages(inference)
    square = _share(inference) * jnp.square(row.score) / row.expected
    value = square / (1 - h) ** 2 * h / (inference.dispersion * inference.fit.rank)
    return _only_counted(inference, value)


@partial(jax.jit, static_argnames="scaled")
def _dfbetas(inference: Inference, *, scaled: bool) -> Linear:
    row, h, root = pieces(inference), _leverages(inference), inference.root
    pull = _share(inference) * row.score / (1 - h)
    moves = matmul(pull[:, None] * matmul(row.design.dense(), root), root.T)
    change = jax.vmap(lambda move: recentred(inference.unravel(move), -inference.center))(moves)
    if scaled:
        change = jax.tree.map(jnp.divide, change, standard_errors(inference))
    return jax.tree.map(lambda a: _only_counted(inference, a), change)
