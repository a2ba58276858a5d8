r"""Derivatives of a support vector machine with a kernel, by the conditions that its solution meets.

    f(x_i) + b + r_i beta_i = s_i  on the margin,    beta_i = s_i C_i  beyond it,    beta_i = 0  for all other rows,
    sum_i beta_i = 0,    or b = sum_i beta_i where the bias is penalised,    or b = 0

A small change of kernel, points or costs leaves each row on its side, so that the solution moves as that of this linear system does;
derivatives are one-sided where a row just reaches another side.

Source: Chapelle, Vapnik, Bousquet & Mukherjee (2002), "Choosing multiple parameters for support vector machines"; notation of
:mod:`jaxml.kernels.margin`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxml.kernels.gram import gram, gram_matvec
from jaxml.kernels.margin import Margin
from jaxml.optimize.implicit import attach
from jaxml.predictors.linear import Linear
from jaxml.special import with_derivative_of


class _Problem(NamedTuple):
    """What the solution depends on, and, as 0 and 1, which rows are on the margin and which beyond it."""

    kernel: Any
    X: Array
    margin: Margin
    free: Array
    beyond: Array


def with_derivatives(
    kernel: Any,
    X: Array,
    margin: Margin,
    solution: Linear,
    objective: Array,
    *,
    intercept: bool,
    penalize_bias: bool,
) -> tuple[Linear, Array]:
    """The solution and the objective themselves, with their derivatives in kernel, X and the costs of the margin.

    Args:
        kernel: of the machine.
        X: (n, d).
        margin: signs and costs of the rows.
        solution: beta (n,) and bias () or None.
        objective: (), primal or dual, which are the same at the solution.
        intercept: static; whether there is a bias.
        penalize_bias: static; whether it is penalised.

    Returns:
        The same numbers. Differentiating costs n^3 and the kernel matrix.
    """
    beta, bias = solution.weight, jnp.zeros_like(solution.weight[0]) if solution.bias is None else solution.bias
    a = margin.sign * beta
    free = (margin.on & (a > 0) & (a < margin.upper)).astype(beta.dtype)
    beyond = (margin.on & (a >= margin.upper)).astype(beta.dtype)
    kind = (intercept, penalize_bias)
    problem = _Problem(kernel, X, margin, free, beyond)
    x = lax.stop_gradient(jnp.append(beta, bias))
    x = attach(partial(_conditions, kind), partial(_slope, kind), x, problem)
    objective = with_derivative_of(partial(_dual, penalize_bias), lax.stop_gradient(objective), x, problem)
    return Linear(x[:-1], x[-1] if intercept else None), objective


def _dual(penalized: bool, x: Array, p: _Problem) -> Array:
    beta = x[:-1]
    norm = beta @ gram_matvec(p.kernel, p.X, p.X, beta) + (jnp.square(jnp.sum(beta)) if penalized else 0)
    return jnp.sum(p.margin.sign * beta) - norm / 2 - jnp.sum(p.margin.ridge * beta * beta) / 2


def _conditions(kind: tuple[bool, bool], x: Array, p: _Problem) -> Array:
    beta, bias = x[:-1], x[-1]
    on_margin = gram_matvec(p.kernel, p.X, p.X, beta) + bias + p.margin.ridge * beta - p.margin.sign
    cost = 0 if p.margin.squared else p.margin.cost
    rows = p.free * on_margin + (1 - p.free) * beta - p.beyond * p.margin.sign * cost
    intercept, penalized = kind
    return jnp.append(rows, bias - jnp.sum(beta) if penalized else jnp.sum(beta) if intercept else bias)


def _slope(kind: tuple[bool, bool], x: Array, p: _Problem) -> Array:
    """The derivative of the conditions in x, (n + 1, n + 1), with a ridge of the size of rounding for rows that repeat each other."""
    K = gram(p.kernel, p.X)
    rounding = 10 * len(K) * jnp.finfo(K.dtype).eps * jnp.mean(jnp.diagonal(K))
    rows = p.free[:, None] * K + jnp.diag(p.free * (p.margin.ridge + rounding) + 1 - p.free)
    intercept, penalized = kind
    last = jnp.append(jnp.full(len(K), -1.0 if penalized else 1.0 if intercept else 0.0, K.dtype), 0)
    # Without a row on the margin any bias of an interval serves, and its middle stays.
    last = last.at[-1].set(jnp.where(jnp.any(p.free > 0), 0, 1) if intercept and not penalized else 1)
    return jnp.concatenate([jnp.concatenate([rows, p.free[:, None]], axis=1), last[None]])
