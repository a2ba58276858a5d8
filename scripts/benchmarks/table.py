"""What a workload, an entrant and a figure are: the records that all parts of the benchmark share."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

QUICK_ROWS, QUICK_COLUMNS = 600, 4
UNTIL = 1e-8  # max_j |gradient_j| / rms(x_j) of the mean loss to which every contestant is driven


class Options(NamedTuple):
    """How to run: repetitions of each contestant, where they do not take too long; small sizes for a test."""

    repetitions: int
    quick: bool


class Answer(NamedTuple):
    """What a run returns: coefficients (or whatever the workload judges) and the passes or iterations that it took."""

    found: Any
    passes: int | None = None


class Entrant(NamedTuple):
    """One who takes part.

    Attributes:
        name: as printed; ours begin with 'jaxml'.
        fit: of a tolerance; returns an :class:`Answer` when the work is done.
        tolerances: from loose to tight.
        compiles: whether a first call is slower.
        scale: what its seconds are multiplied by, where it does a part of the work only.
        note: printed beside it.
    """

    name: str
    fit: Callable[[Any], Answer]
    tolerances: tuple[Any, ...] = (None,)
    compiles: bool = False
    scale: float = 1.0
    note: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is jaxml."""
        return self.name.startswith("jaxml")


class Entry(NamedTuple):
    """How an entrant did: no times where it did not reach what was asked; ``spent`` are the seconds after which it was given up."""

    name: str
    times: Sequence[float] = ()
    reached: float | None = None
    tolerance: Any = None
    passes: int | None = None
    spent: float | None = None
    note: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is jaxml."""
        return self.name.startswith("jaxml")

    @property
    def median(self) -> float:
        """The median of the times; infinite without any."""
        return float(np.median(self.times)) if self.times else float("inf")


class Goal(NamedTuple):
    """A figure and the bound that it should meet; ``least`` says that the figure is only known to be greater."""

    what: str
    figure: float
    bound: float
    above: bool = True
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is at least, or at most, the bound."""
        return bool(self.figure >= self.bound if self.above else self.figure <= self.bound)


class Outcome(NamedTuple):
    """What came of a workload: its entries, its goals, lines to print; ``measure`` names what the entries reached."""

    entries: Sequence[Entry] = ()
    goals: Sequence[Goal] = ()
    remarks: Sequence[str] = ()
    measure: str = "gradient"


class Workload(NamedTuple):
    """A row of the benchmark: ``run(workload, options)`` measures it."""

    id: str
    title: str
    run: Callable[["Workload", Options], Outcome]
    rows: int = 0
    columns: int = 0
    goal: float | None = None
    more: Mapping[str, Any] = MappingProxyType({})

    def sized(self, options: Options) -> "Workload":
        """Itself, or a small one for a test."""
        if not options.quick:
            return self
        return self._replace(rows=min(self.rows, QUICK_ROWS), columns=min(self.columns, QUICK_COLUMNS))


def ratio_to_ours(entry: Entry, ours: Entry) -> float:
    """Median over the repetitions of time / time of jaxml."""
    n = min(len(entry.times), len(ours.times))
    return float(np.median(np.divide(entry.times[:n], ours.times[:n]))) if n else float("inf")


def best_peer(entries: Sequence[Entry]) -> list[str]:
    """A line on the fastest peer that got there."""
    ours, peers = next((e for e in entries if e.name == "jaxml"), None), [e for e in entries if e.times and not e.ours]
    if ours is None or not peers:
        return []
    best = min(peers, key=lambda e: e.median)
    return [f"the best peer, {best.name}: {ratio_to_ours(best, ours):.2f} times as long as jaxml"]


def best_ratio(what: str, entries: Sequence[Entry], bound: float | None, ours: str = "jaxml") -> list[Goal]:
    """The best peer beside jaxml; where one was given up sooner than that, or all were, the least that the ratio can be."""
    own = next((e for e in entries if e.name == ours and e.times), None)
    peers = [e for e in entries if not e.ours]
    if own is None or not peers or bound is None:
        return []
    ended = [e for e in peers if e.times]
    spent = [e.spent for e in peers if e.spent is not None]
    if ended:
        best = min(ended, key=lambda e: e.median)
        if spent and min(spent) < best.median:
            return [Goal(f"{what}: {best.name} / {ours}", min(spent) / own.median, bound, least=True)]
        return [Goal(f"{what}: {best.name} / {ours}", ratio_to_ours(best, own), bound)]
    return [Goal(f"{what}: no peer got there", min(spent) / own.median if spent else float("inf"), bound, least=True)]
