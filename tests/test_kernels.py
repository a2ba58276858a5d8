"""Kernels: Gram matrices by every road, validity, the kernel trick of the notes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import kernels as gp
from sklearn.metrics import pairwise

from jaxml import families, kernels

X64 = jax.config.jax_enable_x64
DTYPE = np.float64 if X64 else np.float32
RTOL = 1e-12 if X64 else 2e-5
RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(9, 3)).astype(DTYPE), RNG.normal(size=(6, 3)).astype(DTYPE)


def features(x):
    """All monomials up to degree 2, weighted so that phi(x)'phi(z) = (x'z + 1)^2."""
    n, d = x.shape
    pairs = [(i, j) for i in range(d) for j in range(i + 1, d)]
    columns = [
        jnp.ones(n, x.dtype),
        *(jnp.sqrt(2.0) * x.T),
        *(x.T**2),
        *[jnp.sqrt(2.0) * x[:, i] * x[:, j] for i, j in pairs],
    ]
    return jnp.stack(columns, axis=1).astype(x.dtype)


KERNELS = {
    "linear": (kernels.Linear(), lambda x, z: x @ z.T),
    "polynomial": (kernels.Polynomial(3, 0.5), lambda x, z: (x @ z.T + 0.5) ** 3),
    "gaussian": (kernels.Gaussian(1.3), lambda x, z: pairwise.rbf_kernel(x, z, 1 / (2 * 1.3**2))),
    "laplacian": (kernels.Laplacian(1.3), lambda x, z: pairwise.laplacian_kernel(x, z, 1 / 1.3)),
    "matern32": (kernels.Matern32(0.7), lambda x, z: gp.Matern(0.7, nu=1.5)(x, z)),
    "matern52": (kernels.Matern52(0.7), lambda x, z: gp.Matern(0.7, nu=2.5)(x, z)),
    "rational_quadratic": (kernels.RationalQuadratic(0.7, 1.5), lambda x, z: gp.RationalQuadratic(0.7, 1.5)(x, z)),
    "periodic": (kernels.Periodic(0.9, 2.0), lambda x, z: np.exp(-2 * np.sin(np.pi * np.abs(x[:, None] - z) / 2) ** 2 / 0.81).prod(axis=2)),
    "cosine": (kernels.Cosine(), pairwise.cosine_similarity),
    "features": (kernels.from_features(features), lambda x, z: (x @ z.T + 1) ** 2),
    "sum": (kernels.Gaussian(1.0) + kernels.Linear(), lambda x, z: pairwise.rbf_kernel(x, z, 0.5) + x @ z.T),
    "product": (kernels.Gaussian(1.0) * kernels.Linear(), lambda x, z: pairwise.rbf_kernel(x, z, 0.5) * (x @ z.T)),
    "scaled": (2.5 * kernels.Laplacian(1.0), lambda x, z: 2.5 * np.exp(-cdist(x, z, "cityblock"))),
}  # fmt: skip
EVERY = pytest.mark.parametrize("name", KERNELS)


@EVERY
def test_gram_matrices(name):
    kernel, expected = KERNELS[name]
    scale = np.abs(expected(X.astype(float), X.astype(float))).max()
    assert_allclose(
        kernels.gram(kernel, X, Z), expected(X.astype(float), Z.astype(float)), rtol=RTOL, atol=20 * RTOL * scale
    )
    K = kernels.gram(kernel, X)
    assert K.dtype == DTYPE
    assert_allclose(K, expected(X.astype(float), X.astype(float)), rtol=RTOL, atol=20 * RTOL * scale)
    one_by_one = jax.vmap(lambda x: jax.vmap(lambda z: kernel(x, z))(jnp.asarray(Z)))(jnp.asarray(X))
    assert_allclose(kernels.gram(kernel, X, Z), one_by_one, rtol=RTOL, atol=20 * RTOL * scale)
    assert_allclose(kernels.gram(kernel, X, Z, block=4), kernels.gram(kernel, X, Z), rtol=RTOL, atol=20 * RTOL * scale)
    v = RNG.normal(size=(6, 2)).astype(DTYPE)
    product = np.asarray(kernels.gram(kernel, X, Z), float) @ v
    assert_allclose(kernels.gram_matvec(kernel, X, Z, v, block=4), product, rtol=10 * RTOL, atol=100 * RTOL * scale)


@EVERY
def test_notes_8_3_every_kernel_is_valid(name):
    K = kernels.gram(KERNELS[name][0], X)
    assert kernels.is_valid_gram(K).valid
    assert kernels.find_counterexample(KERNELS[name][0], X) is None


@EVERY
def test_derivatives_in_points_and_hyper_parameters_are_finite(name):
    kernel = jax.tree.map(lambda leaf: jnp.asarray(leaf, DTYPE), KERNELS[name][0])
    slope = jax.grad(lambda k, x: jnp.sum(kernels.gram(k, x)), argnums=(0, 1))(kernel, jnp.asarray(X))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))
    at_one_point = jax.grad(lambda x: kernel(x, jnp.asarray(X[0])))(jnp.asarray(X[0]))
    assert np.all(np.isfinite(at_one_point))


def test_hyper_parameters_can_be_vmapped_and_differentiated():
    sigmas = jnp.asarray([0.5, 1.0, 2.0], DTYPE)
    batch = jax.vmap(lambda s: kernels.gram(kernels.Gaussian(s), X))(sigmas)
    for K, sigma in zip(batch, sigmas, strict=True):
        assert_allclose(K, kernels.gram(kernels.Gaussian(sigma), X), rtol=RTOL)
    square = cdist(X.astype(float), X.astype(float), "sqeuclidean")
    slope = jax.jacfwd(lambda s: kernels.gram(kernels.Gaussian(s), X))(jnp.asarray(1.0, DTYPE))
    assert_allclose(slope, np.exp(-square / 2) * square, rtol=RTOL, atol=50 * RTOL)


def test_points_far_from_the_origin_keep_their_distances():
    shift = 1e8 if X64 else 1e4
    moved = (X + shift).astype(DTYPE)
    exact = np.exp(-cdist(moved.astype(float), moved.astype(float), "sqeuclidean") / 2)
    K = kernels.gram(kernels.Gaussian(1.0), moved)
    assert_allclose(K, exact, atol=1e-10 if X64 else 1e-5)
    np.testing.assert_array_equal(np.diag(K), 1)


def test_a_zero_vector_has_no_direction():
    assert kernels.Cosine()(jnp.zeros(3), jnp.ones(3)) == 0


def test_a_plain_function_is_a_kernel_and_a_second_call_compiles_nothing():
    from jaxml.kernels import gram as module  # the function of this name hides the module

    program = module.__globals__["_gram"]
    plain = lambda x, z: jnp.exp(-jnp.sum((x - z) ** 2) / 2)
    assert_allclose(kernels.gram(plain, X, Z), kernels.gram(kernels.Gaussian(1.0), X, Z), rtol=RTOL, atol=RTOL)
    size = program._cache_size()
    kernels.gram(plain, X[::-1], Z)
    kernels.gram(kernels.Gaussian(np.float32(2.0)), X, Z)
    assert program._cache_size() == size


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: kernels.gram("rbf", X), TypeError, "kernel must be"),
        (lambda: kernels.gram(kernels.Linear(), X[0]), ValueError, r"\(n, d\)"),
        (lambda: kernels.gram(kernels.Linear(), X, Z[:, :2]), ValueError, "to match X"),
        (lambda: kernels.gram_matvec(kernels.Linear(), X, Z, X[:, 0]), ValueError, "v has shape"),
        (lambda: kernels.is_valid_gram(X), ValueError, r"\(n, n\)"),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()


# -- the notes -------------------------------------------------------------------------------------------------------
def test_notes_8_1_predictions_by_the_kernel_are_those_by_the_features():
    y, alpha, steps = X[:, 0] ** 2 - X[:, 1], 0.01, 40
    fit = kernels.gradient_descent(families.Normal(), kernels.Polynomial(2), X, y, learning_rate=alpha, steps=steps)
    phi, theta = np.asarray(features(jnp.asarray(X)), float), np.zeros(10)
    for _ in range(steps):
        theta = theta - alpha * phi.T @ (phi @ theta - y)  # the notes' update with explicit features
    new = np.asarray(features(jnp.asarray(Z)), float) @ theta
    assert_allclose(kernels.predict(fit, Z), new, rtol=100 * RTOL, atol=100 * RTOL)
    assert_allclose(phi.T @ np.asarray(fit.params.weight, float), theta, rtol=100 * RTOL, atol=100 * RTOL)


def test_notes_8_2_the_update_needs_inner_products_only():
    """Logistic regression: beta <- beta + alpha (y - g(K beta))."""
    y, alpha = (X[:, 0] > 0) * 1, 0.1
    K, beta = np.asarray(kernels.gram(kernels.Polynomial(2), X), float), np.zeros(9)
    for _ in range(25):
        beta = beta + alpha * (y - 1 / (1 + np.exp(-K @ beta)))
    fit = kernels.gradient_descent(families.Bernoulli(), kernels.Polynomial(2), X, y, learning_rate=alpha, steps=25)
    assert_allclose(fit.params.weight, beta, rtol=1e3 * RTOL, atol=1e3 * RTOL)


def test_notes_8_3_valid_gram_matrices():
    valid = kernels.is_valid_gram(np.array([[1, 0], [0, 0]]))
    assert valid.valid and valid.smallest == 0
    not_valid = kernels.is_valid_gram(np.array([[3, 5], [5, 3]]))
    assert not not_valid.valid
    assert_allclose(not_valid.smallest, -2, rtol=1e-6)
    assert not kernels.is_valid_gram(np.array([[1.0, 2.0], [0.0, 5.0]], DTYPE)).valid  # not symmetric
    assert not kernels.is_valid_gram(np.array([[1.0, np.nan], [np.nan, 1.0]], DTYPE)).valid


@pytest.mark.parametrize(
    ("function", "points", "size", "match"),
    [
        (lambda x, z: -jnp.sum(x * z), X, 1, "on point"),
        (lambda x, z: jnp.sum((x - z) ** 2), X, 2, "v'K v = -"),
        (lambda x, z: jnp.sum(x) * jnp.sum(z**2), X, 2, "Not symmetric"),
        (
            lambda x, z: jnp.maximum(0, 1 - jnp.sum((x - z) ** 2)),
            np.linspace(0, 2, 12, dtype=DTYPE)[:, None],
            None,
            "v'K v = -",
        ),
    ],
    ids=["negative", "distance", "asymmetric", "parabola"],
)
def test_notes_8_3_counterexamples(function, points, size, match):
    found = kernels.find_counterexample(function, points)
    assert match in found.message and (size is None or len(found.points) == size)
    if found.vector is not None:
        chosen = np.asarray(points)[found.points].astype(float)
        K = np.array([[float(function(jnp.asarray(x), jnp.asarray(z))) for z in chosen] for x in chosen])
        value = found.vector @ ((K + K.T) / 2) @ found.vector
        assert value < 0
        assert_allclose(value, found.value, rtol=1e-6 if X64 else 1e-2)
    if size is None:  # no fewer of these points do
        for i in found.points:
            fewer = [j for j in found.points if j != i]
            assert kernels.is_valid_gram(kernels.gram(function, points[np.array(fewer)], points[np.array(fewer)])).valid


def test_notes_8_4_polynomial_kernels_have_monomials_as_features():
    phi = np.asarray(features(jnp.asarray(X)), float)
    assert_allclose(kernels.gram(kernels.Polynomial(2, 1.0), X), phi @ phi.T, rtol=10 * RTOL, atol=10 * RTOL)


def test_notes_8_5_the_gaussian_kernel():
    x, z = X[0].astype(float), Z[0].astype(float)
    assert_allclose(kernels.Gaussian(0.8)(x, z), np.exp(-np.sum((x - z) ** 2) / (2 * 0.64)), rtol=1e-5)
