"""Tests of `maf_runner.flows`."""
