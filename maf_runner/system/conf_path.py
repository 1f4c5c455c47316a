"""Where the configuration lies: inside the package in a wheel, beside it in a checkout."""

from pathlib import Path

_package = Path(__file__).resolve().parents[1]
CONF = _package / "conf" if (_package / "conf").is_dir() else _package.parent / "conf"
