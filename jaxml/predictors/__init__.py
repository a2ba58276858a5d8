"""Predictors: how the natural parameter comes from the features, ``eta = predictor(params, X)``."""

from jaxml.predictors.kernel import KernelExpansion as KernelExpansion
from jaxml.predictors.linear import Linear as Linear
from jaxml.predictors.linear import linear as linear
