"""Random and corrupt input: a fit ends in a documented error or in a status that is true, never in a crash or a NaN that claims to be
an answer. Shapes are few, so that programs are shared."""

import warnings

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxml import families, glm
from jaxml.status import Status

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="draws both precisions itself")

FAMILIES = [
    families.Bernoulli(),
    families.Binomial(),
    families.Poisson(),
    families.NegativeBinomial(r=2.0),
    families.Normal(),
    families.Gamma(),
    families.InverseGaussian(),
    families.Categorical(3),
]
SCALES = [1e-12, 1e-6, 1e-3, 1.0, 1.0, 1.0, 1e3, 1e6, 1e12]
CORRUPT = ["nan", "inf", "negative weight", "short", "text", "none", "outside", "rank", "empty", "complex", "huge"]


@st.composite
def problems(draw):
    """A family, arguments for a fit, and what was spoilt."""
    family = draw(st.sampled_from(FAMILIES))
    n, d = draw(st.sampled_from([(1, 1), (8, 2), (8, 2)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float64, np.float64, np.float32])) if n > 1 else np.float64
    kind = draw(st.sampled_from(["normal", "grid", "constant", "copy", "zero"]))
    X = rng.integers(-2, 3, (n, d)).astype(float) if kind == "grid" else rng.normal(size=(n, d))
    if d and kind in ("constant", "zero"):
        X[:, 0] = 0 if kind == "zero" else 3.7
    if d > 1 and kind == "copy":
        X[:, 1] = X[:, 0]
    X = X * np.array([draw(st.sampled_from(SCALES)) for _ in range(d)]) + draw(
        st.sampled_from([0.0, 0.0, 1.0, 1e3, 1e6])
    )
    size = draw(st.sampled_from([1e-3, 0.3, 1.0, 1.0, 1.0, 30.0, 1e5]))
    mean = size * np.exp(rng.normal(size=n))
    y = {
        families.Bernoulli: lambda: (rng.random(n) < mean / (1 + mean)).astype(int),
        families.Binomial: lambda: (lambda m: (rng.binomial(m, mean / (1 + mean)), m))(rng.integers(0, 9, n)),
        families.Poisson: lambda: rng.poisson(mean),
        families.NegativeBinomial: lambda: rng.poisson(mean),
        families.Normal: lambda: size * rng.normal(size=n),
        families.Gamma: lambda: mean + 1e-300,
        families.InverseGaussian: lambda: mean + 1e-300,
        families.Categorical: lambda: rng.integers(0, draw(st.sampled_from([1, 2, 3])), n),
    }[type(family)]()
    options = {}
    options["weights"] = {
        "all": np.ones(n),
        "some": rng.integers(0, 3, n).astype(float),
        "one": np.eye(n)[0],
        "huge": np.where(np.arange(n) == n - 1, 1e12, 1.0),
        "zero": np.zeros(n),
    }[draw(st.sampled_from(["all", "all", "all", "some", "one", "huge", "zero"]))]
    spread = draw(st.sampled_from([0.0, 0.0, 1.0, 700.0]))
    options["offset"] = spread * rng.normal(size=(n, 3) if isinstance(family, families.Categorical) else n)
    options["l2"] = draw(st.sampled_from([0.0, 0.0, 1e-6, 0.1]))
    options["intercept"] = n == 1 or dtype is np.float32 or draw(st.booleans())
    spoilt = draw(st.sampled_from([None, None, None, *CORRUPT]))
    return family, *spoil(spoilt, X.astype(dtype), y, options, rng), spoilt


def spoil(how, X, y, options, rng):
    n = len(X)
    i = rng.integers(n)
    first = y[0] if isinstance(y, tuple) else y
    if how in ("nan", "inf", "huge") and X.size:
        X[i, 0] = {"nan": np.nan, "inf": -np.inf, "huge": np.finfo(X.dtype).max}[how]
    elif how == "negative weight":
        options["weights"] = np.where(np.arange(n) == i, -1.0, 1.0)
    elif how == "short":
        X = X[:-1]
    elif how == "text":
        X = X.astype(object)
        X[...] = "a"
    elif how == "none":
        y = [None] * n
    elif how == "outside":
        first = first.astype(float)
        first[i] = rng.choice([-1.0, 0.5, np.nan, np.inf, 1e300])
        y = (first, y[1]) if isinstance(y, tuple) else first
    elif how == "rank":
        X = X[:, :, None]
    elif how == "empty":
        X, y = X[:0], tuple(a[:0] for a in y) if isinstance(y, tuple) else y[:0]
    elif how == "complex":
        X = X.astype(complex)
    return X, y, options


def judge(problem):
    family, X, y, options, spoilt = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = glm.fit(family, X, y, **options)
        except (ValueError, TypeError, OverflowError) as error:
            return type(error).__name__ if str(error) else pytest.fail("an error without words")
    status = Status(int(fit.status))
    leaves = jax.tree.leaves(fit.params)
    assert all(np.isfinite(a).all() for a in leaves), (status, fit.params)
    if status is Status.CONVERGED:
        assert spoilt not in ("negative weight", "short", "text", "none", "rank", "empty", "complex"), spoilt
        for name in ("value", "gradient_norm", "decrement"):
            assert np.isfinite(getattr(fit, name)), (name, fit)
        on = options["weights"] > 0
        eta = glm.predict_natural(fit, np.where(on[:, None], X, 0), offset=options["offset"])
        assert np.isfinite(np.asarray(eta)[on]).all(), fit
    return status


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(problems())
def test_200_random_inputs(problem):
    judge(problem)


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(problems().filter(lambda p: isinstance(p[0], families.Poisson)))
def test_random_inputs(problem):
    judge(problem)
