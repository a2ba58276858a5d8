"""Minimise any scalar function of any pytree: the entry points of :mod:`jaxml.optimize`."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from jaxml.dtypes import compute_dtype
from jaxml.optimize import driver
from jaxml.optimize.driver import Result, Trace
from jaxml.optimize.first_order import SGD, GradientDescent, Optax
from jaxml.optimize.implicit import attach, opaque
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
            Or an instance of a class derived from :class:`~jaxml.optimize.Objective`, a pytree that knows a faster way to value,
            gradient and curvature; its minimiser is not differentiable.
        params: starting point, a pytree of numbers or floating-point arrays.
        *args: pytrees of arrays passed on to fun. The minimiser is differentiable in them, to any order, where the solver is
            Newton or LBFGS and the Hessian at the minimum is not singular; with the others that is a TypeError.
        solver: Newton, LBFGS, GradientDescent or Optax (full batch). See :func:`sgd` for minibatches.
        trace: record value and gradient norm at each step in the result.

    Returns:
        :class:`~jaxml.optimize.driver.Result`; its ``status`` says how the loop ended (``jaxml.report(result)`` in words).

    Raises:
        TypeError: a solver with epochs, args beside an Objective, an objective of another class, or (by JAX) a fun that is not scalar.

    Example:
        >>> from jaxml import optimize
        >>> result = optimize.minimize(lambda x, c: (x - c) ** 4 + x**2, 0.0, 2.0)
        >>> print(round(float(result.params), 4))
        1.1649

    Source: that of the solver; for the derivatives of the minimiser see :mod:`jaxml.optimize.implicit`.
    """
    if getattr(solver, "epochs", None) is not None:
        raise TypeError(
            f"{type(solver).__name__} with epochs goes through examples in minibatches: use optimize.sgd(fun, params, data)"
        )
    if hasattr(fun, "evaluate"):
        if not isinstance(fun, Objective):
            raise TypeError(
                f"an objective with a method evaluate is to be derived from optimize.Objective, {type(fun).__name__} is not"
            )
        if args:
            raise TypeError("an Objective carries its own data; give no further arguments")
        return _minimize_objective(fun, _floating(params), prepared(solver), trace)
    return _minimize(fun, _floating(params), args, prepared(solver), trace)


