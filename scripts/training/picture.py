"""The picture of a fit: the loss by step, and what was observed against what was predicted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from training.report import shortened
from training.scores import Evaluation, predicted_class

_MOST_NAMES = 40  # on an axis
BLUE, RED, GREY = "#2b6cb0", "#c05621", "#a0aec0"


Panel = Callable[[Axes], None]


def draw(path: Path, title: str, panels: list[Panel]) -> None:
    """Panels side by side, as a PNG."""
    style: Any = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(5.5 * len(panels), 4.8), layout="constrained", squeeze=False
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        for panel, place in zip(panels, axes[0], strict=True):
            panel(place)
        figure.savefig(path, dpi=120)
        plt.close(figure)


def outcome(rows: Evaluation, classes: tuple[str, ...] | None, which: str) -> Panel:
    """What was observed against what was predicted, in the form that suits y; ``which`` says which rows they are."""
    if classes is None:
        return lambda axes: _observed_against_predicted(axes, rows, which)
    if rows.mean.ndim == 1:
        return lambda axes: _reliability(axes, rows, classes[1], which)
    return lambda axes: _confusion(axes, rows, classes, which)


def loss_by_step(fit: Any, unit: str) -> Panel:
    """The objective of a solver after each step or epoch."""
    return lambda axes: _loss(axes, fit, unit)


def _loss(axes: Axes, fit: Any, unit: str) -> None:
    values = np.asarray(fit.trace.value)
    values = values[np.isfinite(values)]
    steps = np.arange(len(values)) + (unit != "step")  # an epoch has a loss at its end, a step also before the first
    few = len(values) <= 60
    axes.plot(steps, values, color=BLUE, marker="o" if few else None, markersize=4)
    axes.set(title=f"Loss by {unit}", xlabel=f"{unit}{'' if few else ' (beyond 10 on a logarithmic scale)'}")
    axes.set_ylabel(
        "mean negative log-likelihood per unit of weight\n(natural logarithm; with penalty, without constants)"
    )
    if few:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_xscale("symlog", linthresh=10)
        ticks = [m * 10**e for e in range(7) for m in (1, 2, 5) if m * 10**e <= steps[-1]]
        axes.set_xticks([0, *ticks], ["0", *map(str, ticks)])
    if len(values):
        axes.annotate(f"{values[-1]:.6g}", (steps[-1], values[-1]), (0, 6), textcoords="offset points", ha="right")
    axes.grid(alpha=0.25)


def _weights(rows: Evaluation) -> np.ndarray:
    return np.ones(len(rows.y)) if rows.weights is None else np.asarray(rows.weights, float)


def _observed_against_predicted(axes: Axes, rows: Evaluation, which: str) -> None:
    """Rows as faint points, and the means of tenths of the weight, which lie on the line where the fit is good."""
    w = np.repeat(_weights(rows), rows.y[0].size)
    y, mean, w = (values[w > 0] for values in (rows.y.ravel(), rows.mean.ravel(), w))
    few = np.random.default_rng(0).permutation(len(y))[:5000]
    label, tenth = ("one row", "rows") if rows.weights is None else ("one row, area by weight", "weight")
    axes.scatter(mean[few], y[few], s=9 * w[few] / w.mean(), color=GREY, alpha=0.5, linewidths=0, label=label)
    at, average, error = _by_prediction(mean, y, w)
    axes.errorbar(
        at, average, 2 * error, fmt="o", color=RED, markersize=5, label=f"mean of a tenth of the {tenth}, ± 2 s.e."
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


def _reliability(axes: Axes, rows: Evaluation, label: str, which: str) -> None:
    """How often the class came true among rows of like prediction, over the number of rows at each prediction."""
    y, p, w = rows.y, rows.mean, _weights(rows)
    [label] = shortened([label], 24)
    at, share, error = _by_probability(p, y.astype(float), w)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, label="perfectly calibrated")
    axes.errorbar(at, share, 2 * error, fmt="o-", color=RED, markersize=5, label="rows of like prediction, ± 2 s.e.")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.05, 1.05), title=f"Reliability, {which}")
    axes.set(xlabel=f"predicted probability of {label}", ylabel=f"observed share of {label}")
    below = axes.twinx()
    edges = np.linspace(0, 1, 26)
    what = "rows" if rows.weights is None else "weight of rows"
    colours = {f"{what} that are {label}": (y == 1, BLUE), f"{what} that are not": (y == 0, GREY)}
    parts = [np.histogram(p[chosen], edges, weights=w[chosen])[0] for chosen, _ in colours.values()]
    bottom = np.zeros(25)
    for (name, (_, colour)), counts in zip(colours.items(), parts, strict=True):
        # the root keeps a rare class visible
        top = np.sqrt(bottom**2 + counts)
        below.bar(edges[:-1], top - bottom, 0.04, bottom, align="edge", color=colour, alpha=0.4)
        axes.fill_between([], [], color=colour, alpha=0.4, label=f"{name} (root of sum)")
        bottom = top
    below.set_ylim(0, 4 * max(bottom.max(), 1))
    below.set_axis_off()
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _confusion(axes: Axes, rows: Evaluation, classes: tuple[str, ...], which: str) -> None:
    """Rows are the true classes; colour is the share of the row, numbers are counts (sums of weights)."""
    k = len(classes)
    counts = np.zeros((k, k))
    np.add.at(counts, (rows.y, predicted_class(rows.mean)), _weights(rows))
    total = counts.sum(axis=1, keepdims=True)
    share = counts / np.where(total > 0, total, 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if k <= 20:
        for i, j in zip(*np.nonzero(counts), strict=True):
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(
                j,
                i,
                f"{counts[i, j]:.4g}" if counts[i, j] % 1 else f"{counts[i, j]:.0f}",
                ha="center",
                va="center",
                color=colour,
                fontsize=10 if k <= 6 else 8,
            )
    names = shortened(classes, 16)
    turned = max(map(len, names)) * k > 50  # letters in the width of the panel
    every = -(-k // _MOST_NAMES)  # of more classes, only each second or third is named
    at, size = range(0, k, every), 10 if k <= 10 else 7 if k <= 25 else 5
    upright = 90 if k > 12 else 45
    turn: Any = {"rotation": upright, "ha": "center" if upright == 90 else "right"} if turned else {}
    axes.set_xticks(at, names[::every], fontsize=size, **turn)
    axes.set_yticks(at, names[::every], fontsize=size)
    right = np.trace(counts) / counts.sum()
    axes.set(title=f"Confusion, {which}: {right:.1%} right", xlabel="predicted", ylabel="observed")
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label="share of the observed class")


def _by_prediction(mean: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean prediction, mean outcome and its standard error in tenths of the weight, ordered by prediction."""
    order = np.argsort(mean, kind="stable")
    before = np.cumsum(w[order]) - w[order] / 2
    parts = [order[before // (w.sum() / 10) == k] for k in range(10)]
    return _averages([part for part in parts if len(part)], mean, y, w)


def _by_probability(p: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean prediction, share of y and its standard error (as the prediction has it) in tenths of the unit interval."""
    group = np.minimum((10 * p).astype(int), 9)
    parts = [np.flatnonzero((group == k) & (w > 0)) for k in range(10)]
    parts = [part for part in parts if len(part)]
    at, share, _ = _averages(parts, p, y, w)
    return at, share, np.sqrt(at * (1 - at) / np.array([w[part].sum() for part in parts]))


def _averages(parts: list[np.ndarray], x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means of x and of y over the parts, and the standard error of the latter; weights are frequencies."""
    at, average, square = (
        np.array([np.average(a[part], weights=w[part]) for part in parts]) for a in (x, y, np.square(y))
    )
    freedom = np.array([w[part].sum() for part in parts]) - 1
    variance = np.maximum(square - average**2, 0)
    return at, average, np.sqrt(np.where(freedom > 0, variance / np.where(freedom > 0, freedom, 1), 0))
