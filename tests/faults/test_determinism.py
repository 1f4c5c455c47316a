"""The same seed gives the same record bit for bit; other paths and threads, the same figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maf_runner.engine.driver import COMPILED, EAGER, Driver, has_compiler
from maf_runner.flows import MAF
from maf_runner.training import TrainerSettings
from tests.helpers.models import CLASSES, build, names, rows
from tests.helpers.runs import record_of
from tests.helpers.settings import TRAINER

MODELS = ("maf_mog", "gaussian", "made", "made_mog", "maf", "conditional_maf", "iaf", "realnvp")
TINY = ("dataset.sizes=[[8]]", "dataset.degrees=random", "trainer.max_epochs=2", "threads=1")
POLLUTED = {
    "PYTHONHASHSEED": "12345",
    "LC_ALL": "C",
    "TZ": "Asia/Kathmandu",
    "COLUMNS": "20",
    "TMPDIR": ".",
}
needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler here")


def left_by(folder):
    """All that a run leaves that may not differ: record, test rows, curve, trained model."""
    (path,) = folder.rglob("record.json")
    lines = (path.parent / "history.csv").read_text() if "gaussian" not in path.parts else ""
    curve = [line.rpartition(",")[0] for line in lines.splitlines()]  # the seconds are last
    best = torch.load(path.parent / "best.pt", weights_only=True)
    tensors = {key: value.numpy().tobytes() for key, value in best["model"].items()}
    return record_of(folder), curve, (path.parent / "test_nats.npy").read_bytes(), tensors


def test_same_seed_same_record(start, tmp_path, amount, survived):
    for model in MODELS[: amount(1, None)]:
        words = ("maf-run", f"model={model}", *TINY)
        one, other = tmp_path / model, tmp_path / f"{model} elsewhere" / "x"
        one.mkdir()
        other.mkdir(parents=True)
        done = start(*words, cwd=one)
        assert done.returncode == 0, done.stderr
        process = subprocess.run(
            [Path(sys.executable).parent / words[0], *words[1:]],
            cwd=other,
            env={**os.environ, **POLLUTED},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        assert left_by(one) == left_by(other)
    survived("models with the same record elsewhere", len(MODELS[: amount(1, None)]))


@pytest.fixture
def fifty():
    """The parameters after 50 updates in float64, by threads and path."""
    before = torch.get_num_threads()

    def updates(threads, path):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        network = {"activation": "tanh", "degrees": "sequential", "mask": "paper"}
        model = MAF(32, layers=2, hidden=[256], **network).double()
        driver = Driver(model, TrainerSettings(**TRAINER).adam, path)
        x = torch.randn(50, 50, 32, dtype=torch.float64)
        for batch in x:
            driver.step(batch, None, 1e-3)
        assert driver.name == path
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    yield updates
    torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize("name", names(trained=True, inverted=False))
def test_compiled_updates_are_those_of_the_plain_model(name, amount, survived):
    if not amount(False, True):
        pytest.skip("compiling takes half a minute a model: MAF_RUNNER_ALL_FAULTS=1")
    after = []
    for path in (EAGER, COMPILED):
        torch.manual_seed(0)
        model = build(name, context=CLASSES)
        driver = Driver(model, TrainerSettings(**TRAINER).adam, path)
        x, given = rows(1000, context=CLASSES)
        for batch in torch.randperm(1000).split(20):
            driver.step(x[batch], given[batch], 1e-2)
        assert driver.name == path
        after.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert float((after[0] - after[1]).abs().max()) < 1e-9
    survived("models compiled", 1)


def test_threads_and_paths_agree(fifty, amount, survived):
    if not amount(False, True):
        pytest.skip("threads wait for each other on a busy machine: MAF_RUNNER_ALL_FAULTS=1")
    plain = fifty(1, EAGER)
    ways = [(2, EAGER)]
    compiled = [(1, COMPILED), (2, COMPILED)]
    ways += compiled if has_compiler() else []
    for way in ways:
        apart = float((fifty(*way) - plain).abs().max())
        print(way, apart)
        assert apart < 1e-9, way
    survived("ways to make the same 50 updates", len(ways))


@pytest.mark.parametrize(
    "words",
    [
        ("threads=2",),
        pytest.param(("engine=compiled", "threads=1"), marks=needs_compiler),
        pytest.param(("engine=compiled", "threads=2"), marks=needs_compiler),
    ],
    ids=" ".join,
)
def test_whole_runs_differ_by_less_than_their_error(start, tmp_path, amount, survived, words):
    if not amount(False, True):
        pytest.skip("compiling takes a minute: MAF_RUNNER_ALL_FAULTS=1")
    run = ("maf-run", "model=maf", "model.layers=2", "trainer.learning_rate=1e-3")
    run += ("model.hidden=[1024]", "trainer.max_epochs=10")
    tests = []
    for name, more in (("one", ("threads=1", "engine=eager")), ("other", words)):
        (tmp_path / name).mkdir()
        done = start(*run, *more, cwd=tmp_path / name)
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / name).rglob("record.json")
        tests.append(json.loads(path.read_text())["test"])
    apart = abs(tests[0]["log_likelihood"] - tests[1]["log_likelihood"])
    print(words, apart, tests[0]["error"])
    assert apart < tests[0]["error"]
    survived("whole runs another way", 1)
