"""What a person reads after a fit: a table of coefficients, scores, status and timing; and the same numbers as JSON."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from jaxml import Status
from jaxml.data.table import listing
from training.fitting import Fitted
from training.options import STOCHASTIC
from training.problem import Problem
from training.scores import Scores

MOST_ROWS = 30  # of the table of coefficients
_HEADING = 24  # letters of the name of a class or parameter above its coefficients
_ENDINGS = {
    Status.CONVERGED: "converged: the distance to the optimum is below the tolerance.",
    Status.STEP_LIMIT: (
        "step limit: all steps were made, and the optimum is further off than the tolerance. {more}, or --solver newton, comes closer."
    ),
    Status.LINE_SEARCH_FAILED: (
        "line search failed: no step along the search direction lowers the loss, as at the floor of rounding. Leave --x32 out, or"
        " try --standardize."
    ),
    Status.BOUNDARY: (
        "boundary: the maximum of the likelihood lies on the edge of what the link allows, where standard errors do not hold."
        " Try another --link, or a penalty, --l2."
    ),
    Status.SEPARATED: (
        "separated: some combination of the columns predicts the outcome without error, so the likelihood has no maximum and the"
        " coefficients run off to infinity. Use --l2, --drop the columns concerned, or pool rare levels."
    ),
    Status.INFEASIBLE: (
        "infeasible: no coefficients to start from were found that the link allows. Use another --link, or leave --no-intercept out."
    ),
    Status.NON_FINITE: "non-finite: the loss or its gradient became infinite or NaN. {other}.",
}
INTERCEPT = "(intercept)"


def print_fit(console: Console, fitted: Fitted, problem: Problem, options: argparse.Namespace) -> None:
    """What was fitted to what, and the coefficients."""
    falling = " falling to 0" if options.solver == "sgd" and not options.learning_rate else ""
    rate = "" if fitted.rate is None else f", learning rate {fitted.rate:.3g}{falling}"
    facts = described(problem, options.data) | {
        "family": f"{problem.family_name} ({problem.why}), link {problem.link}",
        "solver": f"{options.solver}{' on standardised columns' if options.standardize else ''}{rate}, l2 {options.l2:g}",
        "device": f"{device()}, {'64' if options.x64 else '32'} bit",
    }
    print_facts(console, facts)
    console.print(_coefficients(fitted, problem, console.width))


def described(problem: Problem, data: str) -> dict[str, str | None]:
    """What is predicted from what, and on how many rows."""
    rows, columns = problem.train.X.shape
    dropped = f", {problem.dropped} with missing values left out" if problem.dropped else ""
    units = [part.weights for part in (problem.train, problem.test)]
    weight = "" if units[0] is None else f", of weight {units[0].sum():g} and {units[1].sum():g}"
    return {
        "data": f"{data}: {', '.join(problem.target)} from {columns} columns",
        "rows": f"{rows} to fit, {problem.test.n} to test{weight}{dropped}",
        "classes": _classes(problem.classes),
    }


def print_scores(console: Console, scores: dict[str, Scores]) -> None:
    """A column for each set of rows and model."""
    grid = Grid(title="Scores", title_justify="left", title_style="bold")
    grid.add_column("")
    for which in scores:
        for who in ("model", "mean only"):
            grid.add_column(f"{which}\n{who}", justify="right")
    for name in next(iter(scores.values())):
        cells = [_score(scores[which][name][who]) for which in scores for who in ("model", "mean only")]
        grid.add_row(name, *cells)
    console.print(grid)


def _score(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"


def ending(fitted: Fitted, options: argparse.Namespace) -> str:
    """How the solver ended, and what to do about it, in options of the command line."""
    more = "More --epochs" if options.solver in STOCHASTIC else "More --steps"
    other = (
        "Try --solver newton" if options.solver != "newton" else "Try another --link, --standardize or a penalty, --l2"
    )
    if fitted.rate is not None:
        other = f"Try a smaller --learning-rate (it was {fitted.rate:.3g}), or --solver newton"
    return _ENDINGS[Status(int(fitted.fit.status))].format(more=more, other=other)


def print_status(console: Console, fitted: Fitted, load_seconds: float, options: argparse.Namespace) -> None:
    """How the solver ended, and how long everything took."""
    fit, status = fitted.fit, Status(int(fitted.fit.status))
    columns = fit.params.weight.shape[0] + (fit.params.bias is not None)
    rank = int(fit.rank)
    short = (
        ""
        if rank == columns
        else f"; rank {rank} of {columns}: columns repeat each other, the shortest answer is given"
    )
    times = {"load": load_seconds} | fitted.seconds
    facts = {
        "status": ending(fitted, options),
        "steps": f"{int(fit.steps)}, relative gradient {float(fit.gradient_norm):.1e}{short}",
        "dispersion": None if fit.dispersion is None else f"{float(fit.dispersion):.5g}",
        "time": ", ".join(f"{what} {seconds:.3f} s" for what, seconds in times.items()),
    }
    print_facts(console, facts, "green" if status == Status.CONVERGED else "yellow")


def write_metrics(
    path: Path, fitted: Fitted, problem: Problem, scores: dict[str, Scores], options: argparse.Namespace, load: float
) -> None:
    """The numbers of the report as JSON; what is not finite becomes null."""
    fit = fitted.fit
    metrics = {
        "data": str(options.data),
        "target": list(problem.target),
        "family": problem.family_name,
        "link": problem.link,
        "solver": options.solver,
        "learning_rate": fitted.rate,
        "l2": options.l2,
        "device": device(),
        "bits": 64 if options.x64 else 32,
        "rows": {"train": len(problem.train.X), "test": len(problem.test.X), "dropped": problem.dropped},
        "weight": None
        if problem.train.weights is None
        else {
            "train": float(problem.train.weights.sum()),
            "test": float(problem.test.weights.sum()),
        },
        "columns": len(problem.names),
        "status": Status(int(fit.status)).name,
        "steps": int(fit.steps),
        "rank": _number(fit.rank),
        "gradient_norm": _number(fit.gradient_norm),
        "log_likelihood": _number(fit.log_likelihood) if fitted.finite else None,
        "dispersion": _number(fit.dispersion),
        "scores": score_numbers(scores),
        "seconds": {"load": load} | fitted.seconds,
    }
    path.write_text(json.dumps(metrics, indent=2) + "\n")


def score_numbers(scores: dict[str, Scores]) -> dict[str, Any]:
    """The scores for a JSON file, which knows no number that is not finite."""
    return {
        which: {k: {who: _number(v) for who, v in pair.items()} for k, pair in table.items()}
        for which, table in scores.items()
    }


def device() -> str:
    """The device that JAX computes on, as a person calls it."""
    first = jax.devices()[0]
    return first.platform if first.platform == first.device_kind else f"{first.platform} ({first.device_kind})"


def print_facts(console: Console, facts: dict[str, str | None], colour: str = "cyan") -> None:
    """A name and a sentence on each line; those without a sentence are left out."""
    for name, text in facts.items():
        if text is not None:
            console.print(f"[{colour}]{name:10}[/]  {escape(text)}", highlight=False, soft_wrap=True)


def _classes(classes: tuple[str, ...] | None) -> str | None:
    if classes is None:
        return None
    modelled = f", the probability of {classes[1]} is modelled" if len(classes) == 2 else ""
    return listing(classes) + modelled


# -- coefficients ----------------------------------------------------------------------------------------------------
def _coefficients(fitted: Fitted, problem: Problem, width: int) -> Grid:
    weight = np.asarray(fitted.fit.params.weight)
    table = weight if weight.ndim == 2 else weight[:, None]
    scaled = table * fitted.spread[:, None]
    shown = _rows_to_show(scaled)
    outputs = shortened(problem.predictors, _HEADING)
    kept = outputs[: max(2, (width - 28) // 12)]
    title = "Coefficients"
    if len(shown) < len(table):
        title += f", the {len(shown)} largest of {len(table)} per standard deviation"
    grid = Grid(title=title, title_justify="left", title_style="bold")
    grid.add_column("column", overflow="fold")
    for name in kept:
        grid.add_column(escape(name) or "coefficient", justify="right")
    single = len(outputs) == 1
    if single:
        grid.add_column("per std. deviation", justify="right")
    for name, values, per_deviation in _coefficient_rows(fitted.fit.params.bias, table, scaled, shown, problem.names):
        cells = [f"{value:.5g}" for value in values[: len(kept)]]
        grid.add_row(escape(name), *cells, *([per_deviation] if single else []), end_section=name == INTERCEPT)
    if len(kept) < len(outputs):
        grid.caption = f"{len(outputs) - len(kept)} more outputs are in the model file"
    return grid


def _coefficient_rows(
    bias: Any, table: np.ndarray, scaled: np.ndarray, shown: np.ndarray, names: list[str]
) -> Iterator[tuple[str, np.ndarray, str]]:
    """Name, coefficients and the first of them per standard deviation of the column."""
    if bias is not None:
        yield INTERCEPT, np.atleast_1d(np.asarray(bias)), ""
    for i in shown:
        yield names[i], table[i], f"{scaled[i, 0]:.4g}"


def _rows_to_show(scaled: np.ndarray) -> np.ndarray:
    if len(scaled) <= MOST_ROWS:
        return np.arange(len(scaled))
    return np.argsort(-np.abs(scaled).max(axis=1), kind="stable")[:MOST_ROWS]


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Names of so many letters at most, with numbers where they would look alike."""
    cut = [name if len(name) <= most else f"{name[: most - 1]}…" for name in names]
    if len(set(cut)) == len(set(names)):
        return cut
    return shortened([f"{i} {name}" for i, name in enumerate(names, 1)], most)


def _number(value: Any) -> float | int | None:
    if value is None:
        return None
    number = np.asarray(value).item()
    return number if np.isfinite(number) else None
