"""Section 5: p(y; eta) = b(y) exp(eta'T(y) - a(eta)), its members, its moments, and a law outside it.

Functions are jitted once here, since a program each is quicker to compile than its dozens of small operations.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import polygamma, psi

from course.table import row
from jaxml import families

PHI = np.array([0.05, 0.3, 0.5, 0.9])  # probabilities
RATE = np.array([0.2, 1.0, 3.5, 8.0])
P = np.array([0.2, 0.5, 0.3])  # probabilities of three classes
MU, SIGMA = np.array([1.0, -0.5]), np.array([[2.0, 0.6], [0.6, 1.0]])
TRIALS, SIZE, SHAPE = 6.0, 2.5, 3.0
M_V, ALPHA_BETA, MU_SHAPE = (1.5, 0.7), (2.5, 0.8), (1.3, 2.0)
CONCENTRATION = np.array([0.7, 2.0, 3.5])
_log_prob = jax.jit(families.log_prob)
# Every family, with its natural parameter.
_COUNTS = (
    (families.Bernoulli(), np.log(PHI / (1 - PHI))),
    (families.Poisson(), np.log(RATE)),
    (families.Geometric(), np.log(1 - PHI)),
)
_SUMS = (families.Binomial(), np.log(PHI / (1 - PHI))), (families.NegativeBinomial(SIZE), np.log(PHI))
_POSITIVE = (
    (families.Exponential(), -1 / RATE),
    (families.Gamma(SHAPE), -1 / RATE),
    (families.InverseGaussian(SHAPE), -1 / (2 * RATE**2)),
)
_CLASSES = (families.Normal(1.0), MU), (families.Categorical(3), np.log(P)), (families.Multinomial(3), np.log(P))
_H = np.linalg.inv(SIGMA)
_TWO = (
    (families.NormalMeanVariance(), np.array([M_V[0], -0.5]) / M_V[1]),
    (families.MultivariateNormal(2), np.array([*_H @ MU, -_H[0, 0] / 2, -_H[1, 0], -_H[1, 1] / 2])),
    (families.GammaShapeRate(), np.array([ALPHA_BETA[0], -ALPHA_BETA[1]])),
    (families.InverseGaussianMeanShape(), -MU_SHAPE[1] / 2 * np.array([1 / MU_SHAPE[0] ** 2, 1])),
    (families.Beta(), np.array(ALPHA_BETA)),
    (families.Dirichlet(3), CONCENTRATION),
)


@row("5.1", "the density, from its four parts", "b(y) exp(eta T(y) - a(eta))")
def density():
    """Poisson with eta = log 3: b = 1 / y!, T = y, a = e^eta."""
    eta, y = math.log(3.0), np.arange(9.0)
    closed = np.exp(eta * y - np.exp(eta)) / _factorial(y)
    return closed, jnp.exp(_log_prob(families.Poisson(), eta, y))


@row("5.1", "exp(-a) normalises", "exp(a(eta)) = sum_y b(y) exp(eta T(y))")
def normaliser():
    eta, y = np.log(RATE), np.arange(80.0)
    return np.exp(eta[:, None] * y) @ (1 / _factorial(y)), jnp.exp(families.Poisson().log_partition(jnp.asarray(eta)))


@row("5.2", "Bernoulli: natural parameter", "eta = log(phi / (1 - phi))")
def bernoulli_natural():
    return np.log(PHI / (1 - PHI)), families.natural(families.Bernoulli(), jnp.asarray(PHI))


@row("5.2", "Bernoulli: T, a, b", "T = y, a = log(1 + e^eta), b = 1")
def bernoulli_parts():
    eta, y = np.log(PHI / (1 - PHI)), np.array([0.0, 1.0])
    return [y, np.log(1 + np.exp(eta)), np.zeros(2)], _parts(families.Bernoulli(), eta, y)


@row("5.2", "Bernoulli: mass", "p(y; phi) = phi^y (1 - phi)^(1 - y)")
def bernoulli_mass():
    y = np.array([[0.0], [1.0]])
    return PHI**y * (1 - PHI) ** (1 - y), _mass(families.Bernoulli(), jnp.asarray(PHI), y)


@row("5.3", "Gaussian, variance 1", "eta = mu, T = y, a = eta^2 / 2, b = exp(-y^2 / 2) / sqrt(2 pi)")
def gaussian():
    mu, y, law = np.array([-1.0, 0.0, 2.5]), np.array([0.3, -2.0]), families.Normal(variance=1.0)
    closed = [mu, y, mu**2 / 2, -(y**2) / 2 - math.log(2 * math.pi) / 2]
    density = np.exp(-((y[:, None] - mu) ** 2) / 2) / math.sqrt(2 * math.pi)
    eta = families.natural(law, jnp.asarray(mu))
    return [closed, density], [eta, _parts(law, eta, y), _mass(law, eta, y[:, None])]


@row("5.3", "Poisson", "eta = log lambda, T = y, a = e^eta, b = 1 / y!")
def poisson():
    y, law = np.array([0.0, 1.0, 4.0]), families.Poisson()
    closed = [np.log(RATE), y, RATE, -np.log(_factorial(y))]
    mass = np.exp(-RATE) * RATE ** y[:, None] / _factorial(y)[:, None]
    eta = families.natural(law, jnp.asarray(RATE))
    return [closed, mass], [eta, _parts(law, eta, y), _mass(law, jnp.asarray(RATE), y[:, None])]


@row("5.3", "geometric", "eta = log(1 - phi), T = y, a = log(e^eta / (1 - e^eta)), b = 1")
def geometric():
    """Tries up to the first success: mean 1 / phi."""
    y, law = np.array([1.0, 2.0, 7.0]), families.Geometric()
    eta = np.log(1 - PHI)
    closed = [eta, y, np.log(np.exp(eta) / (1 - np.exp(eta))), np.zeros(3)]
    mass = (1 - PHI) ** (y[:, None] - 1) * PHI
    mean = jnp.asarray(1 / PHI)
    return [closed, mass], [families.natural(law, mean), _parts(law, eta, y), _mass(law, mean, y[:, None])]


@row("5.3", "categorical", "eta = log p (up to a constant), T = one-hot(y), a = log sum_k e^eta_k, b = 1")
def categorical():
    law, y = families.Categorical(3), np.arange(3)
    eta = np.log(P) - np.log(P).mean()
    closed = [eta, np.eye(3), np.log(np.exp(eta).sum()), np.zeros(3)]
    natural = families.natural(law, jnp.asarray(P))
    return [closed, P], [natural, _parts(law, natural, y), _mass(law, jnp.asarray(P), y)]


@row("5.3", "multivariate normal", "eta = (S^-1 mu, -S^-1 / 2), T = (y, y y'), b = (2 pi)^(-d/2)")
def multivariate_normal():
    """eta and T list the lower triangle only, entries beside the diagonal of eta counted twice."""
    law, y = families.MultivariateNormal(2), np.array([[0.0, 0.0], [2.0, -1.0], [-0.7, 0.4]])
    precision = np.linalg.inv(SIGMA)
    h = precision @ MU
    eta = np.array([*h, -precision[0, 0] / 2, -precision[1, 0], -precision[1, 1] / 2])
    T = np.stack([y[:, 0], y[:, 1], y[:, 0] ** 2, y[:, 0] * y[:, 1], y[:, 1] ** 2], axis=1)
    a = MU @ h / 2 + math.log(np.linalg.det(SIGMA)) / 2
    squares = np.einsum("ni,ij,nj->n", y - MU, precision, y - MU)
    density = np.exp(-squares / 2) / (2 * math.pi * math.sqrt(np.linalg.det(SIGMA)))
    closed = [eta, T, a, -math.log(2 * math.pi) * np.ones(3), density]
    packed = law.pack(jnp.asarray(MU), jnp.asarray(SIGMA))
    return closed, [packed, _parts(law, packed, y), jnp.exp(_log_prob(law, packed, y))]


@row("5.4", "mean: Bernoulli, Poisson, geometric", "E[T] = grad a(eta) = phi, lambda, 1 / phi")
def means():
    return [PHI, RATE, 1 / PHI], _each(families.mean, _COUNTS)


@row("5.4", "mean: binomial and negative binomial", "m phi (m trials); r phi / (1 - phi), e^eta = phi")
def means_of_sums():
    return [TRIALS * PHI, SIZE * PHI / (1 - PHI)], _each(families.mean, _SUMS)


@row("5.4", "mean: exponential, gamma, inverse Gaussian", "mu: eta = -1 / mu, -1 / mu, -1 / (2 mu^2)")
def means_of_positive():
    return [RATE, RATE, RATE], _each(families.mean, _POSITIVE)


@row("5.4", "mean: normal, categorical, multinomial", "mu; p; m p")
def more_means():
    return [MU, P, TRIALS * P], _each(families.mean, _CLASSES)


@row("5.4", "mean: two unknowns", "E[T] for T = (y, y^2), (y, y y'), (log y, y), (y, 1/y), (log y, log(1-y)), log y")
def means_of_two():
    """Normal, multivariate normal, gamma, inverse Gaussian, beta, Dirichlet; psi is the derivative of log Gamma."""
    (mean, spread), (shape, rate), (mu, lam), second = M_V, ALPHA_BETA, MU_SHAPE, SIGMA + np.outer(MU, MU)
    closed = [
        [mean, mean**2 + spread],
        [MU, second[np.tril_indices(2)]],
        [psi(shape) - math.log(rate), shape / rate],
        [mu, 1 / mu + 1 / lam],
        psi(np.array(ALPHA_BETA)) - psi(sum(ALPHA_BETA)),
        psi(CONCENTRATION) - psi(CONCENTRATION.sum()),
    ]
    return closed, _each(families.mean, _TWO)


@row(
    "5.5", "variance: Bernoulli, Poisson, geometric", "Var[T] = hess a(eta) = phi (1 - phi), lambda, (1 - phi) / phi^2"
)
def variances():
    return [PHI * (1 - PHI), RATE, (1 - PHI) / PHI**2], _each(families.variance, _COUNTS)


@row("5.5", "variance: binomial and negative binomial", "m phi (1 - phi); r phi / (1 - phi)^2")
def variances_of_sums():
    return [TRIALS * PHI * (1 - PHI), SIZE * PHI / (1 - PHI) ** 2], _each(families.variance, _SUMS)


@row("5.5", "variance: exponential, gamma, inverse Gaussian", "phi hess a(eta) = mu^2, mu^2 / shape, mu^3 / shape")
def variances_of_positive():
    return [RATE**2, RATE**2 / SHAPE, RATE**3 / SHAPE], _each(families.variance, _POSITIVE)


@row("5.5", "variance: normal, categorical, multinomial", "1; diag(p) - p p'; m times that")
def more_variances():
    one = np.diag(P) - np.outer(P, P)
    return [np.ones(2), one, TRIALS * one], _each(families.variance, _CLASSES)


@row("5.5", "variance: two unknowns", "hess a, a matrix: Var[T] and the covariances of the entries of T")
def variances_of_two():
    """For the multivariate normal Cov[y_i, y_j y_k] = mu_j S_ik + mu_k S_ij, and so on (Isserlis 1918)."""
    (mean, spread), (shape, rate), (mu, lam) = M_V, ALPHA_BETA, MU_SHAPE
    trigamma = lambda x: polygamma(1, x)
    pairs = list(zip(*np.tril_indices(2), strict=True))
    cross = [[MU[j] * SIGMA[i, k] + MU[k] * SIGMA[i, j] for j, k in pairs] for i in range(2)]
    fourth = lambda i, j, k, m: SIGMA[i, k] * SIGMA[j, m] + SIGMA[i, m] * SIGMA[j, k]
    mixed = lambda i, j, k, m: MU[i] * (MU[k] * SIGMA[j, m] + MU[m] * SIGMA[j, k])
    squares = [[fourth(i, j, k, m) + mixed(i, j, k, m) + mixed(j, i, k, m) for k, m in pairs] for i, j in pairs]
    closed = [
        [[spread, 2 * mean * spread], [2 * mean * spread, 4 * mean**2 * spread + 2 * spread**2]],
        np.block([[SIGMA, np.array(cross)], [np.array(cross).T, np.array(squares)]]),
        [[trigamma(shape), 1 / rate], [1 / rate, shape / rate**2]],
        [[mu**3 / lam, -mu / lam], [-mu / lam, 1 / (mu * lam) + 2 / lam**2]],
        np.diag(trigamma(np.array(ALPHA_BETA))) - trigamma(sum(ALPHA_BETA)),
        np.diag(trigamma(CONCENTRATION)) - trigamma(CONCENTRATION.sum()),
    ]
    return closed, _each(families.variance, _TWO)


@row("5.6", "the uniform law on [0, c] is outside", "support moves with c: not b(y) exp(...)")
def uniform():
    """Constant support? An exponential family? For the uniform law no and no; for Poisson yes and yes."""
    inside = lambda y, c: jnp.where((y >= 0) & (y <= c), -jnp.log(c), -jnp.inf)
    outside = families.exponential_family_dimension(inside, jnp.linspace(0.0, 3.0, 9), jnp.linspace(1.0, 3.0, 9))
    poisson = lambda y, eta: families.log_prob(families.Poisson(), eta, y)
    member = families.exponential_family_dimension(poisson, jnp.arange(9.0), jnp.linspace(-1.0, 1.0, 9))
    found = [outside.constant_support, outside.consistent, member.constant_support, member.consistent, member.dimension]
    return [False, False, True, True, 1], found


def _each(moment, laws):
    """Mean or variance of T, for each law."""
    ask = lambda law: {"trials": TRIALS} if law.has_trials else {}
    return jax.jit(lambda laws: [moment(law, eta, **ask(law)) for law, eta in laws])(laws)


def _factorial(y):
    return np.array([math.factorial(int(k)) for k in y], float)


@jax.jit
def _parts(law, eta, y):
    """T(y), a(eta) and log b(y) as the family has them."""
    y = jnp.asarray(y)
    return [law.statistic(y), law.log_partition(jnp.asarray(eta)), law.log_base(y)]


@jax.jit
def _mass(law, mean, y):
    return jnp.exp(families.log_prob(law, families.natural(law, mean), y))
