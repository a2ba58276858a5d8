"""Kernels, what is learned with them, and support vector machines."""

from jaxml.kernels.functions import Cosine as Cosine
from jaxml.kernels.functions import FeatureKernel as FeatureKernel
from jaxml.kernels.functions import Gaussian as Gaussian
from jaxml.kernels.functions import Kernel as Kernel
from jaxml.kernels.functions import Laplacian as Laplacian
from jaxml.kernels.functions import Linear as Linear
from jaxml.kernels.functions import Matern32 as Matern32
from jaxml.kernels.functions import Matern52 as Matern52
from jaxml.kernels.functions import Periodic as Periodic
from jaxml.kernels.functions import Polynomial as Polynomial
from jaxml.kernels.functions import Product as Product
from jaxml.kernels.functions import RationalQuadratic as RationalQuadratic
from jaxml.kernels.functions import Scaled as Scaled
from jaxml.kernels.functions import Sum as Sum
from jaxml.kernels.functions import from_features as from_features
from jaxml.kernels.gram import gram as gram
from jaxml.kernels.gram import gram_matvec as gram_matvec
from jaxml.kernels.svm import SupportVectorMachine as SupportVectorMachine
from jaxml.kernels.svm import classify as classify
from jaxml.kernels.svm import decision_function as decision_function
from jaxml.kernels.svm import support_vector_machine as support_vector_machine
