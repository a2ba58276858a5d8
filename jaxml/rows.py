"""The rows of a data set as one pytree: every leaf leads with n, so blocks, subsamples and folds are one ``tree.map`` each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxml.special import with_derivative_of

# a block of X that stays in the shared cache, and is large enough for all cores to share the work
_BLOCK_BYTES = 1 << 22
_PIECE = 8192  # rows of a few numbers each


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
        """The rows at `index`: a slice, a NumPy index, or a JAX array of positions, of which none is negative."""
        if not isinstance(index, jax.Array):
            return jax.tree.map(lambda a: a[index], self)
        # (XLA copies a row three times as fast where no position can be negative)
        get = lambda a: jnp.asarray(a).at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
        return jax.tree.map(get, self)

    @property
    def on(self) -> Array:
        """Which rows count: those of positive weight."""
        return jnp.ones(self.n, bool) if self.weights is None else self.weights > 0

    @property
    def mass(self) -> Array:
        """The weights, 1 for each row where none are given."""
        return jnp.ones(self.n, self.X.dtype) if self.weights is None else self.weights

    def safe(self) -> "Rows":
        """The rows with those of weight 0, which may hold anything, replaced by one that counts: 0 times NaN is NaN."""
        if self.weights is None:
            return self
        return jax.tree.map(lambda a: first_where(self.on, a), self._replace(weights=None))._replace(
            weights=self.weights
        )

    def first(self, block: int | None = None) -> "Rows":
        """The first row that counts; by index where `block` says that the rows are on one device."""
        plain = self._replace(weights=None)
        if self.weights is None:
            # (the first True among n constants XLA would search while it compiles, at a second for each 100,000)
            return jax.tree.map(lambda a: a[0], plain)
        if block is None:
            return jax.tree.map(lambda a: first_row(self.on, a), plain)
        index = jnp.argmax(lax.optimization_barrier(self.on))  # (the barrier, for the same reason)
        return jax.tree.map(lambda a: a[index], plain)

    def block(self, start: Any, size: int) -> "Rows":
        """`size` rows from `start` on."""
        return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, size), self)


def fold_blocks(add: Callable[[Any, Array, Array], Any], carry: Any, n: int, size: int, most: Any = None) -> Any:
    """Fold ``add(carry, first, fresh)`` over the blocks of `size` among n rows, size at most n, or over the first `most` of them.

    A block begins at row `first`. The last one starts early, to be full; `fresh` (size,) says which of its rows are not in the one
    before.
    """

    def step(i: Array, carry: Any) -> Any:
        first = jnp.minimum(i * size, n - size)
        return add(carry, first, first + jnp.arange(size) >= i * size)

    count = -(-n // size)
    return lax.fori_loop(0, count if most is None else jnp.minimum(most, count), step, carry)


def row_by_row(function: Callable[..., Array], block: int | None, shared: Any, rows: Any) -> Array:
    """``function(shared, rows)``, (n,), each row for itself: piece by piece where `block` says that a cache is to be used.

    What a row needs on its way, as the points of a quadrature, then stays in the cache. Differentiated as it stands.
    """
    n = jax.tree.leaves(rows)[0].shape[0]
    if block is None or n <= 2 * _PIECE:
        return function(shared, rows)
    still = lax.stop_gradient((shared, rows))
    piece = lambda first: function(
        still[0], jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, first, _PIECE), still[1])
    )
    values = jnp.zeros(n, jax.eval_shape(piece, 0).dtype)
    # (the barrier, because XLA would compute on one core what it fuses with the update)
    update = lambda values, first, piece: lax.dynamic_update_slice_in_dim(values, piece, first, 0)
    put = lambda values, first, _: update(values, first, lax.optimization_barrier(piece(first)))
    return with_derivative_of(function, fold_blocks(put, values, n, _PIECE), shared, rows)


def first_where(on: Array, a: Array) -> Array:
    """Rows of `a` where `on`; the others are replaced by the first row that is on, a harmless valid value."""
    return jnp.where(column(on, a), a, first_row(on, a))


def first_row(on: Array, a: Array) -> Array:
    """The first row of `a` that is on, as a sum over all of them: an index would bring sharded rows to every device."""
    index = jnp.arange(len(on))
    first = index == jnp.min(jnp.where(on, index, len(on) - 1))
    return jnp.sum(jnp.where(column(first, a), a, 0), axis=0, dtype=a.dtype)


def sum_where(on: Array | None, values: Array) -> Array:
    """The sum of the values (n,) of those rows that are ``on`` (None: all); the others may be NaN."""
    return jnp.sum(values if on is None else jnp.where(on, values, 0))


def column(v: Array, a: Array) -> Array:
    """A vector over the rows with trailing axes of size 1, so that it broadcasts against the leaf `a`."""
    return v.reshape(v.shape + (1,) * (a.ndim - 1))


def block_rows(X: Any) -> int | None:
    """Rows in a block: cache-sized on one CPU device, all where they are few; None (the whole array) on accelerators, for sharded X.

    Inside a transformation, or in NumPy, X has no device yet: it is taken to be that of the only one, where there is only one.
    """
    if isinstance(X, jax.core.Tracer | np.ndarray):
        alone = jax.default_backend() == "cpu" and jax.device_count() == 1
    else:
        alone = len(X.sharding.device_set) == 1 and next(iter(X.devices())).platform == "cpu"
    if not alone:
        return None
    size = max(256, min(16384, _BLOCK_BYTES // max(1, X.shape[1] * X.dtype.itemsize)))
    return int(size if X.shape[0] > 2 * size else X.shape[0])
