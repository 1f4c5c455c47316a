"""Thin mains of the console scripts other than ``maf-run``."""
