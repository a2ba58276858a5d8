"""The design matrix of a linear predictor, [x, 1] with an intercept and x without: its products, without the ones."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxml.linalg import matmul
from jaxml.predictors.linear import Linear


class Design(NamedTuple):
    """A = [x, 1], or x alone; A theta is :func:`jaxml.predictors.linear` of x.

    Attributes:
        x: (n, d), with an intercept the centred columns.
        intercept: static; whether the column of ones belongs to it.
    """

    x: Array
    intercept: bool

    @property
    def size(self) -> "Design":
        """The absolute values of the entries, as bounds of rounding errors need them."""
        return self._replace(x=jnp.abs(self.x))

    def transposed(self, r: Array) -> Linear:
        """A' r, (n,) or (n, k) to a Linear."""
        weight = matmul(r.T, self.x).T  # not x.T @ r, which is slow on CPUs
        return Linear(weight, jnp.sum(r, axis=0) if self.intercept else None)

    def gram(self, w: Array) -> Array:
        """A' W A in the order of ravel(Linear): (p, p) with weights (n,), (p k, p k) with blocks (n, k, k)."""
        x = self.x
        if w.ndim == 1:
            xw = x * w[:, None]
            core = matmul(x.T, xw)
            if not self.intercept:
                return core
            side = matmul(w, x)
            return jnp.block([[core, side[:, None]], [side[None, :], jnp.sum(w)[None, None]]])
        d, k = x.shape[1], w.shape[-1]
        one = lambda row: matmul(x.T, (x[:, :, None] * row[:, None, :]).reshape(len(x), d * k))
        core = lax.map(one, w.transpose(1, 0, 2)).reshape(k, d, d * k).transpose(1, 0, 2).reshape(d * k, d * k)
        if not self.intercept:
            return core
        side = matmul(x.T, w.reshape(-1, k * k)).reshape(d * k, k)
        return jnp.block([[core, side], [side.T, jnp.sum(w, axis=0)]])

    def grams(self, w: Array) -> Array:
        """A' W A, (k, q, q), with the weights (n, k) of each output alone."""
        return lax.map(self.gram, w.T)

    def dense(self) -> Array:
        """A as one array."""
        return jnp.append(self.x, jnp.ones((len(self.x), 1), self.x.dtype), axis=1) if self.intercept else self.x
