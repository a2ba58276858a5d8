r"""How sure a fit is of its coefficients: their covariance, standard errors, tests and intervals.

    information      I = sum_i w_i x_i W_i x_i',  W_i = -d^2 log p / dz^2 at dispersion 1, or its expectation
    by the model     phi (I + N l2 P)^-1
    sandwich         B M B,  B = (I + N l2 P)^-1,  M = sum_i w_i c_i (x_i u_i) (x_i u_i)',  u_i = d log p / dz

All derivatives are those of the one log-likelihood. With a penalty (P on the weight) the first is the covariance of Laplace's
approximation to the posterior. The corrections c of a sandwich, with leverage h and k coefficients:

    HC0  1     HC1  n / (n - k)     HC2  1 / (1 - h)     HC3  1 / (1 - h)^2
    cluster  u summed over each of G clusters first, G / (G - 1) (n - 1) / (n - k); two ways: V_a + V_b - V_(a and b)

For several outputs 1 / (1 - h) becomes the matrix (I - H)^-1 of the row.

Source: McCullagh & Nelder (1989), section 2.5; White (1980); MacKinnon & White (1985); Cameron, Gelbach & Miller (2011).
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml.checks import read_rows, refuse_bad_values
from jaxml.dtypes import to_compute
from jaxml.glm import dispersion
from jaxml.glm.objective import GLMObjective, by_output, curvatures, flat_directions, penalty_table, value_and_slope
from jaxml.glm.rank import design_rank, surely_full_rank
from jaxml.glm.result import Fit
from jaxml.glm.tails import chi_square_tail, f_tail, two_sided, two_sided_quantile
from jaxml.linalg import matmul
from jaxml.optimize.newton import cholesky_root
from jaxml.prediction import read_features, refuse_offset
from jaxml.predictors import Linear
from jaxml.predictors.design import Design
from jaxml.records import record, static_field
from jaxml.rows import Rows, block_rows
from jaxml.status import Status

ROBUST = ("HC0", "HC1", "HC2", "HC3")
COVARIANCES = ("model", *ROBUST, "cluster")
INFORMATION = ("expected", "observed")


@record
class Inference:
    """A fit together with its data and the covariance of its coefficients; made by :func:`infer`, asked by the functions of glm.

    Attributes:
        params: Linear, those of the fit, or log odds after :func:`jaxml.glm.contrast`.
        covariance: (p, p) of the params, weight by rows and then the bias, as ``ravel_pytree`` has them; of the part that the design
            determines.
        null: (p, p), whose columns span the directions of the params that change nothing (zeros where the design has full rank).
        dispersion: () that the covariance by the model is multiplied with; 1 for a family without one.
        freedom: () degrees of freedom of the residuals, n - rank; inf where no dispersion is estimated, so that t is z and F a
            chi-square.
        penalized: () whether the fit had a penalty: then errors are those of a posterior.
        root: (p, p) R with R R' = (I + N l2 P)^-1 for centred columns, without the directions that nothing depends on.
        center: (d,) means of the columns, zeros without an intercept.
        rows: the data, as read.
        fit: the fit.
        kind: static, 'model', 'HC0', 'HC1', 'HC2', 'HC3' or 'cluster'.
        information: static, 'expected' or 'observed'.
    """

    params: Linear
    covariance: Array
    null: Array
    dispersion: Array
    freedom: Array
    penalized: Array
    root: Array
    center: Array
    rows: Rows
    fit: Fit
    kind: str = static_field()
    information: str = static_field()

    @property
    def estimable(self) -> Linear:
        """Linear of bool, which coefficients the design determines."""
        return _unravel(self)(~jnp.any(self.null != 0, axis=1))

    def combination(self, L: Array) -> tuple[Array, Array]:
        """The covariance L V L' of linear combinations (m, p), and which of them the design determines."""
        lost = jnp.abs(matmul(L, self.null)) > jnp.sqrt(jnp.finfo(L.dtype).eps) * matmul(jnp.abs(L), jnp.abs(self.null))
        return matmul(matmul(L, self.covariance), L.T), ~jnp.any(lost, axis=1)


