r"""The summed objective of a generalised linear model, with curvature by the chain rule at the linear predictor.

    J(w, b) = sum_i w_i L(z_i, y_i) + N/2 (l2_w |w|^2 + l2_b b^2),     z_i = (x_i - c)' w + b + offset_i

L is the row loss of the family and link, differentiated by JAX: r = dL/dz and W = d^2 L / dz^2. Then grad J = X' r and
hessian J = X' W X, which equals ``jax.hessian`` of the log-likelihood at half the work and without an (n, d) temporary per
column. Rows go through in blocks that fit into the cache. The columns are centred by c inside the block: a shift of a column
changes nothing but the bias.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from jaxml.chunks import where_needed
from jaxml.families.base import Family
from jaxml.families.functions import hessian
from jaxml.likelihood import row_information, row_loss, total_loss
from jaxml.linalg import matmul, row_combination, split
from jaxml.links import Link, is_canonical, natural_parameter
from jaxml.optimize.newton import cholesky_root, equilibrate
from jaxml.optimize.objective import Costs, Evaluation, Objective
from jaxml.predictors import Linear, linear
from jaxml.predictors.design import Design
from jaxml.records import record, static_field
from jaxml.rows import Rows, column, fold_blocks, sum_where

_BLOCKS_RATE = 0.5  # by what steps shrink the decrement that know curvature within each class, but not between classes
_PIECE = 16384  # rows of one number each that go through the loss together
_WIDE = 16  # columns from which on two numbers for each row are little beside X
_FAR = 10.0  # standard deviations: with a mean beyond, the predictor of the column as it is loses more than a digit
_NOISE = 2.5  # up to so many times what is expected of noise the correlations in a sample are taken for it


@record
class GLMObjective(Objective):
    """See the module docstring; params are a Linear for the centred columns.

    Attributes:
        family: the law of y.
        rows: the data.
        center: (d,) subtracted from the columns; zeros without an intercept.
        l2: Linear of penalties with the shapes of params.
        total: N, the sum of weights (times trials).
        scale: the objective is multiplied by this: 1, or 1/N for first-order solvers.
        flat: (p, p) projector on directions of the params that change nothing (see :func:`flat_directions`), or None.
        precise: static; whether :meth:`root` is to be compiled in.
        plain: static; see :func:`jaxml.glm.engine.compiled_fit`.
        blocks: static; the number of outputs where the Hessian is to be that of each output alone, (k, q, q), else 1.
        warm: static; whether the search starts where the user says, see :class:`jaxml.optimize.Objective`.
        least_eigenvalue: see there too, and :func:`jaxml.glm.rank.proof`.
        tame: (), whether X may be multiplied as it stands, see :func:`tame`; None: it goes through in blocks.
        link: static.
        block: static number of rows in a block; None: all rows at once.
        sample: :class:`Subsample` to start from and to take curvature from, or None.
    """

    family: Family
    rows: Rows
    center: Array
    l2: Linear
    total: Array
    scale: Any
    link: Link = static_field()
    block: int | None = static_field(default=None)
    sample: Any = None
    flat: Any = None
    precise: bool = static_field(default=False)
    plain: bool = static_field(default=False)
    blocks: int = static_field(default=1)
    warm: bool = static_field(default=False)
    least_eigenvalue: Any = None
    tame: Any = None

    @property
    def coefficients(self) -> int:
        """p, how many numbers the params are."""
        return sum(a.size for a in jax.tree.leaves(self.l2))

    @property
    def curvature_block(self) -> int | None:
        """Rows in a block for X'WX, which works on a copy of them for each output."""
        if self.block is None or self.blocks > 1:
            return self.block
        return max(256, self.block // (self.family.natural_size or 1))

    @property
    def stages(self) -> int:
        """3 with a subsample to start from, else 1."""
        return 1 if self.sample is None else 3

    @property
    def costs(self) -> Costs | None:
        """What curvature of the few rows, of the subsample and of all rows costs and gives, see :class:`Costs`."""
        n, p, k = self.rows.n, self.coefficients, self.family.natural_size or 1
        price = lambda used, rows: curvature_price(used, rows, p, k, self.blocks)
        if self.sample is None:
            if self.blocks == 1:
                return None
            return Costs((price(n, n),), 1, (_BLOCKS_RATE,), jnp.zeros(()), jnp.zeros(()))
        m = self.sample.rows.n
        few = min(m, self.sample.few * (self.curvature_block or m))
        rate = lambda used: min(0.7, 0.05 + (p / (used * self.family.free_size)) ** 0.5)
        error = jnp.sqrt(p * n / m) * self.sample.unit
        # Two outputs meet in few rows of a sample: what the steps have learned is better than its curvature at another point.
        tries = 1 if self.family.natural_size else 2
        rates = [max(_BLOCKS_RATE if self.blocks > 1 else 0, a) for a in (rate(few), rate(m), 0.05)]
        return Costs((price(few, m), price(m, n), price(n, n)), tries, tuple(rates), error / 10, error)

    def evaluate(self, params: Linear, curvature: bool | Array, stage: Any) -> Evaluation:
        """Value, gradient and curvature of J at params; see :class:`jaxml.optimize.Objective`."""
        if self.sample is None and self.blocks > 1:
            value, gradient, _ = self._sum_blocks(self.rows, params, False)
            whole = lambda params: self._penalised(self._grams(self.rows, params, self.block))
            hessians = where_needed(jnp.asarray(curvature), whole, self._no_grams(), params)
        elif self.sample is None and curvature is False:
            value, gradient, hessians = *self._sums(params), ()
        elif self.sample is None:
            value, gradient, grams = self._sum_blocks(self.rows, params, curvature)
            hessians = tuple(self._with_penalty(gram, by_column=True) for gram in grams)
        else:
            value, gradient, hessians = self._sums_of_stage(params, curvature, stage)
        value += self.penalty(params)
        gradient = jax.tree.map(lambda g, p, a: self.scale * (g + self.total * p * a), gradient, self.l2, params)
        return Evaluation(self.scale * value, gradient, *hessians)

    def penalty(self, params: Linear) -> Array:
        """See :func:`l2_penalty`."""
        return l2_penalty(self.l2, self.total, params)

    def linear(self, params: Linear) -> tuple[Design, Array]:
        """The design and the linear predictors of all rows, those of weight 0 made safe."""
        return linear_predictors(self.rows.safe(), self.center, params)

    def _with_penalty(self, gram: Array, by_column: bool = False) -> Array:
        """Curvature of the size of the others along the flat directions makes the Hessian invertible, and leaves the steps as they
        are, but for their part along these directions. The Hessian of an output alone is invertible as it is."""
        if self.blocks > 1:
            return self.scale * (gram + jax.vmap(jnp.diag)(split(self._ridge(), self.blocks)))
        hessian = gram + jnp.diag(self._ridge())
        if self.flat is not None:
            # The same for all columns it would drown those of small units, but leaves the steps orthogonal to the flat directions.
            mean = jnp.sqrt(jnp.trace(hessian) / len(hessian))
            size = self._sizes(hessian) if by_column else jnp.full(len(hessian), mean)
            hessian = hessian + size[:, None] * self.flat * size
        return self.scale * hessian

    def _sizes(self, hessian: Array) -> Array:
        """(p,) roots of the diagonal, alike for the classes of a column, so that steps keep the sum over these."""
        k = self.family.natural_size or 1
        column = jnp.mean(jnp.diagonal(hessian).reshape(-1, k), axis=1)
        column = jnp.where(column > 0, column, jnp.mean(column))
        return jnp.repeat(jnp.sqrt(column), k)

    def _ridge(self) -> Array:
        return jnp.concatenate([jnp.ravel(p) for p in jax.tree.leaves(self.l2)]) * self.total

    def complete(self, inverse: Callable[[Array], Array], v: Array) -> Array:
        """``inverse``, of the Hessian of each class alone, applied to v (p,) where classes move against each other; where those of a
        column move together, which the likelihood does not see, the inverse curvature of their penalties."""
        table = v.reshape(-1, self.blocks)
        mean = jnp.mean(table, axis=1, keepdims=True)
        apart = inverse(jnp.ravel(table - mean)).reshape(table.shape)
        stiff = self.scale * self.total * jnp.sum(penalty_table(self.family, self.l2), axis=1, keepdims=True)
        together = jnp.where(stiff > 0, self.blocks * mean / jnp.where(stiff > 0, stiff, 1), 0)
        return jnp.ravel(apart - jnp.mean(apart, axis=1, keepdims=True) + together)

    def batch(self, params: Linear, index: Array, keep: Array, key: Array) -> tuple[Array, Linear]:
        """Mean objective and its gradient on a minibatch: w_i n / sum w is the weight of row i."""
        del key
        # The spare row is one of all rows, for a batch may hold none of positive weight.
        rows, w = _masked(self.rows.take(index), keep, _spare(self.rows))
        objective = GLMObjective(
            self.family, rows._replace(weights=w), self.center, self.l2, self.total, 1 / self.total, self.link
        )
        share = self.rows.n / jnp.sum(keep)

        mean = lambda params: (share * objective.loss(params) + self.penalty(params)) / self.total
        return jax.value_and_grad(mean)(params)

    def loss(self, params: Linear) -> Array:
        """sum_i w_i L(z_i, y_i) on all rows at once, differentiable in everything; the definition that the blocks follow."""
        return _block_loss(self.family, self.link, self.rows, self.center, params)

    def summed(self, params: Linear) -> Array:
        """J on all rows at once, differentiable in everything."""
        return self.loss(params) + self.penalty(params)

    def gross_gradient(self, params: Linear) -> Linear:
        """sum_i w_i |x_i| (|m d a(eta)/dz| + |T d eta/dz|): what the gradient would be if nothing in it cancelled; scalar families."""
        rows, (design, z) = self.rows.safe(), self.linear(params)
        eta, slope = jax.jvp(lambda z: natural_parameter(self.family, self.link, z), (z,), (jnp.ones_like(z),))
        mean = jax.jvp(self.family.log_partition, (eta,), (slope,))[1]
        terms = jnp.abs(self.family.trials(rows.y) * mean) + jnp.abs(self.family.statistic(rows.y) * slope)
        return design.size.transposed(self.scale * _weigh(rows.weights, terms))

    def on_edge(self, params: Linear, low: float, high: float) -> Array:
        """Whether some row lies within rounding of the end of the domain (low, high) of its linear predictor; scalar families."""
        rows, (design, z) = self.rows.safe(), self.linear(params)
        size = linear(jax.tree.map(jnp.abs, params), design.size.x)
        size = size if rows.offset is None else size + jnp.abs(rows.offset)
        near = jnp.minimum(z - low, high - z) <= 16 * jnp.finfo(z.dtype).eps * size
        return jnp.any(near & rows.on)

    def curvature(self, params: Linear) -> Array:
        """hessian J on all rows at once, differentiable in everything."""
        return self._with_penalty(_exact_grams(self, params)[0])

    def root(self, params: Linear, hessian: Array) -> tuple[Array, Array]:
        """R^-1 with H = R'R, by QR of W^1/2 [X - c, 1], W the expected curvature; and whether R is far enough from singular.

        It has twice the digits of a Cholesky factor of the Hessian, whose diagonal serves to scale the columns. Blocks of rows
        are added to the factor one after another.
        """
        p, eps = len(hessian), jnp.finfo(hessian.dtype).eps
        norms = jnp.sqrt(jnp.maximum(jnp.diagonal(hessian) / self.scale, 0))
        unit = jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 1)
        extra = [jnp.diag(jnp.sqrt(self._ridge()))]
        extra += [] if self.flat is None else [self.flat * self._sizes(hessian / self.scale)]
        factor = lambda *parts: jnp.linalg.qr(jnp.concatenate(parts), mode="r")
        start = factor(jnp.zeros((p, p), hessian.dtype), *(part * unit for part in extra))
        r = self._over_blocks(
            lambda r, rows, mask, spare: factor(r, _weighted_design(self, rows, mask, spare, params) * unit),
            start,
            self.rows,
            self.block,
        )
        size = jnp.abs(jnp.diagonal(r))
        ok = jnp.all(jnp.isfinite(r)) & jnp.all(size > p * eps * jnp.max(size, initial=0))
        identity = jnp.eye(p, dtype=r.dtype)
        inverse = solve_triangular(jnp.where(ok, r, identity), identity)
        return unit[:, None] * inverse / jnp.sqrt(self.scale), ok

    def _sum_blocks(self, rows: Rows, params: Linear, curvature: bool | Array) -> Any:
        sums = lambda rows, mask, spare: _block_sums(self, rows, mask, spare, params, curvature)
        size = self.block if curvature is False else self.curvature_block
        whole = lambda: sums(rows, None, _spare(rows, self.block))
        if size is None or size >= rows.n:
            return whole()
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(whole))
        return self._over_blocks(lambda t, *block: jax.tree.map(jnp.add, t, sums(*block)), zero, rows, size)

    def _sums(self, params: Linear) -> tuple[Array, Linear]:
        """Value and gradient of all rows, without the penalty."""
        in_blocks = lambda params: self._sum_blocks(self.rows, params, False)[:2]
        if self.tame is None:
            return in_blocks(params)
        nothing = jnp.zeros((), self.rows.X.dtype), jax.tree.map(jnp.zeros_like, params)
        return where_needed(~self.tame, in_blocks, where_needed(self.tame, self._sums_at_once, nothing, params), params)

    def _sums_at_once(self, params: Linear) -> tuple[Array, Linear]:
        """Those of :meth:`_sums`, up to rounding, by two products with the whole of X, which are centred afterwards."""
        rows, weight, bias = self.rows, params.weight, params.bias
        level = 0 if bias is None else bias - self.center @ weight
        few = rows._replace(X=matmul(rows.X, weight))

        def add(total: tuple[Array, Array], first: Array, fresh: Array) -> tuple[Array, Array]:
            product, y, weights, offset = few.block(first, _PIECE)
            z = product + (level if offset is None else level + offset)
            value, slopes = _loss_and_slopes(self, z, y, weights, fresh, together=weights is None)
            # (the barrier, because XLA would compute on one core what it fuses with the update)
            slopes = lax.optimization_barrier(slopes)
            return total[0] + value, lax.dynamic_update_slice_in_dim(total[1], slopes, first, 0)

        start = jnp.zeros((), rows.X.dtype), jnp.zeros(rows.n, rows.X.dtype)
        value, slopes = fold_blocks(add, start, rows.n, _PIECE)
        total = jnp.sum(slopes)
        gradient = row_combination(slopes, rows.X)
        return value, Linear(gradient, None) if bias is None else Linear(gradient - self.center * total, total)

    def _sums_of_stage(self, params: Linear, curvature: bool | Array, stage: Any) -> Any:
        """Value and gradient of the subsample in stage 0, of all rows after it; Grams of a few rows, of the subsample, of all rows."""
        sample = self.sample
        dtype, block = self.rows.X.dtype, self.curvature_block or sample.rows.n
        k, zero = self.family.natural_size or 1, self._no_grams()
        scaled = lambda tree, factor: jax.tree.map(lambda a: factor * a, tree)
        nothing = jnp.zeros((), dtype), jax.tree.map(jnp.zeros_like, params)
        some = lambda params: scaled(self._sum_blocks(sample.rows, params, False)[:2], sample.share)
        sums = where_needed(stage > 0, self._sums, where_needed(stage == 0, some, nothing, params), params)

        def sampled(params: Linear) -> tuple[tuple[Array, ...], Array]:
            most = jnp.where(stage == 0, sample.few, -(-sample.rows.n // block))
            used = jnp.minimum(most * block, sample.rows.n)
            share = sample.share * (sample.rows.n / used)
            grams = scaled(self._grams(sample.rows, params, block, most), share)
            # What the sample does not see, as a rare level of a factor, only all rows can tell.
            least = float(jnp.finfo(dtype).eps) ** -0.5
            enough = cholesky_root(self._penalised(grams[-1:])[0], least, self.least_eigenvalue)[1]
            return self._penalised(tuple(_without_noise(gram, used, k) for gram in grams)), enough

        found, enough = where_needed(curvature & (stage < 2), sampled, (zero, jnp.asarray(False)), params)
        whole = lambda params: self._penalised(self._grams(self.rows, params, block))
        return *sums, where_needed(curvature & ~enough, whole, found, params)

    def _no_grams(self) -> tuple[Array, ...]:
        p, k = self.coefficients, self.blocks
        shape = (p, p) if k == 1 else (k, p // k, p // k)
        return (jnp.zeros(shape, self.rows.X.dtype),) * (1 if is_canonical(self.family, self.link) else 2)

    def _grams(self, rows: Rows, params: Linear, block: int | None, most: Any = None) -> tuple[Array, ...]:
        add = lambda t, rows, mask, spare: jax.tree.map(jnp.add, t, _block_grams(self, rows, mask, spare, params))
        return self._over_blocks(add, self._no_grams(), rows, block, most)

    def _penalised(self, grams: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(self._with_penalty(gram, by_column=True) for gram in grams)

    def _over_blocks(self, add: Any, start: Any, rows: Rows, size: int | None, most: Any = None) -> Any:
        """Fold ``add(carry, rows, mask, spare)`` over the blocks of rows, or over the first `most` of them."""
        n, spare = rows.n, _spare(rows, self.block)
        if size is None or size >= n:
            return add(start, rows, None, spare)

        block = lambda carry, first, fresh: add(carry, rows.block(first, size), fresh, spare)
        return fold_blocks(block, start, n, size, most)


def _without_noise(gram: Array, rows: Array, k: int) -> Array:
    """The Gram of a sample, or of it the k x k block of each column where the correlations between columns are no more than the noise
    of so few rows: of two preconditioners that are off by as much, the one without eigenvalues near 0."""
    if gram.ndim == 3:
        return jax.vmap(lambda block: _without_noise(block, rows, 1))(gram)
    p, unit = len(gram), equilibrate(gram)[1]
    column = jnp.arange(p) // k
    own = column[:, None] == column
    between = jnp.sum(jnp.square(jnp.where(own, 0, unit)))
    return jnp.where(own | (between > _NOISE * p * (p - k) / rows), gram, 0)


def curvature_price(used: int, rows: int, p: int, k: int, blocks: int = 1) -> float:
    """What the curvature of ``used`` rows and its factor cost, in evaluations of value and gradient on ``rows``, for p coefficients of
    k outputs, or of each output alone.

    Measured on CPUs: X'WX goes at 20 times the speed of X'r per operation, at 8 times for several outputs, each pair of which has a
    W of its own, at 5 times where each has one; a factor of the p x p matrix at a fifth of that.
    """
    q, speed = p // blocks, 20 if k == 1 else 8 if blocks == 1 else 5
    return used / rows * (1 + q / speed) + p * q / (8 * rows)


def flat_directions(null: Array | None, l2: Linear, family: Family) -> Array | None:
    """The projector, (p, p), on directions of ravel(Linear) along which neither the likelihood nor the penalty has a slope.

    Args:
        null: (k, q, q) of :class:`jaxml.glm.rank.Rank`, or None.
        l2: penalties. Where the classes of a column are penalised alike, moving all of them together changes nothing in a
            redundant family whose coefficients sum to zero.
        family: Categorical and Multinomial have redundant parameters.
    """
    table, dtype = penalty_table(family, l2), l2.weight.dtype
    k = table.shape[1]
    flat = None if null is None else by_output(null)
    if not family.redundant:
        return flat
    alike = _alike(table)
    gauge = jnp.kron(jnp.diag(alike.astype(dtype)), jnp.full((k, k), 1 / k, dtype))
    return gauge if flat is None else flat + gauge - matmul(flat, gauge)


def balanced(params: Linear, l2: Linear, family: Family) -> Linear:
    """The params with classes that sum to zero where moving all of them together changes nothing; rounding drifts off that."""
    if not family.redundant:
        return params
    still = _alike(penalty_table(family, l2))[:, None]
    center = lambda a, here: a - jnp.where(here, jnp.mean(a, axis=-1, keepdims=True), 0)
    d = len(params.weight)
    bias = None if params.bias is None else center(params.bias, still[d])
    return Linear(center(params.weight, still[:d]), bias)


def _alike(table: Array) -> Array:
    """For each column and the bias, whether all outputs are penalised alike."""
    return jnp.max(table, axis=1) == jnp.min(table, axis=1)


def expected_gram(o: GLMObjective, params: Linear) -> Array:
    """X' W X on all rows at once, W the expected curvature; differentiable in everything."""
    return _exact_grams(o, params)[-1]


def l2_penalty(l2: Linear, total: Any, params: Linear) -> Array:
    """N/2 (l2_w |w|^2 + l2_b b^2)."""
    squares = jax.tree.map(lambda p, a: jnp.sum(p * jnp.square(a)), l2, params)
    return total / 2 * sum(jax.tree.leaves(squares))


def total_weight(family: Family, rows: Rows) -> Array:
    """N, the sum of weights times trials."""
    return jnp.sum(rows.mass * family.trials(rows.safe().y))


def tame(family: Family, rows: Rows, block: int | None, center: Array, spread: Array) -> Array | None:
    """Whether X may be multiplied whole and not centred; None where that is not to be had whatever it holds: no blocks, few rows, few
    columns, several outputs, or float32.

    A row of weight 0 may hold anything, and of a column far from 0 the predictor is a small difference of large ones. The rounding of
    its level is the same for all rows and counts sqrt(n) times in standard errors: far below the tolerance in float64, above it in
    float32 from a mean of one standard deviation on. ``spread`` (d,) are the mean squares of the centred columns.
    """
    few = rows.n < max(2 * (block or 0), _PIECE) or rows.X.shape[1] < _WIDE
    if block is None or few or family.natural_size or rows.X.dtype.itemsize < 8:
        return None
    return jnp.all(rows.on) & jnp.all(jnp.square(center) <= _FAR**2 * spread)


def recentred(params: Linear, center: Array, level: Any = 0.0) -> Linear:
    """The coefficients for columns less their ``center`` and an offset less its ``level``, which give the same predictor."""
    if params.bias is None:
        return params
    return params._replace(bias=params.bias + (center @ params.weight + level))


def by_output(null: Array) -> Array:
    """A projector for each of k outputs, (k, q, q), as one of (q k, q k) in the order of ravel(Linear)."""
    k, q, _ = null.shape
    return jnp.einsum("bij,bc->ibjc", null, jnp.eye(k, dtype=null.dtype)).reshape(q * k, q * k)


def penalty_table(family: Family, l2: Linear) -> Array:
    """The penalties as (q, k): a row for each column of X and for the bias, a column for each output."""
    k = 1 if family.natural_size is None else family.natural_size
    return jnp.concatenate([jnp.reshape(p, (-1, k)) for p in jax.tree.leaves(l2)])


def _spare(rows: Rows, block: int | None = None) -> Rows | None:
    """A row that counts, to stand for those of weight 0, which may hold anything; by index where the rows go through in blocks."""
    return None if rows.weights is None else rows.first(block)


def _masked(rows: Rows, mask: Array | None, spare: Rows | None) -> tuple[Rows, Array | None]:
    """Rows without hazards and their weights: rows of weight 0 are replaced by a valid one, since 0 times NaN is NaN."""
    weights = rows.weights
    if spare is not None:
        plain = rows._replace(weights=None)
        rows = jax.tree.map(lambda a, b: jnp.where(column(weights > 0, a), a, b), plain, spare)
    if mask is not None:
        weights = jnp.where(mask, jnp.ones((), rows.X.dtype) if weights is None else weights, 0)
    return rows, weights


def linear_predictors(rows: Rows, center: Array, params: Linear) -> tuple[Design, Array]:
    """The design and z of each row, for the params of columns less their ``center``."""
    intercept = params.bias is not None
    design = Design(rows.X - center if intercept else rows.X, intercept)
    z = linear(params, design.x)
    return design, z if rows.offset is None else z + rows.offset


def _weigh(weights: Array | None, values: Array) -> Array:
    if weights is None:
        return values
    w = column(weights, values)
    return jnp.where(w > 0, w * values, 0)


def _block_loss(family: Family, link: Link, rows: Rows, center: Array, params: Linear) -> Array:
    rows = rows.safe()
    return jnp.sum(_weigh(rows.weights, row_loss(family, link, linear_predictors(rows, center, params)[1], rows.y)))


def _block_sums(
    o: GLMObjective, rows: Rows, mask: Array | None, spare: Rows | None, params: Linear, curvature: bool | Array
) -> Any:
    """Sums over one block: value, gradient (Linear) and the Grams X' W X, one or two (see `curvatures`)."""
    together = rows.weights is None and o.block is not None and o.family.natural_size is None
    rows, weights = _masked(rows, mask, spare)
    design, z = linear_predictors(rows, o.center, params)
    value, slopes = _loss_and_slopes(o, z, rows.y, weights, mask, together)
    gradient = design.transposed(slopes)

    def grams() -> tuple[Array, ...]:
        return _grams_of_search(o, design, z, rows, weights, params)

    def nothing() -> tuple[Array, ...]:
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(grams))

    if isinstance(curvature, bool):
        return value, gradient, grams() if curvature else ()
    return value, gradient, lax.cond(curvature, grams, nothing)


def _loss_and_slopes(
    o: GLMObjective, z: Array, y: Any, weights: Array | None, on: Array | None, together: bool
) -> tuple[Array, Array]:
    """The weighted loss of those rows that are ``on``, and w dL/dz of all rows, whether on or not.

    With ``together``, for rows whose weights, if any, are 1 where they are on, the loss may combine rows.
    """
    value, slope = value_and_slope(o.family, o.link, z, y)
    value = total_loss(o.family, o.link, z, y, on) if together else sum_where(on, _weigh(weights, value))
    return value, _weigh(weights, slope)


def _block_grams(
    o: GLMObjective, rows: Rows, mask: Array | None, spare: Rows | None, params: Linear
) -> tuple[Array, ...]:
    rows, weights = _masked(rows, mask, spare)
    return _grams_of_search(o, *linear_predictors(rows, o.center, params), rows, weights, params)


def _exact_grams(o: GLMObjective, params: Linear) -> tuple[Array, ...]:
    """X' W X on all rows at once, differentiable in everything: also from a point without slopes to those beside it."""
    rows, weights = _masked(o.rows, None, _spare(o.rows))
    return _row_grams(o, *linear_predictors(rows, o.center, params), rows, weights)


def _row_grams(o: GLMObjective, design: Design, z: Array, rows: Rows, weights: Array | None) -> tuple[Array, ...]:
    found = curvatures(o.family, o.link, z, rows.y)
    if o.blocks == 1:
        return tuple(design.gram(_weigh(weights, w)) for w in found)
    return tuple(design.grams(_weigh(weights, jnp.diagonal(w, axis1=1, axis2=2))) for w in found)


def _grams_of_search(
    o: GLMObjective, design: Design, z: Array, rows: Rows, weights: Array | None, params: Linear
) -> tuple[Array, ...]:
    """Without slopes, as at the start, all rows have the same curvature for each trial, and k^2 times less is to be done."""
    general = lambda: _row_grams(o, design, z, rows, weights)
    if o.family.natural_size is None or rows.offset is not None or not is_canonical(o.family, o.link):
        return general()

    def alike() -> tuple[Array, ...]:
        trials = jnp.broadcast_to(jnp.asarray(o.family.trials(rows.y), z.dtype), (len(z),))
        gram, curved = design.gram(_weigh(weights, trials)), hessian(o.family, z[0])
        return (jnp.kron(gram, curved) if o.blocks == 1 else jnp.diagonal(curved)[:, None, None] * gram,)

    return lax.cond(jnp.any(params.weight != 0), general, alike)


def value_and_slope(family: Family, link: Link, z: Array, y: Any) -> tuple[Array, Array]:
    """L of each row, (n,), and dL/dz, (n,) or (n, k)."""
    if family.natural_size is None:
        return jax.jvp(lambda z: row_loss(family, link, z, y), (z,), (jnp.ones_like(z),))
    return jax.vmap(jax.value_and_grad(lambda z, y: row_loss(family, link, z, y)))(z, y)


def curvatures(family: Family, link: Link, z: Array, y: Any) -> tuple[Array, ...]:
    """W of each row, (n,) or (n, k, k): observed, and where it differs from it also expected."""
    if family.natural_size is None:
        slope = lambda z: value_and_slope(family, link, z, y)[1]
        observed = jax.jvp(slope, (z,), (jnp.ones_like(z),))[1]
        if is_canonical(family, link):
            return (observed,)
        return observed, family.trials(y) * row_information(family, link, z)
    observed = jax.vmap(jax.hessian(lambda z, y: row_loss(family, link, z, y)))(z, y)
    if is_canonical(family, link):
        return (observed,)
    jacobian = jax.vmap(jax.jacfwd(lambda z: natural_parameter(family, link, z)))(z)
    eta = natural_parameter(family, link, z)
    return observed, jnp.einsum("nai,nab,nbj->nij", jacobian, hessian(family, eta), jacobian, precision="highest")


def _weighted_design(o: GLMObjective, rows: Rows, mask: Array | None, spare: Rows | None, params: Linear) -> Array:
    """W^1/2 [X - c, 1] with W the expected curvature of each row: (n, p), or (n k, p) in the order of ravel(Linear)."""
    rows, weights = _masked(rows, mask, spare)
    design, z = linear_predictors(rows, o.center, params)
    x = design.dense()
    w = _weigh(weights, curvatures(o.family, o.link, z, rows.y)[-1])
    if w.ndim == 1:
        return jnp.sqrt(jnp.maximum(w, 0))[:, None] * x
    values, vectors = jnp.linalg.eigh(w)
    half = jnp.sqrt(jnp.maximum(values, 0))[:, :, None] * jnp.swapaxes(vectors, 1, 2)
    return (half[:, :, None, :] * x[:, None, :, None]).reshape(-1, x.shape[1] * w.shape[-1])
