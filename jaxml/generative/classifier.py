r"""What a fitted generative classifier is, and what it says of new rows.

    p(y = k) = pi_k,    p(x | y = k) = p(z; eta_k) |dz/dx|,   z = (x - c) R       (z = x where there is no transform)
    p(y = k | x) = pi_k p(x | y = k) / sum_j pi_j p(x | y = j)                     Bayes' rule

Since log p(z; eta) = <eta, T(z)> - a(eta) + log b(z), and b drops out of the ratio, the posterior of every exponential family is a
softmax regression in T(z); see :func:`coefficients`.

Source: notes 1.2, 7.1; Bishop (2006), section 4.2; Ng & Jordan (2002), "On discriminative vs. generative classifiers".
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxml.dtypes import as_array, to_compute
from jaxml.families.base import Family
from jaxml.families.door import refuse_where
from jaxml.linalg import matmul
from jaxml.predictors.linear import Linear
from jaxml.records import record
from jaxml.rows import first_where
from jaxml.status import Status


@record
class Transform:
    """z = (x - center) root, and back: x = center + z back, for laws of real vectors.

    Attributes:
        center: (d,).
        root: (d, d), with columns of zeros for directions that carry no information.
        back: (d, d), rows of zeros for those.
        log_volume: (), log |dz/dx| over the directions that are kept.
        rank: (), how many those are.
    """

    center: Array
    root: Array
    back: Array
    log_volume: Array
    rank: Array

    def __call__(self, X: Array) -> Array:
        """z, (n, d)."""
        return matmul(X - self.center, self.root)


@record
class Classifier:
    """A fitted generative classifier of K classes.

    Attributes:
        log_prior: (K,) log pi.
        eta: (K, p), the natural parameter of each class.
        family: the law of a (transformed) row.
        transform: None, or the :class:`Transform` of a Gaussian model.
        weight: (K,), the weight of the rows of each class.
        floored: (K,) int32, how many variances of a class were 0 beside those of all classes together, and were raised.
        separated: (), whether class means differ where no class varies: that difference is not used.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [4.0], [5.0], [6.0]]), jnp.array([0, 0, 0, 1, 1, 1])
        >>> fit = generative.gaussian_discriminant_analysis(X, y)
        >>> print(generative.predict(fit, jnp.array([[3.0]])))  # half way between the means
        [[0.5 0.5]]
    """

    log_prior: Array
    eta: Array
    family: Family
    transform: Transform | None
    weight: Array
    floored: Array
    separated: Array

    @property
    def status(self) -> Array:
        """CONVERGED: the estimates are in closed form; NON_FINITE where they are not finite and no limit (jaxml.Status)."""
        wrong = jnp.any(jnp.isnan(self.eta)) | jnp.any(jnp.isnan(self.log_prior))
        return jnp.where(wrong, int(Status.NON_FINITE), int(Status.CONVERGED)).astype(jnp.int32)

    @property
    def notes(self) -> list[str]:
        """What ``jaxml.report`` adds."""
        said = []
        empty = [str(k) for k in jnp.flatnonzero(self.weight == 0)]
        if empty:
            said.append(
                f"No rows of class {', '.join(empty)}: its law is that of all rows, or of the pseudo-counts alone."
            )
        if self.transform is not None and self.transform.rank < self.transform.center.size:
            ignored = self.transform.center.size - int(self.transform.rank)
            said.append(f"{_counted(ignored, 'direction')} in which no class varies: ignored.")
        if self.separated:
            said.append("In some of them the class means differ: they would tell classes apart without error.")
        if jnp.any(self.floored > 0):
            raised = _counted(int(jnp.sum(self.floored)), "variance")
            said.append(f"{raised} of 0 raised; use shrinkage, or more rows of these classes.")
        return said


def log_joint(fit: Classifier, X: Any) -> Array:
    """log p(x, y = k) of each row and class; -inf where x is impossible under a class, never NaN for finite x.

    Args:
        fit: a fitted classifier.
        X: (n, d), or (n,) for a family of numbers.

    Returns:
        (n, K).

    Raises:
        ValueError: where X has other columns than the rows of the fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0, 1])
        >>> fit = generative.bernoulli_naive_bayes(X, y, smoothing=0)
        >>> print(jnp.exp(generative.log_joint(fit, jnp.array([[1.0, 0.0]]))).round(3))  # a value never seen in class 1
        [[0.333 0.   ]]

    Source: notes 7.1, 7.3.
    """
    return _log_joint(fit, _read(fit, X))


def predict_log(fit: Classifier, X: Any) -> Array:
    """log p(y = k | x), (n, K); where x is impossible under every class, log p(y = k).

    Args:
        fit: a fitted classifier.
        X: as for :func:`log_joint`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [6.0]]), jnp.array([0, 0, 1, 1])
        >>> print(generative.predict_log(generative.gaussian_discriminant_analysis(X, y), jnp.array([[3.0]])).round(3))
        [[-0.693 -0.693]]

    Source: notes 7.1.
    """
    return _posterior(fit, _read(fit, X))


def predict(fit: Classifier, X: Any) -> Array:
    """p(y = k | x), (n, K); see :func:`predict_log`.

    Args:
        fit: a fitted classifier.
        X: as for :func:`log_joint`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[1.0], [1.0], [0.0], [0.0]]), jnp.array([0, 0, 1, 1])
        >>> print(generative.predict(generative.bernoulli_naive_bayes(X, y), jnp.array([[1.0]])))  # (1 + 2) / (2 + 2)
        [[0.75 0.25]]

    Source: notes 7.1.
    """
    return jnp.exp(predict_log(fit, X))


def classify(fit: Classifier, X: Any) -> Array:
    """argmax_k p(y = k | x), (n,) int32.

    Args:
        fit: a fitted classifier.
        X: as for :func:`log_joint`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [6.0]]), jnp.array([0, 0, 1, 1])
        >>> print(generative.classify(generative.gaussian_discriminant_analysis(X, y), jnp.array([[2.9], [3.1]])))
        [0 1]

    Source: notes 7.1.
    """
    return jnp.argmax(predict_log(fit, X), axis=1).astype(jnp.int32)


def log_likelihood(fit: Classifier, X: Any, y: ArrayLike, *, weights: ArrayLike | None = None) -> Array:
    """sum_i w_i log p(x_i, y_i), what the fit maximises.

    Args:
        fit: a classifier.
        X: as for :func:`log_joint`.
        y: (n,) integer labels.
        weights: (n,); a row of weight 0 counts in nothing.

    Returns:
        () joint log-likelihood.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[1.0], [1.0], [0.0], [0.0]]), jnp.array([0, 0, 1, 1])
        >>> fit = generative.bernoulli_naive_bayes(X, y, smoothing=0)
        >>> print(f"{generative.log_likelihood(fit, X, y):.3f}")  # 4 log 1/2
        -2.773

    Source: notes 1.5, 7.2.
    """
    X, y = _read(fit, X), jnp.asarray(y, jnp.int32)
    w = None if weights is None else jnp.asarray(weights, X.dtype)
    for name, a in (("y", y), ("weights", w)):
        if a is not None and a.shape != X.shape[:1]:
            raise ValueError(f"{name} has shape {a.shape}, expected {X.shape[:1]} to match X")
    if w is not None:
        refuse_where("weights", w, w < 0, "is negative")
        X, y = first_where(w > 0, X), first_where(w > 0, y)
    labels = f"labels run from 0 to {len(fit.log_prior) - 1}"
    refuse_where("y", y, (y < 0) | (y >= len(fit.log_prior)), f"is not a class of the fit: {labels}")
    return _log_likelihood(fit, X, y, w)


def score(fit: Classifier, X: Any, y: ArrayLike) -> Array:
    """The share of rows whose class is predicted, ().

    Args:
        fit: a fitted classifier.
        X: as for :func:`log_joint`.
        y: (n,) integer labels.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [6.0]]), jnp.array([0, 0, 1, 1])
        >>> print(generative.score(generative.gaussian_discriminant_analysis(X, y), X, y))
        1.0
    """
    return jnp.mean(classify(fit, X) == jnp.asarray(y))


def sample(fit: Classifier, key: Array, n: int) -> tuple[Array, Array]:
    """New rows: y from the prior, x from the law of its class.

    Args:
        fit: a fitted classifier.
        key: random key.
        n: how many, static under jit.

    Returns:
        X (n, d) and labels y (n,).

    Raises:
        NotImplementedError: for a family without a sampler.
        TypeError: for a family that counts trials (Multinomial), of which no number is known.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [6.0]]), jnp.array([0, 0, 1, 1])
        >>> new, labels = generative.sample(generative.gaussian_discriminant_analysis(X, y), jax.random.key(0), 5)
        >>> print(new.shape, labels.shape)
        (5, 1) (5,)

    Source: notes 1.2.
    """
    if fit.family.has_trials:
        raise TypeError(
            f"{type(fit.family).__name__} counts trials, and the model does not say how many: draw with families.sample"
        )
    label_key, key = jax.random.split(key)
    y = jax.random.categorical(label_key, fit.log_prior, shape=(n,))
    z = fit.family.sample(key, fit.eta[y], ())
    return (z if fit.transform is None else fit.transform.center + matmul(z, fit.transform.back)), y


def coefficients(fit: Classifier) -> Linear:
    """The softmax regression that the posterior is: p(y = k | x) = softmax(features w + b)_k.

    The features are x itself for discriminant analysis with a shared covariance, and the sufficient statistic T(x) of the family for
    every model without a transform. They sum to zero over the classes where they are finite; the difference of two columns is a
    logistic regression. A value that is impossible in a class, or in all others, has an infinite coefficient.

    Args:
        fit: a fitted classifier.

    Returns:
        Linear of weight (d, K) or (p, K) and bias (K,).

    Raises:
        TypeError: for covariances that differ by class, whose boundaries are quadratic.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxml import generative
        >>> X, y = jnp.array([[0.0], [2.0], [4.0], [6.0]]), jnp.array([0, 0, 1, 1])
        >>> c = generative.coefficients(generative.gaussian_discriminant_analysis(X, y))
        >>> print(c.weight[0, 1] - c.weight[0, 0], c.bias[1] - c.bias[0])  # (mu_1 - mu_0) / s^2, zero at 3
        4.0 -12.0

    Source: notes 7.2; Bishop (2006), sections 4.2.1 and 4.2.4.
    """
    weight, a = fit.eta.T, fit.family.log_partition(fit.eta)
    bias = fit.log_prior - (0 if fit.family.has_trials else a)
    if fit.family.has_trials:  # a counts once a trial, and the counts T(x) sum to the trials
        weight = weight - a
    if fit.transform is not None:
        if fit.eta.shape[1] != fit.transform.center.size:
            raise TypeError("the covariances differ by class: the boundaries are quadratic in x, not linear")
        weight = matmul(fit.transform.root, weight)
        bias = bias - matmul(fit.transform.center, weight)
    return Linear(_centred(weight), _centred(bias))


# -- helpers ---------------------------------------------------------------------------------------------------------
def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _read(fit: Classifier, X: Any) -> Array:
    X = to_compute(as_array(X, "X"), fit.eta.dtype, "X")
    d = fit.family.observation_size if fit.transform is None else fit.transform.center.size
    if X.ndim != 1 + fit.family.observation_ndim or (d is not None and X.shape[1:] != (d,)):
        raise ValueError(
            f"X has shape {X.shape}, but the classifier takes rows of {fit.family}: expected (n{f', {d}' if d else ''})"
        )
    return X


@jax.jit
def _log_joint(fit: Classifier, X: Array) -> Array:
    z, known = _observations(fit, X)
    volume = 0 if fit.transform is None else fit.transform.log_volume
    return _ruled(fit.log_prior + volume + fit.family.log_base(z)[:, None] - fit.family.losses(fit.eta, z), known)


@jax.jit
def _log_likelihood(fit: Classifier, X: Array, y: Array, w: Array | None) -> Array:
    each = jnp.take_along_axis(_log_joint(fit, X), y[:, None], axis=1)[:, 0]
    return jnp.sum(each if w is None else jnp.where(w > 0, w * each, 0))


@jax.jit
def _posterior(fit: Classifier, X: Array) -> Array:
    z, known = _observations(fit, X)
    # Without log b and the volume, which drop out and could be large.
    scores = _ruled(fit.log_prior - fit.family.losses(fit.eta, z), known)
    impossible = jnp.all(scores == -jnp.inf, axis=1, keepdims=True)
    return jax.nn.log_softmax(jnp.where(impossible, fit.log_prior, scores), axis=1)


def _observations(fit: Classifier, X: Array) -> tuple[Array, Array]:
    """z, with rows that are no observations replaced by one that is, and what log p is of each row: 0 if it is that of z."""
    z = X if fit.transform is None else fit.transform(X)
    possible, unknown = fit.family.hull(z), jnp.any(jnp.isnan(X.reshape(len(X), -1)), axis=1)
    z = first_where(possible, z) if fit.transform is None else z  # normal laws take any number, and a copy costs
    return z, jnp.where(unknown, jnp.nan, jnp.where(possible, 0, -jnp.inf))


def _ruled(scores: Array, known: Array) -> Array:
    return jnp.where(known[:, None] == 0, scores, known[:, None])


def _centred(a: Array) -> Array:
    return jnp.where(jnp.all(jnp.isfinite(a), axis=-1, keepdims=True), a - jnp.mean(a, axis=-1, keepdims=True), a)
