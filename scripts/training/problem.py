"""From a table and options to a family and arrays: which law, what is y, which rows train and which test."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxml import families, links
from jaxml.data import Code, DataError, Table, design_matrix, level_index, number_column, text_of
from jaxml.data.coding import refuse_missing, refuse_mixed
from jaxml.data.table import is_text, listing, row_names
from jaxml.rows import Rows


class Kind(NamedTuple):
    """A family by name: how to make it from the number of outputs and the size, and what its y looks like."""

    make: Callable[[int, float | None], Any]
    target: str  # 'binary', 'classes', 'number', 'vector' or 'trials'
    parameters: tuple[str, ...] = ()  # what the linear predictor is where it is a vector and the link 'unconstrained'


FAMILIES = {
    "bernoulli": Kind(lambda k, r: families.Bernoulli(), "binary"),
    "binomial": Kind(lambda k, r: families.Binomial(), "trials"),
    "categorical": Kind(lambda k, r: families.Categorical(k), "classes"),
    "multinomial": Kind(lambda k, r: families.Multinomial(k), "vector"),
    "poisson": Kind(lambda k, r: families.Poisson(), "number"),
    "geometric": Kind(lambda k, r: families.Geometric(), "number"),
    "negative-binomial": Kind(lambda k, r: families.NegativeBinomial(r), "number"),
    "normal": Kind(lambda k, r: families.Normal(), "number"),
    "normal-mean-variance": Kind(lambda k, r: families.NormalMeanVariance(), "number", ("mean", "log variance")),
    "multivariate-normal": Kind(lambda k, r: families.MultivariateNormal(k), "vector"),
    "exponential": Kind(lambda k, r: families.Exponential(), "number"),
    "gamma": Kind(lambda k, r: families.Gamma(), "number"),
    "gamma-shape-rate": Kind(lambda k, r: families.GammaShapeRate(), "number", ("log mean", "log shape")),
    "inverse-gaussian": Kind(lambda k, r: families.InverseGaussian(), "number"),
    "inverse-gaussian-mean-shape": Kind(
        lambda k, r: families.InverseGaussianMeanShape(), "number", ("log mean", "log shape")
    ),
    "beta": Kind(lambda k, r: families.Beta(), "number", ("logit mean", "log (a + b)")),
    "dirichlet": Kind(lambda k, r: families.Dirichlet(k), "vector"),
}


@dataclass(frozen=True)
class Problem:
    """A family and the rows to fit and to test it on.

    Attributes:
        family_name: a key of FAMILIES; ``why`` says how it was chosen.
        names: of the columns of X; ``coding`` codes new data alike.
        classes: the labels of the classes 0..K-1; None where y is not a class.
        outputs: the number of classes or dimensions of y.
        predictors: names of the entries of the linear predictor; [""] where it is a number.
    """

    family: Any
    family_name: str
    why: str
    link: str
    target: tuple[str, ...]
    names: list[str]
    coding: tuple[Code, ...]
    classes: tuple[str, ...] | None
    outputs: int
    predictors: list[str]
    train: Rows
    test: Rows
    dropped: int

    @property
    def sets(self) -> dict[str, Rows]:
        """The rows to judge by, those held out first where there are any."""
        return {"test": self.test, "train": self.train} if self.test.n else {"train": self.train}


def make_problem(table: Table, options: argparse.Namespace) -> Problem:
    """Choose the family, code y and X, and split the rows."""
    target = _target(table, options)
    features = _features(table, target, options)
    used = [*target, *features, *_special(options)]
    complete = _without_missing(table, used, options.drop_missing)
    name, why = _family_name(complete, target, options)
    y, classes, outputs = _outcome(complete, target, FAMILIES[name].target, name, options)
    family, link = _family_and_link(name, outputs, options)
    _check_support(family, name, y, target)
    design = design_matrix(
        complete.select(features),
        categorical=options.categorical,
        levels=table.levels,
        intercept=options.intercept,
        dtype=np.float64 if options.x64 else np.float32,
    )
    X: Any = design.X
    rows = Rows(X, y, _weights(complete, options), linear_offset(complete, options.offset, options.exposure))
    if not options.x64:  # asked for: nothing to warn of
        rows = jax.tree.map(lambda a: a.astype(np.float32) if a.dtype == np.float64 else a, rows)
    parts = _split(rows, complete.heldout, y if classes else None, options)
    if not parts[0].n:
        raise DataError(f"no row is left to fit: all {complete.rows} are held out or have no weight")
    dropped = table.rows - complete.rows
    predictors = _predictors(name, link, classes or target, family.natural_size)
    return Problem(
        family, name, why, link, target, design.names, design.coding, classes, outputs, predictors, *parts, dropped
    )


def linear_offset(table: Table, offset: str | None, exposure: str | None) -> Any:
    """What is added to the linear predictor: a column, the logarithm of a column, or both."""
    parts = [] if offset is None else [_numbers(table, offset)]
    if exposure is not None:
        values = _numbers(table, exposure)
        _refuse(values <= 0, f"column {exposure!r} is not positive, as an exposure must be, in")
        parts.append(np.log(values))
    return sum(parts[1:], parts[0]) if parts else None


# -- which columns and rows ------------------------------------------------------------------------------------------
def _target(table: Table, options: argparse.Namespace) -> tuple[str, ...]:
    target = tuple(options.target or table.target)
    if not target:
        raise DataError(f"which column is to be predicted? Give --target, one of {listing(table.columns, 30)}")
    for name in target:
        table.column(name)
    return target


def _special(options: argparse.Namespace) -> list[str]:
    return [c for c in (options.weights, options.offset, options.exposure, options.trials) if c is not None]


def _features(table: Table, target: tuple[str, ...], options: argparse.Namespace) -> list[str]:
    for name in [*options.drop, *options.categorical]:
        table.column(name)
    taken = {*target, *_special(options), *options.drop}
    if options.features:
        unused = [name for name in options.categorical if name not in options.features]
        if unused:
            raise DataError(f"column {unused[0]!r} of --categorical is not among the --features")
        both = [name for name in options.features if name in target]
        if both:
            raise DataError(f"column {both[0]!r} is both a target and a feature")
        return list(table.select(options.features))
    features = [name for name in table.columns if name not in taken and name not in table.target]
    if not features:
        raise DataError(f"no column is left to predict {listing(target)} from")
    return features


def _without_missing(table: Table, used: list[str], drop: bool) -> Table:
    missing = table.missing(used)
    if missing and not drop:
        each = "; ".join(f"{name!r} in {row_names(rows)}" for name, rows in list(missing.items())[:3])
        more = f"; and {len(missing) - 3} more columns" if len(missing) > 3 else ""
        raise DataError(f"values are missing: {each}{more}. --drop-missing leaves such rows out")
    complete = table.drop_missing(used)
    if not complete.rows:
        raise DataError("no row is left: each lacks a value in some column in use")
    return complete


def _split(
    rows: Rows, heldout: np.ndarray | None, classes: np.ndarray | None, options: argparse.Namespace
) -> tuple[Rows, Rows]:
    """Rows to fit and to test: the source's own split, else a random one, within each class where y is a class.

    Where the weights are counts, it is their units that are split: a row may be on both sides, its weight divided.
    """
    if heldout is not None:
        if options.test_fraction is not None:
            raise DataError("--test-fraction has no use here: the data have a test set of their own")
        return rows.take(~heldout), rows.take(heldout)
    weights: Any = rows.weights
    rng = np.random.default_rng(options.seed)
    counts = weights is not None and bool(np.all(weights % 1 == 0))
    units = np.asarray(weights if counts else np.ones(rows.n)).astype(np.int64)
    held = np.zeros_like(units)
    for k in [None] if classes is None else np.unique(classes):
        group = np.flatnonzero(np.ones(rows.n) if k is None else classes == k)
        held[group] = _hold_out(rng, units[group], 0.2 if options.test_fraction is None else options.test_fraction)
    if counts:
        divided: list[Any] = [part.astype(weights.dtype) for part in (units - held, held)]
        fit, test = (rows._replace(weights=part).take(part > 0) for part in divided)
        return fit, test
    return rows.take(held == 0), rows.take(held > 0)


def _hold_out(rng: np.random.Generator, units: np.ndarray, fraction: float) -> np.ndarray:
    """How many of the units of each row are held out: a sample without replacement, beyond its method's limit of 1e9
    units one decision for each unit."""
    if units.sum() >= 10**9:
        return rng.binomial(units, fraction)
    return rng.multivariate_hypergeometric(units, round(fraction * units.sum()), method="marginals")


# -- which family, and what is y -------------------------------------------------------------------------------------
def _family_name(table: Table, target: tuple[str, ...], options: argparse.Namespace) -> tuple[str, str]:
    if options.family != "auto":
        return options.family, "asked for"
    if options.trials is not None:
        return "binomial", "trials are given"
    if len(target) > 1 or table.column(target[0]).size > table.rows:
        return "multivariate-normal", "the target is a vector"
    values = table.column(target[0]).reshape(-1)
    if values.dtype.kind not in "OUSiufb":
        raise DataError(f"column {target[0]!r} holds {values.dtype} values; turn them into numbers first")
    if is_text(values) and target[0] not in table.levels:
        refuse_mixed(target[0], values)
    return infer_family(values)


def _family_and_link(name: str, outputs: int, options: argparse.Namespace) -> tuple[Any, str]:
    if name == "negative-binomial" and options.size is None:
        raise DataError("the negative-binomial family needs its size: --size R, where the variance is mu + mu^2 / R")
    for option, value, only in (
        ("--size", options.size, "negative-binomial"),
        ("--trials", options.trials, "binomial"),
    ):
        if value is not None and name != only:
            raise DataError(f"{option} has no use with the {name} family, only with --family {only}")
    family = FAMILIES[name].make(outputs, options.size)
    try:
        return family, links.resolve(family, options.link).name
    except ValueError as error:
        raise DataError(str(error)) from None


def _predictors(name: str, link: str, labels: tuple[str, ...], size: int | None) -> list[str]:
    if size is None:
        return [""]
    if size == len(labels):
        return list(labels)
    if link == "unconstrained" and FAMILIES[name].parameters:
        return list(FAMILIES[name].parameters)
    if name == "multivariate-normal":  # first what belongs to y, then to its products by rows of the lower triangle
        free = link == "unconstrained"  # the precision P then goes by its Cholesky factor
        pairs = [(a, b) for i, a in enumerate(labels) for b in labels[: i + 1]]
        if len(labels) + len(pairs) == size:
            second = [f"{'log ' * (free and a == b)}{'chol P' if free else 'eta'}[{a},{b}]" for a, b in pairs]
            return [f"{'mean' if free else 'eta'}[{label}]" for label in labels] + second
    return [f"eta {i + 1}" for i in range(size)]


def infer_family(values: np.ndarray) -> tuple[str, str]:
    """The family that a column of outcomes suggests, and why."""
    found = np.unique(text_of(values))
    if len(found) == 2:
        return "bernoulli", "two values"
    if is_text(values):
        return "categorical", f"{len(found)} levels"
    # Counts that had gaps are read as floating-point numbers; a 0 among them tells them from rounded measurements.
    whole = values.dtype.kind in "iub" or bool(np.all(values % 1 == 0) and np.any(values == 0))
    if whole and np.min(values) >= 0:
        return ("categorical", f"{len(found)} classes") if _looks_like_classes(values) else ("poisson", "counts")
    return "normal", "numbers"


def _looks_like_classes(values: np.ndarray) -> bool:
    """A few consecutive whole numbers from 0 or 1, none of them rare."""
    found, counts = np.unique(values, return_counts=True)
    consecutive = found[0] in (0, 1) and np.array_equal(found, np.arange(len(found)) + found[0])
    return bool(consecutive and len(found) <= 10 and counts.min() >= 0.05 * len(values))


def _outcome(
    table: Table, target: tuple[str, ...], kind: str, name: str, options: argparse.Namespace
) -> tuple[Any, tuple[str, ...] | None, int]:
    """y, the labels of its classes or None, and the number of classes or dimensions."""
    if kind == "vector":
        y = np.concatenate([_numbers(table, c).reshape(table.rows, -1) for c in target], axis=1)
        if y.shape[1] < 2:
            raise DataError(f"the {name} family predicts vectors: give --target two columns or more")
        return y, None, y.shape[1]
    values = table.column(target[0])
    if len(target) > 1 or values.size != len(values):
        raise DataError(
            f"the {name} family predicts one number a row, but the target is {listing(target)} {values.shape}"
        )
    if kind in ("binary", "classes"):
        return _class_labels(target[0], values.reshape(-1), kind, name, table.levels.get(target[0]))
    y = _numbers(table, target[0]).reshape(-1)
    if kind != "trials":
        return y, None, 1
    if options.trials is None:
        raise DataError("the binomial family needs the number of trials of each row: --trials COL")
    return (y, _numbers(table, options.trials)), None, 1


def _class_labels(
    column: str, values: np.ndarray, kind: str, name: str, levels: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...], int]:
    refuse_missing(column, values)
    if levels is None:
        numeric = not is_text(values)
        levels = tuple(str(v) for v in (text_of(np.unique(values)) if numeric else np.unique(text_of(values))))
    if kind == "binary" and len(levels) != 2:
        raise DataError(
            f"the {name} family needs two values, but column {column!r} has {len(levels)}: {listing(levels, 4)}"
        )
    if len(levels) < 2:
        raise DataError(f"column {column!r} holds a single class, {levels[0]}: there is nothing to tell apart")
    if len(levels) > max(20, len(values) / 4):
        raise DataError(
            f"column {column!r} holds {len(levels)} different values in {len(values)} rows: too many for classes"
        )
    return level_index(column, values, levels).astype(np.int32), levels, len(levels)


def _check_support(family: Any, name: str, y: Any, target: tuple[str, ...]) -> None:
    with np.errstate(all="ignore"):
        inside = np.asarray(family.support(jax.tree.map(jax.numpy.asarray, y)))
    values = y[0] if isinstance(y, tuple) else y
    first = np.argmin(inside) if inside.size else 0
    _refuse(~inside, f"{listing(target)} holds {values[first]}, outside the support of the {name} family, in")


def _weights(table: Table, options: argparse.Namespace) -> Any:
    if options.weights is None:
        return None
    weights = _numbers(table, options.weights)
    _refuse(weights < 0, f"column {options.weights!r}, the weights, is negative in")
    return weights


def _numbers(table: Table, name: str) -> np.ndarray:
    return number_column(name, table.column(name))


def _refuse(bad: np.ndarray, what: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        raise DataError(f"{what} {row_names(rows)}")
