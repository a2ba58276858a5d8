"""Types of the values of options: a number in its range, or a line that says what is wrong."""

import argparse
from collections.abc import Callable
from typing import Any


def positive(text: str) -> float:
    """A number above 0."""
    value = number(text, float)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def not_negative(text: str) -> float:
    """A number of at least 0."""
    value = number(text, float)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return value


def between(text: str, low: float, high: float, *, closed: bool = True) -> float:
    """A number from low to high, which is allowed where the interval is closed."""
    value = number(text, float)
    if not (low <= value < high or (closed and value == high)):
        raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
    return value


def fraction(text: str) -> float:
    """A share, 1 left out."""
    return between(text, 0, 1, closed=False)


def count(text: str) -> int:
    """A whole number above 0."""
    value = number(text, int)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def seed(text: str) -> int:
    """What a random generator takes."""
    value = number(text, int)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 2^31")
    return value


def separator(text: str) -> str:
    """One character; a tab may be written as such."""
    text = text.replace("\\t", "\t")
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character")
    return text


def number(text: str, kind: Callable[[str], Any]) -> Any:
    """A number of the kind, float or int."""
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole ' if kind is int else ''}number") from None
