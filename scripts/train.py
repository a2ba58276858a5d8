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
import sys
import time
from pathlib import Path
from typing import Any

import jax

from jaxml import Status
from training.fitting import Fitted, fit_problem
from training.modelfile import load_model, save_model
from training.options import FIRST_ORDER, STOCHASTIC, parse
from training.picture import draw, loss_by_step, outcome
from training.prediction import predictions, write_predictions
from training.problem import Problem, make_problem
from training.program import (
    CONVERGED,
    NOT_CONVERGED,
    OutputConsole,
    in_words,
    output_folder,
    read_table,
    readers_may_leave,
    stop_at_once,
)
from training.report import ending, print_facts, print_fit, print_scores, print_status, write_metrics
from training.scores import Evaluation, compare, evaluate


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse(arguments)
    return in_words("train.py", lambda: _predict(options) if options.load else _train(options))


def _train(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    table = read_table(options.data, options)
    folder = output_folder(options.output or f"runs/{table.name}")
    with jax.enable_x64(options.x64):
        problem = make_problem(table, options)
        load_seconds = time.perf_counter() - start
        fitted = fit_problem(problem, options)
        if not fitted.finite:
            return _no_model(folder, fitted, problem, options, load_seconds)
        sets = problem.sets
        model = {which: evaluate(fitted.fit, problem, rows) for which, rows in sets.items()}
        null = {which: evaluate(fitted.null, problem, rows) for which, rows in sets.items()}
        scores = {which: compare(model[which], null[which], problem) for which in sets}
        # What took time to make is saved before anything is printed: a closed pipe must not lose it.
        save_model(folder / "model.npz", fitted.fit, problem, options)
        write_metrics(folder / "metrics.json", fitted, problem, scores, options, load_seconds)
        _draw(folder / "picture.png", fitted.fit, model, problem, table.name, options)
        with readers_may_leave():
            console = OutputConsole()
            print_fit(console, fitted, problem, options)
            print_scores(console, scores)
            print_status(console, fitted, load_seconds, options)
            print_facts(console, {"saved": f"{folder}/model.npz, metrics.json, picture.png"})
    return _exit_code(Status(int(fitted.fit.status)), options)


def _no_model(folder: Path, fitted: Fitted, problem: Problem, options: argparse.Namespace, load_seconds: float) -> int:
    """A fit that ended nowhere leaves its metrics, and no model or picture of an earlier fit beside them."""
    write_metrics(folder / "metrics.json", fitted, problem, {}, options, load_seconds)
    for name in ("model.npz", "picture.png"):
        (folder / name).unlink(missing_ok=True)
    print(f"train.py: no model: {ending(fitted, options)}", file=sys.stderr)
    return NOT_CONVERGED


def _draw(path: Path, fit: Any, model: dict[str, Evaluation], problem: Problem, name: str, options: Any) -> None:
    which, rows = next(iter(model.items()))
    title = f"{name}: {problem.family_name} model of {', '.join(problem.target)}"
    unit = "epoch" if options.solver in STOCHASTIC else "step"
    draw(path, title, [loss_by_step(fit, unit), outcome(rows, problem.classes, f"{which} rows")])


def _exit_code(status: Status, options: argparse.Namespace) -> int:
    as_told = (
        options.solver in FIRST_ORDER and status == Status.STEP_LIMIT
    )  # it made the steps that it was told to make
    return CONVERGED if as_told or status == Status.CONVERGED else NOT_CONVERGED


def _predict(options: argparse.Namespace) -> int:
    model = load_model(options.load)
    with jax.enable_x64(model.header["x64"]), readers_may_leave():
        write_predictions(predictions(model, read_table(options.predict, options)), options.output)
    return CONVERGED


if __name__ == "__main__":
    stop_at_once()
    sys.exit(main())
