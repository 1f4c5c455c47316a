"""Records and published figures to tables and pictures. Nothing here imports torch."""