class CoefficientTests(NamedTuple):
    """The hypothesis that a coefficient is 0, for each; Linear of statistic (t or z) and p-value."""

    statistic: Linear
    p_value: Linear


class HypothesisTest(NamedTuple):
    """A test; statistic is F where the dispersion is estimated (``freedom`` finite), else chi-square with ``constraints`` degrees."""

    statistic: Array
    constraints: Array
    freedom: Array
    p_value: Array


def infer(
    fit: Fit,
    X: Any,
    y: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    covariance: str | None = None,
    information: str | None = None,
    clusters: Any = None,
    check: bool = True,
) -> Inference:
    """The covariance of the coefficients of a fit, from the data that it was fitted to.

    Args:
        fit: a fitted model.
        X, y, weights, offset: those of the fit; a fit keeps no data.
        covariance: 'model', the inverse information times the dispersion; 'HC0' to 'HC3', which stay right where the variance is not
            that of the family; 'cluster', where rows of a cluster depend on each other. None: 'cluster' with clusters, 'HC0' for
            sampling weights, else 'model'.
        information: 'expected' or 'observed', the same for a canonical link. None: expected for 'model', observed in a sandwich.
        clusters: (n,) labels, or a pair of them for clusters of two kinds. Inside jit integers.
        check: False: look at no value.

    Returns:
        :class:`Inference`, for :func:`standard_errors` and all other questions.

    Raises:
        ValueError, TypeError, OverflowError: bad input, naming argument, value and place; data that are not those of the fit (values
            only outside jit).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> inference = glm.infer(glm.fit(families.Poisson(), X, y), X, y)
        >>> print(f"{glm.standard_errors(inference).weight[0]:.3f}")
        0.255

    Source: McCullagh & Nelder (1989), section 2.5.
    """
    family = fit.family
    if jnp.ndim(fit.status):
        raise ValueError(
            f"infer takes one fit, this is a batch of {jnp.shape(fit.status)}; use jax.vmap(lambda fit: glm.infer(fit, X, y))"
        )
    kind = _kind(fit, covariance, clusters)
    information = ("expected" if kind == "model" else "observed") if information is None else information
    if information not in INFORMATION:
        raise ValueError(f"information={information!r} is not known; use one of {INFORMATION}")
    refuse_offset(fit, offset)
    rows = read_rows(family, X, y, weights, offset)
    dtype = fit.params.weight.dtype
    read_features(rows.X, len(fit.params.weight), dtype)
    if rows.X.dtype != dtype:
        rows = jax.tree.map(lambda a: to_compute(a, dtype, "X") if jnp.issubdtype(a.dtype, jnp.floating) else a, rows)
    if check:
        refuse_bad_values(family, rows, "hull" if fit.quasi else "support")
    codes = None if kind != "cluster" else _codes(clusters, rows.n)
    inference, distance, _ = compute(fit, rows, codes, kind=kind, information=information, block=block_rows(rows.X))
    if check and not isinstance(distance, jax.core.Tracer):
        _refuse_other_data(inference, distance)
    return inference


def standard_errors(inference: Inference) -> Linear:
    """The square roots of the variances of the coefficients.

    Args:
        inference: from :func:`infer`.

    Returns:
        Linear in the shape of the params; NaN where a coefficient is not estimable or the model is saturated.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1.0, 2.0, 6.0, 9.0])
        >>> print(f"{glm.standard_errors(glm.infer(glm.fit(families.Normal(), X, y), X, y)).weight[0]:.3f}")
        0.424
    """
    errors = _unravel(inference)(jnp.sqrt(jnp.diagonal(inference.covariance)))
    return jax.tree.map(lambda s, known: jnp.where(known, s, jnp.nan), errors, inference.estimable)


