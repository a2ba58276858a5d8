r"""Kernels: functions K(x, z) of two points with K(x, z) = phi(x)'phi(z) for some feature map phi.

Each is a record whose fields are its hyper-parameters and a function of one pair of points, so that it can be differentiated and
vmapped in both; :func:`jaxml.kernels.gram` makes matrices of it. ``k + l``, ``k * l`` and ``2.0 * k`` are kernels as well, since sums,
products and positive multiples of positive semi-definite matrices are positive semi-definite (Schur).

Source: notes 8.1 to 8.5; Schölkopf & Smola (2002), chapter 13; Rasmussen & Williams (2006), chapter 4.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxml.linalg import matmul
from jaxml.records import callable_pytree, record, static_field


@record
class Kernel:
    """Base of all kernels. A new one defines ``__call__(x, z)``; ``matrix`` where there is a faster way to all pairs.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> k = 2.0 * kernels.Gaussian(1.0) + kernels.Linear()
        >>> print(k(jnp.ones(3), jnp.ones(3)))
        5.0
    """

    def __call__(self, x: Array, z: Array) -> Array:
        """K(x, z) of two points (d,), a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(x, z)")

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        """K(x_i, z_j) for all pairs, (n, m); ``same`` says that Z is X."""
        del same
        return jax.vmap(lambda x: jax.vmap(lambda z: self(x, z))(Z))(X)

    def __add__(self, other: Any) -> "Kernel":
        return Sum(self, as_kernel(other))

    def __mul__(self, other: Any) -> "Kernel":
        return Scaled(other, self) if jnp.ndim(other) == 0 and not callable(other) else Product(self, as_kernel(other))

    __rmul__ = __mul__
    __radd__ = __add__


@record
class Linear(Kernel):
    """K(x, z) = x'z, the identity as feature map.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(kernels.Linear()(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])))
        11.0

    Source: notes 8.1.
    """

    def __call__(self, x: Array, z: Array) -> Array:
        return matmul(x, z)

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        return matmul(X, Z.T)


@record
class Polynomial(Kernel):
    """K(x, z) = (x'z + c)^d, all monomials up to degree d as features.

    Args:
        degree: d, a natural number; static.
        constant: c, not negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(kernels.Polynomial(2, constant=1.0)(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])))
        144.0

    Source: notes 8.4.
    """

    degree: int = static_field()
    constant: Any = 1.0

    def __call__(self, x: Array, z: Array) -> Array:
        return (matmul(x, z) + self.constant) ** self.degree

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        return (matmul(X, Z.T) + self.constant) ** self.degree


@record
class _Radial(Kernel):
    """A kernel of the squared distance between two points."""

    def of_square(self, square: Array) -> Array:
        """K as a function of ||x - z||^2."""
        raise NotImplementedError

    def __call__(self, x: Array, z: Array) -> Array:
        return self.of_square(jnp.sum(jnp.square(x - z)))

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        return self.of_square(squared_distances(X, Z, same))


@record
class Gaussian(_Radial):
    """K(x, z) = exp(-||x - z||^2 / (2 sigma^2)); gamma of other packages is 1 / (2 sigma^2).

    Args:
        sigma: length scale, positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(f"{kernels.Gaussian(1.0)(jnp.array([0.0, 0.0]), jnp.array([1.0, 1.0])):.3f}")
        0.368

    Source: notes 8.5.
    """

    sigma: Any = 1.0

    def of_square(self, square: Array) -> Array:
        return jnp.exp(-square / (2 * jnp.square(self.sigma)))


@record
class Matern32(_Radial):
    """K(x, z) = (1 + r) exp(-r), r = sqrt(3) ||x - z|| / sigma: functions once differentiable.

    Args:
        sigma: length scale, positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(f"{kernels.Matern32(1.0)(jnp.array([0.0]), jnp.array([1.0])):.3f}")
        0.483

    Source: Rasmussen & Williams (2006), equation 4.17.
    """

    sigma: Any = 1.0

    def of_square(self, square: Array) -> Array:
        r = _root(3 * square) / self.sigma
        return (1 + r) * jnp.exp(-r)


@record
class Matern52(_Radial):
    """K(x, z) = (1 + r + r^2 / 3) exp(-r), r = sqrt(5) ||x - z|| / sigma: functions twice differentiable.

    Args:
        sigma: length scale, positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(f"{kernels.Matern52(1.0)(jnp.array([0.0]), jnp.array([1.0])):.3f}")
        0.524

    Source: Rasmussen & Williams (2006), equation 4.17.
    """

    sigma: Any = 1.0

    def of_square(self, square: Array) -> Array:
        r = _root(5 * square) / self.sigma
        return (1 + r + r * r / 3) * jnp.exp(-r)


@record
class RationalQuadratic(_Radial):
    """K(x, z) = (1 + ||x - z||^2 / (2 alpha sigma^2))^-alpha, a mixture of Gaussian kernels of all length scales.

    Args:
        sigma: length scale, positive.
        alpha: positive; the Gaussian kernel for alpha to infinity.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(f"{kernels.RationalQuadratic(1.0, 1.0)(jnp.array([0.0]), jnp.array([2.0])):.3f}")
        0.333

    Source: Rasmussen & Williams (2006), equation 4.19.
    """

    sigma: Any = 1.0
    alpha: Any = 1.0

    def of_square(self, square: Array) -> Array:
        return jnp.exp(-self.alpha * jnp.log1p(square / (2 * self.alpha * jnp.square(self.sigma))))


