"""Logistic regression side by side: jaxml, scikit-learn and statsmodels on the same arrays at the same gradient.

    python scripts/speed.py                       # 100,000 x 50
    python scripts/speed.py --rows 1000000 --columns 20 --repeats 9

Every contestant is driven until max_j |gradient_j| of the mean loss, computed here in NumPy, is at most 1e-8 (the loosest
tolerance of its own that gets there), in one process, after a first call that is not timed. Repetitions alternate between
the contestants, so that a slow moment of the machine hits all of them; the table shows medians and the median of the ratios.
Needs the `test` extra.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from racing import race

jax.config.update("jax_enable_x64", True)

GOAL = 1e-8
Coefficients = tuple[np.ndarray, float]


class Contestant(NamedTuple):
    """A way to fit: ``fit(tol)`` returns weight and bias; ``tolerances`` from loose to tight."""

    name: str
    fit: Callable[[float], Coefficients]
    tolerances: tuple[float, ...]


def make_data(rows: int, columns: int, condition: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A design with the given condition number and labels drawn from a logistic model."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((columns, columns)))
    X = (rng.standard_normal((rows, columns)) * np.logspace(0, -np.log10(condition), columns)) @ rotation
    X /= np.sqrt(np.mean(X**2))
    eta = X @ rng.standard_normal(columns) / np.sqrt(columns) + 0.2
    return X, (rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(float)


def gradient_norm(X: np.ndarray, y: np.ndarray, fitted: Coefficients) -> float:
    """max_j |gradient_j| of the mean loss, the bias included."""
    weight, bias = fitted
    residual = 1 / (1 + np.exp(-(X @ weight + bias))) - y
    return float(max(np.abs(residual @ X / len(y)).max(), abs(residual.mean())))


def contestants(X: np.ndarray, y: np.ndarray, statsmodels_too: bool) -> list[Contestant]:
    """jaxml first, then every peer that can do it."""
    import jax.numpy as jnp
    from sklearn.linear_model import LogisticRegression

    from jaxml import families, glm, optimize

    device_X, device_y = jnp.asarray(X), jnp.asarray(y)

    def ours(tol: float) -> Coefficients:
        fit = glm.fit(families.Bernoulli(), device_X, device_y, solver=optimize.Newton(tol=tol))
        return np.asarray(fit.params.weight), float(fit.params.bias)

    def sklearn(solver: str) -> Callable[[float], Coefficients]:
        def fit(tol: float) -> Coefficients:
            model = LogisticRegression(C=np.inf, solver=solver, tol=tol, max_iter=10_000).fit(X, y)
            return model.coef_[0], float(model.intercept_[0])

        return fit

    steps = (1e-4, 1e-6, 1e-7, 1e-8, 3e-9, 1e-9, 1e-10, 1e-12)
    # In standard errors of the coefficients, so looser numbers than those of the peers for the same gradient.
    rows = [
        Contestant("jaxml", ours, (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)),
        Contestant("jaxml, default tolerance", ours, (1e-8,)),
    ]
    rows += [Contestant(f"scikit-learn {s}", sklearn(s), steps) for s in ("lbfgs", "newton-cholesky", "newton-cg")]
    if statsmodels_too:
        import statsmodels.api as sm

        design = sm.add_constant(X)

        def irls(tol: float) -> Coefficients:
            params = sm.GLM(y, design, family=sm.families.Binomial()).fit(tol=tol, tol_criterion="params").params
            return params[1:], float(params[0])

        def logit(tol: float) -> Coefficients:
            params = sm.Logit(y, design).fit(method="newton", tol=tol, disp=0).params
            return params[1:], float(params[0])

        rows += [Contestant("statsmodels GLM", irls, steps), Contestant("statsmodels Logit", logit, steps)]
    return rows


def reach(contestant: Contestant, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The loosest tolerance that reaches the goal, and the gradient it reaches; the tightest if none does."""
    norm, tol = np.inf, 0.0
    for tol in contestant.tolerances:
        norm = gradient_norm(X, y, contestant.fit(tol))
        if norm <= GOAL:
            break
    return tol, norm


def main(arguments: list[str] | None = None) -> None:
    """Run the race and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--condition", type=float, default=1.0, help="condition number of the design")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-statsmodels", action="store_true")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    X, y = make_data(options.rows, options.columns, options.condition, options.seed)
    field = contestants(X, y, not options.without_statsmodels)
    reached = [reach(c, X, y) for c in field]
    times = race([partial(c.fit, tol) for c, (tol, _) in zip(field, reached, strict=True)], options.repeats)
    size = f"{options.rows:,} x {options.columns}"
    print(f"logistic {size}, condition {options.condition:g}, {options.repeats} repetitions, after a first call")
    print(f"{'':28}{'median s':>10}{'range':>20}{'max |gradient|':>16}{'time / jaxml':>14}")
    for j, (contestant, (_, norm)) in enumerate(zip(field, reached, strict=True)):
        ratio = statistics.median(times[:, j] / times[:, 0])
        span = f"{times[:, j].min():.3f} - {times[:, j].max():.3f}"
        late = "" if norm <= GOAL else "  goal not reached"
        print(f"{contestant.name:28}{np.median(times[:, j]):10.3f}{span:>20}{norm:16.1e}{ratio:14.2f}{late}")


if __name__ == "__main__":
    main()
