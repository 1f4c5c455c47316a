"""Files that would fill the memory: a few kilobytes can stand for any number of zeros."""

SMALL = 1 << 28  # bytes that nobody minds
RATIO = 200  # real data do not pack better


def check(claimed: int, stored: int, what: str) -> None:
    """Refuse what unpacks to far more than data of its size do.

    Args:
        claimed: bytes it would take in memory.
        stored: bytes it takes where it is.
        what: for the message.

    Raises:
        ValueError: it is no honest file.
    """
    if claimed > max(SMALL, RATIO * stored):
        raise ValueError(f"{what} would take {claimed:,} bytes, and is made of {stored:,}")
