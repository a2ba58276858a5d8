"""What a family of one's own, written as the documentation says, has and what it says it lacks; and compiles of eager calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiles import compiles
from jaxml import families, glm
from jaxml.predictors import Linear
from registry_families import Rayleigh

RTOL = 1e-10 if jax.config.jax_enable_x64 else 1e-3


def test_deviance_of_a_new_family_is_that_of_the_same_law_in_another_variable():
    """If Y is Rayleigh, Y^2 is exponential with the same natural parameter."""
    eta, y = jnp.array([-0.5, -1.5, -0.2]), jnp.array([0.3, 1.2, 2.0])
    expected = families.deviance(families.Exponential(), eta, y**2)
    np.testing.assert_allclose(families.deviance(Rayleigh(), eta, y), expected, rtol=RTOL)


def test_prediction_of_y_is_refused_where_only_the_mean_of_the_statistic_is_known():
    X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1.0, 1.3, 0.9, 1.6])
    fit = glm.fit(Rayleigh(), X, y, init=Linear(jnp.zeros(1), jnp.array(-0.5)))
    with pytest.raises(TypeError, match="predict_statistic"):
        glm.predict(fit, X)
    mean = glm.predict_statistic(fit, X)
    np.testing.assert_allclose(mean, -1 / glm.predict_natural(fit, X), rtol=RTOL)
    np.testing.assert_allclose(jnp.sum(mean), jnp.sum(y**2), rtol=RTOL)


@pytest.mark.parametrize(
    "call",
    [
        lambda key: families.sample(families.Multinomial(3), jnp.zeros(3), key, (4,), trials=5),
        lambda key: families.natural(families.GammaShapeRate(), jnp.array([-0.1, 1.0])),
        lambda key: families.natural(families.Beta(), jnp.array([-1.0, -0.8])),
        lambda key: families.fit(families.GammaShapeRate(), jnp.array([1.0, 2.0, 4.0])),
    ],
    ids=["sample", "natural", "natural by Newton", "fit"],
)
def test_second_eager_call_compiles_nothing(call):
    jax.block_until_ready(call(jax.random.key(0)))
    assert compiles(lambda: call(jax.random.key(1))) == 0
