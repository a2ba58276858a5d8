"""Small real data sets, typed in: (X, y) with X (n, 1) and no column of ones."""

import numpy as np


def boiling() -> tuple[np.ndarray, np.ndarray]:
    """Boiling point of water (degrees Fahrenheit) and air pressure (inches of mercury) at 17 places (Forbes 1857)."""
    point = [
        194.5,
        194.3,
        197.9,
        198.4,
        199.4,
        199.9,
        200.9,
        201.1,
        201.4,
        201.3,
        203.6,
        204.6,
        209.5,
        208.6,
        210.7,
        211.9,
        212.2,
    ]
    pressure = [
        20.79,
        20.79,
        22.40,
        22.67,
        23.15,
        23.35,
        23.89,
        23.99,
        24.02,
        24.01,
        25.14,
        26.57,
        28.49,
        27.76,
        29.04,
        29.88,
        30.06,
    ]
    return np.array(point)[:, None], np.array(pressure)


def launches() -> tuple[np.ndarray, np.ndarray]:
    """Temperature (Fahrenheit) at 23 space shuttle launches, and whether a seal was damaged (Dalal et al. 1989)."""
    temperature = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]
    damage = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]
    return np.array(temperature, float)[:, None], np.array(damage)


def deaths() -> tuple[np.ndarray, np.ndarray]:
    """Quarter (from 1983 on) and deaths from AIDS in Australia (Whyte et al. 1987)."""
    return np.arange(1.0, 15.0)[:, None], np.array([0, 1, 2, 3, 1, 4, 9, 18, 23, 31, 20, 25, 37, 45])


def kicks() -> np.ndarray:
    """Deaths by horse kick in 200 corps-years of the Prussian army (Bortkiewicz 1898)."""
    return np.repeat([0, 1, 2, 3, 4], [109, 65, 22, 3, 1])


def alligators() -> tuple[np.ndarray, np.ndarray]:
    """Length of 59 alligators (metres) and their food: 0 fish, 1 invertebrates, 2 other (Agresti 2002, table 7.1)."""
    fish = [1.32, 1.32, 1.40, 1.42, 1.47, 1.65, 1.65, 1.68, 1.80, 1.85, 2.03, 2.03, 2.16, 2.26, 2.31, 2.31, 2.36, 2.36]
    fish += [2.39, 2.41, 2.44, 2.46, 2.67, 2.79, 2.84, 3.33, 3.56, 3.58, 3.66, 3.71, 3.89]
    invertebrates = [1.24, 1.30, 1.30, 1.42, 1.45, 1.47, 1.50, 1.52, 1.55, 1.60, 1.63, 1.65, 1.70, 1.78, 1.78, 1.80]
    invertebrates += [1.88, 1.93, 1.98, 2.72]
    other = [1.45, 1.65, 1.73, 1.78, 2.56, 3.25, 3.28, 3.68]
    foods = (fish, invertebrates, other)
    return np.concatenate(foods)[:, None], np.repeat([0, 1, 2], [len(food) for food in foods])


def tennis() -> tuple[np.ndarray, np.ndarray]:
    """Weather of 14 days, and whether tennis was played (Quinlan 1986, table 1).

    Outlook 0 sunny, 1 overcast, 2 rain; temperature 0 hot, 1 mild, 2 cool; humidity 0 high, 1 normal; wind 0 weak, 1 strong.
    """
    days = (
        "sunny hot high weak no,sunny hot high strong no,overcast hot high weak yes,rain mild high weak yes,rain cool normal weak yes,"
        "rain cool normal strong no,overcast cool normal strong yes,sunny mild high weak no,sunny cool normal weak yes,"
        "rain mild normal weak yes,sunny mild normal strong yes,overcast mild high strong yes,overcast hot normal weak yes,"
        "rain mild high strong no"
    )
    levels = ("sunny overcast rain", "hot mild cool", "high normal", "weak strong", "no yes")
    codes = [
        [names.split().index(word) for names, word in zip(levels, day.split(), strict=True)] for day in days.split(",")
    ]
    return np.array(codes)[:, :4], np.array(codes)[:, 4]


def with_ones(X: np.ndarray) -> np.ndarray:
    """X with a column of ones in front: theta_0 is then the intercept."""
    return np.hstack([np.ones((len(X), 1)), X])


def standardised(X: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1, as gradient descent likes them."""
    return (X - X.mean(axis=0)) / X.std(axis=0)
