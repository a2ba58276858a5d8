"""From named columns to a design matrix, and the same again for new data.

Numbers stay as they are. Text becomes one column of 0 and 1 for each level but the first, the reference, named
``sex[female]``; without an intercept the first text column keeps all its levels, so that the span is the same, as in R.
The coding is a value, learned from the training data, that codes new data alike and refuses levels it has not seen.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from jaxml.data.table import DataError, is_missing, is_text, listing, row_names

_MOST_BYTES = 1 << 34
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


@dataclass(frozen=True)
class Code:
    """How one column is coded.

    Attributes:
        name: of the column.
        levels: of a text column, None for numbers; the first is the reference.
        full: whether the reference has a column of its own.
        shape: of one row; () unless the column is an array such as an image.
    """

    name: str
    levels: tuple[str, ...] | None = None
    full: bool = False
    shape: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of its columns in the design matrix."""
        if self.levels is not None:
            return [f"{self.name}[{level}]" for level in self.levels[0 if self.full else 1 :]]
        if not self.shape:
            return [self.name]
        return [f"{self.name}[{','.join(map(str, index))}]" for index in np.ndindex(self.shape)]

    @property
    def width(self) -> int:
        """The number of its columns in the design matrix."""
        return math.prod(self.shape) if self.levels is None else len(self.levels) - (not self.full)


class Design(NamedTuple):
    """A design matrix X (n, d), the names of its d columns, and the coding that made it."""

    X: np.ndarray
    names: list[str]
    coding: tuple[Code, ...]


def design_matrix(
    columns: Mapping[str, np.ndarray],
    coding: tuple[Code, ...] | None = None,
    *,
    categorical: Collection[str] = (),
    levels: Mapping[str, tuple[str, ...]] | None = None,
    intercept: bool = True,
    dtype: DTypeLike = np.float64,
) -> Design:
    """Code columns as a matrix of numbers.

    Args:
        columns: arrays with n rows each, by name.
        coding: the coding of an earlier call, for new data; None learns one from these columns.
        categorical: columns of numbers to treat as levels, and text columns with unusually many levels.
        levels: the order of the levels where it is not alphabetical; the first is the reference.
        intercept: whether the model has one; without, the first text column keeps its reference level.
        dtype: of X.

    Raises:
        DataError: when a value is missing or infinite, a level is new to ``coding``, or text looks like bad numbers.

    Example:
        >>> pets = {"age": np.array([1, 3, 2]), "kind": np.array(["cat", "dog", "cat"], object)}
        >>> design = design_matrix(pets)
        >>> design.names, design.X[1].tolist()
        (['age', 'kind[dog]'], [3.0, 1.0])
        >>> design_matrix({"age": np.array([7]), "kind": np.array(["emu"], object)}, design.coding)
        Traceback (most recent call last):
        jaxml.data.table.DataError: column 'kind' holds a level new to the fit: 'emu' (row 1); it knows cat, dog
    """
    if coding is None:
        coding = learn_coding(columns, categorical=categorical, levels=levels, intercept=intercept)
    names = [name for code in coding for name in code.names]
    rows = len(next(iter(columns.values()))) if columns else 0
    size = rows * len(names) * np.dtype(dtype).itemsize
    if size > _MOST_BYTES:
        widest = max(coding, key=lambda code: code.width)
        raise DataError(
            f"the design matrix of {rows} rows and {len(names)} columns would take {size / 2**30:.0f} GiB; column {widest.name!r}"
            f" alone makes {widest.width} columns"
        )
    X = np.empty((rows, len(names)), dtype)
    start = 0
    for code in coding:
        if code.name not in columns:
            raise DataError(f"column {code.name!r} is wanted but not there; there is {listing(columns) or 'none'}")
        _fill(X[:, start : start + code.width], code, columns[code.name])
        start += code.width
    return Design(X, names, coding)


def learn_coding(
    columns: Mapping[str, np.ndarray],
    *,
    categorical: Collection[str] = (),
    levels: Mapping[str, tuple[str, ...]] | None = None,
    intercept: bool = True,
) -> tuple[Code, ...]:
    """How to code these columns: one :class:`Code` each, in their order. Arguments as for :func:`design_matrix`."""
    coding: list[Code] = []
    full = not intercept
    for name, values in columns.items():
        refuse_missing(name, values)
        if is_text(values) or name in categorical:
            order = (levels or {}).get(name) or _learn_levels(name, values, name in categorical)
            coding.append(Code(name, order, full))
            full = False
        else:
            coding.append(Code(name, shape=values.shape[1:]))
    return tuple(coding)


def coding_to_json(coding: tuple[Code, ...]) -> list[dict[str, Any]]:
    """The coding as lists and dictionaries that JSON can hold."""
    return [asdict(code) for code in coding]


