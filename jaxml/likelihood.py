r"""The log-likelihood of any family and any predictor, written once.

    l(params) = sum_i w_i log p(y_i; eta_i),     eta_i = eta(z_i),   z_i = predictor(params, x_i) + offset_i

eta(z) = z for the canonical link. Another link gives the unconstrained coordinate u of the mean (see :mod:`jaxml.links`), and the
loss is a function of u: eta = -1/mu over- and underflows long before log mu + y/mu does. Fits, gradients, Hessians, information and
scores all go through :func:`row_loss`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxml import links
from jaxml.families.base import Family
from jaxml.families.door import observations, refuse_where
from jaxml.families.functions import expected_value, hessian, log_prob
from jaxml.links import Link, canonical, is_canonical, natural_parameter, unconstrained
from jaxml.rows import first_where, sum_where


def row_loss(family: Family, link: Link, z: Array, y: Any) -> Array:
    """-log p(y; eta(z)) at dispersion 1, without log b(y): what a fit minimises, per example; NaN or inf outside the domain."""
    if _by_coordinate(family, link):
        return family.loss_from_coordinate(link.coordinate(family.space, z), y)
    return family.loss(natural_parameter(family, link, z), y)


def total_loss(family: Family, link: Link, z: Array, y: Any, on: Array | None = None) -> Array:
    """The sum of :func:`row_loss` over those rows that are ``on`` (None: all), which may be cheaper than that of each row; scalar
    families. Rows are combined, so they should be on one device."""
    if _by_coordinate(family, link):
        return sum_where(on, row_loss(family, link, z, y))
    return family.total_loss(natural_parameter(family, link, z), y, on)


def row_information(family: Family, link: Link, z: Array) -> Array:
    """The expected curvature of :func:`row_loss` in z, per trial; for a family of one mean."""
    if _by_coordinate(family, link):
        u, slope = jax.jvp(lambda z: link.coordinate(family.space, z), (z,), (jnp.ones_like(z),))
        return family.information_from_coordinate(u) * slope * slope
    eta, slope = jax.jvp(lambda z: natural_parameter(family, link, z), (z,), (jnp.ones_like(z),))
    return hessian(family, eta) * slope * slope


def row_mean(family: Family, link: Link, z: Array, trials: Array | None = None) -> Array:
    """E[Y] as a function of z, NaN outside the domain of the link; for a link to the mean by the link itself, without the rounding
    of eta, which costs the mean |eta| times as much."""
    if link in (canonical, unconstrained) or family.has_trials == (trials is None):
        return expected_value(family, natural_parameter(family, link, z), trials=trials)
    low, high = family.mean_bounds
    value = link.inverse(z)
    value = jnp.where((value >= low) & (value <= high), value, jnp.nan)
    return value if trials is None else trials * value


def _by_coordinate(family: Family, link: Link) -> bool:
    """Whether z says the mean by its unconstrained coordinate, and eta is not a multiple of z itself."""
    direct = is_canonical(family, link) and family.canonical_scale is not None
    return link not in (canonical, unconstrained) and not direct


def log_likelihood(
    family: Family,
    predictor: Callable[..., Array],
    params: Any,
    X: Any,
    y: Any,
    *,
    weights: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    link: Any = "canonical",
) -> Array:
    """sum_i w_i log p(y_i; eta_i), log b included, at the family's own dispersion.

    Args:
        family: the law of y given eta.
        predictor: (params, X) -> (n,) or (n, k), for example :func:`jaxml.predictors.linear`.
        params: what the predictor learns.
        X: (n, d), or whatever the predictor takes.
        y: (n,), (n, k), or for Binomial a pair of (n,).
        weights: (n,); a row of weight 0 counts in nothing, even where it holds NaN.
        offset: (n,) or (n, k), added to the prediction.
        link: how the prediction becomes the natural parameter; 'canonical': it is the natural parameter.

    Returns:
        () log-likelihood.

    Raises:
        ValueError: where shapes do not match, as nothing is broadcast; outside jit also where a weight is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, likelihood
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.array([[0.0], [1.0]]), jnp.array([0, 1])
        >>> theta = Linear(jnp.array([0.0]), jnp.array(0.0))
        >>> print(likelihood.log_likelihood(families.Bernoulli(), linear, theta, X, y))
        -1.3862944
    """
    link = links.resolve(family, link)
    y = observations(family, y)
    X = jax.tree.map(jnp.asarray, X)
    n, on = jax.tree.leaves(y)[0].shape[0], None
    if weights is not None:
        weights = jnp.asarray(weights)
        _same("weights", weights.shape, (n,))
        refuse_where("weights", weights, weights < 0, "is negative")
        on = weights > 0
        # Selected twice, in what goes in and in what comes out: NaN times 0 is NaN in value and in gradient.
        X, y = jax.tree.map(lambda a: first_where(on, a), (X, y))
    z = predictor(params, X)
    _same("predictor(params, X)", z.shape, (n,) if family.natural_size is None else (n, family.natural_size))
    if offset is not None:
        offset = jnp.asarray(offset)
        _same("offset", offset.shape, z.shape)
        z = z + (offset if weights is None else first_where(on, offset))
    rows = log_prob(family, natural_parameter(family, link, z), y)
    _same("y", rows.shape, (n,))
    return sum_where(on, rows if weights is None else weights * rows)


def _same(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        raise ValueError(f"{name} has shape {shape}, expected {expected}")
