"""Beyond regression: kernels, generative classifiers, a perceptron, each beside the peer that does the same."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.measure import contest
from benchmarks.table import Answer, Entrant, Options, Outcome, Workload, best_ratio
from jaxml import families, generative, kernels, optimize, training
from jaxml.predictors import MLP

WIDTHS, CLASSES, BATCH = (256, 128), 10, 128
RESIDUAL = 1e-9  # that the normal equations may keep


def duel(
    workload: Workload,
    runs: dict[str, Callable[[], Any]],
    options: Options,
    gap: Callable[[Any], float] = lambda found: 0.0,
    until: float = 0.0,
    measure: str = "",
) -> Outcome:
    """Runs that need no calibration; jaxml is first. Those whose gap, the `measure`, is above `until` are not timed."""
    field = [Entrant(name, _waited(run), compiles=name.startswith("jaxml")) for name, run in runs.items()]
    entries = contest(field, gap, until, options, workload.goal)
    return Outcome(entries, best_ratio(workload.title, entries, workload.goal), measure=measure)


def _waited(run: Callable[[], Any]) -> Callable[[Any], Answer]:
    return lambda tolerance: Answer(jax.block_until_ready(run()))


# -- kernels ---------------------------------------------------------------------------------------------------------
def kernel_ridge(workload: Workload, options: Options) -> Outcome:
    """The same dual coefficients."""
    from sklearn.kernel_ridge import KernelRidge

    X, y, sigma = _smooth(workload.sized(options))
    peer = KernelRidge(alpha=1.0, kernel="rbf", gamma=1 / (2 * sigma**2))
    rows = jnp.asarray(X), jnp.asarray(y)
    kernel, l2 = kernels.Gaussian(sigma), 1 / len(y)
    runs = {
        "jaxml": lambda: kernels.kernel_ridge(kernel, *rows, l2=l2).params.weight,
        "scikit-learn KernelRidge": lambda: peer.fit(X, y).dual_coef_,
    }
    return duel(workload, runs, options)


def nystrom(workload: Workload, options: Options) -> Outcome:
    """Ridge regression on the span of the same number of centres, of the same penalty; scikit-learn draws its own."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    size = workload.sized(options)
    X, y, sigma = _smooth(size)
    count, l2 = min(workload.more["centers"], size.rows // 10), 1e-6
    rows, kernel = (jnp.asarray(X), jnp.asarray(y)), kernels.Gaussian(sigma)
    centers = kernels.sample_centers(jax.random.key(0), rows[0], count)
    features = Nystroem(gamma=1 / (2 * sigma**2), n_components=count, random_state=0)
    peer = make_pipeline(features, Ridge(alpha=l2 * len(y)))

    def ours() -> Any:
        fit = kernels.nystrom_ridge(kernel, centers, *rows, l2=l2)
        return fit.points, fit.params.weight, fit.params.bias

    def theirs() -> Any:
        ridge = peer.fit(X, y)[-1]
        return features.components_, ridge.coef_ @ features.normalization_, ridge.intercept_

    runs = {
        "jaxml": ours,
        "scikit-learn Nystroem, Ridge": theirs,
        "SciPy, normal equations": _normal_equations(X, y, np.asarray(centers), sigma, l2),
    }
    return duel(workload, runs, options, lambda found: _residual(X, y, sigma, l2, *found), RESIDUAL, "residual")


def _residual(X: np.ndarray, y: np.ndarray, sigma: float, l2: float, centers: Any, beta: Any, bias: Any) -> float:
    """Of the penalised normal equations, where coordinates make the penalty a sum of squares, as a share of their right-hand side."""
    from scipy.linalg import solve_triangular

    centers, beta = np.asarray(centers), np.asarray(beta)
    inner = _gram(centers, centers, sigma)
    left, right = -l2 * np.append(inner @ beta, 0), np.zeros(len(beta) + 1)
    for start in range(0, len(y), 10_000):
        K, few = _gram(X[start : start + 10_000], centers, sigma), y[start : start + 10_000]
        for total, r in ((left, few - K @ beta - np.asarray(bias)), (right, few)):
            total += np.append(r @ K, np.sum(r)) / len(y)
    root = np.linalg.cholesky(inner)
    length = lambda v: np.hypot(np.linalg.norm(solve_triangular(root, v[:-1], lower=True)), v[-1])
    return float(length(left) / length(right))


def _normal_equations(X: np.ndarray, y: np.ndarray, centers: np.ndarray, sigma: float, l2: float) -> Callable[[], Any]:
    """What one would write with SciPy, block by block: (K'K / n - k k' + l2 Kcc) beta = K'y / n - k mean(y), k the mean row of K."""
    from scipy.linalg import solve

    def run() -> Any:
        n, m = len(y), len(centers)
        inner, right, mean = l2 * _gram(centers, centers, sigma), np.zeros(m), np.zeros(m)
        for start in range(0, n, 10_000):
            K = _gram(X[start : start + 10_000], centers, sigma)
            inner += K.T @ K / n
            right += y[start : start + 10_000] @ K / n
            mean += np.sum(K, axis=0) / n
        beta = solve(inner - np.outer(mean, mean), right - np.mean(y) * mean, assume_a="pos")
        return centers, beta, np.mean(y) - mean @ beta

    return run


def _gram(A: np.ndarray, B: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return np.exp(cdist(A, B, "sqeuclidean") / (-2 * sigma**2))


def _smooth(size: Workload) -> tuple[np.ndarray, np.ndarray, float]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((size.rows, size.columns))
    y = np.sin(X[:, 0]) + 0.5 * np.cos(2 * X[:, 1]) * X[:, 2] + 0.1 * rng.standard_normal(size.rows)
    return X, y, float(np.sqrt(size.columns))


# -- generative classifiers ------------------------------------------------------------------------------------------
def classifier(workload: Workload, options: Options) -> Outcome:
    """Naive Bayes and discriminant analysis."""
    size, rng = workload.sized(options), np.random.default_rng(0)
    y = rng.integers(0, 3, size.rows)
    X = rng.standard_normal((size.rows, size.columns)) + 0.3 * y[:, None]
    rows = jnp.asarray(X), jnp.asarray(y)
    ours, peers = CLASSIFIERS[workload.more["model"]]
    runs: dict[str, Callable[[], Any]] = {"jaxml": lambda: ours(*rows)}
    runs |= {name: _fitting(peer, X, y) for name, peer in peers.items()}
    return duel(workload, runs, options)


def _fitting(peer: Callable[[], Any], X: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    peer()  # imported
    return lambda: peer().fit(X, y)


def _discriminant(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from sklearn import discriminant_analysis

        return getattr(discriminant_analysis, name)(**options)

    return make


def _naive_bayes() -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB()


CLASSIFIERS: dict[str, tuple[Callable[..., Any], dict[str, Callable[[], Any]]]] = {
    "naive Bayes": (generative.gaussian_naive_bayes, {"scikit-learn GaussianNB": _naive_bayes}),
    "LDA": (
        generative.gaussian_discriminant_analysis,
        {
            "scikit-learn LDA lsqr": _discriminant("LinearDiscriminantAnalysis", solver="lsqr"),
            "scikit-learn LDA svd": _discriminant("LinearDiscriminantAnalysis", solver="svd"),
        },
    ),
    "QDA": (
        lambda X, y: generative.gaussian_discriminant_analysis(X, y, covariance="full"),
        {"scikit-learn QDA": _discriminant("QuadraticDiscriminantAnalysis")},
    ),
}


# -- a perceptron ----------------------------------------------------------------------------------------------------
def perceptron(workload: Workload, options: Options) -> Outcome:
    """An epoch of Adam in float32, from the same rows."""
    size, rng = workload.sized(options), np.random.default_rng(0)
    X, y = rng.random((size.rows, size.columns), np.float32), rng.integers(0, CLASSES, size.rows)
    with jax.enable_x64(False):
        runs = {"jaxml": _jaxml_epoch(X, y)}
        remarks = []
        try:
            runs["PyTorch, eager, CPU"] = _torch_epoch(X, y)
        except ImportError:
            remarks.append("PyTorch is left out: torch is not installed")
        return duel(workload, runs, options)._replace(remarks=remarks)


def _jaxml_epoch(X: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    family, net = families.Categorical(CLASSES), MLP(WIDTHS)
    params = net.init(jax.random.key(0), X.shape[1], family, dtype=jnp.float32)
    solver = optimize.Optax(transform=optax.adam(1e-3), epochs=1, batch_size=BATCH)
    rows, labels, key = jnp.asarray(X), jnp.asarray(y), jax.random.key(1)
    return lambda: training.train(family, net, params, rows, labels, solver=solver, key=key, check=False).params


def _torch_epoch(X: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    """The usual loop over permuted batches."""
    import torch

    sizes = (X.shape[1], *WIDTHS, CLASSES)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer, loss = torch.optim.Adam(net.parameters(), 1e-3), torch.nn.CrossEntropyLoss()
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)

    def run() -> None:
        order = torch.randperm(len(rows))
        for start in range(0, len(rows), BATCH):
            index = order[start : start + BATCH]
            optimizer.zero_grad()
            loss(net(rows[index]), labels[index]).backward()
            optimizer.step()

    return run
