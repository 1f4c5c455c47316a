"""Readers of untrusted files, one for each format: nothing in a file is executed."""
