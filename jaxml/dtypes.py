"""The dtype in which a computation runs, and conversion to it at the door."""

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def compute_dtype(*arrays: Any) -> Any:
    """The first floating dtype among the arrays, 16-bit types counted as float32; JAX's default where none is floating."""
    for array in arrays:
        if jnp.issubdtype(array.dtype, jnp.floating):
            return jax.dtypes.canonicalize_dtype(jnp.promote_types(array.dtype, jnp.float32))
    return jnp.zeros(()).dtype


def as_array(value: Any, name: str) -> Any:
    """`value` as a numeric JAX array or a numeric NumPy array (kept on the host until its dtype is settled).

    Raises:
        TypeError: for objects, strings, dates, complex numbers and masked entries, with the remedy.
        ValueError: for ragged nested lists.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(
            f"{name} is a masked array with masked entries; drop these rows, or give them weight 0 and fill them"
        )
    if isinstance(value, jax.Array):
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise TypeError(f"{name} has dtype {value.dtype}, but must hold real numbers")
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as an array: {error}") from None
    if array.dtype.kind not in "biuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} has dtype {array.dtype}, which is not numeric. Code text columns as numbers first (categories as 0/1"
            " columns, class labels as integers 0..K-1)."
        )
    return array


def to_compute(value: Any, dtype: Any, name: str, exact: bool = False) -> jax.Array:
    """Cast to the compute dtype; warn where float64 becomes float32.

    Args:
        value: from :func:`as_array`.
        dtype: floating.
        name: of the argument, for messages.
        exact: the values are counts, which must not be rounded even where they come as floats.

    Raises:
        OverflowError: integers that the compute dtype would round in silence.
    """
    if isinstance(value, jax.Array) and value.dtype == dtype and not value.weak_type:
        return value
    if not isinstance(value, jax.core.Tracer):
        limit = 2 ** (jnp.finfo(dtype).nmant + 1)
        if value.size and value.dtype != dtype and (exact or jnp.issubdtype(value.dtype, jnp.integer)):
            largest = _largest(np.asarray(value))
            if largest > limit and np.isfinite(largest):
                raise OverflowError(
                    f"{name} holds the integer {int(largest)}, which {jnp.dtype(dtype).name} cannot hold exactly (limit {limit})."
                    + (
                        " Use float64: jax.config.update('jax_enable_x64', True)."
                        if jnp.dtype(dtype) == jnp.float32
                        else ""
                    )
                )
        if value.dtype == np.float64 and jnp.dtype(dtype) == jnp.float32 and jnp.zeros(()).dtype == jnp.float32:
            _warn_float64()
    return jnp.asarray(value, dtype)


def _largest(array: np.ndarray) -> float:
    """The largest size of a number; for integers without arrays on the way."""
    if array.dtype.kind in "iu":
        return float(max(int(array.max()), -int(array.min())))
    return float(np.nanmax(np.abs(array.astype(np.float64)), initial=0))


class PrecisionWarning(UserWarning):
    """float64 data are computed in float32."""


@functools.cache  # once per process
def _warn_float64() -> None:
    warnings.warn(
        "float64 data are computed in float32, because JAX's 64-bit mode is off. For 8 digits switch it on before any computation:"
        " jax.config.update('jax_enable_x64', True).",
        PrecisionWarning,
        stacklevel=5,
    )
