"""Tests of `maf_runner.records`."""
