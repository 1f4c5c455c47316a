"""One experiment, from settings to record, and a trained run back from its folder."""
