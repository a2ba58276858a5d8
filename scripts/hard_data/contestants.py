"""Who takes part: jaxml in both precisions, and the packages installed beside it; each protected from bringing down the table.

Every contestant is asked tightly: tolerances far below those of the judge and steps enough to get there.
"""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hard_data.judge import Outcome
from hard_data.ours import jaxml
from hard_data.table import Case

_STEPS = 10_000


class Contestant(NamedTuple):
    """A name, the precision, and a function from a case to an outcome, or to None where it has no such model."""

    name: str
    dtype: str
    fit: Callable[[Case], Outcome | None]


def contestants() -> list[Contestant]:
    """jaxml first, then those that are installed."""
    field = [Contestant("jaxml", "float64", jaxml("float64")), Contestant("jaxml float32", "float32", jaxml("float32"))]
    if importlib.util.find_spec("sklearn"):
        field += [Contestant(f"sklearn {s}", "float64", _guarded(_sklearn(s))) for s in ("lbfgs", "newton-cholesky")]
    if importlib.util.find_spec("statsmodels"):
        field += [Contestant("statsmodels GLM", "float64", _guarded(_statsmodels_glm))]
        field += [Contestant("statsmodels Logit", "float64", _guarded(_statsmodels_logit))]
    if importlib.util.find_spec("glum"):
        field.append(Contestant("glum", "float64", _guarded(_glum)))
    return field


# -- the others ------------------------------------------------------------------------------------------------------
def _guarded(fit: Callable[[Case], Outcome | None]) -> Callable[[Case], Outcome | None]:
    """Warnings become the complaint, exceptions the error."""

    def run(case: Case) -> Outcome | None:
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="warn"):
            warnings.simplefilter("always")
            try:
                outcome = fit(case)
            except Exception as error:  # whatever another package raises is its outcome
                return Outcome(error=f"{type(error).__name__}: {error}")
        if outcome is None or outcome.error:
            return outcome
        said = [w for w in caught if _about_the_fit(w)]
        return outcome._replace(complaint=outcome.complaint or (str(said[0].message) if said else ""))

    return run


def _about_the_fit(warning: Any) -> bool:
    """Whether a warning says that there may be no optimum; not one of overflow on the way, nor of an argument's future."""
    return warning.category.__name__ in (
        "ConvergenceWarning",
        "PerfectSeparationWarning",
        "LinAlgWarning",
        "HessianInversionWarning",
    )


def _sklearn(solver: str) -> Callable[[Case], Outcome | None]:
    def fit(case: Case) -> Outcome | None:
        from sklearn import linear_model

        if (
            case.offset is not None
            or case.init is not None
            or case.l2[1]
            or isinstance(case.y, tuple)
            or case.y.ndim == 2
        ):
            return None
        tight = {"tol": 1e-12, "max_iter": _STEPS, "solver": solver, "fit_intercept": case.intercept}
        total = case.n if case.weights is None else case.weights.sum()
        kind = case.family, case.link
        if kind in (("bernoulli", "logit"), ("categorical", "softmax")):
            model = linear_model.LogisticRegression(C=1 / (case.l2[0] * total) if case.l2[0] else np.inf, **tight)
        elif kind == ("poisson", "log"):
            model = linear_model.PoissonRegressor(alpha=case.l2[0], **tight)
        elif kind == ("gamma", "log"):
            model = linear_model.GammaRegressor(alpha=case.l2[0], **tight)
        elif kind == ("normal", "identity") and solver == "lbfgs" and not case.l2[0]:
            model = linear_model.LinearRegression(fit_intercept=case.intercept)
        else:
            return None
        model.fit(case.X, case.y, sample_weight=case.weights)
        if case.family != "categorical":
            return Outcome(np.ravel(model.coef_), np.ravel(model.intercept_)[0])
        if len(model.classes_) < case.classes:
            return Outcome(error=f"leaves out a class: {len(model.classes_)} of {case.classes}")
        return Outcome(model.coef_.T, model.intercept_)

    return fit