def coefficient_tests(inference: Inference) -> CoefficientTests:
    """Wald's test of each coefficient against 0: t with n - rank degrees of freedom where the dispersion is estimated, else z.

    Args:
        inference: from :func:`infer`.

    Returns:
        :class:`CoefficientTests`. With a penalty the p-values are NaN: a coefficient that was drawn to 0 has no test against it.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> tests = glm.coefficient_tests(glm.infer(glm.fit(families.Poisson(), X, y), X, y))
        >>> print(f"z = {tests.statistic.weight[0]:.2f}, p = {tests.p_value.weight[0]:.4f}")
        z = 2.76, p = 0.0057

    Source: Wald (1943).
    """
    return _coefficient_tests(inference)


def confidence_intervals(inference: Inference, *, level: Any = 0.95) -> tuple[Linear, Linear]:
    """Wald's intervals, estimate -+ quantile times standard error.

    Args:
        inference: from :func:`infer`.
        level: () the share of intervals that hold the coefficient, between 0 and 1.

    Returns:
        Lower and upper ends, each a Linear; with a penalty credible intervals of the posterior's approximation.

    Raises:
        ValueError: a level that is no share.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> low, high = glm.confidence_intervals(glm.infer(glm.fit(families.Poisson(), X, y), X, y))
        >>> print(f"{low.weight[0]:.2f} to {high.weight[0]:.2f}")
        0.21 to 1.21
    """
    if not isinstance(level, jax.core.Tracer) and not 0 < float(level) < 1:
        raise ValueError(f"level = {level} is no share between 0 and 1")
    t = two_sided_quantile(jnp.asarray(level, inference.covariance.dtype), inference.freedom)
    errors = standard_errors(inference)
    end = lambda t: jax.tree.map(lambda a, s: a + t * s, inference.params, errors)
    return end(-t), end(t)


def wald_test(inference: Inference, hypothesis: Any, value: Any = 0.0) -> HypothesisTest:
    """Wald's test of linear hypotheses L theta = value about the coefficients.

        W = (L theta - value)' (L V L')^-1 (L theta - value) is chi-square with rank L degrees of freedom, or W / rank L is F

    Args:
        inference: from :func:`infer`.
        hypothesis: (m, p) or (p,) rows over the coefficients in the order of the covariance (weight by rows, then the bias); or a
            Linear of booleans, which coefficients are 0.
        value: () or (m,).

    Returns:
        :class:`HypothesisTest`; constraints is the rank of L. NaN stands for a hypothesis that is not estimable, and for the p-value
        of a fit with a penalty.

    Raises:
        ValueError: shapes that do not match.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> print(f"{glm.wald_test(glm.infer(glm.fit(families.Poisson(), X, y), X, y), [1.0, 0.0]).p_value:.4f}")
        0.0057

    Source: Wald (1943).
    """
    theta, V = ravel_pytree(inference.params)[0], inference.covariance
    if isinstance(hypothesis, Linear):
        chosen = ravel_pytree(jax.tree.map(lambda p, h: jnp.broadcast_to(h, p.shape), inference.params, hypothesis))[0]
        L = jnp.where(chosen[:, None], jnp.eye(len(theta), dtype=V.dtype), 0)
    else:
        L = jnp.atleast_2d(jnp.asarray(hypothesis, V.dtype))
    if L.ndim != 2 or L.shape[1] != len(theta):
        raise ValueError(f"hypothesis has shape {jnp.shape(hypothesis)}, expected (m, {len(theta)}) or ({len(theta)},)")
    value = jnp.asarray(value, V.dtype)
    if value.shape not in ((), L.shape[:1]):
        raise ValueError(f"value has shape {value.shape}, expected () or {L.shape[:1]} to match the hypothesis")
    return _wald(inference, L, value)


def hypothesis_test(chi_square: Array, constraints: Array, freedom: Array) -> HypothesisTest:
    """A statistic that is chi-square at known dispersion, as F where the dispersion is estimated."""
    finite = jnp.isfinite(freedom)
    F = chi_square / jnp.maximum(constraints, 1)
    p = jnp.where(finite, f_tail(F, constraints, freedom), chi_square_tail(chi_square, constraints))
    return HypothesisTest(jnp.where(finite, F, chi_square), constraints, freedom, p)


