"""Bad input: errors name the argument, the value or its place, and a remedy; nothing is changed in silence."""

import datetime
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import families, glm, likelihood, optimize
from jaxml.predictors import Linear, linear

N = 5
X = np.arange(10.0).reshape(N, 2)
Y = np.array([0, 1, 0, 1, 1])
W = np.ones(N)


def put(a, place, value):
    out = np.array(a, float)
    out[place] = value
    return out


# name: (family, X, y, options, error, words of the message)
VALUES = {
    "nan-in-X": (families.Bernoulli(), put(X, (3, 1), np.nan), Y, {}, r"X\[3, 1\] is missing"),
    "inf-in-X": (families.Bernoulli(), put(X, (3, 1), np.inf), Y, {}, r"X\[3, 1\] is infinite"),
    # its start is a least-squares problem, whose SVD never ends at an infinite entry
    "inf-in-X-of-a-domain": (
        families.Gamma(),
        put(X, (3, 1), np.inf),
        Y + 1,
        {"offset": 0 * W},
        r"X\[3, 1\] is infinite",
    ),
    "nan-in-y": (families.Poisson(), X, put(Y, 2, np.nan), {}, r"y\[2\] = nan is missing"),
    "inf-in-y": (families.Poisson(), X, put(Y, 2, np.inf), {}, r"y\[2\] = inf is outside the support of Poisson"),
    "nan-in-weights": (families.Bernoulli(), X, Y, {"weights": put(W, 4, np.nan)}, r"weights\[4\] = nan is not finite"),
    "inf-in-weights": (families.Bernoulli(), X, Y, {"weights": put(W, 4, np.inf)}, r"weights\[4\] = inf is not finite"),
    "nan-in-offset": (families.Bernoulli(), X, Y, {"offset": put(W, 1, np.nan)}, r"offset\[1\] is missing"),
    "inf-in-offset": (families.Bernoulli(), X, Y, {"offset": put(W, 1, -np.inf)}, r"offset\[1\] is infinite"),
    "negative-weight": (families.Bernoulli(), X, Y, {"weights": put(W, 1, -2)}, r"weights\[1\] = -2.0 is negative"),
    "no-weight": (families.Bernoulli(), X, Y, {"weights": 0 * W}, r"weights are all zero"),
    "bernoulli-2": (families.Bernoulli(), X, put(Y, 3, 2), {}, r"y\[3\] = 2.0 is outside the support of Bernoulli"),
    "bernoulli-half": (families.Bernoulli(), X, put(Y, 3, 0.5), {}, r"y\[3\] = 0.5 .*check='hull'"),
    "hull-2": (families.Bernoulli(), X, put(Y, 3, 2), {"check": "hull"}, r"y\[3\] = 2.0 is outside the convex hull"),
    "binomial-more": (
        families.Binomial(),
        X,
        (put(Y, 2, 4), 3 * W),
        {},
        r"y\[2\] = \(4.0, 3.0\) is outside the support of Binomial",
    ),
    "poisson-negative": (families.Poisson(), X, put(Y, 0, -2), {}, r"y\[0\] = -2.0 is outside the support of Poisson"),
    "poisson-half": (families.Poisson(), X, put(Y, 0, 1.5), {}, r"y\[0\] = 1.5 .*check='hull'"),
    "negative-binomial": (
        families.NegativeBinomial(r=2.0),
        X,
        put(Y, 0, -1),
        {},
        r"y\[0\] = -1.0 is outside the support",
    ),
    "geometric-0": (families.Geometric(), X, Y, {}, r"y\[0\] = 0.0 is outside the support of Geometric"),
    "gamma-negative": (families.Gamma(), X, put(Y + 1, 1, -1), {}, r"y\[1\] = -1.0 is outside the support of Gamma"),
    "gamma-zero": (families.Gamma(), X, put(Y + 1, 1, 0), {}, r"y\[1\] = 0.0 is outside the support of Gamma"),
    "exponential": (
        families.Exponential(),
        X,
        put(Y + 1, 1, 0),
        {},
        r"y\[1\] = 0.0 is outside the support of Exponential",
    ),
    "inverse-gaussian": (families.InverseGaussian(), X, put(Y + 1, 1, 0), {}, r"y\[1\] = 0.0 is outside"),
    "beta-1": (families.Beta(), X, put(0.5 * W, 1, 1), {}, r"y\[1\] = 1.0 is outside the support of Beta"),
    "dirichlet-sum": (
        families.Dirichlet(2),
        X,
        np.full((N, 2), 0.4),
        {},
        r"y\[0\] = .* is outside the support of Dirichlet",
    ),
    "multinomial-negative": (
        families.Multinomial(2),
        X,
        put(np.ones((N, 2)), (3, 0), -1),
        {},
        r"y\[3\] = .* is outside",
    ),
    "label-high": (families.Categorical(3), X, np.array([0, 1, 2, 3, 0]), {}, r"y\[3\] = 3 .*labels run from 0 to 2"),
    "label-negative": (
        families.Categorical(3),
        X,
        np.array([0, 1, 2, -1, 0]),
        {},
        r"y\[3\] = -1 .*labels run from 0 to 2",
    ),
    "label-half": (families.Categorical(3), X, put(Y, 1, 0.5), {}, r"y\[1\] = 0.5 is not a class label"),
    "label-nan": (families.Categorical(3), X, put(Y, 1, np.nan), {}, r"y\[1\] = nan"),
    "negative-l2": (families.Bernoulli(), X, Y, {"l2": -0.1}, r"l2 must be finite and not negative, got -0.1"),
    "nan-l2": (families.Bernoulli(), X, Y, {"l2": np.nan}, r"l2 must be finite"),
}
SHAPES = {
    "y-column": (families.Bernoulli(), X, Y[:, None], {}, r"y has shape \(5, 1\), expected \(5,\)"),
    "y-long": (families.Bernoulli(), X, np.append(Y, 1), {}, r"y has shape \(6,\), expected \(5,\)"),
    "y-scalar": (families.Bernoulli(), X, 1, {}, r"y has shape \(\)"),
    "y-one-hot": (families.Categorical(2), X, np.eye(2)[Y], {}, r"y has shape \(5, 2\).*labels 0\.\.K-1"),
    "y-pair": (families.Binomial(), X, Y, {}, r"pair \(successes, trials\)"),
    "y-trials": (families.Binomial(), X, (Y, W[:3]), {}, r"y\[1\] has shape \(3,\)"),
    "y-flat": (families.Multinomial(2), X, Y, {}, r"y has shape \(5,\).*Multinomial"),
    "y-classes": (families.Multinomial(3), X, np.ones((N, 2)), {}, r"y has shape \(5, 2\)"),
    "X-1d": (families.Bernoulli(), X[:, 0], Y, {}, r"X must have shape \(n, d\), got \(5,\); use X\[:, None\]"),
    "X-3d": (families.Bernoulli(), X[None], Y, {}, r"X must have shape \(n, d\), got \(1, 5, 2\)"),
    "X-empty": (families.Bernoulli(), X[:0], Y[:0], {}, r"X has no rows"),
    "weights-long": (families.Bernoulli(), X, Y, {"weights": np.ones(6)}, r"weights has shape \(6,\), expected \(5,\)"),
    "weights-column": (families.Bernoulli(), X, Y, {"weights": W[:, None]}, r"weights has shape \(5, 1\)"),
    "weights-scalar": (families.Bernoulli(), X, Y, {"weights": 1.0}, r"weights has shape \(\)"),
    "offset-scalar": (families.Bernoulli(), X, Y, {"offset": 1.0}, r"offset has shape \(\), expected \(5,\)"),
    "offset-vector": (families.Categorical(2), X, Y, {"offset": W}, r"offset has shape \(5,\), expected \(5, 2\)"),
    "l2-shape": (families.Bernoulli(), X, Y, {"l2": np.ones(3)}, r"l2 has shape \(3,\), expected \(\) or \(2,\)"),
    "ragged": (families.Bernoulli(), [[1.0], [1.0, 2.0]], [0, 1], {}, r"X cannot be read as an array"),
    "init-shape": (
        families.Bernoulli(),
        X,
        Y,
        {"init": Linear(np.zeros(3), 0.0)},
        r"init.weight and init.bias must have shapes",
    ),
    "init-bias": (families.Bernoulli(), X, Y, {"init": Linear(np.zeros(2))}, r"init must be a Linear with a bias"),
    "init-type": (families.Bernoulli(), X, Y, {"init": np.zeros(2)}, r"init must be a Linear"),
}
OPTIONS = {
    "weight-kind": ({"weight_kind": "importance"}, r"weight_kind='importance' is not known; use one of"),
    "check": ({"check": "loose"}, r"check='loose' is not known; use one of"),
    "link": ({"link": "logg"}, r"link='logg' is not known; use one of identity, log"),
    "link-type": ({"link": 3}, r"link must be a name, a function"),
}
TYPES = {
    "X-object": (np.array([["a", 1.0]] * N, object), Y, {}, r"X has dtype object, which is not numeric"),
    "X-string": (np.array([["a", "b"]] * N), Y, {}, r"X has dtype <U1, which is not numeric"),
    "X-date": (np.array([[datetime.date(2020, 1, 1)] * 2] * N, "datetime64[D]"), Y, {}, r"X has dtype datetime64"),
    "X-complex": (X + 1j, Y, {}, r"X has dtype complex128"),
    "y-string": (X, np.array(["no", "yes", "no", "yes", "yes"]), {}, r"y has dtype <U3.*class labels as integers"),
    "y-object": (X, np.array([0, 1, None, 1, 0], object), {}, r"y has dtype object"),
    "weights-string": (X, Y, {"weights": ["1"] * N}, r"weights has dtype <U1"),
    "offset-string": (X, Y, {"offset": ["1"] * N}, r"offset has dtype <U1"),
    "solver": (X, Y, {"solver": "newton"}, r"solver must be"),
    "solver-class": (X, Y, {"solver": optimize.Newton}, r"solver must be"),
}


