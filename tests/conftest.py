"""Shared test configuration: float64 unless JAXML_TEST_X64=0."""

import os

import jax

jax.config.update("jax_enable_x64", os.environ.get("JAXML_TEST_X64", "1") != "0")
