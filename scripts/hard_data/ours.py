"""jaxml as a contestant: the fit of a case in a precision, and all that it tells of it."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hard_data.judge import Outcome
from hard_data.table import Case
from jaxml import Status, families, glm
from jaxml.predictors import Linear


def jaxml(dtype: str) -> Callable[[Case], Outcome]:
    """jaxml in this precision, with all that it tells of a fit."""

    def fit(case: Case) -> Outcome:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                return _jaxml(case, np.dtype(dtype), caught)
            except (ValueError, TypeError, OverflowError) as error:
                return Outcome(error=f"{type(error).__name__}: {error}")

    return fit


def _jaxml(case: Case, dtype: Any, caught: list[Any]) -> Outcome:
    fit = jaxml_fit(case, dtype)
    said = [w for w in caught if w.category.__name__ == "ConvergenceWarning"]
    status = Status(int(fit.status)).name.lower()
    out = Outcome(
        weight=np.asarray(fit.params.weight, float),
        bias=np.asarray(0.0 if fit.params.bias is None else fit.params.bias, float),
        complaint=str(said[0].message) if said else "",
        imprecise=bool(said) and status == "converged",
        status=status,
    )
    if status != "converged":
        return out
    X, y, weights, offset = _arrays(case, dtype)
    inference = glm.infer(fit, X, y, weights=weights, offset=offset)
    known = np.asarray(inference.estimable.weight)
    errors = np.asarray(glm.standard_errors(inference).weight, float)
    each = _deviances(fit, X, y, offset)
    deviance = np.sum(np.where(case.on, (1 if weights is None else weights) * np.asarray(each, float), 0))
    return out._replace(
        estimable=known if known.ndim == 1 else known.all(axis=1), weight_errors=errors, deviance=float(deviance)
    )


def jaxml_fit(case: Case, dtype: Any, **options: Any) -> Any:
    """The fit of a case in a dtype."""
    makers: dict[str, Callable[[], Any]] = {
        "normal": families.Normal,
        "bernoulli": families.Bernoulli,
        "binomial": families.Binomial,
        "poisson": families.Poisson,
        "gamma": families.Gamma,
        "inverse_gaussian": families.InverseGaussian,
        "negative_binomial": lambda: families.NegativeBinomial(r=case.r),
        "categorical": lambda: families.Categorical(case.classes),
        "multinomial": lambda: families.Multinomial(case.classes),
    }
    X, y, weights, offset = _arrays(case, dtype)
    l2 = Linear(*case.l2) if case.l2[1] else case.l2[0]
    init = None
    if case.init is not None:
        weight, bias = case.init
        init = Linear(np.asarray(weight, dtype), np.asarray(bias, dtype) if case.intercept else None)
    link = None if case.link == "softmax" else case.link
    options = {"l2": l2, "intercept": case.intercept, "link": link, "init": init} | options
    return glm.fit(makers[case.family](), X, y, weights=weights, offset=offset, **options)


def _arrays(case: Case, dtype: Any) -> tuple[Any, Any, Any, Any]:
    to = lambda a: None if a is None else np.asarray(a, dtype)
    y: Any = case.y
    if not isinstance(y, tuple) and y.dtype.kind == "f":
        y = to(y)
    if isinstance(y, tuple):
        y = tuple(map(to, y))
    return to(case.X), y, to(case.weights), to(case.offset)


@jax.jit
def _deviances(fit: Any, X: Any, y: Any, offset: Any) -> Any:
    return families.deviance(fit.family, glm.predict_natural(fit, X, offset=offset), y)
