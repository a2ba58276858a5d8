r"""How well a model fits as a whole: deviance, log-likelihood, Pearson's statistic, and what is made of them.

    AIC = -2 l + 2 k,   BIC = -2 l + k log n,   k the coefficients that were estimated, and the dispersion if it was

With a penalty the coefficients count as tr((I + N l2 P)^-1 I), the effective degrees of freedom.

Source: McCullagh & Nelder (1989), chapter 2; Akaike (1974); Schwarz (1978); Hastie, Tibshirani & Friedman (2009), section 7.6.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxml.compiling import program
from jaxml.glm import dispersion as scale
from jaxml.glm.covariance import Inference, of_inference
from jaxml.glm.fit import fit_rows
from jaxml.glm.result import Fit
from jaxml.glm.tails import chi_square_tail
from jaxml.predictors import Linear
from jaxml.rows import Rows

DISPERSIONS = ("ml", "pearson", "deviance")


class GoodnessOfFit(NamedTuple):
    """Measures of the whole fit; scalars, None where a measure is not defined.

    Attributes:
        observations: n.
        parameters: coefficients that were estimated (effective ones with a penalty), the dispersion if it was, and r of a negative
            binomial if it was.
        freedom: n - rank, degrees of freedom of the residuals.
        null_freedom: those of the null model.
        deviance: 2 sum w (l_saturated - l) at dispersion 1; None for a family of two parameters, whose saturated likelihood is
            unbounded.
        null_deviance: that of the null model.
        pearson: sum w (y - mu)^2 / V(mu), or None.
        log_likelihood: at the maximum-likelihood dispersion; None for sampling weights and quasi-likelihood.
        null_log_likelihood: that of the null model.
    """

    observations: Array
    parameters: Array
    freedom: Array
    null_freedom: Array
    deviance: Array | None
    null_deviance: Array | None
    pearson: Array | None
    log_likelihood: Array | None
    null_log_likelihood: Array | None

    @property
    def aic(self) -> Array | None:
        """Akaike's criterion, smaller is better; None without a log-likelihood."""
        return None if self.log_likelihood is None else 2 * self.parameters - 2 * self.log_likelihood

    @property
    def bic(self) -> Array | None:
        """Schwarz's criterion, smaller is better; None without a log-likelihood."""
        if self.log_likelihood is None:
            return None
        return self.parameters * jnp.log(self.observations) - 2 * self.log_likelihood

    @property
    def explained_deviance(self) -> Array | None:
        """1 - D / D_null; R squared for the normal family."""
        return None if self.deviance is None else 1 - self.deviance / self.null_deviance

    @property
    def mcfadden(self) -> Array | None:
        """1 - l / l_null; McFadden's pseudo R squared."""
        return None if self.log_likelihood is None else 1 - self.log_likelihood / self.null_log_likelihood

    @property
    def cox_snell(self) -> Array | None:
        """1 - exp(2 (l_null - l) / n); Cox and Snell's pseudo R squared."""
        if self.log_likelihood is None:
            return None
        return -jnp.expm1(2 * (self.null_log_likelihood - self.log_likelihood) / self.observations)

    @property
    def overdispersion(self) -> Array | None:
        """Pearson's statistic / (n - rank): near 1 where the variance is that of a family of known dispersion."""
        return None if self.pearson is None else self.pearson / self.freedom

    @property
    def pearson_p_value(self) -> Array | None:
        """P(chi-square(n - rank) > Pearson's statistic), for grouped data of known dispersion."""
        return None if self.pearson is None else chi_square_tail(self.pearson, self.freedom)


@of_inference
def goodness_of_fit(inference: Inference, *, null: str | None = None) -> GoodnessOfFit:
    """Deviance, log-likelihood, Pearson's statistic and those of the null model.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        null: the model to compare with: 'intercept' (and the offset) or 'offset' (alone). None: with an intercept if the fit has one,
            as in R; statsmodels always takes one.

    Returns:
        :class:`GoodnessOfFit`.

    Raises:
        ValueError: an unknown null model.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> good = glm.goodness_of_fit(glm.infer(glm.fit(families.Poisson(), X, y), X, y))
        >>> print(f"{good.deviance:.3f} {good.null_deviance:.3f} {good.aic:.2f}")
        0.420 9.677 16.74
    """
    fit = inference.fit
    null = ("offset" if fit.params.bias is None else "intercept") if null is None else null
    if null not in ("intercept", "offset"):
        raise ValueError(f"null={null!r} is not known; use 'intercept' or 'offset'")
    bare = inference.rows._replace(X=inference.rows.X[:, :0])
    return _goodness(inference, bare, _null_params(fit, bare, null), null=null)


