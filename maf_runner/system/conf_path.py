"""Where the configuration lies: inside the package in a wheel, beside it in a checkout."""

from pathlib import Path

_package = Path(__file__).resolve().parents[1]
# Folders of the user's own with options beside ours, as ``maf-run --config-dir DIR`` names them.
OWN: list[Path] = []
CONF = _package / "conf" if (_package / "conf").is_dir() else _package.parent / "conf"


def names(group: str, *folders: Path) -> list[str]:
    """The options of a group that have a file in one of these folders, sorted.

    >>> "maf" in names("model", CONF)
    True
    """
    found = set()
    for folder in (root / group for root in folders):
        files = folder.rglob("*.yaml")
        found |= {path.relative_to(folder).with_suffix("").as_posix() for path in files}
    return sorted(found)
