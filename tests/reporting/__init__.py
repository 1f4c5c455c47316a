"""Tests of `maf_runner.reporting`."""
