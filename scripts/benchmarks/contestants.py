"""Who fits generalised linear models: jaxml, then every peer that is installed and has the model; a row of ``FIELD`` each.

Left out: the sag and saga solvers of scikit-learn, whose steps get nowhere near this gradient in any patience, and MNLogit of
statsmodels, whose Hessian is assembled class by class in Python. scikit-learn has no offsets: with a log link y exp(-offset) is the
same problem (for counts with weights times exp(offset)), and that is what it is given.
"""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problems import Problem
from benchmarks.table import Answer, Entrant
from jaxml import families, glm, optimize

Fit = Callable[[Any], Answer]
COUNTS = ("poisson", "gamma")
DENSE = 3e8  # n d^2 above which statsmodels, which copies and factors the design in every step, takes minutes
OURS = (1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)  # in standard errors
THEIRS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
CHANGES = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12)  # of the log-likelihood
MOST = 10_000  # iterations; the clock ends a peer's run long before


class Contestant(NamedTuple):
    """``prepare(problem)`` returns the fit of a problem; ``most`` is the largest n d^2 that makes sense."""

    name: str
    package: str
    families: tuple[str, ...]
    prepare: Callable[[Problem], Fit]
    tolerances: tuple[Any, ...] = THEIRS
    most: float = np.inf
    weighted: bool = True
    penalised: bool = True


def entrants(problem: Problem) -> tuple[list[Entrant], list[str]]:
    """All who can, and a line for each who cannot."""
    able, lines = [], []
    for row in FIELD:
        if problem.family not in row.families:
            continue
        why = _obstacle(row, problem)
        if why:
            lines.append(f"{row.name} is left out: {why}")
            continue
        able.append(Entrant(row.name, row.prepare(problem), row.tolerances, compiles=row.package == "jaxml"))
    return able, lines


def _obstacle(row: Contestant, problem: Problem) -> str:
    if importlib.util.find_spec(row.package) is None:
        return f"{row.package} is not installed"
    if problem.cost > row.most:
        return f"its steps take too long at n d^2 = {problem.cost:.1e}"
    if problem.weights is not None and not row.weighted:
        return "it has no weights"
    return "it has no l2 penalty" if problem.l2 and not row.penalised else ""


# -- jaxml -----------------------------------------------------------------------------------------------------------
FAMILIES: dict[str, Callable[[Problem], Any]] = {
    "bernoulli": lambda problem: families.Bernoulli(),
    "poisson": lambda problem: families.Poisson(),
    "gamma": lambda problem: families.Gamma(),
    "normal": lambda problem: families.Normal(),
    "softmax": lambda problem: families.Categorical(int(problem.y.max()) + 1),
}


def ours(problem: Problem) -> Fit:
    """jaxml with a tolerance of its Newton's method; None: as it comes."""
    family, link = FAMILIES[problem.family](problem), "log" if problem.family == "gamma" else None
    X, y, weights, offset = (None if a is None else jnp.asarray(a) for a in problem[1:5])
    jax.block_until_ready((X, y))

    def fit(tolerance: float | None) -> Answer:
        solver = None if tolerance is None else optimize.Newton(tol=tolerance)
        found = glm.fit(family, X, y, weights=weights, offset=offset, l2=problem.l2, link=link, solver=solver)
        theta = np.concatenate([np.asarray(found.params.bias)[None], np.asarray(found.params.weight)])
        return Answer(theta, int(found.evaluations))

    return fit


# -- peers -----------------------------------------------------------------------------------------------------------
def sklearn(solver: str) -> Callable[[Problem], Fit]:
    """LogisticRegression, PoissonRegressor or GammaRegressor with this solver."""

    def prepare(problem: Problem) -> Fit:
        model = (_logistic if problem.family in ("bernoulli", "softmax") else _log_linear)(problem, solver)
        y, weights = _without_offset(problem)

        def fit(tolerance: float) -> Answer:
            found = model.set_params(tol=tolerance).fit(problem.X, y, sample_weight=weights)
            theta = np.vstack([np.atleast_1d(found.intercept_), found.coef_.T.reshape(problem.X.shape[1], -1)])
            return Answer(theta if problem.family == "softmax" else theta[:, 0], int(np.max(found.n_iter_)))

        return fit

    return prepare


def _logistic(problem: Problem, solver: str) -> Any:
    from sklearn.linear_model import LogisticRegression

    mass = len(problem.y) if problem.weights is None else problem.weights.sum()
    inverse = 1 / (problem.l2 * mass) if problem.l2 else np.inf
    return LogisticRegression(C=inverse, solver=solver, max_iter=MOST)


