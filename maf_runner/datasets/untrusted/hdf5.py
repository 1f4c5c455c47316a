"""What an HDF5 file holds itself: an entry of it may also be a pointer to any file there is."""

from collections.abc import Iterable

import h5py

from maf_runner.datasets.untrusted import limits


def datasets(file: h5py.File, names: Iterable[str] | None = None) -> dict[str, h5py.Dataset]:
    """The datasets of numbers or strings at the top of ``file``, by name; none is read yet.

    Args:
        file: open for reading.
        names: of those wanted; None for all there are (groups are passed over).

    Raises:
        ValueError: a name that is not there, or an entry that is a link, a dataset whose values
            lie in other files or elsewhere in this one, one of neither numbers nor strings, or
            one that would fill the memory.
    """
    found, there = {}, set(file)
    for name in file if names is None else names:
        # Looked up without following it: a link may lead to another file.
        if name not in there or not isinstance(file.get(name, getlink=True), h5py.HardLink):
            what = "is a link" if name in there else "is not there"
            raise ValueError(f"the entry {name!r} {what}; expected a dataset of the file's own")
        entry = file[name]
        if not isinstance(entry, h5py.Dataset):
            if names is None:
                continue
            raise ValueError(f"the entry {name!r} is no dataset")
        if entry.external or entry.is_virtual:
            raise ValueError(f"the values of {name!r} lie elsewhere; expected them in the dataset")
        if entry.dtype.kind not in "biuf" and h5py.check_string_dtype(entry.dtype) is None:
            raise ValueError(f"{name!r} holds {entry.dtype}; expected numbers or strings")
        limits.check(entry.nbytes, entry.id.get_storage_size(), repr(name))
        found[name] = entry
    return found
