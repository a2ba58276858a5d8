"""A saved model: an npz file of the coefficients and a header in JSON; no pickle, so a stranger's file runs no code."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import Status, glm, links
from jaxml.data import Code, DataError, coding_from_json, coding_to_json
from jaxml.predictors import Linear
from training.problem import FAMILIES, Problem

FORMAT = "jaxml-model-1"
_NOT_SAVED = (
    "rank",
    "steps",
    "evaluations",
    "curvatures",
    "value",
    "gradient_norm",
    "decrement",
    "log_likelihood",
    "dispersion",
    "observations",
)


class Model(NamedTuple):
    """What prediction needs."""

    header: dict[str, Any]
    weight: np.ndarray
    bias: np.ndarray | None

    @property
    def coding(self) -> tuple[Code, ...]:
        """How new data are coded."""
        return coding_from_json(self.header["coding"])

    def fit(self) -> glm.Fit:
        """A fit with these coefficients, for ``glm.predict``; how it was reached is not in the file."""
        family = FAMILIES[self.header["family"]].make(self.header["outputs"], self.header["size"])
        unknown: Any = jnp.asarray(jnp.nan)
        params = Linear(jnp.asarray(self.weight), None if self.bias is None else jnp.asarray(self.bias))
        return glm.Fit(
            params=params,
            l2=jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), params),
            status=jnp.asarray(int(Status[self.header["status"]])),
            family=family,
            link=links.resolve(family, self.header["link"]),
            offset=self.header["offset"] is not None or self.header["exposure"] is not None,
            weight_kind="frequency",
            trace=None,
            **dict.fromkeys(_NOT_SAVED, unknown),
        )


def save_model(path: Path, fit: Any, problem: Problem, options: argparse.Namespace) -> None:
    """Write ``header``, ``weight`` and, with an intercept, ``bias``."""
    header = {
        "format": FORMAT,
        "status": Status(int(fit.status)).name,
        "family": problem.family_name,
        "outputs": problem.outputs,
        "size": options.size,
        "link": problem.link,
        "target": list(problem.target),
        "classes": None if problem.classes is None else list(problem.classes),
        "columns": problem.names,
        "coding": coding_to_json(problem.coding),
        "offset": options.offset,
        "exposure": options.exposure,
        "trials": options.trials,
        "x64": options.x64,
    }
    arrays: dict[str, Any] = {"weight": np.asarray(fit.params.weight)}
    if fit.params.bias is not None:
        arrays["bias"] = np.asarray(fit.params.bias)
    write_npz(path, header, arrays)


def load_model(path: str | Path) -> Model:
    """The inverse of :func:`save_model`."""
    header, arrays = read_npz(path, "train.py", FORMAT)
    return Model(header, arrays["weight"], arrays.get("bias"))


def write_npz(path: Path, header: dict[str, Any], arrays: dict[str, Any]) -> None:
    """A header and arrays, without pickle."""
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


def read_npz(path: str | Path, program: str, form: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The inverse of :func:`write_npz`; a file of another kind is refused."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            header = json.loads(str(arrays.pop("header")))
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise DataError(f"{path} is not a model that {program} saved") from None
    if not isinstance(header, dict) or header.get("format") != form:
        found = header.get("format") if isinstance(header, dict) else None
        raise DataError(f"{path} is of format {found!r}, this program reads {form}")
    return header, arrays
