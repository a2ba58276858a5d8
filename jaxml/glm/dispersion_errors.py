r"""How sure a fit is of the dispersion that it estimated.

    se(log phi) = [-d^2 l / d (log phi)^2]^-1/2,   se(phi) = phi se(log phi),   interval phi exp(-+ z se(log phi))

at the maximum-likelihood phi and the fitted coefficients. The score of the coefficients is that at dispersion 1 over phi, so at the
maximum the joint observed information has no entries between the two: these are the errors of the joint estimate. For normal and
inverse Gaussian regression se(phi) = phi sqrt(2/n); for gamma regression with shape k = 1/phi, se(k) = [n (psi'(k) - 1/k)]^-1/2.

Source: McCullagh & Nelder (1989), sections 8.3.6 and 9.2; Venables & Ripley (2002), section 7.6 (``gamma.shape``).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxml.compiling import program
from jaxml.glm import dispersion as scale
from jaxml.glm.covariance import Inference, of_inference
from jaxml.glm.inference import read_level
from jaxml.glm.result import Fit
from jaxml.glm.tails import two_sided_quantile
from jaxml.rows import Rows


class DispersionErrors(NamedTuple):
    """The maximum-likelihood dispersion and its errors; scalars.

    Attributes:
        dispersion: phi by maximum likelihood; ``fit.dispersion`` is Pearson's, which is less sensitive to the law of y.
        standard_error: that of phi.
        log_error: that of log phi, and of the logarithm of the shape 1/phi.
        low: lower end of the interval of phi.
        high: upper end.
    """

    dispersion: Array
    standard_error: Array
    log_error: Array
    low: Array
    high: Array


@of_inference
def dispersion_errors(inference: Inference, *, level: Any = 0.95) -> DispersionErrors:
    """The standard error of an estimated dispersion, and an interval on the log scale, on which its law is closest to normal.

    Args:
        inference: from :func:`jaxml.glm.infer`.
        level: () the share of intervals that hold phi, between 0 and 1.

    Returns:
        :class:`DispersionErrors`.

    Raises:
        ValueError: a family without a dispersion to estimate, sampling weights and quasi-likelihood, which have no likelihood, and a
            level that is no share.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1.0, 2.0, 6.0, 9.0])
        >>> errors = glm.dispersion_errors(glm.infer(glm.fit(families.Gamma(), X, y, link="log"), X, y))
        >>> print(f"{errors.dispersion:.4f} +- {errors.standard_error:.4f}, {errors.low:.4f} to {errors.high:.4f}")
        0.0210 +- 0.0148, 0.0053 to 0.0835

    Source: McCullagh & Nelder (1989), section 8.3.6.
    """
    fit = inference.fit
    if fit.log_likelihood is None:
        what = "a quasi-likelihood fit (check='hull')" if fit.quasi else "a fit with sampling weights"
        raise ValueError(f"{what} has no log-likelihood, so its dispersion has no error by it")
    if not fit.family.estimates_dispersion:
        raise ValueError(f"{fit.family} has no dispersion to estimate")
    z = two_sided_quantile(
        read_level(level, inference.covariance.dtype), jnp.asarray(jnp.inf, inference.covariance.dtype)
    )
    phi, error = _errors(fit, inference.rows, weight_kind=fit.weight_kind)
    return DispersionErrors(phi, phi * error, error, phi * jnp.exp(-z * error), phi * jnp.exp(z * error))


@program(static_argnames="weight_kind")
def _errors(fit: Fit, rows: Rows, *, weight_kind: str) -> tuple[Array, Array]:
    """phi and the standard error of its logarithm."""
    rows, eta = scale.fitted_natural(fit.family, fit.link, rows, fit.params)
    phi = scale.maximum_likelihood_dispersion(fit.family, rows, eta, fit.observations, weight_kind)
    along = lambda f, u: jax.jvp(f, (u,), (jnp.ones_like(u),))[1]
    total = lambda u: scale.log_likelihood_at(fit.family, rows, eta, jnp.exp(u), weight_kind)
    curvature = along(lambda u: along(total, u), jnp.log(phi))
    return phi, jax.lax.rsqrt(-curvature)
