"""The judge: what an outcome is worth, by one rule for every contestant.

    right            silent, and at the optimum
    right, said so   there is no optimum, or the dtype cannot hold it, and the contestant says so; or it refused what must be refused
    wrong            coefficients that are not finite; silent without an optimum or away from it; a status that is not true
    refused          an error, or no optimum reached and that admitted, where there is one

At the optimum: every linear predictor within ``digits`` of its size or its standard error, whichever is larger, so that units do
not matter, and every coefficient that the design determines likewise. A contestant that tells more (which coefficients are
estimable, standard errors, the deviance, a status) is held to that as well.
"""

from typing import Any, NamedTuple

import numpy as np

from hard_data.optimum import Optimum, optimum
from hard_data.table import IMPRECISE, OPTIMUM, REFUSED, VECTOR, Case

RIGHT, SAID, WRONG, GAVE_UP = "right", "right, said so", "wrong", "refused"
DIGITS = {"float64": 1e-6, "float32": 1e-3}


class Outcome(NamedTuple):
    """What a contestant came back with.

    Attributes:
        weight, bias: coefficients, bias 0 without an intercept; None after an error.
        complaint: the first warning about the fit, '' where it was silent.
        imprecise: the complaint is that the dtype cannot hold the answer, not that there is none.
        error: the exception, '' where there was none.
        status: how it says it ended, one of the ends of a case, or other words; '' where it has no such thing.
        estimable: (d,) what it says of its coefficients; None where it says nothing.
        weight_errors: (d,) or (d, K) standard errors; None where it is not asked.
        deviance: None where it is not asked.
    """

    weight: Any = None
    bias: Any = None
    complaint: str = ""
    imprecise: bool = False
    error: str = ""
    status: str = ""
    estimable: Any = None
    weight_errors: Any = None
    deviance: float | None = None


class Judgement(NamedTuple):
    """The verdict and the reason for it."""

    verdict: str
    reason: str

    @property
    def stands(self) -> bool:
        """Whether the verdict is one of the two right ones."""
        return self.verdict in (RIGHT, SAID)


def judge(case: Case, outcome: Outcome, dtype: str = "float64", digits: float | None = None) -> Judgement:
    """What the outcome is worth; ``digits`` is the relative tolerance, by default that of the dtype."""
    end = case.ends(dtype)
    if outcome.error:
        return Judgement(SAID if end == REFUSED else GAVE_UP, outcome.error)
    if end == REFUSED:
        return Judgement(WRONG, "took data that it cannot hold")
    if not (np.all(np.isfinite(outcome.weight)) and np.all(np.isfinite(outcome.bias))):
        return Judgement(WRONG, "coefficients are not finite")
    if outcome.status and outcome.status != (OPTIMUM if end == IMPRECISE else end):
        return Judgement(WRONG, f"says {outcome.status}, is {end}")
    if end == IMPRECISE:
        return Judgement(SAID if outcome.imprecise else WRONG, outcome.complaint or "silent about lost digits")
    if end != OPTIMUM:
        silent = not outcome.complaint or outcome.imprecise
        return Judgement(WRONG, f"silent, is {end}") if silent else Judgement(SAID, outcome.complaint)
    return _at_optimum(case, outcome, dtype, DIGITS[dtype] if digits is None else digits)


def _at_optimum(case: Case, outcome: Outcome, dtype: str, digits: float) -> Judgement:
    best = optimum(case.name, dtype)
    reason = _away(case, best, outcome.weight, outcome.bias, dtype, digits) or _details(best, outcome, dtype, digits)
    if not reason:
        return Judgement(SAID if outcome.imprecise else RIGHT, outcome.complaint)
    if outcome.imprecise:
        held = [np.asarray(np.asarray(a, dtype), float) for a in (best.weight, best.bias)]
        true = _away(case, best, held[0], held[1], dtype, digits)
        return Judgement(SAID if true else WRONG, f"{outcome.complaint}; {reason}")
    return Judgement(GAVE_UP if outcome.complaint else WRONG, f"{outcome.complaint}; {reason}".lstrip("; "))


def _away(case: Case, best: Optimum, weight: Any, bias: Any, dtype: str, digits: float) -> str:
    """How the coefficients differ from the optimum, '' where they do not."""
    case = case.rounded(dtype)
    weight, bias = np.asarray(weight, float), np.asarray(bias, float)
    on = case.on
    if case.family in VECTOR:
        bias = np.broadcast_to(bias, weight.shape[-1:])
        weight, bias = (a - a.mean(axis=-1, keepdims=True) for a in (weight, bias))
    level = bias if case.offset is None else bias + case.offset[on].reshape((-1,) + (1,) * bias.ndim)
    gap = np.abs(case.X[on] @ weight + level - best.z[on])
    z, errors = np.abs(best.z[on]), best.z_errors[on]
    # The sum of what each predictor is made of cannot be told from 0 below its rounding.
    room = digits * np.maximum(z, errors) + 64 * np.finfo(dtype).eps * z.max(initial=0)
    far = float(np.max(gap / room, initial=0)) * digits
    if not far <= digits:
        return f"predictors {far:.1e} away from the optimum"
    known = best.estimable
    spread = np.std(case.X[on], axis=0)
    rounding = 64 * np.finfo(dtype).eps * z.max(initial=0) / np.where(spread > 0, spread, 1)
    room = digits * np.maximum(np.abs(best.weight), best.weight_errors)[known]
    room = room + rounding[known].reshape((-1,) + (1,) * bias.ndim)
    far = float(np.max(np.abs(weight - best.weight)[known] / np.where(room > 0, room, 1), initial=0)) * digits
    return "" if far <= digits else f"coefficients {far:.1e} away from the optimum"


def _details(best: Optimum, outcome: Outcome, dtype: str, digits: float) -> str:
    """Where what the contestant tells beside the coefficients is not so; '' where it is."""
    if outcome.estimable is not None and not np.array_equal(outcome.estimable, best.estimable):
        return f"estimable {np.asarray(outcome.estimable)}, is {best.estimable}"
    rounding = 64 * np.finfo(dtype).eps * np.nanmax(np.abs(best.z))
    if outcome.weight_errors is not None and best.dispersion > rounding**2:
        told, known = np.asarray(outcome.weight_errors, float), best.estimable
        if not np.all(np.isnan(told[~known])):
            return "standard errors of what is not estimable"
        # The curvatures that make them move by their own size with the predictors, each known to `digits` of its error.
        room = 10 * digits * (1 + np.nanmax(best.z_errors)) * best.weight_errors
        if not np.all(np.abs(told - best.weight_errors)[known] <= room[known]):
            return f"standard errors {told}, are {best.weight_errors}"
    if outcome.deviance is not None:
        room = 10 * digits * (best.deviance + best.dispersion) + best.curvature * rounding**2
        if not abs(outcome.deviance - best.deviance) <= room:
            return f"deviance {outcome.deviance:.9g}, is {best.deviance:.9g}"
    return ""
