"""Counts in the millions and beyond, means that overflow on the first full step, and wild starting points."""

import numpy as np

from hard_data import samples
from hard_data.table import OPTIMUM, REFUSED, add

MILLIONS = "counts in the millions"
OVERFLOW = "means that overflow on the first step"
WILD = "wild starting points"
_DIGITS = "50 digits"
X = samples.design()
GREAT = samples.counts(bias=14.5)
_HELD = _DIGITS + "; float32 cannot hold counts above 2^24, and must say so"
add("poisson counts of 3e6", MILLIONS, "poisson", X, GREAT, OPTIMUM, _HELD, single=REFUSED)
add(
    "negative binomial counts of 3e6",
    MILLIONS,
    "negative_binomial",
    X,
    np.round(3e5 * samples.positive()),
    OPTIMUM,
    _DIGITS,
)
add(
    "5e6 trials a row",
    MILLIONS,
    "binomial",
    X,
    (np.round(5e6 / (1 + np.exp(-samples.predictor()))), np.full(24, 5e6)),
    OPTIMUM,
    _DIGITS,
)
add("tables of 4e6", MILLIONS, "multinomial", X, np.round(1e6 * (1 + np.eye(3)[samples.classes()])), OPTIMUM, _DIGITS)
add(
    "poisson counts of 5e9",
    MILLIONS,
    "poisson",
    X,
    GREAT * 2000 + 1,
    OPTIMUM,
    _HELD,
    single=REFUSED,
)
add(
    "one count of 1e6, the others 0 and 1",
    MILLIONS,
    "poisson",
    X,
    np.where(np.arange(24) == 3, 10**6, samples.binary()),
    OPTIMUM,
    _DIGITS,
)
add("one of 1e6 trials succeeds", MILLIONS, "binomial", X, (samples.counts(), np.full(24, 10**6)), OPTIMUM, _DIGITS)

STEEP = np.column_stack([np.arange(1.0, 25.0), X[:, 1:]])
STEEPLY = np.round(np.exp(0.6 * np.arange(1.0, 25.0)) + samples.counts())
add("exponential growth without an intercept", OVERFLOW, "poisson", STEEP, STEEPLY, OPTIMUM, _DIGITS, intercept=False)
add(
    "counts of 1e6 from a start at 0",
    OVERFLOW,
    "poisson",
    X,
    GREAT,
    OPTIMUM,
    _HELD,
    init=(np.zeros(3), 0.0),
    single=REFUSED,
)
add("a first step of 1e6", OVERFLOW, "poisson", 64 + X, GREAT, OPTIMUM, _HELD, intercept=False, single=REFUSED)
add(
    "negative binomial growth without an intercept",
    OVERFLOW,
    "negative_binomial",
    STEEP,
    STEEPLY,
    OPTIMUM,
    _DIGITS,
    intercept=False,
)
add(
    "a cloglog of rare events, no intercept",
    OVERFLOW,
    "bernoulli",
    8 * X,
    samples.binary(),
    OPTIMUM,
    _DIGITS,
    link="cloglog",
    intercept=False,
)

for name, start in (("30", 30.0), ("-30", -30.0), ("100", 100.0)):
    add(
        f"logit from slopes of {name}",
        WILD,
        "bernoulli",
        X,
        samples.binary(),
        OPTIMUM,
        _DIGITS,
        init=(np.full(3, start), start),
    )
add(
    "probit from slopes of 20",
    WILD,
    "bernoulli",
    X,
    samples.binary(),
    OPTIMUM,
    _DIGITS,
    link="probit",
    init=(np.full(3, 20.0), -20.0),
)
add("poisson from a bias of 80", WILD, "poisson", X, samples.counts(), OPTIMUM, _DIGITS, init=(np.zeros(3), 80.0))
add("poisson from a bias of -30", WILD, "poisson", X, samples.counts(), OPTIMUM, _DIGITS, init=(np.zeros(3), -30.0))
add(
    "softmax from slopes of 100",
    WILD,
    "categorical",
    X,
    samples.classes(),
    OPTIMUM,
    _DIGITS,
    init=(np.outer([100.0, -100.0, 50.0], [1.0, -1.0, 0.0]), np.array([100.0, 0.0, -100.0])),
)
add("normal from slopes of 1e8", WILD, "normal", X, samples.real(), OPTIMUM, _DIGITS, init=(np.full(3, 1e8), -1e8))
