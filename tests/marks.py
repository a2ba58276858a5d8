"""Which values of a parameter are tested at once, and which with the slow tests: each compiles programs of its own."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def mostly_slow(values: Iterable[Any], quick: Collection[Any], ids: Iterable[str] | None = None) -> list[Any]:
    """Values for ``pytest.mark.parametrize``, slow but for those named in ``quick``, by their ids where they have any."""
    values = list(values)
    names = values if ids is None else list(ids)
    kept = [name in quick for name in names]
    assert sum(kept) >= len(set(quick)), f"{quick} are not all among {names}"
    label = [None] * len(values) if ids is None else names
    return [
        pytest.param(*(value if type(value) is tuple else (value,)), id=name, marks=[] if keep else [pytest.mark.slow])
        for value, name, keep in zip(values, label, kept, strict=True)
    ]
