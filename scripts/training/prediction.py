"""Predict the rows of a file with a saved model."""

import csv
import sys
from typing import Any

import numpy as np

from jaxml import glm
from jaxml.data import Code, DataError, Table, design_matrix, number_column
from training.modelfile import Model
from training.problem import linear_offset
from training.scores import predicted_class


def write_predictions(columns: dict[str, np.ndarray], output: str | None) -> None:
    """Named columns as CSV, to a file or to standard output."""
    if output is None:
        _write(sys.stdout, columns)
        return
    with open(output, "w", newline="") as file:
        _write(file, columns)
    print(f"{len(next(iter(columns.values())))} rows predicted, see {output}", file=sys.stderr)


def predictions(model: Model, table: Table) -> dict[str, np.ndarray]:
    """Named columns: the mean of each target, or the class and the probability of each class."""
    header = model.header
    X = coded(table, model.coding, header["x64"])
    offset = linear_offset(table, header["offset"], header["exposure"])
    mean = np.asarray(glm.predict(model.fit(), X, offset=offset, trials=_trials(model, table)))
    return named_columns(mean, header)


def coded(table: Table, coding: tuple[Code, ...], x64: bool) -> np.ndarray:
    """X (n, d) of new rows, coded as those of the fit were."""
    dtype = np.float64 if x64 else np.float32
    needed = _needed(table, [code.name for code in coding])
    return design_matrix(needed, coding, dtype=dtype).X if coding else np.zeros((table.rows, 0), dtype)


def named_columns(mean: np.ndarray, header: dict[str, Any]) -> dict[str, np.ndarray]:
    """The class and the probability of each class, or the mean of each target."""
    return _class_columns(mean, header["classes"]) if header["classes"] else _mean_columns(mean, header)


def _trials(model: Model, table: Table) -> np.ndarray | None:
    if model.header["family"] == "multinomial":
        return np.ones(table.rows)  # new rows have no counts yet: shares are predicted
    column = model.header["trials"]
    return None if column is None else number_column(column, table.column(column))


def _needed(table: Table, names: list[str]) -> dict[str, np.ndarray]:
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise DataError(f"{table.name} lacks columns that the model was fitted on: {', '.join(map(repr, absent))}")
    return table.select(names)


def _class_columns(mean: np.ndarray, classes: list[str]) -> dict[str, np.ndarray]:
    each = mean if mean.ndim == 2 else np.stack([1 - mean, mean], axis=1)
    labels = np.array(classes)[predicted_class(mean)]
    return {"prediction": labels} | {f"p[{label}]": each[:, k] for k, label in enumerate(classes)}


def _mean_columns(mean: np.ndarray, header: dict[str, Any]) -> dict[str, np.ndarray]:
    target, what = header["target"], "share" if header["family"] == "multinomial" else "mean"
    if mean.ndim == 1:
        return {f"mean[{target[0]}]": mean}
    names = target if len(target) == mean.shape[1] else [f"{target[0]},{k}" for k in range(mean.shape[1])]
    return {f"{what}[{name}]": mean[:, k] for k, name in enumerate(names)}


def _write(file: Any, columns: dict[str, np.ndarray]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
