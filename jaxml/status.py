"""How a solver ended, as an integer that survives jit and vmap, and the words that go with it."""

import enum
import inspect
import warnings
from typing import Any

import jax
import numpy as np


class Status(enum.IntEnum):
    """How a solver ended. Codes rise with their precedence; every code but CONVERGED says why there is no optimum yet.

    Attributes:
        CONVERGED: 0, the distance to the optimum is below the tolerance, or lost in rounding (a fit warns of more than 0.01
            standard errors).
        STEP_LIMIT: 1, the steps (or epochs) ran out.
        LINE_SEARCH_FAILED: 2, no step along the search direction lowers the objective.
        BOUNDARY: 3, the objective falls towards the edge of the domain, where its gradient is not 0.
        SEPARATED: 4, some combination of the columns predicts y without error; the coefficients run off to infinity.
        INFEASIBLE: 5, no starting point inside the domain was found.
        NON_FINITE: 6, objective, gradient or direction became NaN or infinite.

    Example:
        >>> from jaxml import Status, optimize
        >>> result = optimize.gradient_descent(lambda x: x**2, 1.0, learning_rate=0.1, max_steps=3)
        >>> Status(int(result.status)).name
        'STEP_LIMIT'
    """

    CONVERGED = 0
    STEP_LIMIT = 1
    LINE_SEARCH_FAILED = 2
    BOUNDARY = 3
    SEPARATED = 4
    INFEASIBLE = 5
    NON_FINITE = 6

    @property
    def message(self) -> str:
        """What happened, the likely causes and the remedies, in one paragraph."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.CONVERGED: "converged: the distance to the optimum is below the tolerance.",
    Status.STEP_LIMIT: (
        "step limit: the solver stopped before the tolerance was reached. Likely causes: too few steps, a learning rate that is"
        " too small or too large, badly scaled columns with a first-order solver. Raise max_steps (or epochs), standardise the"
        " columns, or use the default Newton solver."
    ),
    Status.LINE_SEARCH_FAILED: (
        "line search failed: no step along the search direction lowers the objective. Causes: a derivative that does not"
        " match the function, an objective that is not smooth, or the rounding floor. Use float64, or start elsewhere."
    ),
    Status.BOUNDARY: (
        "boundary: the search came to the edge of the domain, towards which the objective still falls: the minimum lies somewhere"
        " on the edge, where the gradient is not zero and standard errors do not hold. Use another link, or a penalty."
    ),
    Status.SEPARATED: (
        "separated: some combination of the columns predicts the outcome without error, so the likelihood has no maximum and its"
        " coefficients run off to infinity; glm.separation names rows and coefficients. Use firth=True, l2 > 0, drop the columns"
        " concerned, or pool rare levels."
    ),
    Status.INFEASIBLE: (
        "infeasible: no starting point inside the domain of the family and link was found. Give init=, use another link, or add an"
        " intercept."
    ),
    Status.NON_FINITE: (
        "non-finite: the objective, its gradient or the search direction became NaN or infinite. Likely causes: NaN or infinite"
        " data, overflow at the starting point, a learning rate that is too large."
    ),
}


def report(result: Any, *remarks: str) -> str:
    """Say how a solver or a fit ended, and warn where it did not converge or there is a remark.

    Args:
        result: anything with a ``status`` field: one fit, or a batch from ``jax.vmap``; read on the host.
        *remarks: sentences to add.

    Returns:
        For one fit :attr:`Status.message`, its own ``notes`` if it has any, and the remarks; for a batch counts by status.

    Warns:
        ConvergenceWarning: with the same text, unless all have converged and there is no remark.

    Example:
        >>> from jaxml import optimize, report
        >>> print(report(optimize.newton(lambda x: (x - 3.0) ** 2, 0.0)))
        converged: the distance to the optimum is below the tolerance.
    """
    codes = np.atleast_1d(np.asarray(jax.device_get(result.status))).ravel()
    counts = {Status(code): int(np.sum(codes == code)) for code in np.unique(codes)}
    if codes.size == 1:
        text = " ".join([Status(codes[0]).message, *getattr(result, "notes", ()), *remarks])
    else:
        text = f"{codes.size} fits: " + ", ".join(f"{k} {s.name.lower().replace('_', ' ')}" for s, k in counts.items())
    if remarks or set(counts) != {Status.CONVERGED}:
        warnings.warn(text, ConvergenceWarning, stacklevel=_callers_level())
    return text


def warn_unless_converged(result: Any) -> None:
    """Report a result that did not converge, if its status can be read: not inside jit.

    Warns:
        ConvergenceWarning: as :func:`report`.
    """
    if not isinstance(result.status, jax.core.Tracer) and np.any(np.asarray(result.status) != Status.CONVERGED):
        report(result)


def _callers_level() -> int:
    """The stack level of the first frame outside this package, so that a warning points at the user's line."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == __name__.split(".")[0]:
        level, frame = level + 1, frame.f_back
    return level - 1


class ConvergenceWarning(UserWarning):
    """A fit ended without an optimum; the text is that of :func:`report`."""
