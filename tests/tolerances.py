"""How closely two numbers have to agree: one table by kind of comparison and dtype."""

from typing import Any

import numpy as np

TABLE = {
    # kind: (float64, float32)
    "same": (1e-12, 2e-5),  # the same sums in another order
    "fit": (1e-9, 2e-3),  # two fits of one problem, each within its stopping rule
    "oracle": (1e-8, 1e-4),  # another package, run tight
    "derivative": (1e-10, 1e-4),  # one derivative by two routes
    "difference": (1e-6, None),  # central differences with h = 1e-4
    "first_order": (1e-5, 1e-3),  # solvers without curvature
    "stochastic": (1e-3, 1e-2),  # minibatches with a decaying rate, in standard errors or units
}


def tolerance(kind: str, dtype: Any = np.float64) -> float:
    """The relative tolerance of a kind of comparison in a dtype."""
    value = TABLE[kind][0 if np.dtype(dtype).itemsize == 8 else 1]
    assert value is not None, f"{kind} is not tested in {np.dtype(dtype).name}"
    return value


def assert_agree(actual: Any, expected: Any, kind: str, error: Any = 0.0, what: str = "") -> None:
    """``|actual - expected| <= tolerance max(|expected|, error)`` in every entry, error a standard error."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shapes {actual.shape} and {expected.shape}"
    assert np.all(np.isfinite(actual)), f"{what}: {actual}"
    dtype = actual.dtype if actual.dtype.kind == "f" else np.float64
    room = tolerance(kind, dtype) * np.maximum(np.abs(expected), error)
    gap = np.abs(actual.astype(float) - expected)
    assert np.all(gap <= room), (
        f"{what}: largest gap {np.max(gap / np.where(room > 0, room, 1e-300)):.3g} tolerances\n{actual}\n{expected}"
    )
