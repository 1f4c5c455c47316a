"""Tests of `maf_runner.datasets`."""
