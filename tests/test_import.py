"""`import jaxml` brings in nothing heavy beside jax."""

import json
import subprocess
import sys

HEAVY = {"optax", "chex", "pandas", "sklearn", "matplotlib", "statsmodels", "pyarrow", "rich"}
PROGRAM = """
import json, sys, time
import jax
before, start = set(sys.modules), time.perf_counter()
import jaxml
seconds = time.perf_counter() - start
print(json.dumps({"new": sorted(set(sys.modules) - before), "seconds": seconds, "x64": jax.config.jax_enable_x64}))
"""


def test_import_is_light():
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    print(f"import jaxml after jax: {found['seconds']:.2f} s, {len(found['new'])} modules")
    assert not {name for name in found["new"] if name.split(".")[0] in HEAVY}
    assert "scipy.optimize" not in found["new"]
    packages = {name.split(".")[0] for name in found["new"]} - set(sys.stdlib_module_names)
    assert packages <= {"jax", "jaxml", "numpy", "scipy"}
    assert not found["x64"]
