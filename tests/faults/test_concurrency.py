"""Several processes at the same sweep at once, while others read what it leaves."""

import csv
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maf_runner.commands import report, table
from maf_runner.records.folder import RECORD
from maf_runner.records.record import Record
from tests.helpers.runs import MAY_DIFFER, leftovers

BIN = Path(sys.executable).parent
SWEEP = ("-m", "model=made", "model.hidden=[8]", "trainer.max_epochs=3", "threads=1")
READERS = (("maf-table", "--format", "csv"), ("maf-table", "leaderboard"), ("maf-report",))


def begun(cwd, *words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [BIN / words[0], *words[1:]],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def records_under(folder):
    found = map(Record.read, folder.rglob(RECORD))
    return {
        record.run_id: {k: v for k, v in record.as_json().items() if k not in MAY_DIFFER}
        for record in found
    }


def looked_at(folder, read, *words):
    """What a reader makes of the results as they are now: whole, or that there are none."""
    code, (out, err) = read(folder, *words)
    assert "left out" not in err, err
    if code == 3:
        assert "under" in err
        return False
    assert code == 0, err
    if "csv" in words:
        rows = list(csv.reader(io.StringIO(out)))
        assert len(rows) > 1 and len({len(row) for row in rows}) == 1
    elif words[0] == "maf-report":
        assert (folder / "results" / "report.html").read_text().rstrip().endswith("</html>")
    else:
        assert "MADE" in out
    return True


@pytest.fixture
def read(capsys):
    """Read results in this process."""
    mains = {"maf-table": table.main, "maf-report": report.main}

    def run(folder, name, *words):
        code = mains[name]([*words, "--results", str(folder / "results")])
        return code, capsys.readouterr()

    return run


def test_processes_at_the_same_sweep(start, read, tmp_path, amount, survived):
    """Those told to wait get every record; those not told to name the run that is busy."""
    processes, seeds = amount(3, 8), range(amount(3, 6))
    words = ("maf-run", *SWEEP, f"seed={','.join(map(str, seeds))}")
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    shared.mkdir()
    sweeps = [begun(shared, *words, f"wait={str(i % 4 != 3).lower()}") for i in range(processes)]
    looks = seen = 0
    while any(sweep.poll() is None for sweep in sweeps):
        seen += looked_at(shared, read, *READERS[looks % len(READERS)])
        looks += 1
        time.sleep(0.2)
    done = 0
    for number, sweep in enumerate(sweeps):
        out, err = sweep.communicate()
        assert "Traceback" not in err
        lines = [line.split()[0] for line in err.splitlines() if line.startswith(("done", "skip"))]
        done += lines.count("done")
        busy = err.count("is in use by process") if number % 4 == 3 else 0
        assert sweep.returncode == bool(busy), err
        if not busy:
            assert len(lines) == len(out.splitlines()) == len(seeds)
    assert done == len(seeds)  # each trained by one of them

    assert start(*words, cwd=alone).returncode == 0
    assert records_under(shared) == records_under(alone) and len(records_under(alone)) == len(
        seeds
    )
    for folder in shared.glob("results/runs/*/*/*"):
        assert (folder / "run.log").read_text().count("training MADE") == 1
        assert not (folder / ".holder").exists()
    assert leftovers(shared) == [] and looked_at(shared, read, *READERS[0])
    survived("processes at the same sweep", processes)
    survived("looks at results that are being written", looks)
