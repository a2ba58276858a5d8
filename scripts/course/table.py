"""The table of rows: a number and a title, a formula, and a function that returns (closed form, computed).

A module of this package writes a function under ``@row(...)`` and it joins the table. Closed forms are float64 NumPy;
the computed side has the precision that JAX is set to, and the tolerance follows from it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

Compute = Callable[[], tuple[Any, Any]]


class Row(NamedTuple):
    """One statement of the notes; ``ulps`` is the tolerance in units of the rounding of the computed side."""

    number: str
    title: str
    formula: str
    compute: Compute
    ulps: float


class Outcome(NamedTuple):
    """Both sides as flat arrays, their largest difference (relative where entries exceed 1) and what is allowed."""

    closed: np.ndarray
    computed: np.ndarray
    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """False also where the difference is NaN."""
        return self.difference <= self.tolerance


ROWS: list[Row] = []


def row(number: str, title: str, formula: str, *, ulps: float = 64) -> Callable[[Compute], Compute]:
    """Decorator: put a function into the table."""

    def add(compute: Compute) -> Compute:
        ROWS.append(Row(number, title, formula, compute, ulps))
        return compute

    return add


def check(row: Row) -> Outcome:
    """Compute both sides of a row and compare them."""
    closed, computed = row.compute()
    dtype = np.result_type(np.float32, *(np.asarray(leaf).dtype for leaf in jax.tree.leaves(computed)))
    closed, computed = _flat(closed), _flat(computed)
    tolerance = row.ulps * float(np.finfo(jax.dtypes.canonicalize_dtype(dtype)).eps)
    if closed.shape != computed.shape:
        return Outcome(closed, computed, float("nan"), tolerance)
    difference = np.max(np.abs(closed - computed) / np.maximum(1, np.abs(closed)))
    return Outcome(closed, computed, float(difference), tolerance)


def select(numbers: Sequence[str], rows: Sequence[Row] = ROWS) -> list[Row]:
    """The rows of these numbers, "5.2" for one and "5" for a section; all where none is given.

    Raises:
        ValueError: for a number that is not in the table.
    """
    wanted = [number.rstrip(".") for number in numbers]
    for number in wanted:
        if not any(_within(row, number) for row in rows):
            raise ValueError(f"no row {number!r}; the table has {', '.join(sorted({row.number for row in rows}))}")
    chosen = [row for row in rows if not wanted or any(_within(row, number) for number in wanted)]
    return sorted(chosen, key=lambda row: row.number)


def _within(row: Row, number: str) -> bool:
    return row.number == number or row.number.startswith(number + ".")


def _flat(value: Any) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(value)])
