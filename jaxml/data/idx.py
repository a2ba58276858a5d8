"""The IDX format of the MNIST family of image sets.

A file is two zero bytes, one byte for the type of the numbers, one byte for the number of dimensions, the dimensions as
big-endian 32-bit integers, then the numbers, big-endian, last dimension fastest. Files may be gzipped.

Source: LeCun, Cortes & Burges, *The MNIST database of handwritten digits*, the section on file formats.
"""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from jaxml.data.table import DataError, Table

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> np.ndarray:
    """The array in one IDX file, gzipped or not, in the byte order of this machine.

    Raises:
        DataError: when the file is not in this format or ends early.
    """
    raw = _read(Path(path))
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _DTYPES:
        raise DataError(f"{path} is not in the IDX format: it begins with {raw[:4]!r}")
    header = 4 + 4 * raw[3]
    if len(raw) < header:
        raise DataError(f"{path} ends before its {raw[3]} dimensions are declared")
    shape = tuple(int(n) for n in np.frombuffer(raw[4:header], ">u4"))
    dtype = np.dtype(_DTYPES[raw[2]])
    expected = header + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise DataError(f"{path} declares shape {shape}, which takes {expected} bytes, but it has {len(raw)}")
    return np.frombuffer(raw, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def load_idx(path: str | Path, labels: str | Path | None = None) -> Table:
    """Images and their labels as a table with the columns ``pixel`` (n, height, width), 0 to 1, and ``label``, text.

    Args:
        path: a file of images, or a folder with ``train-images...`` and, for the test set, ``t10k-images...``.
        labels: the file of labels; where left out, the one beside the images, ``labels`` for ``images`` in its name.
    """
    path = Path(path)
    if not path.is_dir():
        images, classes = _pair(path, None if labels is None else Path(labels))
        return _table(path.name.split(".")[0], [images], [classes])
    train, test = _images_in(path, "train"), _images_in(path, "t10k") or _images_in(path, "test")
    if train is None:
        raise DataError(f"the folder {path} holds no images in the IDX format, such as train-images-idx3-ubyte.gz")
    pairs = [_pair(file) for file in (train, test) if file is not None]
    return _table(path.resolve().name, *(list(part) for part in zip(*pairs, strict=True)))


def is_idx(path: Path) -> bool:
    """Whether the name of a file says that it is in the IDX format."""
    return re.search(r"idx\d(-ubyte)?(\.gz)?$", path.name) is not None


def _read(path: Path) -> bytes:
    raw = path.read_bytes()
    try:
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}") from None


def _images_in(folder: Path, prefix: str) -> Path | None:
    return next((file for file in sorted(folder.glob(f"{prefix}*images*")) if is_idx(file)), None)


def _pair(images: Path, labels: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    labels = labels or _labels_beside(images)
    x, y = read_idx(images), read_idx(labels)
    if x.ndim < 2 or y.shape != x.shape[:1]:
        raise DataError(
            f"{images.name} holds {x.shape} numbers and {labels.name} {y.shape}: not images and their labels"
        )
    return x, y


def _labels_beside(images: Path) -> Path:
    stem = re.sub(r"\.gz$", "", images.name.replace("images", "labels")).replace("idx3", "idx1")
    found = [images.with_name(name) for name in (stem, stem + ".gz") if images.with_name(name).exists()]
    if "images" not in images.name or not found:
        raise DataError(f"no labels found for the images in {images}; name their file")
    return found[0]


def _table(name: str, images: list[np.ndarray], labels: list[np.ndarray]) -> Table:
    if len({part.shape[1:] for part in images}) > 1:
        raise DataError(
            f"the images of {name} to fit and to test differ in size: {[part.shape[1:] for part in images]}"
        )
    pixels = np.concatenate(images)
    scale = 255 if pixels.dtype == np.uint8 else 1
    heldout = np.arange(len(pixels)) >= len(images[0]) if len(images) > 1 else None
    columns = {
        "pixel": pixels.astype(np.float32) / np.float32(scale),
        "label": np.concatenate(labels).astype(str).astype(object),
    }
    return Table(name, columns, target=("label",), heldout=heldout)
