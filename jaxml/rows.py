"""The rows of a data set as one pytree: every leaf leads with n, so blocks, subsamples and folds are one ``tree.map`` each."""

from typing import Any, NamedTuple

import jax
from jax import Array, lax


class Rows(NamedTuple):
    """X (n, d), y (n,) or (n, k) or a pair of them, weights (n,) or None, offset (n,) or (n, k) or None."""

    X: Array
    y: Any
    weights: Array | None = None
    offset: Array | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    def take(self, index: Any) -> "Rows":
        """The rows at `index` (an array of positions or a slice)."""
        return jax.tree.map(lambda a: a[index], self)

    def block(self, start: Any, size: int) -> "Rows":
        """`size` rows from `start` on."""
        return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, size), self)


def column(v: Array, a: Array) -> Array:
    """A vector over the rows with trailing axes of size 1, so that it broadcasts against the leaf `a`."""
    return v.reshape(v.shape + (1,) * (a.ndim - 1))
