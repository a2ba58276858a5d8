"""Time and extra peak memory of fits, in a process of its own: ``python -m benchmarks.child KIND,KIND... ROWSxCOLUMNS...``.

KIND is what X is: 'jax' (an array on the device), 'aligned' (a NumPy array at a multiple of 64 bytes, which JAX can share on a CPU) or
'numpy' (at no such multiple). Prints one line of JSON, for each size and kind: seconds of a fit after the first, the extra memory, the
size of X; bytes. The peak is that of the process since the fit began, which Linux alone tells, or of the accelerator since the process
did, which is the same where no smaller fit follows a larger one.
"""

import contextlib
import ctypes
import json
import sys
import time
from functools import partial
from pathlib import Path

ALIGNMENT = 64


def main(arguments: list[str]) -> None:
    """Fit and print."""
    import jax

    jax.config.update("jax_enable_x64", True)
    kinds, shapes = arguments[0].split(","), [[int(n) for n in size.split("x")] for size in arguments[1:]]
    print(json.dumps([found for rows, columns in shapes for found in _measured(rows, columns, kinds)]))


def _measured(rows: int, columns: int, kinds: list[str]) -> list[dict[str, float | None]]:
    import jax
    import jax.numpy as jnp

    found, (X, y) = [], _data(rows, columns)
    for kind in kinds:
        given = _shifted(X) if kind == "numpy" else jax.block_until_ready(jnp.asarray(X)) if kind == "jax" else X
        _fit(given, y)
        seconds = min(_fit(given, y) for _ in range(2))
        found.append({"seconds": seconds, "extra": _extra(partial(_fit, given, y)), "size": X.nbytes})
        del given
    return found


def _data(rows: int, columns: int):
    import numpy as np

    rng, X = np.random.default_rng(0), _empty(rows, columns, 0)
    eta = np.empty(rows)
    for first in range(0, rows, 10_000):
        block = X[first : first + 10_000]
        block[:] = rng.standard_normal(block.shape)
        eta[first : first + 10_000] = block.sum(axis=1) / columns**0.5
    return X, (rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(float)


def _shifted(X):
    copy = _empty(len(X), X.shape[1], 8)
    copy[:] = X
    return copy


def _empty(rows: int, columns: int, shift: int):
    """An array that begins so many bytes after a multiple of the alignment."""
    import numpy as np

    space = np.empty(rows * columns * 8 + 2 * ALIGNMENT, np.uint8)
    start = -space.ctypes.data % ALIGNMENT + shift
    return space[start : start + rows * columns * 8].view(np.float64).reshape(rows, columns)


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
        time.sleep(0.2)  # until the threads of the fit before have given back what they held
        # glibc keeps what is free; what it serves a fit of that would not be counted.
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
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
