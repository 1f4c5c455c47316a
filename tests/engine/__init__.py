"""Tests of `maf_runner.engine`."""
