"""The course notes row by row: what each formula says, typed in NumPy, beside what jaxml computes."""

from course import classification as classification
from course import exponential_family as exponential_family
from course import generalised_linear as generalised_linear
from course import generative_classifiers as generative_classifiers
from course import kernel_methods as kernel_methods
from course import linear_regression as linear_regression
from course import neural_networks as neural_networks
from course import optimisation as optimisation
from course import supervised as supervised
from course.table import ROWS as ROWS
from course.table import Outcome as Outcome
from course.table import Row as Row
from course.table import check as check
from course.table import select as select
