"""Many runs in one process: memory, open files and threads stay as they are."""

import json
import statistics
import subprocess
import sys

import pytest

# Kinds of runs in turn: with a picture of the density or without, of one layer or several.
KINDS = ("model=made,maf,made_mog", "tracker=tensorboard")
TINY = ("dataset.sizes=[[8]]", "trainer.max_epochs=1", "threads=1")
KEPT = 300_000  # bytes a job: Hydra keeps the configuration of each until the sweep is over
SOAK = """
import ctypes, gc, json, os, sys
from pathlib import Path
from maf_runner.commands import run as cli
from maf_runner.experiment import run

def measured(config, carry_out=run.run):
    result = carry_out(config)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free is handed back, and does not count
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    counts = [len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task")]
    with Path("measured").open("a") as file:
        print(json.dumps([pages * os.sysconf("SC_PAGE_SIZE"), *counts]), file=file)
    return result

run.run = measured
sys.exit(cli.main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured by /proc and malloc_trim")
def test_a_long_sweep_in_one_process(tmp_path, amount, survived):
    seeds, datasets = amount((7, "digits"), (50, "toy/moons,digits"))
    cycle = amount(3, 6)
    words = ["-m", f"seed=range(0,{seeds})", f"dataset={datasets}", *KINDS, *TINY]
    done = subprocess.run(
        [sys.executable, "-c", SOAK, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "measured").read_text().splitlines()
    memory, files, threads = zip(*map(json.loads, lines), strict=True)
    assert len(memory) == seeds * cycle
    # At the same place of each cycle, past the first ones: caches fill, and memory is reused.
    later = slice(cycle * max(1, seeds // 2), None)
    for counts in (files, threads):
        assert len(set(counts[later][cycle - 1 :: cycle])) == 1, counts
    rows = range(len(memory[later]))
    growth = statistics.linear_regression(rows, memory[later]).slope
    print(f"{memory[-1] / 1e6:.0f} MB, {growth / 1e3:.0f} kB more a run, {files[-1]} files")
    assert growth < amount(3 * KEPT, KEPT), growth
    survived("runs in one process", len(memory))
