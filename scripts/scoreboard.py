"""Hard data side by side: what jaxml and the packages installed beside it make of separation, lost ranks, wild units and the like.

    python scripts/scoreboard.py                            all cases, all contestants
    python scripts/scoreboard.py "a copy" "offsets"         the cases whose names begin so
    python scripts/scoreboard.py --alone --reasons          jaxml only, and why each verdict is what it is
    python scripts/scoreboard.py --plain --json table.json  plain text, and all verdicts with their reasons in a file

One judge for all: `right` is silent and at the optimum that 50 digits find; `said so` is a true status or warning where there is
no optimum, or none that the precision can hold; `wrong` is NaN, a silent fit away from the optimum or without one, or a status that
is not true; `refused` is an error, or an optimum missed and admitted. A dot: no such model. Every case is in ``scripts/hard_data``,
with where its expectation comes from. Exit code 1 where a row of jaxml does not stand. Needs the `test` extra.
"""

import argparse
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import jax

from hard_data import CASES, Case, Judgement, judge, select
from hard_data.contestants import Contestant, contestants

STANDS, FALLS, REFUSED = 0, 1, 2
SHORT = {"right": "right", "right, said so": "said so", "wrong": "wrong", "refused": "refused"}
STYLE = {"right": "green", "said so": "green", "wrong": "bold red", "refused": "yellow", ".": "dim"}
WIDTH = 9


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="the beginning of a name; default: all")
    parser.add_argument("--alone", action="store_true", help="jaxml without the others")
    parser.add_argument("--reasons", action="store_true", help="print what each verdict other than right rests on")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all verdicts and reasons to this file")
    parser.add_argument("--plain", action="store_true", help="plain text, also where rich is installed")
    options = parser.parse_args(arguments)
    try:
        cases = select(options.cases)
    except ValueError as error:
        print(f"scoreboard.py: {error}", file=sys.stderr)
        return REFUSED
    field = [c for c in contestants() if not options.alone or c.name.startswith("jaxml")]
    show = _print_plain if options.plain or importlib.util.find_spec("rich") is None else _print_rich
    results: dict[str, list[Judgement | None]] = {}
    about = None
    with jax.enable_x64(True):
        for case in sorted(cases, key=lambda case: case.about):
            results[case.name] = row = [verdict(contestant, case) for contestant in field]
            show(case, row, field, case.about != about)
            if options.reasons:
                _print_reasons(field, row)
            sys.stdout.flush()
            about = case.about
    _print_totals(field, results)
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(field, results), indent=2) + "\n")
    ours = [j for row in results.values() for c, j in zip(field, row, strict=True) if c.name.startswith("jaxml")]
    return STANDS if all(j is not None and j.stands for j in ours) else FALLS


def verdict(contestant: Contestant, case: Case) -> Judgement | None:
    """The judge's word on what a contestant makes of a case; None where it has no such model."""
    outcome = contestant.fit(case)
    return None if outcome is None else judge(case, outcome, contestant.dtype)


def as_json(field: list[Contestant], results: dict[str, list[Judgement | None]]) -> list[dict[str, object]]:
    """One entry for each case: what it is, what it must end in and why, and the verdicts."""
    return [
        {
            "case": name,
            "about": CASES[name].about,
            "family": CASES[name].family,
            "link": CASES[name].link,
            "expected": CASES[name].expects,
            "expected in float32": CASES[name].ends("float32"),
            "because": CASES[name].why,
            "verdicts": {c.name: None if j is None else j._asdict() for c, j in zip(field, row, strict=True)},
        }
        for name, row in results.items()
    ]


def _cell(judgement: Judgement | None) -> str:
    return "." if judgement is None else SHORT[judgement.verdict]


def _print_plain(case: Case, row: list[Judgement | None], field: list[Contestant], first: bool) -> None:
    if first:
        print(f"\n{case.about}\n{'':52}" + " ".join(f"{c.name[-WIDTH - 2 :]:>{WIDTH + 2}}" for c in field))
    cells = " ".join(f"{_cell(j):>{WIDTH + 2}}" for j in row)
    print(f"{case.name[:40]:40} {case.expects[:10]:10} {cells}")


def _print_rich(case: Case, row: list[Judgement | None], field: list[Contestant], first: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, show_header=first, expand=True, title=case.about if first else None
    )
    table.title_justify, table.title_style = "left", "bold"
    table.add_column("case", ratio=1)
    table.add_column("expected", width=10)
    for contestant in field:
        table.add_column(contestant.name, width=WIDTH)
    name = Text(f"{case.name}\n").append(f"{case.family}, {case.link}: {case.why}", style="dim")
    table.add_row(name, case.expects, *(Text(_cell(j), style=STYLE[_cell(j)]) for j in row))
    Console().print(table)


def _print_reasons(field: list[Contestant], row: list[Judgement | None]) -> None:
    for contestant, judgement in zip(field, row, strict=True):
        if judgement is not None and judgement.verdict != "right":
            print(f"    {contestant.name}: {judgement.verdict}: {' '.join(judgement.reason.split())[:160]}")


def _print_totals(field: list[Contestant], results: dict[str, list[Judgement | None]]) -> None:
    print(f"\n{len(results)} cases of {len(CASES)}")
    for k, contestant in enumerate(field):
        count = Counter(_cell(row[k]) for row in results.values())
        entered = sum(count.values()) - count["."]
        words = ", ".join(f"{count[word]} {word}" for word in SHORT.values())
        print(f"{contestant.name:24} {entered:4} entered: {words}")


if __name__ == "__main__":
    sys.exit(main())
