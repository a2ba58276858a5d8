"""The designs and responses that the cases are made of: 24 rows and 3 columns, all of them exact in float32."""

import numpy as np

ROWS = 24
SLOPES = np.array([0.75, -0.5, 0.25])


def grid(a: np.ndarray) -> np.ndarray:
    """Rounded to multiples of 1/64."""
    return np.round(np.asarray(a) * 64) / 64


def design(seed: int = 0, rows: int = ROWS, columns: int = 3) -> np.ndarray:
    """Standard normal columns."""
    return grid(np.random.default_rng(seed).normal(size=(rows, columns)))


def predictor(seed: int = 0, bias: float = 0.0) -> np.ndarray:
    """bias + X slopes for the design of this seed."""
    return bias + design(seed) @ SLOPES


def binary(seed: int = 0) -> np.ndarray:
    """Labels 0 and 1 that overlap."""
    return (np.random.default_rng(seed + 100).random(ROWS) < 1 / (1 + np.exp(-predictor(seed)))).astype(int)


def counts(seed: int = 0, bias: float = 1.0) -> np.ndarray:
    """Poisson counts."""
    return np.random.default_rng(seed + 200).poisson(np.exp(predictor(seed, bias))).astype(int)


def positive(seed: int = 0, bias: float = 1.0) -> np.ndarray:
    """Gamma responses of shape 4 with a logarithmic link, none of them 0."""
    return np.maximum(grid(np.random.default_rng(seed + 300).gamma(4.0, np.exp(predictor(seed, bias)) / 4)), 1 / 64)


def real(seed: int = 0) -> np.ndarray:
    """Normal responses with a standard deviation of 1/2."""
    return grid(predictor(seed, 1.0) + np.random.default_rng(seed + 400).normal(size=ROWS) / 2)


def classes(seed: int = 0) -> np.ndarray:
    """Three overlapping classes."""
    X = design(seed)
    utility = np.column_stack([X[:, 0], X[:, 1], np.zeros(ROWS)])
    return np.argmax(utility + np.random.default_rng(seed + 500).gumbel(size=(ROWS, 3)), axis=1)


def level(every: int = 3) -> np.ndarray:
    """(24,) 1 in every such row: a level of a factor."""
    return (np.arange(ROWS) % every == 0).astype(float)


def with_columns(X: np.ndarray, *more: np.ndarray, first: int = 3) -> np.ndarray:
    """The first columns of X and more beside them."""
    return np.column_stack([X[:, :first], *more])
