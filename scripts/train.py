"""Fit an exponential family to a table: a file, or a real data set by name.

    python scripts/train.py                                         Poisson regression of visits to the doctor
    python scripts/train.py iris                                    softmax regression
    python scripts/train.py claims.csv --target claims --exposure years
    python scripts/train.py --load runs/iris/model.npz --predict new.csv

It prints the coefficients, scores on rows held out, how the solver ended and how long it took, and writes to runs/NAME/

    model.npz      coefficients, column names and coding; see --load
    metrics.json   the numbers that were printed
    picture.png    the loss by step, and observed against predicted

Needs ``pip install 'jaxml-learn[scripts]'``; ``--help`` lists all options.
"""

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxml import Status
from jaxml.data import DataError, Table, load_table
from training.fitting import Fitted, fit_problem
from training.modelfile import load_model, save_model
from training.options import CSV, FIRST_ORDER, STOCHASTIC, in_options, parse
from training.picture import draw
from training.prediction import predict_file
from training.problem import Problem, make_problem
from training.report import ending, print_facts, print_fit, print_scores, print_status, write_metrics
from training.scores import Evaluation, compare, evaluate

CONVERGED, NOT_CONVERGED, REFUSED = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to lose a fit
    try:
        return _predict(options) if options.load else _train(options)
    except (DataError, ImportError, MemoryError, OSError) as error:
        print(f"train.py: {in_options(str(error))}", file=sys.stderr)
        return REFUSED


def _train(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    table = _table(options.data, options)
    folder = _folder(options.output or f"runs/{table.name}")
    with jax.enable_x64(options.x64):
        problem = make_problem(table, options)
        load_seconds = time.perf_counter() - start
        fitted = fit_problem(problem, options)
        if not fitted.finite:
            return _no_model(folder, fitted, problem, options, load_seconds)
        sets = {"test": problem.test, "train": problem.train} if problem.test.n else {"train": problem.train}
        model = {which: evaluate(fitted.fit, problem, rows) for which, rows in sets.items()}
        null = {which: evaluate(fitted.null, problem, rows) for which, rows in sets.items()}
        scores = {which: compare(model[which], null[which], problem) for which in sets}
        # What took time to make is saved before anything is printed: a closed pipe must not lose it.
        save_model(folder / "model.npz", fitted.fit, problem, options)
        write_metrics(folder / "metrics.json", fitted, problem, scores, options, load_seconds)
        _draw(folder / "picture.png", fitted.fit, model, problem, table.name, options)
        with _readers_may_leave():
            console = _Console()
            print_fit(console, fitted, problem, options)
            print_scores(console, scores)
            print_status(console, fitted, load_seconds, options)
            print_facts(console, {"saved": f"{folder}/model.npz, metrics.json, picture.png"})
    return _exit_code(Status(int(fitted.fit.status)), options)


class _Console(Console):
    def on_broken_pipe(self) -> None:  # which would end the program with an exit code of its own
        raise BrokenPipeError


@contextlib.contextmanager
def _readers_may_leave() -> Iterator[None]:
    """Where the reader of the output has seen enough, as ``head`` has, the rest goes nowhere."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _table(source: str, options: argparse.Namespace) -> Table:
    return load_table(source, labels=options.labels, **{name: getattr(options, name) for name in CSV})


def _no_model(folder: Path, fitted: Fitted, problem: Problem, options: argparse.Namespace, load_seconds: float) -> int:
    """A fit that ended nowhere leaves its metrics, and no model or picture of an earlier fit beside them."""
    write_metrics(folder / "metrics.json", fitted, problem, {}, options, load_seconds)
    for name in ("model.npz", "picture.png"):
        (folder / name).unlink(missing_ok=True)
    print(f"train.py: no model: {ending(fitted, options)}", file=sys.stderr)
    return NOT_CONVERGED


def _folder(name: str) -> Path:
    """The folder of the fit, made before the work starts, since it may not be possible."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise DataError(f"cannot write to the folder {folder}: {error.strerror}") from None


def _draw(path: Path, fit: Any, model: dict[str, Evaluation], problem: Problem, name: str, options: Any) -> None:
    which, rows = next(iter(model.items()))
    title = f"{name}: {problem.family_name} model of {', '.join(problem.target)}"
    unit = "epoch" if options.solver in STOCHASTIC else "step"
    draw(path, fit, rows, problem.classes, title=title, which=f"{which} rows", unit=unit)


def _exit_code(status: Status, options: argparse.Namespace) -> int:
    as_told = (
        options.solver in FIRST_ORDER and status == Status.STEP_LIMIT
    )  # it made the steps that it was told to make
    return CONVERGED if as_told or status == Status.CONVERGED else NOT_CONVERGED


def _predict(options: argparse.Namespace) -> int:
    model = load_model(options.load)
    with jax.enable_x64(model.header["x64"]), _readers_may_leave():
        predict_file(model, _table(options.predict, options), options)
    return CONVERGED


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a compiled loop would hold Ctrl-C until its end
    sys.exit(main())
