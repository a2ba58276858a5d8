"""Timing in turns, after a calibration that drives every contestant to the same point by a tolerance of its own.

All run once with their tightest tolerance; an alarm ends the run of a peer that takes longer than the best one so far, between two
steps of Python (where the system has no alarms, it is waited for). Then those that may be the best look for the loosest tolerance that
gets there, and those that still may be take turns. So a row takes as long as its best few contestants need, whatever others would need.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from benchmarks.table import Entrant, Entry, Options

PAUSE = 0.1  # seconds of rest before each run: threads of the one before (OpenBLAS) still spin for a while
PATIENCE = 1.5  # times the best peer so far, within which a peer gets there or is given up
FIRST_PATIENCE, FOR_GOAL = 8.0, 1.2  # times jaxml, for the first of the peers; times the goal, if that is more
LEAST_PATIENCE = 1.5  # seconds
FILL = 0.05  # seconds: a run that is shorter is repeated at once until it has taken as long, and the mean counts
NEAR, BRIEF = 1.25, 0.1  # times the best peer, and seconds, from which on the run of the calibration is enough
LONG = 3.0  # seconds, from which on a peer tries one other tolerance
ROUNDS = 6.0  # seconds that the rounds after the first may take
FEW = 3  # rounds, below which the calibration's run counts, too

Gap = Callable[[Any], float]


class Trial(NamedTuple):
    """One run of a contestant: what it reached with this tolerance, and in how long; ``given_up`` says that it would have gone on."""

    tolerance: Any
    reached: float = math.inf
    passes: int | None = None
    seconds: float = 0.0
    given_up: bool = False


def contest(
    entrants: Sequence[Entrant], gap: Gap, until: float, options: Options, goal: float | None = None
) -> list[Entry]:
    """Calibrate all, then time in turns those that reach ``until`` and may be the best, ours first, which is to be ``goal`` times as
    fast."""
    found: list[Trial] = []
    for entrant in entrants:
        if entrant.compiles:
            entrant.fit(entrant.tolerances[0])
        best, own = (_best(ours, entrants, found, until) for ours in (False, True))
        limit = _patience(entrant, best, own, goal)
        found.append(_try(entrant, gap, entrant.tolerances[-1], limit))
    for i in _within(PATIENCE, entrants, found, until):
        found[i] = _loosest(entrants[i], gap, until, found[i])
    near = _within(NEAR, entrants, found, until)
    rounds = min(options.repetitions, 1 + int(ROUNDS / max(sum(found[i].seconds for i in near), 1e-9)))
    times = dict(zip(near, race([partial(entrants[i].fit, found[i].tolerance) for i in near], rounds), strict=True))
    few = min(FEW, options.repetitions)
    return [_entry(e, t, times.get(i, []), until, few) for i, (e, t) in enumerate(zip(entrants, found, strict=True))]


def _best(ours: bool, entrants: Sequence[Entrant], found: Sequence[Trial], until: float) -> float:
    """The least seconds for the whole work, of ours or of the peers, until now; infinite where none got there."""
    tried = [(e, t) for e, t in zip(entrants, found, strict=False) if e.ours == ours and t.reached <= until]
    return min((t.seconds * e.scale for e, t in tried), default=math.inf)


def _within(factor: float, entrants: Sequence[Entrant], found: Sequence[Trial], until: float) -> list[int]:
    """Which got there in so many times the best peer's time, or in a moment, or are ours."""
    limit = factor * _best(False, entrants, found, until)
    near = lambda e, t: e.ours or t.seconds <= BRIEF or t.seconds * e.scale <= limit
    pairs = enumerate(zip(entrants, found, strict=True))
    return [i for i, (e, t) in pairs if t.reached <= until and near(e, t)]


def _patience(entrant: Entrant, best: float, own: float, goal: float | None) -> float:
    if entrant.ours:
        return math.inf
    seconds = PATIENCE * best if best < math.inf else max(FIRST_PATIENCE, FOR_GOAL * (goal or 0)) * own
    return max(LEAST_PATIENCE, seconds / entrant.scale)


def _entry(entrant: Entrant, trial: Trial, times: list[float], until: float, few: int) -> Entry:
    if trial.reached <= until and len(times) < few:
        times = [*times, trial.seconds]
    seconds = [t * entrant.scale for t in times]
    note = entrant.note if seconds else "given up" if trial.given_up else "stops short of it"
    spent = trial.seconds * entrant.scale if trial.given_up else None
    return Entry(entrant.name, seconds, trial.reached, trial.tolerance, trial.passes, spent, note)


def race(runs: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Seconds of each run in each of the rounds."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            time.sleep(PAUSE)
            taken.append(_mean_time(run))
    return times


def _mean_time(run: Callable[[], Any]) -> float:
    start, calls, seconds = time.perf_counter(), 0, 0.0
    while calls == 0 or seconds < FILL:
        run()
        calls, seconds = calls + 1, time.perf_counter() - start
    return seconds / calls


# -- calibration -----------------------------------------------------------------------------------------------------
def _loosest(entrant: Entrant, gap: Gap, until: float, last: Trial) -> Trial:
    """The run with the loosest tolerance that reaches ``until``, as the last one did with the tightest."""
    low, high, tried = -1, len(entrant.tolerances) - 1, 0
    while high - low > 1 and (entrant.ours or last.seconds < LONG or tried < 1):
        middle, tried = (low + high + 1) // 2, tried + 1
        trial = _try(entrant, gap, entrant.tolerances[middle], max(LEAST_PATIENCE, 2 * last.seconds))
        if trial.reached <= until:
            high, last = middle, trial
        else:
            low = middle
    return last


def _try(entrant: Entrant, gap: Gap, tolerance: Any, limit: float) -> Trial:
    """One run, of ``limit`` seconds at most; a contestant that raises an error has reached nothing."""
    start = time.perf_counter()
    try:
        with _at_most(limit):
            try:
                answer = entrant.fit(tolerance)
            except (ArithmeticError, ValueError, RuntimeError):  # (LinAlgError is a ValueError)
                return Trial(tolerance)
            seconds = time.perf_counter() - start
    except _TimeUpError:
        return Trial(tolerance, seconds=time.perf_counter() - start, given_up=True)
    reached = gap(answer.found)
    return Trial(tolerance, reached if reached == reached else math.inf, answer.passes, seconds)


class _TimeUpError(BaseException):
    """Not an ``Exception``, which a contestant may catch."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Ends what is within by :class:`_TimeUpError` after so many seconds, if there are alarms and an end to the seconds."""
    heard = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not heard or seconds == math.inf:
        yield
        return

    def ring(*_: Any) -> None:
        raise _TimeUpError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
