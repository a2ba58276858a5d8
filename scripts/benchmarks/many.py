"""Many fits in one call: a grid of penalties and folds, and thousands of small data sets with their standard errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import problems
from benchmarks.measure import contest
from benchmarks.problems import Problem, judge
from benchmarks.table import UNTIL, Answer, Entrant, Options, Outcome, Workload, best_ratio
from jaxml import families, glm, optimize

FOLDS = 5
LANES = 50  # small fits side by side on a CPU, for each step of lax.map
OURS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
THEIRS = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)


# -- a grid of penalties and folds -----------------------------------------------------------------------------------
def grid(workload: Workload, options: Options) -> Outcome:
    """Every penalty on every set of folds but one; answers are (folds, penalties, d + 1)."""
    problem = problems.make(workload.sized(options))
    penalties = np.logspace(0, -5, 5 if options.quick else workload.more["penalties"])
    fold = np.arange(len(problem.y)) % FOLDS
    kept = [np.flatnonzero(fold != k) for k in range(FOLDS)]
    parts = [problem._replace(X=np.ascontiguousarray(problem.X[i]), y=problem.y[i]) for i in kept]

    judges = [[judge(part._replace(l2=l2)) for l2 in penalties] for part in parts]

    def gap(found: np.ndarray) -> float:
        fits = (pair for row, path in zip(judges, found, strict=False) for pair in zip(row, path, strict=True))
        return max(stationarity(theta) for stationarity, theta in fits)

    field = [
        Entrant("jaxml", _mapped(problem, fold, penalties), OURS, compiles=True),
        Entrant(
            "scikit-learn CV newton-cholesky", _cross_validated(problem, kept, penalties, "newton-cholesky"), THEIRS
        ),
        Entrant("scikit-learn CV lbfgs", _cross_validated(problem, kept, penalties, "lbfgs"), THEIRS[-1:]),
        Entrant("glum, warm starts", _warm(parts[:1], penalties), THEIRS, scale=FOLDS, note=f"one fold, times {FOLDS}"),
    ]
    entries = contest(field, gap, UNTIL, options, workload.goal)
    return Outcome(entries, best_ratio(workload.title, entries, workload.goal))


def _mapped(problem: Problem, fold: np.ndarray, penalties: np.ndarray) -> Any:
    """One jitted call: a fold is a vector of weights 0 and 1."""
    X, y, l2 = jnp.asarray(problem.X), jnp.asarray(problem.y), jnp.asarray(penalties)
    weights = jnp.asarray(fold != np.arange(FOLDS)[:, None], X.dtype)

    @jax.jit
    def run(tolerance: Any, X: Any, y: Any, weights: Any) -> tuple[Any, Any]:
        def one(weights: Any, l2: Any) -> tuple[Any, Any]:
            solver = optimize.Newton(tol=tolerance)
            fit = glm.fit(families.Bernoulli(), X, y, weights=weights, l2=l2, solver=solver, check=False)
            return jnp.append(fit.params.bias, fit.params.weight), fit.evaluations

        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(weights, l2)

    def fit(tolerance: float) -> Answer:
        theta, passes = jax.block_until_ready(run(tolerance, X, y, weights))
        return Answer(np.asarray(theta), int(passes.max()))

    return fit


def _cross_validated(problem: Problem, kept: list[np.ndarray], penalties: np.ndarray, solver: str) -> Any:
    """The peer's own loop, without a last fit to all rows; its C is 1 / (l2 n)."""
    from sklearn.linear_model import LogisticRegressionCV

    every = np.arange(len(problem.y))
    splits = [(rows, np.setdiff1d(every, rows)) for rows in kept]
    inverse = 1 / (penalties * len(kept[0]))

    def fit(tolerance: float) -> Answer:
        options = {"scoring": "accuracy", "refit": False, "l1_ratios": (0,), "use_legacy_attributes": True}
        model = LogisticRegressionCV(Cs=inverse, cv=splits, solver=solver, tol=tolerance, max_iter=1000, **options)
        paths = model.fit(problem.X, problem.y).coefs_paths_[1.0]
        paths = paths.reshape(FOLDS, len(penalties), -1)
        return Answer(np.concatenate([paths[..., -1:], paths[..., :-1]], axis=-1), int(model.n_iter_.max()))

    return fit


