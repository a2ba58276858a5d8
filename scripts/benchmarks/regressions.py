"""Races of generalised linear models: all who can fit a problem, at the same gradient."""

import numpy as np

from benchmarks import contestants, limit, problems, real
from benchmarks.measure import contest
from benchmarks.problems import Problem, judge
from benchmarks.table import UNTIL, Answer, Entrant, Goal, Options, Outcome, Workload, best_peer, best_ratio


def race(workload: Workload, options: Options) -> Outcome:
    """A made problem."""
    return compete(workload, problems.make(workload.sized(options)), options)


def real_data(workload: Workload, options: Options) -> Outcome:
    """A real table; a test takes some of its rows."""
    problem = real.TABLES[workload.more["table"]]()
    if options.quick:
        some = np.random.default_rng(0).permutation(len(problem.y))[:2000]
        problem = problem._replace(X=np.ascontiguousarray(problem.X[some][:, :4]), y=problem.y[some])
    found = compete(workload, problem, options)
    return found._replace(remarks=[f"{len(problem.y):,} rows, {problem.X.shape[1]} columns", *found.remarks])


def compete(workload: Workload, problem: Problem, options: Options) -> Outcome:
    """All who can fit the problem, and the best peer's time beside jaxml's."""
    field, remarks = contestants.entrants(problem)
    entries = contest(field, judge(problem), UNTIL, options, workload.goal)
    found = Outcome(entries, best_ratio(workload.title, entries, workload.goal), [*remarks, *best_peer(entries)])
    if "passes" not in workload.more or entries[0].tolerance is None:
        return found
    ours = field[0]._replace(tolerances=(entries[0].tolerance,))
    read = limit.passes(workload, problem, [ours], options)
    return found._replace(goals=[*found.goals, *read.goals], remarks=[*found.remarks, *read.remarks])


def linear(workload: Workload, options: Options) -> Outcome:
    """Least squares: the error of the coefficients, by a solution refined in extended precision."""
    problem = problems.make(workload.sized(options))
    exact = _refined(problem)
    error = lambda theta: float(np.abs(theta - exact).max() / np.abs(exact).max())
    entries = contest(_least_squares(problem), error, 1e-9, options, workload.goal)
    peers = [e for e in entries if e.ours or not e.name.startswith("SciPy")]
    goals: list[Goal] = []
    for ours in ("jaxml", "jaxml, linear_regression"):
        goals += best_ratio(workload.title, peers, workload.goal, ours)
    return Outcome(entries, goals, measure="error")


def _least_squares(problem: Problem) -> list[Entrant]:
    """The column of ones of the peers that need one is made beforehand."""
    import jax.numpy as jnp
    import scipy.linalg
    from sklearn.linear_model import LinearRegression

    from jaxml import families, glm

    X, y = jnp.asarray(problem.X), jnp.asarray(problem.y)
    design = np.column_stack([np.ones(len(problem.y)), problem.X])

    def together(bias: object, weight: object) -> Answer:
        return Answer(np.concatenate([np.asarray(bias)[None], np.asarray(weight)]))

    def fitted(found: glm.Fit) -> Answer:
        return together(found.params.bias, found.params.weight)

    def sklearn(tolerance: object) -> Answer:
        model = LinearRegression().fit(problem.X, problem.y)
        return together(model.intercept_, model.coef_)

    return [
        Entrant("jaxml", lambda _: fitted(glm.fit(families.Normal(), X, y)), compiles=True),
        Entrant("jaxml, linear_regression", lambda _: fitted(glm.linear_regression(X, y)), compiles=True),
        Entrant("scikit-learn LinearRegression", sklearn),
        Entrant("NumPy lstsq", lambda _: Answer(np.linalg.lstsq(design, problem.y)[0])),
        Entrant("SciPy lstsq", lambda _: Answer(scipy.linalg.lstsq(design, problem.y)[0])),
    ]


def _refined(problem: Problem) -> np.ndarray:
    """Normal equations, corrected twice by residuals in extended precision."""
    design = np.column_stack([np.ones(len(problem.y)), problem.X])
    normal, theta = design.T @ design, np.zeros(design.shape[1], np.longdouble)
    for _ in range(3):
        slope = np.zeros(len(theta), np.longdouble)
        for start in range(0, len(design), 50_000):
            rows = design[start : start + 50_000].astype(np.longdouble)
            slope += (problem.y[start : start + 50_000] - rows @ theta) @ rows
        theta += np.linalg.solve(normal, slope.astype(float))
    return theta.astype(float)
