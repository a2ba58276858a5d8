"""Columns whose units or location are extreme: scales that differ by 1e12, a year, a price, a timestamp; large and small y."""

import numpy as np

from hard_data import samples
from hard_data.table import IMPRECISE, OPTIMUM, add

UNITS = "scales that differ by 1e12"
FAR = "a mean of 1e6 spreads"
_MOVED = "50 digits; the fit of the plain columns is the same"
_BLURRED = "; a float32 slope and bias hold a mean of 1e6 spreads to one digit of the spread"
X = samples.design()
FIRST = np.array([1e6, 0.0, 0.0])
MIXED = X * [1e-6, 1.0, 1e6]
Y = {
    "normal": samples.real(),
    "bernoulli": samples.binary(),
    "poisson": samples.counts(),
    "gamma": samples.positive(),
    "categorical": samples.classes(),
}
for family, y in Y.items():
    link = {"link": "log"} if family == "gamma" else {}
    add(f"units of 1e-6, 1 and 1e6, {family}", UNITS, family, MIXED, y, OPTIMUM, _MOVED, **link)
    add(f"a price, {family}", FAR, family, X + FIRST, y, OPTIMUM, _MOVED + _BLURRED, single=IMPRECISE, **link)
add("units of 1e-12, 1 and 1", UNITS, "poisson", X * [1e-12, 1.0, 1.0], Y["poisson"], OPTIMUM, _MOVED)
add("units of 1e12 throughout", UNITS, "bernoulli", X * 1e12, Y["bernoulli"], OPTIMUM, _MOVED)
add("units of 1e-12 throughout", UNITS, "categorical", X * 1e-12, Y["categorical"], OPTIMUM, _MOVED)
add("units that differ by 1e12, no intercept", UNITS, "poisson", MIXED, Y["poisson"], OPTIMUM, _MOVED, intercept=False)

YEAR = 2000.0 + np.arange(24)
SECONDS = 1.7e9 + np.round(1700 * X[:, 0])
YEARS = np.column_stack([YEAR, X[:, 1:]])
TIMES = np.column_stack([SECONDS, X[:, 1:]])
for family in ("normal", "bernoulli", "poisson"):
    add(f"a year, {family}", FAR, family, YEARS, Y[family], OPTIMUM, "50 digits")
    add(
        f"a timestamp in seconds, {family}",
        FAR,
        family,
        TIMES,
        Y[family],
        OPTIMUM,
        "50 digits" + _BLURRED,
        single=IMPRECISE,
    )
add(
    "a year and its square",
    FAR,
    "poisson",
    np.column_stack([YEAR, YEAR**2, X[:, 2]]),
    Y["poisson"],
    OPTIMUM,
    "50 digits; in float32 slope and bias hold each other to a sixth of a standard error",
    single=IMPRECISE,
)
add(
    "three columns of 1e6 spreads",
    FAR,
    "bernoulli",
    X + FIRST - 1e6 * np.eye(3)[1] + 1e6 * np.eye(3)[2],
    Y["bernoulli"],
    OPTIMUM,
    _MOVED + _BLURRED,
    single=IMPRECISE,
)
add(
    "a column of 1e8 spreads",
    FAR,
    "bernoulli",
    X + np.array([2.0**27, 0.0, 0.0]),
    Y["bernoulli"],
    OPTIMUM,
    _MOVED + "; in float32 the column is constant",
)
RESPONSE = "large and small responses"
add(
    "y of 1e6 spreads",
    RESPONSE,
    "normal",
    X,
    1e6 + Y["normal"],
    OPTIMUM,
    "50 digits; in float32 y and bias are rounded to a sixteenth of a spread",
    single=IMPRECISE,
)
add("y of 1e-12", RESPONSE, "gamma", X, 1e-12 * Y["gamma"], OPTIMUM, "the intercept moves by log 1e-12", link="log")
add(
    "y of 1e12",
    RESPONSE,
    "inverse_gaussian",
    X,
    1e12 * Y["gamma"],
    OPTIMUM,
    "the intercept moves by log 1e12",
    link="log",
)
add("a perfect fit", RESPONSE, "normal", X, X @ [1.0, 2.0, -1.0] + 3, OPTIMUM, "y is a combination of the columns")
add("y constant", RESPONSE, "normal", X, np.full(24, 7.0), OPTIMUM, "the intercept alone fits")
add("gamma responses that are all alike", RESPONSE, "gamma", X, np.full(24, 7.0), OPTIMUM, "the intercept alone fits")
