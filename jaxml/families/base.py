r"""What an exponential family is.

    p(y; eta) = b(y) exp( (<eta, T(y)> - m(y) a(eta)) / phi )

a is the log-partition function, T the sufficient statistic, b the base measure, phi the dispersion (1 unless the family
has one) and m the number of trials (1 except for Binomial and Multinomial, whose observations carry it).

A family is a frozen dataclass of a few methods. Its array fields hold values shared by all rows (the size of a negative
binomial, a known variance); what fixes shapes (the number of classes) is a static field. Everything else (moments,
divergences, deviance, fits) is a function over any family, in :mod:`jaxml.families.functions`.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxml import special
from jaxml.records import record as family
from jaxml.records import static_field as static_field
from jaxml.rows import sum_where


@family
class Family:
    """Base of all families. A new family defines the first four methods; the rest is optional and adds abilities.

    Methods take batches: eta is (...) for a scalar natural parameter and (..., k) for a vector one, y likewise, and results
    broadcast. ``log_partition`` is +inf outside the natural domain. No method validates or converts: that is done at the door.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> @families.family
        ... class Rayleigh(families.Family):
        ...     '''p(y; eta) = 2 y exp(eta y^2 + log(-eta)), eta = -1 / (2 s^2), y > 0.'''
        ...     def log_partition(self, eta): return jnp.where(eta < 0, -jnp.log(-eta), jnp.inf)
        ...     def statistic(self, y): return y**2
        ...     def log_base(self, y): return jnp.log(2 * y)
        ...     def support(self, y): return y > 0
        >>> print(families.mean(Rayleigh(), -0.5))
        2.0

    Source: notes 5.1; Barndorff-Nielsen (1978), chapter 8; Wainwright & Jordan (2008), section 3.2.
    """

    natural_size: ClassVar[Any] = None  # None: eta is a scalar; an int (or a property): eta has shape (..., k)
    observation_ndim: ClassVar[int] = 0  # trailing dimensions of one observation y
    labels: ClassVar[bool] = False  # y holds class labels 0..K-1
    counts: ClassVar[Any] = False  # y holds integers that a narrow float could round
    discrete: ClassVar[bool] = False  # a number y is an integer, so that P(Y = y) > 0
    mass_at_zero: ClassVar[bool] = False  # y is real, and 0 with positive probability
    has_trials: ClassVar[bool] = False  # one observation carries a number of trials
    mean_bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)  # closed hull of the support of a scalar T
    natural_bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)  # natural domain of a scalar eta
    space: ClassVar[str | None] = (
        None  # 'real', 'positive' or 'unit': where the mean per trial lives; None: not declared
    )
    default_link: ClassVar[str] = "canonical"
    canonical_link: ClassVar[str | None] = None  # the link by which eta is linear in z, if it has a name
    canonical_scale: ClassVar[float | None] = None  # eta / z by that link; None: found by way of the mean
    redundant: ClassVar[bool] = False  # eta + c (1, ..., 1) is the same law: Categorical, Multinomial
    estimates_dispersion: ClassVar[Any] = False  # the dispersion is unknown and estimated by a fit
    dispersion_by_deviance: ClassVar[bool] = (
        True  # its maximum-likelihood estimate depends on the data by the deviance alone
    )
    parameters_rule: ClassVar[str] = (
        "its parameters must be positive and finite"  # what parameters_valid asks, in words
    )

    # -- what a family is ------------------------------------------------------------------------------------------
    def log_partition(self, eta: Array) -> Array:
        """a(eta), per trial; +inf outside the natural domain."""
        raise NotImplementedError(f"{type(self).__name__} must define log_partition(eta)")

    def statistic(self, y: Any) -> Array:
        """T(y), of the shape of eta."""
        raise NotImplementedError(f"{type(self).__name__} must define statistic(y)")

    def log_base(self, y: Any) -> Array:
        """log b(y), at the dispersion of the family."""
        raise NotImplementedError(f"{type(self).__name__} must define log_base(y)")

    def support(self, y: Any) -> Array:
        """Whether y is a possible observation (boolean, one per observation)."""
        raise NotImplementedError(f"{type(self).__name__} must define support(y)")

    def parameters_valid(self) -> Any:
        """Whether the fields that all rows share (a variance, a size) are possible values."""
        return True

    # -- what autodiff cannot give ---------------------------------------------------------------------------------
    def hull(self, y: Any) -> Array:
        """Whether T(y) lies in the closed convex hull of the support, all that quasi-likelihood asks."""
        return self.support(y)

    def trials(self, y: Any) -> Any:
        """m(y), the number of trials of an observation."""
        return 1

    @property
    def dispersion(self) -> Any:
        """phi; 1 where the family has none or where it is unknown."""
        return 1

    def with_dispersion(self, phi: Any) -> "Family":
        """The same family with its dispersion known to be phi; TypeError for a family without one."""
        raise TypeError(f"{type(self).__name__} has no dispersion to set")

    def maximum_likelihood_dispersion(self, mean_deviance: Array) -> Array:
        """The phi that maximises the likelihood, given the deviance per observation (where ``dispersion_by_deviance`` is False, a phi
        close to it); TypeError where there is none."""
        raise TypeError(f"{type(self).__name__} has no dispersion to estimate")

    def loss(self, eta: Array, y: Any) -> Array:
        """``m(y) a(eta) - <eta, T(y)>``: minus log p at dispersion 1 without log b. Override to avoid a cancellation."""
        return self.trials(y) * self.log_partition(eta) - self.inner(eta, self.statistic(y))

    def total_loss(self, eta: Array, y: Any, on: Array | None = None) -> Array:
        """The sum of :meth:`loss` over those rows that are ``on`` (None: all). Override where it is cheaper than the losses."""
        return sum_where(on, self.loss(eta, y))

    def natural(self, mean: Array) -> Array:
        """The eta with grad a(eta) = mean; a closed form where there is one."""
        raise NotImplementedError

    def conjugate(self, mean: Array) -> Array:
        """a*(mean) = sup_eta <eta, mean> - a(eta), finite also where the mean is on the boundary; gives the deviance."""
        raise NotImplementedError

    def expectation(self, eta: Array) -> Array:
        """E[Y] per trial, of the shape of y; needed where T(y) is not y itself."""
        raise NotImplementedError

    def saturated(self, y: Any) -> tuple[Array, Array]:
        """The eta that fits y itself and m a*(T/m); optional, where rounding T/m would lose the remainder of many trials."""
        raise NotImplementedError

    def divergence(self, p: Array, q: Array) -> Array:
        """KL(p || q) per trial at dispersion 1, also for p close to q; optional, where the difference of log-partition functions
        loses digits; NaN where it loses none."""
        raise NotImplementedError

    def log_saturated(self, y: Any) -> Array:
        """log p(y) at the eta that fits y itself, without cancellation for large counts; optional."""
        raise NotImplementedError

    def natural_from_coordinate(self, u: Array) -> Array:
        """eta as a function of the unconstrained coordinate u of the mean (real: m; positive: log m; unit: logit m)."""
        raise NotImplementedError

    def loss_from_coordinate(self, u: Array, y: Any) -> Array:
        """:meth:`loss` as a function of that coordinate; override where eta over- or underflows before the loss does."""
        return self.loss(self.natural_from_coordinate(u), y)

    def information_from_coordinate(self, u: Array) -> Array:
        """The expected second derivative in u of :meth:`loss_from_coordinate`, per trial: a''(eta) (d eta / du)^2."""
        eta, slope = jax.jvp(self.natural_from_coordinate, (u,), (jnp.ones_like(u),))
        first = lambda eta: jax.jvp(self.log_partition, (eta,), (jnp.ones_like(eta),))[1]
        return jax.jvp(first, (eta,), (slope,))[1] * slope

    def from_unconstrained(self, z: Array) -> Array:
        """A smooth map of all of R^k onto the natural domain; the identity where that is R^k, and for a scalar eta."""
        return z

    def to_unconstrained(self, eta: Array) -> Array:
        """The inverse of :meth:`from_unconstrained`."""
        return eta

    def initial_natural(self, mean: Array) -> Array:
        """A rough eta from which Newton's method can invert the mean; needed where ``natural`` has no closed form."""
        raise NotImplementedError

    def cumulative(self, eta: Array, y: Any) -> tuple[Array, Array]:
        """P(Y <= y) and P(Y > y) at the dispersion of the family, neither as a difference from 1 where it is small; 0 and 1 below the
        support. Needed by ``cdf`` and ``sf``, quantile residuals and prediction intervals."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define cumulative(eta, y), which cdf, sf, quantile residuals and prediction intervals need"
        )

    def expected_log_base(self, eta: Array, trials: Any = None) -> Array:
        """E[log b(Y)], needed by entropy and cross-entropy where log b depends on y."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define expected_log_base(eta), which entropy and cross_entropy need"
        )

    def entropy(self, eta: Array, trials: Any = None) -> Array:
        """-E[log p(Y)]; optional, for families where a(eta) - <eta, mean> - E[log b] would be a difference of large terms."""
        raise NotImplementedError

    def moments(self, y: Any, weights: Array) -> Any:
        """What maximum likelihood needs of observations (n, ...), as a pytree: the weighted mean of T(y) per trial, or the same in
        coordinates that do not cancel (a variance, not E[y^2]). Weights (n,) sum to 1."""
        total = jnp.tensordot(weights, jnp.asarray(self.statistic(y), weights.dtype), 1)
        return total / jnp.sum(weights * self.trials(y)) if self.has_trials else total

    def merge(self, a: Any, b: Any, share: Array) -> Any:
        """The moments of (1 - share) a + share b, a mixture of two sets of observations."""
        return jax.tree.map(lambda a, b: (1 - share) * a + share * b, a, b)

    def from_moments(self, moments: Any) -> Array:
        """The eta with these moments: maximum likelihood."""
        raise NotImplementedError

    def raised(self, moments: Any, pooled: Any) -> tuple[Any, Any]:
        """Moments of some of the observations that have an eta: a spread of 0 beside that of all of them, `pooled`, is raised to the
        share sqrt(eps) of it (see :func:`raised_spread`); and how many were."""
        return moments, 0

    def uniform(self) -> tuple[Any, int] | None:
        """For a finite support the moments of the uniform law on it, and the number of values: what Laplace smoothing adds."""
        return None

    def smoothed(self, moments: Any, size: Array, pooled: Any, alpha: Any) -> Any:
        """The moments of `size` observations and alpha more of each value; without a finite support, alpha with the moments `pooled` of
        all classes. Those of all classes where there are no observations and alpha is 0."""
        uniform = self.uniform()
        center, count = (pooled, 1) if uniform is None else uniform
        center = jax.tree.map(lambda c, m: jnp.broadcast_to(jnp.asarray(c, m.dtype), m.shape), center, moments)
        total = size + alpha * count
        moments = jax.tree.map(lambda m, p: jnp.where(total > 0, m, p), moments, pooled)
        return self.merge(moments, center, alpha * count / jnp.where(total > 0, total, 1))

    def losses(self, eta: Array, y: Any) -> Array:
        """The loss of each of n observations under each of K natural parameters, (n, K); optional, where it is a matrix product.
        Trailing axes of independent scalar observations, y (n, c), are summed over."""
        each = jax.vmap(lambda eta: self.loss(eta, y), out_axes=1)(eta)
        return each if each.ndim == 2 else jnp.sum(each, axis=2)

    def support_function(self, v: Array) -> Array:
        """sup over the support of <t, v>, per trial: which directions of eta can raise the likelihood for ever."""
        low, high = self.mean_bounds
        return jnp.where(v == 0, 0.0, jnp.where(v > 0, high * v, low * v))

    def sample(self, key: Array, eta: Array, shape: tuple[int, ...], trials: Any = None) -> Any:
        """Draws of Y of shape ``shape + batch``, with a last axis more where y is a vector."""
        raise NotImplementedError(f"{type(self).__name__} does not define a sampler")

    @property
    def observation_size(self) -> int | None:
        """The length of y where it is a vector, as far as it is known; None for a number."""
        return self.natural_size if self.observation_ndim else None

    @property
    def free_size(self) -> int:
        """How many numbers of eta the law depends on: a redundant family can do without one of them."""
        return 1 if self.natural_size is None else self.natural_size - self.redundant

    @property
    def has_deviance(self) -> bool:
        """Whether eta says a mean and nothing else, so that some eta fits each observation itself."""
        return self.natural_size is None or self.redundant

    # -- shared ----------------------------------------------------------------------------------------------------
    def inner(self, eta: Array, t: Array) -> Array:
        """<eta, t>, with 0 times an infinite eta equal to 0."""
        terms = special.product(eta, t)
        return terms if self.natural_size is None else jnp.sum(terms, axis=-1)

    def unit_statistic(self, y: Any) -> Array:
        """T(y) / m(y): what the mean per trial estimates."""
        m = self.trials(y)
        if not self.has_trials:
            return self.statistic(y)
        m = jnp.where(m == 0, 1, m)  # no trials: no successes, and no say in anything
        return self.statistic(y) / (m if self.natural_size is None else m[..., None])


def unit_base(family: Family, y: Array) -> Array:
    """``log_base`` of a family with b = 1, whose log-likelihood is minus its loss."""
    dtype = jnp.result_type(y)
    return jnp.zeros(jnp.shape(y), dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.float32)


def tails_from(lowest: float, y: Array, tails: Callable[[Array], tuple[Array, Array]]) -> tuple[Array, Array]:
    """``tails(y)`` from the lowest value of a law on, 0 and 1 below."""
    inside = y >= lowest
    low, high = tails(jnp.where(inside, y, lowest))
    return jnp.where(inside, low, 0), jnp.where(inside, high, 1)


def raised_spread(spread: Array, pooled: Array, rounding: Any = 0.0) -> tuple[Array, Array]:
    """A spread that is 0 beside the pooled one raised to the share sqrt(eps) of it, and whether it was.

    Where the pooled one is itself not above `rounding` nothing varies, and any one spread serves: 1.
    """
    eps = jnp.finfo(spread.dtype).eps
    varies = pooled > rounding
    scale = jnp.where(varies, pooled, 1)
    low = varies & (spread <= 10 * eps * scale)
    return jnp.where(varies, spread + jnp.where(low, jnp.sqrt(eps) * scale, 0), 1), low
