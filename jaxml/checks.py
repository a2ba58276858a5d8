"""What is refused before a fit starts: a message names the argument, the value, the place and the remedy.

Shapes and dtypes are checked anywhere, values only where they can be read (not inside jit, where the status says it).
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxml.dtypes import as_array, compute_dtype, to_compute
from jaxml.families.base import Family
from jaxml.rows import Rows

WEIGHT_KINDS = ("frequency", "precision", "sampling")
CHECKS = ("support", "hull", False)


def read_rows(family: Family, X: Any, y: Any, weights: Any, offset: Any) -> Rows:
    """The arguments as arrays of one compute dtype and matching shapes; class labels stay integers.

    Raises:
        TypeError: not numeric.
        ValueError: empty, or shapes that do not match; nothing is broadcast.
        OverflowError: integers that the compute dtype cannot hold.
    """
    X = as_array(X, "X")
    if X.ndim != 2:
        raise ValueError(
            f"X must have shape (n, d), got {X.shape}" + ("; use X[:, None] for one column" if X.ndim == 1 else "")
        )
    n = X.shape[0]
    if n == 0:
        raise ValueError(f"X has no rows (shape {X.shape})")
    if weights is not None:
        weights = _shaped(as_array(weights, "weights"), "weights", ((n,),))
    y = _read_y(family, y, n, weights)
    dtype = compute_dtype(X, *(y if isinstance(y, tuple) else (y,)))
    k = family.natural_size
    shapes = ((n,),) if k is None else ((n,), (n, k))
    if offset is not None:
        offset = _shaped(as_array(offset, "offset"), "offset", shapes[-1:])
    cast = lambda a, name: None if a is None else to_compute(a, dtype, name, exact=name == "y" and family.counts)
    if family.labels:
        y = jnp.asarray(y, jnp.int32)
    else:
        y = tuple(cast(a, "y") for a in y) if isinstance(y, tuple) else cast(y, "y")
    return Rows(cast(X, "X"), y, cast(weights, "weights"), cast(offset, "offset"))


def _read_y(family: Family, y: Any, n: int, weights: Any) -> Any:
    name = type(family).__name__
    if family.has_trials and family.natural_size is None:
        if not isinstance(y, tuple | list) or len(y) != 2:
            raise ValueError(f"y of {name} must be the pair (successes, trials), each of shape ({n},)")
        parts = (_shaped(as_array(a, f"y[{i}]"), f"y[{i}]", ((n,),)) for i, a in enumerate(y))
        return tuple(_without_idle_rows(a, weights) for a in parts)
    y = as_array(y, "y")
    if family.observation_ndim == 0:
        hint = "; pass class labels 0..K-1, not one-hot rows" if family.labels and y.ndim == 2 else ""
        y = _shaped(y, "y", ((n,),), hint)
    elif y.ndim != 2 or y.shape[0] != n:
        raise ValueError(f"y has shape {y.shape}, but {name} with X of {n} rows needs ({n}, k)")
    elif jax.eval_shape(family.statistic, jax.ShapeDtypeStruct(y.shape, jnp.float32)).shape[1] != family.natural_size:
        raise ValueError(f"y has shape {y.shape}, whose {y.shape[1]} columns do not fit {family}")
    y = _without_idle_rows(y, weights)
    if family.labels and not (
        y.dtype.kind in "biu" if isinstance(y, np.ndarray) else not jnp.issubdtype(y.dtype, jnp.floating)
    ):
        if isinstance(y, jax.core.Tracer):
            raise TypeError(f"y of {name} must hold integer labels, got {y.dtype}")
        bad = np.flatnonzero(np.asarray(y) != np.round(np.asarray(y)))
        if bad.size:
            raise ValueError(
                f"y[{bad[0]}] = {np.asarray(y)[bad[0]]} is not a class label; {name} takes integers 0..K-1"
            )
    if family.labels and isinstance(y, np.ndarray) and y.dtype.itemsize > 4:
        bad = np.flatnonzero((y < -(2**31)) | (y >= 2**31))  # a cast to 32 bits would wrap them round
        if bad.size:
            raise ValueError(
                f"y[{bad[0]}] = {y[bad[0]]} is not a class label; labels run from 0 to {family.natural_size - 1}"
            )
    return y


def _without_idle_rows(y: Any, weights: Any) -> Any:
    """On the host, rows of weight 0 replaced by one that counts: what they hold must not be refused, nor overflow a cast."""
    if any(isinstance(a, jax.core.Tracer) for a in (y, weights)) or weights is None or not isinstance(y, np.ndarray):
        return y
    idle = np.asarray(weights) == 0
    if not idle.any() or idle.all():
        return y
    return np.where(idle.reshape((-1,) + (1,) * (y.ndim - 1)), y[np.argmin(idle)], y)


def _shaped(array: Any, name: str, shapes: tuple[tuple[int, ...], ...], hint: str = "") -> Any:
    if array.shape not in shapes:
        raise ValueError(
            f"{name} has shape {array.shape}, expected {' or '.join(str(s) for s in shapes)} to match X{hint}"
        )
    return array


def read_positive(name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """A number, or an array of the shape, positive and finite as far as it can be read, in the dtype of the computation.

    Raises:
        ValueError: of another shape, or not positive and finite.
    """
    array = jnp.asarray(value, dtype)
    if array.shape not in ((), shape):
        raise ValueError(f"{name} has shape {array.shape}, expected {shape or 'one number'}")
    if not isinstance(array, jax.core.Tracer) and not bool(jnp.all((array > 0) & jnp.isfinite(array))):
        raise ValueError(f"{name} must be positive and finite, got {value}")
    return jnp.broadcast_to(array, shape)


def check_options(weight_kind: str, check: Any) -> None:
    """Refuse unknown names of options."""
    if weight_kind not in WEIGHT_KINDS:
        raise ValueError(f"weight_kind={weight_kind!r} is not known; use one of {WEIGHT_KINDS}")
    if check not in CHECKS:
        raise ValueError(f"check={check!r} is not known; use one of {CHECKS}")


def check_family(family: Any) -> None:
    """Refuse what is no family, and a family that is no law."""
    if not isinstance(family, Family):
        name = family.__name__ if isinstance(family, type) else "Bernoulli"
        raise TypeError(f"family must be a family of jaxml.families, as families.{name}(), got {family!r}")
    if family.redundant and family.natural_size < 2:
        raise ValueError(f"{family} has fewer than two classes: there is nothing to tell apart")
    fields = jax.tree.leaves(family)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in fields):
        return
    if not (_valid(family) if fields else _valid_by_structure(family)):
        raise ValueError(f"{family} is no law: {family.parameters_rule}")


def _valid(family: Family) -> bool:
    with jax.ensure_compile_time_eval():
        return bool(np.all(jax.tree.map(np.asarray, family).parameters_valid()))


# (those without arrays, most of them, need asking once, which takes as long as a small fit)
_valid_by_structure = lru_cache(maxsize=1024)(_valid)


def check_values(family: Family, rows: Rows, check: str) -> None:
    """Find the first bad value on the host and name it; called only when the fused check has seen one.

    Raises:
        ValueError: always, if there is anything wrong.
    """
    X, y, weights, offset = jax.tree.map(np.asarray, rows)
    if weights is not None:
        for bad, why in (
            (~np.isfinite(weights), "is not finite"),
            (weights < 0, "is negative; a weight counts copies of its row"),
        ):
            if bad.any():
                i = int(np.argmax(bad))
                raise ValueError(f"weights[{i}] = {weights[i]} {why}")
        if not (weights > 0).any():
            raise ValueError("weights are all zero: no row is left to fit")
    on = np.ones(len(X), bool) if weights is None else weights > 0
    for name, a in (("X", X), ("offset", offset)):
        if a is not None and not np.isfinite(a[on]).all():
            place = tuple(int(j) for j in np.argwhere(~np.isfinite(a) & on.reshape((-1,) + (1,) * (a.ndim - 1)))[0])
            kind = "missing (NaN)" if np.isnan(a[place]) else "infinite"
            raise ValueError(
                f"{name}[{', '.join(map(str, place))}] is {kind}; drop or fill such rows, or give them weight 0"
            )
    mass = np.ones(len(X), X.dtype) if weights is None else weights
    with np.errstate(over="ignore"):
        squares = np.where(on[:, None], mass[:, None] * np.square(X), 0)
    if not np.isfinite(squares.sum(axis=0)).all():
        worst = np.unravel_index(np.argmax(np.where(on[:, None], np.abs(X), 0)), X.shape)
        raise ValueError(
            f"X[{worst[0]}, {worst[1]}] = {X[worst]:.6g} is too large: its square, times the weight, overflows {X.dtype}; divide the"
            " column by a constant"
        )
    if family.has_trials and not np.any(np.asarray(family.trials(jax.tree.map(jnp.asarray, y)))[on] > 0):
        raise ValueError("y has no trials in any row that counts: nothing is left to fit")
    inside = np.asarray(_support(family, check)(jax.tree.map(jnp.asarray, y)))
    if not inside[on].all():
        i = int(np.argmax(~inside & on))
        value = "(" + ", ".join(str(a[i]) for a in y) + ")" if isinstance(y, tuple) else str(y[i])
        missing = any(np.isnan(a[i]).any() for a in jax.tree.leaves(y) if a.dtype.kind == "f")
        where = "the support" if check == "support" else "the convex hull of the support"
        why = (
            "is missing (NaN); drop such rows, or give them weight 0" if missing else f"is outside {where} of {family}"
        )
        remedy = ""
        if (
            not missing
            and check == "support"
            and bool(np.asarray(family.hull(jax.tree.map(lambda a: jnp.asarray(a[i]), y))))
        ):
            remedy = "; for a quasi-likelihood fit of such values use check='hull'"
        if family.labels and not missing:
            remedy = f"; labels run from 0 to {family.natural_size - 1}"
        raise ValueError(f"y[{i}] = {value} {why}{remedy}")


def refuse_bad_values(family: Family, rows: Rows, check: str = "support") -> None:
    """Name the first bad value, if there is one and if the values can be read: not inside jit.

    Raises:
        ValueError: as :func:`check_values`.
    """
    fine = _all_fine(family, rows, check)
    if not isinstance(fine, jax.core.Tracer) and not bool(fine):
        check_values(family, rows, check)


def count_classes(y: Any, classes: int | None) -> int:
    """The number of classes: as given, or the largest label + 1.

    Raises:
        ValueError: fewer than two, or not given where the labels cannot be read.
    """
    if classes is None:
        if isinstance(y, jax.core.Tracer):
            raise ValueError("inside jit the number of classes must be given: classes=K")
        labels = as_array(y, "y")
        if labels.size and not labels.any():
            raise ValueError(
                "y holds one class only, 0: there is nothing to tell apart; give classes=K if there are more"
            )
        classes = max(2, int(labels.max(initial=1)) + 1)
    if classes < 2:
        raise ValueError(f"classes={classes}, but there must be at least two: labels run from 0 to K-1")
    return classes


@partial(jax.jit, static_argnames="check")
def _all_fine(family: Family, rows: Rows, check: str) -> Array:
    finite = jnp.all(jnp.isfinite(rows.X), axis=tuple(range(1, rows.X.ndim)))
    return verdict(family, rows, check) & jnp.all(finite | ~rows.on)


def _support(family: Family, check: str) -> Any:
    return family.support if check == "support" else family.hull


def verdict(family: Family, rows: Rows, check: str) -> Array:
    """Whether weights, y and offset are fine in every row that counts (X is judged by its column sums, see the survey)."""
    inside = _support(family, check)(rows.y)
    for leaf in (rows.offset, *jax.tree.leaves(rows.y)):
        if leaf is not None and jnp.issubdtype(leaf.dtype, jnp.floating):
            inside &= jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim)))
    tried = family.trials(rows.y) > 0 if family.has_trials else jnp.ones_like(inside)
    if rows.weights is None:
        return jnp.all(inside) & jnp.any(tried)
    w = rows.weights
    return jnp.all(inside | (w == 0)) & jnp.all(jnp.isfinite(w) & (w >= 0)) & jnp.any((w > 0) & tried)
