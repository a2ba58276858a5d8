"""Product family: a vector of independent coordinates, each with a law of its own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.families import functions
from jaxml.families.base import Family, family, static_field


@family
class Product(Family):
    """y in R^c with independent parts: log p(y; eta) = sum_j log p_j(y_j; eta_j), a = sum_j a_j / phi_j, T = (T_j / phi_j).

    A part whose observation is a number is the law of each of its columns, with a natural parameter for each; a part whose
    observation is a vector (:class:`MultivariateNormal`, :class:`Dirichlet`) that of all its columns together. eta is the
    concatenation over the parts in their order. A Categorical part reads the codes of its levels from the columns.

    Args:
        parts: families, pytrees.
        columns: static, for each part the columns of y that it describes, as a tuple.

    Raises:
        TypeError, ValueError: (where a model is fitted) for parts that count trials, whose number differs by observation, and for
            columns that are missing or named twice.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> law = families.Product((families.Bernoulli(), families.Poisson()), ((0, 2), (1,)))
        >>> print(f"{families.log_prob(law, jnp.zeros(3), jnp.array([1.0, 0.0, 0.0])):.4f}")  # -2 log 2 - 1
        -2.3863

    Source: notes 7.3; Barndorff-Nielsen (1978), section 8.1.
    """

    parts: Any
    columns: Any = static_field()

    observation_ndim = 1
    default_link = "unconstrained"

    @property
    def natural_size(self):
        return sum(self._sizes)

    @property
    def observation_size(self):
        return sum(map(len, self.columns))

    @property
    def counts(self):
        return any(part.counts for part in self.parts)

    def log_partition(self, eta):
        return self._sum(lambda part, eta: part.log_partition(eta) / part.dispersion, self._split(eta))

    def statistic(self, y):
        return self._join(
            [part.statistic(v) / part.dispersion for part, v in zip(self.parts, self._pieces(y), strict=True)]
        )

    def log_base(self, y):
        return self._sum(lambda part, y: part.log_base(y), self._pieces(y))

    def support(self, y):
        return self._all(lambda part, y: part.support(y), y)

    def hull(self, y):
        return self._all(lambda part, y: part.hull(y), y)

    def parameters_valid(self):
        self._check_structure()
        return jnp.all(jnp.stack([jnp.all(jnp.asarray(part.parameters_valid())) for part in self.parts]))

    def loss(self, eta, y):
        return self._sum(lambda part, eta, y: part.loss(eta, y) / part.dispersion, self._split(eta), self._pieces(y))

    def losses(self, eta, y):
        tables = zip(self.parts, self._split(eta), self._pieces(y), strict=True)
        return sum(part.losses(eta, y) / part.dispersion for part, eta, y in tables)

    def moments(self, y, weights):
        return tuple(part.moments(v, weights) for part, v in zip(self.parts, self._pieces(y), strict=True))

    def merge(self, a, b, share):
        return tuple(part.merge(*pair, share) for part, *pair in zip(self.parts, a, b, strict=True))

    def smoothed(self, moments, size, pooled, alpha):
        parts = zip(self.parts, moments, pooled, strict=True)
        return tuple(part.smoothed(m, size, p, alpha) for part, m, p in parts)

    def raised(self, moments, pooled):
        each = [part.raised(*pair) for part, *pair in zip(self.parts, moments, pooled, strict=True)]
        return tuple(m for m, _ in each), sum(count for _, count in each)

    def from_moments(self, moments):
        return self._join([functions.maximum_likelihood(*pair) for pair in zip(self.parts, moments, strict=True)])

    def natural(self, mean):
        blocks = zip(self.parts, self._split(mean), strict=True)
        return self._join([functions.natural(part, block * part.dispersion) for part, block in blocks])

    def divergence(self, p, q):
        return self._sum(functions.kl_divergence, self._split(p), self._split(q))

    def entropy(self, eta, trials=None):
        return self._sum(functions.entropy, self._split(eta))

    def expected_log_base(self, eta, trials=None):
        return self._sum(lambda part, eta: part.expected_log_base(eta), self._split(eta))

    def expectation(self, eta):
        means = [functions.expected_value(*pair) for pair in zip(self.parts, self._split(eta), strict=True)]
        return self._place(means)

    def from_unconstrained(self, z):
        return self._join([part.from_unconstrained(v) for part, v in zip(self.parts, self._split(z), strict=True)])

    def to_unconstrained(self, eta):
        return self._join([part.to_unconstrained(v) for part, v in zip(self.parts, self._split(eta), strict=True)])

    def support_function(self, v):
        return self._sum(lambda part, v: part.support_function(v) / part.dispersion, self._split(v))

    def sample(self, key, eta, shape, trials=None):
        keys = jax.random.split(key, len(self.parts))
        draws = [part.sample(*a, shape) for part, *a in zip(self.parts, keys, self._split(eta), strict=True)]
        return self._place([d.astype(eta.dtype) for d in draws])

    def _check_structure(self):
        if len(self.parts) != len(self.columns) or not self.parts:
            raise ValueError(f"Product has {len(self.parts)} parts, but columns for {len(self.columns)}")
        if any(part.has_trials for part in self.parts):
            raise TypeError(f"a part of {self} counts trials, whose number differs by observation")
        described = sorted(j for columns in self.columns for j in columns)
        if described != list(range(len(described))):
            raise ValueError(f"the columns {self.columns} of Product must name each of 0..c-1 once")

    # -- blocks of eta and of y ------------------------------------------------------------------------------------
    @property
    def _sizes(self):
        """Entries of eta for each part."""
        return [
            (part.natural_size or 1) * (1 if part.observation_ndim else len(columns))
            for part, columns in zip(self.parts, self.columns, strict=True)
        ]

    def _split(self, eta):
        """eta by parts: (..., c), (..., c, k), or (..., k) for a part whose observation is a vector."""
        blocks = jnp.split(eta, np.cumsum(self._sizes)[:-1], axis=-1)
        return [
            block.reshape(*block.shape[:-1], len(columns), part.natural_size)
            if part.natural_size is not None and not part.observation_ndim
            else block
            for part, columns, block in zip(self.parts, self.columns, blocks, strict=True)
        ]

    def _join(self, blocks):
        flat = [
            block.reshape(*block.shape[:-2], -1)
            if part.natural_size is not None and not part.observation_ndim
            else block
            for part, block in zip(self.parts, blocks, strict=True)
        ]
        return jnp.concatenate(flat, axis=-1)

    def _pieces(self, y):
        """y by parts, the codes of labels as integers."""
        pieces = [y[..., _slice(columns)] for columns in self.columns]
        return [v.astype(jnp.int32) if part.labels else v for part, v in zip(self.parts, pieces, strict=True)]

    def _place(self, pieces):
        """The inverse of :meth:`_pieces`."""
        order = np.argsort(np.concatenate([np.asarray(columns) for columns in self.columns]))
        return jnp.concatenate(pieces, axis=-1)[..., order]

    def _sum(self, function, *blocks):
        """The sum over parts, and over the columns of a part whose observation is a number."""
        terms = [
            (function(part, *args), part.observation_ndim) for part, *args in zip(self.parts, *blocks, strict=True)
        ]
        return sum(term if vector else jnp.sum(term, axis=-1) for term, vector in terms)

    def _all(self, function: Any, y: Any) -> Any:
        terms = [
            (function(part, y[..., _slice(columns)]), part.observation_ndim)
            for part, columns in zip(self.parts, self.columns, strict=True)
        ]
        inside: Any = True
        for term, vector in terms:
            inside &= term if vector else jnp.all(term, axis=-1)
        return inside


def independent(family: Family, dimension: int) -> Product:
    """The law of a vector whose coordinates are independent, each with a natural parameter of its own in the same family.

    Args:
        family: a family whose observation is a number.
        dimension: length of the vector.

    Returns:
        :class:`Product` of one part.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> law = families.independent(families.Poisson(), 3)
        >>> print(families.mean(law, jnp.log(jnp.array([1.0, 2.0, 3.0]))).round(4))
        [1. 2. 3.]
    """
    return Product((family,), (tuple(range(dimension)),))


def _slice(columns: tuple[int, ...]) -> Any:
    """A slice where the columns are consecutive, which copies nothing."""
    first = columns[0]
    return (
        slice(first, first + len(columns))
        if columns == tuple(range(first, first + len(columns)))
        else np.asarray(columns)
    )
