"""Disks that fill up, break or are taken away: a clear word, an exit code, and nothing lost."""

import errno
import os
import subprocess
import sys

import pytest

from tests.helpers.runs import RUN, leftovers, record_of

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT)
SAID = "the same command goes on from there"


def test_any_operation_on_a_file_may_fail(start, raw, tmp_path, whole, amount, chance, survived):
    words = (*RUN, f"paths.raw_dir={raw}")
    faults = [(at + 1, code) for at in range(len(whole.operations)) for code in ERRORS]
    faults = amount(chance.sample(faults, 4), faults)
    for at, code in faults:
        folder = tmp_path / f"{at}-{code}"
        folder.mkdir()
        hurt = start(*words, cwd=folder, errno=code, at=at)
        operation, path = whole.operations[at - 1]
        case = f"{operation} of {path}: {hurt.returncode}, {hurt.stderr}"
        assert "Traceback" not in hurt.stderr and "Logging error" not in hurt.stderr, case
        assert hurt.returncode in (0, 1, 2), case
        if hurt.returncode:
            assert os.strerror(code) in hurt.stderr and "maf-run: " in hurt.stderr, case
        again = start(*words, cwd=folder)
        assert again.returncode == 0, case + again.stderr
        assert record_of(folder) == whole.record, case
        assert leftovers(folder) == [], case
    survived("operations on files that fail", len(faults))


def test_full_disks(start, raw, tmp_path, whole, amount, survived):
    """Real ones: torch and HDF5 write past Python, where no error can be made up."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here (unshare -m): full disks not tested")
    words = (*RUN, f"paths.raw_dir={raw}")
    sizes = amount((8, 260), (4, *range(8, 300, 12)))
    full = 0
    for size in sizes:
        folder, left = tmp_path / f"disk-{size}", tmp_path / f"left-{size}"
        folder.mkdir()
        hurt = start(*words, cwd=folder, disk=size, left=str(left))
        case = f"{size} kB: {hurt.returncode}, {hurt.stderr}"
        assert "Traceback" not in hurt.stderr and "Logging error" not in hurt.stderr, case
        if hurt.returncode:
            full += 1
            assert hurt.returncode in (1, 2) and "No space left on device" in hurt.stderr, case
            assert not list(left.rglob("record.json")), case
        again = start(*words, cwd=left)
        assert again.returncode == 0 and record_of(left) == whole.record, case
        assert leftovers(left) == [], case
    assert full
    survived("full disks", full)


@pytest.mark.parametrize("what", ["results", "data", "last.pt", ".lock", "run.log", ".tmp"])
def test_a_file_removed_underneath(start, raw, tmp_path, whole, what, chance, amount, survived):
    """Taken away by another process while the run is at work."""
    words = (*RUN, f"paths.raw_dir={raw}")
    moments = amount(1, 15)
    for case in range(moments):
        folder = tmp_path / str(case)
        folder.mkdir()
        remover = subprocess.Popen(
            [sys.executable, "-c", REMOVE, str(folder), what, str(chance.uniform(0, 0.3))]
        )
        hurt = start(*words, cwd=folder)
        remover.terminate()
        remover.wait()
        assert "Traceback" not in hurt.stderr, hurt.stderr
        assert hurt.returncode == 0 or (hurt.returncode == 1 and SAID in hurt.stderr), hurt.stderr
        again = start(*words, cwd=folder)
        assert again.returncode == 0 and record_of(folder) == whole.record, again.stderr
    survived("files removed underneath", moments)


# Wait for it to appear, then a moment, and remove it.
REMOVE = """
import shutil, sys, time
from pathlib import Path
folder, what, wait = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
while True:
    found = [p for p in folder.rglob("*") if p.name.endswith(what)]
    if found:
        time.sleep(wait)
        for path in found:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(True)
        break
"""
