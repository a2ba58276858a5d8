"""How sure a fit is of its coefficients: standard errors, tests and intervals; the formulas are in :mod:`jaxml.glm.covariance`.

Source: McCullagh & Nelder (1989), section 2.5; Wald (1943).
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.checks import read_rows, refuse_bad_values
from jaxml.compiling import program
from jaxml.dtypes import to_compute
from jaxml.glm import dispersion
from jaxml.glm.covariance import Computed, Inference, compute, of_inference
from jaxml.glm.refine import MOST_INFLATION, is_least_squares, may_be, refined_inference
from jaxml.glm.result import Fit
from jaxml.glm.tails import chi_square_tail, f_tail, two_sided
from jaxml.linalg import matmul
from jaxml.prediction import read_features, refuse_offset
from jaxml.predictors import Linear
from jaxml.rows import block_rows
from jaxml.status import Status

COVARIANCES = ("model", "HC0", "HC1", "HC2", "HC3", "cluster")
INFORMATION = ("expected", "observed")


class CoefficientTests(NamedTuple):
    """The hypothesis that a coefficient is 0, for each; Linear of statistic (t or z) and p-value."""

    statistic: Linear
    p_value: Linear


class HypothesisTest(NamedTuple):
    """A test; statistic is F where the dispersion is estimated (``freedom`` finite), else chi-square with ``constraints`` degrees."""

    statistic: Array
    constraints: Array
    freedom: Array
    p_value: Array


def infer(
    fit: Fit,
    X: Any,
    y: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    covariance: str | None = None,
    information: str | None = None,
    clusters: Any = None,
    check: bool = True,
) -> Inference:
    """The covariance of the coefficients of a fit, from the data that it was fitted to.

    Args:
        fit: a fitted model.
        X, y, weights, offset: those of the fit; a fit keeps no data.
        covariance: 'model', the inverse information times the dispersion; 'HC0' to 'HC3', which stay right where the variance is not
            that of the family; 'cluster', where rows of a cluster depend on each other. None: 'cluster' with clusters, 'HC0' for
            sampling weights, else 'model'.
        information: 'expected' or 'observed', the same for a canonical link. None: expected for 'model', observed in a sandwich.
        clusters: (n,) labels, or a pair of them for clusters of two kinds. Inside jit integers.
        check: False: look at no value.

    Returns:
        :class:`Inference`, for :func:`standard_errors` and all other questions.

    Raises:
        ValueError, TypeError, OverflowError: bad input, naming argument, value and place; data that are not those of the fit (values
            only outside jit).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> inference = glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> print(f"{glm.standard_errors(inference).weight[0]:.3f}")
        0.255

    Source: McCullagh & Nelder (1989), section 2.5.
    """
    if not isinstance(fit, Fit):
        inner = " (its own is its attribute fit)" if isinstance(getattr(fit, "fit", None), Fit) else ""
        raise TypeError(f"infer takes what glm.fit returned{inner}, got {type(fit).__name__}")
    family = fit.family
    if jnp.ndim(fit.status):
        raise ValueError(
            f"infer takes one fit, this is a batch of {jnp.shape(fit.status)}; use jax.vmap(lambda fit: glm.infer(fit, X, y))"
        )
    kind = _kind(fit, covariance, clusters)
    information = ("expected" if kind == "model" else "observed") if information is None else information
    if information not in INFORMATION:
        raise ValueError(f"information={information!r} is not known; use one of {INFORMATION}")
    refuse_offset(fit, offset)
    rows = read_rows(family, X, y, weights, offset)
    dtype = fit.params.weight.dtype
    read_features(rows.X, len(fit.params.weight), dtype)
    if rows.X.dtype != dtype:
        rows = jax.tree.map(lambda a: to_compute(a, dtype, "X") if jnp.issubdtype(a.dtype, jnp.floating) else a, rows)
    if check:
        refuse_bad_values(family, rows, "hull" if fit.quasi else "support")
    codes = None if kind != "cluster" else read_clusters(clusters, rows.n)
    found = compute(fit, rows, codes, kind=kind, information=information, block=block_rows(rows.X))
    if check and not isinstance(found.distance, jax.core.Tracer):
        _refuse_other_data(found)
    if kind == "model" and is_least_squares(family, fit.link) and may_be(found.inflation > MOST_INFLATION, check):
        return refined_inference(found.inference, found.inflation)
    return found.inference


@of_inference
def standard_errors(inference: Inference) -> Linear:
    """The square roots of the variances of the coefficients.

    Args:
        inference: from :func:`infer`.

    Returns:
        Linear in the shape of the params; NaN where a coefficient is not estimable or the model is saturated.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1.0, 2.0, 6.0, 9.0])
        >>> print(f"{glm.standard_errors(glm.infer(glm.fit(families.Normal(), X, y), X, y)).weight[0]:.3f}")
        0.424
    """
    return _standard_errors(inference)


@of_inference
def coefficient_tests(inference: Inference) -> CoefficientTests:
    """Wald's test of each coefficient against 0: t with n - rank degrees of freedom where the dispersion is estimated, else z.

    Args:
        inference: from :func:`infer`.

    Returns:
        :class:`CoefficientTests`. With a penalty the p-values are NaN: a coefficient that was drawn to 0 has no test against it.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> tests = glm.coefficient_tests(glm.infer(glm.fit(families.Poisson(), X, y), X, y))
        >>> print(f"z = {tests.statistic.weight[0]:.2f}, p = {tests.p_value.weight[0]:.4f}")
        z = 2.76, p = 0.0057

    Source: Wald (1943).
    """
    return _coefficient_tests(inference)


@of_inference
def wald_test(inference: Inference, hypothesis: Any, value: Any = 0.0) -> HypothesisTest:
    """Wald's test of linear hypotheses L theta = value about the coefficients.

        W = (L theta - value)' (L V L')^-1 (L theta - value) is chi-square with rank L degrees of freedom, or W / rank L is F

    Args:
        inference: from :func:`infer`.
        hypothesis: (m, p) or (p,) rows over the coefficients in the order of the covariance (weight by rows, then the bias); or a
            Linear of booleans, which coefficients are 0.
        value: () or (m,).

    Returns:
        :class:`HypothesisTest`; constraints is the rank of L. NaN stands for a hypothesis that is not estimable, and for the p-value
        of a fit with a penalty.

    Raises:
        ValueError: shapes that do not match.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> print(f"{glm.wald_test(glm.infer(glm.fit(families.Poisson(), X, y), X, y), [1.0, 0.0]).p_value:.4f}")
        0.0057

    Source: Wald (1943).
    """
    theta, V = ravel_pytree(inference.params)[0], inference.covariance
    if isinstance(hypothesis, Linear):
        chosen = ravel_pytree(jax.tree.map(lambda p, h: jnp.broadcast_to(h, p.shape), inference.params, hypothesis))[0]
        L = jnp.where(chosen[:, None], jnp.eye(len(theta), dtype=V.dtype), 0)
    else:
        L = jnp.atleast_2d(jnp.asarray(hypothesis, V.dtype))
    if L.ndim != 2 or L.shape[1] != len(theta):
        raise ValueError(f"hypothesis has shape {jnp.shape(hypothesis)}, expected (m, {len(theta)}) or ({len(theta)},)")
    value = jnp.asarray(value, V.dtype)
    if value.shape not in ((), L.shape[:1]):
        raise ValueError(f"value has shape {value.shape}, expected () or {L.shape[:1]} to match the hypothesis")
    return _wald(inference, L, value)


def hypothesis_test(chi_square: Array, constraints: Array, freedom: Array) -> HypothesisTest:
    """A statistic that is chi-square at known dispersion, as F where the dispersion is estimated."""
    finite = jnp.isfinite(freedom)
    F = chi_square / jnp.maximum(constraints, 1)
    p = jnp.where(finite, f_tail(F, constraints, freedom), chi_square_tail(chi_square, constraints))
    return HypothesisTest(jnp.where(finite, F, chi_square), constraints, freedom, p)


def contrast_inference(inference: Inference, reference: int, params: Linear) -> Inference:
    """The same about log odds against one class, given as `params`; those of the reference are 0 without an error."""
    k = inference.fit.family.natural_size
    turn = (
        jnp.eye(k, dtype=inference.covariance.dtype).at[:, reference].add(-1)
    )  # b_k - b_reference, in rows of classes
    turn = jnp.kron(jnp.eye(len(inference.covariance) // k, dtype=turn.dtype), turn)
    of_reference = (jnp.arange(len(turn)) % k == reference)[:, None]
    V = jnp.where(of_reference | of_reference.T, 0, matmul(matmul(turn, inference.covariance), turn.T))
    null = jnp.where(of_reference, 0, matmul(turn, inference.null))
    return replace(inference, params=params, covariance=V, null=null, turn=turn)


def read_level(level: Any, dtype: Any) -> Array:
    """The level of an interval; ValueError for one that is no share, outside jit."""
    if not isinstance(level, jax.core.Tracer) and not 0 < float(level) < 1:
        raise ValueError(f"level = {level} is no share between 0 and 1")
    return jnp.asarray(level, dtype)


# -- the door --------------------------------------------------------------------------------------------------------
def _kind(fit: Fit, covariance: str | None, clusters: Any) -> str:
    if covariance is None:
        robust = "HC0" if fit.weight_kind == "sampling" else "model"
        covariance = robust if clusters is None else "cluster"
    if covariance not in COVARIANCES:
        raise ValueError(f"covariance={covariance!r} is not known; use one of {COVARIANCES}")
    if covariance == "model" and fit.weight_kind == "sampling":
        raise ValueError(
            "with sampling weights the information is not that of the sample; use covariance='HC0' (the default), 'HC1', 'HC2',"
            " 'HC3' or 'cluster'"
        )
    if (covariance == "cluster") != (clusters is not None):
        raise ValueError(
            "covariance='cluster' needs clusters=, a label for each row"
            if clusters is None
            else f"clusters are given, but covariance={covariance!r} does not use them; leave one of the two out"
        )
    return covariance


def read_clusters(clusters: Any, n: int) -> Array:
    """(1, n) codes of the clusters, or for two kinds (3, n): those of each and of the pairs."""
    kinds = (
        list(clusters)
        if isinstance(clusters, tuple | list) and len(clusters) == 2 and np.ndim(clusters[0])
        else [clusters]
    )
    kinds = [a if isinstance(a, jax.core.Tracer) else np.asarray(a) for a in kinds]
    for a in kinds:
        if a.shape != (n,):
            raise ValueError(f"clusters has shape {a.shape}, expected ({n},), a label for each row, or a pair of such")
        if not isinstance(a, jax.core.Tracer) and a.dtype.kind == "f" and np.isnan(a).any():
            raise ValueError(f"clusters[{int(np.argmax(np.isnan(a)))}] is missing (NaN); drop such rows")
    number = lambda a: jnp.unique(a, size=n, return_inverse=True)[1].reshape(-1)
    codes = [
        number(a)
        if isinstance(a, jax.core.Tracer)
        else jnp.asarray(np.unique(a, return_inverse=True)[1].reshape(-1), jnp.int32)
        for a in kinds
    ]
    if len(codes) == 1:
        return jnp.stack(codes)
    both = jnp.unique(jnp.stack(codes, axis=1), axis=0, size=n, return_inverse=True)[1].reshape(-1)
    return jnp.stack([*codes, both])


def _refuse_other_data(found: Computed) -> None:
    """The gradient vanishes at the data of the fit, up to rounding, and the number of observations is the same."""
    fit, distance = found.inference.fit, found.distance
    from_rows = dispersion.observations(found.inference.rows, fit.weight_kind)
    if bool(jnp.abs(from_rows - fit.observations) > 1e-6 * fit.observations):
        raise ValueError(
            f"the fit has {float(fit.observations):g} observations, these rows have {float(from_rows):g}; give X, y and weights"
            " of the fit"
        )
    rounding = float(jnp.finfo(distance.dtype).eps) ** 0.5 * found.length  # all that a perfect fit leaves
    if int(fit.status) == Status.CONVERGED and bool(distance > jnp.maximum(0.5, rounding)):
        raise ValueError(
            f"the fit is {float(distance):.3g} standard errors away from the optimum of these rows, so they are not those it was fitted"
            " to; give X, y, weights and offset of the fit, rows in the same order"
        )


# -- the numbers -----------------------------------------------------------------------------------------------------
@program()
def _standard_errors(inference: Inference) -> Linear:
    errors = inference.unravel(jnp.sqrt(jnp.diagonal(inference.covariance)))
    return jax.tree.map(lambda s, known: jnp.where(known, s, jnp.nan), errors, inference.estimable)


@program()
def _coefficient_tests(inference: Inference) -> CoefficientTests:
    statistic = jax.tree.map(jnp.divide, inference.params, _standard_errors(inference))
    p = jax.tree.map(lambda t: two_sided(t, inference.freedom), statistic)
    return CoefficientTests(statistic, jax.tree.map(lambda p: jnp.where(inference.penalized, jnp.nan, p), p))


@program()
def _wald(inference: Inference, L: Array, value: Array) -> HypothesisTest:
    V = inference.covariance
    away = matmul(L, ravel_pytree(inference.params)[0]) - value
    middle, known = inference.combination(L)
    scale = jnp.where(jnp.diagonal(middle) > 0, lax.rsqrt(jnp.diagonal(middle)), 0)
    values, vectors = jnp.linalg.eigh(middle * scale[:, None] * scale)
    kept = values > len(values) * jnp.finfo(V.dtype).eps * jnp.max(values) * 10
    parts = vectors.T @ (scale * away)
    statistic = jnp.sum(jnp.where(kept, jnp.square(parts) / jnp.where(kept, values, 1), 0))
    statistic = jnp.where(jnp.all(known) & jnp.all(jnp.isfinite(middle)), statistic, jnp.nan)
    test = hypothesis_test(statistic, jnp.sum(kept), inference.freedom)
    return test._replace(p_value=jnp.where(inference.penalized, jnp.nan, test.p_value))
