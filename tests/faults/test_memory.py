"""Memory that does not suffice: said before it is tried, or got along with."""

import subprocess
import sys

import pytest
import torch

from maf_runner.datasets import cifar10
from maf_runner.datasets.base import Paths
from maf_runner.datasets.preparation import store
from maf_runner.engine.rows import log_prob_of_rows, refresh_statistics
from maf_runner.flows import MAF
from maf_runner.system import memory
from maf_runner.system.errors import UsageError
from tests.helpers.runs import RUN, leftovers, record_of


@pytest.mark.parametrize(
    "words",
    [
        ("model=made", "model.hidden=[1000000,1000000]"),
        ("model=maf", "model.hidden=[100000,100000]", "model.degrees=random"),
        ("model=realnvp", "model.hidden=[1000000,1000000]"),
        ("model=maf_mog", "model.hidden=[300000,300000]"),
    ],
)
def test_a_model_that_does_not_fit_says_what_it_needs(start, tmp_path, words):
    done = start("maf-run", *words, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert (
        "of this size needs at least " in done.stderr
        and "take a smaller model.hidden" in done.stderr
    )
    assert not list(tmp_path.rglob("*.*"))


def test_a_dataset_that_does_not_fit_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 700_000_000)
    words = "dataset=cifar10 needs at least 1.29 GB of memory, and 0.7 GB are free"
    words = words.replace("0.7 GB", "700 MB")
    with pytest.raises(UsageError, match=words):
        store.load(cifar10.PREPARATION, Paths(tmp_path, tmp_path), download=False, seed=0)


@pytest.mark.parametrize("suffix", ["csv", "npy", "h5", "parquet"])
def test_a_table_that_does_not_fit_says_what_it_needs(start, tmp_path, suffix):
    with (tmp_path / f"large.{suffix}").open("wb") as file:
        file.truncate(10**13)  # takes no room on the disk
    words = ("maf-run", "model=gaussian", "dataset=file", f"dataset.path=large.{suffix}")
    done = start(*words, cwd=tmp_path)
    assert done.returncode == 2 and "needs at least 10 TB of memory" in done.stderr, done.stderr


def test_the_limit_of_the_process_counts():
    code = (
        "import resource; from maf_runner.system import memory\n"
        "free = memory.available()\n"
        "used = memory._kilobytes(memory.Path('/proc/self/status'), 'VmSize')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 10**8,) * 2)\n"
        "assert free is None or (5 * 10**7 < memory.available() <= 10**8), memory.available()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_limit_of_the_group_counts(tmp_path, monkeypatch):
    """As a container or a queueing system sets it."""
    files = {"max": 1000, "current": 700, "stat": "anon 300\ninactive_file 200\nfile 400"}
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    for name, content in files.items():
        (tmp_path / f"memory.{name}").write_text(f"{content}\n")
    assert memory._of_group() == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._of_group() is None


def test_chunks_shrink_until_they_fit(monkeypatch):
    flow = MAF(6, layers=3, hidden=[16], activation="relu", degrees="sequential", mask="paper")
    rows = torch.randn(1000, 6)
    refresh_statistics(flow, rows, native=False)
    flow.eval()
    whole = log_prob_of_rows(flow, rows, native=False)
    statistics = [b.clone() for b in flow.buffers()]
    tried = []
    linear = torch.nn.functional.linear

    def small(x, *rest):
        tried.append(len(x))
        if len(x) > 100:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
        return linear(x, *rest)

    monkeypatch.setattr(torch.nn.functional, "linear", small)
    torch.testing.assert_close(log_prob_of_rows(flow, rows, native=False), whole)
    assert max(tried) == 1000 and min(tried) < 100
    refresh_statistics(flow, rows, native=False)
    for now, before in zip(flow.buffers(), statistics, strict=True):
        torch.testing.assert_close(now, before)
    monkeypatch.setattr(torch.nn.functional, "linear", lambda *rest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        log_prob_of_rows(flow, rows, native=False)


def test_chunks_shrink_in_a_process_without_memory():
    """The real thing: no room for the hidden units of all rows, room for those of some."""
    code = (
        "import resource, torch; from maf_runner.system import memory\n"
        "from maf_runner.flows import MADE; from maf_runner.engine.rows import log_prob_of_rows\n"
        "torch.set_num_threads(1)\n"
        "model = MADE(4, hidden=[1024, 1024], activation='tanh', degrees='sequential',"
        " mask='paper').eval()\n"
        "rows = torch.randn(40_000, 4)\n"
        "before = log_prob_of_rows(model, rows, chunk=500, native=False)\n"
        "used = memory._kilobytes(memory.Path('/proc/self/status'), 'VmSize')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 10**8,) * 2)\n"
        "try:\n"
        "    torch.empty(40_000, 1024)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "after = log_prob_of_rows(model, rows, chunk=40_000, native=False)\n"
        "torch.testing.assert_close(before, after)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "allocate memory" in done.stdout  # there was too little for all at once


def test_a_run_without_memory_ends_and_goes_on(
    start, raw, tmp_path, whole, amount, chance, survived
):
    words = (*RUN, f"paths.raw_dir={raw}")
    ended = 0
    for kilobytes in amount((5500,), range(500, 9000, 250)):
        folder = tmp_path / str(kilobytes)
        folder.mkdir()
        hurt = start(*words, cwd=folder, memory=kilobytes << 10)
        if hurt.returncode and "training" in hurt.stderr:
            ended += 1
            assert (
                hurt.returncode == 1 and "there is not enough memory for this run" in hurt.stderr
            )
            assert not list(folder.rglob("record.json"))
        again = start(*words, cwd=folder)
        assert again.returncode == 0 and record_of(folder) == whole.record, (
            hurt.stderr + again.stderr
        )
        assert leftovers(folder) == []
    survived("processes without memory", ended)