@of_inference
def log_likelihood(inference: Inference, *, dispersion: Any = "ml") -> Array:
    """The log-likelihood of the data at the fitted coefficients, for a choice of the dispersion.

    One fit has several published log-likelihoods, which differ in the dispersion only: R and this package maximise over it,
    statsmodels takes Pearson's estimate for the gamma.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        dispersion: 'ml', 'pearson', 'deviance' (D / (n - rank)) or a number; only 'ml' where the family has none to estimate.

    Returns:
        () log-likelihood, log b included.

    Raises:
        ValueError: for sampling weights and quasi-likelihood, which have none, and an unknown or meaningless dispersion.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1.0, 2.0, 6.0, 9.0])
        >>> inference = glm.infer(glm.fit(families.Gamma(), X, y, link="log"), X, y)
        >>> print(f"{glm.log_likelihood(inference):.3f} {glm.log_likelihood(inference, dispersion='pearson'):.3f}")
        -2.644 -3.114
    """
    fit, rows = inference.fit, inference.rows
    if fit.quasi or fit.weight_kind == "sampling":
        what = "a quasi-likelihood fit (check='hull')" if fit.quasi else "a fit with sampling weights"
        raise ValueError(f"{what} has no log-likelihood")
    if isinstance(dispersion, str) and dispersion not in DISPERSIONS:
        raise ValueError(f"dispersion={dispersion!r} is not known; use one of {DISPERSIONS} or a number")
    if isinstance(dispersion, str) and dispersion == "ml":
        return fit.log_likelihood
    if not fit.family.estimates_dispersion:
        raise ValueError(f"{fit.family} has no dispersion to choose; leave dispersion='ml'")
    safe, eta = scale.fitted_natural(fit.family, fit.link, rows, fit.params)
    phi: Any = dispersion
    if isinstance(dispersion, str):
        deviance = scale.total_deviance(fit.family, safe, eta)
        phi = fit.dispersion if dispersion == "pearson" else deviance / (fit.observations - fit.rank)
    return scale.log_likelihood_at(fit.family, safe, eta, jnp.asarray(phi, eta.dtype), fit.weight_kind)


@of_inference
def effective_parameters(inference: Inference) -> Array:
    """tr((I + N l2 P)^-1 I), the number of coefficients that were estimated; the rank without a penalty.

    Args:
        inference: from :func:`jaxml.glm.infer`.

    Returns:
        ().

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> fit = lambda l2: glm.infer(glm.fit(families.Poisson(), X, y, l2=l2), X, y)
        >>> print(*(f"{glm.effective_parameters(fit(l2)):.2f}" for l2 in (0.0, 1.0, 100.0)))
        2.00 1.81 1.05

    Source: Hastie, Tibshirani & Friedman (2009), section 7.6.
    """
    fit = inference.fit
    idle = jnp.sum(inference.ridge * jnp.sum(jnp.square(inference.root), axis=1))
    return fit.rank * fit.family.free_size - idle


def _null_params(fit: Fit, bare: Rows, null: str) -> Linear:
    weight = fit.params.weight[:0]
    if null == "offset":
        return Linear(weight)
    return fit_rows(
        fit.family, bare, l2=0.0, intercept=True, link=fit.link, solver=None, check=False, weight_kind=fit.weight_kind
    ).params


@program(static_argnames="null")
def _goodness(inference: Inference, bare: Rows, params: Linear, *, null: str) -> GoodnessOfFit:
    """``bare`` are the rows without columns, ``params`` those of the null model."""
    fit = inference.fit
    family, size = fit.family, fit.family.free_size
    rows, eta = scale.fitted_natural(family, fit.link, inference.rows, fit.params)
    bare, flat = scale.fitted_natural(family, fit.link, bare, params)
    deviance = null_deviance = pearson = likelihood = None
    if family.has_deviance:
        deviance, null_deviance = (scale.total_deviance(family, bare, at) for at in (eta, flat))
        pearson = scale.pearson(family, rows, eta)
    if fit.log_likelihood is not None:
        likelihood = scale.fitted_log_likelihood(family, bare, flat, fit.observations, fit.weight_kind)
    return GoodnessOfFit(
        observations=fit.observations,
        parameters=effective_parameters(inference) + bool(family.estimates_dispersion) + fit.shapes,
        freedom=(fit.observations - fit.rank) * size,
        null_freedom=(fit.observations - (null == "intercept")) * size,
        deviance=deviance,
        null_deviance=null_deviance,
        pearson=pearson,
        log_likelihood=fit.log_likelihood,
        null_log_likelihood=likelihood,
    )
