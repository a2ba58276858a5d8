"""Shared test configuration: float64 unless JAXML_TEST_X64=0, compiled in haste unless JAXML_TEST_OPTIMIZE=1."""

import os

import jax
import pytest

# A test runs each of its programs once or twice, and XLA takes longer to compile one well than to compile it in haste. (A vector width
# of 64 bits would save another fifth, but sums in float32 lose digits that they have elsewhere.)
HASTE = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
if os.environ.get("JAXML_TEST_OPTIMIZE", "0") == "0":
    os.environ["XLA_FLAGS"] = f"{HASTE} {os.environ.get('XLA_FLAGS', '')}"  # what the caller sets comes last and wins

jax.config.update("jax_enable_x64", os.environ.get("JAXML_TEST_X64", "1") != "0")


def pytest_configure(config):
    """Programs that another file, worker or run has compiled are read, not compiled again; ``--cache-clear`` forgets them."""
    if hasattr(config, "cache"):
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("programs")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture(scope="module", autouse=True)
def _drop_the_programs_of_the_file():
    """Each compiled program holds some ten memory maps; the whole suite would pass Linux's 65,530 for one process and crash."""
    yield
    jax.clear_caches()