def rows(table):
    return pytest.mark.parametrize("row", [pytest.param(v, id=k) for k, v in table.items()])


# Newton's method looks at values in the program that fits, one for each family and kind of options; others look first.
BY_NEWTON = ("nan-in-X", "inf-in-X-of-a-domain", "nan-in-weights", "nan-in-offset", "bernoulli-2", "hull-2", "poisson-negative",
             "label-high", "negative-l2")  # fmt: skip


def check_values(row, solver):
    family, X, y, options, words = row
    y = y if family.labels else jax.tree.map(lambda a: np.asarray(a, float), y)
    with pytest.raises(ValueError, match=words):
        glm.fit(family, single(X), single(y), solver=solver, **single(options))


@rows(VALUES)
def test_bad_values_are_refused_by_name_and_place(row):
    check_values(row, optimize.LBFGS())


@rows({name: VALUES[name] for name in BY_NEWTON})
def test_newtons_method_refuses_them_too(row):
    check_values(row, None)


@rows(SHAPES)
def test_bad_shapes_are_refused_and_nothing_is_broadcast(row):
    family, X, y, options, words = row
    with pytest.raises(ValueError, match=words):
        glm.fit(family, single(X), single(y), **single(options))


@rows({k: row for k, row in SHAPES.items() if row[-1] != r"X cannot be read as an array"})  # lists cannot cross jit
def test_bad_shapes_are_refused_inside_jit(row):
    family, X, y, options, words = row
    with pytest.raises(ValueError, match=words):
        jax.jit(lambda X: glm.fit(family, X, single(y), **single(options)))(single(X))


