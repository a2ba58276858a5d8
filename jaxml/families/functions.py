r"""Functions over any exponential family, all from its log-partition function.

    mean = grad a,   variance = phi hessian a,   Fisher information = hessian a / phi,   natural = inverse of grad a
    KL(p || q) = [a(eta_q) - a(eta_p) - <eta_q - eta_p, mean_p>] / phi
    deviance(y; eta) = 2 [a*(T(y)) + a(eta) - <eta, T(y)>],   a* the convex conjugate of a

The last two are Bregman divergences of a. Close to their minimum the difference of large terms loses every digit, so there
they are computed as the integral int_0^1 (1 - t) (d/dt)^2 a(eta_0 + t d) dt with 12 Gauss-Legendre nodes.

All functions take batches and broadcast; families with trials (Binomial, Multinomial) take them by name where there is no y.

Source: Barndorff-Nielsen (1978), *Information and Exponential Families*; McCullagh & Nelder (1989), chapter 2.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxml import special
from jaxml.families.base import Family
from jaxml.families.door import (
    compiled,
    floating,
    holds_nan,
    in_dtype_of_eta,
    nan_outside,
    observations,
    refuse_where,
    without_idle_rows,
)
from jaxml.special import with_derivative_of

_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(12)[0] + 1) / 2, np.polynomial.legendre.leggauss(12)[1] / 2


@compiled
def log_prob(family: Family, eta: ArrayLike, y: Any) -> Array:
    """log p(y; eta), log b included.

    Args:
        family: the law, at its own dispersion (1 where that is unknown).
        eta: natural parameter, (...) or (..., k).
        y: observations, arrays or numbers broadcast against eta; for Binomial the pair (successes, trials).

    Returns:
        log p(y; eta), of the broadcast shape and the floating dtype of eta; -inf where y is outside the support or eta
        outside the natural domain, NaN where either is NaN.

    Raises:
        ValueError: eta without a last axis of k.
        TypeError, ValueError: by JAX, where the shapes do not broadcast.

    Example:
        >>> from jaxml import families
        >>> print(families.log_prob(families.Poisson(), 0.0, 2))
        -1.69314...

    Source: notes 5.1; McCullagh & Nelder (1989), section 2.2.
    """
    family, eta, y = in_dtype_of_eta(family, eta, observations(family, y))
    value = jnp.where(family.support(y), log_density(family, eta, y), -jnp.inf)
    return jnp.where(holds_nan(family, eta, y), jnp.nan, value)


def log_density(family: Family, eta: Array, y: Any) -> Array:
    """The formula of :func:`log_prob` without the test of the support, for arrays of one dtype.

    Counts go by Loader's saddle-point form, log p at the eta that fits y itself less half the deviance: no large terms cancel.

    Args:
        family: the law.
        eta: natural parameter, (...) or (..., k).
        y: observations, broadcast against eta.

    Returns:
        log p(y; eta), of the broadcast shape; for counts also between the integers, where it is a smooth continuation.

    Source: Loader (2000), "Fast and accurate computation of binomial probabilities".
    """
    if not defines(family, "log_saturated"):
        return _direct_log_prob(family, eta, y)
    value = family.log_saturated(y) - deviance(family, eta, y) / 2 / family.dispersion
    return with_derivative_of(_direct_log_prob, value, family, eta, y)


@compiled
def mean(family: Family, eta: ArrayLike, *, trials: Any = None) -> Array:
    """E[T(Y)] = grad a(eta), times the number of trials.

    Args:
        family: the law.
        eta: natural parameter inside its domain (the answer is NaN elsewhere, its limit at an end), (...) or (..., k).
        trials: number of trials, broadcast against the batch of eta; for Binomial and Multinomial only.

    Returns:
        E[T(Y)], of the shape of eta and in its floating dtype: E[Y] where T(y) = y, the probabilities for Categorical.

    Raises:
        TypeError: trials missing for a family that has them, or given for one that has none.

    Example:
        >>> from jaxml import families
        >>> print(families.mean(families.Bernoulli(), 0.0))
        0.5
        >>> print(families.mean(families.Binomial(), 0.0, trials=10))
        5.0

    Source: notes 5.4; Wainwright & Jordan (2008), section 3.5.
    """
    family, eta, trials = in_dtype_of_eta(family, eta, trials)
    extra = 0 if family.natural_size is None else 1
    value = _at_open_end(family, eta, gradient(family, eta), -jnp.inf)
    return nan_outside(family, eta, _scale(family, trials, extra) * value, extra)


@compiled
def expected_value(family: Family, eta: ArrayLike, *, trials: Any = None) -> Array:
    """E[Y], which is E[T(Y)] where T(y) = y; for Categorical the probabilities of the classes.

    Args:
        family: the law.
        eta: natural parameter inside its domain, (...) or (..., k).
        trials: number of trials, broadcast against the batch of eta; for Binomial and Multinomial only.

    Returns:
        (...), or (..., k) where y or the classes are vectors.

    Raises:
        TypeError: trials missing for a family that has them, or given for one that has none; or a family of one's own that
            neither declares its mean (``space``) nor defines ``expectation``.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.expected_value(families.NormalMeanVariance(), jnp.array([2.0, -0.5])))  # mu = 2, s2 = 1
        2.0

    Source: notes 6.2.
    """
    if defines(family, "expectation"):
        _scale(family, trials, 0)
        family, eta, _ = in_dtype_of_eta(family, eta)
        return family.expectation(eta)
    if family.space is None and not family.redundant:
        raise TypeError(
            f"{type(family).__name__} does not define expectation(eta), so E[Y] is not known;"
            " predict_statistic and families.mean give E[T(Y)]"
        )
    return mean(family, eta, trials=trials)


@compiled
def variance(family: Family, eta: ArrayLike, *, trials: Any = None) -> Array:
    """Var[T(Y)] = phi hessian a(eta), times the number of trials.

    Args:
        family: the law, at its own dispersion phi (1 where that is unknown).
        eta: natural parameter inside its domain (the answer is NaN elsewhere, its limit at an end), (...) or (..., k).
        trials: number of trials, broadcast against the batch of eta; for Binomial and Multinomial only.

    Returns:
        (...) variances, or (..., k, k) covariance matrices of a vector statistic, singular for Categorical and
        Multinomial.

    Raises:
        TypeError: trials missing for a family that has them, or given for one that has none.

    Example:
        >>> from jaxml import families
        >>> print(families.variance(families.Exponential(), -0.5))
        4.0

    Source: notes 5.5; McCullagh & Nelder (1989), section 2.2.2.
    """
    family, eta, trials = in_dtype_of_eta(family, eta, trials)
    extra = 0 if family.natural_size is None else 2
    value = _at_open_end(family, eta, hessian(family, eta), jnp.inf)
    return nan_outside(family, eta, family.dispersion * _scale(family, trials, extra) * value, extra)


@compiled
def fisher(family: Family, eta: ArrayLike, *, trials: Any = None) -> Array:
    """Fisher information about eta in one observation, hessian a(eta) / phi, times the number of trials.

    Args:
        family: the law, at its own dispersion phi (1 where that is unknown).
        eta: natural parameter inside its domain (the answer is NaN elsewhere), (...) or (..., k).
        trials: number of trials, broadcast against the batch of eta; for Binomial and Multinomial only.

    Returns:
        (...), or (..., k, k). Observed and expected information about eta are the same.

    Raises:
        TypeError: trials missing for a family that has them, or given for one that has none.

    Example:
        >>> from jaxml import families
        >>> print(families.fisher(families.Normal(variance=4.0), 0.0))
        0.25

    Source: notes 5.5; Barndorff-Nielsen (1978), chapter 8.
    """
    family, eta, trials = in_dtype_of_eta(family, eta, trials)
    extra = 0 if family.natural_size is None else 2
    return nan_outside(family, eta, _scale(family, trials, extra) * hessian(family, eta) / family.dispersion, extra)


@compiled
def hessian(family: Family, eta: ArrayLike) -> Array:
    """The second derivative of a at eta, per trial: variance and information at dispersion 1.

    Args:
        family: the law.
        eta: natural parameter inside its domain (not checked), (...) or (..., k).

    Returns:
        (...), or (..., k, k).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.hessian(families.Categorical(2), jnp.zeros(2)))
        [[ 0.25 -0.25]
         [-0.25  0.25]]

    Source: notes 5.5.
    """
    family, eta, _ = in_dtype_of_eta(family, eta)
    if family.natural_size is None:
        return jax.jvp(lambda e: gradient(family, e), (eta,), (jnp.ones_like(eta),))[1]
    return jnp.vectorize(jax.hessian(family.log_partition), signature="(k)->(k,k)")(eta)


@compiled
def natural(family: Family, mean: ArrayLike) -> Array:
    """The natural parameter whose mean (per trial) is given: the inverse of grad a.

    A closed form where the family has one; otherwise Newton's method on a(eta) - <eta, mean>, differentiable by the implicit
    function theorem. For families with redundant parameters (Categorical) the answer sums to zero.

    Args:
        family: the law.
        mean: E[T(Y)] per trial, (...) or (..., k); inside its range (not checked) where it is a vector.

    Returns:
        eta, of the shape of ``mean``; NaN outside the range of a scalar mean. A mean on the boundary of its range has no
        eta inside the domain: a closed form then gives an infinite entry or the end of the domain (MultivariateNormal:
        NaN), Newton's method NaN or, close to it, a large finite value.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.natural(families.Bernoulli(), jnp.array([0.25, 0.5, 1.0])).round(4))
        [-1.0986  0.         inf]

    Source: Wainwright & Jordan (2008), sections 3.5 and 3.6.
    """
    family, mean, _ = in_dtype_of_eta(family, mean)
    eta = family.natural(mean) if defines(family, "natural") else _natural_by_newton(family, mean)
    if family.natural_size is not None:
        return eta
    low, high = family.mean_bounds
    return jnp.where((mean >= low) & (mean <= high), eta, jnp.nan)


@compiled
def deviance(family: Family, eta: ArrayLike, y: Any) -> Array:
    """Unscaled deviance of each observation, ``2 phi [log p(y; saturated) - log p(y; eta)]``; exact near the fit.

    For Normal it is (y - mu)^2, whatever the variance.

    Args:
        family: the law; its dispersion does not matter.
        eta: natural parameter, (...) or (..., k).
        y: observations, broadcast against eta; for Binomial the pair (successes, trials).

    Returns:
        The deviance, of the broadcast shape, not negative; inf where eta is outside the natural domain, or where the
        likelihood of y has no bound (a gamma observation of 0); NaN where y is outside the convex hull of the support.

    Raises:
        TypeError: for families whose likelihood is unbounded at a single observation (two free parameters).

    Example:
        >>> from jaxml import families
        >>> print(families.deviance(families.Normal(), 1.0, 3.0))
        4.0

    Source: McCullagh & Nelder (1989), section 2.3.
    """
    if not defines(family, "conjugate") and family.natural_size is not None:
        raise TypeError(
            f"{type(family).__name__} has no deviance: with a parameter vector of its own for each observation its likelihood is"
            " unbounded. Compare models by log-likelihood instead."
        )
    family, eta, y = in_dtype_of_eta(family, eta, observations(family, y))
    start, conjugate = _saturated(family, eta, y)
    half = _divergence(family, start, eta, conjugate + family.loss(eta, y), family.trials(y))
    value = with_derivative_of(_direct_deviance, 2 * half, family, eta, y)
    return jnp.where(family.hull(y) & ~holds_nan(family, eta, y), value, jnp.nan)


@compiled
def kl_divergence(family: Family, p: ArrayLike, q: ArrayLike, *, trials: Any = None) -> Array:
    """KL(p || q) = E_p[log p(Y) - log q(Y)] between two members with natural parameters p and q, in nats.

    Args:
        family: the law, at its own dispersion.
        p: natural parameter inside its domain (the answer is NaN elsewhere), (...) or (..., k).
        q: natural parameter, broadcast against p and cast to its dtype.
        trials: number of trials of both, broadcast against the batch; for Binomial and Multinomial only.

    Returns:
        The divergence, of the broadcast batch shape, not negative; inf where q is outside its domain.

    Raises:
        TypeError: trials missing for a family that has them, or given for one that has none.

    Example:
        >>> from jaxml import families
        >>> print(families.kl_divergence(families.Normal(), 0.0, 1.0))
        0.5

    Source: Bishop (2006), section 1.6.1; as a Bregman divergence of a, see the module.
    """
    family, p, trials = in_dtype_of_eta(family, p, trials)
    q = jnp.asarray(q, p.dtype)
    value = _divergence(family, p, q, _direct_divergence(family, p, q), 1)
    value = with_derivative_of(_direct_divergence, value, family, p, q) / family.dispersion
    return nan_outside(family, p, _scale(family, trials, 0) * value)


@compiled
def entropy(family: Family, eta: ArrayLike, *, trials: Any = None) -> Array:
    """-E[log p(Y; eta)], in nats.

    Args:
        family: the law, at its own dispersion.
        eta: finite natural parameter inside its domain (the answer is NaN elsewhere), (...) or (..., k).
        trials: number of trials, broadcast against the batch of eta; for Binomial and Multinomial only.

    Returns:
        The entropy of each law, one per batch element; differential entropy, of either sign, where Y is continuous.

    Raises:
        TypeError: trials missing for a family that has them, or given for one that has none.
        NotImplementedError: for a family of one's own that defines neither ``entropy`` nor ``expected_log_base``.

    Example:
        >>> from jaxml import families
        >>> print(families.entropy(families.Bernoulli(), 0.0))
        0.6931472

    Source: Wainwright & Jordan (2008), section 3.6.
    """
    family, eta, trials = in_dtype_of_eta(family, eta, trials)
    m = _scale(family, trials, 0)
    if defines(family, "entropy"):
        return nan_outside(family, eta, family.entropy(eta, trials))
    linear = m * (family.log_partition(eta) - family.inner(eta, gradient(family, eta))) / family.dispersion
    return nan_outside(family, eta, linear - family.expected_log_base(eta, trials))


@compiled
def cross_entropy(family: Family, p: ArrayLike, q: ArrayLike, *, trials: Any = None) -> Array:
    """-E_p[log q(Y)] = entropy(p) + KL(p || q), in nats.

    Args:
        family: the law, at its own dispersion.
        p: finite natural parameter inside its domain (the answer is NaN elsewhere), (...) or (..., k).
        q: natural parameter, broadcast against p and cast to its dtype.
        trials: number of trials of both, broadcast against the batch; for Binomial and Multinomial only.

    Returns:
        The cross-entropy, of the broadcast batch shape; inf where q is outside its domain.

    Raises:
        TypeError, NotImplementedError: as :func:`entropy`.

    Example:
        >>> from jaxml import families
        >>> print(f"{families.cross_entropy(families.Bernoulli(), 0.0, 1.0):.4f}")
        0.8133

    Source: Bishop (2006), section 1.6.1.
    """
    return entropy(family, p, trials=trials) + kl_divergence(family, p, q, trials=trials)


def sample(family: Family, eta: ArrayLike, key: Array, shape: tuple[int, ...] = (), *, trials: Any = None) -> Any:
    """Independent draws of Y (for Binomial and Multinomial given ``trials``: the counts).

    Args:
        family: the law, at its own dispersion.
        eta: natural parameter inside its domain (the answer is NaN elsewhere), (...) or (..., k).
        key: random key; the same key gives the same draws.
        shape: how many draws for each element of the batch; static under jit.
        trials: number of trials, broadcast against the batch of eta; for Binomial and Multinomial only.

    Returns:
        Draws of shape ``shape + batch``, with a last axis more where y is a vector. In the floating dtype of eta,
        counts too, NaN where eta is outside its domain; integer labels for Categorical.

    Raises:
        TypeError: shape is not a tuple; trials missing for a family that has them, or given for one that has none.
        NotImplementedError: for a family of one's own without a sampler.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> print(families.sample(families.Poisson(), jnp.zeros(2), jax.random.key(0), (5,)).shape)
        (5, 2)
    """
    if not isinstance(shape, tuple):
        raise TypeError(f"shape must be a tuple of ints, got {shape!r}")
    family, eta, trials = in_dtype_of_eta(family, eta, trials)
    _scale(family, trials, 0)
    draws = _sample(family, key, eta, shape, trials)
    return draws if family.labels else nan_outside(family, eta, draws, family.observation_ndim)


def fit(family: Family, y: Any, *, weights: ArrayLike | None = None) -> Array:
    """Maximum likelihood for independent observations: the eta whose mean is the weighted average of T(y).

    Args:
        family: the law. Its dispersion does not matter, and is not estimated.
        y: observations with one leading dimension n (for Binomial a pair of arrays), in the convex hull of the support.
        weights: (n,), not negative, how often each observation counts; rows of weight 0 count in nothing,
            even where they hold NaN.

    Returns:
        eta, () or (k,). Where the average is on the boundary of the range of the mean, as when all counts are 0, no eta
        attains the maximum: see :func:`natural`. NaN where all weights are 0.

    Raises:
        ValueError: no observation, weights of another shape than (n,); outside jit also y outside the hull of the
            support, and negative weights.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import families
        >>> eta = families.fit(families.Poisson(), jnp.array([1, 2, 3, 6]))
        >>> print(families.mean(families.Poisson(), eta))
        3.0

    Source: notes 1.5; Wainwright & Jordan (2008), section 3.6; Bishop (2006), section 2.4.1.
    """
    y = observations(family, y)
    t = floating(family.statistic(y))
    if not t.ndim or not t.shape[0]:
        raise ValueError("y must have at least one observation along its first dimension")
    family, t, w = in_dtype_of_eta(family, t, jnp.ones(t.shape[0]) if weights is None else weights)
    if w.shape != t.shape[:1]:
        raise ValueError(f"weights must have shape {t.shape[:1]}, one per observation, got {w.shape}")
    refuse_where("weights", w, w < 0, "is negative")
    y = without_idle_rows(y, t, w)
    refuse_where("y", y, ~family.hull(y) & (w > 0), f"is outside the support of {family}")
    return maximum_likelihood(family, family.moments(y, w / jnp.sum(w)))


def maximum_likelihood(family: Family, moments: Any) -> Array:
    """The eta with these moments (:meth:`Family.moments`)."""
    return family.from_moments(moments) if defines(family, "from_moments") else natural(family, moments)


# -- the mathematics behind ------------------------------------------------------------------------------------------
@partial(jax.jit, static_argnames="shape")  # rejection loops would be compiled anew by each eager call
def _sample(family: Family, key: Array, eta: Array, shape: tuple[int, ...], trials: Any) -> Any:
    return family.sample(key, eta, shape, trials)


def defines(family: Family, name: str) -> bool:
    """Whether the family has a method of its own of that name."""
    return getattr(type(family), name) is not getattr(Family, name)


def gradient(family: Family, eta: Array) -> Array:
    """grad a(eta), of the shape of eta, without a look at the ends of the domain."""
    if family.natural_size is None:
        return jax.jvp(family.log_partition, (eta,), (jnp.ones_like(eta),))[1]
    return jnp.vectorize(jax.grad(family.log_partition), signature="(k)->(k)")(eta)


def _at_open_end(family: Family, eta: Array, value: Array, lower: float) -> Array:
    """A derivative of a scalar a, with its limit inf (`lower` at the lower end) where eta is an end of the domain, and not in it."""
    low, high = family.natural_bounds
    if family.natural_size is not None or (low == -jnp.inf and high == jnp.inf):
        return value
    end = ((eta == low) | (eta == high)) & (family.log_partition(eta) == jnp.inf)
    return jnp.where(end, jnp.where(eta == low, lower, jnp.inf), value)


def _scale(family: Family, trials: Any, extra: int) -> Any:
    """The number of trials with `extra` trailing axes, or 1 for a family without trials."""
    if family.has_trials != (trials is not None):
        verb = "needs" if family.has_trials else "takes no"
        raise TypeError(f"{type(family).__name__} {verb} trials=")
    return 1 if trials is None else jnp.asarray(trials)[(...,) + (None,) * extra]


def _direct_log_prob(family: Family, eta: Array, y: Any) -> Array:
    return -family.loss(eta, y) / family.dispersion + family.log_base(y)


def _direct_deviance(family: Family, eta: Array, y: Any) -> Array:
    return 2 * (_saturated(family, eta, y)[1] + family.loss(eta, y))


def _saturated(family: Family, eta: Array, y: Any) -> tuple[Array, Array]:
    """The eta that fits y itself and m a*(T/m), in the dtype of eta."""
    if defines(family, "saturated"):
        return family.saturated(y)
    t = jnp.asarray(family.unit_statistic(y), eta.dtype)
    return natural(family, t), special.product(family.trials(y), _conjugate(family, t))


def _conjugate(family: Family, t: Array) -> Array:
    """a*(t), by the eta whose mean is t where the family has no closed form."""
    if defines(family, "conjugate"):
        return family.conjugate(t)
    eta = natural(family, t)
    return family.inner(eta, t) - family.log_partition(eta)


def _direct_divergence(family: Family, p: Array, q: Array) -> Array:
    return family.log_partition(q) - family.log_partition(p) - family.inner(q - p, gradient(family, p))


def _divergence(family: Family, start: Array, end: Array, far: Array, m: Any) -> Array:
    """m B(end, start) by the family's own formula, and `far` where it has none; for families without one by :func:`_bregman`."""
    if not defines(family, "divergence"):
        return _bregman(family, start, end, far, m)
    value = special.product(m, family.divergence(start, end))
    return jnp.where(jnp.isnan(value), jnp.maximum(far, 0), value)