def contrast_inference(inference: Inference, reference: int, params: Linear) -> Inference:
    """The same about log odds against one class, given as `params`; those of the reference are 0 without an error."""
    k = inference.fit.family.natural_size
    turn = (
        jnp.eye(k, dtype=inference.covariance.dtype).at[:, reference].add(-1)
    )  # b_k - b_reference, in rows of classes
    turn = jnp.kron(jnp.eye(len(inference.covariance) // k, dtype=turn.dtype), turn)
    of_reference = (jnp.arange(len(turn)) % k == reference)[:, None]
    V = jnp.where(of_reference | of_reference.T, 0, matmul(matmul(turn, inference.covariance), turn.T))
    return replace(
        inference, params=params, covariance=V, null=jnp.where(of_reference, 0, matmul(turn, inference.null))
    )


# -- the door --------------------------------------------------------------------------------------------------------
def _kind(fit: Fit, covariance: str | None, clusters: Any) -> str:
    if covariance is None:
        robust = "HC0" if fit.weight_kind == "sampling" else "model"
        covariance = robust if clusters is None else "cluster"
    if covariance not in COVARIANCES:
        raise ValueError(f"covariance={covariance!r} is not known; use one of {COVARIANCES}")
    if covariance == "model" and fit.weight_kind == "sampling":
        raise ValueError(
            "with sampling weights the information is not that of the sample; use covariance='HC0' (the default), 'HC1', 'HC2',"
            " 'HC3' or 'cluster'"
        )
    if (covariance == "cluster") != (clusters is not None):
        raise ValueError(
            "covariance='cluster' needs clusters=, a label for each row"
            if clusters is None
            else f"clusters are given, but covariance={covariance!r} does not use them; leave one of the two out"
        )
    return covariance


def _codes(clusters: Any, n: int) -> Array:
    """(1, n) codes of the clusters, or for two kinds (3, n): those of each and of the pairs."""
    kinds = (
        list(clusters)
        if isinstance(clusters, tuple | list) and len(clusters) == 2 and np.ndim(clusters[0])
        else [clusters]
    )
    kinds = [a if isinstance(a, jax.core.Tracer) else np.asarray(a) for a in kinds]
    for a in kinds:
        if a.shape != (n,):
            raise ValueError(f"clusters has shape {a.shape}, expected ({n},), a label for each row, or a pair of such")
        if not isinstance(a, jax.core.Tracer) and a.dtype.kind == "f" and np.isnan(a).any():
            raise ValueError(f"clusters[{int(np.argmax(np.isnan(a)))}] is missing (NaN); drop such rows")
    number = lambda a: jnp.unique(a, size=n, return_inverse=True)[1].reshape(-1)
    codes = [
        number(a)
        if isinstance(a, jax.core.Tracer)
        else jnp.asarray(np.unique(a, return_inverse=True)[1].reshape(-1), jnp.int32)
        for a in kinds
    ]
    if len(codes) == 1:
        return jnp.stack(codes)
    both = jnp.unique(jnp.stack(codes, axis=1), axis=0, size=n, return_inverse=True)[1].reshape(-1)
    return jnp.stack([*codes, both])


def _refuse_other_data(inference: Inference, distance: Array) -> None:
    """The gradient vanishes at the data of the fit, and the number of observations is the same."""
    fit = inference.fit
    from_rows = observations(inference)
    if bool(jnp.abs(from_rows - fit.observations) > 1e-6 * fit.observations):
        raise ValueError(
            f"the fit has {float(fit.observations):g} observations, these rows have {float(from_rows):g}; give X, y and weights"
            " of the fit"
        )
    if int(fit.status) == Status.CONVERGED and bool(distance > 0.5):
        raise ValueError(
            f"the fit is {float(distance):.3g} standard errors away from the optimum of these rows, so they are not those it was fitted"
            " to; give X, y, weights and offset of the fit, rows in the same order"
        )


# -- the numbers -----------------------------------------------------------------------------------------------------
@jax.jit
def _coefficient_tests(inference: Inference) -> CoefficientTests:
    statistic = jax.tree.map(jnp.divide, inference.params, standard_errors(inference))
    p = jax.tree.map(lambda t: two_sided(t, inference.freedom), statistic)
    return CoefficientTests(statistic, jax.tree.map(lambda p: jnp.where(inference.penalized, jnp.nan, p), p))


@jax.jit
def _wald(inference: Inference, L: Array, value: Array) -> HypothesisTest:
    V = inference.covariance
    away = matmul(L, ravel_pytree(inference.params)[0]) - value
    middle, known = inference.combination(L)
    scale = jnp.where(jnp.diagonal(middle) > 0, lax.rsqrt(jnp.diagonal(middle)), 0)
    values, vectors = jnp.linalg.eigh(middle * scale[:, None] * scale)
    kept = values > len(values) * jnp.finfo(V.dtype).eps * jnp.max(values) * 10
    parts = vectors.T @ (scale * away)
    statistic = jnp.sum(jnp.where(kept, jnp.square(parts) / jnp.where(kept, values, 1), 0))
    statistic = jnp.where(jnp.all(known) & jnp.all(jnp.isfinite(middle)), statistic, jnp.nan)
    test = hypothesis_test(statistic, jnp.sum(kept), inference.freedom)
    return test._replace(p_value=jnp.where(inference.penalized, jnp.nan, test.p_value))


def observations(inference: Inference) -> Array:
    """n for degrees of freedom: the sum of frequency weights, or the number of rows of positive weight."""
    return dispersion.observations(inference.rows, inference.fit.weight_kind)


class Pieces(NamedTuple):
    """What each row contributes: the centred design, z, u = d log p / dz, and W, expected and observed."""

    design: Design
    z: Array
    score: Array
    expected: Array
    observed: Array


def pieces(inference: Inference) -> Pieces:
    """See :class:`Pieces`; (n,) or (n, k), and W (n,) or (n, k, k). Rows of weight 0 are made safe, and still count as rows."""
    fit, rows = inference.fit, inference.rows.safe()
    return _pieces(fit, rows, inference.center)


def _pieces(fit: Fit, rows: Rows, center: Array) -> Pieces:
    objective = _objective(fit, rows, center, None)
    design, z = objective.linear(_centred(fit.params, center))
    y = rows.safe().y
    W = curvatures(fit.family, fit.link, z, y)
    return Pieces(design, z, -value_and_slope(fit.family, fit.link, z, y)[1], W[-1], W[0])


def _centred(params: Linear, center: Array) -> Linear:
    return params if params.bias is None else params._replace(bias=params.bias + center @ params.weight)


def _objective(fit: Fit, rows: Rows, center: Array, flat: Array | None, block: int | None = None) -> GLMObjective:
    total = jnp.sum(rows.mass * fit.family.trials(rows.safe().y))
    return GLMObjective(fit.family, rows, center, fit.l2, total, 1, fit.link, block, flat=flat, precise=True)


@partial(jax.jit, static_argnames=("kind", "information", "block"))
def compute(
    fit: Fit, rows: Rows, codes: Array | None, *, kind: str, information: str, block: int | None
) -> tuple[Inference, Array, Array]:
    """The inference, the distance of the params from the optimum of these rows in standard errors, and the rank of the design."""
    intercept = fit.params.bias is not None
    penalized = jnp.any(ravel_pytree(fit.l2)[0] > 0)
    w = rows.mass
    x = jnp.where(rows.on[:, None], rows.X, 0)
    free = ~jnp.any(fit.l2.bias > 0) if intercept else jnp.asarray(False)
    center = jnp.where(free, matmul(jnp.where(rows.on, w, 0), x) / jnp.sum(w), 0)
    rank = design_rank(
        rows, center, penalty_table(fit.family, fit.l2), intercept, surely_full_rank(rows, center, intercept)
    )
    flat = flat_directions(rank.null, fit.l2, fit.family)
    objective = _objective(fit, rows, center, flat, block)
    params = _centred(fit.params, center)
    ev = objective.evaluate(params, True, 0)
    root = _root(objective, params, ev, information)
    root = root if flat is None else root - matmul(flat, root)
    distance = jnp.linalg.norm(root.T @ ravel_pytree(ev.gradient)[0])

    estimated = fit.family.estimates_dispersion or fit.quasi
    phi = jnp.ones((), root.dtype) if fit.dispersion is None else jnp.asarray(fit.dispersion, root.dtype)
    freedom = (fit.observations - fit.rank) * fit.family.free_size if estimated else jnp.asarray(jnp.inf, root.dtype)
    if kind == "model":
        V = phi * matmul(root, root.T)
    else:
        V = _sandwich(fit, rows, center, root, codes, kind)
    back = _to_user(fit.params, center)
    V = matmul(matmul(back, V), back.T)
    null = jnp.zeros_like(V) if rank.null is None else _null(fit.params, rank.null, rows, center)
    done = Inference(
        fit.params,
        V,
        null,
        phi,
        freedom.astype(root.dtype),
        penalized,
        root,
        center,
        rows,
        fit,
        kind,
        information,
    )
    return done, distance / jnp.sqrt(jnp.where(phi > 0, phi, 1)), rank.rank


def _root(objective: GLMObjective, params: Linear, ev: Any, information: str) -> Array:
    """R with R R' = H^-1; by QR of the weighted design where Cholesky would cost more than a quarter of the digits."""
    expected = information == "expected" and ev.scoring is not None
    matrix = ev.scoring if expected else ev.hessian
    canonical = ev.scoring is None
    root, ok = cholesky_root(matrix, float(jnp.finfo(matrix.dtype).eps) ** -0.75)

    def precise(_: Any) -> tuple[Array, Array]:
        if expected or canonical:
            return objective.root(params, matrix)[0], jnp.asarray(True)
        rough, fine = cholesky_root(matrix)
        return jnp.where(fine, rough, jnp.nan), jnp.asarray(True)

    # A loop of no or one trip: under vmap it costs nothing when no lane needs it.
    return lax.while_loop(lambda c: ~c[1], precise, (root, ok))[0]


def _to_user(params: Linear, center: Array) -> Array:
    """(p, p) that takes coefficients of centred columns to the user's, in the order of ravel."""
    flat, unravel = ravel_pytree(params)
    move = lambda v: ravel_pytree(_centred(unravel(v), -center))[0]
    return jax.jacfwd(move)(flat)


def _null(params: Linear, null: Array, rows: Rows, center: Array) -> Array:
    """The null space of the design in the user's coordinates, rows that are rounding alone set to 0; (p, p)."""
    d, eps = len(params.weight), jnp.sqrt(jnp.finfo(null.dtype).eps)
    x = jnp.where(rows.on[:, None], rows.X - center, 0)
    length = jnp.linalg.norm(x, axis=0)
    part = null[:, :d]  # (k, d, q)
    say = jnp.linalg.norm(part, axis=2) * jnp.where(length > 0, length, 1)
    some = say > eps * jnp.max(say, axis=1, keepdims=True, initial=0)
    weight = jnp.where(some[:, :, None], part, 0)
    if params.bias is None:
        return by_output(weight)
    terms = center[:, None] * weight
    bias = -jnp.sum(terms, axis=1, keepdims=True)
    bias = jnp.where(jnp.abs(bias) > eps * jnp.sum(jnp.abs(terms), axis=1, keepdims=True), bias, 0)
    return by_output(jnp.concatenate([weight, bias], axis=1))


def _sandwich(fit: Fit, rows: Rows, center: Array, root: Array, codes: Array | None, kind: str) -> Array:
    row = _pieces(fit, rows, center)
    n, k = (
        fit.observations,
        fit.rank * fit.family.free_size,
    )
    u = row.score
    if kind in ("HC2", "HC3"):
        u = _studentized(row, rows, root, fit.weight_kind, u, -0.5 if kind == "HC2" else -1.0)
    w = rows.mass
    # A frequency weight stands for that many rows with the same score, other weights multiply it.
    many = w if fit.weight_kind != "frequency" or kind == "cluster" else jnp.sqrt(w)
    projected = jnp.where(rows.on[:, None], many[:, None] * _parameter_scores(row.design, u, root), 0)
    if kind != "cluster":
        factor = n / (n - k) if kind == "HC1" else 1.0
        return factor * matmul(root, matmul(matmul(projected.T, projected), root.T))

    def one(codes: Array) -> Array:
        sums = jax.ops.segment_sum(projected, codes, num_segments=rows.n)
        groups = jnp.sum(jax.ops.segment_max(rows.on.astype(jnp.int32), codes, num_segments=rows.n) > 0)
        return groups / (groups - 1) * matmul(sums.T, sums)

    meats = [one(c) for c in codes]
    meat = meats[0] if len(meats) == 1 else meats[0] + meats[1] - meats[2]
    return (n - 1) / (n - k) * matmul(root, matmul(meat, root.T))


def _parameter_scores(design: Design, u: Array, root: Array) -> Array:
    """R' x_i u_i of each row, (n, p)."""
    x = design.dense()
    if u.ndim == 1:
        return u[:, None] * matmul(x, root)
    q, k = x.shape[1], u.shape[1]
    return matmul((x[:, :, None] * u[:, None, :]).reshape(len(x), q * k), root)


def hat_factors(row: Pieces, root: Array) -> Array:
    """W^1/2 X_i R, (n, p) or (n, k, p): its products with itself are the leverages of one replicate."""
    x = row.design.dense()
    if row.z.ndim == 1:
        return jnp.sqrt(jnp.maximum(row.expected, 0))[:, None] * matmul(x, root)
    k = row.z.shape[1]
    spread = jnp.einsum("na,akp->nkp", x, root.reshape(x.shape[1], k, -1), precision="highest")
    return jnp.einsum("njk,nkp->njp", _half(row.expected, 0.5), spread, precision="highest")


def _studentized(row: Pieces, rows: Rows, root: Array, weight_kind: str, u: Array, power: float) -> Array:
    """u (1 - h)^power, or with the matrices (I - H)^power of rows with several outputs."""
    hat = hat_factors(row, root)
    share = jnp.ones_like(rows.mass) if weight_kind == "frequency" else rows.mass
    if u.ndim == 1:
        return u * (1 - share * jnp.sum(jnp.square(hat), axis=1)) ** power
    H = share[:, None, None] * jnp.einsum("njp,nkp->njk", hat, hat, precision="highest")
    values, vectors = jnp.linalg.eigh(H)
    middle = jnp.einsum("nij,nj,nkj->nik", vectors, (1 - values) ** power, vectors, precision="highest")
    left, right = _half(row.expected, 0.5), _half(row.expected, -0.5)
    return jnp.einsum("nij,njk,nkl,nl->ni", left, middle, right, u, precision="highest")


def _half(W: Array, power: float) -> Array:
    """W^power of symmetric matrices (n, k, k), on the directions where they are not 0."""
    values, vectors = jnp.linalg.eigh(W)
    some = values > 10 * W.shape[-1] * jnp.finfo(W.dtype).eps * jnp.max(values, axis=-1, keepdims=True)
    return jnp.einsum(
        "nij,nj,nkj->nik",
        vectors,
        jnp.where(some, jnp.where(some, values, 1) ** power, 0),
        vectors,
        precision="highest",
    )


def _unravel(inference: Inference) -> Any:
    return ravel_pytree(inference.params)[1]
