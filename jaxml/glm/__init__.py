"""Generalised linear models: fit, predict, score; the four of a first course by name; least squares in closed form."""

from jaxml.glm.fit import fit as fit
from jaxml.glm.inference import Inference as Inference
from jaxml.glm.inference import coefficient_tests as coefficient_tests
from jaxml.glm.inference import confidence_intervals as confidence_intervals
from jaxml.glm.inference import infer as infer
from jaxml.glm.inference import standard_errors as standard_errors
from jaxml.glm.inference import wald_test as wald_test
from jaxml.glm.named import least_squares as least_squares
from jaxml.glm.named import linear_regression as linear_regression
from jaxml.glm.named import logistic_regression as logistic_regression
from jaxml.glm.named import normal_equation as normal_equation
from jaxml.glm.named import poisson_regression as poisson_regression
from jaxml.glm.named import softmax_regression as softmax_regression
from jaxml.glm.predict import contrast as contrast
from jaxml.glm.predict import predict as predict
from jaxml.glm.predict import predict_natural as predict_natural
from jaxml.glm.predict import predict_statistic as predict_statistic
from jaxml.glm.predict import score as score
from jaxml.glm.result import Fit as Fit