def _log_linear(problem: Problem, solver: str) -> Any:
    from sklearn.linear_model import GammaRegressor, PoissonRegressor

    model = PoissonRegressor if problem.family == "poisson" else GammaRegressor
    return model(alpha=problem.l2, solver=solver, max_iter=MOST)


def _without_offset(problem: Problem) -> tuple[np.ndarray, np.ndarray | None]:
    y, weights, offset = problem[2:5]
    if offset is None:
        return y, weights
    times = np.ones(len(y)) if weights is None else weights
    return y * np.exp(-offset), times * np.exp(offset) if problem.family == "poisson" else times


def glum(problem: Problem) -> Fit:
    """GeneralizedLinearRegressor by iteratively reweighted least squares."""
    from glum import GeneralizedLinearRegressor

    family = {"bernoulli": "binomial"}.get(problem.family, problem.family)
    link = "logit" if problem.family == "bernoulli" else "log"

    def fit(tolerance: float) -> Answer:
        options = {"alpha": problem.l2, "family": family, "link": link, "solver": "irls-ls"}
        model = GeneralizedLinearRegressor(gradient_tol=tolerance, max_iter=MOST, **options)
        found = model.fit(problem.X, problem.y, sample_weight=problem.weights, offset=problem.offset)
        return Answer(np.concatenate([[found.intercept_], found.coef_]), int(found.n_iter_))

    return fit


def statsmodels_glm(problem: Problem) -> Fit:
    """GLM by iteratively reweighted least squares."""
    import statsmodels.api as sm

    links = sm.families.links
    laws = {
        "bernoulli": sm.families.Binomial(),
        "poisson": sm.families.Poisson(),
        "gamma": sm.families.Gamma(links.Log()),
    }
    design = sm.add_constant(problem.X, has_constant="add")
    options = {"offset": problem.offset, "var_weights": problem.weights}

    def fit(tolerance: float) -> Answer:
        model = sm.GLM(problem.y, design, family=laws[problem.family], **options)
        found = model.fit(tol=tolerance, tol_criterion="params", maxiter=MOST)
        return Answer(found.params, int(found.fit_history["iteration"]))

    return fit


def statsmodels_logit(problem: Problem) -> Fit:
    """Logit by Newton's method."""
    import statsmodels.api as sm

    design = sm.add_constant(problem.X, has_constant="add")

    def fit(tolerance: float) -> Answer:
        found = sm.Logit(problem.y, design).fit(method="newton", tol=tolerance, maxiter=MOST, disp=0)
        return Answer(found.params, int(found.mle_retvals["iterations"]))

    return fit


_COMPILED: set[tuple[tuple[int, ...], str]] = set()  # of glmax, which also evaluates what it is to compile


def glmax(problem: Problem) -> Fit:
    """IRLS in JAX, compiled beforehand."""
    import glmax

    law = {"bernoulli": glmax.Binomial, "poisson": glmax.Poisson}[problem.family]()
    design, y = jnp.asarray(np.column_stack([np.ones(len(problem.y)), problem.X])), jnp.asarray(problem.y)

    def fit(tolerance: float, most: int = MOST) -> Answer:
        # Arrays, so that another tolerance is no other program.
        fitter = glmax.IRLSFitter(tol=jnp.asarray(tolerance), max_iter=jnp.asarray(most))
        found = glmax.fit(law, design, y, fitter=fitter).result
        return Answer(np.asarray(found.params.beta), int(found.num_iters))

    compiled = design.shape, problem.family
    if compiled not in _COMPILED:
        _COMPILED.add(compiled)
        fit(CHANGES[0], most=0)
    return fit


BINARY, ALL = ("bernoulli",), ("bernoulli", *COUNTS)
FIELD = (
    Contestant("jaxml", "jaxml", (*ALL, "normal", "softmax"), ours, OURS),
    Contestant("jaxml, default", "jaxml", (*ALL, "normal", "softmax"), ours, (None,)),
    Contestant("scikit-learn newton-cholesky", "sklearn", (*ALL, "softmax"), sklearn("newton-cholesky")),
    Contestant("scikit-learn lbfgs", "sklearn", (*ALL, "softmax"), sklearn("lbfgs")),
    Contestant("glum", "glum", ALL, glum),
    Contestant("scikit-learn newton-cg", "sklearn", (*BINARY, "softmax"), sklearn("newton-cg")),
    Contestant("glmax", "glmax", ("bernoulli", "poisson"), glmax, CHANGES, weighted=False, penalised=False),
    Contestant("statsmodels GLM", "statsmodels", ALL, statsmodels_glm, most=DENSE, penalised=False),
    Contestant("statsmodels Logit", "statsmodels", BINARY, statsmodels_logit, most=DENSE, penalised=False),
)
