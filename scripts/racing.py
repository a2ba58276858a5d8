"""Timing in turns, so that what else a machine does is unfair to all alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

PAUSE = 0.1  # seconds of rest before each run: threads of the one before (OpenBLAS) still spin for a while


def race(runs: Sequence[Callable[[], Any]], repetitions: int) -> np.ndarray:
    """Seconds of each run, (repetitions, runs), after a first call of each that compiles or warms up."""
    for run in runs:
        jax.block_until_ready(run())
    times = np.empty((repetitions, len(runs)))
    for i in range(repetitions):
        for j, run in enumerate(runs):
            time.sleep(PAUSE)
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[i, j] = time.perf_counter() - start
    return times


def compare(title: str, contestants: dict[str, Callable[[], Any]], repetitions: int) -> None:
    """Print median and range of each, and the median of the ratios to the first."""
    times = race(list(contestants.values()), repetitions)
    for j, name in enumerate(contestants):
        taken = times[:, j]
        ratio = f", {statistics.median(taken / times[:, 0]):.2f} times as long" if j else ""
        print(f"{title:24s} {name:14s} {np.median(taken):7.3f} s ({taken.min():.3f} to {taken.max():.3f}){ratio}")
