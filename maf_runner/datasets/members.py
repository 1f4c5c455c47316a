"""Files of a dataset wherever they lie: in a folder, deeper in it, or inside a tar archive."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

from maf_runner.errors import DataError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


def read_members(
    folder: Path, names: Sequence[str], *, limit: int, dataset: str, how: str
) -> dict[str, bytes]:
    """Read the files ``names``, from ``folder``, a folder in it, or the archives in it.

    Nothing is unpacked to the disk. Only plain files of archives are looked at: no links, and
    nothing larger than ``limit`` bytes.

    Raises:
        DataError: a file is missing, too large, or its archive is damaged.
    """
    found: dict[str, bytes] = {}
    paths = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []
    for path in paths:
        if path.name in names and path.name not in found:
            if path.stat().st_size > limit:
                raise DataError(f"{dataset}: {path} is larger than expected. {how}")
            found[path.name] = path.read_bytes()
    for path in paths:
        if path.name.endswith(ARCHIVES) and len(found) < len(names):
            try:
                with tarfile.open(path) as archive:
                    for member in archive:
                        name = Path(member.name).name
                        if name in names and name not in found and member.isreg():
                            if member.size > limit:
                                raise DataError(
                                    f"{dataset}: {member.name} in {path} would take "
                                    f"{member.size:,} bytes, {limit:,} at most are right. {how}"
                                )
                            file = archive.extractfile(member)
                            assert file is not None
                            found[name] = file.read()
            except (tarfile.TarError, OSError, EOFError, ValueError) as error:
                raise DataError(f"{dataset}: {path} is damaged ({error}). {how}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{dataset}: {', '.join(missing)} not found; looked in {folder}. {how}")
    return found
