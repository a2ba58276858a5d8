"""Confidence intervals of the coefficients: Wald's, from the standard errors, or those of the profile likelihood."""

from typing import Any

import jax

from jaxml.glm.covariance import Inference, of_inference
from jaxml.glm.inference import read_level, standard_errors
from jaxml.glm.profile import profile_intervals
from jaxml.glm.tails import two_sided_quantile
from jaxml.predictors import Linear
from jaxml.status import Status

METHODS = ("wald", "profile")


@of_inference
def confidence_intervals(
    inference: Inference, *, level: Any = 0.95, method: str | None = None
) -> tuple[Linear, Linear]:
    """Intervals of the coefficients: estimate -+ quantile times standard error, or where the likelihood falls too far.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        level: () the share of intervals that hold the coefficient, between 0 and 1.
        method: 'wald' or 'profile', see :func:`jaxml.glm.profile_intervals`; None: 'profile' for a fit with Firth's penalty, whose
            likelihood is far from a parabola where the data are separated, else 'wald'.

    Returns:
        Lower and upper ends, each a Linear; with ``l2`` credible intervals of the posterior's approximation.

    Raises:
        ValueError: a level that is no share, an unknown method, or see :func:`jaxml.glm.profile_intervals`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> inference = glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> for method in ("wald", "profile"):
        ...     low, high = glm.confidence_intervals(inference, method=method)
        ...     print(f"{low.weight[0]:.2f} to {high.weight[0]:.2f}")
        0.21 to 1.21
        0.24 to 1.26

    Source: Wald (1943); Venzon & Moolgavkar (1988).
    """
    method = interval_method(inference, method)
    if method == "profile":
        return profile_intervals(inference, level=level)
    t = two_sided_quantile(read_level(level, inference.covariance.dtype), inference.freedom)
    errors = standard_errors(inference)
    end = lambda t: jax.tree.map(lambda a, s: a + t * s, inference.params, errors)
    return end(-t), end(t)


def interval_method(inference: Inference, method: str | None) -> str:
    """The method that ``None`` stands for; ValueError for an unknown one."""
    if method is None:
        fit = inference.fit
        ended = isinstance(fit.status, jax.core.Tracer) or int(fit.status) == Status.CONVERGED
        return "profile" if fit.firth and ended and has_profile(inference) else "wald"
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; use one of {METHODS}")
    return method


def has_profile(inference: Inference) -> bool:
    """Whether there is a likelihood to profile: no robust covariance, no sampling weights, no penalty (but Firth's)."""
    known = not isinstance(inference.penalized, jax.core.Tracer)
    penalized = known and bool(inference.penalized)
    return inference.kind == "model" and inference.fit.weight_kind != "sampling" and not penalized