def coding_from_json(data: list[dict[str, Any]]) -> tuple[Code, ...]:
    """The inverse of :func:`coding_to_json`."""
    levels = [None if code["levels"] is None else tuple(code["levels"]) for code in data]
    return tuple(Code(c["name"], level, c["full"], tuple(c["shape"])) for c, level in zip(data, levels, strict=True))


def text_of(values: np.ndarray) -> np.ndarray:
    """A column as text: (n,) strings; whole numbers without a decimal point.

    Example:
        >>> text_of(np.array([1.0, 2.5])).tolist()
        ['1', '2.5']
    """
    if values.dtype.kind == "f":
        return np.array([f"{value:.17g}" if value % 1 else f"{value:.0f}" for value in values], str)
    return values.astype(str)


def number_column(name: str, values: np.ndarray) -> np.ndarray:
    """The column as floating-point numbers; text, dates and missing values are errors."""
    refuse_missing(name, values)
    if is_text(values):
        row = _first_text(values)
        if row is not None:
            raise DataError(
                f"column {name!r} holds text where numbers are wanted: {values[row]!r} in row {row + 1}{_remedy(values[row])}"
            )
        values = values.astype(np.float64)  # levels that are numbers
    if values.dtype.kind not in "iufb":
        raise DataError(f"column {name!r} holds {values.dtype} values; turn them into numbers first")
    infinite = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if infinite.size:
        raise DataError(f"column {name!r} is infinite in {row_names(infinite)}")
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def refuse_missing(name: str, values: np.ndarray) -> None:
    """An error that names the rows where a column has no value."""
    missing = np.flatnonzero(is_missing(values))
    if missing.size:
        raise DataError(f"column {name!r} has no value in {row_names(missing)}")


def refuse_mixed(name: str, values: np.ndarray) -> None:
    """An error where most values of a column of text look like numbers."""
    found = np.unique(text_of(values))
    row = _first_text(values)
    if row is not None and sum(not _looks_like_number(level) for level in found) < len(found) / 2:
        raise DataError(
            f"column {name!r} mixes numbers and text: {values[row]!r} in row {row + 1}{_remedy(values[row])}"
        )


# -- helpers ---------------------------------------------------------------------------------------------------------
def _fill(out: np.ndarray, code: Code, values: np.ndarray) -> None:
    if code.levels is not None:
        refuse_missing(code.name, values)
        index = level_index(code.name, values, code.levels)
        out[...] = index[:, None] == np.arange(0 if code.full else 1, len(code.levels))
        return
    if values.shape[1:] != code.shape:
        raise DataError(f"column {code.name!r} has rows of shape {values.shape[1:]}, the fit knows {code.shape}")
    out[...] = number_column(code.name, values).reshape(len(values), -1)


def level_index(name: str, values: np.ndarray, levels: tuple[str, ...]) -> np.ndarray:
    """The position of each value in ``levels``: (n,) integers."""
    found, inverse = np.unique(text_of(values), return_inverse=True)
    position = {level: i for i, level in enumerate(levels)}
    unseen = [i for i, level in enumerate(found) if level not in position]
    if unseen:
        rows = np.flatnonzero(np.isin(inverse, unseen))
        raise DataError(
            f"column {name!r} holds a level new to the fit: {listing(repr(str(found[i])) for i in unseen)}"
            f" ({row_names(rows)}); it knows {listing(levels)}"
        )
    return np.array([position[level] for level in found], int)[inverse]


def _learn_levels(name: str, values: np.ndarray, on_purpose: bool) -> tuple[str, ...]:
    """The sorted levels of a column. Text that looks like numbers gone wrong, or like names of rows, is refused unless
    the column was said to be categorical."""
    if values.ndim > 1:
        raise DataError(f"column {name!r} has rows of shape {values.shape[1:]}; levels need one value a row")
    found = np.unique(text_of(values))
    if not on_purpose:
        refuse_mixed(name, values)
        if len(found) > max(20, len(values) / 4):
            raise DataError(f"column {name!r} holds {len(found)} texts in {len(values)} rows: too many for levels")
    return tuple(sorted((str(level) for level in found), key=_sort_key))


def _sort_key(level: str) -> tuple[bool, float, str]:
    """Numbers by size, then text by the alphabet."""
    return (False, float(level), level) if _is_number(level) else (True, 0.0, level)


def _first_text(values: np.ndarray) -> int | None:
    """The row that keeps a column from being numbers; decimal commas only where there is nothing worse."""
    for fine in (_looks_like_number, _is_number):
        row = next((i for i, value in enumerate(values) if not fine(value)), None)
        if row is not None:
            return row
    return None


def _looks_like_number(text: str) -> bool:
    return _is_number(text) or _DECIMAL_COMMA.fullmatch(text) is not None


def _remedy(text: str) -> str:
    """How such text in a column of numbers comes to be read as a number or as a gap."""
    if _DECIMAL_COMMA.fullmatch(text):
        return "; for decimal commas: decimal=','"
    return f"; if that stands for no value: missing={text!r}" if len(text) < 9 else ""


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True
