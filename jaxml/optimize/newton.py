r"""Newton's method: theta <- theta - [hessian J(theta)]^-1 grad J(theta), globalised.

The Hessian is equilibrated (unit diagonal) and factored by Cholesky. Where it is not positive definite, the step uses the
scoring matrix if the objective has one (the expected information of a likelihood), then a root that the objective computes
without forming the Hessian (QR of the weighted design), and else the eigenvectors of the Hessian with the absolute values of
its eigenvalues; directions without curvature and without gradient are left alone, and along those of negative curvature every
step has some length, so that no saddle and no maximum passes for a minimum. With
``reuse=True`` the factor of an earlier point (or of a subsample of the rows) serves as the initial inverse Hessian of an
L-BFGS recursion, and the Hessian is computed again where that costs less than the steps it saves, or, for an objective that
knows no costs, where the convergence is slower than a factor of 0.3 per step. Of a model of several classes it may be the blocks
of the Hessian that belong to each class alone.

Source: notes 2.3, 2.4; Nocedal & Wright (2006), *Numerical Optimization*, chapters 3 and 7.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from jaxml.chunks import where_needed
from jaxml.linalg import join, matmul, split
from jaxml.optimize.driver import Curvature, Point
from jaxml.records import record, static_field

_LEAST = 1e-2  # least share of a direction of negative curvature in the decrement


class Pairs(NamedTuple):
    """The last m steps s and changes of the gradient y, newest last (see :func:`push`); rho = 1 / s'y, 0 for an empty slot."""

    s: Array
    y: Array
    rho: Array


class NewtonMemory(NamedTuple):
    """The root of the Hessian last seen, the L-BFGS pairs since then, and their scale of it (see :func:`_scale`)."""

    root: "Root"
    pairs: Pairs
    scale: Array


class Root(NamedTuple):
    """What a Newton step is made of, see :func:`inverse_root`.

    Attributes:
        factor: (p, p) R with R R' = H^-1, or (b, q, q) for an H of b blocks, see :func:`jaxml.linalg.split`.
        definite: whether every direction has curvature of its own.
        downhill: (p,), added to R'g: a least movement along directions of negative curvature.
    """

    factor: Array
    definite: Array
    downhill: Array

    def half(self, v: Array) -> Array:
        """R' v."""
        if self.factor.ndim == 2:
            return self.factor.T @ v
        return join(jnp.einsum("bij,bi->bj", self.factor, split(v, len(self.factor)), precision="highest"))

    def back(self, v: Array) -> Array:
        """R v."""
        if self.factor.ndim == 2:
            return self.factor @ v
        return join(jnp.einsum("bij,bj->bi", self.factor, split(v, len(self.factor)), precision="highest"))

    def step(self, gradient: Array) -> tuple[Array, Array]:
        """The Newton step, shortened where it would overflow, and the decrement."""
        half = self.half(gradient) + self.downhill
        size = jnp.max(jnp.abs(half), initial=0)
        size = jnp.where(size > 0, size, 1)
        norm, largest = jnp.linalg.norm(half / size), jnp.max(jnp.abs(self.factor), initial=0)
        room = jnp.asarray(jnp.finfo(half.dtype).max, half.dtype) ** (1 / 3) / jnp.where(largest > 0, largest, 1)
        return -self.back(half / size * jnp.minimum(size, room / norm)), size * norm


