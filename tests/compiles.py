"""How many programs a call compiles."""

from collections.abc import Callable
from typing import Any

import jax

_COMPILED: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: _COMPILED.append(event) if event.endswith("backend_compile_duration") else None
)


def compiles(call: Callable[[], Any]) -> int:
    """How many programs are compiled until the call's result is there."""
    before = len(_COMPILED)
    jax.block_until_ready(call())
    return len(_COMPILED) - before