def newton(
    fun: Callable[..., Array], params: Any, *args: Any, max_steps: int = 100, tol: Any = None, trace: bool = False
) -> Result:
    """Newton's method, theta <- theta - [hess J(theta)]^-1 grad J(theta), with a line search.

    For a scalar theta it is theta <- theta - J' / J''.

    Args:
        fun: as in :func:`minimize`.
        params: starting point, a pytree of p numbers in all.
        *args: passed on to fun.
        max_steps: most accepted steps; each evaluates the (p, p) Hessian.
        tol: stop when the Newton decrement sqrt(g' H^-1 g) is at most this; None: 1e-8 in float64, 1e-4 in float32.
        trace: record value and gradient norm at each step.

    Returns:
        As :func:`minimize`.

    Example:
        >>> from jaxml import optimize
        >>> print(optimize.newton(lambda x: (x - 3.0) ** 2, 0.0).params)
        3.0

    Source: notes 2.3, 2.4; Nocedal & Wright (2006), chapter 3.
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
    """Limited-memory BFGS: theta <- theta - s B grad J(theta).

    B approximates the inverse Hessian from gradients alone, s comes from a line search.

    Args:
        fun: as in :func:`minimize`.
        params: starting point.
        *args: passed on to fun.
        max_steps: most accepted steps.
        tol: stop when sqrt(g' B g) is at most this; None: 1e-8 in float64, 1e-4 in float32.
        memory: pairs of steps and gradient changes kept.
        trace: record value and gradient norm at each step.

    Returns:
        As :func:`minimize`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import optimize
        >>> rosenbrock = lambda p: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        >>> x, y = optimize.lbfgs(rosenbrock, jnp.array([-1.2, 1.0])).params
        >>> print(f"{x:.2f} {y:.2f}")
        1.00 1.00

    Source: Nocedal & Wright (2006), algorithms 7.4 and 7.5.
    """
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
    """Batch gradient descent, theta <- theta - alpha grad J(theta), without a line search.

    Args:
        fun: as in :func:`minimize`.
        params: starting point.
        *args: passed on to fun.
        learning_rate: alpha, a number or an optax schedule of the step; one too large ends with status NON_FINITE or
            STEP_LIMIT.
        max_steps: most steps.
        tol: stop when the Euclidean norm of the gradient is at most this; None: 1e-8 in float64, 1e-4 in float32.
        trace: record value and gradient norm at each step.

    Returns:
        As :func:`minimize`.

    Example:
        >>> from jaxml import optimize
        >>> one = optimize.gradient_descent(lambda x: x**2, 1.0, learning_rate=0.25, max_steps=1)
        >>> print(one.params)
        0.5

    Source: notes 2.1; Nocedal & Wright (2006), section 2.2.
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
    """Stochastic gradient descent on the mean over examples of ``fun(params, example)``.

        theta <- theta - alpha (1/|B|) sum_(i in B) grad fun(theta, example_i),    B a minibatch, in a shuffled order

    Args:
        fun: loss of one example; ``example`` is one row of data. Static, as in :func:`minimize`.
        params: starting point.
        data: pytree of arrays that share their leading dimension n.
        solver: SGD, or Optax with epochs; by default ``SGD(**options)``.
        trace: record mean loss and gradient norm of each epoch.
        **options: ``learning_rate``, ``epochs``, ``batch_size``, ``seed``, ``tol`` of SGD.

    Returns:
        :class:`~jaxml.optimize.driver.Result` with value and gradient of the mean over all examples at the end;
        ``steps`` counts updates. The status is CONVERGED where the Euclidean norm of that gradient is at most ``tol``,
        judged once, at the end; STEP_LIMIT is the usual end of a constant learning rate. The same seed gives the same
        result.

    Raises:
        TypeError: both solver and options, an option that SGD has not, or a solver without epochs.
        ValueError: epochs or batch_size below 1, or data without a leading dimension that all arrays share.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import optimize
        >>> x, y = jnp.array([0.0, 1.0, 2.0, 3.0]), jnp.array([1.0, 3.0, 5.0, 7.0])
        >>> loss = lambda theta, row: (row[1] - theta[0] - theta[1] * row[0]) ** 2 / 2
        >>> result = optimize.sgd(loss, jnp.zeros(2), (x, y), learning_rate=0.1, epochs=100)
        >>> print(f"{result.params[0]:.2f} {result.params[1]:.2f} in {result.steps} updates")
        1.00 2.00 in 400 updates

    Source: notes 2.2; Robbins & Monro (1951); Bishop (2006), section 3.1.3.
    """
    if solver is not None and options:
        raise TypeError(f"give either solver= or options of SGD, not both: {', '.join(options)}")
    solver = prepared(SGD(**options) if solver is None else solver)
    if getattr(solver, "epochs", None) is None:
        raise TypeError(f"sgd needs a solver that goes through examples, SGD or Optax with epochs, got {solver!r}")
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1 or sizes == {()} or sizes == {(0,)}:
        raise ValueError(
            f"data must be arrays sharing a leading dimension of at least 1, got leading shapes {sorted(sizes)}"
        )
    return _sgd(fun, _floating(params), data, solver, trace)


def prepared(solver: Any) -> Any:
    """The solver as it can cross jit: a schedule as a pytree, NumPy numbers as Python's, which do not compile again.

    Raises:
        TypeError: no solver.
        ValueError: a setting that no search can work with.
    """
    if not isinstance(solver, Solver):
        raise TypeError(f"solver must be Newton, LBFGS, GradientDescent, SGD or Optax, got {solver!r}")
    for name, least in (("max_steps", 0), ("memory", 1), ("epochs", 1), ("batch_size", 1)):
        value = getattr(solver, name, None)
        if value is not None and value < least:
            raise ValueError(f"{name} of {type(solver).__name__} must be at least {least}, got {value}")
    change: dict[str, Any] = {
        name: float(value) for name, value in vars(solver).items() if isinstance(value, np.floating)
    }
    rate = getattr(solver, "learning_rate", None)
    if callable(rate) and not isinstance(rate, Partial):
        change["learning_rate"] = Partial(rate)
    return replace(solver, **change) if change else solver


def tolerance(tol: Any, dtype: Any) -> Any:
    """``tol``, or where it is None the default for the dtype: 1e-8 in float64, 1e-4 in narrower types."""
    if tol is not None:
        return tol
    return 1e-8 if jnp.dtype(dtype).itemsize >= 8 else 1e-4


def descend_in_batches(batch: Any, full: Any, params: Any, solver: Any, n: int, trace: bool) -> Result:
    """Run shuffled minibatches and judge the end by the full objective.

    Args:
        batch: as in :func:`jaxml.optimize.stochastic.epoch`.
        full: params -> (value, gradient) of the objective over all examples.
        params: starting point, a pytree of floating-point arrays.
        solver: SGD, or Optax with epochs.
        n: number of examples.
        trace: record mean loss and gradient norm of each epoch.

    Returns:
        As :func:`sgd`.
    """
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
    none, history = jnp.zeros((), jnp.int32), Trace(values, norms) if trace else None
    return Result(params, value, jnp.max(jnp.abs(g)), norm, steps, steps, none, status, history)


_FIRST_ORDER = (
    "the answer of a first-order solver is not differentiable in args; use Newton or LBFGS, whose minimiser is"
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
        return result._replace(params=opaque(_FIRST_ORDER, result.params, args))
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

    batch = lambda params, index, keep, _: jax.value_and_grad(mean)(
        params, jax.tree.map(lambda a: jnp.asarray(a)[index], data), keep
    )
    full = lambda params: jax.value_and_grad(mean)(params, data, jnp.ones(n, bool))
    return descend_in_batches(batch, full, params, solver, n, trace)
