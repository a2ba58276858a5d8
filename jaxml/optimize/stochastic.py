"""The loop of stochastic gradient descent: a scan over shuffled minibatches inside a loop over epochs, one compiled program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Batch = Callable[[Any, Array, Array, Array], tuple[Array, Any]]


def epoch(batch: Batch, transform: Any, *, n: int, batch_size: int) -> Callable[[Any, Array], tuple[Any, Any]]:
    """One visit of n examples in minibatches: batch, forward, backward, update.

    Args:
        batch: (params, indices, keep, key) -> (value, gradient) of the mean objective on the examples `indices` where `keep`; the
            random key is for what is random beyond the order.
        transform: an optax gradient transformation.
        n: number of examples.
        batch_size: examples in a minibatch; the last one of an epoch is smaller where n is not a multiple of it.

    Returns:
        ((params, memory of the transform), key) -> the same after the epoch, and the mean value and the mean gradient norm over
        its minibatches.
    """
    size = min(batch_size, n)
    count = -(-n // size)

    def update(carry: Any, order: tuple[Array, Array, Array]) -> tuple[Any, tuple[Array, Array]]:
        params, memory = carry
        value, gradient = batch(params, *order)
        step, memory = transform.update(gradient, memory, params)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
        return (jax.tree.map(jnp.add, params, step), memory), (value, norm)

    def visit(carry: Any, key: Array) -> tuple[Any, tuple[Array, Array]]:
        order = jnp.resize(jax.random.permutation(key, n), (count, size))
        keep = (jnp.arange(count * size) < n).reshape(count, size)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))
        carry, (value, norm) = lax.scan(update, carry, (order, keep, keys))
        return carry, (jnp.mean(value), jnp.mean(norm))

    return visit


def shuffled_epochs(
    batch: Batch, params: Any, transform: Any, *, n: int, epochs: int, batch_size: int, key: Array
) -> tuple[Any, Array, Array]:
    """Visit n examples `epochs` times in minibatches, in an order shuffled anew each time.

    Args:
        batch: as for :func:`epoch`.
        params: starting point.
        transform: an optax gradient transformation.
        n: number of examples.
        epochs: passes over them.
        batch_size: examples in a minibatch.
        key: random key of the shuffling.

    Returns:
        params, and for each epoch the mean value and the mean gradient norm over its minibatches, (epochs,).
    """
    visit = epoch(batch, transform, n=n, batch_size=batch_size)
    (params, _), (values, norms) = lax.scan(visit, (params, transform.init(params)), jax.random.split(key, epochs))
    return params, values, norms
