"""The door of :mod:`jaxml.uncertainty`: what is asked is read and checked, and what was found is looked at."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxml import links
from jaxml.checks import check_family, read_rows, refuse_bad_values
from jaxml.families.base import Family
from jaxml.glm.inference import read_clusters
from jaxml.predictors.linear import Linear
from jaxml.records import callable_pytree
from jaxml.status import ConvergenceWarning
from jaxml.uncertainty.curvature import Uncertainty, compute

COVARIANCES = ("model", "HC0", "HC1", "cluster")
CURVATURES = ("expected", "observed")
WEIGHT_KINDS = ("frequency", "sampling")
_NEAR = 0.5  # standard errors from the minimum that are passed over in silence


def infer(
    family: Family,
    predictor: Callable[..., Array],
    params: Any,
    X: Any,
    y: Any,
    *,
    weights: Any = None,
    weight_kind: str = "frequency",
    offset: Any = None,
    link: Any = None,
    l2: Any = 0.0,
    phi: Any = None,
    covariance: str | None = None,
    curvature: str = "expected",
    clusters: Any = None,
    check: Any = "support",
) -> Uncertainty:
    """The covariance of the params of any model at the minimum of its penalised likelihood, and Laplace's evidence.

    Args:
        family: the law of y.
        predictor: (params, X) -> (n,) or (n, k), whose rows do not depend on each other.
        params: where J is smallest, a pytree of p numbers: p^2 are held.
        X, y, weights, offset, link: those of the fit, as for :func:`jaxml.training.train`; here link=None is the family's usual link.
        weight_kind: 'frequency' or 'sampling', for the sandwich.
        l2: the penalty of the fit: a number for the weights (of a Linear its weight, not its bias; of other params all), or a tree like
            params, a penalty for each.
        phi: () the dispersion of a family that estimates one; None: Pearson's statistic / (n - effective).
        covariance: 'model', 'HC0', 'HC1' or 'cluster'; None: 'cluster' with clusters, 'HC0' for sampling weights, else 'model'.
        curvature: 'expected' (Gauss-Newton) or 'observed', the whole Hessian, in which indefiniteness is a saddle, and refused.
        clusters: (n,) labels, or a pair of them for clusters of two kinds. Inside jit integers.
        check: as for :func:`jaxml.glm.fit`; False: look at no value.

    Returns:
        :class:`Uncertainty`.

    Raises:
        ValueError, TypeError, OverflowError: bad input, naming argument, value and place; an indefinite Hessian (values only outside
            jit; there the covariance is NaN).

    Warns:
        ConvergenceWarning: params that are not at the minimum of J, or that neither data nor penalty determine.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm, uncertainty
        >>> from jaxml.predictors import linear
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> fit = glm.fit(families.Poisson(), X, y)
        >>> found = uncertainty.infer(families.Poisson(), linear, fit.params, X, y)
        >>> print(f"{uncertainty.standard_errors(found).weight[0]:.3f}")
        0.255

    Source: White (1982); MacKay (1992).
    """
    check_family(family)
    link = links.resolve(family, link)
    kind = _kind(covariance, clusters, weight_kind)
    if curvature not in CURVATURES:
        raise ValueError(f"curvature={curvature!r} is not known; use one of {CURVATURES}")
    rows = read_rows(family, X, y, weights, offset)
    if check:
        refuse_bad_values(family, rows, check)
    dtype = rows.X.dtype
    family, params = (jax.tree.map(lambda a: jnp.asarray(a, dtype), tree) for tree in (family, params))
    predictor = callable_pytree(predictor)
    shape = jax.eval_shape(predictor, params, rows.X).shape
    expected = (rows.n,) if family.natural_size is None else (rows.n, family.natural_size)
    if shape != expected:
        raise ValueError(f"predictor(params, X) has shape {shape}, expected {expected} for {family}")
    phi = None if phi is None else jnp.asarray(phi, dtype)
    codes = read_clusters(clusters, rows.n) if kind == "cluster" else None
    found, least = compute(
        family,
        predictor,
        params,
        rows,
        penalties(l2, params),
        phi,
        codes,
        link=link,
        kind=kind,
        weight_kind=weight_kind,
        curvature=curvature,
    )
    if check and not isinstance(least, jax.core.Tracer):
        _say(found, least)
    return found


def penalties(l2: Any, params: Any) -> Array:
    """l2 of :func:`infer` as (p,), one for each of the params; ValueError for one that is negative or of another shape."""
    is_layer = lambda a: isinstance(a, Linear)
    structure: Any = jax.tree.structure
    if structure(l2) == structure(0) and jnp.ndim(l2) == 0:
        full = lambda a, value: jax.tree.map(lambda a: jnp.full(jnp.shape(a), value, jnp.result_type(a)), a)
        layer = lambda a: Linear(full(a.weight, l2), full(a.bias, 0.0)) if is_layer(a) else full(a, l2)
        tree = jax.tree.map(layer, params, is_leaf=is_layer)
    else:
        if structure(l2) != structure(params):
            raise ValueError(f"l2 is {structure(l2)}, expected a number or a tree like params, {structure(params)}")
        tree = jax.tree.map(lambda p, a: jnp.broadcast_to(jnp.asarray(p, jnp.result_type(a)), jnp.shape(a)), l2, params)
    flat = ravel_pytree(tree)[0]
    if not isinstance(flat, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(flat) & (flat >= 0))):
        raise ValueError(f"l2 must be finite and not negative, got {l2}")
    return flat


def _kind(covariance: str | None, clusters: Any, weight_kind: str) -> str:
    if weight_kind not in WEIGHT_KINDS:
        raise ValueError(f"weight_kind={weight_kind!r} is not known; use one of {WEIGHT_KINDS}")
    if covariance is None:
        return "cluster" if clusters is not None else "HC0" if weight_kind == "sampling" else "model"
    if covariance not in COVARIANCES:
        raise ValueError(f"covariance={covariance!r} is not known; use one of {COVARIANCES}")
    if (clusters is None) == (covariance == "cluster"):
        raise ValueError("covariance='cluster' and clusters=, a label for each row, go together")
    return covariance


def _say(found: Uncertainty, least: Array) -> None:
    if bool(least < 0):
        raise ValueError(
            "the Hessian at params is indefinite: they are a saddle, not a minimum; train on, or use curvature='expected'"
        )
    said = []
    if bool(found.distance > _NEAR):
        said.append(
            f"params are {float(found.distance):.3g} standard errors from the minimum for these data and this l2, where the"
            " approximation is made: train on, or give the l2 of the training"
        )
    if int(found.undetermined):
        said.append(
            f"{int(found.undetermined)} directions of the params change no prediction of these rows and have no penalty, so that the"
            " posterior is improper along them; give l2 as a tree like params, with a penalty on each"
        )
    if said:
        warnings.warn("; ".join(said) + ".", ConvergenceWarning, stacklevel=3)
