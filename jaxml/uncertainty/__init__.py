"""How sure any model is of its params: covariances by the model and robust, and Laplace's approximation of the posterior."""

from jaxml.uncertainty.curvature import Uncertainty as Uncertainty
from jaxml.uncertainty.infer import infer as infer
from jaxml.uncertainty.questions import Prediction as Prediction
from jaxml.uncertainty.questions import predict_with_errors as predict_with_errors
from jaxml.uncertainty.questions import sample as sample
from jaxml.uncertainty.questions import standard_errors as standard_errors