@rows(OPTIONS)
def test_unknown_names_of_options_are_refused_with_the_known_ones(row):
    with pytest.raises(ValueError, match=row[1]):
        glm.fit(families.Bernoulli(), single(X), Y, **row[0])


@rows(TYPES)
def test_what_is_not_numeric_is_refused_with_the_remedy(row):
    X, y, options, words = row
    with pytest.raises(TypeError, match=words):
        glm.fit(families.Bernoulli(), X if X is not globals()["X"] else single(X), y, **options)


def single(tree):
    """NumPy float64 arrays in JAX's default precision, as a user without 64-bit mode would pass them."""
    default = jnp.zeros(()).dtype
    cast = lambda a: a.astype(default) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a
    return jax.tree.map(cast, tree)


@pytest.mark.parametrize("family", [families.Categorical(3), families.MultivariateNormal(2), families.Beta()])
def test_named_links_are_refused_where_a_family_has_no_single_mean(family):
    with pytest.raises(ValueError, match="link='log' needs a family with one declared mean"):
        glm.fit(family, single(X), Y, link="log")


def test_float_labels_inside_jit_are_refused():
    with pytest.raises(TypeError, match="integer labels"):
        jax.jit(lambda y: glm.fit(families.Categorical(2), single(X), y))(Y.astype(np.float32))


