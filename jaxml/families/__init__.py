"""Exponential families p(y; eta) = b(y) exp(<eta, T(y)> - a(eta)), and the functions that every one of them has.

A family is one class of a few methods; mean, variance, information, divergences, deviance and maximum likelihood follow from
its log-partition function by autodiff.
"""

from jaxml.families.base import Family as Family
from jaxml.families.base import family as family
from jaxml.families.base import static_field as static_field
from jaxml.families.bernoulli import Bernoulli as Bernoulli
from jaxml.families.bernoulli import Binomial as Binomial
from jaxml.families.beta import Beta as Beta
from jaxml.families.beta import Dirichlet as Dirichlet
from jaxml.families.categorical import Categorical as Categorical
from jaxml.families.categorical import Multinomial as Multinomial
from jaxml.families.cumulative import cdf as cdf
from jaxml.families.cumulative import sf as sf
from jaxml.families.functions import cross_entropy as cross_entropy
from jaxml.families.functions import deviance as deviance
from jaxml.families.functions import entropy as entropy
from jaxml.families.functions import expected_value as expected_value
from jaxml.families.functions import fisher as fisher
from jaxml.families.functions import fit as fit
from jaxml.families.functions import hessian as hessian
from jaxml.families.functions import kl_divergence as kl_divergence
from jaxml.families.functions import log_prob as log_prob
from jaxml.families.functions import mean as mean
from jaxml.families.functions import natural as natural
from jaxml.families.functions import sample as sample
from jaxml.families.functions import variance as variance
from jaxml.families.gamma import Exponential as Exponential
from jaxml.families.gamma import Gamma as Gamma
from jaxml.families.gamma import GammaShapeRate as GammaShapeRate
from jaxml.families.geometric import Geometric as Geometric
from jaxml.families.geometric import NegativeBinomial as NegativeBinomial
from jaxml.families.inverse_gaussian import InverseGaussian as InverseGaussian
from jaxml.families.inverse_gaussian import InverseGaussianMeanShape as InverseGaussianMeanShape
from jaxml.families.membership import exponential_family_dimension as exponential_family_dimension
from jaxml.families.multivariate_normal import MultivariateNormal as MultivariateNormal
from jaxml.families.normal import Normal as Normal
from jaxml.families.normal import NormalMeanVariance as NormalMeanVariance
from jaxml.families.poisson import Poisson as Poisson
from jaxml.families.product import Product as Product
from jaxml.families.product import independent as independent
from jaxml.families.tweedie import Tweedie as Tweedie
