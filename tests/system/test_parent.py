"""Workers of a sweep whose parent was killed."""

import os
import signal
import subprocess
import time

import pytest

from tests.helpers.commands import BIN
from tests.helpers.runs import wait_for


def test_workers_save_and_end_soon_after_their_parent_was_killed(tmp_path):
    pytest.importorskip("joblib")
    words = ["-m", "launch=joblib", "hydra.launcher.n_jobs=2", "seed=0,1", "model=made"]
    words += ["model.hidden=[8]", "trainer.max_epochs=100000", "trainer.patience=100000"]
    process = subprocess.Popen(
        [BIN / "maf-run", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    holder, *_ = wait_for(tmp_path, ".holder", 2)
    worker = int(holder.read_text().split('"pid": ')[1].split(",")[0])
    wait_for(tmp_path, "last.pt")
    if worker == process.pid:
        process.kill()
        pytest.skip("this launcher works in the process itself")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 45
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        time.sleep(0.2)
    else:
        os.kill(worker, signal.SIGKILL)
        pytest.fail("the worker went on without its parent")
    assert list(tmp_path.rglob("last.pt")) and not list(tmp_path.rglob("record.json"))
