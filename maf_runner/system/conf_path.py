"""Where the configuration lies: inside the package in a wheel, beside it in a checkout."""

from pathlib import Path

_package = Path(__file__).resolve().parents[1]
# Folders of the user's own with options beside ours, as ``maf-run --config-dir DIR`` names them.
OWN: list[Path] = []
CONF = _package / "conf" if (_package / "conf").is_dir() else _package.parent / "conf"
