"""Learn a model of the course beyond the linear ones from a table: a file, or a real data set by name.

    python scripts/learn.py discriminant                            Gaussian discriminant analysis of the irises
    python scripts/learn.py naive-bayes                             survivors of the Titanic, columns of several kinds
    python scripts/learn.py kernel                                  kernel ridge regression of a crash test
    python scripts/learn.py kernel modeldata/two_class_dat --target Class        kernel logistic regression
    python scripts/learn.py svm breast_cancer --cost 10
    python scripts/learn.py perceptron digits --layers 64 32 --validation 0.1 --patience 10
    python scripts/learn.py --load runs/perceptron/digits/model.npz --predict new.csv

It prints what was learned, scores on rows held out and how long it took, and writes to runs/MODEL/NAME/

    model.npz      the fit, column names and coding; see --load
    metrics.json   the numbers that were printed
    picture.png    decision regions, a confusion matrix, the learning curve

Needs ``pip install 'jaxml-learn[scripts]'``; ``MODEL --help`` lists the options of a model.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxml import Status
from jaxml.data import Table
from training.fitting import fit_null
from training.learning import Learned, learn, load, save
from training.models import MODELS
from training.options import CSV, add_data_options, add_output_options, add_precision
from training.picture import draw, outcome
from training.prediction import coded, named_columns, write_predictions
from training.problem import FAMILIES, Problem, make_problem
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
from training.regions import learning_curve, prediction_over_columns
from training.report import described, device, print_facts, print_scores, score_numbers
from training.scores import Evaluation, Scores, compare, evaluate

_NOT_HERE: dict[str, Any] = {
    "offset": None,
    "exposure": None,
    "trials": None,
    "size": None,
    "link": None,
    "intercept": True,
}
_REMEDIES = {
    "discriminant": "Use --shrinkage auto.",
    "naive-bayes": "Columns that depend on each other make its probabilities too sure; the classes may be right all the same.",
    "kernel": "Use a smaller --l2.",
    "perceptron": "Use a smaller --learning-rate, or more --epochs.",
}
_TRAINED = "trained: the epochs were run, and a minimum is not claimed."
_ENDINGS = {
    Status.CONVERGED: "converged.",
    Status.STEP_LIMIT: "step limit: the solver did not come as close to the optimum as it should. Scale the columns.",
    Status.LINE_SEARCH_FAILED: "line search failed, as at the floor of rounding. Leave --x32 out.",
    Status.BOUNDARY: "boundary: the best fit lies on the edge of what the family allows. Use a larger --l2.",
    Status.SEPARATED: "separated: the outcome is predicted without error. Use a larger --l2.",
    Status.INFEASIBLE: "infeasible: nothing to start from was found. Use another --family.",
    Status.NON_FINITE: "non-finite: {why}",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parse(arguments)
    return in_words("learn.py", lambda: _predict(options) if options.load else _learn(options))


def _learn(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    table = read_table(options.data, options)
    folder = output_folder(options.output or f"runs/{options.model}/{table.name}")
    with jax.enable_x64(options.x64):
        problem = _problem(table, options)
        times = {"load": time.perf_counter() - start}
        learned, seconds = learn(options.model, problem, options)
        times |= seconds
        if not learned.finite:
            return _no_model(folder, learned)
        sets = problem.sets
        judged = {which: learned.evaluate(rows) for which, rows in sets.items()}
        null = fit_null(problem, None)
        scores = {which: compare(judged[which], evaluate(null, problem, rows), problem) for which, rows in sets.items()}
        save(folder / "model.npz", learned, problem, options)
        _write_metrics(folder / "metrics.json", learned, problem, scores, times, options)
        which = next(iter(sets))
        title = f"{table.name}: {MODELS[options.model].title} for {', '.join(problem.target)}"
        draw(folder / "picture.png", title, _panels(learned, problem, judged[which], f"{which} rows"))
        with readers_may_leave():
            _print(folder, learned, problem, scores, times, options)
    astray = learned.name == "perceptron" and _worse_than_the_mean(scores["train"])
    return CONVERGED if _fine(learned) and not astray else NOT_CONVERGED


def _problem(table: Table, options: argparse.Namespace) -> Problem:
    """What train.py would fit, but numbers count as classes for a model that knows nothing else."""
    problem = make_problem(table, options)
    if MODELS[options.model].classes_only and problem.classes is None:
        options.family = "categorical"
        problem = make_problem(table, options)
    return problem


def _status(learned: Learned) -> Status:
    """That of the fit; the worst of several machines."""
    return Status(int(np.max(np.asarray(learned.fit.status))))


def _fine(learned: Learned) -> bool:
    """Whether there is an optimum, or training ran as it was told to."""
    trained = learned.name == "perceptron" and _status(learned) == Status.STEP_LIMIT
    return trained or _status(learned) == Status.CONVERGED


def _worse_than_the_mean(scores: Scores) -> bool:
    """Whether the mean alone has the larger likelihood on the rows that were fitted: training went astray, or a model is too sure."""
    both = scores.get("deviance explained", scores.get("log-likelihood per row"))
    return both is not None and not both["model"] >= both["mean only"]


def _panels(learned: Learned, problem: Problem, rows: Evaluation, which: str) -> list[Any]:
    panels = [learning_curve(learned.fit)] if learned.name == "perceptron" else []
    # Between the levels of a text column, and between counts, there is nothing to predict.
    if all(code.levels is None for code in problem.coding) and set(learned.settings.get("laws", ())) <= {"normal"}:
        support = None
        if learned.name == "svm":
            support = np.asarray(learned.fit.support).reshape(problem.train.n, -1).any(axis=1)
        panels += prediction_over_columns(learned.mean, problem, support)
    return [*panels, outcome(rows, problem.classes, which)]


def _no_model(folder: Path, learned: Learned) -> int:
    for name in ("model.npz", "metrics.json", "picture.png"):
        (folder / name).unlink(missing_ok=True)
    print(f"learn.py: no model: {_ending(learned)}", file=sys.stderr)
    return NOT_CONVERGED


def _ending(learned: Learned) -> str:
    why = {
        "perceptron": "the loss overflowed. Use a smaller --learning-rate.",
        "kernel": "the kernel matrix could not be factored. Use a larger --l2.",
    }.get(learned.name, "the estimates overflowed. Rescale the columns.")
    ending = _TRAINED if learned.name == "perceptron" and _fine(learned) else _ENDINGS[_status(learned)]
    return " ".join([ending.format(why=why), *getattr(learned.fit, "notes", ())])


def _print(
    folder: Path,
    learned: Learned,
    problem: Problem,
    scores: dict[str, Scores],
    times: dict[str, float],
    options: argparse.Namespace,
) -> None:
    console = OutputConsole()
    family = {} if MODELS[learned.name].natural is None else {"family": f"{problem.family_name} ({problem.why})"}
    print_facts(
        console,
        described(problem, options.data)
        | {"model": MODELS[learned.name].title}
        | family
        | MODELS[learned.name].describe(learned.settings, learned.fit)
        | {"device": f"{device()}, {'64' if options.x64 else '32'} bit"},
    )
    print_scores(console, scores)
    useless = _worse_than_the_mean(scores["train"])
    print_facts(console, {"status": _ending(learned)}, "green" if _fine(learned) and not useless else "yellow")
    if useless:
        print_facts(
            console,
            {
                "worse": "than the mean alone, by the likelihood of the rows that were fitted. "
                + _REMEDIES[learned.name]
            },
            "yellow",
        )
    print_facts(console, {"time": ", ".join(f"{what} {seconds:.3f} s" for what, seconds in times.items())})
    print_facts(console, {"saved": f"{folder}/model.npz, metrics.json, picture.png"})


def _write_metrics(
    path: Path,
    learned: Learned,
    problem: Problem,
    scores: dict[str, Scores],
    times: dict[str, float],
    options: argparse.Namespace,
) -> None:
    metrics = {
        "data": str(options.data),
        "target": list(problem.target),
        "model": learned.name,
        "family": problem.family_name,
        "settings": learned.settings,
        "device": device(),
        "bits": 64 if options.x64 else 32,
        "rows": {"train": len(problem.train.X), "test": len(problem.test.X), "dropped": problem.dropped},
        "columns": len(problem.names),
        "status": _status(learned).name,
        "scores": score_numbers(scores),
        "seconds": times,
    }
    path.write_text(json.dumps(metrics, indent=2) + "\n")


def _predict(options: argparse.Namespace) -> int:
    header, learned, coding = load(options.load)
    with jax.enable_x64(header["x64"]), readers_may_leave():
        table = read_table(options.predict, options)
        mean = learned.mean(coded(table, coding, header["x64"]))
        columns = named_columns(mean, header)
        if MODELS[learned.name].natural is None:
            columns = {"prediction": columns["prediction"]}
        write_predictions(columns, options.output)
    return CONVERGED


# -- the command line ------------------------------------------------------------------------------------------------
def _parse(arguments: list[str] | None) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("learn.py", description=summary, epilog=rest, formatter_class=formatter)
    group = parser.add_argument_group("prediction by a saved model")
    group.add_argument("--load", metavar="MODEL", help="a saved model.npz")
    group.add_argument("--predict", metavar="DATA", help="predict the rows of a file or data set")
    group.add_argument("--output", metavar="CSV", help="where to (default: standard output)")
    models = parser.add_subparsers(dest="model", metavar="MODEL", title="models")
    for name, model in MODELS.items():
        text = f"{model.title} (without data: {model.job['data']})"
        one = models.add_parser(name, help=text, description=f"{model.title[0].upper()}{model.title[1:]}.")
        add_data_options(one)
        own = one.add_argument_group("model")
        model.add_options(own.add_argument)
        if not model.classes_only:
            scalar = [key for key, kind in FAMILIES.items() if kind.target not in ("vector", "trials")]
            known = [key for key in scalar if key != "negative-binomial"]  # whose size is not known
            own.add_argument(
                "--family",
                choices=["auto", *known],
                default="auto",
                metavar="F",
                help=f"of the target: auto or {', '.join(known)}",
            )
        if model.scaled:
            own.add_argument(
                "--no-standardize",
                dest="standardize",
                action="store_false",
                help="fit on the columns as they are, not on columns of mean 0 and deviation 1",
            )
        add_precision(own)
        add_output_options(one.add_argument_group("output"), prediction=False)
        one.set_defaults(family="auto", **_NOT_HERE)
    options = parser.parse_args(arguments)
    if options.load is None and options.model is None:
        parser.error(f"which model? one of {', '.join(MODELS)}; or --load MODEL --predict DATA")
    if (options.load is None) != (options.predict is None):
        parser.error("--load and --predict go together")
    if options.load is not None:
        if options.model is not None:
            parser.error(f"{options.model} has no use with --load: the file says which model it holds")
        vars(options).update(dict.fromkeys(("labels", *CSV)))
    elif options.data is None:
        for key, value in MODELS[options.model].job.items():
            if not getattr(options, key):
                setattr(options, key, value)
    return options


if __name__ == "__main__":
    stop_at_once()
    sys.exit(main())
