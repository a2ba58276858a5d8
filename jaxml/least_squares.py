r"""Least squares to the last digits: QR of equilibrated columns, then refinement in double-double.

The minimiser of ``sum_i w_i (f_i - a_i'theta)^2 + theta'P theta``, a_i = (x_i, 1), solves the augmented system

    s + A theta = f,    A'W s - P theta = 0.

Columns are scaled by powers of two, which rounds nothing. R of W^1/2 A = Q R gives a first theta with an error of the condition number
kappa times eps. Each step of refinement then takes the residual s = f - A theta and A'W s - P theta of the current theta, all of
them held and summed in double-double (:mod:`jaxml.double_double`), and adds d = (R'R)^-1 (A'W s - P theta) to theta, which is
double-double too. A step multiplies the error by kappa eps, down to kappa^2 eps^2: one or two of them leave nothing but the rounding
of the answer and, where f and A were rounded on entry, of the data. It costs some 60 operations for each entry of X.

Source: Björck (1967), *Iterative refinement of linear least squares solutions I*; Björck (1996), *Numerical Methods for Least Squares
Problems*, sections 2.9 and 6.6; Demmel, Hida, Riedy & Li (2009).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from jaxml.chunks import in_chunks
from jaxml.double_double import DoubleDouble, two_prod
from jaxml.linalg import matmul
from jaxml.predictors.design import Design
from jaxml.rows import fold_blocks

_BLOCK = 1024  # rows at a time: what is computed of them stays in the cache
_STEPS = 40


class Equations(NamedTuple):
    """The normal equations A'W (f - A theta) - P theta = g, for columns that have been scaled.

    Attributes:
        x: (n, d), the columns of A but the ones.
        w: (n,) weights.
        f: (n,) double-double.
        g: (p,).
        ridge: (p,) the diagonal of P.
    """

    x: Array
    w: Array
    f: DoubleDouble
    g: Array
    ridge: Array


class Solution(NamedTuple):
    """For the scaled columns.

    Attributes:
        theta: (p,).
        residual: (n,) f - A theta.
        gradient: (p,) A'W s - P theta - g before the last step.
        distance: its length in standard errors at dispersion 1, |R'^-1 gradient|.
        ok: whether the steps converged.
    """

    theta: Array
    residual: Array
    gradient: Array
    distance: Array
    ok: Array


def least_squares_solution(a: Array, y: Array) -> Array:
    """The minimiser (p,) of |y - A theta|^2, A (n, p) of full rank; differentiable by the implicit function theorem, to any order."""
    still = lax.stop_gradient(a)
    scale = column_scales(still)
    x = still * scale
    ones, zeros = jnp.ones_like(y), jnp.zeros(a.shape[1], a.dtype)
    factor, n = triangular_factor(x, ones, zeros, False), len(y)

    def solve(_: Any, b: Array) -> Array:
        solved = refined(Equations(x, ones, DoubleDouble.of(b[:n]), b[n:] * scale, zeros), factor, False)
        return jnp.concatenate([solved.residual, solved.theta * scale])

    # The augmented matrix is symmetric: derivatives are solutions of the same system with other right-hand sides.
    augmented = lambda v: jnp.concatenate([v[:n] + matmul(a, v[n:]), matmul(v[:n], a)])
    return lax.custom_linear_solve(augmented, jnp.concatenate([y, zeros]), solve, symmetric=True)[n:]


def column_scales(x: Array) -> Array:
    """(d,) powers of two that bring the columns to a length of about 1; exact, and 1 for a column of zeros."""
    largest = _power_of_two_below(jnp.max(jnp.abs(x), axis=0, initial=0))
    return largest * _power_of_two_below(jnp.linalg.norm(x * largest, axis=0))


def triangular_factor(x: Array, w: Array, ridge: Array, intercept: bool) -> Array:
    """(p, p) R with R'R = A'W A + P, by QR."""
    rows = jnp.sqrt(w)[:, None] * Design(x, intercept).dense()
    return jnp.linalg.qr(jnp.concatenate([rows, jnp.diag(jnp.sqrt(ridge))]), mode="r")


def refined(equations: Equations, factor: Array, intercept: bool) -> Solution:
    """The solution of the normal equations, given R of :func:`triangular_factor`."""
    return in_chunks(partial(_refined, intercept=intercept))(equations, factor)


def refined_gram(x: Array, w: Array, root: Array, intercept: bool) -> Array:
    """R'A'W A R from Z = A R summed in double-double, in blocks of rows: to working precision also where A R cancels."""
    size = min(len(x), _BLOCK)

    def add(gram: Array, first: Array, fresh: Array) -> Array:
        take = lambda a: lax.dynamic_slice_in_dim(a, first, size)
        a = Design(take(x), intercept).dense().T
        term = lambda k, z: z.gather(two_prod(root[k][:, None], a[k]))
        z = lax.fori_loop(0, len(a), term, DoubleDouble.of(jnp.zeros((root.shape[1], size), x.dtype)))
        z = z.high + z.low
        return gram + matmul(z * jnp.where(fresh, take(w), 0), z.T)

    return fold_blocks(add, jnp.zeros_like(root), len(x), size)


def _refined(equations: Equations, factor: Array, intercept: bool) -> Solution:
    eps = jnp.finfo(factor.dtype).eps
    a = Design(equations.x, intercept).dense()

    def step(carry: Any) -> Any:
        theta, _, _, _, last, _, count = carry
        left, residual = _residuals(equations, theta, intercept)
        half = solve_triangular(factor, left.high, trans=1)
        move = solve_triangular(factor, half)
        size = jnp.max(jnp.abs(move), initial=0)
        rate = jnp.where(jnp.isfinite(last), size / jnp.where(last > 0, last, 1), 1)
        better = (rate < 0.25) | ~jnp.isfinite(last)
        move = jnp.where(better, move, 0)
        theta = theta.plus(DoubleDouble.of(move))
        residual = residual.plus(DoubleDouble.of(-matmul(a, move)))
        more = better & (size * rate > eps**1.5 * jnp.max(jnp.abs(theta.high), initial=0))
        return theta, residual, left.high, jnp.linalg.norm(half), jnp.where(better, size, last), more, count + 1

    zero = DoubleDouble.of(jnp.zeros_like(factor[0]))
    unknown = jnp.asarray(jnp.inf, factor.dtype)
    start = (zero, equations.f, zero.high, unknown, unknown, jnp.asarray(True), 0)
    theta, residual, gradient, distance, last, *_ = lax.while_loop(lambda c: c[5] & (c[6] < _STEPS), step, start)
    ok = jnp.all(jnp.isfinite(theta.high)) & (last <= jnp.sqrt(eps) * jnp.max(jnp.abs(theta.high), initial=0))
    return Solution(theta.high, residual.high, gradient, distance, ok)


def _residuals(equations: Equations, theta: DoubleDouble, intercept: bool) -> tuple[DoubleDouble, DoubleDouble]:
    """A'W s - P theta - g and s = f - A theta, in one pass over blocks of rows."""
    x, w, f, g, ridge = equations
    n, d = x.shape
    size = min(n, _BLOCK)

    def add(carry: Any, first: Array, fresh: Array) -> Any:
        gathered, residual = carry
        take = lambda a: lax.dynamic_slice_in_dim(a, first, size)
        a = Design(take(x), intercept).dense().T
        fitted = jax.tree.map(lambda t: t[:, None], theta).times(a).sum(0)
        s = jax.tree.map(take, f).plus(-fitted)
        terms = s.times(jnp.where(fresh, take(w), 0)).times(a)
        put = lambda whole, part: lax.dynamic_update_slice_in_dim(whole, part, first, 0)
        return gathered.gather(terms), jax.tree.map(put, residual, s)

    empty = DoubleDouble.of(jnp.zeros((d + intercept, size), x.dtype))
    gathered, residual = fold_blocks(add, (empty, f), n, size)
    return gathered.sum(1).plus(-DoubleDouble.of(g)).plus(-theta.times(ridge)), residual


def _power_of_two_below(a: Array) -> Array:
    """2^-k with a 2^-k between 1/2 and 1; 1 where a is 0 or not finite. Exact, as exp2 need not be."""
    usable = jnp.isfinite(a) & (a > 0)
    return jnp.where(usable, jnp.ldexp(jnp.ones_like(a), -jnp.frexp(jnp.where(usable, a, 1))[1]), 1)
