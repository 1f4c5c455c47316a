"""The datasets that an HDF5 file itself holds. Entries that point to other files are refused."""

from collections.abc import Iterable

import h5py

from maf_runner.datasets.untrusted import limits


def datasets(file: h5py.File, names: Iterable[str] | None = None) -> dict[str, h5py.Dataset]:
    """The datasets of numbers or strings at the top level of ``file``, by name, not yet read.

    Args:
        file: open for reading.
        names: of the datasets wanted; None for all, without groups.

    Raises:
        ValueError: an entry is missing; it is a link; it is not a dataset; its values are
            stored in other files or in other datasets; it holds neither numbers nor strings;
            or it would fill the memory.
    """
    selected, present = {}, set(file)
    for name in file if names is None else names:
        # The link is not followed: it may lead to another file.
        if name not in present or not isinstance(file.get(name, getlink=True), h5py.HardLink):
            what = "is a link" if name in present else "is missing"
            raise ValueError(f"the entry {name!r} {what}; expected a dataset in the file itself")
        entry = file[name]
        if not isinstance(entry, h5py.Dataset):
            if names is None:
                continue
            raise ValueError(f"the entry {name!r} is not a dataset")
        if entry.external or entry.is_virtual:
            raise ValueError(
                f"the values of {name!r} are stored elsewhere; expected them in the dataset itself"
            )
        if entry.dtype.kind not in "biuf" and h5py.check_string_dtype(entry.dtype) is None:
            raise ValueError(f"{name!r} holds {entry.dtype}; expected numbers or strings")
        limits.check(entry.nbytes, entry.id.get_storage_size(), repr(name))
        selected[name] = entry
    return selected
