r"""Support vector machines: f(x) = w'phi(x) + b with a wide margin, linear or by a kernel.

    minimise  (1/N) sum_i w_i L(s_i f(x_i)) + l2/2 ||w||^2,    L(m) = max(0, 1 - m) or its square,  s_i = +-1,  N = sum_i w_i

By the representer theorem w = sum_i beta_i phi(x_i), so that the kernel K(x, z) = phi(x)'phi(z) is all that is needed. The minimum lies
between the primal and the dual objective; the relative gap between them is the stopping rule, and part of the answer.

Source: notes 1.3, 8.1, 8.2; Cortes & Vapnik (1995), "Support-vector networks"; Schölkopf & Smola (2002), chapter 7.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxml.checks import count_classes, read_positive, read_rows, refuse_bad_values
from jaxml.families import Categorical
from jaxml.kernels.functions import as_kernel
from jaxml.kernels.gram import gram, gram_matvec
from jaxml.kernels.interior_point import interior_point
from jaxml.kernels.margin import Margin, Search
from jaxml.kernels.optimality import with_derivatives
from jaxml.kernels.sequential import GramMatrix, sequential_minimal_optimization
from jaxml.linalg import matmul
from jaxml.optimize.implicit import opaque
from jaxml.prediction import read_features
from jaxml.predictors import KernelExpansion, Linear, linear
from jaxml.records import record
from jaxml.rows import Rows
from jaxml.status import warn_unless_converged

LOSSES = ("hinge", "squared_hinge")
_STORED = 1 << 31  # bytes of a kernel matrix that is kept; of a larger one rows are computed as they are needed
_MOST_LINEAR, _MOST_KERNEL = 200, 10_000_000
_LINEAR = "a linear support vector machine is not differentiable; use kernel=kernels.Linear()"


@record
class SupportVectorMachine:
    """A fitted support vector machine; with K > 2 classes, K machines, each of one class against the rest.

    Attributes:
        params: Linear of weight and bias; weight is (d,) for a linear machine, beta (n,) for one with a kernel, with a last axis K
            for more than two classes; bias () or (K,), None without an intercept.
        dual: a (n,), or (n, K): how much each row holds the margin back, 0 <= a <= w C.
        support: (n,), or (n, K), which rows are support vectors: those whose a is not 0.
        status: () or (K,), codes of :class:`jaxml.Status`; ``jaxml.report(fit)`` says them in words.
        gap: () or (K,), (primal - dual) / primal, a bound of the relative distance of the objective from its minimum.
        value: () or (K,), the objective at params.
        steps: () or (K,) int32.
        kernel: as given, or None.
        points: X (n, d) of a machine with a kernel, or None.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X, y = jnp.array([[0.0], [1.0], [3.0], [4.0]]), jnp.array([0, 0, 1, 1])
        >>> fit = kernels.support_vector_machine(X, y, l2=0.01)
        >>> print(fit.support)  # the rows at the margin
        [False  True  True False]
    """

    params: Linear
    dual: Array
    support: Array
    status: Array
    gap: Array
    value: Array
    steps: Array
    kernel: Any
    points: Array | None


def support_vector_machine(
    X: Any,
    y: Any,
    *,
    l2: Any,
    kernel: Any = None,
    loss: str = "hinge",
    classes: int | None = None,
    weights: Any = None,
    class_weights: Any = None,
    intercept: bool = True,
    penalize_bias: bool = False,
    tol: Any = None,
    max_steps: int | None = None,
    check: bool = True,
) -> SupportVectorMachine:
    """Fit a support vector machine.

    The linear machine is solved in its primal and dual variables together by an interior-point method, whose iterations cost
    n d^2 and hardly depend on l2; the one with a kernel in its dual by sequential minimal optimisation. In float32 an l2 below
    1e-7, the rounding error of the mean loss, wants columns of similar scale; a gap that cannot be closed is reported.

    Args:
        X: (n, d) floating or integer, without a column of ones.
        y: (n,) integer labels 0..K-1. With two classes the decision value is positive for class 1.
        l2: penalty, positive: C of other packages is 1 / (N l2).
        kernel: None for a linear machine, or a kernel of :mod:`jaxml.kernels`, as ``kernels.Gaussian(sigma)``.
        loss: 'hinge' or 'squared_hinge'.
        classes: K; by default the largest label + 1, which must be readable (not inside jit).
        weights: (n,), not negative. A row of weight 0 is as good as absent, even where it holds NaN.
        class_weights: (K,), positive, multiplies the weights of the rows of each class; N counts the weights before that.
        intercept: whether there is a bias.
        penalize_bias: whether the penalty includes the bias, as in LIBLINEAR.
        tol: stop when the relative duality gap is at most this; None: 1e-6 in float64, 1e-3 in float32.
        max_steps: most iterations of the interior-point method (None: 200), most pairs moved (None: 10,000,000).
        check: False: look at no value, warn of nothing, return before the fit has run.

    Returns:
        :class:`SupportVectorMachine`. With a kernel it is differentiable in l2, weights, class_weights, X and the kernel, at a cost of
        n^3; a linear machine refuses to be differentiated (one with kernel=kernels.Linear() does not).

    Raises:
        ValueError, TypeError: bad input, naming argument, value and place (values only outside jit).

    Warns:
        ConvergenceWarning: the gap did not come below tol (outside jit, unless check=False).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X, y = jnp.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), jnp.array([0, 0, 1, 1])
        >>> fit = kernels.support_vector_machine(X, y, l2=0.01, kernel=kernels.Gaussian(0.5))
        >>> print(kernels.classify(fit, X))
        [0 0 1 1]

    Source: Cortes & Vapnik (1995); Schölkopf & Smola (2002), chapters 7 and 10.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss={loss!r} is not known; use one of {LOSSES}")
    classes = count_classes(y, classes)
    family = Categorical(classes)
    rows = read_rows(family, X, y, weights, None)
    if check:
        refuse_bad_values(family, rows)
        _refuse_missing_class(rows, classes)
    dtype = rows.X.dtype
    options = {
        "l2": read_positive("l2", l2, (), dtype),
        "class_weights": read_positive(
            "class_weights", 1.0 if class_weights is None else class_weights, (classes,), dtype
        ),
        "tol": jnp.asarray((1e-6 if dtype.itemsize >= 8 else 1e-3) if tol is None else tol, dtype),
        "max_steps": (_MOST_LINEAR if kernel is None else _MOST_KERNEL) if max_steps is None else max_steps,
    }
    kernel = None if kernel is None else as_kernel(kernel, dtype)
    static = {"classes": classes, "squared": loss == "squared_hinge", "intercept": intercept}
    fit = _fit(rows, kernel, options, penalize_bias=bool(penalize_bias and intercept), **static)
    if check:
        warn_unless_converged(fit)
    return fit


