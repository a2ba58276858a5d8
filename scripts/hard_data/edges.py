"""Weights of 0, of 1e12 and on one row; offsets of 700; maxima on the edge of the domain, and domains without a point."""

import numpy as np

from hard_data import samples
from hard_data.table import BOUNDARY, IMPRECISE, INFEASIBLE, OPTIMUM, SEPARATED, add

WEIGHTS = "weights"
OFFSETS = "offsets"
EDGE = "edge of the domain"
_DIGITS = "50 digits"
X = samples.design()
BINARY, COUNTS, REAL = samples.binary(), samples.counts(), samples.real()
HALF = (np.arange(24) % 2).astype(float)
HEAVY = np.where(np.arange(24) == 7, 1e12, 1.0)
SPOILT = np.where(HALF[:, None] > 0, X, np.nan)
add(
    "weights of 0 on rows that hold NaN",
    WEIGHTS,
    "poisson",
    SPOILT,
    COUNTS,
    OPTIMUM,
    "50 digits on the rows left",
    weights=HALF,
)
add(
    "weights of 0 on rows of 1e30",
    WEIGHTS,
    "normal",
    np.where(HALF[:, None] > 0, X, 1e30),
    REAL,
    OPTIMUM,
    "50 digits on the rows left",
    weights=HALF,
)
_SURE = _DIGITS + "; in float32 a coefficient of 1 is rounded by a tenth of its standard error of 1e-6"
add("a weight of 1e12 on one row, bernoulli", WEIGHTS, "bernoulli", X, BINARY, OPTIMUM, _DIGITS, weights=HEAVY)
for family, y in (("poisson", COUNTS), ("normal", REAL)):
    add(
        f"a weight of 1e12 on one row, {family}",
        WEIGHTS,
        family,
        X,
        y,
        OPTIMUM,
        _SURE,
        weights=HEAVY,
        single=IMPRECISE,
    )
add("weights of 1e12 throughout", WEIGHTS, "poisson", X, COUNTS, OPTIMUM, _SURE, weights=1e12, single=IMPRECISE)
add("weights of 1e-12 throughout", WEIGHTS, "poisson", X, COUNTS, OPTIMUM, _DIGITS, weights=1e-12)
ALONE = (np.arange(24) == 7).astype(float)
add(
    "all weight on one row, a count",
    WEIGHTS,
    "poisson",
    X,
    COUNTS + 1,
    OPTIMUM,
    "that of the row alone",
    weights=3 * ALONE,
)
add(
    "all weight on one row, a label",
    WEIGHTS,
    "bernoulli",
    X,
    BINARY,
    SEPARATED,
    "that of the row alone",
    weights=3 * ALONE,
)

add(
    "an offset of 700 on every row",
    OFFSETS,
    "poisson",
    X,
    COUNTS,
    OPTIMUM,
    "the bias moves by -700",
    offset=700.0,
    near=-699,
)
add(
    "an offset of -700 on every row",
    OFFSETS,
    "poisson",
    X,
    COUNTS,
    OPTIMUM,
    "the bias moves by 700",
    offset=-700.0,
    near=701,
)
add(
    "offsets of 700 and -700, labels",
    OFFSETS,
    "bernoulli",
    X,
    BINARY,
    OPTIMUM,
    "the bias moves by -700 or 700, or rows of 700 count for nothing: 50 digits of 700",
    offset=np.where(np.arange(24) < 18, 0.0, np.where(BINARY > 0, 700.0, -700.0)),
    digits=700,
    near=0.0,
)
add(
    "offsets of 700 and -700, counts",
    OFFSETS,
    "poisson",
    X,
    np.where(HALF > 0, COUNTS, 0),
    OPTIMUM,
    "the rows of -700 have means of e^-1400",
    offset=np.where(HALF > 0, 700.0, -700.0),
    digits=700,
    near=-699,
)
add(
    "an offset of 700 on every row, labels",
    OFFSETS,
    "bernoulli",
    X,
    BINARY,
    OPTIMUM,
    "the bias moves by -700",
    offset=700.0,
    near=-700,
)
add(
    "offsets of 700 without an intercept",
    OFFSETS,
    "normal",
    X,
    REAL,
    OPTIMUM,
    _DIGITS,
    offset=np.where(HALF > 0, 700.0, -700.0),
    intercept=False,
)

_EDGE = "the likelihood rises up to a mean of 0 or 1, where its gradient is not 0"
STEPS = np.arange(24.0)
add(
    "poisson means that fall to 0, identity link",
    EDGE,
    "poisson",
    STEPS,
    np.where(STEPS == 0, 30, 0),
    BOUNDARY,
    _EDGE,
    link="identity",
)
add(
    "a log link of shares that rise to 1",
    EDGE,
    "bernoulli",
    np.minimum(STEPS, 20),
    (STEPS > 12).astype(int) | (STEPS == 4),
    BOUNDARY,
    _EDGE,
    link="log",
)
add(
    "no mean is positive",
    EDGE,
    "gamma",
    np.array([1.0, -1.0]),
    [1.0, 2.0],
    INFEASIBLE,
    "w and -w are not both positive",
    link="identity",
    intercept=False,
)
