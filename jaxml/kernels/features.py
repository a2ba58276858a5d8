r"""Feature maps of finitely many features whose kernel is, or is close to, a given one: for more rows than a Gram matrix holds.

    Nystrom        phi(x) = K_cc^(-1/2) K(c, x),                        exact on the span of the centres c
    random Fourier phi(x) = sqrt(2/m) cos(omega'x + u),                 E[phi(x)'phi(z)] = K(x, z) for omega from the spectrum of K

A generalised linear model on phi(X) with a penalty is a kernel machine: ``glm.fit(family, phi(X), y, l2=...)``.

Source: Williams & Seeger (2001), "Using the Nystroem method to speed up kernel machines"; Rahimi & Recht (2007), "Random features for
large-scale kernel machines".
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from jaxml.dtypes import as_array, compute_dtype, to_compute
from jaxml.kernels.functions import Gaussian, Kernel, Laplacian, Matern32, Matern52, as_kernel
from jaxml.kernels.gram import gram
from jaxml.linalg import matmul, roots
from jaxml.records import record


@record
class Nystrom:
    """The feature map of :func:`nystrom`: a function X (n, d) -> (n, m).

    Attributes:
        kernel: as given.
        centers: (m, d).
        root: (m, m), R with R R' = K_cc^-1 on the directions that K_cc determines, columns of zeros for the others.
        rank: (), how many those are.
    """

    kernel: Kernel
    centers: Array
    root: Array
    rank: Array

    def __call__(self, X: Array) -> Array:
        """Features (n, m)."""
        return matmul(gram(self.kernel, X, self.centers), self.root)


@record
class RandomFourier:
    """The feature map of :func:`random_fourier_features`: a function X (n, d) -> (n, m).

    Attributes:
        frequencies: (d, m).
        phases: (m,).
    """

    frequencies: Array
    phases: Array

    def __call__(self, X: Array) -> Array:
        """Features (n, m)."""
        return jnp.sqrt(2 / self.phases.size) * jnp.cos(matmul(X, self.frequencies) + self.phases)


def nystrom(kernel: Any, centers: Any) -> Nystrom:
    """The feature map onto the span of some centres, on which its kernel is exact.

    Args:
        kernel: of :mod:`jaxml.kernels`, or a function of two points.
        centers: (m, d), chosen, or from :func:`sample_centers`. Directions whose eigenvalue in K_cc is rounding (m eps of the
            largest) are left out.

    Returns:
        :class:`Nystrom`.

    Raises:
        ValueError, TypeError: as :func:`jaxml.kernels.gram`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X = jnp.array([[0.0], [1.0], [3.0]])
        >>> phi = kernels.nystrom(kernels.Gaussian(1.0), X)
        >>> print(jnp.abs(phi(X) @ phi(X).T - kernels.gram(kernels.Gaussian(1.0), X)).max() < 1e-5)
        True

    Source: Williams & Seeger (2001).
    """
    centers = as_array(centers, "centers")
    centers = to_compute(centers, compute_dtype(centers), "centers")
    kernel = as_kernel(kernel, centers.dtype)
    return _nystrom(kernel, centers, gram(kernel, centers))


@jax.jit
def _nystrom(kernel: Kernel, centers: Array, K: Array) -> Nystrom:
    m, tolerance, identity = len(K), len(K) * jnp.finfo(K.dtype).eps, jnp.eye(len(K), dtype=K.dtype)

    def triangular(K: Array) -> tuple[Array, Array]:
        factor = lax.linalg.cholesky(K, symmetrize_input=False)
        return solve_triangular(factor, identity, lower=True).T, jnp.int32(m)

    def spectral(K: Array) -> tuple[Array, Array]:
        found = roots(K, tolerance)
        return found.inverse, jnp.sum(found.kept).astype(jnp.int32)

    # ||K^-1|| is at most the sum of squares, ||K|| the trace: where their product is small, no eigenvalue is near rounding.
    still = lax.stop_gradient(K)
    clear = tolerance * jnp.trace(still) * jnp.sum(jnp.square(triangular(still)[0])) < 1
    return Nystrom(kernel, centers, *lax.cond(clear, triangular, spectral, K))


def sample_centers(key: Array, X: Any, count: int) -> Array:
    """Rows of X drawn without replacement, as centres.

    Args:
        key: random key.
        X: (n, d).
        count: m, at most n.

    Returns:
        (m, d).

    Raises:
        ValueError: more centres than rows.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(kernels.sample_centers(jax.random.key(0), jnp.zeros((10, 3)), 4).shape)
        (4, 3)
    """
    X = jnp.asarray(X)
    if not 0 < count <= len(X):
        raise ValueError(f"count={count} centres cannot be drawn from {len(X)} rows")
    return X[jax.random.choice(key, len(X), (count,), replace=False)]


def random_fourier_features(kernel: Kernel, key: Array, count: int, dimension: int) -> RandomFourier:
    """Random features of a kernel of x - z: cosines with frequencies from its spectrum.

    The spectrum is normal for the Gaussian kernel, Cauchy in each coordinate for the Laplacian one, and Student's t with 3 or 5 degrees
    of freedom for Matern 3/2 and 5/2. The error of K falls as 1 / sqrt(m).

    Args:
        kernel: Gaussian, Laplacian, Matern32 or Matern52.
        key: random key.
        count: m, features.
        dimension: d, columns of X.

    Returns:
        :class:`RandomFourier`.

    Raises:
        TypeError: another kernel.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> phi = kernels.random_fourier_features(kernels.Gaussian(1.0), jax.random.key(0), 2000, 1)
        >>> near = phi(jnp.array([[0.0]])) @ phi(jnp.array([[1.0]])).T
        >>> print(f"{abs(near[0, 0] - jnp.exp(-0.5)):.0f}")
        0

    Source: Rahimi & Recht (2007).
    """
    if not isinstance(kernel, Gaussian | Laplacian | Matern32 | Matern52):
        raise TypeError(
            f"random_fourier_features knows the spectrum of Gaussian, Laplacian, Matern32 and Matern52, got {kernel!r}"
        )
    return _random_fourier(kernel, key, count, dimension)


@partial(jax.jit, static_argnames=("count", "dimension"))
def _random_fourier(kernel: Any, key: Array, count: int, dimension: int) -> RandomFourier:
    draw_key, scale_key, phase_key = jax.random.split(key, 3)
    sigma = jnp.asarray(kernel.sigma, jnp.zeros(()).dtype)
    shape = dimension, count
    if isinstance(kernel, Laplacian):
        frequencies = jax.random.cauchy(draw_key, shape, sigma.dtype)
    else:
        frequencies = jax.random.normal(draw_key, shape, sigma.dtype)
    if isinstance(kernel, Matern32 | Matern52):
        freedom = 3.0 if isinstance(kernel, Matern32) else 5.0
        frequencies = frequencies / jnp.sqrt(jax.random.chisquare(scale_key, freedom, (count,), sigma.dtype) / freedom)
    phases = jax.random.uniform(phase_key, (count,), sigma.dtype, maxval=2 * jnp.pi)
    return RandomFourier(frequencies / sigma, phases)
