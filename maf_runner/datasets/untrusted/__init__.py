"""Files from strangers, format by format: nothing in them is executed."""