def decision_function(fit: SupportVectorMachine, X: Any) -> Array:
    """f(x) = w'phi(x) + b of each row; with more than two classes one column for each.

    Args:
        fit: a fitted machine.
        X: (n, d).

    Returns:
        (n,), positive for class 1; (n, K) for K > 2 classes, largest for the predicted class.

    Raises:
        ValueError: where X has other columns than the machine was fitted on.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X, y = jnp.array([[0.0], [1.0], [3.0], [4.0]]), jnp.array([0, 0, 1, 1])
        >>> fit = kernels.support_vector_machine(X, y, l2=0.01)
        >>> print(kernels.decision_function(fit, jnp.array([[1.0], [2.0], [3.0]])).round(2) + 0.0)
        [-1.  0.  1.]

    Source: notes 8.1; Schölkopf & Smola (2002), section 7.3.
    """
    columns = fit.params.weight.shape[0] if fit.points is None else fit.points.shape[1]
    X = read_features(X, columns, fit.params.weight.dtype)
    if fit.points is None:
        return linear(fit.params, X)
    return KernelExpansion(fit.kernel, fit.points)(fit.params, X)


def classify(fit: SupportVectorMachine, X: Any) -> Array:
    """The predicted class of each row: (n,) int32, the sign of the decision value or the largest of the K values.

    Args:
        fit: a fitted machine.
        X: (n, d).

    Raises:
        ValueError: where X has other columns than the machine was fitted on.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import kernels
        >>> X, y = jnp.array([[0.0], [1.0], [3.0], [4.0]]), jnp.array([0, 0, 1, 1])
        >>> print(kernels.classify(kernels.support_vector_machine(X, y, l2=0.01), jnp.array([[-1.0], [9.0]])))
        [0 1]
    """
    f = decision_function(fit, X)
    return (f > 0).astype(jnp.int32) if f.ndim == 1 else jnp.argmax(f, axis=1).astype(jnp.int32)


