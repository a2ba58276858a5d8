"""Every numbered row of the course notes: the walkthrough's table, and checks by another road."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import course
import walkthrough
from course.data import alligators, boiling, deaths, kicks, launches, tennis
from jaxml import Status, families, generative, glm, kernels, likelihood, losses, optimize
from jaxml.predictors import Linear, linear

SECTIONS = {"1": 5, "2": 5, "3": 5, "4": 3, "5": 6, "6": 4, "7": 4, "8": 5, "9": 4}
NUMBERS = [f"{section}.{i}" for section, count in SECTIONS.items() for i in range(1, count + 1)]


def agrees(number):
    """All rows of the walkthrough with this number."""
    for row in course.select([number]):
        outcome = course.check(row)
        assert outcome.agrees, f"{row.number} {row.title}: {outcome}"


def rtol(double=1e-12, single=2e-5):
    return double if jax.config.jax_enable_x64 else single


def arrays(data):
    return tuple(jnp.asarray(a) for a in data())


@pytest.fixture(scope="module")
def logistic():
    return glm.logistic_regression(*arrays(launches))


@pytest.fixture(scope="module")
def poisson():
    return glm.poisson_regression(*arrays(deaths))


@pytest.mark.parametrize("number", NUMBERS)
def test_every_row_has_a_test_and_a_place_in_the_walkthrough(number):
    assert f"test_notes_{number.replace('.', '_')}" in globals()
    assert course.select([number])


# -- 1 supervised learning -------------------------------------------------------------------------------------------
def test_notes_1_1():
    agrees("1.1")


def test_notes_1_2(logistic):
    agrees("1.2")
    boundary = -logistic.params.bias / logistic.params.weight[0]
    assert_allclose(glm.predict(logistic, boundary[None, None]), 0.5, rtol=rtol(1e-10, 1e-4))


def test_notes_1_3():
    agrees("1.3")


def test_notes_1_4():
    agrees("1.4")
    X, y = arrays(boiling)
    theta = Linear(jnp.array([0.4]), jnp.array(-60.0))
    J = lambda rows: losses.cost(losses.squared_error, linear, theta, X[rows], y[rows])
    assert_allclose(J(slice(0, 5)) + J(slice(5, None)), J(slice(None)), rtol=rtol())


def test_notes_1_5():
    agrees("1.5")
    y, law = kicks(), families.Poisson()
    total = lambda rate: float(jnp.sum(families.log_prob(law, jnp.log(rate), y)))
    assert total(0.61) > max(total(0.6), total(0.62))


# -- 2 optimisation --------------------------------------------------------------------------------------------------
def test_notes_2_1():
    agrees("2.1")


def test_notes_2_2():
    agrees("2.2")


def test_notes_2_3():
    agrees("2.3")


def test_notes_2_4():
    agrees("2.4")


def test_notes_2_5():
    agrees("2.5")


# -- 3 linear regression ---------------------------------------------------------------------------------------------
def test_notes_3_1():
    agrees("3.1")


def test_notes_3_2():
    agrees("3.2")


def test_notes_3_3():
    agrees("3.3")


def test_notes_3_4():
    agrees("3.4")
    X, y = arrays(boiling)
    theta = glm.least_squares(X, y)
    expected = np.linalg.lstsq(np.hstack((np.asarray(X), np.ones((17, 1)))), boiling()[1])[0]
    assert_allclose([*theta.weight, theta.bias], expected, rtol=rtol(1e-11, 2e-3))  # |X| / |X - mean| is 35


@pytest.mark.parametrize("start", [0.0, -7.0])
def test_notes_3_5(start):
    agrees("3.5")
    X, y = jnp.array([[1.0, 0.5], [1.0, -1.0], [1.0, 2.0]]), jnp.array([1.0, 0.0, 5.0])
    J = lambda theta, X, y: jnp.sum((X @ theta - y) ** 2) / 2
    run = optimize.newton(J, jnp.full(2, start), X, y)
    assert run.status == Status.CONVERGED
    assert run.steps == 1
    expected = np.linalg.lstsq(np.asarray(X), np.asarray(y))[0]
    assert_allclose(run.params, expected, rtol=rtol())
    fit = glm.linear_regression(X, y, intercept=False)
    assert (fit.status, fit.steps) == (Status.CONVERGED, 1)
    assert_allclose(fit.params.weight, expected, rtol=rtol())


# -- 4 logistic and softmax regression -------------------------------------------------------------------------------
def test_notes_4_1():
    agrees("4.1")
    z = jnp.linspace(-30, 30, 7)
    g = lambda z: families.mean(families.Bernoulli(), z)
    assert_allclose(g(z) + g(-z), 1, rtol=rtol())


def test_notes_4_2(logistic):
    agrees("4.2")
    X, y = arrays(launches)
    costs = [
        losses.cost(losses.cross_entropy, lambda theta, X: glm.predict(theta, X), logistic, X, y),
        losses.cost(losses.logistic, linear, logistic.params, X, 2 * y - 1),
    ]
    assert_allclose(costs, -logistic.log_likelihood, rtol=rtol())
    assert_allclose([*logistic.params.weight, logistic.params.bias], [-0.2322, 15.0429], rtol=3e-4)  # as published


def test_notes_4_3():
    agrees("4.3")
    eta = jnp.array([0.3, -2.0, 5.0])
    two = families.mean(families.Categorical(2), jnp.stack([jnp.zeros(3), eta], axis=-1))
    assert_allclose(two[:, 1], families.mean(families.Bernoulli(), eta), rtol=rtol())
    shifted = families.mean(families.Categorical(3), eta + 4.0)
    assert_allclose(shifted, families.mean(families.Categorical(3), eta), rtol=rtol())


# -- 5 exponential family --------------------------------------------------------------------------------------------
def test_notes_5_1():
    agrees("5.1")


def test_notes_5_2():
    agrees("5.2")


def test_notes_5_3():
    agrees("5.3")


def test_notes_5_4():
    agrees("5.4")
    y = jnp.arange(200.0)
    p = jnp.exp(families.log_prob(families.Poisson(), jnp.log(20.0), y))
    assert_allclose([p.sum(), p @ y], [1, families.mean(families.Poisson(), jnp.log(20.0))], rtol=rtol())


def test_notes_5_5():
    agrees("5.5")
    y = jnp.arange(200.0)
    p = jnp.exp(families.log_prob(families.Poisson(), jnp.log(20.0), y))
    assert_allclose(p @ (y - 20) ** 2, families.variance(families.Poisson(), jnp.log(20.0)), rtol=rtol())


def test_notes_5_6():
    agrees("5.6")


# -- 6 generalised linear models -------------------------------------------------------------------------------------
def test_notes_6_1(poisson):
    agrees("6.1")
    X = jnp.array([[1.0], [2.0], [3.0]])
    assert_allclose(jnp.diff(glm.predict_natural(poisson, X), 2), 0, atol=rtol())


def test_notes_6_2():
    agrees("6.2")


def test_notes_6_3(poisson):
    agrees("6.3")
    X, y = arrays(deaths)
    total = lambda theta: float(likelihood.log_likelihood(families.Poisson(), linear, theta, X, y))
    best, theta = total(poisson.params), poisson.params
    assert_allclose(best, poisson.log_likelihood, rtol=rtol())
    for step in (-0.02, 0.02):
        assert total(theta._replace(weight=theta.weight + step)) < best > total(theta._replace(bias=theta.bias + step))


def test_notes_6_4(poisson):
    agrees("6.4")
    assert_allclose([*poisson.params.weight, poisson.params.bias], [0.2565, 0.3396], rtol=3e-4)  # as published
    X, y = arrays(alligators)
    fit = glm.fit(families.Categorical(3), X, y)
    assert_allclose(jnp.sum(glm.predict(fit, X), axis=0), np.bincount(y), rtol=rtol(1e-10, 1e-4))


# -- 7 generative classifiers -----------------------------------------------------------------------------------------
def test_notes_7_1():
    agrees("7.1")
    X, y = arrays(alligators)
    fit = generative.gaussian_discriminant_analysis(X, y)
    joint = generative.log_joint(fit, X)
    assert_allclose(jnp.sum(generative.predict(fit, X), axis=1), 1, rtol=rtol())
    np.testing.assert_array_equal(generative.classify(fit, X), jnp.argmax(joint, axis=1))


def test_notes_7_2():
    agrees("7.2")


def test_notes_7_3():
    agrees("7.3")
    X, y = tennis()
    fit = generative.categorical_naive_bayes(X, y, smoothing=0)
    odds = generative.predict(fit, np.array([[0, 2, 0, 1]]))  # Mitchell (1997), section 6.9.1: .0206 against .0053
    assert_allclose(odds[0, 0], 0.795, atol=5e-4)


def test_notes_7_4():
    agrees("7.4")
    X, y = tennis()
    overcast = np.array([[1, 0, 0, 0]])  # on no day without tennis
    counted = generative.log_joint(generative.categorical_naive_bayes(X, y, smoothing=0), overcast)
    smoothed = generative.log_joint(generative.categorical_naive_bayes(X, y), overcast)
    assert counted[0, 0] == -np.inf and np.all(np.isfinite(smoothed))


# -- 8 kernels -------------------------------------------------------------------------------------------------------
def test_notes_8_1():
    agrees("8.1")


def test_notes_8_2():
    agrees("8.2")


def test_notes_8_3():
    agrees("8.3")


def test_notes_8_4():
    agrees("8.4")


def test_notes_8_5():
    agrees("8.5")
    X, _ = arrays(boiling)
    assert kernels.is_valid_gram(kernels.gram(kernels.Gaussian(5.0), X)).valid


# -- 9 neural networks -----------------------------------------------------------------------------------------------
def test_notes_9_1():
    agrees("9.1")


def test_notes_9_2():
    agrees("9.2")


def test_notes_9_3():
    agrees("9.3")


def test_notes_9_4():
    agrees("9.4")


# -- the walkthrough itself ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_walkthrough_prints_both_sides(options, capsys):
    assert walkthrough.main(["3.1", "1.4", *options]) == 0
    printed = capsys.readouterr().out
    assert printed.count("217.988") == 4
    assert printed.index("Supervised") < printed.index("Linear regression")
    assert "3 rows of" in printed


@pytest.mark.parametrize("computed", [1.0 + 1e-3, float("nan"), np.ones(2)])
def test_walkthrough_fails_where_a_row_differs(computed, monkeypatch, capsys):
    row = course.Row("2.1", "wrong on purpose", "1 = 2", lambda: (1.0, computed), 64)
    monkeypatch.setattr(walkthrough, "select", lambda numbers: [row])
    assert walkthrough.main(["--plain"]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_walkthrough_refuses_an_unknown_row(capsys):
    assert walkthrough.main(["3.99"]) == 2
    assert "3.99" in capsys.readouterr().err
