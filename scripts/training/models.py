"""The models of ``scripts/learn.py``, a row each: their options, how they are fitted, and the natural parameter that they predict.

What depends on the data or the options is settled first, as plain numbers and words; a fit is then a pure function of these settings
and the rows, so that the structure of a saved fit follows from its settings and the sizes of the rows alone.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import families, generative, kernels, optimize, predictors, training
from jaxml.data import DataError
from jaxml.kernels.functions import Kernel
from jaxml.predictors import Linear
from jaxml.rows import Rows
from training.problem import Problem
from training.values import between, count, fraction, not_negative, positive

Settings = dict[str, Any]
MOST_ROWS = 20_000  # of a kernel matrix, 3 GiB in 64 bits
KERNELS: dict[str, Callable[[Any], Kernel]] = {
    "gaussian": lambda width: kernels.Gaussian(width),
    "laplacian": lambda width: kernels.Laplacian(width),
    "matern32": lambda width: kernels.Matern32(width),
    "matern52": lambda width: kernels.Matern52(width),
    "linear": lambda _: kernels.Linear(),
    "polynomial2": lambda _: kernels.Polynomial(2, 1.0),
    "polynomial3": lambda _: kernels.Polynomial(3, 1.0),
}
ACTIVATIONS = {
    "relu": predictors.relu,
    "tanh": predictors.tanh,
    "sigmoid": predictors.sigmoid,
    "leaky-relu": predictors.leaky_relu,
    "softplus": predictors.softplus,
    "gelu": predictors.gelu,
}
OPTIMISERS = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop,
    "adamw": optax.adamw,
}
LAWS = ("auto", "normal", "bernoulli", "categorical", "poisson", "multinomial")


class Model(NamedTuple):
    """A kind of model.

    Attributes:
        title: what it is called.
        job: the options that choose the data where none are named.
        classes_only: whether it can only tell classes apart.
        scaled: whether it is fitted on columns of mean 0 and deviation 1.
        add_options: adds its own to a parser.
        settle: the settings, from the problem and the options.
        fit: (settings, family, rows) -> fit, pure.
        natural: (settings, family, fit, X) -> eta; None where a model knows classes but no probabilities, see ``classify``.
        describe: what it is, and what a person asks of its fit, by name.
    """

    title: str
    job: Settings
    classes_only: bool
    scaled: bool
    add_options: Callable[[Any], None]
    settle: Callable[[Problem, argparse.Namespace], Settings]
    fit: Callable[[Settings, Any, Rows], Any]
    natural: Callable[[Settings, Any, Any, Any], Any] | None
    describe: Callable[[Settings, Any], dict[str, str]]


# -- generative classifiers ------------------------------------------------------------------------------------------
def _posterior(family: Any, fit: Any, X: Any) -> Any:
    """The natural parameter of y given x: log odds of two classes, log probabilities of more."""
    log = generative.predict_log(fit, X)
    return log[:, 1] - log[:, 0] if family.natural_size is None else log


def _discriminant_options(add: Any) -> None:
    add(
        "--covariance",
        choices=("shared", "full", "diagonal"),
        default="shared",
        help="of the columns: one for all classes (linear boundaries), one for each, or variances only (default: shared)",
    )
    add(
        "--shrinkage",
        type=_share_or_auto,
        default=0.0,
        metavar="S",
        help="towards a multiple of the identity, 0 to 1, or auto (default: 0)",
    )


def _settle_discriminant(problem: Problem, options: argparse.Namespace) -> Settings:
    return {"classes": problem.outputs, "covariance": options.covariance, "shrinkage": options.shrinkage}


def _fit_discriminant(settings: Settings, family: Any, rows: Rows) -> Any:
    return generative.gaussian_discriminant_analysis(rows.X, rows.y, weights=rows.weights, **settings)


def _describe_discriminant(settings: Settings, fit: Any) -> dict[str, str]:
    return {"covariance": f"{settings['covariance']}, shrinkage {settings['shrinkage']}", **_prior(fit)}


def _prior(fit: Any) -> dict[str, str]:
    return {"prior": ", ".join(f"{p:.3f}" for p in np.exp(np.asarray(fit.log_prior)))}


def _naive_bayes_options(add: Any) -> None:
    add("--smoothing", type=float, default=1.0, metavar="A", help="pseudo-count of each value (default: 1, Laplace's)")
    add(
        "--law",
        choices=LAWS,
        default="auto",
        metavar="L",
        help=f"of the columns of numbers: {', '.join(LAWS)} (default: auto, which is bernoulli where a column holds 0 and 1,"
        " normal elsewhere; columns of text are categorical)",
    )


def _settle_naive_bayes(problem: Problem, options: argparse.Namespace) -> Settings:
    """Which law each column has; levels of text, which the design matrix spreads out, become codes again."""
    codes, laws, start = [], [], 0
    X = np.asarray(problem.train.X)
    for code in problem.coding:
        if code.levels is None:
            columns = range(start, start + code.width)
            codes += [[j, 0] for j in columns]
            laws += [_law(X[:, j], problem.names[j], options.law) for j in columns]
        else:
            codes.append([start, len(code.levels)])
            laws.append(f"categorical {len(code.levels)}")
        start += code.width
    if options.law == "multinomial" and set(laws) != {"multinomial"}:
        raise DataError("the multinomial law is one of all columns together: leave columns of text out, with --drop")
    return {"classes": problem.outputs, "smoothing": options.smoothing, "codes": codes, "laws": laws}


def _law(values: np.ndarray, name: str, law: str) -> str:
    if law == "categorical":
        levels = int(values.max(initial=0)) + 1
        if np.any(values % 1) or np.any(values < 0) or levels > 1000:
            raise DataError(f"column {name!r} holds no level numbers 0, 1, 2, ...: use another --law, or --categorical")
        return f"categorical {max(levels, 2)}"
    binary = bool(np.all((values == 0) | (values == 1)))
    return ("bernoulli" if binary else "normal") if law == "auto" else law


def _codes(settings: Settings, X: Any) -> Any:
    """A column for each law: numbers as they are, levels as 0, 1, 2, ..."""
    columns = [
        X[:, start] if not levels else sum((j + 1) * X[:, start + j] for j in range(levels - 1))
        for start, levels in settings["codes"]
    ]
    return jnp.stack(columns, axis=1)


def _fit_naive_bayes(settings: Settings, family: Any, rows: Rows) -> Any:
    laws = settings["laws"]
    if laws[0] == "multinomial":
        law: Any = families.Multinomial(len(laws))
    else:
        groups = {name: tuple(j for j, other in enumerate(laws) if other == name) for name in dict.fromkeys(laws)}
        law = families.Product(tuple(map(_family_of, groups)), tuple(groups.values()))
    model = generative.NaiveBayes(law, settings["smoothing"])
    return generative.fit(model, _codes(settings, rows.X), rows.y, classes=settings["classes"], weights=rows.weights)


def _family_of(law: str) -> Any:
    name, _, levels = law.partition(" ")
    if levels:
        return families.Categorical(int(levels))
    return {"normal": families.NormalMeanVariance, "bernoulli": families.Bernoulli, "poisson": families.Poisson}[name]()


def _describe_naive_bayes(settings: Settings, fit: Any) -> dict[str, str]:
    laws = [name.partition(" ")[0] for name in settings["laws"]]
    counts = ", ".join(f"{laws.count(name)} {name}" for name in dict.fromkeys(laws))
    return {"columns": f"{counts}; smoothing {settings['smoothing']:g}", **_prior(fit)}


# -- kernels ---------------------------------------------------------------------------------------------------------
def _kernel_options(add: Any) -> None:
    _width_options(add)
    add("--l2", type=positive, default=1e-3, help="penalty l2/2 on the square of the function's norm (default: 0.001)")
    add(
        "--centers",
        type=count,
        metavar="M",
        help="fit on the span of so many rows, drawn at random (default: of all; at most 20,000)",
    )


def _width_options(add: Any) -> None:
    add("--kernel", choices=KERNELS, default="gaussian", metavar="K", help=f"{', '.join(KERNELS)} (default: gaussian)")
    add("--width", type=positive, metavar="S", help="sigma, in standard deviations (default: root of d/2, d columns)")


def _kernel_settings(problem: Problem, options: argparse.Namespace) -> Settings:
    width = float(np.sqrt(problem.train.X.shape[1] / 2)) if options.width is None else options.width
    return {"kernel": options.kernel, "width": width}


def _kernel(settings: Settings) -> Kernel:
    return KERNELS[settings["kernel"]](settings["width"])


def _settle_kernel(problem: Problem, options: argparse.Namespace) -> Settings:
    n = problem.train.n
    if options.centers is None and n > MOST_ROWS:
        raise DataError(
            f"{n} rows make a kernel matrix of {8 * n * n / 2**30:.0f} GiB: give --centers, as --centers 1000"
        )
    if options.centers is not None and options.centers > n:
        raise DataError(f"--centers {options.centers} are more than the {n} rows to fit")
    return _kernel_settings(problem, options) | {"l2": options.l2, "centers": options.centers, "seed": options.seed}


def _fit_kernel(settings: Settings, family: Any, rows: Rows) -> Any:
    kernel, how = _kernel(settings), {"l2": settings["l2"], "weights": rows.weights}
    if settings["centers"] is not None:
        key = jax.random.key(settings["seed"])
        how["centers"] = kernels.sample_centers(key, rows.X, settings["centers"])
    elif isinstance(family, families.Normal):
        return kernels.kernel_ridge(kernel, rows.X, rows.y, **how)
    return kernels.fit(family, kernel, rows.X, rows.y, **how)


def _describe_kernel(settings: Settings, fit: Any) -> dict[str, str]:
    on = "" if settings["centers"] is None else f", on {settings['centers']} centres"
    return {"kernel": f"{_kernel_words(settings)}, l2 {settings['l2']:g}{on}"}


def _kernel_words(settings: Settings) -> str:
    has_width = settings["kernel"] not in ("linear", "polynomial2", "polynomial3")
    return settings["kernel"] + (f", width {settings['width']:.4g}" if has_width else "")


# -- support vector machine ------------------------------------------------------------------------------------------
def _machine_options(add: Any) -> None:
    _width_options(add)
    add(
        "--cost",
        type=positive,
        default=1.0,
        metavar="C",
        help="of a row on the wrong side; l2 is 1 / (C n) (default: 1)",
    )
    add("--loss", choices=("hinge", "squared_hinge"), default="hinge", help="(default: hinge)")


def _settle_machine(problem: Problem, options: argparse.Namespace) -> Settings:
    rows = problem.train
    total = float(rows.n if rows.weights is None else np.sum(rows.weights))
    more = {"l2": 1 / (options.cost * total), "loss": options.loss, "classes": problem.outputs, "cost": options.cost}
    return _kernel_settings(problem, options) | more


def _fit_machine(settings: Settings, family: Any, rows: Rows) -> Any:
    kernel = None if settings["kernel"] == "linear" else _kernel(settings)
    how = {name: settings[name] for name in ("l2", "loss", "classes")}
    return kernels.support_vector_machine(rows.X, rows.y, kernel=kernel, weights=rows.weights, **how)


def _describe_machine(settings: Settings, fit: Any) -> dict[str, str]:
    support = np.asarray(fit.support).reshape(len(fit.support), -1)
    some = int(support.any(axis=1).sum())
    machines = (
        "" if support.shape[1] == 1 else f" of any of {support.shape[1]} machines, each of a class against the rest"
    )
    return {
        "kernel": f"{_kernel_words(settings)}, cost {settings['cost']:g}, {settings['loss'].replace('_', ' ')} loss",
        "support": f"{some} of {len(support)} rows are support vectors{machines}",
        "gap": f"duality gap {float(np.max(fit.gap)):.1e} of the objective, {int(np.sum(fit.steps))} steps",
    }


# -- multilayer perceptron -------------------------------------------------------------------------------------------
def _perceptron_options(add: Any) -> None:
    add("--layers", type=count, nargs="*", default=[100], metavar="N", help="units of the hidden layers (default: 100)")
    add(
        "--activation",
        choices=ACTIVATIONS,
        default="relu",
        metavar="F",
        help=f"{', '.join(ACTIVATIONS)} (default: relu)",
    )
    add("--optimizer", choices=OPTIMISERS, default="adam", metavar="O", help=f"{', '.join(OPTIMISERS)} (default: adam)")
    add("--learning-rate", type=positive, default=1e-3, metavar="A", help="(default: 0.001)")
    add("--epochs", type=count, default=200, metavar="N", help="passes over the rows (default: 200)")
    add("--batch-size", type=count, default=32, metavar="N", help="rows in an update (default: 32)")
    add(
        "--dropout",
        type=fraction,
        default=0.0,
        metavar="P",
        help="share of hidden units left out in an update (default: 0)",
    )
    add("--l2", type=not_negative, default=0.0, help="penalty l2/2 |weights|^2 on the mean loss (default: 0)")
    add(
        "--validation",
        type=fraction,
        default=0.0,
        metavar="F",
        help="share of the rows to fit that judge each epoch; the best one is kept (default: 0: none, the last one is)",
    )
    add("--patience", type=count, metavar="N", help="stop after so many epochs that do not improve (default: never)")


def _settle_perceptron(problem: Problem, options: argparse.Namespace) -> Settings:
    if options.patience is not None and not options.validation:
        raise DataError("--patience needs rows to judge by: give --validation, as --validation 0.1")
    names = (
        "layers",
        "activation",
        "optimizer",
        "learning_rate",
        "epochs",
        "batch_size",
        "dropout",
        "l2",
        "validation",
    )
    scale = (0.0, 1.0)
    if problem.family_name == "normal":
        y, w = np.asarray(problem.train.y), problem.train.weights
        center = float(np.average(y, weights=w))
        scale = center, float(np.sqrt(np.average((y - center) ** 2, weights=w))) or 1.0
    return {name: getattr(options, name) for name in (*names, "patience", "seed")} | {"scale": scale}


def _fit_perceptron(settings: Settings, family: Any, rows: Rows) -> Any:
    net = predictors.MLP(tuple(settings["layers"]), ACTIVATIONS[settings["activation"]], settings["dropout"])
    key, train_key = jax.random.split(jax.random.key(settings["seed"]))
    start = net.init(key, rows.X.shape[1], family, dtype=rows.X.dtype)
    transform = OPTIMISERS[settings["optimizer"]](settings["learning_rate"])
    solver = optimize.Optax(transform=transform, epochs=settings["epochs"], batch_size=settings["batch_size"])
    center, spread = settings["scale"]
    y = rows.y if spread == 1 and center == 0 else (rows.y - center) / spread
    how = {"weights": rows.weights, "l2": settings["l2"], "validation": settings["validation"] or None}
    fit = training.train(
        family, net, start, rows.X, y, key=train_key, solver=solver, patience=settings["patience"], **how
    )
    last = fit.params[-1]  # which is linear, so that the units of y go into it
    return replace(fit, params=(*fit.params[:-1], Linear(last.weight * spread, last.bias * spread + center)))


def _describe_perceptron(settings: Settings, fit: Any) -> dict[str, str]:
    sizes = [layer.weight.size + layer.bias.size for layer in fit.params]
    layers = " ".join(map(str, settings["layers"])) or "none"
    best = f", the best one, {int(fit.best_epoch)}, kept" if settings["validation"] else ""
    early = ", stopped early" if bool(fit.stopped_early) else ""
    units = "" if tuple(settings["scale"]) == (0, 1) else "; y in its standard deviations"
    rate = f"{settings['optimizer']} at {settings['learning_rate']:g}, batches of {settings['batch_size']}"
    return {
        "network": f"hidden layers {layers}, {settings['activation']}, {sum(sizes)} parameters",
        "training": f"{rate}, {int(fit.epochs)} epochs{early}{best}; dropout {settings['dropout']:g}, l2 {settings['l2']:g}{units}",
    }


# -- types of values, and the table ----------------------------------------------------------------------------------
def _share_or_auto(text: str) -> float | str:
    return text if text == "auto" else between(text, 0.0, 1.0)


MODELS = {
    "discriminant": Model(
        "Gaussian discriminant analysis",
        {"data": "iris"},
        True,
        True,
        _discriminant_options,
        _settle_discriminant,
        _fit_discriminant,
        lambda settings, family, fit, X: _posterior(family, fit, X),
        _describe_discriminant,
    ),
    "naive-bayes": Model(
        "naive Bayes",
        {"data": "carData/TitanicSurvival", "target": ["survived"], "drop_missing": True},
        True,
        False,
        _naive_bayes_options,
        _settle_naive_bayes,
        _fit_naive_bayes,
        lambda settings, family, fit, X: _posterior(family, fit, _codes(settings, X)),
        _describe_naive_bayes,
    ),
    "kernel": Model(
        "regression by a kernel",
        {"data": "MASS/mcycle", "target": ["accel"]},
        False,
        True,
        _kernel_options,
        _settle_kernel,
        _fit_kernel,
        lambda settings, family, fit, X: kernels.predict_natural(fit, X),
        _describe_kernel,
    ),
    "svm": Model(
        "support vector machine",
        {"data": "modeldata/two_class_dat", "target": ["Class"]},
        True,
        True,
        _machine_options,
        _settle_machine,
        _fit_machine,
        None,
        _describe_machine,
    ),
    "perceptron": Model(
        "multilayer perceptron",
        {"data": "digits"},
        False,
        True,
        _perceptron_options,
        _settle_perceptron,
        _fit_perceptron,
        lambda settings, family, fit, X: training.predict_natural(fit, X),
        _describe_perceptron,
    ),
}
