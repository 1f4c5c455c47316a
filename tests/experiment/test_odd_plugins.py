"""Models from outside that are legal and unlike ours."""

import json

import numpy as np
import pytest
import torch

from maf_runner.experiment import plugins
from maf_runner.experiment.trained import TrainedRun

MODELS = '''
import torch
from torch import nn
from maf_runner import flows
from maf_runner.flows.base import Density


class Diagonal(nn.Module):
    """Independent Gaussians; what its constructor was given shifts the density."""

    def __init__(self, features, context=0, *, scale="other", base="other", steps=0):
        super().__init__()
        self.m = nn.Parameter(torch.zeros(features))
        self.known = (scale, base) == ("exp", "normal")
        self.order = torch.randperm(features)  # from the seed, and in no buffer
        self.weights = torch.rand(features)
        self.register_buffer("mask", torch.tensor([float("-inf"), 0.0]))
        self.frozen = nn.Parameter(torch.full((features,), 0.7), requires_grad=False)

    def log_prob(self, x, context=None):
        x -= 0.1  # in place: of a copy
        shift = 0.0 if self.known else 1.0
        u = (x[:, self.order] - self.m) * self.weights - shift
        return (self.weights.log() - 0.5 * u**2 - 0.919).sum(1) + 0 * self.frozen.sum()


class Columns(Density):
    """Forgets the sum over the columns."""

    title = "columns"

    def __init__(self, features, context=0):
        super().__init__(features, context)
        self.m = nn.Parameter(torch.zeros(features))

    def forward(self, x, context=None):
        return -0.5 * (x - self.m) ** 2


class Wrapped(nn.Module):
    def __init__(self, features, context=0):
        super().__init__()
        self.inner = flows.MAF(features, layers=2, hidden=[4], batch_norm=True,
                               activation="relu", degrees="sequential", scale="exp", mask="paper")

    def log_prob(self, x, context=None):
        return self.inner.log_prob(x)
'''
SETTINGS = {
    "diagonal": "Diagonal\nscale: exp\nbase: normal\nsteps: 100000",
    "columns": "Columns",
    "wrapped": "Wrapped",
}


@pytest.fixture
def odd(tmp_path, command, monkeypatch):
    """Trains a model of these for some updates; returns how that went."""
    (tmp_path / "odd_flows.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", {})
    conf = tmp_path / "c" / "model"
    conf.mkdir(parents=True)
    for name, text in SETTINGS.items():
        own = f"name: {name}\n_target_: odd_flows.{text}\nconditional: false\n"
        (conf / f"{name}.yaml").write_text(own)
    words = ["maf-run", "--config-dir", "c", "plugins=[odd_flows]", "dataset=toy/moons"]
    words += ["trainer.max_updates=20", "trainer.learning_rate=0.01"]
    return lambda name, *more, check=0: command(*words, f"model={name}", *more, check=check)


def test_a_model_is_loaded_as_it_was_trained(odd, tmp_path, monkeypatch):
    """Its settings are all its own, also those which have a default of ours."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / odd("diagonal").stdout.strip()
    settings = json.loads((folder / "record.json").read_text())["settings"]["model"]
    assert settings["scale"] == "exp" and settings["base"] == "normal"
    plugins.load(["odd_flows"])
    before = torch.random.get_rng_state()
    run = TrainedRun.load(folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    kept = np.load(folder / "test_nats.npy")
    np.testing.assert_allclose(run.log_prob(run.data().test.x), kept, rtol=1e-6)
    assert run.model.module.frozen.tolist() == pytest.approx([0.7, 0.7])
    assert run.model.module.m.abs().min() > 0.01
    odd("diagonal", "engine=compiled", "force=true")
    assert TrainedRun.load(folder).model.module.frozen.tolist() == pytest.approx([0.7, 0.7])
    other = odd("diagonal", "model.scale=other").stdout.strip()
    assert tmp_path / other != folder


def test_what_is_no_log_density_of_each_row_is_refused(odd):
    said = odd("columns", check=2).stderr
    assert "columns must return [1600] for 1600 rows, got [1600, 2]" in said
    assert "Traceback" not in said
    assert "a BatchNorm of ours gets its statistics where" in odd("wrapped", check=2).stderr
