"""Rows sharded over eight devices: the same numbers as on one, by programs in which no row leaves its device.

The devices are threads of the host. Their number is settled before JAX starts, so the fits run in a process of their own.
"""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:float64 data are computed in float32")

CASES = ("bernoulli", "poisson", "gamma", "categorical", "normal")
PROGRAM = r"""
import json, re, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxml import families, glm
from jaxml.glm import engine

jax.config.update("jax_enable_x64", True)
place = NamedSharding(Mesh(np.array(jax.devices()), ("rows",)), PartitionSpec("rows"))
rng = np.random.default_rng(0)
n, d = 4096, 6
X = rng.standard_normal((n, d))
eta = X @ rng.standard_normal(d) / 2
weights, offset = rng.integers(0, 3, n) * 1.0, rng.standard_normal(n) / 10
idle = X.copy()
idle[weights == 0] = np.nan
cases = {
    "bernoulli": (families.Bernoulli(), X, (rng.random(n) < 1 / (1 + np.exp(-eta))) * 1.0, {}),
    "poisson": (families.Poisson(), idle, rng.poisson(np.exp(eta)) * 1.0, {"weights": weights, "offset": offset}),
    "gamma": (families.Gamma(), idle, rng.gamma(2.0, np.exp(eta) / 2), {"weights": weights, "link": "log"}),
    "categorical": (families.Categorical(3), X, rng.integers(0, 3, n), {}),
    "normal": (families.Normal(), X, eta + rng.standard_normal(n), {}),
}

def on(place, options):
    put = lambda a: jax.device_put(jnp.asarray(a), place)
    return {name: a if isinstance(a, str) else put(a) for name, a in options.items()}

def told(text):
    kinds = "all-gather|all-to-all|collective-permute|reduce-scatter"
    sizes = [
        int(np.prod([int(m) for m in shape.split(",") if m]))
        for shape in re.findall(rf"= \w+\[([\d,]*)\]\S* (?:{kinds})\(", text)
    ]
    inside = [line for line in text.splitlines() if re.search(r" all-reduce\(", line) and "/while/body" in line]
    return {"moved": max(sizes, default=0), "reductions": len(inside)}

found = {}
for name, (family, X, y, options) in cases.items():
    programs = []
    fit = engine.plain_fit.alone
    def spy(*args, **kwargs):
        programs.append(told(fit.lower(*args, **kwargs).compile().as_text()))
        return fit(*args, **kwargs)
    engine.plain_fit.alone = spy
    sharded = glm.fit(family, on(place, {"X": X})["X"], on(place, {"y": y})["y"], **on(place, options))
    engine.plain_fit.alone = fit
    one = jax.devices()[0]
    whole = glm.fit(family, on(one, {"X": X})["X"], on(one, {"y": y})["y"], **on(one, options))
    pick = lambda f: np.concatenate([np.ravel(a) for a in (*f.params, f.log_likelihood, f.value)])
    found[name] = {"programs": programs, "differ": float(np.max(np.abs(pick(sharded) - pick(whole)) / (1 + np.abs(pick(whole)))))}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES)
def test_sharded_rows_give_the_fit_of_one_device(found, case):
    assert found[case]["differ"] < 1e-11


@pytest.mark.parametrize("case", CASES)
def test_no_row_leaves_its_device(found, case):
    """What moves but by sums is the sample of at most 2,000 offsets from which a start is found, of the 4,096 x 6 numbers of X."""
    assert found[case]["programs"]
    assert all(program["moved"] <= (2000 if case == "poisson" else 0) for program in found[case]["programs"])


def test_an_evaluation_is_one_reduction(found):
    assert [program["reductions"] for program in found["bernoulli"]["programs"]] == [1]
