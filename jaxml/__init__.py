"""Exponential-family machine learning in JAX: one likelihood, its families, predictors and solvers."""

import importlib
from types import ModuleType

from jaxml import families as families
from jaxml import glm as glm
from jaxml import likelihood as likelihood
from jaxml import losses as losses
from jaxml import optimize as optimize
from jaxml import predictors as predictors
from jaxml.status import ConvergenceWarning as ConvergenceWarning
from jaxml.status import Status as Status
from jaxml.status import report as report

__version__ = "0.1.0"

_ON_DEMAND = ("generative", "kernels", "training", "uncertainty")  # a linear fit need not wait for them to load


def __getattr__(name: str) -> ModuleType:
    if name in _ON_DEMAND:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})
