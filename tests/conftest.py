"""Shared test configuration: float64 unless JAXML_TEST_X64=0."""

import os

import jax
import pytest

jax.config.update("jax_enable_x64", os.environ.get("JAXML_TEST_X64", "1") != "0")


@pytest.fixture(scope="module", autouse=True)
def _drop_the_programs_of_the_file():
    """Each compiled program holds some ten memory maps; the whole suite would pass Linux's 65,530 for one process and crash."""
    yield
    jax.clear_caches()
