"""How far a fit is from the machine: its time in units of one pass over X at the fastest rate that the machine reads it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import contestants, problems
from benchmarks.measure import contest
from benchmarks.problems import Problem, judge
from benchmarks.table import UNTIL, Answer, Entrant, Goal, Options, Outcome, Workload, ratio_to_ours

THREADS = 2


def limit(workload: Workload, options: Options) -> Outcome:
    """jaxml and several ways to read X once, in turns."""
    problem = problems.make(workload.sized(options))
    field, _ = contestants.entrants(problem)
    return passes(workload, problem, [entrant for entrant in field if entrant.ours], options)


def passes(workload: Workload, problem: Problem, ours: list[Entrant], options: Options) -> Outcome:
    """What the first of ``ours`` takes, in passes."""
    field = [Entrant(f"a pass, {name}", _reading(run), compiles=True) for name, run in _passes(problem).items()]
    stationarity = judge(problem)
    gap = lambda found: 0.0 if found is None else stationarity(found)
    entries = contest([*ours, *field], gap, UNTIL, options)
    fastest = min((e for e in entries if not e.ours), key=lambda e: e.median)
    units = ratio_to_ours(entries[0], fastest)
    rate = problem.X.nbytes / fastest.median / 1e9
    goal = Goal(f"{workload.title}: a fit in passes over X", units, workload.more["passes"], above=False)
    return Outcome(entries, [goal], [f"fastest pass: {fastest.name}, {rate:.1f} GB/s"])


def _reading(run: Callable[[], Any]) -> Callable[[Any], Answer]:
    def fit(tolerance: Any) -> Answer:
        jax.block_until_ready(run())
        return Answer(None)

    return fit


def _passes(problem: Problem) -> dict[str, Callable[[], Any]]:
    X, ones = jnp.asarray(problem.X), jnp.ones(problem.X.shape[1])
    total, product = jax.jit(jnp.sum), jax.jit(jnp.matmul)
    halves = np.array_split(problem.X, THREADS)
    pool, vector = ThreadPoolExecutor(THREADS), np.ones(problem.X.shape[1])
    return {
        "jnp.sum": lambda: total(X),
        "jnp.matmul": lambda: product(X, ones),
        "np.sum in threads": lambda: list(pool.map(np.sum, halves)),
        "X @ ones": lambda: problem.X @ vector,
    }
