"""Profile-likelihood intervals: at each end the maximum over all else, found by fits with an offset, is as much lower as a test allows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from jaxml import Status, families, glm
from jaxml.optimize import Newton
from marks import mostly_slow

X64 = jax.config.jax_enable_x64
DIGITS = 1e-7 if X64 else 2e-3
rng = np.random.default_rng(3)
N = 40
X = rng.normal(size=(N, 2))
ETA = 0.6 * X[:, 0] - 0.3 * X[:, 1] + 0.2
BINARY = (rng.random(N) < 1 / (1 + np.exp(-ETA))).astype(int)
TRIALS = rng.integers(1, 6, N)
COUNTS = rng.poisson(np.exp(ETA))
POSITIVE = rng.gamma(3.0, np.exp(ETA) / 3)
CLASSES = rng.integers(0, 3, N)
WEIGHTS = rng.integers(1, 4, N)
MODELS = {
    "normal": (families.Normal(), ETA + rng.normal(size=N), {}),
    "logistic": (families.Bernoulli(), BINARY, {}),
    "logistic, weights": (families.Bernoulli(), BINARY, {"weights": WEIGHTS}),
    "probit": (families.Bernoulli(), BINARY, {"link": "probit"}),
    "binomial": (families.Binomial(), (rng.binomial(TRIALS, 1 / (1 + np.exp(-ETA))), TRIALS), {}),
    "quasi-poisson": (families.Poisson(), POSITIVE, {"check": "hull"}),
    "negative binomial": (families.NegativeBinomial(r=2.0), COUNTS, {"link": "log"}),
    "gamma, inverse link": (families.Gamma(), POSITIVE + 2, {}),
    "inverse gaussian, precision weights": (
        families.InverseGaussian(),
        POSITIVE,
        {"link": "log", "weights": WEIGHTS, "weight_kind": "precision"},
    ),
}
over_models = pytest.mark.parametrize("name", mostly_slow(MODELS, ["logistic"]))
pytestmark = [
    pytest.mark.filterwarnings("ignore::jaxml.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:float64 data are computed in float32"),
]


def inferred(family, X, y, **options):
    fit = glm.fit(family, X, y, **options)
    return glm.infer(fit, X, y, weights=options.get("weights"), offset=options.get("offset"))


def flat(params):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(params)])


def deviance(fit, X, y, offset, weights):
    each = families.deviance(fit.family, glm.predict_natural(fit, X, offset=offset), jax.tree.map(jnp.asarray, y))
    return float(np.sum((1 if weights is None else weights) * np.asarray(each, float)))


# -- the definition ----------------------------------------------------------------------------------------------------
@over_models
def test_ends_are_where_fits_with_the_coefficient_held_are_as_bad_as_the_level_allows(name):
    family, y, options = MODELS[name]
    inference = inferred(family, X, y, **options)
    low, high = glm.profile_intervals(inference, level=0.9)
    best = deviance(inference.fit, X, y, None, options.get("weights"))
    f = float(inference.freedom)
    allowed = stats.t.ppf(0.95, f) ** 2 if np.isfinite(f) else stats.chi2.ppf(0.9, 1)
    for j, ends in enumerate(zip(flat(low), flat(high), strict=True)):
        estimate = flat(inference.params)[j]
        assert ends[0] < estimate < ends[1]
        for t in ends:
            bias = j == 2
            others, offset = (X, np.full(N, t)) if bias else (np.delete(X, j, axis=1), t * X[:, j])
            held = glm.fit(family, others, y, offset=offset, intercept=not bias, **options)
            worse = deviance(held, others, y, offset, options.get("weights")) - best
            assert worse / float(inference.dispersion) == pytest.approx(allowed, rel=DIGITS, abs=0 if X64 else 1e-2)


def test_a_mean_alone_in_closed_form():
    y, nothing = np.array([3, 0, 2, 5, 1]), np.zeros((5, 0))
    low, high = glm.profile_intervals(inferred(families.Poisson(), nothing, y))
    mean = y.mean()
    drop = lambda b: 2 * 5 * (np.exp(b) - mean - mean * (b - np.log(mean))) - stats.chi2.ppf(0.95, 1)
    ends = optimize.brentq(drop, -9, np.log(mean), xtol=1e-14), optimize.brentq(drop, np.log(mean), 9, xtol=1e-14)
    np.testing.assert_allclose([low.bias, high.bias], ends, rtol=1e-8 if X64 else 1e-4)


def test_of_least_squares_they_are_those_of_the_t_distribution():
    inference = inferred(families.Normal(), X, MODELS["normal"][1])
    for a, b in zip(glm.profile_intervals(inference), glm.confidence_intervals(inference), strict=True):
        np.testing.assert_allclose(flat(a), flat(b), rtol=1e-8 if X64 else 1e-4)


@pytest.mark.slow
def test_the_penalised_profile_of_firth():
    """Against scipy's maximum of the definition, typed; where the data are separated, too."""
    y = (X[:, 0] > 0.1).astype(int)
    design = np.column_stack([X, np.ones(N)])

    def loss(theta):
        z = design @ theta
        weight = stats.logistic.pdf(z)
        return -np.sum(stats.logistic.logcdf((2 * y - 1) * z)) - np.linalg.slogdet((design.T * weight) @ design)[1] / 2

    inference = inferred(families.Bernoulli(), X, y, firth=True)
    low, high = glm.profile_intervals(inference)
    best, bound = loss(flat(inference.params)), stats.chi2.ppf(0.95, 1)
    for j in range(3):
        for t in (flat(low)[j], flat(high)[j]):
            at = lambda c: loss(np.insert(c, j, t))  # noqa: B023
            others = np.delete(flat(inference.params), j)
            reached = min(
                optimize.minimize(at, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11}).fun
                for start in (others, others * t / flat(inference.params)[j])
            )
            assert 2 * (reached - best) == pytest.approx(bound, rel=1e-5 if X64 else 5e-3)
    assert "profile" in str(glm.summary(inference))
    np.testing.assert_array_equal(flat(glm.confidence_intervals(inference)), flat((low, high)))


