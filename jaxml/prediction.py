"""What every fitted model says alike of new rows, once its predictor has spoken; a fit has a family, a link and perhaps an offset."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxml.checks import read_rows
from jaxml.compiling import program
from jaxml.dtypes import as_array, to_compute
from jaxml.families.base import Family
from jaxml.likelihood import log_likelihood, row_mean
from jaxml.links import Link, natural_parameter


def read_features(X: Any, columns: int | None, dtype: Any) -> Array:
    """X (n, d) in the dtype of the fit; None where the predictor itself knows how many columns it takes.

    Raises:
        ValueError: no matrix, or one of other columns than those of the fit.
    """
    X = to_compute(as_array(X, "X"), dtype, "X")
    if X.ndim != 2 or columns not in (None, X.shape[1]):
        fitted = "" if columns is None else f"but the model was fitted on {columns} columns: "
        raise ValueError(f"X has shape {X.shape}, {fitted}expected (n, {'d' if columns is None else columns})")
    return X


def refuse_offset(fit: Any, offset: Any) -> None:
    """An offset where the fit had none, and none where it had one.

    Raises:
        ValueError: either.
    """
    if fit.offset and offset is None:
        raise ValueError("the model was fitted with an offset; give offset= for the new rows (zeros for none)")
    if not fit.offset and offset is not None:
        raise ValueError("the model was fitted without an offset, so offset= has no meaning here")


def read_offset(fit: Any, offset: Any, z: Array) -> Array | None:
    """The offset of new rows, to be added to their z.

    Raises:
        ValueError: as :func:`refuse_offset`, or an offset of another shape than z.
    """
    refuse_offset(fit, offset)
    if offset is None:
        return None
    offset = to_compute(as_array(offset, "offset"), z.dtype, "offset")
    if offset.shape != z.shape:
        raise ValueError(f"offset has shape {offset.shape}, expected {z.shape} to match X")
    return offset


def natural_from(fit: Any, z: Array, offset: Any) -> Array:
    """eta(z + offset).

    Raises:
        ValueError: as :func:`read_offset`.
    """
    return _natural(fit.family, fit.link, z, read_offset(fit, offset, z))


def expected_from(fit: Any, z: Array, trials: Array | None) -> Array:
    """E[Y] as a function of the linear predictor, offset included."""
    return row_mean(fit.family, fit.link, z, trials)


def predict_from(fit: Any, z: Array, offset: Any, trials: Any) -> Array:
    """E[Y] of new rows: :func:`expected_from` of z + offset.

    Raises:
        ValueError: as :func:`read_offset` and :func:`read_trials`.
    """
    return _expected(fit.family, fit.link, z, read_offset(fit, offset, z), read_trials(fit.family, trials, z))


@program(static_argnames="link")
def _natural(family: Family, link: Link, z: Array, offset: Array | None) -> Array:
    return natural_parameter(family, link, z if offset is None else z + offset)


@program(static_argnames="link")
def _expected(family: Family, link: Link, z: Array, offset: Array | None, trials: Array | None) -> Array:
    return row_mean(family, link, z if offset is None else z + offset, trials)


def read_trials(family: Family, trials: Any, z: Array) -> Array | None:
    """The trials of each row (n,), from one number or one for each.

    Raises:
        ValueError: missing for a family that needs them, or of another length than X.
    """
    if family.has_trials and trials is None:
        raise ValueError(f"{type(family).__name__} counts successes out of trials; give trials= for the new rows")
    if trials is None:
        return None
    trials = to_compute(as_array(trials, "trials"), z.dtype, "trials")
    n = z.shape[0]
    if trials.shape not in ((), (n,)):
        raise ValueError(f"trials has shape {trials.shape}, expected ({n},) to match X")
    return jnp.broadcast_to(trials, (n,))


def mean_log_likelihood(
    fit: Any, family: Family, predictor: Callable[..., Array], columns: int | None, rows: tuple[Any, Any, Any, Any]
) -> Array:
    """sum_i w_i log p(y_i; eta_i) / sum_i w_i over (X, y, weights, offset).

    Raises:
        ValueError, TypeError, OverflowError: where these do not match the fit or each other.
    """
    X, y, weights, offset = rows
    refuse_offset(fit, offset)
    read = read_rows(family, X, y, weights, offset)
    read_features(read.X, columns, read.X.dtype)
    total = log_likelihood(
        family, predictor, fit.params, read.X, read.y, weights=read.weights, offset=read.offset, link=fit.link
    )
    return total / jnp.sum(jnp.where(read.on, read.mass, 0))
