r"""What each row says of a fit: leverage and influence; its residuals are in :mod:`jaxml.glm.residuals`.

    leverage   h = w W x'(X'WX + N l2 P)^-1 x
    Cook       r^2 h / (k (1 - h)),          r = pearson / sqrt(phi (1 - h))
    DFBETA     (X'WX)^-1 x w u / (1 - h), the change of the coefficients without the row, to first order

A row of frequency weight w stands for w equal rows, and these are the figures of one of them. Rows of weight 0 have none: NaN.

Source: McCullagh & Nelder (1989), sections 2.4 and 12.5; Cook (1977); Pregibon (1981).
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxml.compiling import program
from jaxml.families.base import Family
from jaxml.glm.covariance import Inference, hat_factors, of_inference, pieces
from jaxml.glm.inference import standard_errors
from jaxml.glm.objective import recentred
from jaxml.linalg import matmul
from jaxml.predictors import Linear
from jaxml.rows import column


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
    refuse_several("Cook's distance", inference.fit.family)
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
    refuse_several("DFBETA", inference.fit.family)
    return _dfbetas(inference, scaled=scaled)


# -- the numbers -----------------------------------------------------------------------------------------------------
def refuse_several(what: str, family: Family) -> None:
    """ValueError for a family of several linear predictors."""
    if family.natural_size is not None:
        raise ValueError(f"{what} needs one linear predictor for a row, {family} has {family.natural_size}")


def only_counted(inference: Inference, values: Array) -> Array:
    """The values, NaN in rows of weight 0."""
    return jnp.where(column(inference.rows.on, values), values, jnp.nan)


def row_weight(inference: Inference) -> Array:
    """The weight that belongs to one row: 1 for frequencies, which count rows."""
    rows = inference.rows
    return jnp.ones_like(rows.mass) if inference.fit.weight_kind == "frequency" else rows.mass


def leverages(inference: Inference) -> Array:
    """h of each row, (n,)."""
    hat = jnp.square(hat_factors(pieces(inference), inference.root))
    return row_weight(inference) * jnp.sum(hat, axis=tuple(range(1, hat.ndim)))


@program()
def _leverage(inference: Inference) -> Array:
    return only_counted(inference, leverages(inference))


@program()
def _cook(inference: Inference) -> Array:
    row, h = pieces(inference), leverages(inference)
    square = row_weight(inference) * jnp.square(row.score) / row.expected
    value = square / (1 - h) ** 2 * h / (inference.dispersion * inference.fit.rank)
    return only_counted(inference, value)


@program(static_argnames="scaled")
def _dfbetas(inference: Inference, *, scaled: bool) -> Linear:
    row, h, root = pieces(inference), leverages(inference), inference.root
    pull = row_weight(inference) * row.score / (1 - h)
    moves = matmul(pull[:, None] * matmul(row.design.dense(), root), root.T)
    change = jax.vmap(lambda move: recentred(inference.unravel(move), -inference.center))(moves)
    if scaled:
        change = jax.tree.map(jnp.divide, change, standard_errors(inference))
    return jax.tree.map(lambda a: only_counted(inference, a), change)