# -- what must make no difference ------------------------------------------------------------------------------------
def test_units_location_and_order():
    inference = inferred(families.Poisson(), X, COUNTS)
    low, high = glm.profile_intervals(inference)
    scale, shift, order = np.array([1e-4, 1e5]), np.array([3e-4, -2e5]), np.random.default_rng(0).permutation(N)
    moved = inferred(families.Poisson(), (X * scale + shift)[order], COUNTS[order])
    other = glm.profile_intervals(moved)
    for a, b in zip((low, high), other, strict=True):
        np.testing.assert_allclose(b.weight * scale, a.weight, rtol=1e-7 if X64 else 1e-2, atol=0 if X64 else 1e-2)


@pytest.mark.slow
def test_weights_are_repeated_rows():
    twice = glm.profile_intervals(inferred(families.Poisson(), np.tile(X, (2, 1)), np.tile(COUNTS, 2)))
    weighted = glm.profile_intervals(inferred(families.Poisson(), X, COUNTS, weights=np.full(N, 2)))
    np.testing.assert_allclose(flat(twice), flat(weighted), rtol=1e-7 if X64 else 1e-3)


def test_two_classes_of_softmax_are_logistic():
    expected = glm.profile_intervals(inferred(families.Bernoulli(), X, BINARY))
    ends = glm.profile_intervals(glm.contrast(inferred(families.Categorical(2), X, BINARY), 0))
    for a, b in zip(expected, ends, strict=True):
        np.testing.assert_allclose(np.append(b.weight[:, 1], b.bias[1]), flat(a), rtol=1e-7 if X64 else 5e-3)
        assert not np.any(b.weight[:, 0])