def _design(case: Case) -> np.ndarray:
    return np.column_stack([case.X, np.ones(case.n)]) if case.intercept else case.X


def _start(case: Case) -> np.ndarray | None:
    if case.init is None:
        return None
    return np.append(case.init[0], case.init[1]) if case.intercept else np.asarray(case.init[0])


def _split(case: Case, theta: Any) -> tuple[Any, Any]:
    return (theta[:-1], theta[-1]) if case.intercept else (theta, np.zeros(np.shape(theta)[1:]))


def _statsmodels_glm(case: Case) -> Outcome | None:
    from statsmodels.genmod import families as sm
    from statsmodels.genmod.generalized_linear_model import GLM

    families = {
        "normal": sm.Gaussian,
        "bernoulli": sm.Binomial,
        "binomial": sm.Binomial,
        "poisson": sm.Poisson,
        "gamma": sm.Gamma,
        "inverse_gaussian": sm.InverseGaussian,
        "negative_binomial": lambda link: sm.NegativeBinomial(link, alpha=1 / case.r),
    }
    links = {
        "identity": sm.links.Identity,
        "log": sm.links.Log,
        "logit": sm.links.Logit,
        "probit": sm.links.Probit,
        "cloglog": sm.links.CLogLog,
        "inverse": sm.links.InversePower,
        "inverse_squared": sm.links.InverseSquared,
    }
    if case.family not in families or max(case.l2) > 0:
        return None
    y = np.column_stack([case.y[0], case.y[1] - case.y[0]]) if isinstance(case.y, tuple) else case.y
    family = families[case.family](links[case.link]())
    model = GLM(y, _design(case), family=family, offset=case.offset, freq_weights=case.weights)
    done = model.fit(maxiter=_STEPS, tol=1e-12, tol_criterion="params", start_params=_start(case))
    weight, bias = _split(case, np.asarray(done.params))
    return Outcome(weight, bias, complaint="" if done.converged else "not converged")


def _statsmodels_logit(case: Case) -> Outcome | None:
    from statsmodels.discrete import discrete_model as sm

    models = {"bernoulli": sm.Logit, "poisson": sm.Poisson, "categorical": sm.MNLogit}
    if (
        case.family not in models
        or case.weights is not None
        or max(case.l2) > 0
        or case.link not in ("logit", "log", "softmax")
    ):
        return None
    if case.offset is not None and case.family != "poisson":
        return None
    extra = {"offset": case.offset} if case.family == "poisson" else {}
    model = models[case.family](case.y, _design(case), **extra)
    done = model.fit(method="newton", maxiter=_STEPS, tol=1e-12, disp=0, start_params=_start(case))
    theta = np.asarray(done.params)
    if case.family == "categorical":
        if theta.shape[1] < case.classes - 1:
            return Outcome(error=f"leaves out a class: {theta.shape[1] + 1} of {case.classes}")
        theta = np.column_stack([np.zeros(len(theta)), theta])
    weight, bias = _split(case, theta)
    return Outcome(weight, bias, complaint="" if done.mle_retvals["converged"] else "not converged")


def _glum(case: Case) -> Outcome | None:
    from glum import GeneralizedLinearRegressor

    families = {"bernoulli": "binomial", "negative_binomial": f"negative.binomial ({1 / case.r})"}
    names = {"inverse_gaussian": "inverse.gaussian"} | families
    if case.family in ("binomial", "categorical", "multinomial") or max(case.l2) > 0 or case.link == "inverse_squared":
        return None
    model = GeneralizedLinearRegressor(
        family=names.get(case.family, case.family),
        link=case.link,
        alpha=0,
        fit_intercept=case.intercept,
        gradient_tol=1e-12,
        max_iter=_STEPS,
        start_params=None if case.init is None else np.append(case.init[1], case.init[0]),
    )
    model.fit(case.X, case.y, sample_weight=case.weights, offset=case.offset)
    return Outcome(model.coef_, model.intercept_)