def test_number_of_classes_inside_jit_must_be_given():
    with pytest.raises(ValueError, match="classes=K"):
        jax.jit(lambda y: glm.softmax_regression(single(X), y))(Y)


def test_whole_float_labels_are_taken_as_labels():
    a = glm.fit(families.Categorical(2), single(X), single(Y.astype(float)), l2=0.1)
    b = glm.fit(families.Categorical(2), single(X), Y, l2=0.1)
    assert np.array_equal(a.params.weight, b.params.weight)


def test_quasi_likelihood_has_a_dispersion_and_no_log_likelihood():
    y = single(np.array([0.1, 0.4, 0.3, 0.6, 0.8]))
    fit = glm.fit(families.Bernoulli(), single(X[:, :1]), y, check="hull")
    assert fit.log_likelihood is None
    assert float(fit.dispersion) > 0
    with pytest.raises(ValueError, match=r"check='hull'\) has no log-likelihood"):
        glm.score(fit, single(X[:, :1]), y)


# -- prediction ------------------------------------------------------------------------------------------------------
COLUMN = single(X[:, :1])
COUNTS = np.array([1, 2, 1, 4, 3])


def test_model_with_an_offset_refuses_to_predict_without_one_and_the_reverse():
    without = glm.fit(families.Poisson(), COLUMN, COUNTS)
    with_one = glm.fit(families.Poisson(), COLUMN, COUNTS, offset=single(0 * W))
    for call in (glm.predict, glm.predict_natural, glm.predict_statistic):
        with pytest.raises(ValueError, match="give offset="):
            call(with_one, COLUMN)
        with pytest.raises(ValueError, match="without an offset"):
            call(without, COLUMN, offset=single(W))
    with pytest.raises(ValueError, match="give offset="):
        glm.score(with_one, COLUMN, COUNTS)
    with pytest.raises(ValueError, match=r"offset has shape \(3,\), expected \(5,\)"):
        glm.predict(with_one, COLUMN, offset=single(W[:3]))
    with pytest.raises(ValueError, match=r"X has shape \(5, 2\), but the model was fitted on 1 columns"):
        glm.predict(without, single(X))
    with pytest.raises(TypeError, match="X has dtype"):
        glm.predict(without, np.array([["a"]]))


def test_binomial_model_refuses_to_predict_without_trials():
    fit = glm.fit(families.Binomial(), COLUMN, (COUNTS, np.full(N, 5)))
    with pytest.raises(ValueError, match="give trials="):
        glm.predict(fit, COLUMN)
    with pytest.raises(ValueError, match=r"trials has shape \(2,\), expected \(5,\)"):
        glm.predict(fit, COLUMN, trials=[5, 5])
    assert np.allclose(
        glm.predict(fit, COLUMN, trials=10), 2 * glm.predict(fit, COLUMN, trials=np.full(N, 5)), rtol=1e-5
    )


# -- numbers that do not fit -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["y", "X", "weights"])
def test_integers_that_float32_cannot_hold_are_refused(place):
    big = np.array([1, 2, 2**60, 4, 5])
    args = {"X": X.astype(np.float32), "y": np.array([1, 2, 3, 4, 5]), "weights": None}
    args[place] = big if place != "X" else np.stack([big, big], axis=1)
    args["y"] = args["y"].astype(np.float32) if place == "X" else args["y"]
    with pytest.raises(OverflowError, match=rf"{place} holds the integer 1152921504606846976.*jax_enable_x64"):
        glm.fit(families.Poisson(), args["X"], args["y"], weights=args["weights"])


