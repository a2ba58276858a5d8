"""Walk through the course notes row by row: the formula typed in NumPy, what jaxml computes, and their difference.

    python scripts/walkthrough.py              all rows
    python scripts/walkthrough.py 3 5.2        linear regression, and the Bernoulli family
    python scripts/walkthrough.py --plain      without colours or boxes

The rows are short functions in ``scripts/course``, one file per section. Exit code 1 where a difference is too large.
"""

import argparse
import importlib.util
import sys

import jax
import numpy as np

from course import ROWS, Outcome, Row, check, select

SECTIONS = {
    "1": "Supervised learning",
    "2": "Optimisation",
    "3": "Linear regression",
    "4": "Logistic and softmax regression",
    "5": "Exponential family",
    "6": "Generalised linear models",
    "7": "Generative classifiers",
    "8": "Kernels",
    "9": "Neural networks",
}
AGREE, DIFFER, REFUSED = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="a row such as 5.2 or a section such as 3; default: all")
    parser.add_argument("--plain", action="store_true", help="plain text, also where rich is installed")
    options = parser.parse_args(arguments)
    try:
        rows = select(options.rows)
    except ValueError as error:
        print(f"walkthrough.py: {error}", file=sys.stderr)
        return REFUSED
    show = _print_plain if options.plain or importlib.util.find_spec("rich") is None else _print_rich
    outcomes, section = [], None
    for row in rows:
        with jax.enable_x64(True):
            outcome = check(row)
        show(row, outcome, "" if row.number[0] == section else f"{row.number[0]} {SECTIONS[row.number[0]]}")
        sys.stdout.flush()
        outcomes.append(outcome)
        section = row.number[0]
    wrong = sum(not outcome.agrees for outcome in outcomes)
    largest = max(outcome.difference for outcome in outcomes)
    print(f"{len(rows)} rows of {len(ROWS)}, {wrong} wrong; largest difference {largest:.1e}")
    return DIFFER if wrong else AGREE


def _print_plain(row: Row, outcome: Outcome, title: str) -> None:
    """A row, under the title of its section where it is the first."""
    if title:
        print(f"\n{title}")
    print(f"  {row.number}  {row.title}: {row.formula}")
    print(f"       closed form {_numbers(outcome.closed)}")
    print(f"       jaxml       {_numbers(outcome.computed)}")
    print(f"       difference  {outcome.difference:.1e} {_verdict(outcome)}")


def _print_rich(row: Row, outcome: Outcome, title: str) -> None:
    """The same as one row of a table, whose columns have widths that do not depend on the rows to come."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_header=bool(title), expand=True, title=title or None)
    table.title_justify, table.title_style = "left", "bold"
    table.add_column("row", width=3)
    table.add_column("statement", ratio=5)
    table.add_column("closed form", ratio=3)
    table.add_column("jaxml", ratio=3)
    table.add_column("difference", justify="right", width=10)
    statement = Text(f"{row.title}\n").append(row.formula, style="dim")
    verdict = Text(f"{outcome.difference:.1e}\n{_verdict(outcome)}", style="green" if outcome.agrees else "bold red")
    table.add_row(row.number, statement, _numbers(outcome.closed), _numbers(outcome.computed), verdict)
    Console().print(table)


def _numbers(values: np.ndarray) -> str:
    """The first four entries, and how many follow."""
    shown = "  ".join(f"{value:.6g}" for value in values[:4])
    return shown if values.size <= 4 else f"{shown} and {values.size - 4} more"


def _verdict(outcome: Outcome) -> str:
    return "agrees" if outcome.agrees else f"WRONG, {outcome.tolerance:.0e} allowed"


if __name__ == "__main__":
    sys.exit(main())
