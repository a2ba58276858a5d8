"""Hard data: one table of named cases, what each must end in and why, and the judge of all who try."""

from hard_data import counts as counts
from hard_data import edges as edges
from hard_data import rank as rank
from hard_data import scales as scales
from hard_data import separation as separation
from hard_data.judge import DIGITS as DIGITS
from hard_data.judge import Judgement as Judgement
from hard_data.judge import Outcome as Outcome
from hard_data.judge import judge as judge
from hard_data.table import CASES as CASES
from hard_data.table import OPTIMUM as OPTIMUM
from hard_data.table import SEPARATED as SEPARATED
from hard_data.table import Case as Case
from hard_data.table import select as select
