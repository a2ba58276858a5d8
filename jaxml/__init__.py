"""Exponential-family machine learning in JAX: one likelihood, its families, predictors and solvers."""

from jaxml import families as families
from jaxml import generative as generative
from jaxml import glm as glm
from jaxml import kernels as kernels
from jaxml import likelihood as likelihood
from jaxml import losses as losses
from jaxml import optimize as optimize
from jaxml import predictors as predictors
from jaxml import training as training
from jaxml.status import ConvergenceWarning as ConvergenceWarning
from jaxml.status import Status as Status
from jaxml.status import report as report

__version__ = "0.1.0"
