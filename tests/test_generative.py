"""Generative classifiers: the notes' closed forms, Bayes' rule, streams, weights, degenerate data."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special as sp
from scipy import stats
from sklearn.datasets import load_iris

from jaxml import Status, families, generative, glm, report
from jaxml.generative import GaussianDiscriminant, NaiveBayes, classifier, estimation
from marks import mostly_slow
from tolerances import assert_agree

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
RTOL = 1e-11 if X64 else 2e-4

X, Y = load_iris(return_X_y=True)
X = X.astype(DTYPE)
BITS = (X.mean(axis=0) < X).astype(DTYPE)
COUNTS = np.round(3 * X).astype(DTYPE)
CODES = np.clip(np.floor(X), 0, 4)
MIXED = np.c_[COUNTS[:, 0], BITS[:, 1], X[:, 2], CODES[:, 3]].astype(DTYPE)
MIXED_FAMILY = families.Product(
    (families.Poisson(), families.Bernoulli(), families.NormalMeanVariance(), families.Categorical(5)),
    ((0,), (1,), (2,), (3,)),
)
RNG = np.random.default_rng(0)

MODELS = {
    "shared": (GaussianDiscriminant("shared"), X),
    "full": (GaussianDiscriminant("full"), X),
    "diagonal": (GaussianDiscriminant("diagonal"), X),
    "shrunk": (GaussianDiscriminant("full", 0.2), X),
    "auto": (GaussianDiscriminant("full", "auto"), X),
    "bernoulli": (NaiveBayes(families.independent(families.Bernoulli(), 4), 1.0), BITS),
    "categorical": (NaiveBayes(families.independent(families.Categorical(5), 4), 1.0), CODES.astype(DTYPE)),
    "multinomial": (NaiveBayes(families.Multinomial(4), 1.0), COUNTS),
    "poisson": (NaiveBayes(families.independent(families.Poisson(), 4), 0.5), COUNTS),
    "mixed": (NaiveBayes(MIXED_FAMILY, 1.0), MIXED),
    "gamma": (families.independent(families.GammaShapeRate(), 4), X),
    "inverse_gaussian": (families.independent(families.InverseGaussianMeanShape(), 4), X),
    "multivariate_normal": (families.MultivariateNormal(4), X),
}
QUICK = ("shared", "mixed")  # the others take as long to compile, each
EVERY = pytest.mark.parametrize("name", mostly_slow(MODELS, QUICK))
KINDS = pytest.mark.parametrize("name", ["shared", "auto", "bernoulli", "mixed", "gamma"])  # of estimates


@functools.cache
def fitted(name):
    model, data = MODELS[name]
    return generative.fit(model, data, Y)


def close(actual, expected, rtol=RTOL, scale=1.0):
    actual, expected = np.asarray(actual), np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * scale * max(1, np.abs(expected).max()))


# -- the notes -------------------------------------------------------------------------------------------------------
def gaussian_estimates():
    means = np.stack([X[k == Y].mean(axis=0) for k in range(3)]).astype(float)
    residual = X - means[Y]
    return means, residual.T @ residual / len(X)


@pytest.mark.slow
def test_notes_1_2_a_generative_model_infers_the_class_and_makes_new_rows():
    fit = fitted("shared")
    means, covariance = gaussian_estimates()
    density = np.stack([stats.multivariate_normal(m, covariance).logpdf(X) for m in means], axis=1) - np.log(3)
    close(generative.predict(fit, X), sp.softmax(density, axis=1))
    new, labels = generative.sample(fit, jax.random.key(0), 20_000)
    assert new.shape == (20_000, 4) and new.dtype == DTYPE
    for k in range(3):
        mine = np.asarray(new)[np.asarray(labels) == k].astype(float)
        assert abs(len(mine) / 20_000 - 1 / 3) < 0.02
        error = np.sqrt(np.diag(covariance) / len(mine))
        assert np.all(np.abs(mine.mean(axis=0) - means[k]) < 5 * error)
        np.testing.assert_allclose(np.cov(mine.T), covariance, atol=0.05 * np.max(covariance))


def test_notes_7_1_bayes_rule():
    joint = np.asarray(generative.log_joint(fitted("shared"), X), float)
    posterior = np.exp(joint) / np.exp(joint).sum(axis=1, keepdims=True)
    close(generative.predict(fitted("shared"), X), posterior)
    np.testing.assert_array_equal(generative.classify(fitted("shared"), X), np.argmax(joint, axis=1))


def test_notes_7_2_estimates_of_discriminant_analysis_are_the_closed_forms():
    means, covariance = gaussian_estimates()
    fit = fitted("shared")
    close(np.exp(fit.log_prior), np.bincount(Y) / len(Y))
    back = np.asarray(fit.transform.back, float)
    close(np.asarray(fit.transform.center) + np.asarray(fit.eta) @ back, means)
    close(back.T @ back, covariance)


@pytest.mark.parametrize("name", ["shared", "full", "gamma"])
@pytest.mark.slow
def test_notes_7_2_the_gradient_of_the_likelihood_vanishes(name):
    data = MODELS[name][1]
    fit = fitted(name)
    if name == "shared":  # in the means and in the one root of the precision

        def value(eta, root, log_prior):
            volume = jnp.linalg.slogdet(root)[1]
            moved = replace(
                fit, eta=eta, transform=replace(fit.transform, root=root, log_volume=volume), log_prior=log_prior
            )
            return generative.log_likelihood(moved, data, Y)

        start = fit.eta, fit.transform.root, fit.log_prior
    else:

        def value(eta, log_prior):
            return generative.log_likelihood(replace(fit, eta=eta, log_prior=log_prior), data, Y)

        start = fit.eta, fit.log_prior
    # The prior is free up to its sum.
    tied = lambda *args: value(*args[:-1], jax.nn.log_softmax(args[-1]))
    gradient = jax.grad(tied, argnums=tuple(range(len(start))))(*start)
    size = max(float(jnp.max(jnp.abs(a))) for a in start)
    for g, a in zip(gradient, start, strict=True):
        assert float(jnp.max(jnp.abs(g * a))) <= (1e-9 if X64 else 1e-2) * len(Y) * max(size, 1), name


def test_notes_7_3_naive_bayes_multiplies_relative_frequencies():
    fit = generative.bernoulli_naive_bayes(BITS, Y, smoothing=0.5)
    shares = np.stack([(0.5 + BITS[k == Y].sum(axis=0)) / (1 + np.sum(k == Y)) for k in range(3)])
    log = np.stack([stats.bernoulli(p).logpmf(BITS).sum(axis=1) for p in shares], axis=1) + np.log(
        np.bincount(Y) / len(Y)
    )
    close(generative.log_joint(fit, BITS), log)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.slow
def test_notes_7_4_laplace_smoothing(alpha):
    levels = [5, 5, 7, 4]
    codes = CODES.astype(int)
    fit = generative.categorical_naive_bayes(codes, Y, levels=levels, smoothing=alpha)
    expected = np.tile(np.log(np.bincount(Y) / len(Y)), (len(Y), 1))
    with np.errstate(divide="ignore"):
        for j, m in enumerate(levels):
            for k in range(3):
                count = np.bincount(codes[k == Y, j], minlength=m)
                expected[:, k] += np.log((alpha + count) / (m * alpha + np.sum(k == Y)))[codes[:, j]]
    joint = np.asarray(generative.log_joint(fit, codes), float)
    np.testing.assert_array_equal(np.isneginf(joint), np.isneginf(expected))
    finite = np.isfinite(expected)
    close(joint[finite], expected[finite])
    assert not np.any(np.isnan(generative.predict(fit, codes)))


# -- every model -----------------------------------------------------------------------------------------------------
@EVERY
@pytest.mark.slow
def test_batches_add_up_to_the_whole(name):
    model, data = MODELS[name]
    order = np.argsort(Y, kind="stable")  # the last batch lacks a class
    batches = [order[20:140], order[:20], order[140:]]
    parts = [generative.summarise(model, data[i], Y[i], classes=3) for i in batches]
    summary = functools.reduce(functools.partial(generative.merge, model), parts)
    streamed = generative.estimate(model, summary)
    close(generative.log_joint(streamed, data), generative.log_joint(fitted(name), data), RTOL * 10)


@EVERY
def test_a_batch_without_any_weight_changes_nothing(name):
    """Whatever it holds: a padded block of a stream."""
    model, data = MODELS[name]
    whole = generative.summarise(model, data, Y, classes=3)
    idle = generative.summarise(model, np.full_like(data[:6], np.nan), Y[:6], classes=3, weights=np.zeros(6, DTYPE))
    for pair in ((whole, idle), (idle, whole)):
        fit = generative.estimate(model, generative.merge(model, *pair))
        close(generative.log_joint(fit, data), generative.log_joint(fitted(name), data))


@pytest.mark.parametrize(
    "covariance",
    mostly_slow(["shared", "full", "diagonal"], ["shared"]),
)
def test_many_rows_go_in_blocks(covariance):
    """Of 4096 rows of 4 columns: what they add up to is what all at once give, inside jit."""
    more, y = np.tile(X, (61, 1)), np.tile(Y, 61)
    model = GaussianDiscriminant(covariance)
    assert len(more) > 2 * 4096 and len(more) % 4096
    blocks = generative.summarise(model, more, y, classes=3)
    at_once = jax.jit(lambda X, y: generative.summarise(model, X, y, classes=3))(more, y)
    for a, b in zip(jax.tree.leaves(blocks), jax.tree.leaves(at_once), strict=True):
        close(a, b)


@EVERY
def test_weights_are_copies_and_rows_of_weight_0_are_absent(name):
    model, data = MODELS[name]
    w = np.arange(len(Y)) % 3
    again = np.repeat(np.arange(len(Y)), w)
    copies = generative.fit(model, data[again], Y[again])
    bad = np.where(w[:, None] == 0, np.nan, data)
    weighted = generative.fit(model, bad, np.where(w == 0, 9, Y), weights=w, classes=3)
    close(generative.log_joint(weighted, data), generative.log_joint(copies, data), RTOL * 10)
    close(
        generative.log_likelihood(weighted, bad, np.where(w == 0, 0, Y), weights=w),
        generative.log_likelihood(copies, data[again], Y[again]), RTOL * 10,
    )  # fmt: skip


@EVERY
def test_permuted_classes_permute_the_answer(name):
    model, data = MODELS[name]
    turned = generative.fit(model, data, (Y + 1) % 3)
    close(np.roll(generative.log_joint(turned, data), -1, axis=1), generative.log_joint(fitted(name), data), RTOL * 10)


@EVERY
def test_the_dtype_of_the_data_is_kept_and_nothing_is_compiled_twice(name):
    model, data = MODELS[name]
    result = fitted(name)
    assert {leaf.dtype for leaf in (result.eta, result.log_prior, generative.predict(result, data))} == {
        np.dtype(DTYPE)
    }
    programs = (estimation._summarise, estimation._estimate, classifier._posterior)
    sizes = [program._cache_size() for program in programs]
    generative.predict(generative.fit(model, data[::-1], Y[::-1]), data)
    assert [program._cache_size() for program in programs] == sizes


@KINDS
@pytest.mark.slow
def test_derivatives_of_a_fit(name):
    """Through weights and, where it is real, the data: forward mode equals a central difference."""
    model, data = MODELS[name]
    direction = RNG.normal(size=len(Y)).astype(DTYPE) / 10

    @jax.jit
    def value(t):
        fit = generative.fit(model, data, Y, weights=jnp.exp(t * direction), classes=3)
        return generative.log_likelihood(fit, data, Y)

    slope = jax.jit(jax.grad(value))(jnp.asarray(0.5, DTYPE))
    assert np.isfinite(slope)
    if X64:
        h = 1e-4
        assert_agree(slope, (value(0.5 + h) - value(0.5 - h)) / (2 * h), "difference", error=1.0)


OPTIONS = {  # a model as a function of its option
    "shared": (lambda t: GaussianDiscriminant("shared", t), X),
    "full": (lambda t: GaussianDiscriminant("full", t), X),
    "diagonal": (lambda t: GaussianDiscriminant("diagonal", t), X),
    "variance": (lambda t: GaussianDiscriminant("diagonal", 0.0, t), X),
    "bernoulli": (lambda t: NaiveBayes(families.independent(families.Bernoulli(), 4), t), BITS),
    "mixed": (lambda t: NaiveBayes(MIXED_FAMILY, t), MIXED),
}


@pytest.mark.parametrize("name", mostly_slow(OPTIONS, ["shared"]))
def test_options_can_be_batched_and_differentiated(name):
    model, data = OPTIONS[name]
    value = jax.jit(lambda t: generative.log_likelihood(generative.fit(model(t), data, Y, classes=3), data, Y))
    t = np.array([0.1, 0.4, 0.8], DTYPE)
    single = np.array([value(v) for v in t])
    close(jax.jit(jax.vmap(value))(t), single, RTOL * 10)
    slope = jax.jit(jax.grad(value))(jnp.asarray(0.4, DTYPE))
    assert np.isfinite(slope)
    if X64:
        h = 1e-5
        assert_agree(slope, (value(0.4 + h) - value(0.4 - h)) / (2 * h), "difference", error=1.0)


@pytest.mark.parametrize("name", mostly_slow(["shared", "full", "auto", "gamma"], ["shared"]))
def test_derivatives_in_the_data(name):
    model, _ = MODELS[name]
    direction = RNG.normal(size=X.shape).astype(DTYPE) / 100

    @jax.jit
    def value(t):
        moved = X + t * direction
        return generative.log_likelihood(generative.fit(model, moved, Y, classes=3), X, Y)

    slope = jax.jit(jax.grad(value))(jnp.asarray(0.5, DTYPE))
    assert np.isfinite(slope)
    if X64:
        h = 1e-4
        assert_agree(slope, (value(0.5 + h) - value(0.5 - h)) / (2 * h), "difference", error=1.0)


@pytest.mark.slow
def test_derivatives_of_merged_batches_of_which_one_lacks_a_class():
    def value(t):
        w = jnp.exp(t * jnp.linspace(0, 1, len(Y), dtype=DTYPE))
        model = GaussianDiscriminant("shared")
        a, b = (
            generative.summarise(model, X[s], Y[s], classes=3, weights=w[s]) for s in (slice(0, 80), slice(80, 150))
        )
        return generative.log_likelihood(generative.estimate(model, generative.merge(model, a, b)), X, Y)

    whole = lambda t: generative.log_likelihood(
        generative.fit(GaussianDiscriminant("shared"), X, Y, classes=3, weights=jnp.exp(t * jnp.linspace(0, 1, len(Y), dtype=DTYPE))), X, Y
    )  # fmt: skip
    t = jnp.asarray(0.3, DTYPE)
    close(jax.grad(value)(t), jax.grad(whole)(t), RTOL * 100)


@pytest.mark.parametrize("name", ["shared", "diagonal", "bernoulli"])
def test_a_batch_of_weights_is_a_loop(name):
    model, data = MODELS[name]
    w = RNG.integers(0, 3, size=(3, len(Y))).astype(DTYPE)
    one = lambda w: generative.predict(generative.fit(model, data, Y, weights=w, classes=3), data[:7])
    close(jax.jit(jax.vmap(one))(w), np.stack([one(v) for v in w]), RTOL * 10)


# -- reductions ------------------------------------------------------------------------------------------------------
def test_the_posterior_of_a_shared_covariance_is_a_softmax_regression():
    c = generative.coefficients(fitted("shared"))
    close(sp.softmax(X @ np.asarray(c.weight) + np.asarray(c.bias), axis=1), generative.predict(fitted("shared"), X))
    assert np.max(np.abs(np.sum(c.weight, axis=1))) <= (1e-12 if X64 else 1e-5) * np.max(np.abs(c.weight))


@pytest.mark.slow
def test_two_classes_are_a_logistic_regression():
    keep = Y > 0
    fit = generative.gaussian_discriminant_analysis(X[keep], Y[keep] - 1)
    c = generative.coefficients(fit)
    eta = X[keep] @ np.asarray(c.weight[:, 1] - c.weight[:, 0]) + float(c.bias[1] - c.bias[0])
    close(sp.expit(eta), generative.predict(fit, X[keep])[:, 1])


@pytest.mark.parametrize("name", ["bernoulli", "multinomial", "poisson", "gamma"])
def test_the_posterior_of_a_family_is_a_softmax_regression_in_its_statistic(name):
    _, data = MODELS[name]
    fit = fitted(name)
    c = generative.coefficients(fit)
    t = np.asarray(fit.family.statistic(jnp.asarray(data)), float)
    eta = t @ np.asarray(c.weight, float) + np.asarray(c.bias, float)
    close(sp.softmax(eta, axis=1), generative.predict(fit, data), 10 * RTOL)


def test_bernoulli_is_categorical_with_two_levels():
    bits = generative.bernoulli_naive_bayes(BITS, Y)
    codes = generative.categorical_naive_bayes(BITS.astype(int), Y, levels=2)
    close(generative.log_joint(bits, BITS), generative.log_joint(codes, BITS.astype(int)))


def test_a_product_of_independent_normal_numbers_is_gaussian_naive_bayes():
    product = generative.fit(families.independent(families.NormalMeanVariance(), 4), X, Y)
    close(generative.log_joint(product, X), generative.log_joint(fitted("diagonal"), X), RTOL * 10)


def test_a_multivariate_normal_for_each_class_is_quadratic_discriminant_analysis():
    close(generative.log_joint(fitted("multivariate_normal"), X), generative.log_joint(fitted("full"), X), RTOL * 100)


def test_priors_that_are_given():
    prior = np.array([0.7, 0.2, 0.1])
    fit = generative.gaussian_discriminant_analysis(X, Y, prior=prior)
    change = np.log(prior * 3)
    close(generative.log_joint(fit, X), np.asarray(generative.log_joint(fitted("shared"), X)) + change)


# -- hard data -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("covariance", ["shared", "full", "diagonal"])
def test_units_and_location_of_the_columns_change_nothing(covariance):
    scale, shift = (
        np.array([1e-6, 1.0, 1e3, 1e6]),
        np.array([0.0, 1e6, 0.0, 1e9]) if X64 else np.array([0.0, 100.0, 0.0, 1e6]),
    )
    moved = (X.astype(float) * scale + shift).astype(DTYPE)
    fit = generative.gaussian_discriminant_analysis(moved, Y, covariance=covariance)
    close(generative.predict(fit, moved), generative.predict(fitted(covariance), X), 1e-6 if X64 else 3e-2)


@pytest.mark.parametrize("covariance", ["shared", "full", "diagonal"])
@pytest.mark.slow
def test_constant_and_repeated_columns(covariance):
    """They carry no information, so that nothing changes; independent columns count a copy twice."""
    more = np.c_[X, np.full(len(X), 3.0), X[:, 0]] if covariance != "diagonal" else np.c_[X, np.full(len(X), 3.0)]
    fit = generative.gaussian_discriminant_analysis(more.astype(DTYPE), Y, covariance=covariance)
    assert fit.transform.rank == 4 and not fit.separated and np.all(fit.floored == 0)
    assert "ignored" in report(fit)
    close(generative.predict(fit, more.astype(DTYPE)), generative.predict(fitted(covariance), X), RTOL * 1e3)
    new, _ = generative.sample(fit, jax.random.key(1), 50)
    np.testing.assert_allclose(new[:, 4], 3.0, rtol=1e-6)


def test_a_column_that_is_constant_in_each_class_is_named():
    fit = generative.gaussian_discriminant_analysis(np.c_[X, Y].astype(DTYPE), Y)
    assert fit.separated and "without error" in report(fit)


def test_a_class_that_does_not_vary_in_a_column():
    flat = X.copy()
    flat[Y == 0, 1] = 3.0
    for covariance in ("full", "diagonal"):
        fit = generative.gaussian_discriminant_analysis(flat, Y, covariance=covariance)
        assert fit.floored[0] >= 1 and np.all(fit.floored[1:] == 0)
        assert np.all(np.isfinite(generative.predict_log(fit, X)[:, 1:])) and not np.any(
            np.isnan(generative.predict(fit, X))
        )
        assert "raised" in report(fit)
        assert np.mean(np.asarray(generative.classify(fit, flat)) == Y) > 0.9


@KINDS
@pytest.mark.slow
def test_a_class_without_rows(name):
    model, data = MODELS[name]
    fit = generative.fit(model, data, Y, classes=4)
    close(generative.predict(fit, data)[:, :3], generative.predict(fitted(name), data))
    assert np.all(generative.predict(fit, data)[:, 3] == 0)
    given = generative.fit(model, data, Y, classes=4, prior=[0.25] * 4)
    assert np.all(np.isfinite(generative.log_joint(given, data))) and "No rows of class 3" in report(given)


def test_fewer_rows_than_columns():
    few = RNG.normal(size=(6, 10)).astype(DTYPE)
    y = np.array([0, 0, 0, 1, 1, 1])
    fit = generative.gaussian_discriminant_analysis(few, y, shrinkage=0.5)
    assert fit.transform.rank == 10 and np.all(np.isfinite(generative.log_joint(fit, few)))
    fit = generative.gaussian_discriminant_analysis(few, y)
    assert fit.transform.rank == 4 and np.all(np.isfinite(generative.log_joint(fit, few)))


def test_a_row_that_is_impossible_under_every_class_leaves_the_prior():
    bits = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], DTYPE)
    fit = generative.bernoulli_naive_bayes(bits, np.array([0, 0, 1]), smoothing=0)
    new = np.array([[1.0, 1.0]], DTYPE)
    assert np.all(np.isneginf(generative.log_joint(fit, new)))
    close(generative.predict(fit, new), [[2 / 3, 1 / 3]])


def test_a_value_that_a_class_has_not_shown_is_impossible_in_it():
    """Also where the shares of 49 rows do not sum to 1."""
    bits, y = np.r_[np.ones(49), np.zeros(5)][:, None].astype(DTYPE), np.r_[np.zeros(49, int), np.ones(5, int)]
    joint = np.asarray(generative.log_joint(generative.bernoulli_naive_bayes(bits, y, smoothing=0), bits[[0, 50]]))
    close(joint[[0, 1], [0, 1]], np.log([49 / 54, 5 / 54]))
    assert np.all(np.isneginf(joint[[0, 1], [1, 0]]))


def test_a_level_beyond_those_of_the_model_is_impossible():
    fit = generative.categorical_naive_bayes(CODES.astype(int), Y, levels=9)
    new = np.array([[9, 0, 0, 0], [np.nan, 0, 0, 0]], DTYPE)
    assert np.all(np.isneginf(generative.log_joint(fit, new)[0]))
    close(generative.predict(fit, new)[0], np.exp(fit.log_prior))
    assert np.all(np.isnan(generative.predict(fit, new)[1]))  # what is missing is not known


@pytest.mark.slow
def test_levels_are_read_from_the_rows_that_count():
    w = np.arange(len(Y)) % 2
    bad = np.where(w[:, None] == 0, np.nan, CODES).astype(DTYPE)
    fit = generative.categorical_naive_bayes(bad, Y, weights=w.astype(DTYPE))
    copy = generative.categorical_naive_bayes(CODES[w > 0].astype(int), Y[w > 0])
    close(generative.predict(fit, CODES[w > 0].astype(DTYPE)), generative.predict(copy, CODES[w > 0].astype(int)))


def test_numbers_that_do_not_vary_in_a_class_of_a_mixed_model():
    flat = X.copy()
    flat[Y == 0, 1] = 3.0
    fit = generative.fit(families.independent(families.NormalMeanVariance(), 4), flat, Y)
    np.testing.assert_array_equal(fit.floored, [1, 0, 0])
    assert not np.any(np.isnan(generative.predict(fit, X))) and "raised" in report(fit)
    # Elsewhere nothing changes.
    close(
        generative.log_joint(fit, X)[:, 1:],
        generative.log_joint(generative.gaussian_naive_bayes(flat, Y), X)[:, 1:],
        RTOL * 10,
    )


def test_far_away_rows_have_a_posterior():
    far = (X[:3] * (1e150 if X64 else 1e15)).astype(DTYPE)
    c = generative.coefficients(fitted("shared"))
    expected = np.argmax(far.astype(float) @ np.asarray(c.weight, float), axis=1)
    np.testing.assert_array_equal(generative.predict(fitted("shared"), far), np.eye(3)[expected])


@pytest.mark.filterwarnings("ignore::jaxml.status.ConvergenceWarning")
def test_variances_beyond_the_range_of_the_dtype_are_reported():
    fit = generative.gaussian_discriminant_analysis((X * (1e200 if X64 else 1e25)).astype(DTYPE), Y)
    assert fit.status == Status.NON_FINITE


def test_one_row_of_each_class():
    fit = generative.gaussian_discriminant_analysis(X[[0, 60, 120]], np.arange(3))
    assert fit.transform.rank == 0 and fit.status == Status.CONVERGED and fit.separated
    assert np.all(np.isfinite(generative.predict(fit, X)))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"prior": [0.5, 0.5]}, ValueError, "prior has shape"),
        ({"prior": [0.5, 0.6, 0.5]}, ValueError, "sum to 1"),
        ({"covariance": "round"}, ValueError, "covariance='round'"),
        ({"shrinkage": 1.5}, ValueError, "between 0 and 1"),
        ({"classes": 2}, ValueError, "labels run from 0 to 1"),
        ({"weights": -np.ones(150, DTYPE)}, ValueError, "negative"),
        ({"check": True}, ValueError, "check=True"),
        ({"X": X[:, 0]}, ValueError, r"X has shape \(150,\)"),
        ({"X": np.where(X > 7, np.nan, X)}, ValueError, "missing"),
        ({"y": np.zeros(150, int)}, ValueError, "one class only"),
    ],
)
def test_bad_input(change, error, match):
    arguments = {"X": X, "y": Y} | change
    with pytest.raises(error, match=match):
        generative.gaussian_discriminant_analysis(arguments.pop("X"), arguments.pop("y"), **arguments)


def test_more_bad_input():
    parts = [generative.summarise(MODELS["shared"][0], X, Y, classes=k) for k in (3, 4)]
    with pytest.raises(ValueError, match="classes, or are not both"):
        generative.merge(MODELS["shared"][0], *parts)
    with pytest.raises(ValueError, match=r"y\[100\] = 3 is not a class"):
        generative.log_likelihood(fitted("shared"), X, Y + 1)
    with pytest.raises(ValueError, match="weights are all zero"):
        generative.gaussian_discriminant_analysis(X, Y, weights=np.zeros(len(Y), DTYPE))
    with pytest.raises(ValueError, match="shrinkage='automatic'"):
        generative.gaussian_discriminant_analysis(X, Y, shrinkage="automatic")
    with pytest.raises(ValueError, match="'diagonal' has none"):
        generative.gaussian_discriminant_analysis(X, Y, shrinkage="auto", covariance="diagonal")
    with pytest.raises(ValueError, match="covariance='round'"):
        generative.fit(GaussianDiscriminant("round"), X, Y)
    with pytest.raises(ValueError, match="levels has shape"):
        generative.categorical_naive_bayes(CODES.astype(int), Y, levels=[5, 5])
    with pytest.raises(ValueError, match="outside the support of Product"):
        generative.bernoulli_naive_bayes(X, Y)
    with pytest.raises(ValueError, match="check='hull'"):
        generative.multinomial_naive_bayes(X, Y)
    with pytest.raises(ValueError, match="smoothing must not be negative"):
        generative.bernoulli_naive_bayes(BITS, Y, smoothing=-1.0)
    with pytest.raises(TypeError, match="quadratic"):
        generative.coefficients(fitted("full"))
    with pytest.raises(TypeError, match="counts trials"):
        generative.sample(fitted("multinomial"), jax.random.key(0), 3)
    with pytest.raises(TypeError, match="model must be"):
        generative.fit("gaussian", X, Y)
    with pytest.raises(ValueError, match="expected"):
        generative.predict(fitted("shared"), X[:, :2])


@pytest.mark.slow
def test_maximum_likelihood_of_discriminant_analysis_beats_any_logistic_posterior_in_its_own_likelihood():
    """And loses to the discriminative fit in the conditional one: two estimates of the same coefficients."""
    keep = Y > 0
    data, y = X[keep], Y[keep] - 1
    fit = generative.gaussian_discriminant_analysis(data, y)
    conditional = float(np.sum(np.take_along_axis(np.asarray(generative.predict_log(fit, data)), y[:, None], axis=1)))
    logistic = glm.fit(families.Bernoulli(), data, y)
    assert float(logistic.log_likelihood) > conditional
