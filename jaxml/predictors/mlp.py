r"""Multilayer perceptron: linear maps with an activation f between them.

    a^[0] = x,   z^[k] = W^[k] a^[k-1] + b^[k],   a^[k] = f(z^[k]),   eta = z^[r]

The last layer is the linear predictor of a generalised linear model on the features a^[r-1] that the others learn; without hidden
layers nothing else is left. Each layer is a :class:`jaxml.predictors.Linear`, whose weight is the transpose of W^[k].

Source: notes 9.1, 9.2; Bishop (2006), chapter 5; Goodfellow, Bengio & Courville (2016), chapter 6.
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxml import special
from jaxml.families.base import Family
from jaxml.predictors.linear import Linear, linear
from jaxml.records import record, static_field

Activation = Callable[[Array], Array]


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)).

    Example:
        >>> from jaxml import predictors
        >>> print(predictors.sigmoid(0.0))
        0.5

    Source: notes 9.2.
    """
    return special.sigmoid(z)


def tanh(z: Array) -> Array:
    """The hyperbolic tangent.

    Example:
        >>> from jaxml import predictors
        >>> print(predictors.tanh(0.0))
        0.0

    Source: notes 9.2.
    """
    return jnp.tanh(z)


def relu(z: Array) -> Array:
    """max(0, z), with derivative 0 at 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import predictors
        >>> print(predictors.relu(jnp.array([-1.0, 2.0])))
        [0. 2.]

    Source: notes 9.2.
    """
    return jnp.where(z > 0, z, 0)


def leaky_relu(z: Array) -> Array:
    """max(z / 100, z), with derivative 1/100 at 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import predictors
        >>> print(predictors.leaky_relu(jnp.array([-1.0, 2.0])))
        [-0.01  2.  ]

    Source: notes 9.2; Maas, Hannun & Ng (2013).
    """
    return jnp.where(z > 0, z, 0.01 * z)


def softplus(z: Array) -> Array:
    """log(1 + exp(z)).

    Example:
        >>> from jaxml import predictors
        >>> print(f"{predictors.softplus(0.0):.4f}")
        0.6931

    Source: Dugas et al. (2001), "Incorporating second-order functional knowledge".
    """
    return special.softplus(z)


def gelu(z: Array) -> Array:
    """z Phi(z), Phi the normal distribution function.

    Example:
        >>> from jaxml import predictors
        >>> print(f"{predictors.gelu(1.0):.4f}")
        0.8413

    Source: Hendrycks & Gimpel (2016), "Gaussian error linear units".
    """
    return jax.nn.gelu(jnp.asarray(z), approximate=False)


@record
class MLP:
    """Multilayer perceptron: a function (params, X) -> eta, as :func:`jaxml.predictors.linear` is.

    Args:
        widths: static, the numbers of units of the hidden layers, () for none.
        activation: static, f, one of this module or any function of an array.
        dropout: static, the share of hidden activations that are set to 0 in each step of training, in [0, 1); the others are divided
            by 1 - dropout, so that their expectation stays. It asks for a random key: without one, nothing is dropped.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import families, likelihood
        >>> from jaxml.predictors import MLP
        >>> net = MLP((16, 8))
        >>> params = net.init(jax.random.key(0), 4, families.Categorical(3))
        >>> print(net(params, jnp.ones((5, 4))).shape)
        (5, 3)
        >>> print([layer.weight.shape for layer in params])
        [(4, 16), (16, 8), (8, 3)]
        >>> loss = -likelihood.log_likelihood(families.Categorical(3), net, params, jnp.ones((5, 4)), jnp.zeros(5, int))

    Source: notes 9.1; Srivastava et al. (2014) for dropout.
    """

    widths: tuple[int, ...] = static_field()
    activation: Activation = static_field(default=relu)
    dropout: float = static_field(default=0.0)

    def init(
        self, key: Array, features: int, family: Family | int | None, *, initializer: Any = None, dtype: Any = None
    ) -> tuple[Linear, ...]:
        """Random weights and biases of 0.

        Args:
            key: random key.
            features: d, columns of X.
            family: of y, whose natural parameter is predicted; or the length k of the prediction, None for a scalar.
            initializer: (key, shape, dtype) -> weights of the hidden layers, as of ``jax.nn.initializers``. None: variance 2 / inputs
                (He) for relu, leaky_relu, gelu and softplus, 2 / (inputs + outputs) (Glorot) for others. The last layer has
                variance 1 / inputs (LeCun) always.
            dtype: of the params; None: JAX's default.

        Returns:
            A tuple of Linear, one for each layer.

        Source: He et al. (2015); Glorot & Bengio (2010); LeCun et al. (1998), "Efficient BackProp".
        """
        k = family.natural_size if isinstance(family, Family) else family
        dtype = jnp.zeros(()).dtype if dtype is None else dtype
        sizes = (features, *self.widths, 1 if k is None else k)
        keys = jax.random.split(key, len(sizes) - 1)
        inner = _initializer(self.activation) if initializer is None else initializer
        rules = [inner] * len(self.widths) + [jax.nn.initializers.lecun_normal()]
        layers = [
            Linear(rule(key, shape, dtype), jnp.zeros(shape[1:], dtype))
            for rule, key, shape in zip(rules, keys, itertools.pairwise(sizes), strict=True)
        ]
        if k is None:  # a scalar prediction: (n,), not (n, 1)
            layers[-1] = jax.tree.map(lambda a: a[..., 0], layers[-1])
        return tuple(layers)

    def __call__(self, params: tuple[Linear, ...], X: Array, key: Array | None = None) -> Array:
        """eta of each row.

        Args:
            params: a Linear for each layer.
            X: (n, d).
            key: random key of the dropout; None: none.

        Returns:
            (n,) or (n, k).
        """
        a = X
        for i, layer in enumerate(params[:-1]):
            a = self.activation(linear(layer, a))
            if key is not None and self.dropout:
                kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - self.dropout, a.shape)
                a = jnp.where(kept, a / (1 - self.dropout), 0)
        return linear(params[-1], a)


def _initializer(activation: Activation) -> Any:
    half_line = activation in (relu, leaky_relu, gelu, softplus)
    return jax.nn.initializers.he_normal() if half_line else jax.nn.initializers.glorot_normal()
