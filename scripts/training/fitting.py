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
from jax.tree_util import Partial
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from jaxml import ConvergenceWarning, Status, glm, links, optimize
from jaxml.data import DataError
from jaxml.predictors import Linear
from jaxml.rows import Rows
from training.options import BATCH_SIZE, EPOCHS, FIRST_ORDER, STOCHASTIC, in_options
from training.problem import Problem

_ADAM_RATE = 0.01
_TRIES = 8  # of learning rates, where none is given
_STEPS = 1000  # of gradient descent
WORTH_REPEATING = 20.0  # seconds; a fit that took longer is not run twice only to be timed


class Fitted(NamedTuple):
    """A fit in the units of the data, the model of an intercept alone, the spread of the columns, seconds by what they
    were spent on, and the learning rate where there is one."""

    fit: Any
    null: Any
    spread: np.ndarray
    seconds: dict[str, float]
    rate: float | None

    @property
    def finite(self) -> bool:
        """Whether there is a model at all."""
        numbers = jax.tree.leaves((self.fit.params, self.fit.value))
        failed = Status(int(self.fit.status)) in (Status.NON_FINITE, Status.INFEASIBLE)
        return not failed and all(bool(np.isfinite(a).all()) for a in numbers)


def fit_problem(problem: Problem, options: argparse.Namespace) -> Fitted:
    """Fit the model and, to compare it with, the model of an intercept alone."""
    rows = problem.train
    center, spread = column_scales(np.asarray(rows.X), rows.weights, options.intercept)
    if options.standardize:
        rows = rows._replace(X=(rows.X - center) / spread)
    label = f"fitting ({options.solver})"
    with plain_errors(), progress(label, options.progress, _updates(options, rows.n)) as report:
        null = fit_null(problem, options.link)
        rate = _first_rate(problem, rows, null, options)
        solver = _solver(options, rows.n, report)
        data, first = jax.tree.map(jnp.asarray, rows), 0.0
        for trial in range(_TRIES):
            if trial:
                rate /= 4
            settings = _settings(solver(rate), options)
            run = lambda s=settings: glm.fit(
                problem.family, data.X, data.y, weights=data.weights, offset=data.offset, **s
            )
            fit, seconds = timed(run)
            first += seconds
            if rate is None or options.learning_rate or options.solver == "adam" or not _diverged(fit, null, options):
                break
        second = timed(run)[1] if first < WORTH_REPEATING else None
    if options.standardize:
        fit = dataclasses.replace(fit, params=in_data_units(fit.params, center, spread))
    times = {"first fit, with compilation": first} | ({} if second is None else {"second fit": second})
    return Fitted(fit, null, spread, times, rate)


def fit_null(problem: Problem, link: Any) -> Any:
    """The model of an intercept alone, with the offset and weights of the rows, as one of all columns with weights of 0."""
    rows = problem.train
    fit = glm.fit(problem.family, rows.X[:, :0], rows.y, weights=rows.weights, offset=rows.offset, link=link)
    weight = jnp.zeros((rows.X.shape[1], *fit.params.bias.shape), fit.params.bias.dtype)
    return dataclasses.replace(fit, params=Linear(weight, fit.params.bias))


