"""Solvers for any scalar function of any pytree: an objective in, a :class:`Result` with a status out."""

from jaxml.optimize.driver import Result as Result
from jaxml.optimize.driver import Trace as Trace
from jaxml.optimize.first_order import SGD as SGD
from jaxml.optimize.first_order import GradientDescent as GradientDescent
from jaxml.optimize.first_order import Optax as Optax
from jaxml.optimize.lbfgs import LBFGS as LBFGS
from jaxml.optimize.minimize import gradient_descent as gradient_descent
from jaxml.optimize.minimize import lbfgs as lbfgs
from jaxml.optimize.minimize import minimize as minimize
from jaxml.optimize.minimize import newton as newton
from jaxml.optimize.minimize import sgd as sgd
from jaxml.optimize.newton import Newton as Newton
from jaxml.optimize.objective import Evaluation as Evaluation
from jaxml.optimize.objective import Objective as Objective
from jaxml.optimize.objective import Scalar as Scalar
