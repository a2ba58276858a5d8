"""Designs that do not determine every coefficient: copies, constants, more columns than rows, one row."""

import numpy as np

from hard_data import samples
from hard_data.table import IMPRECISE, OPTIMUM, SEPARATED, add

ABOUT = "rank"
_DROPPED = "50 digits on the columns left when later copies are dropped"
X = samples.design()
DUMMIES = np.eye(3)[np.arange(24) % 3]
COPY = samples.with_columns(X, X[:, 0], first=2)
Y = {
    "normal": samples.real(),
    "bernoulli": samples.binary(),
    "binomial": (samples.binary() + 1, np.full(24, 3)),
    "poisson": samples.counts(),
    "negative_binomial": samples.counts(),
    "gamma": samples.positive(),
    "inverse_gaussian": samples.positive(),
    "categorical": samples.classes(),
    "multinomial": np.eye(3, dtype=int)[samples.classes()] + 1,
}
for family, y in Y.items():
    link = {"link": "log"} if family in ("gamma", "inverse_gaussian") else {}
    add(f"a copy of a column, {family}", ABOUT, family, COPY, y, OPTIMUM, _DROPPED, **link)

CONSTANT = "constant and duplicate columns"
for name, value in (("5", 5.0), ("0.1", 0.1), ("0", 0.0), ("1e12", 1e12)):
    constant = np.column_stack([X[:, :2], np.full(24, value)])
    add(f"a column that is {name} throughout", CONSTANT, "poisson", constant, Y["poisson"], OPTIMUM, _DROPPED)
add(
    "all columns constant",
    CONSTANT,
    "bernoulli",
    np.ones((24, 3)) * [1, 2, 3],
    Y["bernoulli"],
    OPTIMUM,
    "the share of ones",
)
add(
    "a constant column for an intercept",
    CONSTANT,
    "poisson",
    np.column_stack([X[:, :2], np.ones(24)]),
    Y["poisson"],
    OPTIMUM,
    "50 digits; the rank is full",
    intercept=False,
)
add(
    "a column and its negative in other units",
    CONSTANT,
    "bernoulli",
    samples.with_columns(X, -1024 * X[:, 0], first=2),
    Y["bernoulli"],
    OPTIMUM,
    _DROPPED,
)
add(
    "a column and its copy in thousands",
    CONSTANT,
    "poisson",
    samples.with_columns(X, X[:, 0] / 1000, first=2),
    Y["poisson"],
    OPTIMUM,
    "numerically dependent: x / 1000 is rounded; " + _DROPPED,
)
add("a column for each level beside the intercept", ABOUT, "poisson", DUMMIES, Y["poisson"], OPTIMUM, _DROPPED)
add(
    "a column that is the sum of two",
    ABOUT,
    "normal",
    np.column_stack([X[:, :2], X[:, 0] + X[:, 1]]),
    Y["normal"],
    OPTIMUM,
    _DROPPED,
)
add(
    "a sum of two that differ by 1e6",
    ABOUT,
    "normal",
    np.column_stack([X[:, 0], 2.0**20 * X[:, 1], X[:, 0] + 2.0**20 * X[:, 1]]),
    Y["normal"],
    OPTIMUM,
    _DROPPED + "; in float32 the sum keeps next to nothing of the small one, nor do the coefficients that must cancel",
    single=IMPRECISE,
)

WIDE = samples.design(1, 6, 8)
_INTERPOLATES = "independent rows: the fit is y"
add("more columns than rows, normal", ABOUT, "normal", WIDE, samples.real()[:6], OPTIMUM, _INTERPOLATES)
add("more columns than rows, counts", ABOUT, "poisson", WIDE, samples.counts()[:6] + 1, OPTIMUM, _INTERPOLATES)
add("more columns than rows, gamma", ABOUT, "gamma", WIDE, samples.positive()[:6], OPTIMUM, _INTERPOLATES, link="log")
add(
    "more columns than rows, a penalty",
    ABOUT,
    "bernoulli",
    WIDE,
    np.arange(6) % 2,
    OPTIMUM,
    "strictly convex",
    l2=(0.1, 0.0),
)
ONE = "one row"
add("one row, normal", ONE, "normal", X[:1], Y["normal"][:1], OPTIMUM, "the bias is y")
add("one row, a count of 3", ONE, "poisson", X[:1], [3], OPTIMUM, "the bias is log 3")
add("one row, a count of 0", ONE, "poisson", X[:1], [0], SEPARATED, "the bias falls for ever")
add("one row, one label", ONE, "bernoulli", X[:1], [1], SEPARATED, "the bias rises for ever")
add("one row, 2 of 5", ONE, "binomial", X[:1], ([2], [5]), OPTIMUM, "the bias is logit 2/5")
add(
    "one row, gamma without an intercept",
    ONE,
    "gamma",
    X[:1],
    Y["gamma"][:1],
    OPTIMUM,
    "minimum norm: w = x log y / |x|^2",
    link="log",
    intercept=False,
)