# -- one program for all machines ------------------------------------------------------------------------------------
@partial(jax.jit, static_argnames=("classes", "squared", "intercept", "penalize_bias"))
def _fit(
    rows: Rows, kernel: Any, options: Any, *, classes: int, squared: bool, intercept: bool, penalize_bias: bool
) -> SupportVectorMachine:
    rows = rows.safe()
    w = rows.mass
    cost = w * options["class_weights"][rows.y] / (jnp.sum(w) * options["l2"])
    bias = {"intercept": intercept, "penalize_bias": penalize_bias}
    X, still, how = lax.stop_gradient((rows.X, w, options))

    def against_rest(label: Array) -> SupportVectorMachine:
        margin = Margin(jnp.where(rows.y == label, 1, -1).astype(w.dtype), cost, squared)
        frozen = lax.stop_gradient(margin)
        if kernel is None:
            params, dual, support, search = _linear(X, still, frozen, how, **bias)
            params, dual, primal = opaque(_LINEAR, (params, dual, search.primal), (rows, cost))
        else:
            params, search = _kernel(lax.stop_gradient(kernel), X, frozen, how, **bias)
            support = params.weight != 0
            params, primal = with_derivatives(kernel, rows.X, margin, params, search.primal, **bias)
            dual = margin.sign * params.weight
        value = options["l2"] * primal
        return SupportVectorMachine(params, dual, support, search.status, search.gap, value, search.steps, None, None)

    fit = against_rest(jnp.asarray(1)) if classes == 2 else jax.vmap(against_rest, out_axes=-1)(jnp.arange(classes))
    return replace(fit, kernel=kernel, points=None if kernel is None else rows.X)


def _linear(
    X: Array, w: Array, margin: Margin, options: Any, *, intercept: bool, penalize_bias: bool
) -> tuple[Linear, Array, Array, Search]:
    free = intercept and not penalize_bias
    center = w @ X / jnp.sum(w) if free else jnp.zeros(X.shape[1], X.dtype)
    how = {"tol": options["tol"], "max_steps": options["max_steps"], "intercept": intercept}
    params, dual, support, search = interior_point(X - center, margin, penalize_bias=penalize_bias, **how)
    if not free:
        return params, dual, support, search
    bias = params.bias if margin.squared else _best_bias(margin, matmul(X - center, params.weight), params.bias)
    return Linear(params.weight, bias - matmul(center, params.weight)), dual, support, search


def _kernel(
    kernel: Any, X: Array, margin: Margin, options: Any, *, intercept: bool, penalize_bias: bool
) -> tuple[Linear, Search]:
    how = {"tol": options["tol"], "max_steps": options["max_steps"], "intercept": intercept}
    matrix = _gram_matrix(kernel, X)
    beta, bias, search = sequential_minimal_optimization(matrix, margin, penalize_bias=penalize_bias, **how)
    return Linear(beta, bias if intercept else None), search


def _gram_matrix(kernel: Any, X: Array) -> GramMatrix:
    n, diagonal = len(X), jax.vmap(kernel)(X, X)
    if n * n * X.dtype.itemsize > _STORED:
        return GramMatrix(lambda i: gram(kernel, X[i][None], X)[0], lambda v: gram_matvec(kernel, X, X, v), diagonal)
    matrix = gram(kernel, X)
    return GramMatrix(lambda i: matrix[i], lambda v: matmul(matrix, v), diagonal)


def _best_bias(margin: Margin, f: Array, bias: Array) -> Array:
    """The b that minimises sum_i C_i max(0, 1 - s_i (f_i + b)), the middle where there are several.

    The sum is piecewise linear in b; its slope rises by C_i at b = s_i - f_i, from minus the costs of one class to those of the other.
    """
    order = jnp.argsort(jnp.where(margin.on, margin.sign - f, jnp.inf))
    edges, risen = (margin.sign - f)[order], jnp.cumsum(margin.cost[order])
    positive = jnp.sum(jnp.where(margin.sign > 0, margin.cost, 0))
    slack = 100 * jnp.finfo(f.dtype).eps * risen[-1]
    first, last = jnp.argmax(risen >= positive - slack), jnp.argmax(risen > positive + slack)
    best = (edges[first] + edges[last]) / 2
    return jnp.where(jnp.isfinite(best) & (positive > slack) & (positive < risen[-1] - slack), best, bias)


def _refuse_missing_class(rows: Rows, classes: int) -> None:
    """A class without rows has no side of the margin to be on."""
    present = jnp.zeros(classes, bool).at[rows.y].max(rows.on)
    if not isinstance(present, jax.core.Tracer) and not bool(jnp.all(present)):
        raise ValueError(
            f"y has no row of class {int(jnp.argmin(present))} (of positive weight), but classes={classes}: relabel the classes"
            " 0..K-1, or give rows of each"
        )
