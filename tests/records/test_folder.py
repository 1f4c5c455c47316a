"""Who may write to a run folder."""

import threading
import time

import pytest

from maf_runner.records.folder import RunFolder
from maf_runner.system.errors import BusyError


def test_who_waits_takes_a_folder_that_the_other_has_removed(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b")
    wrote = []

    def wait():
        with folder.held(wait=True) as check:
            check()
            wrote.append(folder.path.is_dir())

    waiting = threading.Thread(target=wait)
    with folder.held():
        with pytest.raises(BusyError, match="is in use by process"), folder.held():
            pass
        waiting.start()
        time.sleep(0.3)
        folder.discard()
    waiting.join(10)
    assert wrote == [True]
