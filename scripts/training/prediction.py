"""Predict the rows of a file with a saved model."""

import argparse
import csv
import sys
from typing import Any

import numpy as np

from jaxml import glm
from jaxml.data import DataError, Table, design_matrix, number_column
from training.modelfile import Model
from training.problem import linear_offset
from training.scores import predicted_class


def predict_file(model: Model, table: Table, options: argparse.Namespace) -> None:
    """Write a line of predictions for each row of the table, to ``--output`` or to standard output."""
    columns = predictions(model, table)
    if options.output is None:
        _write(sys.stdout, columns)
        return
    with open(options.output, "w", newline="") as file:
        _write(file, columns)
    print(f"{table.rows} rows predicted, see {options.output}", file=sys.stderr)


def predictions(model: Model, table: Table) -> dict[str, np.ndarray]:
    """Named columns: the mean of each target, or the class and the probability of each class."""
    header = model.header
    design = design_matrix(
        _needed(table, [code.name for code in model.coding]),
        model.coding,
        dtype=np.float64 if header["x64"] else np.float32,
    )
    X = design.X if model.coding else np.zeros((table.rows, 0))
    offset = linear_offset(table, header["offset"], header["exposure"])
    mean = np.asarray(glm.predict(model.fit(), X, offset=offset, trials=_trials(model, table)))
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
