"""Which values of a parameter are tested at all, at once or with the slow tests: each compiles programs of its own."""

from collections.abc import Callable, Collection, Iterable
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


def covering(values: Iterable[Any], features: Callable[[Any], Collection[Any]]) -> list[Any]:
    """Those of the values, in their order, that have a feature which none before them has: every feature, not every combination."""
    seen: set[Any] = set()
    kept = []
    for value in values:
        new = set(features(value)) - seen
        kept += [value] if new else []
        seen |= new
    return kept
