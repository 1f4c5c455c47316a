"""Decompression bombs: small files that would fill the memory when unpacked."""

MAX_UNSUSPICIOUS_BYTES = 1 << 28
MAX_RATIO = 200  # real data do not compress better


def check(claimed: int, stored: int, what: str) -> None:
    """Refuse content that would unpack to far more bytes than real data of its size.

    Args:
        claimed: bytes it would have in memory.
        stored: bytes it has in the file.
        what: name of the content, for the message.

    Raises:
        ValueError: the content is refused.
    """
    if claimed > max(MAX_UNSUSPICIOUS_BYTES, MAX_RATIO * stored):
        raise ValueError(f"{what} would unpack to {claimed:,} bytes from only {stored:,}")
