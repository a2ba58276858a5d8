"""The door of the functions over families: what users hand over becomes arrays of one dtype, what has no answer NaN or an error."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxml.families.base import Family
from jaxml.rows import first_where


def compiled(function: Callable[..., Array]) -> Callable[..., Array]:
    """One program per family and shapes, so that an eager call is one dispatch; lists go in as arrays."""
    program = jax.jit(function)

    @wraps(function)
    def entry(family: Family, *args: Any, **options: Any) -> Array:
        plain = lambda x: np.asarray(x) if isinstance(x, list) else x
        return program(family, *map(plain, args), **{name: plain(x) for name, x in options.items()})

    return entry


def refuse_where(name: str, values: Any, bad: Array, what: str) -> None:
    """Raise ValueError with place and value of the first bad entry, where it can be read: not inside jit."""
    if isinstance(bad, jax.core.Tracer) or not bool(jnp.any(bad)):
        return
    i = int(jnp.argmax(bad))
    shown = [np.asarray(leaf)[i].tolist() for leaf in jax.tree.leaves(values)]
    raise ValueError(f"{name}[{i}] = {shown[0] if len(shown) == 1 else tuple(shown)} {what}")


def observations(family: Family, y: Any) -> Any:
    """Lists as arrays; a list of two is a pair only for families whose observations are pairs."""
    pair = family.has_trials and family.natural_size is None
    if isinstance(y, dict):
        return jax.tree.map(jnp.asarray, y)
    return tuple(map(jnp.asarray, y)) if pair and isinstance(y, tuple | list) else jnp.asarray(y)


def nan_outside(family: Family, eta: Array, value: Array, extra: int = 0) -> Array:
    """The value, which has `extra` axes behind those of the batch, NaN where eta is outside the natural domain."""
    if family.natural_size is None:
        low, high = family.natural_bounds
        ok = (eta >= low) & (eta <= high)
    else:
        ok = family.log_partition(eta) < jnp.inf
    return jnp.where(ok[(...,) + (None,) * extra], value, jnp.nan)


def holds_nan(family: Family, eta: Array, y: Any) -> Array:
    """Whether eta or the observation holds NaN."""
    gone = jnp.isnan(eta) if family.natural_size is None else jnp.any(jnp.isnan(eta), axis=-1)
    for leaf in jax.tree.leaves(y):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            nan = jnp.isnan(leaf)
            gone = gone | (jnp.any(nan, axis=-1) if family.observation_ndim else nan)
    return gone


def floating(x: ArrayLike) -> Array:
    """x as an array of floating-point numbers: integers and booleans in the default dtype, others in their own."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


def in_dtype_of_eta(family: Family, eta: ArrayLike, data: Any = None) -> tuple[Family, Array, Any]:
    """Everything in the dtype of eta, so that no integer, NumPy scalar or float64 datum changes the precision; labels stay."""
    eta = floating(eta)
    k = family.natural_size
    if k is not None and eta.shape[-1:] != (k,):
        raise ValueError(f"{family} takes arrays of shape (..., {k}), got {eta.shape}")
    cast = lambda leaf: jnp.asarray(leaf) if family.labels else jnp.asarray(leaf, eta.dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, eta.dtype), family), eta, jax.tree.map(cast, data)


def without_idle_rows(y: Any, t: Array, w: Array) -> Any:
    """Rows of weight 0 that hold or give something not finite, replaced by a row that counts."""
    fine = [jnp.all(jnp.isfinite(a.reshape(len(a), -1)), axis=1) for a in (t, *jax.tree.leaves(y))]
    idle = (w == 0) & ~jnp.all(jnp.stack(fine), axis=0)
    return jax.tree.map(lambda v: first_where(~idle, v), y)
