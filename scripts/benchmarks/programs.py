"""Programs that run in processes of their own: cold fits, and every entry point compiled once (``python -m benchmarks.programs``)."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

L2 = 1e-3  # the table is separable
QUICK = "glm.fit Bernoulli"

_LOAD = "import sys, numpy as np\nX, y = (np.load(sys.argv[1])[k] for k in 'Xy')\n"

FITS: dict[str, tuple[str, str]] = {
    "jaxml": (
        "jaxml",
        _LOAD + f"from jaxml import families, glm\nprint(glm.fit(families.Bernoulli(), X, y, l2={L2}).params.weight)",
    ),
    "scikit-learn": (
        "sklearn",
        _LOAD
        + "from sklearn.linear_model import LogisticRegression\n"
        + f"print(LogisticRegression(C=1 / ({L2} * len(y)), tol=1e-8, max_iter=1000).fit(X, y).coef_)",
    ),
    "statsmodels": (
        "statsmodels",
        _LOAD
        + "import statsmodels.api as sm\nmodel = sm.GLM(y, sm.add_constant(X), family=sm.families.Binomial())\n"
        + f"print(model.fit_regularized(alpha={L2}, L1_wt=0.0).params)",
    ),
}


def installed() -> list[str]:
    """The names of ``FITS`` whose package is there."""
    return [name for name, (package, _) in FITS.items() if importlib.util.find_spec(package)]


def save_table(folder: Path) -> Path:
    """Breast cancer, 569 x 30, standardised."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    np.savez(folder / "table.npz", X=(X - X.mean(axis=0)) / X.std(axis=0), y=y.astype(float))
    return folder / "table.npz"


# -- compilation -----------------------------------------------------------------------------------------------------
def entry_points() -> dict[str, Callable[[], Any]]:
    """A call of each, at small shapes."""
    import jax
    import jax.numpy as jnp

    from jaxml import families, generative, glm, kernels, predictors, training

    rng = np.random.default_rng(0)
    X = jnp.asarray(rng.standard_normal((60, 3)))
    counts, classes = jnp.asarray(rng.poisson(2.0, 60)), jnp.asarray(rng.integers(0, 3, 60))
    binary, real = jnp.asarray(rng.integers(0, 2, 60)), jnp.asarray(rng.standard_normal(60))
    positive, law, kernel = jnp.exp(real), families.Poisson(), kernels.Gaussian(1.0)
    net, three = predictors.MLP((8,)), families.Categorical(3)
    inferred: list[Any] = []

    def infer() -> Any:
        inferred.append(glm.infer(glm.fit(law, X, counts), X, counts))
        return inferred[0].fit.params

    def train() -> Any:
        start = net.init(jax.random.key(0), 3, three)
        return training.train(three, net, start, X, classes, key=jax.random.key(1)).params

    return {
        QUICK: lambda: glm.fit(families.Bernoulli(), X, binary),
        "glm.fit Normal": lambda: glm.fit(families.Normal(), X, real),
        "glm.fit Poisson": lambda: glm.fit(law, X, counts),
        "glm.fit Gamma, log": lambda: glm.fit(families.Gamma(), X, positive, link="log"),
        "glm.fit Categorical": lambda: glm.fit(three, X, classes),
        "glm.fit NegativeBinomial": lambda: glm.fit(families.NegativeBinomial(2.0), X, counts),
        "glm.fit Tweedie": lambda: glm.fit(families.Tweedie(1.5), X, positive),
        "glm.fit NormalMeanVariance": lambda: glm.fit(families.NormalMeanVariance(), X, real),
        "negative_binomial_regression": lambda: glm.negative_binomial_regression(X, counts),
        "glm.linear_regression": lambda: glm.linear_regression(X, real),
        "glm.infer": infer,
        "glm.infer HC3": lambda: glm.infer(glm.fit(law, X, counts), X, counts, covariance="HC3"),
        "glm.summary": lambda: glm.summary(inferred[0]),
        "gaussian_discriminant_analysis": lambda: generative.gaussian_discriminant_analysis(X, classes),
        "gaussian_naive_bayes": lambda: generative.gaussian_naive_bayes(X, classes),
        "kernel_ridge": lambda: kernels.kernel_ridge(kernel, X, real, l2=0.1),
        "kernels.fit Poisson": lambda: kernels.fit(law, kernel, X, counts, l2=0.1),
        "support_vector_machine": lambda: kernels.support_vector_machine(X, binary, l2=0.1, kernel=kernel),
        "nystrom_ridge": lambda: kernels.nystrom_ridge(kernel, X[:9], X, real, l2=0.1),
        "training.train": train,
    }


def main(wanted: str) -> None:
    """Print one line of JSON: every program that was compiled, by which entry point, and the seconds of the compiler."""
    import warnings

    import jax

    warnings.simplefilter("ignore")
    found: list[dict[str, Any]] = []
    entry = ""

    def heard(event: str, duration_secs: float, **facts: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append({"entry": entry, "program": str(facts.get("fun_name", "")), "seconds": duration_secs})

    jax.monitoring.register_event_duration_secs_listener(heard)
    for entry, call in entry_points().items():
        if wanted in ("", entry):
            jax.block_until_ready(call())
    print(json.dumps([row for row in found if row["entry"]]))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
