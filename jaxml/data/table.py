"""A table: named columns of equal length, each a NumPy array.

A column of numbers is an integer, floating or boolean array, NaN where a value is missing. A column of text is an
object array of ``str``, None where a value is missing. A column may have more than one dimension, as images (n, 28, 28)
have; it is then one column by name and many by number.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np


class DataError(ValueError):
    """What is wrong with the data, in one line that names the column and the rows."""


@dataclass(frozen=True)
class Table:
    """Named columns of equal length.

    Attributes:
        name: where the table comes from; names a folder well.
        columns: arrays with n rows each, by name, in the order of the source.
        target: the columns that the source itself declares to be the ones to predict; () where it does not say.
        levels: for text columns whose source gives its levels an order: that order, the reference first.
        heldout: (n,) booleans, True on the rows that the source sets aside as its test set; None where it has none.

    Example:
        >>> table = Table("pets", {"age": np.array([1.0, np.nan]), "kind": np.array(["cat", "dog"], object)})
        >>> table.rows, table.take([0]).columns["kind"].tolist(), table.missing()
        (2, ['cat'], {'age': array([1])})
    """

    name: str
    columns: dict[str, np.ndarray]
    target: tuple[str, ...] = ()
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    heldout: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def column(self, name: str) -> np.ndarray:
        """One column by name; an unknown name is an error that lists what there is."""
        if name not in self.columns:
            close = difflib.get_close_matches(name, self.columns, n=3)
            hint = f"close are {listing(close)}" if close else f"it has {listing(map(repr, self.columns))}"
            raise DataError(f"no column {name!r} in {self.name}; {hint}")
        return self.columns[name]

    def select(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Some columns by name, in the order asked for."""
        return {name: self.column(name) for name in names}

    def take(self, rows: Sequence[int] | np.ndarray) -> "Table":
        """The table of the given rows (indices or booleans)."""
        index = np.asarray(rows)
        columns = {name: values[index] for name, values in self.columns.items()}
        return replace(self, columns=columns, heldout=None if self.heldout is None else self.heldout[index])

    def missing(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """The rows in which a column has no value: {column: row indices}, only columns that lack some."""
        columns = self.columns if names is None else self.select(names)
        found = {name: np.flatnonzero(is_missing(values)) for name, values in columns.items()}
        return {name: rows for name, rows in found.items() if rows.size}

    def drop_missing(self, names: Iterable[str] | None = None) -> "Table":
        """The table without the rows that lack a value in any of the named columns."""
        gone = np.concatenate([np.empty(0, int), *self.missing(names).values()])
        return self.take(np.setdiff1d(np.arange(self.rows), gone)) if gone.size else self


def is_missing(values: np.ndarray) -> np.ndarray:
    """Which rows of a column hold NaN, NaT or None anywhere: (n,) booleans."""
    if values.dtype == object:
        # None, and NaN by the one property it has: it differs from itself
        missing = np.array([v is None or v != v for v in values.ravel()], bool).reshape(values.shape)
    elif values.dtype.kind in "fc":
        missing = np.isnan(values)
    elif values.dtype.kind in "mM":
        missing = np.isnat(values)
    else:
        return np.zeros(len(values), bool)
    return np.asarray(missing.reshape(len(values), -1).any(axis=1))


def is_text(values: np.ndarray) -> bool:
    """Whether a column holds text rather than numbers."""
    return values.dtype.kind in "OUS"


def listing(names: Iterable[object], limit: int = 12) -> str:
    """``a, b, c and 4 more``: a short list for a message.

    Example:
        >>> listing([3, 8, 9], limit=2)
        '3, 8 and 1 more'
    """
    items = [str(name) for name in names]
    more = len(items) - limit
    return ", ".join(items) if more <= 0 else f"{', '.join(items[:limit])} and {more} more"


def row_names(rows: np.ndarray, limit: int = 5) -> str:
    """``row 4`` or ``12 rows (1, 4, 7 and 9 more)``, counted from 1 as a person counts the lines below a header."""
    if len(rows) == 1:
        return f"row {rows[0] + 1}"
    return f"{len(rows)} rows ({listing([int(r) + 1 for r in rows], limit)})"
