r"""How sure any model is of its params: their covariance by the model or robust, and Laplace's approximation of the posterior.

    J(theta) = sum_i w_i L_i(theta) + N/2 sum_j l2_j theta_j^2,    L_i = -log p(y_i; eta_i) at dispersion 1,   N = sum_i w_i m_i

    by the model     phi H^-1, the covariance of theta | y ~ N(params, phi H^-1) for the prior theta_j ~ N(0, phi / (N l2_j))
    sandwich         H^-1 M H^-1,   M = sum_i w_i g_i g_i' or its sums over clusters,   g_i = grad L_i

H is the Hessian of J, or its expectation where predictions are linear in the params, sum_i w_i J_i' W_i J_i + N l2: the Gauss-Newton
matrix, which is never indefinite. Gradients g_i and Jacobians J_i of the rows are those of the predictor by autodiff, whatever it is.
For a linear predictor :func:`jaxml.glm.infer` has more to say, and says it faster.

Source: MacKay (1992), "A practical Bayesian framework for backpropagation networks"; White (1982), Econometrica 50; Bishop (2006),
section 5.7; Martens (2020), "New insights and perspectives on the natural gradient method".
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxml import links
from jaxml.checks import check_family, read_rows, refuse_bad_values
from jaxml.families.base import Family
from jaxml.glm import dispersion
from jaxml.glm.covariance import meat_of
from jaxml.glm.inference import read_clusters
from jaxml.glm.laplace import evidence
from jaxml.glm.objective import curvatures, total_weight, value_and_slope
from jaxml.likelihood import log_likelihood, row_loss
from jaxml.linalg import matmul
from jaxml.links import Link, natural_parameter
from jaxml.prediction import read_features
from jaxml.predictors.linear import Linear
from jaxml.records import callable_pytree, record, static_field
from jaxml.rows import Rows, fold_blocks
from jaxml.status import ConvergenceWarning

COVARIANCES = ("model", "HC0", "HC1", "cluster")
CURVATURES = ("expected", "observed")
WEIGHT_KINDS = ("frequency", "sampling")
_BLOCK = 2**22  # numbers of the Jacobians that are held at a time
_NEAR = 0.5  # standard errors from the minimum that are passed over in silence


@record
class Uncertainty:
    """The params of a model with their covariance; from :func:`infer`.

    Attributes:
        params: as given.
        covariance: (p, p), in the order of ``ravel_pytree(params)``; of the part that data and penalty determine.
        dispersion: () phi, 1 for a family without one.
        effective: () the number of params that the data determine, tr H^-1 (H - N l2).
        undetermined: () int, how many directions of the params change no prediction of these rows and have no penalty. Directions that
            change predictions but not the law of y, as the common shift of all classes, do not count.
        log_evidence: () Laplace's log p(y), to compare penalties and models; NaN where the posterior is improper, without any penalty
            and with sampling weights.
        distance: () how far the params are from the minimum of J, in standard errors.
        predictor, family: as given.
        link: static.
    """

    params: Any
    covariance: Array
    dispersion: Array
    effective: Array
    undetermined: Array
    log_evidence: Array
    distance: Array
    predictor: Any
    family: Family
    link: Link = static_field()


class Prediction(NamedTuple):
    """The predictor of new rows and its standard error, (n,) or (n, k)."""

    linear: Array
    error: Array


def infer(
    family: Family,
    predictor: Callable[..., Array],
    params: Any,
    X: Any,
    y: Any,
    *,
    weights: Any = None,
    weight_kind: str = "frequency",
    offset: Any = None,
    link: Any = None,
    l2: Any = 0.0,
    phi: Any = None,
    covariance: str | None = None,
    curvature: str = "expected",
    clusters: Any = None,
    check: Any = "support",
) -> Uncertainty:
    """The covariance of the params of any model at the minimum of its penalised likelihood, and Laplace's evidence.

    Args:
        family: the law of y.
        predictor: (params, X) -> (n,) or (n, k), whose rows do not depend on each other.
        params: where J is smallest, a pytree of p numbers: p^2 are held.
        X, y, weights, offset, link: those of the fit, as for :func:`jaxml.training.train`; here link=None is the family's usual link.
        weight_kind: 'frequency' or 'sampling', for the sandwich.
        l2: the penalty of the fit: a number for the weights (of a Linear its weight, not its bias; of other params all), or a tree like
            params, a penalty for each.
        phi: () the dispersion of a family that estimates one; None: Pearson's statistic / (n - effective).
        covariance: 'model', 'HC0', 'HC1' or 'cluster'; None: 'cluster' with clusters, 'HC0' for sampling weights, else 'model'.
        curvature: 'expected' (Gauss-Newton) or 'observed', the whole Hessian, in which indefiniteness is a saddle, and refused.
        clusters: (n,) labels, or a pair of them for clusters of two kinds. Inside jit integers.
        check: as for :func:`jaxml.glm.fit`; False: look at no value.

    Returns:
        :class:`Uncertainty`.

    Raises:
        ValueError, TypeError, OverflowError: bad input, naming argument, value and place; an indefinite Hessian (values only outside
            jit; there the covariance is NaN).

    Warns:
        ConvergenceWarning: params that are not at the minimum of J, or that neither data nor penalty determine.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm, uncertainty
        >>> from jaxml.predictors import linear
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1, 2, 6, 9])
        >>> fit = glm.fit(families.Poisson(), X, y)
        >>> found = uncertainty.infer(families.Poisson(), linear, fit.params, X, y)
        >>> print(f"{uncertainty.standard_errors(found).weight[0]:.3f}")
        0.255

    Source: White (1982); MacKay (1992).
    """
    check_family(family)
    link = links.resolve(family, link)
    kind = _kind(covariance, clusters, weight_kind)
    if curvature not in CURVATURES:
        raise ValueError(f"curvature={curvature!r} is not known; use one of {CURVATURES}")
    rows = read_rows(family, X, y, weights, offset)
    if check:
        refuse_bad_values(family, rows, check)
    dtype = rows.X.dtype
    family, params = (jax.tree.map(lambda a: jnp.asarray(a, dtype), tree) for tree in (family, params))
    predictor = callable_pytree(predictor)
    shape = jax.eval_shape(predictor, params, rows.X).shape
    expected = (rows.n,) if family.natural_size is None else (rows.n, family.natural_size)
    if shape != expected:
        raise ValueError(f"predictor(params, X) has shape {shape}, expected {expected} for {family}")
    phi = None if phi is None else jnp.asarray(phi, dtype)
    codes = read_clusters(clusters, rows.n) if kind == "cluster" else None
    found, least = _compute(
        family,
        predictor,
        params,
        rows,
        penalties(l2, params),
        phi,
        codes,
        link=link,
        kind=kind,
        weight_kind=weight_kind,
        curvature=curvature,
    )
    if check and not isinstance(least, jax.core.Tracer):
        _say(found, least)
    return found


def standard_errors(found: Uncertainty) -> Any:
    """The square roots of the variances, in the shape of the params.

    Args:
        found: from :func:`infer`.

    Returns:
        A pytree like the params.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, uncertainty
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.zeros((4, 0)), jnp.array([0, 1, 1, 1])
        >>> half = Linear(jnp.zeros(0), jnp.log(3.0))
        >>> print(f"{uncertainty.standard_errors(uncertainty.infer(families.Bernoulli(), linear, half, X, y)).bias:.3f}")
        1.155
    """
    return ravel_pytree(found.params)[1](jnp.sqrt(jnp.diagonal(found.covariance)))


def sample(found: Uncertainty, key: Array, draws: int = 1000) -> Any:
    """Draws of the params from N(params, covariance).

    Args:
        found: from :func:`infer`.
        key: a random key.
        draws: how many.

    Returns:
        A pytree like the params, whose leaves lead with ``draws``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxml import families, uncertainty
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.zeros((4, 0)), jnp.array([0, 1, 1, 1])
        >>> found = uncertainty.infer(families.Bernoulli(), linear, Linear(jnp.zeros(0), jnp.log(3.0)), X, y)
        >>> uncertainty.sample(found, jax.random.key(0), 500).bias.shape
        (500,)
    """
    theta, unravel = ravel_pytree(found.params)
    values, vectors = jnp.linalg.eigh(found.covariance)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0))
    return jax.vmap(unravel)(theta + matmul(jax.random.normal(key, (draws, len(theta)), theta.dtype), root.T))


def predict_with_errors(found: Uncertainty, X: Any, *, offset: Any = None) -> Prediction:
    """The predictor of new rows with its standard error, sqrt(J V J') by the Jacobian J of the row (delta method).

    Args:
        found: from :func:`infer`.
        X: (n, d).
        offset: of the shape of the prediction, added to it.

    Returns:
        :class:`Prediction`, before the link.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, uncertainty
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.zeros((4, 0)), jnp.array([0, 1, 1, 1])
        >>> found = uncertainty.infer(families.Bernoulli(), linear, Linear(jnp.zeros(0), jnp.log(3.0)), X, y)
        >>> print(*(f"{a[0]:.3f}" for a in uncertainty.predict_with_errors(found, X[:1])))
        1.099 1.155

    Source: Bishop (2006), section 5.7.
    """
    X = read_features(X, None, found.covariance.dtype)
    theta, unravel = ravel_pytree(found.params)
    z = found.predictor(found.params, X)

    def error(x: Array) -> Array:
        J = jax.jacrev(lambda theta: found.predictor(unravel(theta), x[None])[0])(theta)
        return jnp.sqrt(jnp.sum(matmul(J, found.covariance) * J, axis=-1))

    errors = lax.map(error, X, batch_size=_rows_at_a_time(len(theta), z))
    return Prediction(z if offset is None else z + jnp.asarray(offset, z.dtype), errors)


def penalties(l2: Any, params: Any) -> Array:
    """l2 of :func:`infer` as (p,), one for each of the params; ValueError for one that is negative or of another shape."""
    is_layer = lambda a: isinstance(a, Linear)
    structure: Any = jax.tree.structure
    if structure(l2) == structure(0) and jnp.ndim(l2) == 0:
        full = lambda a, value: jax.tree.map(lambda a: jnp.full(jnp.shape(a), value, jnp.result_type(a)), a)
        layer = lambda a: Linear(full(a.weight, l2), full(a.bias, 0.0)) if is_layer(a) else full(a, l2)
        tree = jax.tree.map(layer, params, is_leaf=is_layer)
    else:
        if structure(l2) != structure(params):
            raise ValueError(f"l2 is {structure(l2)}, expected a number or a tree like params, {structure(params)}")
        tree = jax.tree.map(lambda p, a: jnp.broadcast_to(jnp.asarray(p, jnp.result_type(a)), jnp.shape(a)), l2, params)
    flat = ravel_pytree(tree)[0]
    if not isinstance(flat, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(flat) & (flat >= 0))):
        raise ValueError(f"l2 must be finite and not negative, got {l2}")
    return flat


# -- the door --------------------------------------------------------------------------------------------------------
def _kind(covariance: str | None, clusters: Any, weight_kind: str) -> str:
    if weight_kind not in WEIGHT_KINDS:
        raise ValueError(f"weight_kind={weight_kind!r} is not known; use one of {WEIGHT_KINDS}")
    if covariance is None:
        return "cluster" if clusters is not None else "HC0" if weight_kind == "sampling" else "model"
    if covariance not in COVARIANCES:
        raise ValueError(f"covariance={covariance!r} is not known; use one of {COVARIANCES}")
    if (clusters is None) == (covariance == "cluster"):
        raise ValueError("covariance='cluster' and clusters=, a label for each row, go together")
    return covariance


def _say(found: Uncertainty, least: Array) -> None:
    if bool(least < 0):
        raise ValueError(
            "the Hessian at params is indefinite: they are a saddle, not a minimum; train on, or use curvature='expected'"
        )
    said = []
    if bool(found.distance > _NEAR):
        said.append(
            f"params are {float(found.distance):.3g} standard errors from the minimum for these data and this l2, where the"
            " approximation is made: train on, or give the l2 of the training"
        )
    if int(found.undetermined):
        said.append(
            f"{int(found.undetermined)} directions of the params change no prediction of these rows and have no penalty, so that the"
            " posterior is improper along them; give l2 as a tree like params, with a penalty on each"
        )
    if said:
        warnings.warn("; ".join(said) + ".", ConvergenceWarning, stacklevel=3)


def _rows_at_a_time(p: int, z: Any) -> int:
    outputs = 1 if z.ndim == 1 else z.shape[1]
    return max(1, min(z.shape[0], _BLOCK // max(1, p * outputs)))


# -- the numbers -----------------------------------------------------------------------------------------------------
@partial(jax.jit, static_argnames=("link", "kind", "weight_kind", "curvature"))
def _compute(
    family: Family,
    predictor: Any,
    params: Any,
    rows: Rows,
    l2: Array,
    phi: Array | None,
    codes: Array | None,
    *,
    link: Link,
    kind: str,
    weight_kind: str,
    curvature: str,
) -> tuple[Uncertainty, Array]:
    """What was found, and the least eigenvalue of the Hessian of unit diagonal, 0 where it is not below rounding."""
    theta, unravel = ravel_pytree(params)
    safe, total = rows.safe(), total_weight(family, rows)
    w = jnp.where(rows.on, rows.mass, 0)
    model = _Model(family, link, predictor, unravel)
    gram, moves, gradient, scores = _sums(model, theta, safe, w, keep=kind != "model")
    ridge = total * l2
    if curvature == "observed":
        slope = jax.grad(lambda theta: jnp.sum(jnp.where(w > 0, w * model.loss(theta, safe), 0)))
        gram = lax.map(lambda e: jax.jvp(slope, (theta,), (e,))[1], jnp.eye(len(theta), dtype=theta.dtype))
        gram = (gram + gram.T) / 2
    root, null, least = _root(gram + jnp.diag(ridge))
    # Along some directions without curvature predictions move, and the law of y does not.
    seen = jnp.linalg.eigvalsh(matmul(matmul(null.T, moves), null))
    noise = 10 * len(theta) * jnp.finfo(theta.dtype).eps * jnp.max(jnp.diagonal(moves), initial=0)
    free = jnp.sum(jnp.any(null != 0, axis=0))
    undetermined = free - jnp.sum(seen > noise)

    effective = len(theta) - free - jnp.sum(ridge[:, None] * jnp.square(root))
    n = dispersion.observations(rows, weight_kind)
    if family.estimates_dispersion:
        if phi is None:
            eta = natural_parameter(family, link, model.linear(theta, safe))
            phi = dispersion.pearson_dispersion(family, safe, eta, n * family.free_size, effective * family.free_size)
        law = family.with_dispersion(phi)
    else:
        phi, law = jnp.asarray(family.dispersion, theta.dtype), family
    if kind == "model":
        V = phi * matmul(root, root.T)
    else:
        V = matmul(root, matmul(meat_of(matmul(scores, root), rows, codes, n, effective, weight_kind, kind), root.T))
    proper = jnp.any(l2 > 0) & (undetermined == 0) & (weight_kind == "frequency")
    likelihood = log_likelihood(
        law, predictor, params, rows.X, rows.y, weights=rows.weights, offset=rows.offset, link=link
    )
    value = evidence(likelihood, theta, ridge / phi, root, phi)
    found = Uncertainty(
        params=params,
        covariance=V,
        dispersion=phi,
        effective=effective,
        undetermined=undetermined,
        log_evidence=jnp.where(proper, value, jnp.nan),
        distance=jnp.linalg.norm(root.T @ (gradient + ridge * theta)) / jnp.sqrt(phi),
        predictor=predictor,
        family=family,
        link=link,
    )
    return found, least


class _Model(NamedTuple):
    """A model as a function of flat params."""

    family: Family
    link: Link
    predictor: Any
    unravel: Any

    def linear(self, theta: Array, rows: Rows) -> Array:
        z = self.predictor(self.unravel(theta), rows.X)
        return z if rows.offset is None else z + rows.offset

    def loss(self, theta: Array, rows: Rows) -> Array:
        return row_loss(self.family, self.link, self.linear(theta, rows), rows.y)

    def rows(self, theta: Array, rows: Rows) -> tuple[Array, Array, Array]:
        """The Jacobian (n, k, p) of each row, its slope dL/dz (n, k) and its expected curvature (n, k, k)."""
        one = lambda x: jax.jacrev(lambda theta: jnp.atleast_1d(self.predictor(self.unravel(theta), x[None])[0]))(theta)
        z = self.linear(theta, rows)
        slope = value_and_slope(self.family, self.link, z, rows.y)[1].reshape(len(z), -1)
        W = curvatures(self.family, self.link, z, rows.y)[-1].reshape(*slope.shape, -1)
        return jax.vmap(one)(rows.X), slope, W


def _sums(model: _Model, theta: Array, rows: Rows, w: Array, keep: bool) -> tuple[Array, Array, Array, Array]:
    """Over the rows: sum w J'WJ, sum J'J and the gradient; and where asked for the scores g_i (n, p)."""
    n, p = rows.n, len(theta)
    size = _rows_at_a_time(p, jax.eval_shape(model.linear, theta, rows))

    def of(block: Rows, w: Array) -> tuple[Any, Array]:
        J, slope, W = model.rows(theta, block)
        g = jnp.where(w[:, None] > 0, jnp.einsum("nkp,nk->np", J, slope, precision="highest"), 0)
        weighted = jnp.where(w > 0, w, 0)[:, None, None] * W
        gram = jnp.einsum("nkp,nkl,nlq->pq", J, weighted, J, precision="highest")
        on = jnp.where((w > 0)[:, None, None], J, 0)
        return (gram, jnp.einsum("nkp,nkq->pq", on, on, precision="highest"), w @ g), g

    zero = jnp.zeros((p, p), theta.dtype)
    start = (zero, zero, jnp.zeros_like(theta)), jnp.zeros((n if keep else 0, p), theta.dtype)
    if size >= n:
        sums, scores = of(rows, w)
        return *sums, scores

    def add(carry: Any, first: Array, fresh: Array) -> Any:
        sums, scores = carry
        block = rows._replace(weights=None).block(first, size)
        more, g = of(block, jnp.where(fresh, lax.dynamic_slice_in_dim(w, first, size), 0))
        if keep:  # of the last block some rows were there before
            old = lax.dynamic_slice_in_dim(scores, first, size)
            scores = lax.dynamic_update_slice_in_dim(scores, jnp.where(fresh[:, None], g, old), first, 0)
        return jax.tree.map(jnp.add, sums, more), scores

    sums, scores = fold_blocks(add, start, n, size)
    return *sums, scores


def _root(H: Array) -> tuple[Array, Array, Array]:
    """R with R R' the inverse of H on the directions that have curvature, an orthonormal basis of the others (zeros beside it), and the
    least eigenvalue where it is below rounding. R is NaN for an indefinite H."""
    p, eps = len(H), jnp.finfo(H.dtype).eps
    diagonal = jnp.diagonal(H)
    scale = lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))
    values, vectors = jnp.linalg.eigh(H * scale[:, None] * scale)
    noise = 10 * p * eps * jnp.max(jnp.abs(values), initial=0)
    kept, least = values > noise, jnp.min(values, initial=0)
    root = scale[:, None] * jnp.where(kept, vectors * lax.rsqrt(jnp.where(kept, values, 1)), 0)
    # The null space in units of the params: R is to have no part in it.
    null, r = jnp.linalg.qr(jnp.where(kept, 0, scale[:, None] * vectors))
    null = jnp.where(jnp.abs(jnp.diagonal(r)) > 0, null, 0)
    root -= matmul(null, matmul(null.T, root))
    wrong = least < -jnp.sqrt(eps)
    return jnp.where(wrong, jnp.nan, root), null, jnp.where(wrong, least, 0)
