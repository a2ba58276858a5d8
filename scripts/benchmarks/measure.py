"""Timing in turns, after a calibration that drives every contestant to the same point by the loosest of its tolerances.

A contestant whose iterations can be counted out and that does not get there within its patience is given up: they are raised step by
step, and an alarm ends the run that takes too long, between two steps of Python (where the system has no alarms, after it). The search
for the tolerance of one whose iterations are not counted out begins where that of the workload before ended.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.table import Answer, Entrant, Entry, Options

PAUSE = 0.1  # seconds of rest before each run: threads of the one before (OpenBLAS) still spin for a while
PATIENCE = 1.5  # times the best peer so far
OVER = 1.2  # times patience, where a run is ended; its inverse, from which on no longer one is begun
FIRST_PATIENCE, FOR_GOAL = 4.0, 1.2  # times jaxml, for the first of the peers, and as many more as the goal says
LEAST_PATIENCE = 1.5  # seconds
FILL = 0.05  # seconds: a run that is shorter is repeated at once until it has taken as long, and the mean counts
CLEAR = 1.5  # times the goal, from which on an iteration less of a peer decides nothing
SLOW = 1.5  # times the best peer, from which on two repetitions are enough
LONG = 3.0  # seconds, from which on one repetition beside the calibration is enough
ONCE, BRIEF = 2.0, 0.3  # times the best peer, and seconds, from which on the run of the calibration is enough
ROUNDS, LEAST_ROUNDS = 6.0, 3  # seconds that the rounds of a race may take in all, and rounds that it has anyway
MOST = 20_000
_FIRST, _GROWTH, _FEW = 2, 3, 2

Gap = Callable[[Any], float]


class Trial(NamedTuple):
    """One run of a contestant: what it reached with this tolerance and this many iterations at most, and in how long; ``given_up`` says
    that it would have gone on."""

    tolerance: Any
    most: int
    reached: float
    passes: int | None
    seconds: float
    given_up: bool = False


def contest(
    entrants: Sequence[Entrant], gap: Gap, until: float, options: Options, goal: float | None = None
) -> list[Entry]:
    """Calibrate all, then time in turns those that reach ``until`` and are not hopeless, ours first, which is to be ``goal`` times as
    fast."""
    found, best, own = [], math.inf, math.inf
    first, clear = FIRST_PATIENCE + FOR_GOAL * (goal or 0), CLEAR * goal if goal else math.inf
    for entrant in entrants:
        trial = calibrate(
            entrant,
            gap,
            until,
            _patience(best, first * own) / entrant.scale,
            min(SLOW * best, clear * own) / entrant.scale,
            options.ends,
        )
        found.append(trial)
        if trial.reached <= until:
            if not entrant.capped:
                options.ends[entrant.name, entrant.tolerances] = entrant.tolerances.index(trial.tolerance)
            seconds = trial.seconds * entrant.scale
            best, own = (best, min(own, seconds)) if entrant.ours else (min(best, seconds), own)
    one = sum(t.seconds for e, t in zip(entrants, found, strict=True) if _races(e, t, until, best))
    rounds = min(options.repetitions, max(LEAST_ROUNDS, int(ROUNDS / max(one, 1e-9))))
    counts = [_repetitions(e, t, until, best, rounds) for e, t in zip(entrants, found, strict=True)]
    times = race([_call(e, t) for e, t in zip(entrants, found, strict=True)], counts)
    return [_entry(e, t, s, until) for e, t, s in zip(entrants, found, times, strict=True)]


def _patience(best: float, first: float) -> float:
    return max(LEAST_PATIENCE, first if best == math.inf else PATIENCE * best)


def _repetitions(entrant: Entrant, trial: Trial, until: float, best: float, repetitions: int) -> int:
    if not _races(entrant, trial, until, best):
        return 0
    if _long(entrant, trial):
        return 1
    slow = not entrant.ours and trial.seconds * entrant.scale > SLOW * best
    return min(2, repetitions) if slow else repetitions


def _races(entrant: Entrant, trial: Trial, until: float, best: float) -> bool:
    hopeless = trial.seconds > BRIEF and trial.seconds * entrant.scale > ONCE * best
    return trial.reached <= until and (entrant.ours or not hopeless)


def _long(entrant: Entrant, trial: Trial) -> bool:
    return not entrant.ours and trial.seconds > LONG


def _call(entrant: Entrant, trial: Trial) -> Callable[[], Answer]:
    return lambda: entrant.fit(trial.tolerance, trial.most)


def _entry(entrant: Entrant, trial: Trial, times: list[float], until: float) -> Entry:
    reached = trial.reached <= until
    if reached and (not times or _long(entrant, trial)):
        times = [*times, trial.seconds]
    seconds = [t * entrant.scale for t in times]
    note = entrant.note if seconds else "given up" if trial.given_up else "stops short of it"
    spent = trial.seconds * entrant.scale if trial.given_up else None
    return Entry(entrant.name, seconds, trial.reached, trial.tolerance, trial.passes, spent, note)


def race(runs: Sequence[Callable[[], Any]], counts: Sequence[int]) -> list[list[float]]:
    """Seconds of each run, which takes part in the first ``counts`` rounds."""
    times: list[list[float]] = [[] for _ in runs]
    for i in range(max(counts, default=0)):
        for run, count, taken in zip(runs, counts, times, strict=True):
            if i < count:
                time.sleep(PAUSE)
                taken.append(_mean_time(run))
    return times


def _mean_time(run: Callable[[], Any]) -> float:
    start, calls, seconds = time.perf_counter(), 0, 0.0
    while calls == 0 or seconds < FILL:
        run()
        calls, seconds = calls + 1, time.perf_counter() - start
    return seconds / calls


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


# -- calibration -----------------------------------------------------------------------------------------------------
class _TimeUpError(BaseException):
    """Not an ``Exception``, which a contestant may catch."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Ends what is within by :class:`_TimeUpError` after so many seconds: if there are any, and an end to them, and alarms."""
    heard = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not heard or not 0 < seconds < math.inf:
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


