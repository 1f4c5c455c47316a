"""Tests of `maf_runner.experiment`."""
