"""Predictors: how the natural parameter comes from the features, ``eta = predictor(params, X)``."""

from jaxml.predictors.kernel import KernelExpansion as KernelExpansion
from jaxml.predictors.linear import Linear as Linear
from jaxml.predictors.linear import linear as linear
from jaxml.predictors.mlp import MLP as MLP
from jaxml.predictors.mlp import gelu as gelu
from jaxml.predictors.mlp import leaky_relu as leaky_relu
from jaxml.predictors.mlp import relu as relu
from jaxml.predictors.mlp import sigmoid as sigmoid
from jaxml.predictors.mlp import softplus as softplus
from jaxml.predictors.mlp import tanh as tanh
