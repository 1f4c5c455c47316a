"""The one page of all results."""
