"""Pictures of what a model has learned: its prediction over the plane, and its loss by epoch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.ticker import MaxNLocator

from training.picture import BLUE, GREY, RED, Panel
from training.report import shortened

_GRID, _MOST_POINTS = 120, 1000
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b7791f", "#b83280", "#2c7a7b", "#718096", "#9b2c2c", "#553c9a")


class Plane(NamedTuple):
    """Two axes through the rows: two columns themselves, or their first principal components.

    Attributes:
        at: (n, 2), where the rows lie.
        back: (m, 2) -> (m, d), the rows that points of the plane stand for.
        names: of the axes.
        share: of the variance of the standardised columns that the plane holds.
    """

    at: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]
    names: tuple[str, str]
    share: float


def plane_of(X: np.ndarray, names: list[str]) -> Plane:
    """The plane of X (n, d), d at least 2: with more than two columns, the one that shows most of the standardised rows."""
    if X.shape[1] == 2:
        return Plane(X, lambda at: at, (names[0], names[1]), 1.0)
    center, spread = X.mean(axis=0), X.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    _, values, directions = np.linalg.svd((X - center) / spread, full_matrices=False)
    axes, share = directions[:2], values[:2] ** 2 / max(np.sum(values**2), 1e-300)
    label = [f"principal component {i + 1} of the columns ({share[i]:.0%} of the variance)" for i in range(2)]
    back = lambda at: (center + at @ axes * spread).astype(X.dtype)
    return Plane((X - center) / spread @ axes.T, back, (label[0], label[1]), float(share.sum()))


def prediction_over_columns(mean: Callable[[np.ndarray], np.ndarray], problem: Any, support: Any = None) -> list[Panel]:
    """What is predicted over one column, or over the plane of several, and the rows that were fitted, some of them ringed.

    None where no plane shows half of what there is.
    """
    X, y = np.asarray(problem.train.X), np.asarray(problem.train.y)
    if X.shape[1] == 1:
        return [lambda axes: _curve(axes, mean, X[:, 0], y, problem)]
    plane = plane_of(X, problem.names)
    if len(X) < 3 or plane.share < 0.5:
        return []
    return [lambda axes: _surface(axes, mean, plane, y, problem, support)]


def _curve(axes: Axes, mean: Callable[[np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray, problem: Any) -> None:
    margin = 0.03 * np.ptp(x)
    at = np.linspace(x.min() - margin, x.max() + margin, 400).astype(x.dtype)
    values = mean(at[:, None])
    few = _some(x)
    axes.scatter(x[few], y[few], s=14, color=GREY, label="rows that were fitted")
    if values.ndim == 1:
        name = "predicted mean" if problem.classes is None else f"p[{problem.classes[1]}]"
        axes.plot(at, values, color=RED, label=name)
    else:
        for k, name in enumerate(shortened(problem.classes, 16)):
            axes.plot(at, values[:, k], color=COLOURS[k % len(COLOURS)], label=f"p[{name}]")
    target = problem.target[0] if problem.classes is None else f"{problem.target[0]} and probabilities"
    axes.set(title="Prediction by the column", xlabel=problem.names[0], ylabel=target)
    axes.legend(frameon=False, fontsize=9)


def _some(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permutation(len(values))[:_MOST_POINTS]


def _surface(
    axes: Axes,
    mean: Callable[[np.ndarray], np.ndarray],
    plane: Plane,
    y: np.ndarray,
    problem: Any,
    support: np.ndarray | None,
) -> None:
    low, high = plane.at.min(axis=0), plane.at.max(axis=0)
    margin = 0.05 * np.where(high > low, high - low, 1)
    u, v = (np.linspace(a, b, _GRID) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2).astype(plane.at.dtype)
    values = mean(plane.back(grid))
    few = _some(y)
    at = plane.at[few]
    if problem.classes is None:
        _shaded(axes, u, v, values, at, y[few], problem.target[0])
    else:
        _regions(axes, u, v, values, at, y[few], problem.classes)
    if support is not None:
        ringed = at[support[few]]
        ring: Any = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.5}
        axes.scatter(ringed[:, 0], ringed[:, 1], s=32, label="support vectors", **ring)
    what = "Decision regions" if problem.classes else "Predicted mean"
    axes.set(title=f"{what}, and rows that were fitted", xlabel=plane.names[0], ylabel=plane.names[1])
    axes.legend(fontsize=8, loc="best", framealpha=0.8)


def _regions(
    axes: Axes,
    u: np.ndarray,
    v: np.ndarray,
    values: np.ndarray,
    at: np.ndarray,
    y: np.ndarray,
    classes: tuple[str, ...],
) -> None:
    """Each point in the colour of its class; of two classes with probabilities, their shades."""
    shape = (len(v), len(u))
    pair = LinearSegmentedColormap.from_list("pair", [COLOURS[0], "white", COLOURS[1]])
    if values.ndim == 1:
        axes.contourf(u, v, values.reshape(shape), levels=np.linspace(0, 1, 21), cmap=pair, alpha=0.55)
        axes.contour(u, v, values.reshape(shape), levels=[0.5], colors="black", linewidths=1)
    else:
        colours = [COLOURS[k % len(COLOURS)] for k in range(len(classes))]
        best = values.argmax(axis=1).reshape(shape)
        axes.pcolormesh(u, v, best, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(classes) - 0.5, alpha=0.3)
    for k, name in enumerate(shortened(classes, 16)):
        if np.any(y == k):
            edge: Any = {"edgecolors": "white", "linewidths": 0.3}
            axes.scatter(at[y == k, 0], at[y == k, 1], s=12, color=COLOURS[k % len(COLOURS)], label=name, **edge)


def _shaded(
    axes: Axes, u: np.ndarray, v: np.ndarray, values: np.ndarray, at: np.ndarray, y: np.ndarray, name: str
) -> None:
    low, high = (float(q) for q in np.quantile(y, [0.02, 0.98]))
    if low == high:
        low, high = low - 0.5, high + 0.5
    shades = axes.contourf(
        u,
        v,
        values.reshape(len(v), len(u)),
        levels=np.linspace(low, high, 21),
        cmap="viridis",
        extend="both",
        alpha=0.8,
    )
    points: Any = {
        "s": 16,
        "c": y,
        "cmap": "viridis",
        "vmin": low,
        "vmax": high,
        "edgecolors": "white",
        "linewidths": 0.4,
    }
    axes.scatter(at[:, 0], at[:, 1], label="rows", **points)
    axes.figure.colorbar(shades, ax=axes, shrink=0.8, label=name)


def learning_curve(fit: Any) -> Panel:
    """The mean loss by epoch, of the rows to fit and of those that judge."""
    return lambda axes: _history(axes, fit)


def _history(axes: Axes, fit: Any) -> None:
    epochs = np.arange(1, int(fit.epochs) + 1)
    kinds = {"rows to fit, with penalty and dropout": (fit.history.train, BLUE)}
    if fit.history.validation is not None:
        kinds["rows to judge by"] = (fit.history.validation, RED)
        axes.axvline(int(fit.best_epoch), color="black", linewidth=0.8, linestyle=":", label="epoch that is kept")
    lowest = np.inf
    for name, (values, colour) in kinds.items():
        values = np.asarray(values)[: len(epochs)]
        lowest = min(lowest, np.nanmin(values))
        axes.plot(epochs, values, color=colour, marker="o" if len(epochs) <= 30 else None, markersize=3, label=name)
    if lowest > 0:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title="Loss by epoch", xlabel="epoch", ylabel="mean negative log-likelihood, without constants")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
