"""Batches of loops: in chunks of lanes, and what few lanes need."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_LANES = 50  # on a CPU: what stays in the cache, and one slow lane holds 49 others, not all
_NUMBERS = 1 << 19  # that all lanes of a chunk work on; a lane with half as many of its own keeps the cores busy alone
_SMALL = 1 << 12  # numbers up to which an array may be copied at each step


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
        # Of nested batches each level goes by itself.
        out = in_chunks(lambda *args: _in_chunks(function, size, batched, args))(*args)
        return out, jax.tree.map(lambda _: True, out)

    return chunked


def _in_chunks(function: Callable[..., Any], size: int, batched: Any, args: Any) -> Any:
    leaves, structure = jax.tree.flatten(args)
    flags = jax.tree.leaves(batched)

    def lane(mapped: list[Any]) -> Any:
        values = iter(mapped)
        return function(
            *jax.tree.unflatten(structure, [next(values) if b else a for a, b in zip(leaves, flags, strict=True)])
        )

    mapped = [a for a, b in zip(leaves, flags, strict=True) if b]
    lanes = max(1, min(_LANES, _NUMBERS // _numbers_of_a_lane(leaves, flags)))
    if jax.default_backend() != "cpu":
        return jax.vmap(lane)(mapped)
    if lanes == 1:
        return lax.map(lane, mapped)
    if size <= lanes:
        return jax.vmap(lane)(mapped)
    count = -(-size // lanes)
    index = jnp.minimum(jnp.arange(count * lanes), size - 1)
    out = lax.map(lane, [a[index] for a in mapped], batch_size=lanes)
    return jax.tree.map(lambda a: a[:size], out)


def _numbers_of_a_lane(leaves: list[Any], flags: list[Any]) -> int:
    """How many numbers a lane has of its own: all of the largest array where it has a number for each of its rows."""
    shapes = [np.shape(a)[1:] if b else np.shape(a) for a, b in zip(leaves, flags, strict=True)]
    largest = max(shapes, key=lambda shape: int(np.prod(shape)), default=())
    own = [shape for shape, b in zip(shapes, flags, strict=True) if b]
    own += [largest] if any(shape[:1] == largest[:1] for shape in own) else []
    return max(1, *(int(np.prod(shape)) for shape in own)) if own else 1


def where_needed(needed: Array, compute: Callable[..., Any], otherwise: Any, *operands: Any) -> Any:
    """``compute(*operands)`` where `needed`, else `otherwise`: a loop of no or one trip.

    Under vmap it runs only where some lane asks for it, as ``lax.cond`` would not. XLA moves out of a loop what does not change in it,
    and so would compute it always: a barrier ties the operands, and what `compute` closes over of their size, to the trip. Large
    arrays, as the data, stay free, since XLA would copy them.
    """
    pure, around = jax.closure_convert(compute, *operands)
    # A vector has one layout: XLA gives the loop no other one of the data, for which it would copy them before every loop.
    ravel = lambda arrays: [jnp.ravel(a) for a in arrays]
    shape = lambda flat, like: [jnp.reshape(a, jnp.shape(b)) for a, b in zip(flat, like, strict=True)]
    shapes = lambda tree: jax.tree.map(jnp.shape, tree)
    flat = ravel(around)

    def trip(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        small = [a if a.size <= _SMALL else None for a in flat]
        still, tied, some = lax.optimization_barrier((carry[0], operands, small))
        inside = [a if b is None else b for a, b in zip(flat, some, strict=True)]
        found = pure(*tied, *shape(inside, around))
        if shapes(found) != shapes(otherwise):
            raise TypeError(f"compute gives {shapes(found)}, not {shapes(otherwise)} as otherwise does")
        return jnp.zeros_like(still), ravel(jax.tree.leaves(found))

    answers, tree = jax.tree.flatten(otherwise)
    found = lax.while_loop(lambda carry: carry[0], trip, (needed, ravel(answers)))[1]
    return jax.tree.unflatten(tree, shape(found, answers))
