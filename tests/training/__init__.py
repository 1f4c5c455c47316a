"""Tests of `maf_runner.training`."""