@record(kw_only=True)
class Newton:
    """Newton's method with the whole Hessian; the default solver for likelihoods.

    Args:
        max_steps: most accepted steps.
        tol: stop when the Newton decrement sqrt(g' H^-1 g) of the summed objective is at most this, and take one more step.
            For a likelihood that is the distance to the optimum in standard errors. None: 1e-8 in float64, 1e-4 in float32.
        reuse: keep the Hessian of an earlier point and correct it by L-BFGS pairs where that converges well; saves most of
            the Hessians of a large fit. None: chosen by the size of the problem.
        memory: pairs kept with ``reuse``.
    """

    max_steps: int = static_field(default=100)
    tol: Any = None
    reuse: bool | None = static_field(default=None)
    memory: int = static_field(default=20)
    curvature: ClassVar[bool] = True
    line_search: ClassVar[bool] = True

    def init(self, x: Array, blocks: int) -> NewtonMemory | None:
        """See :class:`jaxml.optimize.driver.Rule`."""
        if not self.reuse:
            return None
        identity = jnp.eye(x.size // blocks, dtype=x.dtype)
        identity = identity if blocks == 1 else jnp.broadcast_to(identity, (blocks, *identity.shape))
        root = Root(identity, jnp.asarray(False), jnp.zeros_like(x))
        return NewtonMemory(root, empty_pairs(self.memory, x), jnp.ones((), x.dtype))

    def reusable(self, memory: NewtonMemory) -> Array:
        """Whether the curvature in memory may serve at another point: one with idle directions would never move along them."""
        return memory.root.definite

    def direction(
        self, memory: Any, previous: Point, point: Point, curvature: Any, first: Array
    ) -> tuple[Array, Array, Any]:
        """See :class:`jaxml.optimize.driver.Rule`."""
        if not self.reuse:
            return *inverse_root(curvature, point.gradient).step(point.gradient), None
        fresh = curvature.fresh
        root = where_needed(fresh, lambda gradient: inverse_root(curvature, gradient), memory.root, point.gradient)
        pairs = push(memory.pairs, previous, point, keep=~first & ~fresh, conjugate=True)
        pairs = jax.tree.map(lambda a: jnp.where(fresh | first, 0, a), pairs)
        # The pairs of a subsample are not those of all rows, but the curvature has changed along its steps all the same.
        scale = _scale(pairs, root, jnp.where(fresh, 1, memory.scale))
        inverse = lambda q: scale * root.back(root.half(q) - root.downhill)
        if curvature.complete is not None:
            inverse = partial(curvature.complete, inverse)
        direction = lbfgs_product(pairs, -point.gradient, inverse)
        decrement = jnp.sqrt(jnp.maximum(-direction @ point.gradient, 0))
        return direction, jnp.maximum(decrement, jnp.linalg.norm(root.downhill)), NewtonMemory(root, pairs, scale)


def inverse_root(curvature: Curvature, gradient: Array) -> Root:
    """R with R R' = H^-1, by Cholesky of the equilibrated Hessian, or by one of its substitutes (see the module)."""
    fresh, hessian, scoring, substitutes, better, _, least = curvature
    root, ok = cholesky_root(hessian, least_eigenvalue=least if scoring is None else None)
    if scoring is not None:
        other, other_ok = cholesky_root(scoring, least_eigenvalue=least)
        # A Hessian much flatter along the gradient than its expectation is nearly indefinite, or noise.
        length = lambda factor: Root(factor, ok, jnp.zeros_like(gradient)).step(gradient)[1]
        flat = length(root) > 3 * length(other)
        trusted = ok & ~(other_ok & flat)
        root, ok = jnp.where(trusted, root, other), trusted | other_ok
        if least is not None:  # (an indefinite Hessian may cancel, and shows nothing)
            ok &= other_ok | (least <= 0)
    if not substitutes:
        return Root(jnp.where(ok, root, jnp.nan), ok, jnp.zeros_like(gradient))
    first = hessian if scoring is None else scoring

    def substitute(first: Array, hessian: Array) -> Root:
        root = _eigen_root(first, gradient)
        if better is not None:
            factor, worked = better(hessian)
            precise = Root(factor, jnp.asarray(True), jnp.zeros_like(gradient))
            root = jax.tree.map(lambda a, b: jnp.where(worked, a, b), precise, root)
        return root

    # (of a batch, lanes without fresh curvature come along with nothing to factor)
    return where_needed(~ok & fresh, substitute, Root(root, ok, jnp.zeros_like(gradient)), first, hessian)


def equilibrate(matrix: Array) -> tuple[Array, Array]:
    """The inverse roots of the diagonal, (p,), and the matrix with a unit diagonal that they make of it."""
    diagonal = jnp.diagonal(matrix)
    scale = lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))
    return scale, matrix * scale[:, None] * scale


def cholesky_root(matrix: Array, least: Any = 100, least_eigenvalue: Any = None) -> tuple[Array, Array]:
    """R with R R' = matrix^-1, by Cholesky of the equilibrated matrix, and whether its pivots are above ``least`` eps, and if asked its
    eigenvalues surely above ``least_eigenvalue`` eps: a pivot after a small one may be large and nothing but rounding."""
    if matrix.ndim == 3:
        roots, ok = jax.vmap(lambda block: cholesky_root(block, least, least_eigenvalue))(matrix)
        return roots, jnp.all(ok)
    scale, unit = equilibrate(matrix)
    factor = jnp.linalg.cholesky(unit)
    pivots = jnp.diagonal(factor) ** 2
    ok = (
        jnp.all(jnp.isfinite(factor))
        & jnp.all(pivots > least * jnp.finfo(matrix.dtype).eps)
        & jnp.all(jnp.diagonal(matrix) > 0)
    )
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    inverse = solve_triangular(jnp.where(ok, factor, identity), identity, lower=True)
    if least_eigenvalue is not None:
        ok &= least_eigenvalue * jnp.finfo(matrix.dtype).eps < eigenvalue_bound(inverse)
    return scale[:, None] * inverse.T, ok


def eigenvalue_bound(inverse: Array) -> Array:
    """A lower bound of the eigenvalues of L L', given L^-1: the inverse of the trace of its inverse."""
    return 1 / jnp.sum(jnp.square(inverse))