def _bregman(family: Family, start: Array, end: Array, far: Array, m: Any) -> Array:
    """m B(end, start), B the Bregman divergence of a: by quadrature where the curvature of a changes by less than a factor of
    1.5 between the two (8 in float32; the rule is then exact to rounding), else `far`, the difference of large terms."""
    start, end = jnp.broadcast_arrays(start, end)
    step = end - start
    axis: Any = () if family.natural_size is None else -1
    if family.redundant:
        step = step - jnp.mean(step, axis=-1, keepdims=True)

    def along(t: Array) -> Array:
        return family.log_partition(start + t * step)

    def second(t: Array) -> Array:
        slope = lambda s: jax.jvp(along, (s,), (jnp.ones_like(s),))[1]
        return jax.jvp(slope, (t,), (jnp.ones_like(t),))[1]

    curvature = jax.vmap(second)(jnp.asarray(_NODES, step.dtype))
    low, high = jnp.min(curvature, axis=0), jnp.max(curvature, axis=0)
    weights = jnp.asarray(_WEIGHTS * (1 - _NODES), step.dtype)
    near = m * (low / 2 + jnp.tensordot(weights, curvature - low, axes=1))  # the weights sum to 1/2
    close = jnp.isfinite(near) & (low > 0) & (high < (1.5 if step.dtype.itemsize >= 8 else 8) * low)
    same = jnp.all(step == 0, axis=axis)
    return jnp.where(same, 0, jnp.where(close, near, jnp.maximum(far, 0)))


def _natural_by_newton(family: Family, mean: Array) -> Array:
    # (deferred: only families without a closed form need a solver)
    from jaxml.families.inversion import natural_by_newton

    return natural_by_newton(family, mean)
