"""All workloads, a row each: id, title, how it is run, rows, columns, goal, and what else it wants."""

from typing import Any

from benchmarks import limit, many, models, processes, regressions
from benchmarks.table import Workload

WELL, HARD = 1.5, 3.0  # times the best peer, on well-conditioned designs and on others
PASSES = 15.0  # over X at the speed of memory, that a fit may take
VARIANTS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "1": ("condition 1", WELL, {}),
    "1e3": ("condition 1e3", HARD, {"condition": 1e3}),
    "mixed": ("mixed scales", HARD, {"mixed": True}),
}


def _logistic() -> list[Workload]:
    rows = [_race(n, d, "1") for n, d in ((1_000, 10), (10_000, 10))]
    return rows + [_race(n, d, v) for n, d in ((100_000, 50), (1_000_000, 20), (100_000, 500)) for v in VARIANTS]


def _race(n: int, d: int, variant: str) -> Workload:
    words, goal, more = VARIANTS[variant]
    more = {**more, "passes": PASSES} if d >= 100 else more
    return Workload(f"logistic-{n}x{d}-{variant}", f"logistic {n:,} x {d}, {words}", regressions.race, n, d, goal, more)


def _real(table: str) -> Workload:
    return Workload(
        f"real-{table.replace(' ', '-')}", f"real data, {table}", regressions.real_data, more={"table": table}
    )


def _classifier(model: str) -> Workload:
    name = f"{model} 1,000,000 x 50"
    return Workload(
        f"generative-{model.replace(' ', '-')}", name, models.classifier, 1_000_000, 50, 2.0, {"model": model}
    )


WEIGHTED = {"weighted": True}
POISSON, GAMMA = {"family": "poisson", **WEIGHTED}, {"family": "gamma", **WEIGHTED}
TEN = {"family": "softmax", "classes": 10}
GRID, MANY = {"penalties": 50}, {"fits": 10_000, "some": 200}

WORKLOADS: tuple[Workload, ...] = (
    *_logistic(),
    Workload("poisson", "Poisson 500,000 x 50, weights, offset", regressions.race, 500_000, 50, 2.0, POISSON),
    Workload("gamma", "gamma 200,000 x 30, weights, offset", regressions.race, 200_000, 30, 2.0, GAMMA),
    Workload("softmax-1", "softmax 60,000 x 100 x 10, condition 1", regressions.race, 60_000, 100, 1.5, TEN),
    Workload(
        "softmax-1e2",
        "softmax 60,000 x 100 x 10, condition 1e2",
        regressions.race,
        60_000,
        100,
        10.0,
        {**TEN, "condition": 1e2},
    ),
    Workload("linear", "least squares 1,000,000 x 50", regressions.linear, 1_000_000, 50, 1.0, {"family": "normal"}),
    Workload("grid", "250 penalised logistic fits, 20,000 x 30", many.grid, 20_000, 30, 20.0, GRID),
    Workload("many", "10,000 logistic fits of 500 x 8 with errors", many.independent, 500, 8, 50.0, MANY),
    *(_real(table) for table in ("fertility", "flights", "doctor visits", "diamonds", "digits")),
    Workload("perceptron", "an epoch of 784-256-128-10, 20,000 rows", models.perceptron, 20_000, 784, 2.0),
    Workload("kernel-ridge", "kernel ridge regression, 5,000 rows", models.kernel_ridge, 5_000, 20, 2.0),
    Workload(
        "nystrom", "Nystroem ridge, 100,000 rows, 1,000 centres", models.nystrom, 100_000, 10, 2.0, {"centers": 1_000}
    ),
    *(_classifier(model) for model in ("naive Bayes", "LDA", "QDA")),
    Workload("growth-rows", "growth from 100,000 x 20 by rows", processes.growth, 100_000, 20, None, {"along": "rows"}),
    Workload(
        "growth-columns", "growth from 50,000 x 25 by columns", processes.growth, 50_000, 25, None, {"along": "columns"}
    ),
    Workload("limit", "logistic 100,000 x 100, condition 1", limit.limit, 100_000, 100, more={"passes": PASSES}),
    Workload("memory-tall", "memory 1,000,000 x 50", processes.memory, 1_000_000, 50, 0.15),
    Workload("memory-wide", "memory 100,000 x 500", processes.memory, 100_000, 500, 0.15),
    Workload("cold", "a whole program, 569 x 30", processes.cold),
    Workload("compile", "compilation at small shapes", processes.compiling, goal=1.5),
)


def select(beginnings: list[str]) -> list[Workload]:
    """The workloads whose ids begin so, in the order of the table; all without any.

    Raises:
        ValueError: no id begins so.
    """
    for beginning in beginnings:
        if not any(workload.id.startswith(beginning) for workload in WORKLOADS):
            raise ValueError(f"no workload begins with {beginning!r}; there are {', '.join(w.id for w in WORKLOADS)}")
    return [w for w in WORKLOADS if not beginnings or w.id.startswith(tuple(beginnings))]