def _warm(parts: list[Problem], penalties: np.ndarray) -> Any:
    return lambda tolerance: Answer(np.stack([_glum_path(part, penalties, tolerance) for part in parts]))


def _glum_path(part: Problem, penalties: np.ndarray, tolerance: float) -> np.ndarray:
    from glum import GeneralizedLinearRegressor

    model = GeneralizedLinearRegressor(family="binomial", solver="irls-ls", gradient_tol=tolerance, warm_start=True)
    found = []
    for l2 in penalties:
        model.set_params(alpha=l2).fit(part.X, part.y)
        found.append(np.append(model.intercept_, model.coef_))
    return np.stack(found)


# -- independent data sets -------------------------------------------------------------------------------------------
def independent(workload: Workload, options: Options) -> Outcome:
    """Logistic fits with standard errors; peers do the first of them in a loop, and their times are scaled to all."""
    fits = 20 if options.quick else workload.more["fits"]
    some = min(fits, workload.more["some"])
    size = workload.sized(options)
    all_rows = problems.make(size._replace(rows=size.rows * fits))
    X, y = all_rows.X.reshape(fits, size.rows, -1), all_rows.y.reshape(fits, size.rows)
    judges = [judge(Problem("bernoulli", A, b)) for A, b in zip(X, y, strict=True)]
    gap = lambda theta: max(stationarity(t) for stationarity, t in zip(judges, theta, strict=False))
    share, note = fits / some, f"{some} fits, times {fits / some:g}"
    field = [Entrant("jaxml", _lanes(X, y), OURS, compiles=True)]
    for name, one in (("statsmodels GLM", _statsmodels), ("scikit-learn newton-cholesky", _sklearn), ("glum", _glum)):
        field.append(Entrant(name, _loop(one, X[:some], y[:some]), THEIRS, scale=share, note=note))
    entries = contest(field, gap, UNTIL, options, workload.goal)
    return Outcome(entries, best_ratio(workload.title, entries, workload.goal), [f"peers: {note}"])


def _lanes(X: np.ndarray, y: np.ndarray) -> Any:
    data = jnp.asarray(X), jnp.asarray(y)

    @jax.jit
    def run(tolerance: Any, X: Any, y: Any) -> tuple[Any, Any, Any]:
        def one(pair: Any) -> tuple[Any, Any, Any]:
            fit = glm.fit(families.Bernoulli(), *pair, solver=optimize.Newton(tol=tolerance), check=False)
            errors = glm.standard_errors(glm.infer(fit, *pair, check=False))
            return jnp.append(fit.params.bias, fit.params.weight), errors, fit.evaluations

        return jax.lax.map(one, (X, y), batch_size=LANES if jax.default_backend() == "cpu" else len(X))

    def fit(tolerance: float) -> Answer:
        theta, _, passes = jax.block_until_ready(run(tolerance, *data))
        return Answer(np.asarray(theta), int(passes.max()))

    return fit


def _loop(one: Any, X: np.ndarray, y: np.ndarray) -> Any:
    one(X[0], y[0], THEIRS[0])  # imported

    def fit(tolerance: float) -> Answer:
        return Answer(np.stack([one(A, b, tolerance)[0] for A, b in zip(X, y, strict=True)]))

    return fit


def _statsmodels(X: np.ndarray, y: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    import statsmodels.api as sm

    found = sm.GLM(y, sm.add_constant(X), family=sm.families.Binomial()).fit(tol=tolerance, tol_criterion="params")
    return found.params, found.bse


def _sklearn(X: np.ndarray, y: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=tolerance).fit(X, y)
    return _with_errors(X, np.append(found.intercept_, found.coef_[0]))


def _glum(X: np.ndarray, y: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    from glum import GeneralizedLinearRegressor

    found = GeneralizedLinearRegressor(alpha=0, family="binomial", solver="irls-ls", gradient_tol=tolerance).fit(X, y)
    return _with_errors(X, np.append(found.intercept_, found.coef_))


def _with_errors(X: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By the inverse information, in NumPy."""
    design = np.column_stack([np.ones(len(X)), X])
    mean = 1 / (1 + np.exp(-design @ theta))
    information = (design * (mean * (1 - mean))[:, None]).T @ design
    return theta, np.sqrt(np.diag(np.linalg.inv(information)))
