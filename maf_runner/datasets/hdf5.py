"""Arrays from HDF5 files that may come from strangers."""

from collections.abc import Iterable

import h5py


def datasets(file: h5py.File, names: Iterable[str] | None = None) -> dict[str, h5py.Dataset]:
    """Placeholder until merge."""
    return {n: file[n] for n in (names or file) if isinstance(file[n], h5py.Dataset)}