def calibrate(
    entrant: Entrant, gap: Gap, until: float, patience: float, slow: float, ends: dict[tuple[str, tuple], int]
) -> Trial:
    """The run with the loosest tolerance that reaches ``until``; where none does, the longest run.

    For a peer that took longer than ``slow`` seconds no looser tolerance is sought: it is not the best one; a long run is looked for
    with two others at most. ``ends`` has the places of the tolerances that were found before: where they were, one that is not capped
    begins. (One that is may take too long there, and would have to begin again.)
    """
    if entrant.compiles:
        entrant.fit(entrant.tolerances[0], _FIRST)
    limit = patience if entrant.capped else 0.0
    tightest = len(entrant.tolerances) - 1
    low, high = -1, tightest if entrant.capped else ends.get((entrant.name, entrant.tolerances), tightest)
    beside = high < tightest
    last = _try(entrant, gap, entrant.tolerances[high], MOST, 0.0) if beside else _longest(entrant, gap, until, limit)
    if beside and not last.reached <= until:
        low, high, beside, last = high, tightest, False, _longest(entrant, gap, until, limit)
    if not last.reached <= until or (not entrant.ours and last.seconds > slow):
        return last
    tried = 0
    while high - low > 1 and (not _long(entrant, last) or tried < _FEW):
        middle, beside = high - 1 if beside else (low + high) // 2, False
        trial = _try(
            entrant, gap, entrant.tolerances[middle], last.most, OVER * max(limit, last.seconds) if limit else 0.0
        )
        if trial.reached <= until:
            high, last = middle, trial
        else:
            low = middle
        tried += 1
    return last


def _longest(entrant: Entrant, gap: Gap, until: float, patience: float) -> Trial:
    """The tightest tolerance, with more and more iterations while patience lasts; seconds are taken to grow with the iterations as they
    did between the last two runs, so that the last one takes what patience allows."""
    most, before = _FIRST if entrant.capped else MOST, None
    while True:
        trial = _try(entrant, gap, entrant.tolerances[-1], most, OVER * patience)
        ended = trial.passes is not None and trial.passes < most
        if not entrant.capped or trial.reached <= until or ended:
            return trial
        if trial.given_up and before is not None:
            return trial._replace(reached=before.reached)  # of fewer iterations, the last that ended
        if trial.passes is None or trial.seconds > patience / OVER or most >= MOST:
            return trial._replace(given_up=trial.seconds > 0)
        power = 1.0 if before is None else max(1.0, math.log(trial.seconds / before.seconds, most / before.most))
        growth = min(_GROWTH, (patience / trial.seconds) ** (1 / power))
        before, most = trial, min(MOST, max(most + 1, int(most * growth)))


def _try(entrant: Entrant, gap: Gap, tolerance: Any, most: int, limit: float) -> Trial:
    """One run, of ``limit`` seconds at most; a contestant that raises an error has reached nothing."""
    start = time.perf_counter()
    try:
        with _at_most(limit):
            try:
                answer, seconds = _timed(lambda: entrant.fit(tolerance, most))
            except (ArithmeticError, ValueError, RuntimeError):  # (LinAlgError is a ValueError)
                return Trial(tolerance, most, math.inf, None, 0.0)
    except _TimeUpError:
        return Trial(tolerance, most, math.inf, None, time.perf_counter() - start, given_up=True)
    reached = gap(answer.found)
    return Trial(tolerance, most, reached if reached == reached else math.inf, answer.passes, seconds)
