"""Files, locks, signals, logs, memory and errors: what every room may use."""
