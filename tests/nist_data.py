"""The NIST Statistical Reference Datasets for linear regression, from the files of ``nist/``: published data and certified values."""

import re
from pathlib import Path
from typing import NamedTuple

import mpmath as mp
import numpy as np

NAMES = ("Norris", "Pontius", "NoInt1", "NoInt2", "Filip", "Longley", *(f"Wampler{k}" for k in range(1, 6)))
DIGITS = 60


class DataSet(NamedTuple):
    """As published, in exact decimals: estimates and their standard deviations by coefficient, B0 first where there is one."""

    name: str
    model: str
    observations: int
    estimates: list
    deviations: list
    residual_deviation: mp.mpf
    r_squared: mp.mpf
    y: list
    x: list  # a row for each observation

    @property
    def intercept(self) -> bool:
        return "B0" in self.model

    @property
    def degree(self) -> int:
        """Of the polynomial in x; 1 for the model of several columns."""
        return int(re.search(r"(?:\^(\d+))? \+ e$", self.model)[1] or 1)

    def floats(self) -> tuple[np.ndarray, np.ndarray]:
        """X and y in float64; powers of x are those of the float64 x, each rounded to float64."""
        x = np.array([[float(v) for v in row] for row in self.x])
        return x if x.shape[1] > 1 else x ** np.arange(1, self.degree + 1), np.array([float(v) for v in self.y])

    def exact(self) -> tuple[mp.matrix, mp.matrix]:
        """The matrix of the model, column of ones first, and y, from the decimals."""
        with mp.workdps(DIGITS):
            rows = [row if len(row) > 1 else [row[0] ** k for k in range(1, self.degree + 1)] for row in self.x]
            return mp.matrix([[mp.mpf(1)] * self.intercept + row for row in rows]), mp.matrix(self.y)


def load(name: str) -> DataSet:
    lines = (Path(__file__).parent / "nist" / f"{name.lower()}.csv").read_text().splitlines()
    head = [line[2:] for line in lines if line.startswith("# ")]
    said = dict(line.split(": ", 1) for line in head[1:])
    rows = [line.split(",") for line in lines[len(head) + 1 :]]
    with mp.workdps(DIGITS):
        certified = [value.split(", standard deviation ") for key, value in said.items() if re.fullmatch(r"B\d+", key)]
        return DataSet(
            head[0],
            said["model"],
            int(said["observations"]),
            *([mp.mpf(pair[k]) for pair in certified] for k in (0, 1)),
            mp.mpf(said["residual standard deviation"]),
            mp.mpf(said["R squared"]),
            [mp.mpf(row[0]) for row in rows],
            [[mp.mpf(v) for v in row[1:]] for row in rows],
        )


def digits(values, reference) -> float:
    """The least log relative error, -log10 |v - r| / |r|, of some numbers; where r is 0, -log10 |v|. At most 60."""
    with mp.workdps(DIGITS):
        pairs = zip(values, reference, strict=True)
        number = lambda v: v if isinstance(v, mp.mpf) else mp.mpf(float(v))
        errors = [abs(number(v) - r) / (abs(r) if r != 0 else 1) for v, r in pairs]
        return float(-mp.log10(max(*errors, mp.mpf(10) ** -DIGITS)))


def solved(A: mp.matrix, y: mp.matrix, w=None, ridge=None) -> tuple[list, list, mp.mpf]:
    """Estimates, standard deviations and the residual variance of weighted least squares with a ridge, at 60 digits."""
    with mp.workdps(DIGITS):
        weights = mp.diag(w or [1] * A.rows)
        inverse = (A.T * weights * A + mp.diag(ridge or [0] * A.cols)) ** -1
        theta = inverse * (A.T * weights * y)
        r = y - A * theta
        variance = (r.T * weights * r)[0] / (A.rows - A.cols)
        return list(theta), [mp.sqrt(variance * inverse[j, j]) for j in range(A.cols)], variance
