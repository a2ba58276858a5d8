r"""The summed objective of a generalised linear model, with curvature by the chain rule at the linear predictor.

    J(w, b) = sum_i w_i L(z_i, y_i) + N/2 (l2_w |w|^2 + l2_b b^2),     z_i = (x_i - c)' w + b + offset_i

L is the row loss of the family and link, differentiated by JAX: r = dL/dz and W = d^2 L / dz^2. Then grad J = X' r and
hessian J = X' W X, which equals ``jax.hessian`` of the log-likelihood at half the work and without an (n, d) temporary per
column. Rows go through in blocks that fit into the cache. The columns are centred by c inside the block: a shift of a column
changes nothing but the bias.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxml.families.base import Family
from jaxml.families.functions import hessian
from jaxml.likelihood import first_where, row_loss
from jaxml.links import Link, is_canonical, natural_parameter
from jaxml.optimize.objective import Evaluation
from jaxml.predictors import Linear
from jaxml.records import record, static_field
from jaxml.rows import Rows

_SAMPLE_STRIDE = 10  # stage 0 visits every tenth block

matmul = partial(jnp.matmul, precision="highest")


@record
class GLMObjective:
    """See the module docstring; params are a Linear for the centred columns.

    Attributes:
        family: the law of y.
        rows: the data.
        center: (d,) subtracted from the columns; zeros without an intercept.
        l2: Linear of penalties with the shapes of params.
        total: N, the sum of weights (times trials).
        scale: the objective is multiplied by this: 1, or 1/N for first-order solvers.
        link: static.
        block: static number of rows in a block; None: all rows at once.
        sample: static; start on a subsample of the blocks.
    """

    family: Family
    rows: Rows
    center: Array
    l2: Linear
    total: Array
    scale: Any
    link: Link = static_field()
    block: int | None = static_field(default=None)
    sample: bool = static_field(default=False)

    @property
    def stages(self) -> int:
        """2 with a subsample to start from, else 1."""
        return 2 if self.sample else 1

    def evaluate(self, params: Linear, curvature: bool | Array, stage: Any) -> Evaluation:
        """Value, gradient and curvature of J at params; see :class:`jaxml.optimize.Objective`."""
        value, gradient, grams = self._sum_blocks(params, curvature, stage)
        value += (
            self.total
            / 2
            * sum(jnp.sum(p * jnp.square(a)) for p, a in zip(self.l2, params, strict=True) if a is not None)
        )
        gradient = jax.tree.map(lambda g, p, a: self.scale * (g + self.total * p * a), gradient, self.l2, params)
        ridge = jnp.concatenate([jnp.ravel(p) for p in jax.tree.leaves(self.l2)]) * self.total
        hessians = [self.scale * (h + jnp.diag(ridge)) for h in grams]
        return Evaluation(self.scale * value, gradient, *hessians)

    def batch(self, params: Linear, index: Array, keep: Array) -> tuple[Array, Linear]:
        """Mean objective and its gradient on a minibatch: w_i n / sum w is the weight of row i."""
        rows = self.rows.take(index)
        w = jnp.where(keep, jnp.ones_like(rows.X[:, 0]) if rows.weights is None else rows.weights, 0)
        objective = GLMObjective(
            self.family, rows._replace(weights=w), self.center, self.l2, self.total, 1 / self.total, self.link
        )
        share = self.rows.n / jnp.sum(keep)

        def mean(params: Linear) -> Array:
            penalty = sum(jnp.sum(p * jnp.square(a)) for p, a in zip(self.l2, params, strict=True) if a is not None) / 2
            return share * objective.loss(params) / self.total + penalty

        return jax.value_and_grad(mean)(params)

    def loss(self, params: Linear) -> Array:
        """sum_i w_i L(z_i, y_i) on all rows at once, differentiable in everything; the definition that the blocks follow."""
        return _block_loss(self.family, self.link, self.rows, self.center, params)

    def curvature(self, params: Linear) -> Array:
        """hessian J on all rows at once, differentiable in everything."""
        _, _, grams = _block_sums(self, self.rows, None, params, True)
        ridge = jnp.concatenate([jnp.ravel(p) for p in jax.tree.leaves(self.l2)]) * self.total
        return self.scale * (grams[0] + jnp.diag(ridge))

    def _sum_blocks(self, params: Linear, curvature: bool | Array, stage: Any) -> Any:
        n, size = self.rows.n, self.block
        if size is None or size >= n:
            return _block_sums(self, self.rows, None, params, curvature)
        count = -(-n // size)
        stride = jnp.where(stage == 0, _SAMPLE_STRIDE, 1) if self.sample else 1
        visits = (count + stride - 1) // stride

        def add(i: Array, sums: Any) -> Any:
            # The last block starts early, to be full; the rows it shares with the one before are masked.
            start = jnp.minimum(i * stride * size, n - size)
            fresh = start + jnp.arange(size) >= i * stride * size
            return jax.tree.map(
                jnp.add, sums, _block_sums(self, self.rows.block(start, size), fresh, params, curvature)
            )

        shapes = jax.eval_shape(
            lambda: _block_sums(self, self.rows.block(0, size), jnp.ones(size, bool), params, curvature)
        )
        sums = lax.fori_loop(0, visits, add, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))
        if not self.sample:
            return sums
        return jax.tree.map(lambda a: a * jnp.where(stage == 0, count / visits, 1).astype(a.dtype), sums)


def _masked(rows: Rows, mask: Array | None) -> tuple[Rows, Array | None]:
    """Rows without hazards and their weights: rows of weight 0 are replaced by a valid one, since 0 times NaN is NaN."""
    weights = rows.weights
    if weights is not None:
        rows = jax.tree.map(lambda a: first_where(weights > 0, a), rows)
    if mask is not None:
        weights = jnp.where(mask, jnp.ones((), rows.X.dtype) if weights is None else weights, 0)
    return rows, weights


def _linear(rows: Rows, center: Array, params: Linear) -> tuple[Array, Array]:
    x = rows.X if params.bias is None else rows.X - center
    z = matmul(x, params.weight)
    z = z if params.bias is None else z + params.bias
    return x, z if rows.offset is None else z + rows.offset


def _weigh(weights: Array | None, values: Array) -> Array:
    if weights is None:
        return values
    w = weights.reshape(weights.shape + (1,) * (values.ndim - 1))
    return jnp.where(w > 0, w * values, 0)


def _block_loss(family: Family, link: Link, rows: Rows, center: Array, params: Linear) -> Array:
    rows, weights = _masked(rows, None)
    return jnp.sum(_weigh(weights, row_loss(family, link, _linear(rows, center, params)[1], rows.y)))


def _block_sums(o: GLMObjective, rows: Rows, mask: Array | None, params: Linear, curvature: bool | Array) -> Any:
    """Sums over one block: value, gradient (Linear) and the Grams X' W X, one or two (see `_curvatures`)."""
    rows, weights = _masked(rows, mask)
    x, z = _linear(rows, o.center, params)
    value, slope = _value_and_slope(o.family, o.link, z, rows.y)
    slope = _weigh(weights, slope)
    weight = matmul(slope.T, x).T  # not x.T @ slope, which is slow on CPUs
    gradient = Linear(weight, None if params.bias is None else jnp.sum(slope, axis=0))

    def grams() -> tuple[Array, ...]:
        return tuple(
            _gram(x, _weigh(weights, w), params.bias is not None) for w in _curvatures(o.family, o.link, z, rows.y)
        )

    def nothing() -> tuple[Array, ...]:
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(grams))

    if isinstance(curvature, bool):
        return jnp.sum(_weigh(weights, value)), gradient, grams() if curvature else ()
    return jnp.sum(_weigh(weights, value)), gradient, lax.cond(curvature, grams, nothing)


