"""The datasets that an HDF5 file itself holds. Entries that point to other files are refused."""

from collections.abc import Iterable

import h5py

from maf_runner.datasets.untrusted import limits


def datasets(
    file: h5py.File, names: Iterable[str] | None = None, *, structured: bool = False
) -> dict[str, h5py.Dataset]:
    """The datasets of numbers or strings at the top level of ``file``, by name, not yet read.

    Args:
        file: open for reading.
        names: of the datasets wanted; None for all, without groups.
        structured: take those too whose values have fields of numbers or bytes.

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
        fields = (
            structured
            and entry.dtype.names is not None
            and all(entry.dtype[field].kind in "biufS" for field in entry.dtype.names)
        )
        words = h5py.check_string_dtype(entry.dtype) is not None
        if entry.dtype.kind not in "biuf" and not fields and not words:
            raise ValueError(f"{name!r} holds {entry.dtype}; expected numbers or strings")
        limits.check(entry.nbytes, entry.id.get_storage_size(), repr(name))
        selected[name] = entry
    return selected


def where_tables_are(file: h5py.File) -> str:
    """What to say of a file that has no dataset at its top level."""
    groups = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
    for name in groups:
        entry = file[name]
        if isinstance(entry, h5py.Group) and "pandas_type" in entry.attrs:
            return (
                f"it was written by pandas ({name!r}): save the table in another form, for "
                f"example by pandas.read_hdf(FILE, {name!r}).to_parquet('table.parquet')"
            )
    found: list[str] = []

    def note(path: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset) and len(found) < 10:
            found.append(path)

    file.visititems(note)
    listed = ", ".join(found) if found else "no dataset"
    return (
        f"its datasets lie in groups ({listed}), and a table at the top level is expected: copy "
        "them, for example by h5copy, or write them as columns of a CSV or Parquet file"
    )
