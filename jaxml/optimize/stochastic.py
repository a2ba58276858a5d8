"""The loop of stochastic gradient descent: a scan over shuffled minibatches inside a scan over epochs, one compiled program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Batch = Callable[[Any, Array, Array], tuple[Array, Any]]


def shuffled_epochs(
    batch: Batch, params: Any, transform: Any, *, n: int, epochs: int, batch_size: int, key: Array
) -> tuple[Any, Array, Array]:
    """Visit n examples `epochs` times in minibatches.

    Args:
        batch: (params, indices, keep) -> (value, gradient) of the mean objective on the examples `indices` where `keep`.
        params: starting point.
        transform: an optax gradient transformation.
        n: number of examples.
        epochs: passes over them.
        batch_size: examples in a minibatch; the last one of an epoch is smaller where n is not a multiple of it.
        key: random key of the shuffling.

    Returns:
        params, and for each epoch the mean value and the mean gradient norm over its minibatches, (epochs,).
    """
    size = min(batch_size, n)
    count = -(-n // size)

    def update(carry: Any, order: tuple[Array, Array]) -> tuple[Any, tuple[Array, Array]]:
        params, memory = carry
        value, gradient = batch(params, *order)
        step, memory = transform.update(gradient, memory, params)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
        return (jax.tree.map(jnp.add, params, step), memory), (value, norm)

    def epoch(carry: Any, key: Array) -> tuple[Any, tuple[Array, Array]]:
        order = jnp.resize(jax.random.permutation(key, n), (count, size))
        keep = (jnp.arange(count * size) < n).reshape(count, size)
        carry, (value, norm) = lax.scan(update, carry, (order, keep))
        return carry, (jnp.mean(value), jnp.mean(norm))

    (params, _), (values, norms) = lax.scan(epoch, (params, transform.init(params)), jax.random.split(key, epochs))
    return params, values, norms