def test_counts_beyond_float32_are_refused_and_those_within_are_taken():
    with pytest.raises(OverflowError, match="y holds the integer 16777217"):
        glm.fit(families.Poisson(), X.astype(np.float32), np.array([1, 2, 3, 4, 2**24 + 1]))
    assert np.isfinite(glm.fit(families.Poisson(), COLUMN.astype(np.float32), COUNTS).params.bias)


X32 = """
import warnings
import numpy as np
from jaxml import families, glm
X, y = np.arange(6.0)[:, None], np.array([1, 2, 1, 4, 3, 5])
try:
    glm.fit(families.Poisson(), X, y * 2**60)
except OverflowError as error:
    print("overflow:", error)
try:
    glm.fit(families.Poisson(), X.astype(np.float32), y, weights=np.array([2**40] * 6))
except OverflowError as error:
    print("weights:", error)
try:
    glm.fit(families.Categorical(3), X.astype(np.float32), np.array([0, 1, 2, 0, 1, 2**32]))
except (OverflowError, ValueError) as error:
    print("label:", error)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("default")
    for _ in range(2):
        fit = glm.fit(families.Poisson(), X, y)
print("dtype:", fit.params.weight.dtype, "warnings:", len([w for w in seen if "64-bit mode is off" in str(w.message)]))
"""


def test_without_64_bit_mode_nothing_wraps_and_float64_data_warn_once():
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", X32], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    out = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert "y holds the integer" in out["overflow"]
    assert "weights holds the integer 1099511627776" in out["weights"]
    assert "y[5]" in out.get("label", "accepted: 2**32 wraps to class 0")
    assert out["dtype"] == "float32 warnings: 1"


@pytest.mark.parametrize("weight_kind", ["frequency", "sampling"])
def test_quasi_likelihood_has_no_score(weight_kind):
    X, y, w = (single(a) for a in (np.arange(4.0)[:, None], np.array([1, 2.5, 6, 9]), np.ones(4)))
    fit = glm.fit(families.Poisson(), X, y, check="hull", weight_kind=weight_kind, weights=w)
    with pytest.raises(ValueError, match="quasi-likelihood fit"):
        glm.score(fit, X, np.array([1, 2, 6, 9]))


def test_score_and_log_likelihood_refuse_what_does_not_fit():
    X, y = single(np.arange(4.0)[:, None]), np.array([1, 2, 6, 9])
    fit = glm.fit(families.Poisson(), X, y)
    with pytest.raises(ValueError, match=r"X has shape \(4, 2\), but the model was fitted on 1 columns"):
        glm.score(fit, single(np.zeros((4, 2))), y)
    with pytest.raises(ValueError, match=r"weights\[1\] = -1.0 is negative"):
        likelihood.log_likelihood(families.Poisson(), linear, fit.params, X, y, weights=jnp.array([1.0, -1, 1, 1]))


def test_named_models_refuse_labels_and_designs_that_do_not_fit():
    X = single(np.arange(4.0)[:, None])
    with pytest.raises(TypeError, match="y has dtype <U1"):
        glm.softmax_regression(X, np.array(list("abca")))
    with pytest.raises(ValueError, match=r"y has shape \(0,\)"):
        glm.softmax_regression(X, [])
    with pytest.raises(ValueError, match="X has 1 rows for 2 coefficients"):
        glm.least_squares(X[:1], single(np.ones(1)))
    with pytest.raises(ValueError, match="'unconstrained' is for families with a map of their own"):
        glm.fit(families.Exponential(), X, single(np.ones(4)), link="unconstrained")


def test_contrast_of_a_class_that_is_not_there_is_refused():
    X, y = np.arange(8, dtype=np.float32)[:, None] % 3, np.arange(8) % 2
    fit = glm.fit(families.Categorical(2), X, y)
    with pytest.raises(ValueError, match=r"reference = 2 is no class; the fit has 0\.\.1"):
        glm.contrast(fit, reference=2)
    with pytest.raises(TypeError, match="Categorical and Multinomial, got a fit of Bernoulli"):
        glm.contrast(glm.fit(families.Bernoulli(), X, y))
