"""The table of hard data: named cases, what each must end in, and where that expectation comes from.

A module of this package makes a :class:`Case` with :func:`add` and it joins the table. A case says only what kind of end is
right; the optimum itself is found by :mod:`hard_data.optimum` in long arithmetic, and that there is none is proved by
:mod:`hard_data.certificate` in exact arithmetic, both for the data as a dtype holds them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

OPTIMUM = "converged"
SEPARATED = "separated"
BOUNDARY = "boundary"
INFEASIBLE = "infeasible"
REFUSED = "refused"
IMPRECISE = "imprecise"  # the dtype cannot hold the answer, and the fit must say so
ENDS = (OPTIMUM, SEPARATED, BOUNDARY, INFEASIBLE, REFUSED, IMPRECISE)

LINKS = {
    "normal": "identity",
    "bernoulli": "logit",
    "binomial": "logit",
    "categorical": "softmax",
    "multinomial": "softmax",
    "poisson": "log",
    "negative_binomial": "log",
    "gamma": "inverse",
    "inverse_gaussian": "inverse_squared",
}
VECTOR = ("categorical", "multinomial")


class Case(NamedTuple):
    """One data set and model.

    Attributes:
        name: what it is called.
        about: the kind of difficulty.
        family, link: by name.
        X, y: (n, d); (n,), (n, k) counts, or the pair (successes, trials).
        expects: how a fit must end.
        why: where the expectation comes from.
        weights, offset: (n,) or None.
        intercept: whether there is a bias.
        l2: penalty on the weight and on the bias.
        init: weight and bias to start from, or None.
        classes: K of a vector family.
        r: of the negative binomial.
        single: how a fit in float32 must end, where rounding makes other data of these.
        digits: of the long arithmetic; more where means are as small as e^-1400.
        near: a bias from which the search in long arithmetic starts, where the usual start would take it too many steps.
    """

    name: str
    about: str
    family: str
    X: np.ndarray
    y: Any
    expects: str
    why: str
    link: str
    weights: np.ndarray | None = None
    offset: np.ndarray | None = None
    intercept: bool = True
    l2: tuple[float, float] = (0.0, 0.0)
    init: tuple[Any, Any] | None = None
    classes: int = 1
    r: float = 2.0
    single: str | None = None
    digits: int = 60
    near: float | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.X)

    @property
    def on(self) -> np.ndarray:
        """Which rows count."""
        return np.ones(self.n, bool) if self.weights is None else self.weights > 0

    def ends(self, dtype: Any) -> str:
        """How a fit in this dtype must end."""
        return self.single or self.expects if np.dtype(dtype) == np.float32 else self.expects

    def rounded(self, dtype: Any) -> "Case":
        """The data as the dtype holds them, in float64."""
        to = lambda a: None if a is None else np.asarray(np.asarray(a, dtype), np.float64)
        response = lambda a: to(a) if a.dtype.kind == "f" else a
        y = tuple(map(response, self.y)) if isinstance(self.y, tuple) else response(self.y)
        return self._replace(X=to(self.X), y=y, weights=to(self.weights), offset=to(self.offset))


CASES: dict[str, Case] = {}


def add(name: str, about: str, family: str, X: Any, y: Any, expects: str, why: str, **options: Any) -> Case:
    """Put a case into the table.

    Raises:
        ValueError: a name that is taken, or an end that is not known.
    """
    if name in CASES or not {expects, options.get("single") or expects} <= set(ENDS):
        raise ValueError(f"case {name!r} is in the table already, or ends in no way that is known")
    X = np.asarray(X, float)
    y = tuple(np.asarray(a) for a in y) if isinstance(y, tuple) else np.asarray(y)
    options.setdefault("link", LINKS[family])
    if family in VECTOR:
        options.setdefault("classes", y.shape[1] if y.ndim == 2 else int(y.max()) + 1)
    for key in ("weights", "offset"):
        if options.get(key) is not None:
            options[key] = np.broadcast_to(np.asarray(options[key], float), (len(X),)).copy()
    CASES[name] = Case(name, about, family, X[:, None] if X.ndim == 1 else X, y, expects, why, **options)
    return CASES[name]


def select(names: Sequence[str]) -> list[Case]:
    """The cases of these names, or of those that begin so; all where none is given.

    Raises:
        ValueError: for a name that is not in the table.
    """
    for name in names:
        if not any(case.startswith(name) for case in CASES):
            raise ValueError(f"no case {name!r}; the table has {', '.join(CASES)}")
    return [case for case in CASES.values() if not names or any(case.name.startswith(name) for name in names)]
