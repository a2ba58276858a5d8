"""Generalised linear models: fit, predict, score; the four of a first course by name; least squares in closed form.

:func:`infer` joins a fit and its data; errors, tests, intervals, diagnostics, comparisons, effects and the table are asked of that.
"""

from jaxml.glm.comparison import AnalysisOfDeviance as AnalysisOfDeviance
from jaxml.glm.comparison import analysis_of_deviance as analysis_of_deviance
from jaxml.glm.comparison import likelihood_ratio_test as likelihood_ratio_test
from jaxml.glm.comparison import score_test as score_test
from jaxml.glm.covariance import Inference as Inference
from jaxml.glm.diagnostics import cooks_distance as cooks_distance
from jaxml.glm.diagnostics import dfbetas as dfbetas
from jaxml.glm.diagnostics import leverage as leverage
from jaxml.glm.dispersion_errors import DispersionErrors as DispersionErrors
from jaxml.glm.dispersion_errors import dispersion_errors as dispersion_errors
from jaxml.glm.effects import MarginalEffects as MarginalEffects
from jaxml.glm.effects import marginal_effects as marginal_effects
from jaxml.glm.fit import fit as fit
from jaxml.glm.goodness import GoodnessOfFit as GoodnessOfFit
from jaxml.glm.goodness import effective_parameters as effective_parameters
from jaxml.glm.goodness import goodness_of_fit as goodness_of_fit
from jaxml.glm.goodness import log_likelihood as log_likelihood
from jaxml.glm.inference import CoefficientTests as CoefficientTests
from jaxml.glm.inference import HypothesisTest as HypothesisTest
from jaxml.glm.inference import coefficient_tests as coefficient_tests
from jaxml.glm.inference import infer as infer
from jaxml.glm.inference import standard_errors as standard_errors
from jaxml.glm.inference import wald_test as wald_test
from jaxml.glm.intervals import confidence_intervals as confidence_intervals
from jaxml.glm.laplace import log_evidence as log_evidence
from jaxml.glm.laplace import sample_posterior as sample_posterior
from jaxml.glm.named import least_squares as least_squares
from jaxml.glm.named import linear_regression as linear_regression
from jaxml.glm.named import logistic_regression as logistic_regression
from jaxml.glm.named import normal_equation as normal_equation
from jaxml.glm.named import poisson_regression as poisson_regression
from jaxml.glm.named import softmax_regression as softmax_regression
from jaxml.glm.negative_binomial import NegativeBinomialFit as NegativeBinomialFit
from jaxml.glm.negative_binomial import negative_binomial_regression as negative_binomial_regression
from jaxml.glm.predict import contrast as contrast
from jaxml.glm.predict import predict as predict
from jaxml.glm.predict import predict_natural as predict_natural
from jaxml.glm.predict import predict_statistic as predict_statistic
from jaxml.glm.predict import score as score
from jaxml.glm.prediction_intervals import PredictionInterval as PredictionInterval
from jaxml.glm.prediction_intervals import prediction_intervals as prediction_intervals
from jaxml.glm.profile import profile_intervals as profile_intervals
from jaxml.glm.residuals import residuals as residuals
from jaxml.glm.result import Fit as Fit
from jaxml.glm.separation import Separation as Separation
from jaxml.glm.separation import separation as separation
from jaxml.glm.summary import Summary as Summary
from jaxml.glm.summary import condition_number as condition_number
from jaxml.glm.summary import summary as summary
from jaxml.glm.uncertainty import Prediction as Prediction
from jaxml.glm.uncertainty import predict_with_errors as predict_with_errors
from jaxml.glm.uncertainty import sample_predictive as sample_predictive
