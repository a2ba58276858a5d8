"""Batches of loops: in chunks of lanes, and what few lanes need."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_LANES = 50  # on a CPU: what stays in the cache, and one slow lane holds 49 others, not all
_NUMBERS = 1 << 19  # that all lanes of a chunk work on; a lane with half as many of its own keeps the cores busy alone


def in_chunks(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which under vmap on a CPU goes through its lanes fifty at a time, or fewer where they are large.

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
        each = max((np.size(a) // (size if b else 1) for a, b in zip(leaves, flags, strict=True)), default=1)
        lanes = max(1, min(_LANES, _NUMBERS // max(1, each)))
        if jax.default_backend() != "cpu":
            out = jax.vmap(lane)(mapped)
        elif lanes == 1:
            out = lax.map(lane, mapped)
        elif size <= lanes:
            out = jax.vmap(lane)(mapped)
        else:
            count = -(-size // lanes)
            index = jnp.minimum(jnp.arange(count * lanes), size - 1)
            out = lax.map(lane, [a[index] for a in mapped], batch_size=lanes)
            out = jax.tree.map(lambda a: a[:size], out)
        return out, jax.tree.map(lambda _: True, out)

    return chunked


def where_needed(needed: Array, compute: Callable[..., Any], otherwise: Any, *operands: Any) -> Any:
    """``compute(*operands)`` where `needed`, else `otherwise`: a loop of no or one trip.

    Under vmap it runs only where some lane asks for it, as ``lax.cond`` would not. XLA moves out of a loop what does not change in it,
    and so would compute it always: the barrier ties the operands to the trip. What is to be spared must depend on them.
    """

    def trip(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        tied = lax.optimization_barrier((carry[0], operands))[1]
        return jnp.zeros_like(carry[0]), compute(*tied)

    return lax.while_loop(lambda carry: carry[0], trip, (needed, otherwise))[1]
