"""The scoreboard of hard data: what is run ends in a right answer or in the right status, in float64 and in float32."""

import json

import jax
import numpy as np
import pytest

pytest.importorskip("mpmath")
import scoreboard
from hard_data import CASES, OPTIMUM, SEPARATED, Case, Outcome, judge, select
from hard_data import contestants as field
from hard_data.certificate import certificate
from hard_data.judge import GAVE_UP, RIGHT, SAID, WRONG
from hard_data.optimum import optimum
from hard_data.table import IMPRECISE
from marks import covering, mostly_slow

X64 = jax.config.jax_enable_x64
DTYPE = "float64" if X64 else "float32"
DIGITS = {"float64": 1e-8, "float32": 1e-3}
pytestmark = pytest.mark.filterwarnings("ignore:float64 data are computed in float32")


def beside(case: Case) -> set[str]:
    """What a case has beside X and y: each combination is a program of its own."""
    given = {"weights": case.weights, "offset": case.offset, "start": case.init}
    return {name for name, value in given.items() if value is not None} | (
        set() if case.intercept else {"no intercept"}
    )


def ordinary(case: Case) -> bool:
    """Whether a case shares its program with all others of its family and link."""
    return case.X.shape == (24, 3) and not beside(case)


def plain(case: Case) -> bool:
    """Whether it shares it with many."""
    return ordinary(case) and (case.family, case.link) in (
        ("bernoulli", "logit"),
        ("poisson", "log"),
        ("normal", "identity"),
    )


def digits(case: Case, dtype: str) -> float:
    """The tolerance, or where that is more what the rounding of the bias costs: slope times mean times eps, 1e8 spreads or more."""
    mean, spread = np.abs(case.X[case.on].mean(axis=0)), case.X[case.on].std(axis=0)
    far = np.max(mean[spread > 0] / spread[spread > 0], initial=0)
    return max(DIGITS[dtype], 4 * far * np.finfo(dtype).eps)


QUICK = {f"{DTYPE}: {name}" for name, case in CASES.items() if plain(case)}


def program_of(case: Case) -> tuple:
    """What cases have in common that share a compiled program."""
    return case.family, case.link, case.X.shape, frozenset(beside(case))


# The scoreboard runs all. Here of the others one of each shape and family, and for what they have beside X and y of each way to end, and
# what shares a program with them; in float32 those that share programs or end otherwise.
OTHERS = covering(
    (case for case in CASES.values() if not ordinary(case)),
    lambda case: {case.X.shape, (case.family, case.link), *((what, case.ends("float64")) for what in beside(case))},
)
PROGRAMS = {program_of(case) for case in OTHERS}
ROWS = [(name, "float64") for name, case in CASES.items() if ordinary(case) or program_of(case) in PROGRAMS]
ROWS += [(name, "float32") for name, case in CASES.items() if plain(case) or case.single]
IDS = [f"{dtype}: {name}" for name, dtype in ROWS]


@pytest.mark.parametrize(("name", "dtype"), mostly_slow(ROWS, QUICK, IDS))
def test_case(name, dtype):
    if dtype == "float64" and not X64:
        pytest.skip("64-bit mode is off")
    case = CASES[name]
    judgement = judge(case, field.jaxml(dtype)(case), dtype, digits(case, dtype))
    assert judgement.stands, judgement
    assert judgement.verdict == (RIGHT if case.ends(dtype) == OPTIMUM else SAID), judgement


# -- the expectations ------------------------------------------------------------------------------------------------
OTHER = [(name, "float64") for name in CASES] + [(name, "float32") for name, case in CASES.items() if case.single]


@pytest.mark.parametrize(
    ("name", "dtype"),
    mostly_slow(
        OTHER,
        {f"float64: {n}" for n in CASES if plain(CASES[n])},
        [f"{dtype}: {name}" for name, dtype in OTHER],
    ),
)
def test_expectation_is_derived(name, dtype):
    """A direction that proves separation exists in exact arithmetic, or it does not and long arithmetic ends at a gradient of 0."""
    case = CASES[name]
    end = case.ends(dtype)
    if end in (OPTIMUM, SEPARATED):
        assert (certificate(case.rounded(dtype)) is not None) == (end == SEPARATED)
    if end == OPTIMUM:
        best = optimum(name, dtype)
        assert np.isfinite(best.weight).all() and np.isfinite(best.bias).all()


def test_long_arithmetic_agrees_with_closed_forms():
    assert optimum("one row, a count of 3").bias == pytest.approx(np.log(3), rel=1e-15)
    assert optimum("one row, 2 of 5").bias == pytest.approx(np.log(2 / 3), rel=1e-15)
    case = CASES["a price, normal"]
    design = np.column_stack([case.X - [1e6, 0, 0], np.ones(24)])
    expected, rss = np.linalg.lstsq(design, case.y, rcond=None)[:2]
    best = optimum(case.name)
    np.testing.assert_allclose(best.weight, expected[:3], rtol=1e-12)
    np.testing.assert_allclose([best.deviance, best.dispersion], [rss[0], rss[0] / 20], rtol=1e-12)
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rss[0] / 20)
    np.testing.assert_allclose(best.weight_errors, errors[:3], rtol=1e-10)
    copied = optimum("a copy of a column, normal")
    assert not copied.estimable[[0, 2]].any() and copied.estimable[1] and copied.bias_estimable and copied.rank == 3
    assert copied.weight[0] == pytest.approx(copied.weight[2], rel=1e-14)
    assert not optimum("a column that is 5 throughout").bias_estimable


