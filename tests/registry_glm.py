"""Every family, every link and every canonical pair: the table that drives the tests of generalised linear models.

A row draws its own responses for the shared design; a new row is fitted, differentiated, weighted and moved about by
every test over ``CASES``. All rows share one shape, so that each row compiles one fit in a whole run. The loss and the derivatives of
every pair of a family of one mean and a link are in test_links_tails.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import families, glm, links
from jaxml.glm.objective import GLMObjective
from jaxml.predictors import Linear, linear
from marks import mostly_slow

FLAT = 1e-10 if jax.config.jax_enable_x64 else 1e-5  # relative eigenvalues below this belong to redundant directions
N, D, USED = 64, 2, 28  # rows, columns, rows with positive weight (1, 2, 3, 1, 2, ...: 55 copies fit into N)


class Case(NamedTuple):
    """A family, a link and a law of the responses: ``draw(rng, z)``, z = bias + X slope for the X of :func:`data`."""

    name: str
    family: Any
    link: Any  # a name, a function or None
    bias: float
    slope: float
    draw: Callable[[np.random.Generator, np.ndarray], Any]

    @property
    def vector(self) -> bool:
        return self.family.natural_size is not None


def _logistic(z):
    return 1 / (1 + np.exp(-z))


def _coin(mean):
    return lambda rng, z: (rng.random(len(z)) < mean(z)).astype(int)


def _counts(mean):
    def draw(rng, z):
        trials = rng.integers(1, 6, len(z))
        return rng.binomial(trials, mean(z)), trials

    return draw


def _probit(z):
    from scipy.stats import norm

    return norm.cdf(z)


def _cloglog(z):
    return -np.expm1(-np.exp(z))


def _square(z):
    return z * z


def _choice(rng, z):
    eta = np.stack([z, -z, 0 * z], axis=1) + rng.gumbel(size=(len(z), 3))
    return np.argmax(eta, axis=1)


def _tables(rng, z):
    p = np.exp(np.stack([z, -z, 0 * z], axis=1))
    return np.stack([rng.multinomial(4, row) for row in p / p.sum(1, keepdims=True)])


_poisson = lambda mean: lambda rng, z: rng.poisson(mean(z))
_normal = lambda mean: lambda rng, z: mean(z) + 0.3 * rng.normal(size=len(z))
_gamma = lambda mean: lambda rng, z: rng.gamma(4, mean(z) / 4)
_wald = lambda mean: lambda rng, z: rng.wald(mean(z), 8.0)
_claims = lambda mean: lambda rng, z: rng.gamma(rng.poisson(2 * mean(z) ** 0.5), mean(z) ** 0.5 / 2)  # power 1.5
_negative = lambda mean: lambda rng, z: rng.poisson(mean(z) * rng.gamma(2, 0.5, len(z)))
_geometric = lambda mean: lambda rng, z: rng.geometric(1 / mean(z))
_same = lambda z: z
_reciprocal = lambda z: 1 / z

_ALL = [
    Case("bernoulli-logit", families.Bernoulli(), "logit", 0.2, 0.8, _coin(_logistic)),
    Case("bernoulli-probit", families.Bernoulli(), "probit", 0.1, 0.5, _coin(_probit)),
    Case("bernoulli-cloglog", families.Bernoulli(), "cloglog", -0.3, 0.5, _coin(_cloglog)),
    Case("bernoulli-log", families.Bernoulli(), "log", -1.0, 0.3, _coin(np.exp)),
    Case("bernoulli-identity", families.Bernoulli(), "identity", 0.6, 0.1, _coin(_same)),
    Case("binomial-logit", families.Binomial(), "logit", 0.2, 0.8, _counts(_logistic)),
    Case("binomial-probit", families.Binomial(), "probit", 0.1, 0.5, _counts(_probit)),
    Case("poisson-log", families.Poisson(), "log", 1.0, 0.4, _poisson(np.exp)),
    Case("poisson-sqrt", families.Poisson(), "sqrt", 1.8, 0.3, _poisson(_square)),
    Case("normal-identity", families.Normal(), "identity", 0.5, 0.8, _normal(_same)),
    Case("normal-inverse", families.Normal(), "inverse", 0.8, 0.1, _normal(_reciprocal)),
    Case("gamma-inverse", families.Gamma(), "inverse", 0.6, 0.1, _gamma(_reciprocal)),
    Case("gamma-log", families.Gamma(), "log", 1.0, 0.4, _gamma(np.exp)),
    Case("exponential-inverse", families.Exponential(), "inverse", 0.6, 0.1, _gamma(_reciprocal)),
    Case(
        "inverse_gaussian-inverse_squared",
        families.InverseGaussian(),
        "inverse_squared",
        0.6,
        0.1,
        _wald(lambda z: z**-0.5),
    ),
    Case("tweedie-log", families.Tweedie(1.5), "log", 0.3, 0.4, _claims(np.exp)),
    Case("tweedie-canonical", families.Tweedie(1.5), "canonical", -1.6, 0.2, _claims(lambda z: 4 / z**2)),
    Case("tweedie-known", families.Tweedie(1.5, phi=1.0), "log", 0.3, 0.4, _claims(np.exp)),
    Case("negative_binomial-log", families.NegativeBinomial(r=2.0), "log", 1.0, 0.4, _negative(np.exp)),
    Case(
        "negative_binomial-canonical",
        families.NegativeBinomial(r=2.0),
        "canonical",
        -0.5,
        0.1,
        _negative(lambda z: 2 / np.expm1(-z)),
    ),
    Case("geometric-log", families.Geometric(), "log", 1.2, 0.3, _geometric(np.exp)),
    Case(
        "geometric-canonical",
        families.Geometric(),
        "canonical",
        -0.4,
        0.08,
        _geometric(lambda z: -1 / np.expm1(z)),
    ),
    Case("categorical", families.Categorical(3), None, 0.1, 0.5, _choice),
    Case("multinomial", families.Multinomial(3), None, 0.1, 0.5, _tables),
    Case(
        "normal_mean_variance-unconstrained", families.NormalMeanVariance(), "unconstrained", 0.0, 0.5, _normal(_same)
    ),
    Case("normal_mean_variance-canonical", families.NormalMeanVariance(), "canonical", 0.0, 0.5, _normal(_same)),
    Case("gamma_shape_rate-unconstrained", families.GammaShapeRate(), "unconstrained", 0.5, 0.2, _gamma(np.exp)),
    Case("gamma_shape_rate-canonical", families.GammaShapeRate(), "canonical", 0.5, 0.2, _gamma(np.exp)),
    Case(
        "inverse_gaussian_mean_shape-unconstrained",
        families.InverseGaussianMeanShape(),
        "unconstrained",
        0.5,
        0.2,
        _wald(np.exp),
    ),
    Case(
        "inverse_gaussian_mean_shape-canonical",
        families.InverseGaussianMeanShape(),
        "canonical",
        0.5,
        0.2,
        _wald(np.exp),
    ),
    Case("beta-unconstrained", families.Beta(), "unconstrained", 0.5, 0.2, lambda rng, z: rng.beta(2 + z, 3.0)),
    Case("beta-canonical", families.Beta(), "canonical", 0.5, 0.2, lambda rng, z: rng.beta(2 + z, 3.0)),
    Case(
        "dirichlet-unconstrained",
        families.Dirichlet(3),
        "unconstrained",
        0.5,
        0.2,
        lambda rng, z: rng.dirichlet([2.0, 3.0, 4.0], len(z)),
    ),
    Case(
        "dirichlet-canonical",
        families.Dirichlet(3),
        "canonical",
        0.5,
        0.2,
        lambda rng, z: rng.dirichlet([2.0, 3.0, 4.0], len(z)),
    ),
    Case("normal-known", families.Normal(variance=0.09), "identity", 0.5, 0.8, _normal(_same)),
    Case("inverse_gaussian-known", families.InverseGaussian(shape=8.0), "log", 0.5, 0.3, _wald(np.exp)),
    Case("poisson-function", families.Poisson(), jax.nn.softplus, 1.0, 0.8, _poisson(lambda z: np.logaddexp(0, z))),
    Case(
        "multivariate_normal-canonical",
        families.MultivariateNormal(2),
        "canonical",
        0.0,
        0.5,
        lambda rng, z: z[:, None] + rng.normal(size=(len(z), 2)),
    ),
    Case(
        "multivariate_normal-unconstrained",
        families.MultivariateNormal(2),
        "unconstrained",
        0.0,
        0.5,
        lambda rng, z: z[:, None] + rng.normal(size=(len(z), 2)),
    ),
]
CASES = {case.name: case for case in _ALL}
# One of each kind: canonical and other links, trials, dispersion, classes, two parameters.
QUICK = {
    "bernoulli-logit",
    "bernoulli-probit",
    "binomial-logit",
    "poisson-log",
    "normal-identity",
    "gamma-log",
    "categorical",
    "normal_mean_variance-unconstrained",
}
# Blocks are a matter of the shapes of y and of the number of curvatures, not of the family.
BLOCKED = ("bernoulli-logit", "binomial-probit", "gamma-log", "categorical", "normal_mean_variance-unconstrained")


def over(*names: str) -> Any:
    """Parametrise a test by all rows of the table, or by the named ones."""
    ids = names or tuple(CASES)
    return pytest.mark.parametrize("case", mostly_slow([CASES[name] for name in ids], QUICK.intersection(ids), ids))


def default_dtype() -> Any:
    """float64, or float32 where the tests run without 64-bit mode."""
    return jnp.zeros(()).dtype


def floats(tree: Any) -> Any:
    """Floating leaves as NumPy arrays of the default dtype."""
    return jax.tree.map(lambda a: a.astype(default_dtype()) if np.asarray(a).dtype.kind == "f" else np.asarray(a), tree)


@cache
def data(case: Case) -> tuple[np.ndarray, Any, np.ndarray]:
    """X (N, D) within [-1, 1], y, and weights of which the first ``USED`` are positive."""
    rng = np.random.default_rng(11)
    X = rng.uniform(-1, 1, (N, D))
    y = case.draw(rng, case.bias + case.slope * (X[:, 0] - 0.7 * X[:, 1]))
    weights = np.where(np.arange(N) < USED, 1.0 + np.arange(N) % 3, 0.0)
    return floats((X, y, weights))


def fit(case: Case, X: Any, y: Any, weights: Any, **options: Any) -> glm.Fit:
    """A fit of the row's family and link, without penalty unless one is given."""
    return glm.fit(case.family, X, y, weights=weights, link=case.link, **options)


