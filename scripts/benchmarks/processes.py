"""What only a process of its own can tell: peak memory, growth, whole programs from a cold start, the time of compiling."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import programs
from benchmarks.measure import race
from benchmarks.table import Entry, Goal, Options, Outcome, Workload, ratio_to_ours

SCRIPTS = Path(__file__).parents[1]
COLD = 3  # repetitions of whole programs


def python(arguments: Sequence[str], **environment: str) -> str:
    """What a Python process prints; it finds jaxml and the benchmark where this one does.

    Bytecode is kept, as that of installed packages is: jaxml is not to be parsed each time where they are not. Of an accelerator, most
    of whose memory this process may hold, it takes what it needs.
    """
    path = os.pathsep.join([str(SCRIPTS), str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")])
    left_out = {"JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"}
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    needed = {"PYTHONPATH": path, "JAX_ENABLE_X64": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    variables = inherited | needed | environment
    done = subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{arguments[:3]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def child(sizes: Sequence[tuple[int, int]], kinds: Sequence[str]) -> list[dict[str, Any]]:
    """See :mod:`benchmarks.child`. One arena, since glibc gives back what is free in the first one only."""
    arguments = [",".join(kinds), *(f"{rows}x{columns}" for rows, columns in sizes)]
    return json.loads(python(["-m", "benchmarks.child", *arguments], MALLOC_ARENA_MAX="1").splitlines()[-1])


# -- memory and growth -----------------------------------------------------------------------------------------------
def memory(workload: Workload, options: Options) -> Outcome:
    """Extra peak memory of a fit in units of X: none of it is to be copied but a plain NumPy array."""
    size, entries, goals, lines = workload.sized(options), [], [], []
    bounds = {"jax": workload.goal, "aligned": workload.goal, "numpy": 1 + workload.goal}
    for (kind, bound), found in zip(bounds.items(), child([(size.rows, size.columns)], list(bounds)), strict=True):
        entries.append(Entry(f"jaxml, {kind}", [found["seconds"]]))
        if found["extra"] is None:
            lines.append("the peak of memory cannot be read here")
            continue
        units = found["extra"] / found["size"]
        lines.append(f"X {kind}: {found['extra'] / 2**20:.0f} MiB extra, {units:.3f} of X")
        goals.append(Goal(f"{workload.title}, X {kind}: extra memory / X", units, bound, above=False))
    return Outcome(entries, goals, lines, measure="")


def growth(workload: Workload, options: Options) -> Outcome:
    """Time and memory while rows or columns double three times, and the exponents fitted to them."""
    doublings = range(2 if options.quick else 4)
    size, along = workload.sized(options), workload.more["along"]
    sizes = [(size.rows << k, size.columns) if along == "rows" else (size.rows, size.columns << k) for k in doublings]
    found = child(sizes, ["jax"])
    counts = [each[0] if along == "rows" else each[1] for each in sizes]
    entries = [Entry(f"jaxml, {n:,} x {d}", [f["seconds"]]) for (n, d), f in zip(sizes, found, strict=True)]
    lines = [f"time grows as {along}^{_slope(counts, [f['seconds'] for f in found]):.2f}"]
    if all(f["extra"] for f in found):
        peaks = ", ".join(f"{f['extra'] / 2**20:.1f}" for f in found)
        lines.append(f"extra memory grows as {along}^{_slope(counts, [f['extra'] for f in found]):.2f}: {peaks} MiB")
    return Outcome(entries, (), lines, measure="")


def _slope(sizes: Sequence[float], figures: Sequence[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(figures), 1)[0])


# -- whole programs --------------------------------------------------------------------------------------------------
def cold(workload: Workload, options: Options) -> Outcome:
    """A fit of a small table from the start of Python to its end."""
    with tempfile.TemporaryDirectory() as folder:
        data = programs.save_table(Path(folder))
        cache = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        cached = partial(_whole, "jaxml", data, **cache)
        cached()
        runs = {name: partial(_whole, name, data) for name in programs.installed()} | {"jaxml, cached": cached}
        times = race(list(runs.values()), min(COLD, options.repetitions))
    entries = {name: Entry(name, taken) for name, taken in zip(runs, times, strict=True)}
    ours = entries["jaxml"]
    goals = [
        Goal("cold start: jaxml cached / not cached", ratio_to_ours(entries["jaxml, cached"], ours), 1.0, above=False)
    ]
    if "scikit-learn" in entries:
        goals.insert(0, Goal("cold start: scikit-learn / jaxml", ratio_to_ours(entries["scikit-learn"], ours), 1.0))
    return Outcome(list(entries.values()), goals, measure="")


def _whole(name: str, data: Path, **environment: str) -> None:
    python(["-c", programs.FITS[name][1], str(data)], **environment)


def compiling(workload: Workload, options: Options) -> Outcome:
    """The longest compilation of each entry point at small shapes, in one fresh process."""
    start = time.perf_counter()
    wanted = programs.QUICK if options.quick else ""
    found = json.loads(python(["-m", "benchmarks.programs", wanted]).splitlines()[-1])
    longest = sorted(found, key=lambda row: -row["seconds"])
    lines = [f"{row['seconds']:6.2f} s  {row['entry']}: {row['program']}" for row in longest[:12]]
    lines.append(
        f"{sum(r['seconds'] for r in found):.1f} s in all of {time.perf_counter() - start:.1f} s, {len(found)} programs"
    )
    entries = [Entry(f"jaxml, {r['entry']}: {r['program']}", [r["seconds"]]) for r in longest]
    goal = Goal("longest compilation, seconds", longest[0]["seconds"], workload.goal, above=False)
    return Outcome(entries, [goal], lines, measure="")
