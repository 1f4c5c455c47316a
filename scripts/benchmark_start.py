"""Time how long a command takes to start: its help, a finished run, the first update.

    python scripts/benchmark_start.py [--times 7]

Every command is a process of its own with one thread. Printed is the least of several times, since
other work on the machine only adds: seconds that pass, and seconds of the processor.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUN = [sys.executable, "-m", "maf_runner"]
FIRST_UPDATE = """
import os, sys
import maf_runner.engine.driver as driver
from maf_runner.commands.run import main

step = driver.Driver.step

def first(*arguments, **named):
    float(step(*arguments, **named))
    os._exit(0)

driver.Driver.step = first
sys.exit(main() or 1)
"""
UNTIL_UPDATE = [sys.executable, "-c", FIRST_UPDATE]


def seconds(command: list[str], folder: str) -> tuple[float, float]:
    """How long a command takes, and how much of the processor.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    start = time.perf_counter()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return taken, usage.ru_utime + usage.ru_stime


def first_line(command: list[str], folder: str) -> float:
    """Seconds until a command says its first line, after which it is ended."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        taken = time.perf_counter() - start
        process.kill()
    return taken


def main() -> None:
    """Measure, and print the rows of the table in docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7, help="how often each is measured")
    times = range(parser.parse_args().times)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "table.npy")
        np.save(table, np.random.default_rng(0).normal(size=(100_000, 6)))
        small = ["trainer.max_updates=1"]
        own = ["dataset=file", f"dataset.path={table}", *small]
        for words in (small, own):
            subprocess.run([*RUN, *words], cwd=folder, capture_output=True, check=True)
        lines = [first_line([*RUN, "paths.results_dir=other"], folder) for _ in times]
        commands = {
            "`maf-run --help`": [*RUN, "--help"],
            "a finished run of the default": [*RUN, *small],
            "a finished run of `dataset=file`": [*RUN, *own],
            "first update of the default": [*UNTIL_UPDATE, "paths.results_dir=other"],
            "first update of `dataset=file`": [*UNTIL_UPDATE, *own, "paths.results_dir=other"],
            "`import torch` alone": [sys.executable, "-c", "import torch"],
        }
        print("| what | seconds | of the processor |\n|---|---|---|")
        print(f"| first line of the default | {min(lines):.2f} | |")
        for name, command in commands.items():
            taken = [seconds(command, folder) for _ in times]
            wall, cpu = (min(column) for column in zip(*taken, strict=True))
            print(f"| {name} | {wall:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
