"""Generative classifiers: a prior over classes and a law of x for each, turned round by Bayes' rule."""

from jaxml.generative.classifier import Classifier as Classifier
from jaxml.generative.classifier import classify as classify
from jaxml.generative.classifier import coefficients as coefficients
from jaxml.generative.classifier import log_joint as log_joint
from jaxml.generative.classifier import log_likelihood as log_likelihood
from jaxml.generative.classifier import predict as predict
from jaxml.generative.classifier import predict_log as predict_log
from jaxml.generative.classifier import sample as sample
from jaxml.generative.classifier import score as score
from jaxml.generative.estimation import Summary as Summary
from jaxml.generative.estimation import estimate as estimate
from jaxml.generative.estimation import fit as fit
from jaxml.generative.estimation import merge as merge
from jaxml.generative.estimation import summarise as summarise
from jaxml.generative.gaussian import GaussianDiscriminant as GaussianDiscriminant
from jaxml.generative.naive_bayes import NaiveBayes as NaiveBayes
from jaxml.generative.named import bernoulli_naive_bayes as bernoulli_naive_bayes
from jaxml.generative.named import categorical_naive_bayes as categorical_naive_bayes
from jaxml.generative.named import gaussian_discriminant_analysis as gaussian_discriminant_analysis
from jaxml.generative.named import gaussian_naive_bayes as gaussian_naive_bayes
from jaxml.generative.named import multinomial_naive_bayes as multinomial_naive_bayes
from jaxml.generative.named import poisson_naive_bayes as poisson_naive_bayes
