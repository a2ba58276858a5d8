"""How good a fit is on rows, beside the model of an intercept alone."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxml import families, glm
from jaxml.rows import Rows
from training.problem import Problem

Scores = dict[str, dict[str, float]]


class Evaluation(NamedTuple):
    """A fit on rows.

    Attributes:
        y: what was observed, (n,) or (n, k); proportions for the binomial family.
        mean: what was predicted, on the same scale; for classes probabilities, (n, K), or (n,) of the second.
        weights: of the rows, None where each counts once.
        log_likelihood: mean per unit of weight; None for a model that has none.
        deviance: summed; None for a model or a family of two parameters that has none.
    """

    y: np.ndarray
    mean: np.ndarray
    weights: Any
    log_likelihood: float | None
    deviance: float | None


def evaluate(fit: Any, problem: Problem, rows: Rows) -> Evaluation:
    """Compare the predictions of a fit with what was observed."""
    trials = _trials(problem, rows)
    plain = dataclasses.replace(fit, trace=None)  # one program for the model and the one to compare it with
    mean, log_likelihood, deviance = jax.device_get(_evaluate(plain, rows, trials))
    pair = isinstance(rows.y, tuple)
    y = rows.y[0] / rows.y[1] if pair else rows.y
    return Evaluation(
        np.asarray(y), mean / trials if pair else mean, rows.weights, float(log_likelihood), _total(deviance, rows)
    )


def evaluate_natural(family: Any, eta: Any, rows: Rows) -> Evaluation:
    """Compare natural parameters, whatever predicted them, with what was observed.

    Without a log-likelihood where the dispersion is not known, which these models do not estimate.
    """
    mean, each, deviance = jax.device_get(_judge(family, eta, rows.y))
    known = not family.estimates_dispersion
    total = float(np.average(each, weights=rows.weights)) if known else None
    return Evaluation(np.asarray(rows.y), np.asarray(mean), rows.weights, total, _total(deviance, rows))


def _total(deviance: Any, rows: Rows) -> float | None:
    return None if deviance is None else float(np.sum(deviance * (1 if rows.weights is None else rows.weights)))


def compare(model: Evaluation, null: Evaluation, problem: Problem) -> Scores:
    """{score: {'model': value, 'mean only': value}}, those that make sense for the family."""
    both = {"model": model, "mean only": null}
    scores: Scores = {}
    if model.log_likelihood is not None:
        scores["log-likelihood per row"] = {who: each.log_likelihood or 0.0 for who, each in both.items()}
    if problem.classes is None:
        scores["RMSE"] = {who: float(np.sqrt(_average((e.mean - e.y) ** 2, e.weights))) for who, e in both.items()}
    else:
        scores["accuracy"] = {who: _average(predicted_class(e.mean) == e.y, e.weights) for who, e in both.items()}
    if model.deviance is not None and null.deviance:
        scores["deviance explained"] = {"model": 1 - model.deviance / null.deviance, "mean only": 0.0}
    return scores


def predicted_class(mean: np.ndarray) -> np.ndarray:
    """The most probable class, from probabilities (n, K) or from those of class 1 (n,)."""
    return (mean > 0.5).astype(int) if mean.ndim == 1 else mean.argmax(axis=1)


@jax.jit
def _evaluate(fit: Any, rows: Rows, trials: Any) -> tuple[Any, Any, Any]:
    mean = glm.predict(fit, rows.X, offset=rows.offset, trials=trials)
    score = glm.score(fit, rows.X, rows.y, weights=rows.weights, offset=rows.offset)
    eta = glm.predict_natural(fit, rows.X, offset=rows.offset)
    try:
        return mean, score, families.deviance(fit.family, eta, rows.y)
    except TypeError:  # the family has none
        return mean, score, None


@jax.jit
def _judge(family: Any, eta: Any, y: Any) -> tuple[Any, Any, Any]:
    mean, each = families.expected_value(family, eta), families.log_prob(family, eta, y)
    try:
        return mean, each, families.deviance(family, eta, y)
    except TypeError:  # the family has none
        return mean, each, None


def _trials(problem: Problem, rows: Rows) -> Any:
    if not problem.family.has_trials:
        return None
    return rows.y[1] if isinstance(rows.y, tuple) else np.sum(rows.y, axis=1)


def _average(values: np.ndarray, weights: Any) -> float:
    rows = np.asarray(values, float).reshape(len(values), -1).mean(axis=1)
    return float(np.average(rows, weights=weights))