@cache
def base_fit(case: Case) -> glm.Fit:
    """The fit of :func:`data`."""
    return fit(case, *data(case))


def flat(params: Linear) -> np.ndarray:
    """weight and bias in one vector, the weight by rows."""
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(params)])


class Derivatives(NamedTuple):
    """Gradient and Hessian by autodiff, and the pairs that the objective gives, for all rows at once and in blocks."""

    structured: dict[str, tuple[Any, Any]]
    gradient: Any
    hessian: Any


@cache
def derivatives(case: Case) -> dict[str, Derivatives]:
    """See :class:`Derivatives`; at the fit, beside it and at zero."""
    X, y, weights = jax.tree.map(jnp.asarray, data(case))
    link = links.resolve(case.family, case.link)
    y = y if case.family.labels else jax.tree.map(lambda a: a.astype(X.dtype), y)
    zero = jax.tree.map(jnp.zeros_like, base_fit(case).params)
    unravel = jax.flatten_util.ravel_pytree(zero)[1]
    objective = lambda block: GLMObjective(
        case.family, _rows(X, y, weights), jnp.zeros(D, X.dtype), zero, jnp.sum(weights), 1, link, block=block
    )

    def loss(x):
        # The definition without the rearrangements of the family: sum_i w_i (m_i a(eta_i) - <eta_i, T(y_i)>).
        used = jax.tree.map(lambda a: a[:USED], (X, y, weights))
        eta = links.natural_parameter(case.family, link, linear(unravel(x), used[0]))
        rows = case.family.trials(used[1]) * case.family.log_partition(eta)
        inner = eta * case.family.statistic(used[1])
        return jnp.sum(used[2] * (rows - (jnp.sum(inner, axis=-1) if case.vector else inner)))

    @jax.jit
    def both(x):
        sizes = {"whole": None} | ({"blocks": 24} if case.name in BLOCKED else {})
        pieces = {name: objective(size).evaluate(unravel(x), True, 0) for name, size in sizes.items()}
        structured = {name: (jax.flatten_util.ravel_pytree(e.gradient)[0], e.hessian) for name, e in pieces.items()}
        return Derivatives(structured, jax.grad(loss)(x), jax.hessian(loss)(x))

    x = jnp.asarray(flat(base_fit(case).params))
    return {"fit": both(x), "beside": both(x * 1.02 + 0.001), "zero": both(0 * x)}


def _rows(X, y, weights):
    from jaxml.rows import Rows

    return Rows(X, y, weights)


def gauge(case: Case) -> np.ndarray:
    """The projector on the directions of the params that change the law (softmax: rows that sum to zero)."""
    k = case.family.natural_size
    if not case.family.redundant:
        return np.eye((D + 1) * (k or 1))
    return np.kron(np.eye(D + 1), np.eye(k) - 1 / k)


def standard_errors(case: Case) -> np.ndarray:
    """At dispersion 1, from the autodiff Hessian at the fit."""
    return np.sqrt(
        np.diag(np.linalg.pinv(np.asarray(derivatives(case)["fit"].hessian, float), hermitian=True, rcond=FLAT))
    )