def _eigen_root(matrix: Array, gradient: Array) -> Root:
    scale, unit = equilibrate(matrix)
    finite = jnp.all(jnp.isfinite(unit))
    values, vectors = jnp.linalg.eigh(jnp.where(finite, unit, jnp.eye(len(unit), dtype=unit.dtype)))
    eps, largest = jnp.finfo(values.dtype).eps, jnp.max(jnp.abs(values), initial=0)
    flat = jnp.abs(values) <= 10 * len(values) * eps * largest
    component = vectors.T @ (scale * gradient)
    idle = flat & (jnp.abs(component) <= jnp.sqrt(eps) * jnp.linalg.norm(scale * gradient))
    least = jnp.finfo(values.dtype).tiny  # without any curvature the step is as long as can be, and the search cuts it
    size = jnp.where(idle, 0, lax.rsqrt(jnp.where(flat, jnp.maximum(largest, least), jnp.abs(values))))
    root = jnp.where(finite, scale[:, None] * vectors * size, jnp.nan)
    half = size * component
    short = (values < -jnp.sqrt(eps) * largest) & (jnp.abs(half) < _LEAST)
    downhill = jnp.where(short, jnp.where(half < 0, -_LEAST, _LEAST) - half, 0)
    return Root(root, jnp.asarray(False), downhill.astype(root.dtype))


def empty_pairs(m: int, x: Array) -> Pairs:
    """m empty slots for points like x."""
    return Pairs(jnp.zeros((m, x.size), x.dtype), jnp.zeros((m, x.size), x.dtype), jnp.zeros(m, x.dtype))


def push(pairs: Pairs, previous: Point, point: Point, keep: Array, conjugate: bool = False) -> Pairs:
    """Add the latest step where it shows positive curvature; ``conjugate``: see :func:`_conjugate`."""
    s, y = point.x - previous.x, point.gradient - previous.gradient
    if conjugate:
        s, y = _conjugate(pairs, s, y)
    sy = s @ y
    good = keep & (sy > jnp.finfo(s.dtype).eps * jnp.linalg.norm(s) * jnp.linalg.norm(y))
    rho = jnp.where(good, 1 / jnp.where(good, sy, 1), 0)
    new = Pairs(*(jnp.roll(old, -1, axis=0).at[-1].set(last) for old, last in zip(pairs, (s, y, rho), strict=True)))
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, pairs)


def _conjugate(pairs: Pairs, s: Array, y: Array) -> tuple[Array, Array]:
    """The new pair without its part along the earlier ones, where the curvature is nearly constant.

    For a quadratic with Hessian B both lose the same part, so y = B s still holds and the pairs become conjugate: the steps are
    then those of preconditioned conjugate gradients, without a line search: right for a good preconditioner, where few steps
    are left, and wrong for plain L-BFGS, which lives on fresh curvature. Two estimates of that part, s_i'y and y_i's, agree
    exactly for a quadratic; where they differ by more than a fraction of the step (in the norm of B), the pair stays as it is,
    and where the step is all but that part, so that what is left is rounding.
    """
    first, second = pairs.rho * (pairs.y @ s), pairs.rho * (pairs.s @ y)
    part, sy = (first + second) / 2, s @ y
    other_s, other_y = s - part @ pairs.s, y - part @ pairs.y
    known = pairs.rho > 0
    differ = jnp.sum(jnp.where(known, jnp.square(first - second) / jnp.where(known, pairs.rho, 1), 0))
    good = (other_s @ other_y > 1e-1 * sy) & (differ <= 0.01 * sy)
    return jnp.where(good, other_s, s), jnp.where(good, other_y, y)


def _scale(pairs: Pairs, root: Root, otherwise: Array) -> Array:
    """By how much the curvature along the pairs is below that of the root, the mean of y'RR'y / s'y: what has changed since mostly
    changed everywhere."""
    known = pairs.rho > 0
    ratio = pairs.rho * jnp.sum(jnp.square(jax.vmap(root.half)(pairs.y)), axis=1)
    mean = jnp.sum(jnp.where(known, ratio, 0)) / jnp.maximum(jnp.sum(known), 1)
    return jnp.where(mean > 0, 1 / jnp.where(mean > 0, mean, 1), otherwise)


def lbfgs_product(pairs: Pairs, gradient: Array, inverse: Callable[[Array], Array]) -> Array:
    """The L-BFGS product of the inverse Hessian and the gradient, ``inverse`` its initial approximation.

    The two loops over the pairs are products with R^-1 and its transpose, R the upper triangle of s_i'y_j: few operations instead of
    many small ones. Source: Nocedal & Wright (2006), algorithm 7.4 and section 7.2; Byrd, Nocedal & Schnabel (1994).
    """
    s, y, rho = pairs
    identity = jnp.eye(len(rho), dtype=s.dtype)
    triangle = jnp.where(rho > 0, jnp.triu(matmul(s, y.T)), identity)
    u = solve_triangular(triangle, s @ gradient)
    z = inverse(gradient - u @ y)
    return z + solve_triangular(triangle, jnp.diagonal(triangle) * u - y @ z, trans=1) @ s
