"""The wheel carries its configuration and works far from the checkout."""

import os
import subprocess
import sys
from fnmatch import fnmatch

import pytest

from tests.helpers import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package installed from its wheel, built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        ["git", "checkout-index", "--all", f"--prefix={folder}/source/"], cwd=ROOT, check=True
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, folder / "source"]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


def test_wheel_runs_from_another_directory(site, tmp_path):
    code = (
        "import sys, maf_runner\n"
        "assert maf_runner.__file__.startswith(sys.argv[1]), maf_runner.__file__\n"
        "sys.argv = ['maf-run', 'model=gaussian']\n"
        "from maf_runner.commands.run import CONF, main\n"
        "assert str(CONF).startswith(maf_runner.__path__[0]), CONF\n"
        "sys.exit(main())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(site)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "Gaussian on digits: test -92.64" in result.stderr


def test_wheel_has_every_file(site):
    for part, pattern in (("conf", "**/*.yaml"), ("maf_runner", "**/*.*")):
        inside = site / "maf_runner" / ("conf" if part == "conf" else "")
        listed = subprocess.run(
            ["git", "ls-files", part], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        wanted = {f.removeprefix(f"{part}/") for f in listed if fnmatch(f, pattern)}
        found = {p.relative_to(inside).as_posix() for p in inside.glob(pattern)}
        assert wanted and wanted <= found, wanted - found


def test_plain_checkout_runs(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "maf_runner", "debug=one_batch"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
