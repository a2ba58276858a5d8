"""Batches of loops in chunks of lanes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_LANES = 50  # on a CPU: what stays in the cache, and one slow lane holds 49 others, not all


def in_chunks(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which under vmap on a CPU goes through its lanes fifty at a time.

    Chunks are faster there than one wide batch, which runs until its slowest lane is done. (With jaxlib 0.10 on two cores,
    loops of several hundred lanes were also seen to wait for each other's threads for ever.) The number of lanes is padded to
    a multiple, so that there is one program. Not differentiable: for loops whose derivatives come from elsewhere.
    """

    @jax.custom_batching.custom_vmap
    def chunked(*args: Any) -> Any:
        return function(*args)

    @chunked.def_vmap
    def _(size: int, batched: Any, *args: Any) -> tuple[Any, Any]:
        leaves, structure = jax.tree.flatten(args)
        flags = jax.tree.leaves(batched)

        def lane(mapped: list[Any]) -> Any:
            values = iter(mapped)
            return function(
                *jax.tree.unflatten(structure, [next(values) if b else a for a, b in zip(leaves, flags, strict=True)])
            )

        mapped = [a for a, b in zip(leaves, flags, strict=True) if b]
        if jax.default_backend() != "cpu" or size <= _LANES:
            out = jax.vmap(lane)(mapped)
        else:
            count = -(-size // _LANES)
            index = jnp.minimum(jnp.arange(count * _LANES), size - 1)
            out = lax.map(lane, [a[index] for a in mapped], batch_size=_LANES)
            out = jax.tree.map(lambda a: a[:size], out)
        return out, jax.tree.map(lambda _: True, out)

    return chunked
