"""Large programs, compiled in a fraction of the time that XLA takes by itself."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jaxlib.version
import numpy as np
from jax import lax

# XLA's newer emitters of fused loops take half of the time of compiling these programs, LLVM's higher levels of optimisation a
# quarter of what is left, and neither makes them faster.
_OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
_KNOWN = jaxlib.version.__version_info__[:2] == (0, 10)  # XLA refuses names of options that it does not know


def quickly(flags: str) -> dict[str, Any]:
    """The options for XLA, less those about which its ``flags``, XLA_FLAGS, say something themselves."""
    return {name: value for name, value in _OPTIONS.items() if _KNOWN and name not in flags}


_NUMBER = np.zeros(())
_QUICKLY = quickly(os.environ.get("XLA_FLAGS", ""))


class Program:
    """``jax.jit`` of a function, compiled quickly where a call of it is no part of a larger program, which has options of its own.

    Attributes:
        alone: for calls that are no part of a larger program.
        nested: for those that are.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self.alone = jax.jit(function, compiler_options=_QUICKLY, **options)
        self.nested = jax.jit(function, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self.nested if staged((args, kwargs)) else self.alone)(*args, **kwargs)


def program(**options: Any) -> Callable[[Callable[..., Any]], Program]:
    """Decorator: :class:`Program`, with options of ``jax.jit``."""
    return functools.partial(Program, **options)


def staged(data: Any) -> bool:
    """Whether what is computed from the data belongs to a larger program: some of it does, or all is being traced for jit."""
    leaves = jax.tree.leaves(data)
    return any(isinstance(a, jax.core.Tracer) for a in (*leaves, lax.stop_gradient(_NUMBER)))