def column_scales(X: np.ndarray, weights: Any, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean (0 without an intercept, which a shift needs) and standard deviation (1 where it is 0) of the columns."""
    mean = np.average(X, axis=0, weights=weights).astype(X.dtype)
    spread = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))
    center = mean if intercept else np.zeros_like(mean)
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
def plain_errors() -> Iterator[None]:
    """What the library refuses becomes one line; what it warns of is in the report anyhow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            yield
        except (ValueError, OverflowError) as error:
            raise DataError(in_options(" ".join(str(error).split()))) from error


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What a run gives, and its seconds."""
    start = time.perf_counter()
    fit = jax.block_until_ready(run())
    return fit, time.perf_counter() - start


def _first_rate(problem: Problem, rows: Rows, null: Any, options: argparse.Namespace) -> float | None:
    """The learning rate: the given one, or 1/L."""
    if options.solver not in FIRST_ORDER:
        return None
    if options.learning_rate or options.solver == "adam":
        return options.learning_rate or _ADAM_RATE
    batch = min(options.batch_size or BATCH_SIZE, rows.n) if options.solver in STOCHASTIC else rows.n
    bound = curvature(problem, rows, null, batch) + options.l2
    return 1 / bound if 0 < bound < np.inf else _ADAM_RATE


def curvature(problem: Problem, rows: Rows, null: Any, batch: int) -> float:
    """L, a bound for the mean loss of random batches of so many rows, at the model of an intercept alone.

    Between the largest eigenvalue of the Hessian (all rows) and the largest curvature of a row (batches of one row).
    Source: Gower et al. (2019), "SGD: general analysis and improved rates", expected smoothness.
    """
    family, n = problem.family, rows.n
    z = jnp.broadcast_to(null.params.bias, (n, *null.params.bias.shape)) + (0 if rows.offset is None else rows.offset)
    loss = lambda z, y: family.loss(links.natural_parameter(family, null.link, z), y)
    second = np.asarray(jax.jit(jax.vmap(jax.hessian(loss)))(z, jax.tree.map(jnp.asarray, rows.y)))
    weights = np.ones(n) if rows.weights is None else np.asarray(rows.weights)
    h = np.linalg.norm(second.reshape(n, -1), axis=1) * weights / np.mean(weights * np.asarray(family.trials(rows.y)))
    h = np.where(np.isfinite(h), h, 0)
    X = np.hstack([np.ones((n, 1)), rows.X])
    single = np.max(h * np.sum(X * X, axis=1))
    v: Any = np.random.default_rng(0).normal(size=X.shape[1])
    largest = 0.0
    for _ in range(20):  # power iteration
        v = X.T @ (h * (X @ v)) / n
        largest = float(np.linalg.norm(v))
        v = v / (largest or 1)
    share = (n - batch) / max(1, batch * (n - 1))
    return float((1 - share) * largest + share * single)


def _diverged(fit: Any, null: Any, options: argparse.Namespace) -> bool:
    """Not finite, or worse than the model of an intercept alone, which the best fit cannot be."""
    value = float(fit.value)
    return not np.isfinite(value) or (options.intercept and value > float(null.value))


def _solver(options: argparse.Namespace, n: int, report: Callable[[int], None]) -> Callable[[float | None], Any]:
    """The solver as a function of its learning rate, which is no constant of the compiled program."""
    steps: dict[str, Any] = {} if options.steps is None else {"max_steps": options.steps}
    if options.solver == "newton":
        return lambda _: optimize.Newton(**steps)
    if options.solver == "lbfgs":
        return lambda _: optimize.LBFGS(**steps)
    falling = options.solver == "sgd" and not options.learning_rate
    schedule = _reporting_rate(falling, _updates(options, n), report)
    if options.solver == "gradient-descent":
        return lambda rate: optimize.GradientDescent(
            learning_rate=Partial(schedule, rate), max_steps=options.steps or _STEPS
        )
    passes: dict[str, Any] = {
        "epochs": options.epochs or EPOCHS,
        "batch_size": options.batch_size or BATCH_SIZE,
        "seed": options.seed,
    }
    if options.solver == "sgd":
        return lambda rate: optimize.SGD(learning_rate=Partial(schedule, rate), **passes)
    return lambda rate: optimize.Optax(transform=optax.adam(lambda step: schedule(rate, step)), **passes)


def _updates(options: argparse.Namespace, n: int) -> int | None:
    """How many updates the solver will make at most; None where it stops by itself after a few."""
    if options.solver in STOCHASTIC:
        return (options.epochs or EPOCHS) * -(-n // min(options.batch_size or BATCH_SIZE, n))
    return (options.steps or _STEPS) if options.solver == "gradient-descent" else None


# -- progress --------------------------------------------------------------------------------------------------------
def _reporting_rate(falling: bool, updates: int | None, report: Callable[[int], None]) -> Callable[[Any, Any], Any]:
    """A learning rate, constant or falling to 0, that tells the host now and then how far the compiled loop is."""
    every = max(1, (updates or 1) // 100)

    def schedule(rate: Any, step: Any) -> Any:
        jax.lax.cond(step % every == 0, lambda: jax.debug.callback(report, step), lambda: None)
        return rate * (1 - step / (updates or 1)) if falling else rate

    return schedule


@contextlib.contextmanager
def progress(label: str, wanted: bool, updates: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where the number of updates is known, a spinner and a clock where it is not."""
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
    ]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not (wanted and console.is_terminal)) as bar:
        task = bar.add_task(label, total=updates)
        yield lambda step: bar.update(task, completed=int(step))
