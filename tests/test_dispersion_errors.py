"""Errors of an estimated dispersion against closed forms, by hand, and against a second derivative by differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

from jaxml import families, glm
from marks import mostly_slow
from tolerances import assert_agree

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="8 digits need 64-bit mode")

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 2))
W = 1.0 + np.arange(60) % 3
MU = np.exp(0.4 + X @ [0.3, -0.2])
LAWS = {
    "normal": (families.Normal(), "identity", MU + RNG.normal(size=60)),
    "inverse_gaussian": (families.InverseGaussian(), "log", RNG.wald(MU, 3.0)),
    "gamma": (families.Gamma(), "log", RNG.gamma(2.5, MU / 2.5)),
    "tweedie": (families.Tweedie(1.5), "log", RNG.gamma(RNG.poisson(2 * MU**0.5), MU**0.5 / 2)),
}


def errors_of(name, weights=None, **options):
    family, link, y = LAWS[name]
    fit = glm.fit(family, X, y, weights=weights, link=link, **options)
    inference = glm.infer(fit, X, y, weights=weights)
    return inference, glm.dispersion_errors(inference)


@pytest.mark.parametrize(
    ("name", "kind"),
    mostly_slow(
        [("normal", "frequency"), ("normal", "precision"), ("inverse_gaussian", "frequency")], [("normal", "frequency")]
    ),
)
def test_normal_and_inverse_gaussian_have_phi_root_two_over_n(name, kind):
    inference, got = errors_of(name, W, weight_kind=kind)
    n = W.sum() if kind == "frequency" else len(W)
    deviance = glm.goodness_of_fit(inference).deviance
    assert_agree(got.dispersion, deviance / n, "oracle")
    assert_agree(got.standard_error, deviance / n * np.sqrt(2 / n), "oracle")
    assert_agree(got.log_error, np.sqrt(2 / n), "oracle")
    z = stats.norm.ppf(0.975)
    assert_agree([got.low, got.high], deviance / n * np.exp(np.array([-z, z]) * np.sqrt(2 / n)), "oracle")


def test_gamma_is_the_shape_by_the_digamma_equation_and_its_error_by_the_trigamma():
    inference, got = errors_of("gamma")
    n, half = len(X), float(glm.goodness_of_fit(inference).deviance) / len(X) / 2
    shape = optimize.brentq(lambda k: np.log(k) - special.digamma(k) - half, 0.1, 100, xtol=1e-14, rtol=1e-14)
    error = 1 / np.sqrt(n * (special.polygamma(1, shape) - 1 / shape))
    assert_agree(1 / got.dispersion, shape, "oracle")
    assert_agree(got.log_error * shape, error, "oracle")
    assert_agree(got.standard_error, error / shape**2, "oracle")


@pytest.mark.slow
def test_tweedie_is_the_curvature_of_the_likelihood_at_its_maximum():
    inference, got = errors_of("tweedie")
    at = lambda u: float(glm.log_likelihood(inference, dispersion=float(np.exp(u))))
    u, h = float(jnp.log(got.dispersion)), 1e-3
    curvature = (16 * (at(u + h) + at(u - h)) - at(u + 2 * h) - at(u - 2 * h) - 30 * at(u)) / (12 * h * h)
    np.testing.assert_allclose(got.log_error, (-curvature) ** -0.5, rtol=1e-6)


def test_a_dispersion_that_is_not_estimated_by_a_likelihood_is_refused():
    y = RNG.poisson(MU)
    with pytest.raises(ValueError, match="no dispersion to estimate"):
        glm.dispersion_errors(glm.infer(glm.fit(families.Poisson(), X, y), X, y))
    quasi = glm.fit(families.Poisson(), X, y + 0.5, check="hull")
    with pytest.raises(ValueError, match="quasi-likelihood"):
        glm.dispersion_errors(glm.infer(quasi, X, y + 0.5))
    normal = glm.infer(glm.fit(families.Normal(), X, LAWS["normal"][2]), X, LAWS["normal"][2])
    with pytest.raises(ValueError, match="no share"):
        glm.dispersion_errors(normal, level=1.5)
