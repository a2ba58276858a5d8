"""Separation, complete and quasi-complete, of two classes and of several; counts that are zero wherever a level is present."""

import numpy as np

from hard_data import samples
from hard_data.table import OPTIMUM, SEPARATED, add

ABOUT = "separation"
_PROOF = "a direction found by linear programming and checked in exact fractions"
_OVERLAP = "no such direction; 50 digits reach a gradient of 0"
X = samples.design()
Y = samples.binary()
LEVEL = samples.level()
DUMMY = np.column_stack([LEVEL, X[:, 1:]])
STEPS = np.clip(np.round(2 * X), -3, 3)  # a coarse grid, on which rows tie
APART = (X[:, 0] + X[:, 1] > 0.1).astype(int)
TIED = np.where(STEPS[:, 0] == 0, np.arange(24) % 2, STEPS[:, 0] > 0).astype(int)
THIRDS = np.digitize(X[:, 0], np.quantile(X[:, 0], [1 / 3, 2 / 3]))

for link in ("logit", "probit", "cloglog"):
    add(f"complete separation, {link}", ABOUT, "bernoulli", X, APART, SEPARATED, _PROOF, link=link)
    add(f"quasi-complete separation, {link}", ABOUT, "bernoulli", STEPS, TIED, SEPARATED, _PROOF, link=link)
add("a level in which all succeed", ABOUT, "bernoulli", DUMMY, np.where(LEVEL > 0, 1, Y), SEPARATED, _PROOF)
add(
    "a level in which all trials succeed",
    ABOUT,
    "binomial",
    DUMMY,
    (np.where(LEVEL > 0, 5, 1 + 2 * Y), np.full(24, 5)),
    SEPARATED,
    _PROOF,
)
for family in ("poisson", "negative_binomial"):
    y = np.where(LEVEL > 0, 0, samples.counts() + 1)
    add(f"{family} counts that are 0 in a level", ABOUT, family, DUMMY, y, SEPARATED, _PROOF)
    add(f"{family} counts that are all 0", ABOUT, family, X, 0 * Y, SEPARATED, _PROOF)
    add(
        f"{family} counts that are 0 in a level but once",
        ABOUT,
        family,
        DUMMY,
        np.maximum(y, np.eye(24, dtype=int)[0]),
        OPTIMUM,
        _OVERLAP,
    )
add("y all 0", ABOUT, "bernoulli", X, 0 * Y, SEPARATED, "the bias alone: " + _PROOF)
add("y all 1", ABOUT, "bernoulli", X, 0 * Y + 1, SEPARATED, "the bias alone: " + _PROOF)
add(
    "y all 0, a penalty on the weight",
    ABOUT,
    "bernoulli",
    X,
    0 * Y,
    SEPARATED,
    "the bias has no penalty",
    l2=(0.1, 0.0),
)
add(
    "y all 0, a penalty on all",
    ABOUT,
    "bernoulli",
    X,
    0 * Y,
    OPTIMUM,
    "a penalty on every coefficient bounds them all",
    l2=(0.1, 0.1),
)
add("trials all successes", ABOUT, "binomial", X, (np.full(24, 4), np.full(24, 4)), SEPARATED, _PROOF)
add("three classes apart", ABOUT, "categorical", X, THIRDS, SEPARATED, _PROOF)
add("one class apart, two that overlap", ABOUT, "categorical", X, np.where(X[:, 0] > 0.7, 2, Y), SEPARATED, _PROOF)
add(
    "three classes, a level without one of them",
    ABOUT,
    "categorical",
    DUMMY,
    np.where((LEVEL > 0) & (samples.classes() == 2), 1, samples.classes()),
    SEPARATED,
    _PROOF,
)
add("three classes that overlap", ABOUT, "categorical", X, samples.classes(), OPTIMUM, _OVERLAP)
TABLES = np.eye(3, dtype=int)[samples.classes()] + 1
add(
    "tables, a level with an empty cell",
    ABOUT,
    "multinomial",
    DUMMY,
    np.where((LEVEL > 0)[:, None] & (np.arange(3) == 2), 0, TABLES),
    SEPARATED,
    _PROOF,
)
add("an empty class", "empty classes", "categorical", X, Y, SEPARATED, "its bias: " + _PROOF, classes=3)
add(
    "an empty class in the middle",
    "empty classes",
    "categorical",
    X,
    2 * Y,
    SEPARATED,
    "its bias: " + _PROOF,
    classes=3,
)
add("one class only", "empty classes", "categorical", X, 0 * Y + 1, SEPARATED, "its bias: " + _PROOF, classes=3)
add(
    "an empty class without an intercept",
    "empty classes",
    "categorical",
    X,
    Y,
    OPTIMUM,
    _OVERLAP,
    classes=3,
    intercept=False,
)

PAIR = X.copy()
PAIR[:2, 0] = 2.0**-13, -(2.0**-13)
PAIR[:, 1:] = np.column_stack([np.arange(24) // 2 % 2, np.arange(24) // 4 % 2])
NEARLY = np.where(np.arange(24) == 0, 0, np.where(np.arange(24) == 1, 1, PAIR[:, 0] > 0)).astype(int)
add("one pair that overlaps by 1e-4", ABOUT, "bernoulli", PAIR, NEARLY, OPTIMUM, _OVERLAP)
add(
    "separation, a penalty on the weight",
    ABOUT,
    "bernoulli",
    X,
    APART,
    OPTIMUM,
    "a penalty bounds the slopes, and both labels occur the bias",
    l2=(1e-3, 0.0),
)
add(
    "separation of columns in other units",
    ABOUT,
    "bernoulli",
    X * [1e-6, 1.0, 1e6],
    APART,
    SEPARATED,
    "as before: units change nothing; " + _PROOF,
)
add(
    "separation by a timestamp",
    ABOUT,
    "bernoulli",
    1.7e9 + 4096 * X,
    APART,
    SEPARATED,
    "as before: a shift changes nothing; " + _PROOF,
)
add(
    "separation beside a copy of a column",
    ABOUT,
    "bernoulli",
    samples.with_columns(X, X[:, 0], first=2),
    APART,
    SEPARATED,
    "copies add no direction; " + _PROOF,
)
add(
    "more columns than rows, two labels",
    ABOUT,
    "bernoulli",
    samples.design(1, 6, 8),
    np.arange(6) % 2,
    SEPARATED,
    "independent rows can be given any predictor; " + _PROOF,
)
FLIPPED = np.where(np.arange(24) == 5, 1 - APART, APART)
add(
    "separation but for a row of weight 0",
    "weights",
    "bernoulli",
    X,
    FLIPPED,
    SEPARATED,
    "the row counts for nothing; " + _PROOF,
    weights=np.arange(24) != 5,
)
add(
    "separation but for a row of weight 1e-6",
    "weights",
    "bernoulli",
    X,
    FLIPPED,
    OPTIMUM,
    "however light, it counts: " + _OVERLAP,
    weights=np.where(np.arange(24) == 5, 1e-6, 1.0),
)
add(
    "separation whatever the offset",
    "offsets",
    "bernoulli",
    X,
    APART,
    SEPARATED,
    "an offset bounds no direction; " + _PROOF,
    offset=np.where(APART, -700.0, 700.0),
)