@record
class Laplacian(Kernel):
    """K(x, z) = exp(-||x - z||_1 / sigma), the sum of absolute differences.

    Args:
        sigma: length scale, positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(f"{kernels.Laplacian(2.0)(jnp.array([0.0, 0.0]), jnp.array([1.0, 1.0])):.3f}")
        0.368

    Source: Schölkopf & Smola (2002), section 13.1.
    """

    sigma: Any = 1.0

    def __call__(self, x: Array, z: Array) -> Array:
        return jnp.exp(-jnp.sum(jnp.abs(x - z)) / self.sigma)


@record
class Periodic(Kernel):
    """K(x, z) = exp(-2 sum_j sin^2(pi (x_j - z_j) / p) / sigma^2), functions of period p in each coordinate.

    Args:
        sigma: length scale, positive.
        period: p, positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(f"{kernels.Periodic(1.0, 2.0)(jnp.array([0.0]), jnp.array([1.0])):.3f}")
        0.135

    Source: MacKay (1998), "Introduction to Gaussian processes"; Rasmussen & Williams (2006), equation 4.31.
    """

    sigma: Any = 1.0
    period: Any = 1.0

    def __call__(self, x: Array, z: Array) -> Array:
        sines = jnp.sin(jnp.pi * (x - z) / self.period)
        return jnp.exp(-2 * jnp.sum(jnp.square(sines)) / jnp.square(self.sigma))


@record
class Cosine(Kernel):
    """K(x, z) = x'z / (||x|| ||z||), the cosine of the angle between the points; 0 where one of them is 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> print(f"{kernels.Cosine()(jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0])):.3f}")
        0.707

    Source: Schölkopf & Smola (2002), section 2.3 (normalised kernels).
    """

    def __call__(self, x: Array, z: Array) -> Array:
        return matmul(_direction(x), _direction(z))

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        return matmul(_direction(X), _direction(Z).T)


@record
class FeatureKernel(Kernel):
    """K(x, z) = phi(x)'phi(z), the kernel of a feature map; see :func:`from_features`.

    Attributes:
        phi: X (n, d) -> (n, p), a pytree that can be called.
    """

    phi: Callable[[Array], Array]

    def __call__(self, x: Array, z: Array) -> Array:
        return matmul(self.phi(x[None])[0], self.phi(z[None])[0])

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        left = self.phi(X)
        return matmul(left, (left if same else self.phi(Z)).T)


@record
class Sum(Kernel):
    """K(x, z) = K_1(x, z) + K_2(x, z): the features of both side by side."""

    first: Kernel
    second: Kernel

    def __call__(self, x: Array, z: Array) -> Array:
        return self.first(x, z) + self.second(x, z)

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        return self.first.matrix(X, Z, same) + self.second.matrix(X, Z, same)


@record
class Product(Kernel):
    """K(x, z) = K_1(x, z) K_2(x, z): all products of a feature of each."""

    first: Kernel
    second: Kernel

    def __call__(self, x: Array, z: Array) -> Array:
        return self.first(x, z) * self.second(x, z)

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        return self.first.matrix(X, Z, same) * self.second.matrix(X, Z, same)


@record
class Scaled(Kernel):
    """K(x, z) = c K_1(x, z), c not negative."""

    scale: Any
    kernel: Kernel

    def __call__(self, x: Array, z: Array) -> Array:
        return self.scale * self.kernel(x, z)

    def matrix(self, X: Array, Z: Array, same: bool) -> Array:
        return self.scale * self.kernel.matrix(X, Z, same)


@record
class _Plain(Kernel):
    """A plain function of two points."""

    function: Callable[[Array, Array], Array]

    def __call__(self, x: Array, z: Array) -> Array:
        return self.function(x, z)


def from_features(phi: Callable[[Array], Array]) -> FeatureKernel:
    """The kernel K(x, z) = phi(x)'phi(z) of a feature map.

    Args:
        phi: X (n, d) -> (n, p), a record that can be called, as one of :func:`jaxml.kernels.nystrom`, or a plain function (made once:
            a fresh lambda compiles again).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> k = kernels.from_features(lambda X: jnp.concatenate([X, X**2], axis=1))
        >>> print(k(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])))
        84.0

    Source: notes 8.1.
    """
    return FeatureKernel(callable_pytree(phi))


def as_kernel(kernel: Any, dtype: Any = None) -> Kernel:
    """A kernel as given, or a plain function (x, z) -> scalar as one (a fresh lambda compiles again).

    Args:
        kernel: either.
        dtype: cast the hyper-parameters to it, so that numbers of any kind are one program.

    Raises:
        TypeError: neither.
    """
    if not isinstance(kernel, Kernel):
        if not callable(kernel) or isinstance(kernel, type):
            raise TypeError(
                f"kernel must be a kernel of jaxml.kernels, as kernels.Gaussian(1.0), or a function (x, z), got {kernel!r}"
            )
        kernel = _Plain(callable_pytree(kernel))
    return kernel if dtype is None else jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), kernel)


def squared_distances(X: Array, Z: Array, same: bool) -> Array:
    """||x_i - z_j||^2, (n, m), by one matrix product; the points are first centred, since ||x||^2 + ||z||^2 - 2 x'z cancels far
    from the origin, and the diagonal is 0 where Z is X."""
    center = jax.lax.stop_gradient(jnp.mean(X, axis=0))
    X, Z = X - center, Z - center
    rows, columns = jnp.sum(jnp.square(X), axis=1), jnp.sum(jnp.square(Z), axis=1)
    square = jnp.maximum(rows[:, None] + columns - 2 * matmul(X, Z.T), 0)
    return square.at[jnp.diag_indices(len(X))].set(0) if same else square


def _root(square: Array) -> Array:
    """The square root with derivative 0 at 0, where a distance has none."""
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _direction(X: Array) -> Array:
    size = _root(jnp.sum(jnp.square(X), axis=-1, keepdims=True))
    return X / jnp.where(size > 0, size, 1)
