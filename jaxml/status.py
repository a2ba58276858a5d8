"""How a solver ended, as an integer that survives jit and vmap, and the words that go with it."""

import enum
import warnings
from typing import Any

import jax
import numpy as np


class Status(enum.IntEnum):
    """How a solver ended. Codes rise with their precedence; every code but CONVERGED says why there is no optimum yet."""

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
        "boundary: the objective falls towards the edge of the domain, where the maximum of the likelihood lies and the gradient"
        " is not zero. Standard errors do not hold there. Use another link, or a penalty."
    ),
    Status.SEPARATED: (
        "separated: some combination of the columns predicts the outcome without error, so the likelihood has no maximum and its"
        " coefficients run off to infinity. Use l2 > 0, drop the columns concerned, or pool rare levels."
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


def report(result: Any) -> str:
    """Say how a solver or a fit ended, and warn where it did not converge.

    Args:
        result: anything with a ``status`` field: one fit, or a batch from ``jax.vmap``.

    Returns:
        A sentence for one fit, counts by status for a batch.

    Example:
        >>> from jaxml import optimize, report
        >>> print(report(optimize.newton(lambda x: (x - 3.0) ** 2, 0.0)))
        converged: the distance to the optimum is below the tolerance.
    """
    codes = np.atleast_1d(np.asarray(jax.device_get(result.status))).ravel()
    counts = {Status(code): int(np.sum(codes == code)) for code in np.unique(codes)}
    if codes.size == 1:
        text = Status(codes[0]).message
    else:
        text = f"{codes.size} fits: " + ", ".join(f"{k} {s.name.lower().replace('_', ' ')}" for s, k in counts.items())
    if set(counts) != {Status.CONVERGED}:
        warnings.warn(text, ConvergenceWarning, stacklevel=2)
    return text


class ConvergenceWarning(UserWarning):
    """A fit ended without an optimum."""
