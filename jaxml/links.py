r"""Link functions g(mu) = z between the mean and the linear predictor.

A link does not go through the mean. It maps z to the *unconstrained coordinate* u of the mean, m itself where means are real,
log m where they are positive, logit m where they lie in (0, 1), and a family gives its natural parameter as a function of u.
So 8 links and n families need 8 x 3 + n formulas, and no digits are lost where the mean saturates: through the mean, the
probit model has infinite logits from z = 9 on.

Source: McCullagh & Nelder (1989), sections 2.2.4 and 4.3.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxml import coordinates, special
from jaxml.coordinates import Map, where_positive
from jaxml.families.base import Family


@dataclass(frozen=True)
class Link:
    """A link function; compared and hashed by identity of its functions, since it is static under jit.

    Args:
        name: as printed.
        inverse: f, mu = f(z).
        forward: g, z = g(mu); None where it is not known, then found by search.
        positive: z -> log f(z), for families whose mean is positive; by default through the mean.
        unit: z -> logit f(z), for families whose mean is in (0, 1); by default through the mean.
        sigmoid: whether f increases from 0 to 1 over the whole line.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, glm, links
        >>> mean, back = lambda z: 0.5 + jnp.arctan(z) / jnp.pi, lambda m: jnp.tan(jnp.pi * (m - 0.5))
        >>> cauchit = links.Link("cauchit", mean, back)
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 1, 0, 1])
        >>> print(glm.fit(families.Bernoulli(), X, y, link=cauchit).link.name)
        cauchit
    """

    name: str
    inverse: Map
    forward: Map | None = None
    positive: Map | None = None
    unit: Map | None = None
    sigmoid: bool = False

    @property
    def known(self) -> bool:
        """Whether this is one of the named links, which keep their digits where the mean saturates."""
        return self in _ALL

    def coordinate(self, space: str, z: Array) -> Array:
        """The unconstrained coordinate u(z) of the mean in 'real' (f(z)), 'positive' (log f(z)) or 'unit' (logit f(z)).

        NaN where f(z) is outside the space.
        """
        if space == "real":
            return self.inverse(z)
        own = self.positive if space == "positive" else self.unit
        if own is not None:
            return own(z)
        return jnp.log(self.inverse(z)) if space == "positive" else special.logit(self.inverse(z))


identity = Link("identity", lambda z: z, lambda m: m, where_positive(special.log))
log = Link("log", jnp.exp, jnp.log, lambda z: z, coordinates.logit_of_exp)
logit = Link("logit", special.sigmoid, special.logit, lambda z: -special.softplus(-z), lambda z: z, sigmoid=True)
probit = Link(
    "probit",
    coordinates.probit_mean,
    jax.scipy.special.ndtri,
    special.log_ndtr,
    special.log_odds_ndtr,
    sigmoid=True,
)
cloglog = Link(
    "cloglog",
    coordinates.cloglog_mean,
    lambda m: jnp.log(-special.log1p(-m)),
    coordinates.log_of_cloglog,
    coordinates.logit_of_cloglog,
    sigmoid=True,
)
inverse = Link(
    "inverse",
    lambda z: 1 / z,
    lambda m: 1 / m,
    where_positive(lambda z: -special.log(z)),
    coordinates.logit_of_reciprocal,
)
sqrt = Link(
    "sqrt",
    lambda z: jnp.where(z > 0, z * z, jnp.nan),
    jnp.sqrt,
    where_positive(lambda z: 2 * special.log(z)),
    coordinates.logit_of_square,
)
inverse_squared = Link(
    "inverse_squared",
    lambda z: jnp.where(z > 0, z, jnp.nan) ** -0.5,
    lambda m: m**-2.0,
    where_positive(lambda z: -special.log(z) / 2),
    coordinates.logit_of_inverse_root,
)
canonical = Link("canonical", lambda z: z)  # z is eta
unconstrained = Link("unconstrained", lambda z: z)  # eta is the family's own map of z onto its domain

_ALL = (identity, log, logit, probit, cloglog, inverse, sqrt, inverse_squared, canonical, unconstrained)
BY_NAME = {link.name: link for link in _ALL}


def resolve(family: Family, link: Any) -> Link:
    """The link record for a name, a record, an inverse-link function, or None for the family's default.

    Args:
        family: the law of y.
        link: as for :func:`jaxml.glm.fit`, or a :class:`Link`.

    Returns:
        :class:`Link`; one made from a function is equal to another made from the same function.

    Raises:
        ValueError: for an unknown name, what is no link, or a link to the mean of a family that declares none.

    Example:
        >>> from jaxml import families, links
        >>> print(links.resolve(families.Poisson(), None).name, links.resolve(families.Bernoulli(), "probit").name)
        log probit
    """
    if link is None:
        link = family.default_link
    if isinstance(link, str):
        if link not in BY_NAME:
            raise ValueError(f"link={link!r} is not known; use one of {', '.join(BY_NAME)}, or a function mu = f(z)")
        link = BY_NAME[link]
    elif callable(link) and not isinstance(link, Link):
        link = Link(getattr(link, "__name__", "custom"), link)
    if not isinstance(link, Link):
        raise ValueError(f"link must be a name, a function mu = f(z) or None, got {link!r}")
    own = type(family).from_unconstrained is not Family.from_unconstrained
    if link is unconstrained and family.natural_bounds != (-math.inf, math.inf) and not own:
        raise ValueError(
            f"link='unconstrained' is for families with a map of their own onto the natural domain; {type(family).__name__} takes"
            f" None (here {family.default_link!r}), 'log' or 'canonical'"
        )
    if link not in (canonical, unconstrained) and family.space is None:
        raise ValueError(
            f"link={link.name!r} needs a family with one declared mean; {type(family).__name__} takes link='canonical' (the linear"
            " predictor is the natural parameter) or 'unconstrained' (the family's own map onto its natural domain)"
        )
    return link


def natural_parameter(family: Family, link: Link, z: Array) -> Array:
    """eta as a function of the linear predictor z.

    Args:
        family: the law of y.
        link: from :func:`resolve`.
        z: (...), or (..., k) for a vector eta.

    Returns:
        eta, of the shape of z; NaN outside the domain of the link. The canonical link passes z on as it is, also where
        it is outside the natural domain; Geometric gives 0, the edge of that domain, where the mean would be 1 or less.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families, links
        >>> print(links.natural_parameter(families.Poisson(), links.sqrt, jnp.array([1.0, -1.0])))  # log z^2, z > 0
        [ 0. nan]

    Source: McCullagh & Nelder (1989), section 2.2.
    """
    if link is canonical:
        return z
    if link is unconstrained:
        return family.from_unconstrained(z)
    assert family.space is not None
    if is_canonical(family, link) and family.canonical_scale is not None:
        low, high = family.natural_bounds
        eta = family.canonical_scale * z
        return eta if low == -math.inf and high == math.inf else jnp.where((eta > low) & (eta < high), eta, jnp.nan)
    return family.natural_from_coordinate(link.coordinate(family.space, z))


def is_canonical(family: Family, link: Link) -> bool:
    """Whether eta is a linear function of z, so that observed and expected information agree.

    Example:
        >>> from jaxml import families, links
        >>> links.is_canonical(families.Poisson(), links.log), links.is_canonical(families.Gamma(), links.log)
        (True, False)

    Source: McCullagh & Nelder (1989), section 2.2.4.
    """
    return link is canonical or (link.known and link.name == family.canonical_link)


def spans_mean(family: Family, link: Link) -> bool:
    """Whether z runs over the whole line as the mean runs over the interior of the hull of the support, increasing.

    Then y on the boundary of the hull can push the coefficients to infinity. Known for the links by name and for those that say so,
    see :class:`Link`; False where y, a positive real number, is never on the boundary.

    Example:
        >>> from jaxml import families, links
        >>> links.spans_mean(families.Bernoulli(), links.probit), links.spans_mean(families.Poisson(), links.sqrt)
        (True, False)
    """
    if family.space == "unit":
        return link.sigmoid or is_canonical(family, link)
    return (
        family.space == "positive"
        and (family.counts or family.mass_at_zero)  # a positive real y is never on the boundary
        and family.mean_bounds[0] == 0
        and (link is log or (link is canonical and family.canonical_link == "log"))
    )


def domain(family: Family, link: Link) -> tuple[float, float]:
    """The open interval of linear predictors z for which the mean is inside its hull; scalar families.

    The whole line where it is not known: the link has no ``forward``, or the family declares no mean.

    Example:
        >>> from jaxml import families, links
        >>> links.domain(families.Poisson(), links.sqrt)
        (0.0, inf)
    """
    if link is canonical:
        return family.natural_bounds
    if is_canonical(family, link) and family.canonical_scale is not None:
        low, high = sorted(bound / family.canonical_scale + 0.0 for bound in family.natural_bounds)  # (no -0.0)
        return low, high
    if link.forward is None or link is unconstrained or family.space is None:
        return -math.inf, math.inf
    low, high = family.mean_bounds
    if link.sigmoid and low <= 0 and high >= 1:
        return -math.inf, math.inf
    with jax.ensure_compile_time_eval():
        ends = sorted(float(link.forward(jnp.asarray(bound))) for bound in (low, high))
    return (ends[0], ends[1]) if ends[0] < ends[1] else (-math.inf, math.inf)
