"""The table of a fit that people know: coefficients, errors, tests, intervals, and measures of the whole. For the host."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxml.compiling import program
from jaxml.families.base import Family
from jaxml.glm.covariance import Inference, compute, of_inference
from jaxml.glm.goodness import GoodnessOfFit, goodness_of_fit
from jaxml.glm.inference import CoefficientTests, coefficient_tests, standard_errors
from jaxml.glm.intervals import confidence_intervals, has_profile, interval_method
from jaxml.glm.predict import contrast
from jaxml.glm.profile import MOST_ROWS, limits_in, settled_params
from jaxml.glm.rank import centred_columns
from jaxml.links import is_canonical
from jaxml.predictors import Linear
from jaxml.rows import block_rows
from jaxml.status import Status

INTERCEPT = "(intercept)"
_ERRORS = {"model": "from the {} information", "cluster": "robust to dependence within clusters"}


@dataclass(frozen=True)
class Summary:
    """What :func:`summary` returns; ``print`` shows the table.

    Attributes:
        names: of the rows.
        coefficient, error, statistic, p_value, low, high: (rows,) numpy arrays; NaN where not estimable, p-values also with a penalty.
            Of separated data the coefficient is inf or -inf where that is its limit, and NaN where it may run off either way.
        level: of the intervals low to high.
        goodness: :class:`jaxml.glm.GoodnessOfFit`, of floats.
        facts: what stands above and below the table, by name: numbers and words.
    """

    names: list[str]
    coefficient: np.ndarray
    error: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    goodness: GoodnessOfFit
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, dict[str, float]]:
        """{name: {column: value}}."""
        columns = self._columns()
        return {name: {key: float(a[i]) for key, a in columns.items()} for i, name in enumerate(self.names)}

    def to_pandas(self) -> Any:
        """The rows as a data frame.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("to_pandas needs pandas: pip install pandas, or use to_dict()") from None
        return pandas.DataFrame(self._columns(), index=pandas.Index(self.names, name="term"))

    def _columns(self) -> dict[str, np.ndarray]:
        names = "coefficient", "error", "statistic", "p_value", "low", "high"
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        return "\n".join([*self._head(), "", *self._table(), "", *self._foot()])

    def _head(self) -> list[str]:
        f = self.facts
        return [
            f"Generalised linear model: {f['family']}, link {f['link']}",
            f"{_number(f['observations'])} observations, {_number(f['freedom'])} residual degrees of freedom, rank {f['rank']}",
            f"Status: {f['status']}",
            f"Errors: {f['errors']}",
            *(["Intervals: of the profile likelihood"] if f["intervals"] == "profile" else []),
        ]

    def _table(self) -> list[str]:
        letter, tail = self.facts["test"], (1 - self.level) / 2
        penalized = self.facts["penalized"]
        head = [
            "",
            "coefficient",
            "error",
            *([] if penalized else [letter, f"P>|{letter}|"]),
            f"{tail:.4g}",
            f"{1 - tail:.4g}",
        ]
        lines = [head]
        for i, name in enumerate(self.names):
            empty = "" if self.facts["estimable"][i] else "not estimable"
            empty = "reference" if self.error[i] == self.coefficient[i] == 0 else empty
            if empty:
                lines.append([name, empty] + [""] * (len(head) - 2))
                continue
            middle = [] if penalized else [f"{self.statistic[i]:.3f}", _p_value(self.p_value[i])]
            ends = [_number(self.low[i]), _number(self.high[i])]
            lines.append([name, _number(self.coefficient[i]), _number(self.error[i]), *middle, *ends])
        widths = [max(len(line[j]) for line in lines) for j in range(len(head))]
        text = [
            "  ".join(
                cell.ljust(w) if j == 0 else cell.rjust(w) for j, (cell, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return [text[0], "-" * max(map(len, text)), *text[1:]]

    def _foot(self) -> list[str]:
        g, f = self.goodness, self.facts
        lines = []
        if g.deviance is not None:
            share = "" if not np.isfinite(g.explained_deviance) else f", {100 * g.explained_deviance:.1f} % explained"
            lines.append(f"Deviance {_number(g.deviance)}, of the null model {_number(g.null_deviance)}{share}")
            lines.append(f"Pearson's statistic {_number(g.pearson)}, per degree of freedom {_number(g.overdispersion)}")
        if f["dispersion"] is not None:
            lines.append(f"Dispersion {_number(f['dispersion'])}, {'estimated' if f['test'] == 't' else 'known'}")
        if g.log_likelihood is not None:
            lines.append(f"Log-likelihood {_number(g.log_likelihood)}, AIC {_number(g.aic)}, BIC {_number(g.bic)}")
        lines.append(f"Condition number of the columns, centred and of unit length: {f['condition']:.3g}")
        return lines


@of_inference
def summary(
    inference: Inference,
    *,
    names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    level: float = 0.95,
    intervals: str | None = None,
) -> Summary:
    """The table of a fit, to print or to take apart.

    Args:
        inference: from :func:`jaxml.glm.infer`, or of :func:`jaxml.glm.contrast`.
        names: d names of the columns of X; by default x0, x1, ...
        outputs: k names of the classes, or of the linear predictors, where there are several; by default 0, 1, ...
        level: of the confidence intervals.
        intervals: 'wald' or 'profile', see :func:`jaxml.glm.confidence_intervals`; None: 'profile' with Firth's penalty and where the
            data are separated, else 'wald'.

    Returns:
        :class:`Summary`. Of separated data of up to 20,000 rows, coefficients that have no finite value are inf or -inf, and the
        others and their errors are those of the limit (Geyer 2009).

    Raises:
        ValueError: a wrong number of names; called inside jit or with a batch of fits.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> print(glm.summary(glm.infer(glm.fit(families.Poisson(), X, y), X, y), names=["dose"]))
        Generalised linear model: Poisson(), link log
        4 observations, 2 residual degrees of freedom, rank 2
        Status: converged: the distance to the optimum is below the tolerance.
        Errors: from the expected information
        <BLANKLINE>
                     coefficient   error      z  P>|z|   0.025  0.975
        -------------------------------------------------------------
        dose              0.7061  0.2555  2.764  0.006  0.2054  1.207
        (intercept)       0.1529  0.6278  0.243  0.808  -1.078  1.383
        <BLANKLINE>
        Deviance 0.4195, of the null model 9.677, 95.7 % explained
        Pearson's statistic 0.4374, per degree of freedom 0.2187
        Log-likelihood -6.372, AIC 16.74, BIC 15.52
        Condition number of the columns, centred and of unit length: 1
    """
    fit = inference.fit
    if any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(inference)) or jnp.ndim(fit.status):
        raise ValueError(
            "summary is for one fit on the host; inside jit and for batches use the functions that it calls"
        )
    good = jax.tree.map(float, goodness_of_fit(inference))
    separated = int(fit.status) == Status.SEPARATED and inference.rows.n <= MOST_ROWS
    if intervals is None and separated and has_profile(inference):
        intervals = "profile"
    intervals = interval_method(inference, intervals)
    low, high = confidence_intervals(inference, level=level, method=intervals)
    at = _in_the_limit(inference) if separated else inference
    params, errors, tests = at.params, standard_errors(at), coefficient_tests(at)
    if separated:
        limits = inference.unravel(jnp.asarray(limits_in(inference, np.eye(len(inference.root)))))
        where_infinite = lambda there, a: jax.tree.map(lambda t, b, c: jnp.where(t != 0, b, c), limits, there, a)
        spread, unknown = (jax.tree.map(lambda t: jnp.full_like(t, a), limits) for a in (jnp.inf, jnp.nan))  # noqa: B023
        params, errors = where_infinite(limits, params), where_infinite(spread, errors)
        tests = CoefficientTests(*(where_infinite(unknown, a) for a in tests))
        if intervals == "wald":
            low, high = where_infinite(jax.tree.map(jnp.negative, spread), low), where_infinite(spread, high)
    finite = np.isfinite(float(inference.freedom))
    facts = {
        "family": _law(fit.family),
        "link": fit.link.name,
        "status": Status(int(fit.status)).message,
        "observations": float(fit.observations),
        "freedom": good.freedom,
        "rank": int(fit.rank),
        "test": "t" if finite else "z",
        "penalized": bool(inference.penalized),
        "errors": _how(inference),
        "intervals": intervals,
        "dispersion": None if fit.dispersion is None else float(fit.dispersion),
        "condition": float(condition_number(inference)),
        "estimable": _by_output(inference.estimable),
    }
    return Summary(
        names=_names(fit.params, names, outputs),
        coefficient=_by_output(params),
        error=_by_output(errors),
        statistic=_by_output(tests.statistic),
        p_value=_by_output(tests.p_value),
        low=_by_output(low),
        high=_by_output(high),
        level=float(level),
        goodness=good,
        facts=facts,
    )


@of_inference
def condition_number(inference: Inference) -> Array:
    """Largest over least singular value of the columns, centred if there is an intercept, and scaled to unit length.

    Some 30 and more: the columns nearly depend on each other, and their coefficients are hard to tell apart.

    Args:
        inference: from :func:`jaxml.glm.infer`.

    Returns:
        () at least 1, inf for dependent columns; rows of weight 0 do not count, and other weights are not looked at.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0, 0.0], [1.0, 1.1], [2.0, 2.0], [3.0, 3.0]]), jnp.array([1, 2, 6, 9])
        >>> print(f"{glm.condition_number(glm.infer(glm.fit(families.Poisson(), X, y), X, y)):.0f}")
        53

    Source: Belsley, Kuh & Welsch (1980), chapter 3.
    """
    return _condition_number(inference)


def _in_the_limit(inference: Inference) -> Inference:
    """For separated data the inference where all that has a limit is next to it; with clusters, which are not kept, as it is."""
    fit, rows, turn, kind = inference.fit, inference.rows, inference.turn, inference.kind
    if kind == "cluster":
        return inference
    there, how = replace(fit, params=settled_params(inference)), inference.information
    moved = compute(there, rows, None, kind=kind, information=how, block=block_rows(rows.X)).inference
    if turn is None:
        return moved
    k = fit.family.natural_size
    reference = int(np.flatnonzero(~np.asarray(turn[:k, :k]).any(axis=1))[0])
    return contrast(moved, reference)


# -- words -----------------------------------------------------------------------------------------------------------
def _by_output(params: Linear) -> np.ndarray:
    """Coefficients one output after another, the bias last of each."""
    weight = np.asarray(params.weight)
    table = weight if params.bias is None else np.concatenate([weight, np.asarray(params.bias)[None]])
    return table.T.reshape(-1) if table.dtype == bool else table.T.reshape(-1).astype(float)


def _names(params: Linear, names: Sequence[str] | None, outputs: Sequence[str] | None) -> list[str]:
    d = len(params.weight)
    names = [f"x{j}" for j in range(d)] if names is None else [str(name) for name in names]
    if len(names) != d:
        raise ValueError(f"names has {len(names)} entries, expected {d}, one for each column of X")
    names = names if params.bias is None else [*names, INTERCEPT]
    if params.weight.ndim == 1:
        if outputs is not None:
            raise ValueError("outputs= is for fits of several linear predictors")
        return names
    k = params.weight.shape[1]
    outputs = [str(j) for j in range(k)] if outputs is None else [str(name) for name in outputs]
    if len(outputs) != k:
        raise ValueError(f"outputs has {len(outputs)} entries, expected {k}")
    return [f"{output}: {name}" for output in outputs for name in names]


def _law(family: Family) -> str:
    """The family with numbers as short as those of the table."""
    short = lambda a: _number(a) if isinstance(a, Array) and a.ndim == 0 else repr(a)
    shown = ", ".join(f"{field.name}={short(getattr(family, field.name))}" for field in fields(family))
    return f"{type(family).__name__}({shown})"


def _how(inference: Inference) -> str:
    if inference.kind not in _ERRORS:
        words = f"robust, {inference.kind}"
    else:
        words = _ERRORS[inference.kind].format(inference.information)
    if inference.fit.firth:
        canonical = is_canonical(inference.fit.family, inference.fit.link)
        words += ", at the estimate with " + ("Firth's bias-reducing" if canonical else "Jeffreys'") + " penalty"
    return words + (", deviations of a posterior: the fit has a penalty" if bool(inference.penalized) else "")


def _number(value: Any) -> str:
    return f"{float(value):.4g}" if abs(float(value)) < 1e4 or not np.isfinite(value) else f"{float(value):.6g}"


def _p_value(p: float) -> str:
    return "<0.001" if p < 1e-3 else f"{p:.3f}"


@program()
def _condition_number(inference: Inference) -> Array:
    rows = inference.rows
    x = jnp.where(rows.on[:, None], rows.X, 0)
    if not x.shape[1]:
        return jnp.ones((), x.dtype)
    x = centred_columns(x, rows.on, inference.center, inference.params.bias is not None)
    length = jnp.linalg.norm(x, axis=0)
    values = jnp.linalg.svd(jnp.linalg.qr(x / jnp.where(length > 0, length, 1), mode="r"), compute_uv=False)
    least = values[-1] if x.shape[0] >= x.shape[1] else jnp.zeros((), x.dtype)
    noise = max(x.shape) * jnp.finfo(x.dtype).eps * values[0]
    return jnp.where(least > noise, values[0] / jnp.where(least > noise, least, 1), jnp.inf)
