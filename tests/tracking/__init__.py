"""Tests of `maf_runner.tracking`."""
