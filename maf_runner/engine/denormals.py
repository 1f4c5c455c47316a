"""Numbers too small for full precision, which some processors take a hundred times as long for."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed() -> Iterator[None]:
    """Inside, torch takes denormal numbers (floats below 1e-38) for 0, in this thread.

    The moments of weights whose gradient has vanished, as behind a unit that never fires, fall to
    such numbers and stay there. The native engine does the same in its own threads.
    """
    before = _are_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _are_flushed() -> bool:
    return float(torch.tensor(1e-30) * torch.tensor(1e-10)) == 0
