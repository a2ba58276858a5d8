"""Minimise any scalar function of any pytree: the entry points of :mod:`jaxml.optimize`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.dtypes import compute_dtype
from jaxml.optimize import driver
from jaxml.optimize.driver import Result, Trace
from jaxml.optimize.first_order import SGD, GradientDescent, Optax, with_schedule
from jaxml.optimize.implicit import attach
from jaxml.optimize.lbfgs import LBFGS
from jaxml.optimize.newton import Newton
from jaxml.optimize.objective import Objective, Scalar
from jaxml.optimize.stochastic import shuffled_epochs
from jaxml.special import with_derivative_of
from jaxml.status import Status

Solver = Newton | LBFGS | GradientDescent | SGD | Optax


def minimize(
    fun: Callable[..., Array] | Objective, params: Any, *args: Any, solver: Any = Newton(), trace: bool = False
) -> Result:
    """Minimise ``fun(params, *args)`` over params.

    Args:
        fun: a scalar function, differentiable by JAX; static: a fresh lambda compiles again, fresh args of the same shapes do not.
            Or an :class:`~jaxml.optimize.Objective`, a pytree that knows a faster way to value, gradient and curvature; its
            minimiser is not differentiable.
        params: starting point, a pytree of numbers or floating-point arrays.
        *args: pytrees of arrays passed on to fun. The minimiser is differentiable in them, to any order, where the solver is
            Newton or LBFGS and the Hessian at the minimum is not singular.
        solver: Newton, LBFGS, GradientDescent or Optax (full batch). See :func:`sgd` for minibatches.
        trace: record value and gradient norm at each step in the result.

    Returns:
        :class:`~jaxml.optimize.driver.Result`; its ``status`` says how the loop ended (``jaxml.report(result)`` in words).

    Example:
        >>> from jaxml import optimize
        >>> result = optimize.minimize(lambda x, c: (x - c) ** 4 + x**2, 0.0, 2.0)
        >>> print(round(float(result.params), 4))
        1.1649
    """
    if getattr(solver, "epochs", None) is not None:
        raise TypeError(
            f"{type(solver).__name__} with epochs goes through examples in minibatches: use optimize.sgd(fun, params, data)"
        )
    if hasattr(fun, "evaluate"):
        if args:
            raise TypeError("an Objective carries its own data; give no further arguments")
        return _minimize_objective(fun, _floating(params), with_schedule(solver), trace)
    return _minimize(fun, _floating(params), args, with_schedule(solver), trace)


def newton(
    fun: Callable[..., Array], params: Any, *args: Any, max_steps: int = 100, tol: Any = None, trace: bool = False
) -> Result:
    """Newton's method; for a scalar theta it is theta <- theta - J' / J'' (notes 2.3). See :func:`minimize`.

    Example:
        >>> from jaxml import optimize
        >>> print(optimize.newton(lambda x: (x - 3.0) ** 2, 0.0).params)
        3.0
    """
    return minimize(fun, params, *args, solver=Newton(max_steps=max_steps, tol=tol), trace=trace)


def lbfgs(
    fun: Callable[..., Array],
    params: Any,
    *args: Any,
    max_steps: int = 1000,
    tol: Any = None,
    memory: int = 10,
    trace: bool = False,
) -> Result:
    """Limited-memory BFGS. See :func:`minimize`."""
    return minimize(fun, params, *args, solver=LBFGS(max_steps=max_steps, tol=tol, memory=memory), trace=trace)


def gradient_descent(
    fun: Callable[..., Array],
    params: Any,
    *args: Any,
    learning_rate: Any,
    max_steps: int = 1000,
    tol: Any = None,
    trace: bool = False,
) -> Result:
    """Batch gradient descent, theta <- theta - alpha grad J(theta) (notes 2.1). See :func:`minimize`.

    Example:
        >>> from jaxml import optimize
        >>> one = optimize.gradient_descent(lambda x: x**2, 1.0, learning_rate=0.25, max_steps=1)
        >>> print(one.params)
        0.5
    """
    return minimize(
        fun,
        params,
        *args,
        solver=GradientDescent(learning_rate=learning_rate, max_steps=max_steps, tol=tol),
        trace=trace,
    )


def sgd(
    fun: Callable[[Any, Any], Array], params: Any, data: Any, *, solver: Any = None, trace: bool = False, **options: Any
) -> Result:
    """Stochastic gradient descent on the mean over examples of ``fun(params, example)`` (notes 2.2).

    Args:
        fun: loss of one example; ``example`` is one row of data. Static, as in :func:`minimize`.
        params: starting point.
        data: pytree of arrays that share their leading dimension n.
        solver: SGD, or Optax with epochs; by default ``SGD(**options)``.
        trace: record mean loss and gradient norm of each epoch.
        **options: ``learning_rate``, ``epochs``, ``batch_size``, ``seed``, ``tol`` of SGD.

    Returns:
        :class:`~jaxml.optimize.driver.Result` with value and gradient of the mean over all examples at the end; ``steps`` counts
        updates.
    """
    if solver is not None and options:
        raise TypeError(f"give either solver= or options of SGD, not both: {', '.join(options)}")
    solver = with_schedule(SGD(**options) if solver is None else solver)
    if getattr(solver, "epochs", None) is None:
        raise TypeError(f"sgd needs a solver that goes through examples, SGD or Optax with epochs, got {solver!r}")
    if solver.batch_size < 1 or solver.epochs < 1:
        raise ValueError(f"batch_size and epochs must be at least 1, got {solver.batch_size} and {solver.epochs}")
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1 or sizes == {()} or sizes == {(0,)}:
        raise ValueError(
            f"data must be arrays sharing a leading dimension of at least 1, got leading shapes {sorted(sizes)}"
        )
    return _sgd(fun, _floating(params), data, solver, trace)


def tolerance(tol: Any, dtype: Any) -> Any:
    """The default tolerance: 1e-8 in float64, 1e-4 in narrower types."""
    if tol is not None:
        return tol
    return 1e-8 if jnp.dtype(dtype).itemsize >= 8 else 1e-4


def descend_in_batches(batch: Any, full: Any, params: Any, solver: Any, n: int, trace: bool) -> Result:
    """Run shuffled minibatches and judge the end by the full objective: ``full(params) -> (value, gradient)``."""
    params, values, norms = shuffled_epochs(
        batch,
        params,
        solver.transform,
        n=n,
        epochs=solver.epochs,
        batch_size=solver.batch_size,
        key=jax.random.key(solver.seed),
    )
    value, gradient = full(params)
    g = ravel_pytree(gradient)[0]
    norm = jnp.linalg.norm(g)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(g))
    status = jnp.where(norm <= tolerance(solver.tol, g.dtype), int(Status.CONVERGED), int(Status.STEP_LIMIT))
    status = jnp.where(finite, status, int(Status.NON_FINITE)).astype(jnp.int32)
    steps = jnp.asarray(solver.epochs * -(-n // min(solver.batch_size, n)), jnp.int32)
    return Result(
        params, value, jnp.max(jnp.abs(g)), norm, steps, steps, status, Trace(values, norms) if trace else None
    )


# -- helpers ---------------------------------------------------------------------------------------------------------
def _floating(params: Any) -> Any:
    """Arrays of one floating dtype without weak types, so that a second call compiles nothing."""
    # (a weak type, as of a Python number, is another program)
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(params)]
    dtype = compute_dtype(jnp.zeros((), jnp.result_type(*leaves))) if leaves else None
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)


@partial(jax.jit, static_argnames="trace")
def _minimize_objective(objective: Objective, params: Any, solver: Any, trace: bool) -> Result:
    objective, start = jax.tree.map(lax.stop_gradient, (objective, params))
    solver = _without_reuse(solver)
    return driver.minimize(
        objective, start, solver, tol=tolerance(solver.tol, ravel_pytree(start)[0].dtype), trace=trace
    )[0]


def _without_reuse(solver: Any) -> Any:
    """Newton with the whole Hessian at each step, where it was left to choose."""
    if isinstance(solver, Newton) and solver.reuse is None:
        return Newton(max_steps=solver.max_steps, tol=solver.tol, reuse=False)
    return solver


@partial(jax.jit, static_argnames=("fun", "trace"))
def _minimize(fun: Callable[..., Array], params: Any, args: Any, solver: Any, trace: bool) -> Result:
    start, fixed = jax.tree.map(lax.stop_gradient, (params, args))
    x0, unravel = ravel_pytree(start)
    solver = _without_reuse(solver)
    tol = tolerance(solver.tol, x0.dtype)
    result, _ = driver.minimize(Scalar(fun, fixed), start, solver, tol=tol, trace=trace)
    if not solver.line_search:
        return result
    value = lambda x, args: fun(unravel(x), *args)
    gradient = jax.grad(value)
    x = attach(gradient, jax.jacfwd(gradient), lax.stop_gradient(ravel_pytree(result.params)[0]), args)
    return result._replace(params=unravel(x), value=with_derivative_of(value, lax.stop_gradient(result.value), x, args))


@partial(jax.jit, static_argnames=("fun", "trace"))
def _sgd(fun: Callable[[Any, Any], Array], params: Any, data: Any, solver: Any, trace: bool) -> Result:
    n = jax.tree.leaves(data)[0].shape[0]

    def mean(params: Any, rows: Any, keep: Any) -> Array:
        losses = jax.vmap(lambda row: fun(params, row))(rows)
        return jnp.sum(jnp.where(keep, losses, 0)) / jnp.sum(keep)

    batch = lambda params, index, keep: jax.value_and_grad(mean)(
        params, jax.tree.map(lambda a: jnp.asarray(a)[index], data), keep
    )
    full = lambda params: jax.value_and_grad(mean)(params, data, jnp.ones(n, bool))
    return descend_in_batches(batch, full, params, solver, n, trace)
