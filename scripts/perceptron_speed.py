"""Times one epoch of a 784-256-128-10 perceptron on 20,000 rows, in batches of 128, beside PyTorch.

    python scripts/perceptron_speed.py

Both train the same network by Adam on the same rows in float32, in turns; the figures are medians over the repetitions. PyTorch
is not a dependency: where it is not installed, jaxml is timed alone.
"""

import argparse
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import families, optimize, training
from jaxml.predictors import MLP
from racing import compare

WIDTHS, CLASSES, BATCH = (256, 128), 10, 128


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.random((options.rows, 784), np.float32)
    y = rng.integers(0, CLASSES, options.rows)
    contestants = {"jaxml": jaxml_epoch(X, y)}
    try:
        contestants["PyTorch, eager"] = torch_epoch(X, y)
    except ImportError:
        print("PyTorch is not installed: jaxml alone")
    compare("an epoch", contestants, options.repetitions)


def jaxml_epoch(X: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    """One epoch, from params to params."""
    family = families.Categorical(CLASSES)
    net = MLP(WIDTHS)
    params = net.init(jax.random.key(0), X.shape[1], family, dtype=jnp.float32)
    solver = optimize.Optax(transform=optax.adam(1e-3), epochs=1, batch_size=BATCH)
    rows, labels = jnp.asarray(X), jnp.asarray(y)

    def run() -> None:
        fit = training.train(family, net, params, rows, labels, solver=solver, key=jax.random.key(1), check=False)
        jax.block_until_ready(fit.params)

    return run


def torch_epoch(X: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    """The same in PyTorch, the usual loop over permuted batches."""
    import torch

    sizes = (X.shape[1], *WIDTHS, CLASSES)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    loss = torch.nn.CrossEntropyLoss()
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)

    def run() -> None:
        order = torch.randperm(len(rows))
        for start in range(0, len(rows), BATCH):
            index = order[start : start + BATCH]
            optimizer.zero_grad()
            loss(net(rows[index]), labels[index]).backward()
            optimizer.step()

    return run


if __name__ == "__main__":
    main()
