"""Time and extra peak memory of a fit, in a process of its own: ``python -m benchmarks.child ROWS COLUMNS KIND``.

KIND is what X is: 'jax' (an array on the device), 'aligned' (a NumPy array at a multiple of 64 bytes, which JAX can share on a CPU) or
'numpy'. Prints one line of JSON: seconds of a fit after the first, the extra memory, the size of X; bytes. The peak is that of the
process, which Linux alone tells, or of the accelerator, since the start.
"""

import json
import sys
import time
from pathlib import Path

ALIGNMENT = 64


def main(arguments: list[str]) -> None:
    """Fit and print."""
    rows, columns, kind = int(arguments[0]), int(arguments[1]), arguments[2]
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    X, y = _data(rows, columns, kind)
    if kind == "jax":
        X = jax.block_until_ready(jnp.asarray(X))
    _fit(X, y)
    seconds = min(_fit(X, y) for _ in range(3))
    print(json.dumps({"seconds": seconds, "extra": _extra(lambda: _fit(X, y)), "size": rows * columns * 8}))


def _data(rows: int, columns: int, kind: str):
    import numpy as np

    rng = np.random.default_rng(0)
    space = np.empty(rows * columns * 8 + ALIGNMENT, np.uint8)
    start = -space.ctypes.data % ALIGNMENT + (8 if kind == "numpy" else 0)
    X = space[start : start + rows * columns * 8].view(np.float64).reshape(rows, columns)
    eta = np.empty(rows)
    for first in range(0, rows, 10_000):
        block = X[first : first + 10_000]
        block[:] = rng.standard_normal(block.shape)
        eta[first : first + 10_000] = block.sum(axis=1) / columns**0.5
    return X, (rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(float)


def _fit(X, y) -> float:
    import jax

    from jaxml import families, glm

    start = time.perf_counter()
    jax.block_until_ready(glm.fit(families.Bernoulli(), X, y))
    return time.perf_counter() - start


def _extra(run) -> int | None:
    """Bytes of the peak during the run above what was held before."""
    import jax

    device, status = jax.devices()[0], Path("/proc/self/status")
    if device.platform != "cpu":
        held = device.memory_stats()["bytes_in_use"]
        run()
        return device.memory_stats()["peak_bytes_in_use"] - held
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _read(status, "VmRSS:")
        run()
        return _read(status, "VmHWM:") - before
    except OSError:
        return None


def _read(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main(sys.argv[1:])
