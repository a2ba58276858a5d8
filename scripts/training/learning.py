"""Fit a model of the table in ``models.py``, judge it, save it and load it again."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import Status, families, kernels
from jaxml.data import Code, DataError, coding_from_json, coding_to_json
from jaxml.rows import Rows
from training.fitting import WORTH_REPEATING, column_scales, plain_errors, progress, timed
from training.modelfile import read_npz, write_npz
from training.models import MODELS, Settings
from training.problem import FAMILIES, Problem
from training.scores import Evaluation, evaluate_natural

FORMAT = "jaxml-learned-1"


class Learned(NamedTuple):
    """A fit with all that prediction needs: its model and settings, the family of y, and the scale of the columns."""

    name: str
    settings: Settings
    family: Any
    fit: Any
    center: np.ndarray
    spread: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether there is a model at all."""
        return not np.any(np.asarray(self.fit.status) == Status.NON_FINITE)

    def mean(self, X: Any) -> np.ndarray:
        """E[y] of new rows; of classes their probabilities, or 1 for the class of a model that knows no probabilities."""
        eta = self.natural(X)
        if eta is None:
            return np.eye(self.settings["classes"])[np.asarray(kernels.classify(self.fit, self._scaled(X)))]
        return np.asarray(families.expected_value(self.family, eta))

    def natural(self, X: Any) -> Any:
        """The natural parameter of new rows, None from a model that has none."""
        natural = MODELS[self.name].natural
        return None if natural is None else natural(self.settings, self.family, self.fit, jnp.asarray(self._scaled(X)))

    def evaluate(self, rows: Rows) -> Evaluation:
        """Compare predictions with what was observed."""
        eta = self.natural(rows.X)
        if eta is None:
            return Evaluation(np.asarray(rows.y), self.mean(rows.X), rows.weights, None, None)
        return evaluate_natural(self.family, eta, rows)

    def _scaled(self, X: Any) -> np.ndarray:
        return (np.asarray(X) - self.center) / self.spread


def learn(name: str, problem: Problem, options: argparse.Namespace) -> tuple[Learned, dict[str, float]]:
    """Fit the model to the rows of the problem; also the seconds of the first fit and of a second one."""
    model, rows = MODELS[name], problem.train
    if model.scaled and options.standardize:
        center, spread = column_scales(np.asarray(rows.X), rows.weights, True)
    else:
        center, spread = np.zeros(rows.X.shape[1], rows.X.dtype), np.ones(rows.X.shape[1], rows.X.dtype)
    settings = model.settle(problem, options)
    scaled = rows._replace(X=(rows.X - center) / spread)
    with plain_errors(), progress(f"fitting ({name})", options.progress, None):
        run = lambda: model.fit(settings, problem.family, jax.tree.map(jnp.asarray, scaled))
        fit, first = timed(run)
        second = timed(run)[1] if first < WORTH_REPEATING else None
    times = {"first fit, with compilation": first} | ({} if second is None else {"second fit": second})
    return Learned(name, settings, problem.family, fit, center, spread), times


# -- files -----------------------------------------------------------------------------------------------------------
def save(path: Path, learned: Learned, problem: Problem, options: argparse.Namespace) -> None:
    """The arrays of the fit in their order, and a header from which their structure follows."""
    rows = problem.train
    header = {
        "format": FORMAT,
        "model": learned.name,
        "settings": learned.settings,
        "family": problem.family_name,
        "outputs": problem.outputs,
        "rows": rows.n,
        "weighted": rows.weights is not None,
        "target": list(problem.target),
        "classes": None if problem.classes is None else list(problem.classes),
        "columns": problem.names,
        "coding": coding_to_json(problem.coding),
        "x64": options.x64,
    }
    leaves = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(learned.fit))}
    write_npz(path, header, {"center": learned.center, "spread": learned.spread} | leaves)


def load(path: str | Path) -> tuple[dict[str, Any], Learned, tuple[Code, ...]]:
    """The header, the model and the coding of its columns; to be called in the precision of the model."""
    header, arrays = read_npz(path, "learn.py", FORMAT)
    with jax.enable_x64(header["x64"]):
        family = FAMILIES[header["family"]].make(header["outputs"], None)
        structure = jax.eval_shape(partial(MODELS[header["model"]].fit, header["settings"], family), _sizes(header))
        shapes, treedef = jax.tree.flatten(structure)
        leaves = [arrays.get(f"leaf{i}") for i in range(len(shapes))]
        if not _same_shapes(leaves, shapes):
            raise DataError(f"{path} was saved by another version of learn.py: fit it again")
        fit = jax.tree.unflatten(treedef, [jnp.asarray(leaf) for leaf in leaves])
    learned = Learned(header["model"], header["settings"], family, fit, arrays["center"], arrays["spread"])
    return header, learned, coding_from_json(header["coding"])


def _sizes(header: dict[str, Any]) -> Rows:
    """Rows of the shapes that the model was fitted to."""
    dtype = np.float64 if header["x64"] else np.float32
    n, labels = header["rows"], header["classes"] is not None
    of: Any = lambda shape, dtype=dtype: jax.ShapeDtypeStruct(shape, dtype)
    y = of((n,), np.int32) if labels else of((n,))
    return Rows(of((n, len(header["columns"]))), y, of((n,)) if header["weighted"] else None, None)


def _same_shapes(leaves: Sequence[Any], shapes: Sequence[Any]) -> bool:
    return all(a is not None and a.shape == b.shape for a, b in zip(leaves, shapes, strict=True))
