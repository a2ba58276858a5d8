"""Models by a kernel against scikit-learn, against the linear models that they contain, and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.kernel_ridge import KernelRidge

from jaxml import ConvergenceWarning, Status, families, glm, kernels, likelihood
from jaxml.predictors import KernelExpansion
from marks import mostly_slow
from tolerances import assert_agree

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
RTOL = 1e-8 if X64 else 2e-3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(DTYPE)
SMOOTH = np.sin(X[:, 0]) + 0.1 * RNG.normal(size=40).astype(DTYPE)
COUNTS = RNG.poisson(np.exp(np.sin(X[:, 0])))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
GAUSSIAN = kernels.Gaussian(1.0)


@pytest.mark.skipif(not X64, reason="8 digits are asked for in float64")
@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits], ids=lambda f: f.__name__[5:])
@pytest.mark.slow
def test_kernel_ridge_against_another_package(load):
    X, y = load(return_X_y=True)
    y, n, sigma = y.astype(float), len(y), np.sqrt(X.shape[1] * X.var())
    w = np.linspace(0.5, 2.0, n)
    other = KernelRidge(alpha=0.1, kernel="rbf", gamma=1 / (2 * sigma**2)).fit(X, y)
    fit = kernels.kernel_ridge(kernels.Gaussian(sigma), X, y, l2=0.1 / n, intercept=False)
    assert_agree(kernels.predict(fit, X), other.predict(X), "oracle", error=1.0)
    assert_agree(fit.params.weight, other.dual_coef_, "oracle", error=np.abs(other.dual_coef_).max())
    other.fit(X, y, sample_weight=w)
    fit = kernels.kernel_ridge(kernels.Gaussian(sigma), X, y, l2=0.1 / w.sum(), weights=w, intercept=False)
    assert_agree(kernels.predict(fit, X), other.predict(X), "oracle", error=1.0)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.slow
def test_kernel_ridge_is_the_normal_row_of_the_engine(intercept):
    w = (np.arange(40) % 3).astype(DTYPE)
    data = np.where(w[:, None] == 0, np.nan, X).astype(DTYPE)
    closed = kernels.kernel_ridge(GAUSSIAN, data, SMOOTH, l2=0.01, weights=w, intercept=intercept)
    engine = kernels.fit(families.Normal(), GAUSSIAN, data, SMOOTH, l2=0.01, weights=w, intercept=intercept)
    assert closed.status == engine.status == Status.CONVERGED
    assert_allclose(kernels.predict(closed, X), kernels.predict(engine, X), rtol=RTOL, atol=RTOL)
    assert np.all(closed.params.weight[w == 0] == 0)
    again = np.repeat(np.arange(40), w.astype(int))
    copies = kernels.kernel_ridge(GAUSSIAN, X[again], SMOOTH[again], l2=0.01, intercept=intercept)
    assert_allclose(kernels.predict(copies, X), kernels.predict(closed, X), rtol=10 * RTOL, atol=10 * RTOL)


CASES = [
    (families.Normal(), SMOOTH), (families.Bernoulli(), LABELS), (families.Poisson(), COUNTS), (families.Categorical(3), COUNTS % 3),
    (families.Gamma(), np.exp(SMOOTH)),
]  # fmt: skip
CASE = pytest.mark.parametrize(("family", "y"), mostly_slow(CASES, ["Poisson"], [type(f).__name__ for f, _ in CASES]))


@CASE
@pytest.mark.slow
def test_the_linear_kernel_gives_the_generalised_linear_model(family, y):
    link = "log" if isinstance(family, families.Gamma) else None
    ridge = glm.fit(family, X, y, l2=0.05, link=link)
    fit = kernels.fit(family, kernels.Linear(), X, y, l2=0.05, link=link)
    assert fit.status == Status.CONVERGED
    assert_allclose(kernels.predict(fit, X), glm.predict(ridge, X), rtol=100 * RTOL if X64 else 2e-2, atol=RTOL)


@CASE
def test_the_gradient_vanishes(family, y):
    if not X64:
        pytest.skip("the gradient is rounding in float32")
    link = "log" if isinstance(family, families.Gamma) else None
    fit = kernels.fit(family, GAUSSIAN, X, y, l2=0.05, link=link)
    predictor = KernelExpansion(GAUSSIAN, jnp.asarray(X))
    K = kernels.gram(GAUSSIAN, X)

    def objective(params):
        family = fit.family.with_dispersion(1.0) if fit.family.estimates_dispersion else fit.family
        total = likelihood.log_likelihood(family, predictor, params, X, y, link=fit.link)
        return -total / 40 + 0.05 / 2 * jnp.sum(params.weight * (K @ params.weight))

    slope = jax.grad(objective)(fit.params)
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(slope)) < 1e-8


@pytest.mark.slow
def test_two_classes_of_softmax_are_logistic_at_half_the_penalty():
    softmax = kernels.fit(families.Categorical(2), GAUSSIAN, X, LABELS, l2=0.1)
    logistic = kernels.fit(families.Bernoulli(), GAUSSIAN, X, LABELS, l2=0.05)
    assert_allclose(kernels.predict(softmax, X)[:, 1], kernels.predict(logistic, X), rtol=100 * RTOL, atol=10 * RTOL)


def test_the_score_is_the_mean_log_likelihood():
    fit = kernels.fit(families.Poisson(), GAUSSIAN, X, COUNTS, l2=0.05)
    each = families.log_prob(families.Poisson(), kernels.predict_natural(fit, X), COUNTS)
    w = (np.arange(40) % 3).astype(DTYPE)
    assert_allclose(kernels.score(fit, X, COUNTS), np.mean(each), rtol=10 * RTOL)
    assert_allclose(kernels.score(fit, X, COUNTS, weights=w), np.average(each, weights=w), rtol=10 * RTOL)
    with pytest.raises(ValueError, match=r"X has shape \(40, 2\), but the model was fitted on 3 columns"):
        kernels.score(fit, X[:, :2], COUNTS)


@pytest.mark.slow
def test_an_offset_is_added_and_asked_for():
    offset = np.linspace(-1, 1, 40).astype(DTYPE)
    fit = kernels.fit(families.Poisson(), GAUSSIAN, X, COUNTS, l2=0.05, offset=offset)
    eta = kernels.predict_natural(fit, X, offset=offset) - offset
    expected = KernelExpansion(GAUSSIAN, jnp.asarray(X))(fit.params, jnp.asarray(X))
    assert_allclose(eta, expected, rtol=10 * RTOL, atol=10 * RTOL)
    with pytest.raises(ValueError, match="offset"):
        kernels.predict(fit, X)


@pytest.mark.slow
def test_derivatives_of_kernel_ridge():
    if not X64:
        pytest.skip("central differences need float64")
    new = X[:5] + 0.1

    def value(l2, sigma, t):
        fit = kernels.kernel_ridge(kernels.Gaussian(sigma), X, SMOOTH + t * X[:, 2], l2=l2, check=False)
        return jnp.sum(kernels.predict(fit, new) ** 2)

    at, h = (0.02, 1.1, 0.3), 1e-5
    slope = jax.grad(value, argnums=(0, 1, 2))(*at)
    for i, s in enumerate(slope):
        up, down = ([a + sign * h * (j == i) for j, a in enumerate(at)] for sign in (1, -1))
        assert_allclose(s, (value(*up) - value(*down)) / (2 * h), rtol=1e-6)
    batch = jax.vmap(lambda l2: kernels.kernel_ridge(GAUSSIAN, X, SMOOTH, l2=l2, check=False).params.weight)(
        jnp.array([0.01, 0.1])
    )
    assert_allclose(batch[1], kernels.kernel_ridge(GAUSSIAN, X, SMOOTH, l2=0.1).params.weight, rtol=1e-10, atol=1e-12)


def test_copies_of_a_row_and_bad_input():
    twice = np.r_[X[:10], X[:10]]
    fit = kernels.kernel_ridge(GAUSSIAN, twice, np.r_[SMOOTH[:10], SMOOTH[:10]], l2=1e-6 if X64 else 1e-4)
    assert fit.status == Status.CONVERGED and np.all(np.isfinite(fit.params.weight))
    with pytest.raises(ValueError, match="l2 must be positive"):
        kernels.kernel_ridge(GAUSSIAN, X, SMOOTH, l2=0.0)
    with pytest.raises(ValueError, match="missing"):
        kernels.kernel_ridge(GAUSSIAN, np.full_like(X, np.nan), SMOOTH, l2=0.1)
    with pytest.raises(ValueError, match="3 columns"):
        kernels.predict(kernels.kernel_ridge(GAUSSIAN, X, SMOOTH, l2=0.1), X[:, :2])
    with pytest.warns(UserWarning, match="non-finite"):
        kernels.kernel_ridge(lambda x, z: -jnp.sum(x * z), X, SMOOTH, l2=1e-3)


# -- more rows than a Gram matrix holds ------------------------------------------------------------------------------
def test_nystrom_with_all_points_is_exact_and_with_some_a_projection():
    phi = kernels.nystrom(GAUSSIAN, X)
    K = np.asarray(kernels.gram(GAUSSIAN, X), float)
    assert_allclose(phi(X) @ phi(X).T, K, atol=1e-7 if X64 else 1e-3)
    few = kernels.nystrom(GAUSSIAN, X[:10])
    inner = np.linalg.solve(K[:10, :10], K[:10])
    assert_allclose(few(X) @ few(X).T, K[:, :10] @ inner, atol=1e-8 if X64 else 1e-2)
    copies = kernels.nystrom(GAUSSIAN, np.r_[X[:10], X[:10]])
    assert copies.rank == 10 and np.all(np.isfinite(copies(X)))


def test_a_linear_model_on_nystrom_features_is_the_kernel_model():
    phi = kernels.nystrom(GAUSSIAN, X)
    low = glm.fit(families.Bernoulli(), phi(X), LABELS, l2=0.05)
    assert_allclose(glm.predict(low, phi(X)), kernels.predict(kernels.fit(families.Bernoulli(), GAUSSIAN, X, LABELS, l2=0.05), X),
                    rtol=1e-6 if X64 else 5e-3)  # fmt: skip


@pytest.mark.slow
def test_a_fit_on_centers_is_the_linear_model_of_their_features():
    phi = kernels.nystrom(GAUSSIAN, X[:10])
    few = kernels.fit(families.Categorical(3), GAUSSIAN, X, COUNTS % 3, l2=0.05, centers=X[:10])
    low = glm.fit(families.Categorical(3), phi(X), COUNTS % 3, l2=0.05)
    assert few.points.shape == (10, 3) and few.params.weight.shape == (10, 3) and few.status == Status.CONVERGED
    assert_allclose(kernels.predict(few, X), glm.predict(low, phi(X)), rtol=1e-6 if X64 else 5e-3)
    ridge = kernels.nystrom_ridge(GAUSSIAN, X[:10], X, SMOOTH, l2=0.01)
    engine = kernels.fit(families.Normal(), GAUSSIAN, X, SMOOTH, l2=0.01, centers=X[:10])
    assert_allclose(kernels.predict(ridge, X), kernels.predict(engine, X), atol=1e-7 if X64 else 5e-3)
    with pytest.raises(ValueError, match=r"centers has shape \(10, 2\), expected \(m, 3\)"):
        kernels.fit(families.Normal(), GAUSSIAN, X, SMOOTH, l2=0.01, centers=X[:10, :2])


@pytest.mark.parametrize(
    "kernel", [kernels.Gaussian(1.2), kernels.Laplacian(2.0), kernels.Matern32(1.0), kernels.Matern52(1.0)]
)
def test_random_fourier_features(kernel):
    phi = kernels.random_fourier_features(kernel, jax.random.key(0), 20_000, 3)
    approximate = phi(jnp.asarray(X[:8])) @ phi(jnp.asarray(X[:8])).T
    assert_allclose(approximate, kernels.gram(kernel, X[:8]), atol=5 * np.sqrt(1 / 20_000) * 1.5)


@pytest.mark.parametrize("intercept", [True, False])
def test_conjugate_gradients_solve_the_normal_equations(intercept):
    rows = RNG.normal(size=(300, 3)).astype(DTYPE)
    y = np.sin(rows[:, 0]) + 1
    w = (np.arange(300) % 4).astype(DTYPE)
    centers = rows[:20]
    l2 = 1e-3
    fit = kernels.nystrom_ridge(GAUSSIAN, centers, rows, y, l2=l2, weights=w, intercept=intercept)
    assert fit.status == Status.CONVERGED and 0 < fit.steps < 60 and fit.residual < 1e-4
    phi = np.asarray(kernels.nystrom(GAUSSIAN, centers)(rows), float)
    A = np.c_[phi, np.ones(300) * intercept]
    penalty = np.diag([l2] * 20 + [0 if intercept else 1])
    theta = np.linalg.solve(A.T @ (A * w[:, None]) / w.sum() + penalty, A.T @ (w * y) / w.sum())
    assert_allclose(kernels.predict(fit, rows), A @ theta, atol=1e-7 if X64 else 5e-3)


@pytest.mark.skipif(not X64, reason="in float32 all but the flattest problems take the second way")
def test_the_matrix_of_all_rows_preconditions_unless_its_rounding_reaches_the_penalty():
    rows = RNG.normal(size=(2000, 3))
    y = np.sin(rows[:, 0]) + 1
    fit = lambda sigma, l2: kernels.nystrom_ridge(kernels.Gaussian(sigma), rows[:40], rows, y, l2=l2, tol=1e-8)
    clear = fit(1.0, 1e-6)
    assert clear.status == Status.CONVERGED and clear.steps <= 2
    blurred = fit(10.0, 1e-6)  # R'K'W K R + l2 I is not positive definite here, such is its rounding
    assert blurred.status == Status.CONVERGED and 2 < blurred.steps < 40
    phi = np.asarray(kernels.nystrom(kernels.Gaussian(10.0), rows[:40])(rows))
    A = np.r_[np.c_[phi, np.ones(2000)] / np.sqrt(2000), np.c_[1e-3 * np.eye(40), np.zeros(40)]]
    theta = np.linalg.lstsq(A, np.r_[y / np.sqrt(2000), np.zeros(40)])[0]
    assert_allclose(kernels.predict(blurred, rows), A[:2000] @ theta * np.sqrt(2000), atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not X64, reason="compares derivatives of solutions in float64")
def test_derivatives_of_nystrom_features_where_some_lanes_are_singular():
    lanes = jnp.array([[[1.0], [1.0]], [[1.0], [2.0]]])  # the Cholesky factor of the first is NaN

    def value(constant, centers):
        features = kernels.nystrom(kernels.Polynomial(2, constant), centers)(jnp.asarray(X[:, :1]))
        return jnp.sum(jnp.sin(features @ features.T))

    slopes = jax.grad(lambda constant: jnp.sum(jax.vmap(value)(constant, lanes)))(jnp.ones(2))
    for slope, centers in zip(slopes, lanes, strict=True):
        assert_allclose(slope, (value(1 + 1e-5, centers) - value(1 - 1e-5, centers)) / 2e-5, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not X64, reason="compares derivatives of solutions in float64")
def test_derivatives_by_conjugate_gradients_are_those_of_the_engine():
    def prediction(sigma, l2, data, fit):
        return jnp.sum(jnp.sin(kernels.predict(fit(kernels.Gaussian(sigma), data, l2), X[:5] / 2)))

    iterative = lambda kernel, data, l2: kernels.nystrom_ridge(
        kernel, X[:9], data, SMOOTH, l2=l2, tol=1e-13, check=False
    )
    engine = lambda kernel, data, l2: kernels.fit(families.Normal(), kernel, data, SMOOTH, l2=l2, centers=X[:9])
    both = [jax.grad(prediction, (0, 1, 2))(1.0, 0.01, jnp.asarray(X), fit) for fit in (iterative, engine)]
    for mine, other in zip(*both, strict=True):
        assert_allclose(mine, other, rtol=1e-7, atol=1e-9)


NOISE = RNG.normal(size=(1600, 3)).astype(DTYPE)


def test_conjugate_gradients_that_are_cut_short_say_so_and_zeros_take_no_step():
    with pytest.warns(ConvergenceWarning, match="step limit"):
        fit = kernels.nystrom_ridge(
            GAUSSIAN, X[:10], np.tile(X, (40, 1)) + NOISE, np.tile(SMOOTH, 40), l2=1e-6, max_steps=2
        )
    assert fit.status == Status.STEP_LIMIT and fit.steps == 2
    fit = kernels.nystrom_ridge(GAUSSIAN, X[:10], X, 0 * SMOOTH, l2=1e-6)
    assert fit.status == Status.CONVERGED and fit.steps == 0 and np.all(kernels.predict(fit, X) == 0)


def test_centers_are_rows_drawn_without_replacement():
    centers = kernels.sample_centers(jax.random.key(0), X, 40)
    np.testing.assert_array_equal(np.sort(np.asarray(centers), axis=0), np.sort(X, axis=0))
    with pytest.raises(ValueError, match="41 centres"):
        kernels.sample_centers(jax.random.key(0), X, 41)
    with pytest.raises(TypeError, match="spectrum"):
        kernels.random_fourier_features(kernels.Linear(), jax.random.key(0), 5, 3)
