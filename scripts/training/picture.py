"""The picture of a fit: the loss by step, and what was observed against what was predicted."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from training.scores import Evaluation, predicted_class

BLUE, RED, GREY = "#2b6cb0", "#c05621", "#a0aec0"


def draw(
    path: Path, fit: Any, rows: Evaluation, classes: tuple[str, ...] | None, *, title: str, which: str, unit: str
) -> None:
    """Two panels as a PNG; ``rows`` are the ones to compare with, ``which`` says what they are."""
    style: Any = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
    }
    with plt.rc_context(style):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        _loss(left, fit, unit)
        if classes is None:
            _observed_against_predicted(right, rows.y, rows.mean, which)
        elif rows.mean.ndim == 1:
            _reliability(right, rows.y, rows.mean, classes[1], which)
        else:
            _confusion(right, rows.y, predicted_class(rows.mean), classes, which)
        figure.savefig(path, dpi=120)
        plt.close(figure)


def _loss(axes: Axes, fit: Any, unit: str) -> None:
    values = np.asarray(fit.trace.value)
    values = values[np.isfinite(values)]
    steps = np.arange(len(values)) + (unit != "step")  # an epoch has a loss at its end, a step also before the first
    few = len(values) <= 60
    axes.plot(steps, values, color=BLUE, marker="o" if few else None, markersize=4)
    axes.set(title=f"Loss by {unit}", xlabel=unit, ylabel="mean of -log p, penalty included, constants left out")
    if few:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_xscale("symlog", linthresh=10)
        ticks = [m * 10**e for e in range(7) for m in (1, 2, 5) if m * 10**e <= steps[-1]]
        axes.set_xticks([0, *ticks], ["0", *map(str, ticks)])
    if len(values):
        axes.annotate(f"{values[-1]:.6g}", (steps[-1], values[-1]), (0, 6), textcoords="offset points", ha="right")
    axes.grid(alpha=0.25)


def _observed_against_predicted(axes: Axes, y: np.ndarray, mean: np.ndarray, which: str) -> None:
    """Rows as faint points, and the means of tenths of the rows, which lie on the line where the fit is good."""
    y, mean = y.ravel(), mean.ravel()
    few = np.random.default_rng(0).permutation(len(y))[:5000]
    axes.scatter(mean[few], y[few], s=9, color=GREY, alpha=0.5, linewidths=0, label="one row")
    at, average, error = _by_prediction(mean, y)
    axes.errorbar(
        at, average, 2 * error, fmt="o", color=RED, markersize=5, label="mean of a tenth of the rows, ± 2 s.e."
    )
    ends = np.array([mean.min(), mean.max()])
    axes.plot(ends, ends, color="black", linewidth=1, label="observed = predicted")
    low, high = np.quantile(y, [0.0, 0.995])
    low, high = min(low, mean.min()), max(high, mean.max())
    margin = 0.04 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    beyond = int(np.sum(y > high + margin))
    note = f"; {beyond} of {len(y)} rows lie above" if beyond else ""
    axes.set(title=f"Observed against predicted, {which}{note}", xlabel="predicted mean", ylabel="observed")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _reliability(axes: Axes, y: np.ndarray, p: np.ndarray, label: str, which: str) -> None:
    """How often the class came true among rows of like prediction, over the number of rows at each prediction."""
    at, share, error = _by_probability(p, y.astype(float))
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, label="perfectly calibrated")
    axes.errorbar(at, share, 2 * error, fmt="o-", color=RED, markersize=5, label="rows of like prediction, ± 2 s.e.")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.05, 1.05), title=f"Reliability, {which}")
    axes.set(xlabel=f"predicted probability of {label}", ylabel=f"observed share of {label}")
    below = axes.twinx()
    edges = np.linspace(0, 1, 26)
    colours = {f"rows that are {label}": (p[y == 1], BLUE), "rows that are not": (p[y == 0], GREY)}
    parts = [np.histogram(rows, edges)[0] for rows, _ in colours.values()]
    bottom = np.zeros(25)
    for (name, (_, colour)), counts in zip(colours.items(), parts, strict=True):
        # the root keeps a rare class visible
        top = np.sqrt(bottom**2 + counts)
        below.bar(edges[:-1], top - bottom, 0.04, bottom, align="edge", color=colour, alpha=0.4)
        axes.fill_between([], [], color=colour, alpha=0.4, label=f"{name} (root of count)")
        bottom = top
    below.set_ylim(0, 4 * max(bottom.max(), 1))
    below.set_axis_off()
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _confusion(axes: Axes, y: np.ndarray, guess: np.ndarray, classes: tuple[str, ...], which: str) -> None:
    """Rows are the true classes; colour is the share of the row, numbers are counts."""
    k = len(classes)
    counts = np.zeros((k, k), int)
    np.add.at(counts, (y, guess), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if k <= 20:
        for i, j in zip(*np.nonzero(counts), strict=True):
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=10 if k <= 6 else 8)
    long = max(map(len, classes)) > 3
    axes.set_xticks(range(k), classes, rotation=45 if long and k > 4 else 0, ha="right" if long and k > 4 else "center")
    axes.set_yticks(range(k), classes)
    right = np.trace(counts) / max(counts.sum(), 1)
    axes.set(title=f"Confusion, {which}: {right:.1%} right", xlabel="predicted", ylabel="observed")
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label="share of the observed class")


def _by_prediction(mean: np.ndarray, y: np.ndarray, groups: int = 10) -> tuple[np.ndarray, ...]:
    """Mean prediction, mean outcome and its standard error in tenths of the rows, ordered by prediction."""
    parts = [part for part in np.array_split(np.argsort(mean, kind="stable"), groups) if len(part)]
    error = [y[part].std(ddof=1) / np.sqrt(len(part)) if len(part) > 1 else 0.0 for part in parts]
    at, average = (np.array([values[part].mean() for part in parts]) for values in (mean, y))
    return at, average, np.array(error)


def _by_probability(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean prediction, share of y and its standard error (as the prediction has it) in tenths of the unit interval."""
    group = np.minimum((10 * p).astype(int), 9)
    parts = [rows for k in range(10) if len(rows := np.flatnonzero(group == k))]
    at, share = (np.array([values[rows].mean() for rows in parts]) for values in (p, y))
    return at, share, np.sqrt(at * (1 - at) / np.array([len(rows) for rows in parts]))
