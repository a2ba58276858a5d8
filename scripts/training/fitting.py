"""Run the solver, show how far it is, and time it."""

import argparse
import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from jaxml import ConvergenceWarning, glm, optimize
from jaxml.data import DataError
from jaxml.rows import Rows
from training.options import STOCHASTIC
from training.problem import Problem

_RATES = {"gradient-descent": 0.1, "sgd": 0.01, "adam": 0.01}
_STEPS = 1000  # of gradient descent
_WORTH_REPEATING = 20.0  # seconds; a fit that took longer is not run twice only to be timed


class Fitted(NamedTuple):
    """A fit in the units of the data, the model of an intercept alone, the spread of the columns, and seconds by what
    they were spent on."""

    fit: Any
    null: Any
    spread: np.ndarray
    seconds: dict[str, float]

    def null_rows(self, rows: Rows) -> Rows:
        """The rows as the model of an intercept alone wants them."""
        return blank(rows, self.null.params.weight.shape[0])


def fit_problem(problem: Problem, options: argparse.Namespace) -> Fitted:
    """Fit the model and, to compare it with, the model of an intercept alone."""
    rows = problem.train
    center, spread = column_scales(np.asarray(rows.X), options.intercept)
    if options.standardize:
        rows = rows._replace(X=(rows.X - center) / spread)
    with _plain_errors(), _progress(options, _updates(options, rows.n)) as report:
        settings = _settings(_solver(options, rows.n, report), options)
        data = jax.tree.map(jnp.asarray, rows)
        run = lambda: glm.fit(problem.family, data.X, data.y, weights=data.weights, offset=data.offset, **settings)
        fit, first = _timed(run)
        second = _timed(run)[1] if first < _WORTH_REPEATING else None
    if options.standardize:
        fit = dataclasses.replace(fit, params=in_data_units(fit.params, center, spread))
    # The model of an intercept alone is fitted by the program that is compiled already, where that ends in a few steps.
    same = options.solver == "newton" and options.intercept
    null = _fit_null(problem, rows.X.shape[1], settings) if same else _fit_null(problem, 1, {})
    seconds = {"first fit, with compilation": first} | ({} if second is None else {"second fit": second})
    return Fitted(fit, null, spread, seconds)


def _fit_null(problem: Problem, width: int, settings: dict[str, Any]) -> Any:
    """The model of an intercept alone, with the offset and weights of the rows: a fit to columns of zeros."""
    rows = blank(problem.train, width)
    return glm.fit(problem.family, rows.X, rows.y, weights=rows.weights, offset=rows.offset, check=False, **settings)


def blank(rows: Rows, width: int) -> Rows:
    """The rows with columns of zeros."""
    X: Any = np.zeros((rows.n, width), rows.X.dtype)
    return rows._replace(X=X)


def column_scales(X: np.ndarray, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean (0 without an intercept, which a shift needs) and standard deviation (1 where it is 0) of the columns."""
    center = X.mean(axis=0) if intercept else np.zeros(X.shape[1], X.dtype)
    spread = X.std(axis=0)
    return center, np.where(spread > 0, spread, 1).astype(X.dtype)


def in_data_units(params: Any, center: np.ndarray, spread: np.ndarray) -> Any:
    """Coefficients of standardised columns as coefficients of the columns themselves."""
    weight = (params.weight.T / spread).T
    bias = None if params.bias is None else params.bias - center @ weight
    return params._replace(weight=weight, bias=bias)


# -- the solver ------------------------------------------------------------------------------------------------------
def _settings(solver: Any, options: argparse.Namespace) -> dict[str, Any]:
    return {"l2": options.l2, "intercept": options.intercept, "link": options.link, "solver": solver, "trace": True}


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """What the library refuses becomes one line; what it warns of is in the report anyhow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            yield
        except (ValueError, OverflowError) as error:
            raise DataError(" ".join(str(error).split())) from error


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    fit = jax.block_until_ready(run())
    return fit, time.perf_counter() - start


def _solver(options: argparse.Namespace, n: int, report: Callable[[int], None]) -> Any:
    steps: dict[str, Any] = {} if options.steps is None else {"max_steps": options.steps}
    if options.solver == "newton":
        return optimize.Newton(**steps)
    if options.solver == "lbfgs":
        return optimize.LBFGS(**steps)
    rate = _reporting_rate(options.learning_rate or _RATES[options.solver], _updates(options, n), report)
    if options.solver == "gradient-descent":
        return optimize.GradientDescent(learning_rate=rate, max_steps=options.steps or _STEPS)
    passes: dict[str, Any] = {"epochs": options.epochs, "batch_size": options.batch_size, "seed": options.seed}
    if options.solver == "sgd":
        return optimize.SGD(learning_rate=rate, **passes)
    return optimize.Optax(transform=optax.adam(rate), **passes)


def _updates(options: argparse.Namespace, n: int) -> int | None:
    """How many updates the solver will make at most; None where it stops by itself after a few."""
    if options.solver in STOCHASTIC:
        return options.epochs * -(-n // min(options.batch_size, n))
    return (options.steps or _STEPS) if options.solver == "gradient-descent" else None


# -- progress --------------------------------------------------------------------------------------------------------
def _reporting_rate(rate: float, updates: int | None, report: Callable[[int], None]) -> Callable[[Any], Any]:
    """A constant learning rate, as a schedule that tells the host now and then how far the compiled loop is."""
    every = max(1, (updates or 1) // 100)

    def schedule(step: Any) -> Any:
        jax.lax.cond(step % every == 0, lambda: jax.debug.callback(report, step), lambda: None)
        return rate

    return schedule


@contextlib.contextmanager
def _progress(options: argparse.Namespace, updates: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where the number of updates is known, a spinner and a clock where it is not."""
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
    ]
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not (options.progress and console.is_terminal)
    ) as bar:
        task = bar.add_task(f"fitting ({options.solver})", total=updates)
        yield lambda step: bar.update(task, completed=int(step))
