"""What a fit of a generalised linear model returns."""

import jax.numpy as jnp
from jax import Array

from jaxml.families.base import Family
from jaxml.links import Link
from jaxml.optimize import Trace
from jaxml.predictors import Linear
from jaxml.records import record, static_field


@record
class Fit:
    """A fitted generalised linear model; every field that is not static is an array, so vmap gives a batch of fits.

    Shapes are those of one fit. Arrays are scalars of the dtype of the computation where nothing else is said; status,
    rank, steps, evaluations and curvatures are int32.

    Attributes:
        params: Linear(weight, bias): weight (d,) or (d, k), bias () or (k,), None without an intercept.
        status: a code of :class:`jaxml.Status`; ``jaxml.report(fit)`` says it in words.
        rank: rank of X with the intercept; below the number of columns the answer is the one of minimum norm.
        steps: accepted steps of the solver.
        evaluations: evaluations of the objective, those of a search that was given up for a surer one included; of a large fit the
            first few are of a subsample.
        curvatures: at how many of them the Hessian was computed. Newton's method with reuse weighs its cost, in evaluations, against
            the steps it saves: see :attr:`jaxml.glm.objective.GLMObjective.costs`. ``solver=`` has another method.
        value: the objective (per unit of weight, without log b) at the end.
        gradient_norm: max_j |g_j| / (sum w rms(x_j)) at the last evaluated point.
        decrement: Newton decrement there: distance to the optimum in standard errors at dispersion 1 (first-order solvers with
            more than 1,000 parameters: the solver's own measure).
        log_likelihood: maximised log-likelihood (at the maximum-likelihood dispersion where it is estimated; where b = 1 as the last
            evaluation tells it, to a part of decrement^2); None for sampling weights and for check='hull'.
        dispersion: Pearson statistic / (n - rank) where it is estimated, the known one elsewhere, None for a family without.
        observations: n, the sum of frequency weights or the number of rows with positive weight.
        l2: Linear, the penalty on each of the params.
        trace: objective and gradient norm by step (by epoch for minibatches), or None.
        family: as given.
        link: static.
        weight_kind: static.
        offset: static, whether the fit had an offset, which ``predict`` then asks for.
        firth: static, whether Jeffreys' penalty was added; the log_likelihood is without it.
        quasi: static, whether y was only asked to lie in the convex hull of the support (check='hull').
        shapes: static, how many parameters of the family were estimated with the coefficients, as r of a negative binomial.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import Status, families, glm
        >>> fit = glm.fit(families.Bernoulli(), jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 1, 0, 1]))
        >>> Status(int(fit.status)).name, int(fit.rank), float(fit.observations), fit.dispersion
        ('CONVERGED', 2, 4.0, None)
    """

    params: Linear
    status: Array
    rank: Array
    steps: Array
    evaluations: Array
    curvatures: Array
    value: Array
    gradient_norm: Array
    decrement: Array
    log_likelihood: Array | None
    dispersion: Array | None
    observations: Array
    l2: Linear
    trace: Trace | None
    family: Family
    link: Link = static_field()
    weight_kind: str = static_field()
    offset: bool = static_field()
    quasi: bool = static_field(default=False)
    firth: bool = static_field(default=False)
    shapes: int = static_field(default=0)

    @property
    def notes(self) -> list[str]:
        """What ``jaxml.report`` adds to the status of a single fit."""
        if self.dispersion is None or not (jnp.isnan(self.dispersion) & (self.observations <= self.rank)):
            return []
        return ["Saturated: as many parameters as observations, so that the dispersion is not defined (NaN)."]
