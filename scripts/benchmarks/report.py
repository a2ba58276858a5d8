"""What the benchmark leaves: tables on the terminal and as text, JSON with every time, one picture."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.table import Entry, Goal, Outcome, Workload, ratio_to_ours

PACKAGES = ("jaxml-learn", "jax", "numpy", "scipy", "scikit-learn", "statsmodels", "glum", "glmax", "torch")
Results = dict[str, Outcome]


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    device = jax.devices()[0]
    facts = {"cpu": _cpu(), "cores": os.cpu_count(), "device": f"{device.platform}, {device.device_kind}"}
    return facts | {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


# -- tables ----------------------------------------------------------------------------------------------------------
def print_outcome(console: Console, workload: Workload, outcome: Outcome, seconds: float) -> None:
    """One workload: its entries, remarks and goals."""
    console.print(f"\n[bold]{workload.title}[/bold]  [dim]{workload.id}, {seconds:.0f} s[/dim]")
    if outcome.entries and workload.id != "compile":
        console.print(_entries(outcome))
    for line in outcome.remarks:
        console.print(f"  {line}", style="dim", highlight=False)
    if outcome.goals:
        console.print(goal_table(outcome.goals))


def _entries(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("")
    for heading in ("median s", "range", outcome.measure, "tolerance", "passes", "time / jaxml"):
        table.add_column(heading, justify="right")
    table.add_column("")
    ours = next((e for e in outcome.entries if e.times), None)
    for e in outcome.entries:
        spans = f"{min(e.times):.3g} - {max(e.times):.3g}" if len(e.times) > 1 else ""
        median = f"{e.median:.4g}" if e.times else f"> {e.spent:.3g}" if e.spent is not None else "-"
        reached = (
            f"{e.reached:.1e}" if outcome.measure and np.isfinite(np.nan if e.reached is None else e.reached) else ""
        )
        ratio = f"{ratio_to_ours(e, ours):.2f}" if e.times and ours else ""
        table.add_row(e.name, median, spans, reached, _short(e.tolerance), _short(e.passes), ratio, e.note)
    return table


def _short(value: Any) -> str:
    return "" if value is None else f"{value:g}"


def goal_table(goals: Any) -> Table:
    """Figure, bound, met or not."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("what")
    for heading in ("figure", "goal", ""):
        table.add_column(heading, justify="right")
    for goal in goals:
        sign = ">=" if goal.above else "<="
        verdict = "[green]met[/green]" if goal.met else "[bold red]not met[/bold red]"
        table.add_row(goal.what, f"{'> ' if goal.least else ''}{goal.figure:.3g}", f"{sign} {goal.bound:g}", verdict)
    return table


def summary_goals(results: Results) -> list[Goal]:
    """What all logistic rows together should show."""
    goals = (goal for name, o in results.items() if name.startswith("logistic-") for goal in o.goals)
    figures = [goal.figure for goal in goals if goal.above]
    figures = [f for f in figures if np.isfinite(f)]
    if len(figures) < 2:
        return []
    mean = float(np.exp(np.mean(np.log(figures))))
    return [
        Goal("all logistic rows: geometric mean", mean, 3.0),
        Goal("all logistic rows: the least", min(figures), 1.0),
    ]


# -- files -----------------------------------------------------------------------------------------------------------
def save(
    folder: Path, workloads: list[Workload], results: Results, goals: list[Goal], seconds: dict[str, float]
) -> None:
    """benchmark.json, benchmark.png; the text is the console's."""
    rows = [
        {
            "id": w.id,
            "title": w.title,
            "seconds": seconds[w.id],
            "entries": [_entry(e) for e in results[w.id].entries],
            "goals": [_goal(g) for g in results[w.id].goals],
            "remarks": list(results[w.id].remarks),
        }
        for w in workloads
        if w.id in results
    ]
    found = {"machine": machine(), "workloads": rows, "goals": [_goal(g) for g in goals]}
    (folder / "benchmark.json").write_text(json.dumps(found, indent=1) + "\n")
    picture(folder / "benchmark.png", goals)


def _entry(entry: Entry) -> dict[str, Any]:
    return entry._asdict() | {"reached": entry.reached if np.isfinite(entry.reached or 0) else None}


def _goal(goal: Goal) -> dict[str, Any]:
    return goal._asdict() | {"met": goal.met, "figure": goal.figure if np.isfinite(goal.figure) else None}


def picture(path: Path, goals: list[Goal]) -> None:
    """The best peer's time in units of jaxml's, a bar for each workload, with a mark where the goal is."""
    from matplotlib.figure import Figure

    shown = [g for g in goals if g.above and np.isfinite(g.figure)][::-1]
    if not shown:
        return
    figure = Figure(figsize=(10, 1 + 0.28 * len(shown)), layout="constrained")
    axes, at = figure.subplots(), np.arange(len(shown))
    colours = ["#2a9d5c" if g.met else "#c8553d" for g in shown]
    axes.barh(at, [g.figure - 1 for g in shown], left=1, color=colours, height=0.7)
    axes.plot([g.bound for g in shown], at, "k|", markersize=11, markeredgewidth=2, label="goal")
    axes.set_yticks(at, [g.what for g in shown], fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time of the best peer / time of jaxml, at the same gradient")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=150)
