"""What is kept of a run: its folder, its id, its record. Nothing here imports torch."""
