"""The sections of `check_gpu.py`, one a file: each is carried out in a process of its own."""