@pytest.mark.slow
def test_combinations_and_columns_that_depend_on_each_other():
    one = inferred(families.Poisson(), X, COUNTS)
    both = inferred(families.Poisson(), np.column_stack([X, X[:, 0]]), COUNTS)
    low, high = glm.profile_intervals(both)
    assert np.isnan(flat((low, high)))[[0, 2, 4, 6]].all()
    expected = glm.profile_intervals(one)
    for a, b in zip(expected, (low, high), strict=True):
        np.testing.assert_allclose([b.weight[1], b.bias], [a.weight[1], a.bias], rtol=1e-6 if X64 else 1e-2)
    ends = glm.profile_intervals(both, [1.0, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(ends, [a.weight[0] for a in expected], rtol=1e-6 if X64 else 1e-2)
    moved = inferred(families.Poisson(), X - [1.0, 2.0], COUNTS)  # whose bias is the predictor at (1, 2)
    ends = glm.profile_intervals(one, [[1.0, 2.0, 1.0]])
    np.testing.assert_allclose(
        [e[0] for e in ends], [e.bias for e in glm.profile_intervals(moved)], rtol=1e-6 if X64 else 1e-2
    )


@pytest.mark.slow
def test_in_jit_and_over_a_batch():
    ends = lambda y: glm.profile_intervals(glm.infer(glm.fit(families.Poisson(), X, y, check=False), X, y, check=False))
    expected = glm.profile_intervals(inferred(families.Poisson(), X, COUNTS))
    many = jax.jit(jax.vmap(ends))(jnp.stack([jnp.asarray(COUNTS), jnp.asarray(COUNTS)[::-1]]))
    np.testing.assert_allclose(flat(jax.tree.map(lambda a: a[0], many)), flat(expected), rtol=1e-7 if X64 else 1e-3)


# -- ends that are not reached ---------------------------------------------------------------------------------------
def separable(family, rng):
    """A small design whose first column may separate."""
    x = np.round(rng.normal(size=(12, 2)), 1)
    some = rng.random(12) < 1 / (1 + np.exp(-5 * x[:, 0]))
    if family == "bernoulli":
        return families.Bernoulli(), x, some.astype(int)
    if family == "poisson":
        x[:, 0] = rng.random(12) < 0.3  # a level whose counts may be 0 throughout
        return families.Poisson(), x, np.where(x[:, 0] > 0, rng.poisson(0.2, 12), rng.poisson(3, 12))
    return families.Categorical(3), x, np.where(x[:, 0] > 0.7, 2, rng.integers(0, 2, 12))


@pytest.mark.parametrize("family", mostly_slow(["bernoulli", "poisson", "categorical"], ["bernoulli"]))
def test_separated_ends_are_those_of_the_linear_program(family):
    separated = 0
    for seed in range({"bernoulli": 30, "poisson": 12, "categorical": 5}[family]):
        law, x, y = separable(family, np.random.default_rng(seed))
        fit = glm.fit(law, x, y)
        low, high = map(flat, glm.profile_intervals(glm.infer(fit, x, y)))
        limits = flat(glm.separation(law, x, y).limits)
        separated += fit.status == Status.SEPARATED
        np.testing.assert_array_equal(high == np.inf, (limits == np.inf) | np.isnan(limits), str(seed))
        np.testing.assert_array_equal(low == -np.inf, (limits == -np.inf) | np.isnan(limits), str(seed))
    assert separated > 3


@pytest.mark.slow
def test_an_end_at_the_edge_of_the_domain():
    """Means of an identity link cannot fall below 0: that of x = 0 ends there, still likely enough."""
    x, y = np.arange(4.0)[:, None], np.array([0, 9, 6, 5])
    low, high = glm.profile_intervals(inferred(families.Poisson(), x, y, link="identity"))
    np.testing.assert_allclose(low.bias, 0, atol=1e-6 if X64 else 1e-3)
    assert 1 < high.bias < 20


def test_what_has_no_interval():
    saturated = inferred(families.Normal(), X[:3], COUNTS[:3].astype(float))
    assert np.isnan(flat(glm.profile_intervals(saturated))).all()
    poisson = inferred(families.Poisson(), X, COUNTS)
    with pytest.raises(ValueError, match="HC0"):
        glm.profile_intervals(glm.infer(poisson.fit, X, COUNTS, covariance="HC0"))
    with pytest.raises(ValueError, match="l2 > 0"):
        glm.profile_intervals(inferred(families.Poisson(), X, COUNTS, l2=0.1))
    sampled = glm.fit(families.Poisson(), X, COUNTS, weights=WEIGHTS, weight_kind="sampling")
    with pytest.raises(ValueError, match="sampling weights"):
        glm.profile_intervals(glm.infer(sampled, X, COUNTS, weights=WEIGHTS, covariance="model"))
    with pytest.raises(ValueError, match=r"shape \(2,\), expected"):
        glm.profile_intervals(poisson, [1.0, 0.0])
    with pytest.raises(ValueError, match="level = 95"):
        glm.profile_intervals(poisson, level=95)
    with pytest.raises(ValueError, match="method='likelihood'"):
        glm.confidence_intervals(poisson, method="likelihood")
    short = glm.fit(families.Poisson(), X, COUNTS, solver=Newton(max_steps=1))
    with pytest.raises(ValueError, match="step limit"):
        glm.profile_intervals(glm.infer(short, X, COUNTS))


# -- the table of a separated fit --------------------------------------------------------------------------------------
def test_the_table_of_separated_data_is_that_of_the_limit():
    x = np.array([[-2.0, 1], [0, 2], [0, -1], [3, 1], [0, -3], [0, 4]])
    y = np.array([0, 0, 1, 1, 0, 1])
    inference = inferred(families.Bernoulli(), x, y)
    table = glm.summary(inference)
    left = [1, 2, 4, 5]  # the rows that the first column does not separate
    limit = inferred(families.Bernoulli(), x[left], y[left])
    digits = 1e-6 if X64 else 1e-2
    assert table.coefficient[0] == np.inf and table.error[0] == np.inf and np.isnan(table.p_value[0])
    np.testing.assert_allclose(table.coefficient[1:], [limit.params.weight[1], limit.params.bias], rtol=digits)
    errors = glm.standard_errors(limit)
    np.testing.assert_allclose(table.error[1:], [errors.weight[1], errors.bias], rtol=digits)
    assert np.isfinite(table.low[0]) and table.high[0] == np.inf and np.isfinite(table.low[1:]).all()
    wald = glm.summary(inference, intervals="wald")
    assert wald.low[0] == -np.inf and wald.high[0] == np.inf and "profile" not in str(wald)
    assert np.isfinite(glm.summary(glm.infer(inference.fit, x, y, covariance="HC0")).low[1:]).all()


@pytest.mark.slow
def test_the_table_of_separated_data_with_a_penalty():
    """The bias is not penalised: it runs off, and there is no likelihood to profile."""
    table = glm.summary(inferred(families.Bernoulli(), X, np.zeros(N, int), l2=0.1))
    assert table.coefficient[2] == -np.inf and table.low[2] == -np.inf and table.high[2] == np.inf
    assert np.isfinite(table.coefficient[:2]).all() and np.isfinite(table.low[:2]).all()


@pytest.mark.slow
def test_contrasts_of_separated_classes():
    """The odds between two classes that a third is separated from are finite, though each coefficient alone is not."""
    x = X[:, 1:]
    y = np.where(x[:, 0] > 0.8, 2, CLASSES % 2)
    inference = inferred(families.Categorical(3), x, y)
    assert inference.fit.status == Status.SEPARATED
    assert np.isinf(glm.summary(inference, intervals="wald").coefficient).all()
    table = glm.summary(glm.contrast(inference, 0))
    two = glm.summary(inferred(families.Bernoulli(), x[y < 2], y[y < 2]), intervals="wald")
    digits = 1e-5 if X64 else 2e-2
    np.testing.assert_allclose(table.coefficient[2:4], two.coefficient, rtol=digits)
    np.testing.assert_allclose(table.error[2:4], two.error, rtol=digits)
    assert list(table.coefficient[4:]) == [np.inf, -np.inf]