def test_columns_too_close_to_dependence_are_no_case():
    case = CASES["a copy of a column, normal"]
    nearly = case.X + np.outer(np.arange(24) % 5, [0, 0, 1e-15])
    from hard_data.optimum import solve

    with pytest.raises(ValueError, match="too close"):
        solve(case._replace(X=nearly))


# -- the judge -------------------------------------------------------------------------------------------------------
def outcome_at(name, **changes):
    best = optimum(name)
    return Outcome(best.weight, best.bias)._replace(**changes)


@pytest.mark.parametrize(
    ("name", "changes", "verdict"),
    [
        ("a year, poisson", {}, RIGHT),
        ("a year, poisson", {"weight": np.array([1.0, 0, 0])}, WRONG),
        ("a year, poisson", {"weight": np.array([1.0, 0, 0]), "complaint": "not converged"}, GAVE_UP),
        ("a year, poisson", {"weight": np.array([np.nan, 0, 0]), "complaint": "not converged"}, WRONG),
        ("a year, poisson", {"status": "separated", "complaint": "separated"}, WRONG),
        ("a year, poisson", {"error": "ValueError"}, GAVE_UP),
        ("a year, poisson", {"weight_errors": np.ones(3)}, WRONG),
        ("a year, poisson", {"deviance": 1.0}, WRONG),
        ("a year, poisson", {"imprecise": True, "complaint": "lost digits", "weight": np.ones(3)}, WRONG),
        ("a copy of a column, poisson", {"estimable": np.ones(3, bool)}, WRONG),
        ("three classes that overlap", {}, RIGHT),
    ],
)
def test_judge_of_an_optimum(name, changes, verdict):
    assert judge(CASES[name], outcome_at(name, **changes)).verdict == verdict


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, WRONG),
        ({"complaint": "separated"}, SAID),
        ({"complaint": "separated", "status": "separated"}, SAID),
        ({"complaint": "step limit", "status": "step_limit"}, WRONG),
        ({"complaint": "lost digits", "imprecise": True}, WRONG),
        ({"weight": np.array([np.inf, 0, 0]), "complaint": "separated"}, WRONG),
        ({"error": "ValueError"}, GAVE_UP),
    ],
)
def test_judge_where_there_is_no_optimum(changes, verdict):
    outcome = Outcome(np.ones(3), 0.0)._replace(**changes)
    assert judge(CASES["y all 0"], outcome).verdict == verdict


def test_judge_of_what_must_be_refused_or_admitted():
    great, price = CASES["poisson counts of 5e9"], CASES["a price, poisson"]
    assert judge(great, Outcome(error="OverflowError"), "float32").verdict == SAID
    assert judge(great, Outcome(np.ones(3), 0.0), "float32").verdict == WRONG
    assert price.ends("float32") == IMPRECISE
    assert judge(price, Outcome(np.ones(3), 0.0), "float32").verdict == WRONG
    assert judge(price, Outcome(np.ones(3), 0.0, "lost digits", True), "float32").verdict == SAID


# -- the script ------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not X64, reason="the script chooses its own precision")
@pytest.mark.parametrize("style", mostly_slow(["--plain", ""], ["--plain"]))
def test_scoreboard_prints_every_contestant(style, capsys, tmp_path):
    path = tmp_path / "table.json"
    assert (
        scoreboard.main(["y all 1", "a year, poisson", *([style] if style else []), "--reasons", "--json", str(path)])
        == 0
    )
    printed = capsys.readouterr().out
    assert "2 cases of" in printed and "statsmodels GLM" in printed
    table = {row["case"]: row["verdicts"] for row in json.loads(path.read_text())}
    assert table["y all 1"]["jaxml"]["verdict"] == SAID
    assert table["a year, poisson"]["jaxml float32"]["verdict"] == RIGHT
    assert {v["verdict"] for row in table.values() for v in row.values() if v} <= {RIGHT, SAID, WRONG, GAVE_UP}


def test_scoreboard_fails_where_a_row_of_ours_does(monkeypatch, capsys):
    wrong = field.Contestant("jaxml", "float64", lambda case: Outcome(np.zeros(3), 0.0))
    monkeypatch.setattr(scoreboard, "contestants", lambda: [wrong])
    assert scoreboard.main(["a year, poisson", "--plain"]) == 1
    assert "1 wrong" in capsys.readouterr().out


def test_scoreboard_refuses_an_unknown_case(capsys):
    assert scoreboard.main(["no such case"]) == 2
    assert "no such case" in capsys.readouterr().err


def test_names_select_by_their_beginning():
    assert [case.name for case in select(["one row, 2"])] == ["one row, 2 of 5"]
