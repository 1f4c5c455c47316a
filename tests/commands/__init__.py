"""Tests of `maf_runner.commands`."""