def _value_and_slope(family: Family, link: Link, z: Array, y: Any) -> tuple[Array, Array]:
    if family.natural_size is None:
        return jax.jvp(lambda z: row_loss(family, link, z, y), (z,), (jnp.ones_like(z),))
    return jax.vmap(jax.value_and_grad(lambda z, y: row_loss(family, link, z, y)))(z, y)


def _curvatures(family: Family, link: Link, z: Array, y: Any) -> tuple[Array, ...]:
    """W of each row, (n,) or (n, k, k): observed, and where it differs from it also expected."""
    if family.natural_size is None:
        slope = lambda z: _value_and_slope(family, link, z, y)[1]
        observed = jax.jvp(slope, (z,), (jnp.ones_like(z),))[1]
        if is_canonical(family, link):
            return (observed,)
        eta, change = jax.jvp(lambda z: natural_parameter(family, link, z), (z,), (jnp.ones_like(z),))
        return observed, family.trials(y) * hessian(family, eta) * jnp.square(change)
    observed = jax.vmap(jax.hessian(lambda z, y: row_loss(family, link, z, y)))(z, y)
    if family.redundant:
        # Adding a constant to all k predictors changes nothing: curvature of the size of W there makes the Hessian invertible
        # and, orthogonal to every gradient, leaves the steps as they are.
        k = z.shape[-1]
        observed += jnp.trace(observed, axis1=-2, axis2=-1)[..., None, None] / ((k - 1) * k)
    if is_canonical(family, link):
        return (observed,)
    jacobian = jax.vmap(jax.jacfwd(lambda z: natural_parameter(family, link, z)))(z)
    eta = natural_parameter(family, link, z)
    return observed, jnp.einsum("nai,nab,nbj->nij", jacobian, hessian(family, eta), jacobian, precision="highest")


def _gram(x: Array, w: Array, intercept: bool) -> Array:
    """[X, 1]' W [X, 1] in the order of ravel(Linear): (d k + k, d k + k); the ones are never stored."""
    if w.ndim == 1:
        xw = x * w[:, None]
        core = matmul(xw.T, x)
        if not intercept:
            return core
        side = jnp.sum(xw, axis=0)
        return jnp.block([[core, side[:, None]], [side[None, :], jnp.sum(w)[None, None]]])
    d, k = x.shape[1], w.shape[-1]
    one = lambda row: matmul(x.T, (x[:, :, None] * row[:, None, :]).reshape(len(x), d * k))
    core = lax.map(one, w.transpose(1, 0, 2)).reshape(k, d, d * k).transpose(1, 0, 2).reshape(d * k, d * k)
    if not intercept:
        return core
    side = matmul(x.T, w.reshape(-1, k * k)).reshape(d * k, k)
    return jnp.block([[core, side], [side.T, jnp.sum(w, axis=0)]])
