r"""Tests of one model against a larger one that contains it.

    likelihood ratio   2 (l_large - l_small), chi-square with the difference of the ranks;
                       where the dispersion is estimated (D_small - D_large) / m / phi_large, F with m and n - rank
    score              U' I^-1 U / phi, U and I of the larger model at the fit of the smaller one: it need not be fitted

Source: McCullagh & Nelder (1989), sections 2.3 and A.3; Rao (1948).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxml.dtypes import as_array, to_compute
from jaxml.families.base import Family
from jaxml.glm.covariance import Inference, compute, of_inference
from jaxml.glm.goodness import GoodnessOfFit, goodness_of_fit
from jaxml.glm.inference import HypothesisTest, hypothesis_test
from jaxml.predictors import Linear
from jaxml.rows import block_rows


class AnalysisOfDeviance(NamedTuple):
    """A sequence of m models, each within the next; arrays of m, or of m - 1 for the steps from one to the next.

    Attributes:
        freedom: (m,) residual degrees of freedom.
        deviance: (m,) residual deviance.
        constraints: (m - 1,) coefficients that the next model has more.
        drop: (m - 1,) by how much the deviance falls.
        statistic: (m - 1,) F, with the dispersion of the last model, or chi-square where none is estimated.
        p_value: (m - 1,).
    """

    freedom: Array
    deviance: Array
    constraints: Array
    drop: Array
    statistic: Array
    p_value: Array


@of_inference
def likelihood_ratio_test(small: Inference, large: Inference) -> HypothesisTest:
    """The test that the coefficients which the larger model has more are 0.

    Args:
        small, large: of two fits of one family and link to the same y, weights and offset, the columns of the first within the span of
            those of the second; both maximum-likelihood fits.

    Returns:
        :class:`HypothesisTest`.

    Raises:
        ValueError: models that cannot be compared, saying why (values only outside jit).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> of = lambda X: glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> print(f"{glm.likelihood_ratio_test(of(X[:, :0]), of(X)).p_value:.4f}")
        0.0023

    Source: Wilks (1938); McCullagh & Nelder (1989), section 2.3.
    """
    _refuse_unlike(small, large)
    goods = goodness_of_fit(small), goodness_of_fit(large)
    constraints = large.fit.rank - small.fit.rank
    return _step(goods[0], goods[1], constraints * large.fit.family.free_size, large.freedom, large.dispersion)


@of_inference
def analysis_of_deviance(models: Sequence[Inference]) -> AnalysisOfDeviance:
    """Likelihood-ratio tests along a sequence of models, each within the next, as R's ``anova``.

    Args:
        models: two or more, the smallest first; F tests use the dispersion of the last.

    Returns:
        :class:`AnalysisOfDeviance`.

    Raises:
        ValueError: fewer than two models, models that cannot be compared, or a family without a deviance.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]), jnp.array([1, 2, 6, 9])
        >>> of = lambda X: glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> table = glm.analysis_of_deviance([of(X[:, :j]) for j in range(3)])
        >>> print(*(f"{d:.2f}" for d in table.deviance), *(f"{p:.4f}" for p in table.p_value))
        9.68 0.42 0.18 0.0023 0.6211

    Source: McCullagh & Nelder (1989), section 2.3.
    """
    models = list(models)
    if len(models) < 2:
        raise ValueError(f"an analysis of deviance compares two models or more, got {len(models)}")
    for small, large in pairwise(models):
        _refuse_unlike(small, large)
    goods, last = [goodness_of_fit(model) for model in models], models[-1]
    if goods[0].deviance is None:
        raise ValueError(f"{last.fit.family} has no deviance; use likelihood_ratio_test for each step")
    steps = [_step(a, b, a.freedom - b.freedom, last.freedom, last.dispersion) for a, b in pairwise(goods)]
    freedom, deviance = jnp.stack([g.freedom for g in goods]), jnp.stack([g.deviance for g in goods])
    return AnalysisOfDeviance(
        freedom=freedom,
        deviance=deviance,
        constraints=-jnp.diff(freedom),
        drop=-jnp.diff(deviance),
        statistic=jnp.stack([s.statistic for s in steps]),
        p_value=jnp.stack([s.p_value for s in steps]),
    )


@of_inference
def score_test(inference: Inference, columns: Any) -> HypothesisTest:
    """Rao's test that further columns have coefficients 0, without a fit of them.

    Args:
        inference: from :func:`jaxml.glm.infer`, of the smaller model without a penalty.
        columns: (n, m) or (n,), what X might have besides.

    Returns:
        :class:`HypothesisTest`, chi-square with as many degrees of freedom as the columns raise the rank.

    Raises:
        ValueError: columns of another length, or a fit with a penalty.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> small = glm.infer(glm.fit(families.Poisson(), X[:, :0], y), X[:, :0], y)
        >>> print(f"{glm.score_test(small, X).p_value:.4f}")
        0.0032

    Source: Rao (1948).
    """
    fit, rows = inference.fit, inference.rows
    _refuse_penalty("a score test", inference)
    Z = to_compute(as_array(columns, "columns"), rows.X.dtype, "columns")
    Z = Z[:, None] if Z.ndim == 1 else Z
    if Z.ndim != 2 or len(Z) != rows.n:
        raise ValueError(f"columns has shape {Z.shape}, expected ({rows.n}, m) to match the rows of the fit")
    m = Z.shape[1]
    wider = replace(fit, params=_widened(fit.params, m), l2=_widened(fit.l2, m))
    both = rows._replace(X=jnp.concatenate([rows.X, Z], axis=1))
    found = compute(wider, both, None, kind="model", information="expected", block=block_rows(both.X))
    constraints = (found.rank - fit.rank) * fit.family.free_size
    return hypothesis_test(jnp.square(found.distance), constraints, jnp.full_like(found.distance, jnp.inf))


# -- what can be compared --------------------------------------------------------------------------------------------
def _widened(params: Linear, m: int) -> Linear:
    """The same with m columns more, whose coefficients are 0."""
    weight = params.weight
    return params._replace(weight=jnp.concatenate([weight, jnp.zeros((m, *weight.shape[1:]), weight.dtype)]))


def _step(small: GoodnessOfFit, large: GoodnessOfFit, constraints: Array, freedom: Array, phi: Array) -> HypothesisTest:
    if small.deviance is not None:
        drop = (small.deviance - large.deviance) / phi
    else:
        drop = 2 * (large.log_likelihood - small.log_likelihood)
    return hypothesis_test(jnp.maximum(drop, 0), constraints, freedom)


def _refuse_penalty(what: str, inference: Inference) -> None:
    if not isinstance(inference.penalized, jax.core.Tracer) and bool(inference.penalized):
        raise ValueError(f"{what} is for maximum likelihood, and the fit has a penalty; fit with l2=0")
    if inference.fit.firth:
        raise ValueError(f"{what} is for maximum likelihood, and the fit has Jeffreys' penalty; fit with firth=False")


def _refuse_unlike(small: Inference, large: Inference) -> None:
    a, b = small.fit, large.fit
    if (type(a.family), a.link, a.weight_kind, a.quasi) != (type(b.family), b.link, b.weight_kind, b.quasi):
        raise ValueError(
            f"models of {_name(a.family)} with link {a.link.name} and {_name(b.family)} with link {b.link.name} are not nested"
        )
    if a.weight_kind == "sampling":
        raise ValueError("sampling weights have no likelihood to compare; use wald_test with a robust covariance")
    for inference in (small, large):
        _refuse_penalty("a likelihood-ratio test", inference)
    for name in ("y", "weights", "offset"):
        one, other = (jax.tree.leaves(getattr(i.rows, name)) for i in (small, large))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in (*one, *other)):
            continue
        same = len(one) == len(other) and all(
            np.shape(p) == np.shape(q) and np.array_equal(p, q, equal_nan=True) for p, q in zip(one, other, strict=True)
        )
        if not same:
            raise ValueError(
                f"the two models were fitted to different {name}, so that their likelihoods cannot be compared"
            )
    fewer = large.fit.rank - small.fit.rank
    if not isinstance(fewer, jax.core.Tracer) and int(fewer) < 0:
        raise ValueError(
            f"the first model must be the smaller one; its rank is {int(a.rank)}, that of the second {int(b.rank)}"
        )


def _name(family: Family) -> str:
    return type(family).__name__
