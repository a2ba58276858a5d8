"""How fast jaxml is beside its peers: the same arrays, the same gradient, in turns; memory, growth, cold starts; goals for all.

    python scripts/benchmark.py                              everything, a quarter of an hour on two cores
    python scripts/benchmark.py --only logistic softmax-1    the workloads whose ids begin so
    python scripts/benchmark.py --output runs/benchmark      and JSON, a picture and the tables as text
    python scripts/benchmark.py --list                       all ids

Every contestant is driven until max_j |gradient_j| / rms(x_j) of the mean loss, computed here in NumPy, is at most 1e-8; those that
may be the best by the loosest tolerance of their own that gets there, in repetitions that go through all of them in turn, so that a
slow moment of the machine hits all; times are medians, ratios medians of the ratios. A peer that takes more than a moment and a quarter
longer than the best is timed once; one that takes half as long again is given up ("> t s"), as is one that takes several times as long
as jaxml while no peer got there. Five repetitions become fewer where a round of all takes more than two seconds. jaxml computes on the
default device of JAX, its peers on the CPU. Workloads and contestants are rows of tables in ``scripts/benchmarks``; a peer that is not
installed is left out. Needs the `benchmark` extra.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import jax
from rich.console import Console

from benchmarks import report
from benchmarks.table import Options, Outcome, Workload
from benchmarks.workloads import WORKLOADS, select

WIDTH, INTERRUPTED = 150, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="the beginnings of ids")
    parser.add_argument("--quick", action="store_true", help="small sizes: a test of the program, not of speed")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="DIR", help="write benchmark.json, .png and .txt there")
    parser.add_argument("--list", action="store_true", help="print the ids and stop")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(f"{w.id:28} {w.title}" for w in WORKLOADS))
        return 0
    if options.repetitions < 1:
        parser.error(f"--repetitions must be at least 1, got {options.repetitions}")
    try:
        chosen = select(options.only)
        if options.output is not None:  # before a quarter of an hour is spent
            options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2
    return run(chosen, Options(options.repetitions, options.quick), options.output)


def run(chosen: list[Workload], options: Options, folder: Path | None) -> int:
    """Measure, print as it goes, and write what was found; the exit code, as a shell's where it was interrupted."""
    console = Console(record=folder is not None, width=None if sys.stdout.isatty() else WIDTH)
    facts, results, seconds, code = report.machine(), {}, {}, 0
    small = "; small sizes, whatever the titles say" if options.quick else ""
    console.print(f"{facts['cpu']}, {facts['cores']} cores; JAX on {facts['device']}{small}", highlight=False)
    try:
        for workload in chosen:
            start = time.perf_counter()
            outcome = measured(workload, options)
            results[workload.id], seconds[workload.id] = outcome, time.perf_counter() - start
            report.print_outcome(console, workload, outcome, seconds[workload.id])
    except KeyboardInterrupt:
        code = INTERRUPTED
        console.print("\n[bold]interrupted[/bold]: what was measured until now is kept")
    goals = [*(goal for outcome in results.values() for goal in outcome.goals), *report.summary_goals(results)]
    met = sum(goal.met for goal in goals)
    console.print(f"\n[bold]{met} of {len(goals)} goals met[/bold], {sum(seconds.values()):.0f} s")
    if len(chosen) > 1 and goals:
        console.print(report.goal_table(goals))
    if folder is not None:
        report.save(folder, chosen, results, goals, seconds)
        (folder / "benchmark.txt").write_text(console.export_text())
    return code


def measured(workload: Workload, options: Options) -> Outcome:
    """A workload by itself, in float64; one whose packages are missing says so."""
    with warnings.catch_warnings(record=True), jax.enable_x64(True):  # (statsmodels resets the filters)
        warnings.simplefilter("ignore")
        try:
            return workload.run(workload, options)
        except ModuleNotFoundError as error:
            return Outcome(remarks=[f"left out: {error.name} is not installed"])


if __name__ == "__main__":
    sys.exit(main())
