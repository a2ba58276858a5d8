"""Multivariate normal family, mean and covariance unknown, in a minimal representation."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import special
from jaxml.families.base import Family, family, static_field
from jaxml.linalg import matmul


@family
class MultivariateNormal(Family):
    """y in R^d; T = (y, vech(y y')), with the precision P and h = P mu: <eta, T> = h'y - y'P y / 2.

    vech lists the lower triangle by rows, so eta = (h, entries of -P below and of -P / 2 on the diagonal);
    a = h'P^-1 h / 2 - log det(P) / 2, b = (2 pi)^(-d/2). ``pack`` and ``unpack`` go from mean and covariance to eta and back.

    Args:
        dimension: d, static; y is (..., d), eta (..., d + d(d+1)/2), inside the domain where P is positive definite.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> law = families.MultivariateNormal(2)
        >>> print(law.pack(jnp.zeros(2), jnp.eye(2)))
        [ 0.   0.  -0.5 -0.  -0.5]

    Source: notes 5.3; Barndorff-Nielsen (1978), chapter 8.
    """

    dimension: int = static_field()

    observation_ndim = 1
    default_link = "unconstrained"

    @property
    def observation_size(self):
        return self.dimension

    @property
    def natural_size(self):
        return self.dimension + self.dimension * (self.dimension + 1) // 2

    def pack(self, mean, covariance):
        """eta, (..., d + d(d+1)/2), of the law with this mean (..., d) and covariance (..., d, d).

        NaN where the covariance is not positive definite (beyond rounding).
        """
        root = jnp.linalg.cholesky(covariance)
        identity = jnp.broadcast_to(jnp.eye(self.dimension, dtype=root.dtype), root.shape)
        inverse = jax.scipy.linalg.solve_triangular(root, identity, lower=True)
        precision = matmul(_transpose(inverse), inverse)
        return self._join(_apply(precision, mean), precision)

    def unpack(self, eta):
        """Mean (..., d) and covariance (..., d, d) of the law with natural parameter eta, in the domain (not checked).

        Example:
            >>> import jax.numpy as jnp
            >>> from jaxml import families
            >>> mean, covariance = families.MultivariateNormal(2).unpack(jnp.array([1.0, 2.0, -0.5, 0.0, -0.5]))
            >>> print(mean, covariance.ravel())
            [1. 2.] [1. 0. 0. 1.]
        """
        h, root, _ = self._factor(eta)
        identity = jnp.broadcast_to(jnp.eye(self.dimension, dtype=root.dtype), root.shape)
        inverse = jax.scipy.linalg.solve_triangular(root, identity, lower=True)
        covariance = matmul(_transpose(inverse), inverse)
        return _apply(covariance, h), covariance

    def log_partition(self, eta):
        h, root, inside = self._factor(eta)
        scaled = jax.scipy.linalg.solve_triangular(root, h[..., None], lower=True)[..., 0]
        return jnp.where(inside, jnp.sum(scaled**2, axis=-1) / 2 - _half_log_det(root), jnp.inf)

    def statistic(self, y):
        rows, columns = self._triangle()
        return jnp.concatenate([y, y[..., rows] * y[..., columns]], axis=-1)

    def log_base(self, y):
        return jnp.zeros_like(y[..., 0]) - self.dimension * special.LOG_2PI / 2

    def support(self, y):
        return jnp.all(jnp.isfinite(y), axis=-1)

    def loss(self, eta, y):
        # The square completed: |L'y - L^-1 h|^2 / 2 with P = L L'.
        h, root, inside = self._factor(eta)
        scaled = jax.scipy.linalg.solve_triangular(root, h[..., None], lower=True)[..., 0]
        residual = _apply(_transpose(root), y) - scaled
        return jnp.where(inside, jnp.sum(residual**2, axis=-1) / 2 - _half_log_det(root), jnp.inf)

    def natural(self, mean):
        first = mean[..., : self.dimension]
        second = self._symmetric(mean[..., self.dimension :])
        return self.pack(first, second - first[..., :, None] * first[..., None, :])

    def divergence(self, p, q):
        _, root, _ = self._factor(p)
        _, other, inside = self._factor(q)
        change = self._symmetric(
            (p - q)[..., self.dimension :] * self._doubling(p.dtype)
        )  # precision of q less that of p
        half = jax.scipy.linalg.solve_triangular(root, change, lower=True)
        ratios = jnp.linalg.eigvalsh(jax.scipy.linalg.solve_triangular(root, _transpose(half), lower=True))
        between = _apply(_transpose(other), self.expectation(p) - self.expectation(q))
        value = jnp.sum(special.log_gap(ratios), axis=-1) / 2 + jnp.sum(between**2, axis=-1) / 2
        return jnp.where(inside, value, jnp.inf)

    def moments(self, y, weights):
        mean = matmul(weights, y)
        residual = y - mean
        rest = matmul(weights, residual)  # the rounding error of the mean
        return mean + rest, matmul(residual.T * weights, residual) - rest[:, None] * rest

    def merge(self, a, b, share):
        step = b[0] - a[0]
        between = share * (1 - share) * step[..., :, None] * step[..., None, :]
        return (1 - share) * a[0] + share * b[0], (1 - share) * a[1] + share * b[1] + between

    def from_moments(self, moments):
        return self.pack(*moments)

    def raised(self, moments, pooled):
        mean, covariance = moments
        eps, identity = jnp.finfo(mean.dtype).eps, jnp.eye(self.dimension, dtype=mean.dtype)
        variance = jnp.diagonal(pooled[1])
        varies = variance > 1e-3 * jnp.square(eps * pooled[0])
        scale = jnp.sqrt(jnp.where(varies, variance, 1))
        units = scale[:, None] * scale
        scaled = jnp.where(varies[:, None] & varies, covariance / units, identity)
        values = jnp.linalg.eigvalsh(jax.lax.stop_gradient(scaled))
        low = jnp.sum(values <= 10 * self.dimension * eps * jnp.maximum(values[-1], 1))
        return (mean, units * (scaled + jnp.where(low > 0, jnp.sqrt(eps), 0) * identity)), low

    def from_unconstrained(self, z):
        """z = (mean, lower triangle of L by rows), P = L L', with the logarithms of the diagonal of L."""
        lower = self._lower(z[..., self.dimension :])
        diagonal = jnp.eye(self.dimension, dtype=bool)
        root = jnp.where(diagonal, jnp.exp(jnp.where(diagonal, lower, 0)), lower)
        precision = matmul(root, _transpose(root))
        return self._join(_apply(precision, z[..., : self.dimension]), precision)

    def to_unconstrained(self, eta):
        _, root, _ = self._factor(eta)
        diagonal = jnp.eye(self.dimension, dtype=bool)
        entries = jnp.where(diagonal, jnp.log(jnp.where(diagonal, root, 1)), root)
        rows, columns = self._triangle()
        return jnp.concatenate([self.expectation(eta), entries[..., rows, columns]], axis=-1)

    def expectation(self, eta):
        return self.unpack(eta)[0]

    def expected_log_base(self, eta, trials=None):
        return jnp.zeros_like(eta[..., 0]) - self.dimension * special.LOG_2PI / 2

    def entropy(self, eta, trials=None):
        return self.dimension * (1 + special.LOG_2PI) / 2 - _half_log_det(self._factor(eta)[1])

    def support_function(self, v):
        h, root, inside = self._factor(v)
        scaled = jax.scipy.linalg.solve_triangular(root, h[..., None], lower=True)[..., 0]
        return jnp.where(inside, jnp.sum(scaled**2, axis=-1) / 2, jnp.where(jnp.all(v == 0, axis=-1), 0, jnp.inf))

    def sample(self, key, eta, shape, trials=None):
        h, root, _ = self._factor(eta)
        noise = jax.random.normal(key, shape + h.shape, eta.dtype)
        scaled = jax.scipy.linalg.solve_triangular(root, h[..., None], lower=True)[..., 0]
        root = jnp.broadcast_to(root, noise.shape + root.shape[-1:])
        return jax.scipy.linalg.solve_triangular(root, (scaled + noise)[..., None], lower=True, trans="T")[..., 0]

    # -- the layout of eta -----------------------------------------------------------------------------------------
    def _triangle(self):
        return np.tril_indices(self.dimension)

    def _doubling(self, dtype):
        """2 on the diagonal, 1 below it, in the order of vech."""
        rows, columns = self._triangle()
        return jnp.asarray(1 + (rows == columns), dtype)

    def _lower(self, entries):
        zeros = jnp.zeros((*entries.shape[:-1], self.dimension, self.dimension), entries.dtype)
        return zeros.at[(..., *self._triangle())].set(entries)

    def _symmetric(self, entries):
        lower = self._lower(entries)
        return lower + jnp.where(jnp.eye(self.dimension, dtype=bool), 0, _transpose(lower))

    def _join(self, h, precision):
        rows, columns = self._triangle()
        return jnp.concatenate([h, -precision[..., rows, columns] / self._doubling(precision.dtype)], axis=-1)

    def _factor(self, eta):
        """h, the Cholesky factor of P (the identity outside the domain), and whether eta is inside."""
        precision = self._symmetric(-eta[..., self.dimension :] * self._doubling(eta.dtype))
        root = jnp.linalg.cholesky(jax.lax.stop_gradient(precision))
        inside = jnp.all(jnp.isfinite(root), axis=(-2, -1))
        safe = jnp.where(inside[..., None, None], precision, jnp.eye(self.dimension, dtype=eta.dtype))
        return eta[..., : self.dimension], jnp.linalg.cholesky(safe), inside


def _transpose(matrix):
    return jnp.swapaxes(matrix, -1, -2)


def _apply(matrix, vector):
    return matmul(matrix, vector[..., None])[..., 0]


def _half_log_det(root):
    return jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
