r"""One family of x for each class, fitted by matching moments; naive Bayes where its coordinates are independent.

    mean_k = (sum_{i in k} w_i T(x_i) + alpha m u) / (sum_{i in k} w_i + alpha m)

u is the mean of the uniform law on the m values of a finite support: Laplace smoothing, (alpha + count) / (m alpha + n_k) for each
value. Families without a finite support are smoothed towards all rows, by alpha rows with their moments.

Source: notes 7.3, 7.4; Mitchell (1997), *Machine Learning*, section 6.9; Murphy (2012), section 3.5.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxml.checks import check_family
from jaxml.families.base import Family
from jaxml.families.functions import maximum_likelihood
from jaxml.generative.classifier import Classifier
from jaxml.records import record


@record
class NaiveBayes:
    """The model: the law of a row is the same family in every class, with a natural parameter of its own.

    Args:
        family: of a row, as ``families.independent(families.Bernoulli(), d)``, a :class:`jaxml.families.Product` of different families,
            or ``families.Multinomial(d)`` for rows of counts.
        smoothing: alpha, the pseudo-count of each value, not negative; 0 is maximum likelihood, under which a value that a class
            has not shown is impossible in it.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, generative
        >>> X, y = jnp.array([[1.0, 5.0], [1.0, 7.0], [0.0, 1.0]]), jnp.array([0, 0, 1])
        >>> family = families.Product((families.Bernoulli(), families.Poisson()), ((0,), (1,)))
        >>> fit = generative.fit(generative.NaiveBayes(family, 1.0), X, y)
        >>> print(f"{jnp.exp(fit.eta[0, 0]):.2f}")  # odds (1 + 2) / (1 + 0)
        3.00
    """

    family: Family
    smoothing: Any = 1.0

    def checked(self) -> "NaiveBayes":
        """The model, or an error that says what is wrong with it."""
        check_family(self.family)
        refuse_number("smoothing", self.smoothing)
        return self

    def moments(self, X: Array, y: Array, shares: Array, weight: Array, block: int | None) -> Any:
        """The moments of each class; shares (K, n) sum to 1 over the rows."""
        del y, weight, block
        return jax.vmap(partial(self.family.moments, X))(shares)

    def merge(self, a: Any, b: Any) -> Any:
        """The moments of both summaries together."""
        return jax.vmap(partial(merged, self.family.merge))(a.moments, b.moments, share_of(a.size, b.size))

    def estimate(self, summary: Any, log_prior: Array) -> Classifier:
        """See :func:`jaxml.generative.estimate`."""
        family = self.family
        pooled, _ = pool(family.merge, summary.moments, summary.size)

        def of_class(moments: Any, size: Array) -> tuple[Array, Array]:
            smooth = family.smoothed(moments, size, pooled, self.smoothing)
            moments, raised = family.raised(smooth, pooled)
            return maximum_likelihood(family, moments), jnp.asarray(raised, jnp.int32)

        eta, raised = jax.vmap(of_class)(summary.moments, summary.size)
        return Classifier(log_prior, eta, family, None, summary.weight, raised, jnp.asarray(False))


def share_of(a: Array, b: Array) -> Array:
    """b / (a + b), 0 where both are 0."""
    return b / jnp.where(a + b > 0, a + b, 1)


def merged(merge: Any, a: Any, b: Any, share: Array) -> Any:
    """The moments of both sets of rows; those of a share of 0 may be anything."""
    return merge(*known(a, b, share), share)


def known(a: Any, b: Any, share: Array) -> tuple[Any, Any]:
    """Both, with numbers that are not finite replaced by the other's where they have no share."""
    pick = lambda unused: lambda own, other: jnp.where(unused & ~jnp.isfinite(own), other, own)
    return jax.tree.map(pick(share == 1), a, b), jax.tree.map(pick(share == 0), b, a)


def refuse_number(name: str, value: Any, most: float = math.inf) -> None:
    """Refuse an option outside [0, most], where it can be read."""
    if not isinstance(value, jax.core.Tracer) and not 0 <= float(value) <= most:
        wanted = f"be between 0 and {most}" if most < math.inf else "not be negative"
        raise ValueError(f"{name} must {wanted}, got {value}")


def pool(merge: Any, moments: Any, size: Array) -> tuple[Any, Array]:
    """The moments of all classes together, and their size."""

    def add(total: Any, k: Any) -> tuple[Any, None]:
        (moments, size), (more, extra) = total, k
        return (merged(merge, moments, more, share_of(size, extra)), size + extra), None

    first = jax.tree.map(lambda leaf: leaf[0], (moments, size))
    rest = jax.tree.map(lambda leaf: leaf[1:], (moments, size))
    return lax.scan(add, first, rest)[0]
