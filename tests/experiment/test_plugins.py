"""Models and datasets from outside, as the documentation says, and the flows of zuko."""

import functools
import json
import re
import sys

import numpy as np
import pytest
import torch

import maf_runner
from maf_runner.experiment import plugins
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows import base
from maf_runner.flows.foreign import Foreign
from maf_runner.system.errors import UsageError
from tests.helpers import ROOT

BLOCK = re.compile(r"`([\w/]+\.(?:py|yaml))`[^\n]*:\n\n```\w+\n(.*?)```", re.DOTALL)
COMMANDS = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """What a test has loaded is not there for the next."""
    monkeypatch.setattr(plugins, "_loaded", {})


def page(name, folder):
    """Write the files of a page; returns its commands."""
    text = (ROOT / "docs" / f"{name}.md").read_text()
    for place, content in BLOCK.findall(text):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (commands,) = COMMANDS.findall(text)
    return [line.split() for line in commands.splitlines()]


def test_the_page_on_models(tmp_path, command, installed):
    commands = page("your_own_model", tmp_path)
    folder, _, table = (installed(*words, check=0).stdout.strip() for words in commands)
    assert "planar" in table and "MADE" in table
    record = json.loads((tmp_path / folder / "record.json").read_text())
    ((name, code),) = record["settings"]["plugins"].items()
    assert name == "my_flows" and code.startswith("sha256:")
    again = command(*commands[0], check=0)
    assert "already there" in again.stderr
    refused = command("maf-sample", folder, check=3).stderr
    assert "--plugin of other commands" in refused
    refused = command("maf-sample", folder, "--plugin", "my_flows", check=2).stderr
    assert "planar cannot draw samples" in refused
    module = tmp_path / "my_flows.py"
    module.write_text(module.read_text() + "\n# edited\n")
    other = command(*commands[0], check=0)
    assert "already there" not in other.stderr and other.stdout.strip() != folder


def test_a_model_from_outside_is_fitted(tmp_path, monkeypatch):
    page("your_own_model", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "my_flows", None)  # afterwards it is as if never imported
    del sys.modules["my_flows"]
    table = np.random.default_rng(0).normal(size=(200, 2))
    own = {"trainer": {"max_updates": 1}, "plugins": ["my_flows"], "quiet": True}
    fit = functools.partial(maf_runner.fit, table, **own)
    model = {"name": "planar", "layers": 2}
    with pytest.raises(UsageError, match="there is no model=planar"):
        fit(model)
    with pytest.raises(UsageError, match=r"there is no folder .*none; see config_dir"):
        fit(model, config_dir="none")
    run = fit(model, config_dir="my_conf")
    assert run.record.title == "planar on file"
    assert run.record.settings["model"]["layers"] == 2
    assert run.score_samples(table).shape == (200,)
    with pytest.raises(UsageError, match="there is no model=planar"):  # ours alone again
        fit(model)
    module = tmp_path / "my_flows.py"
    module.write_text(module.read_text() + "\n# edited\n")
    with pytest.raises(UsageError, match=r"code of my_flows has changed .* start Python anew"):
        fit(model, config_dir="my_conf")
    assert fit("gaussian").record.finished  # it has none of that code


def test_the_page_on_datasets(tmp_path, command):
    commands = page("your_own_dataset", tmp_path)
    folder, table = (command(*words, check=0).stdout.strip() for words in commands)
    assert "spiral" in table and (tmp_path / folder / "density.png").is_file()


OWN = """
import numpy as np
from maf_runner.datasets.base import Rows, Splits

def load(kind: str) -> Splits:
    if kind == "missing":
        open("nowhere.csv")
    if kind == "exit":
        raise SystemExit("away")
    x = np.random.default_rng(0).normal(size=(60, 2))
    return x if kind == "array" else Splits(Rows(x), Rows(x), Rows(x), origin="own")
"""


def own_data(folder, kind, more="sizes: [[8]]\nactivation: relu\ndegrees: sequential\n"):
    """Write a dataset of this kind; returns the command that trains on it."""
    (folder / "own.py").write_text(OWN)
    conf = folder / "c" / "dataset"
    conf.mkdir(parents=True)
    (conf / "q.yaml").write_text(f"name: q\n_target_: own.load\nkind: {kind}\n{more}")
    words = ["maf-run", "--config-dir", "c", "plugins=[own]", "dataset=q", "model=made"]
    return [*words, "trainer.max_epochs=1", "threads=1"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "own.load raised FileNotFoundError: [Errno 2] No such"),
        ("exit", "own.load raised SystemExit: away"),
        ("array", "own.load: it must return Splits of maf_runner.datasets.base, got ndarray"),
    ],
)
def test_odd_datasets_are_named(tmp_path, command, kind, message):
    said = command(*own_data(tmp_path, kind), check=3).stderr
    assert f"maf-run: {message}" in said
    assert "Traceback" not in said and "whole" not in said and len(said.splitlines()) == 2


def test_rows_of_64_bits_are_trained_on(tmp_path, command):
    words = own_data(tmp_path, "float64")
    assert "MADE on q: test -" in command(*words, check=0).stderr
    assert "already there" in command(*words, check=0).stderr


def test_a_dataset_may_leave_out_what_models_take_from_it(tmp_path, command):
    words = own_data(tmp_path, "float64", more="")
    said = command(*words, check=2).stderr
    assert "dataset=q has no activation, degrees, sizes, which model=made takes from it" in said
    assert "`activation: relu`, `degrees: sequential`, `sizes: [[64], [64, 64]]`" in said
    given = said.strip().rpartition("or give ")[2].split()
    assert len(said.splitlines()) == 1 and len(given) == 3
    assert "has no degrees, which" in command(*words, given[0], given[2], check=2).stderr
    refused = command(*words, *given[:2], check=2).stderr
    assert "lists no sizes: give model.hidden=[...], or write `sizes: [[64], [64, 64]]`" in refused
    folder = command(*words, *given, check=0).stdout.strip()
    record = json.loads((tmp_path / folder / "record.json").read_text())
    assert record["departures"] == [] and record["settings"]["model"]["activation"] == "relu"


def test_a_model_from_outside_on_real_data(raw_dir, tmp_path, command):
    page("your_own_model", tmp_path)
    words = ["maf-run", "--config-dir", "my_conf", "model=planar", "dataset=miniboone"]
    words += ["trainer.max_epochs=1", "threads=1"]
    env = {"MAF_RUNNER_RAW_DIR": str(raw_dir), "MAF_RUNNER_PLUGINS": "my_flows"}
    assert "planar on miniboone: test -" in command(*words, env=env, check=0).stderr


ODD = {
    "shape": "return x",
    "scalar": "return x.sum()",
    "nan": "return (x * self.w).sum(1) * float('nan')",
}


@pytest.mark.parametrize(("body", "code"), [("shape", 2), ("scalar", 2), ("nan", 4)])
def test_odd_models_are_named(tmp_path, command, body, code):
    (tmp_path / "odd.py").write_text(
        "import torch\nclass Odd(torch.nn.Module):\n"
        "    def __init__(self, features, context=0):\n        super().__init__()\n"
        "        self.w = torch.nn.Parameter(torch.zeros(features))\n"
        f"    def log_prob(self, x, context=None):\n        {ODD[body]}\n"
    )
    conf = tmp_path / "c" / "model"
    conf.mkdir(parents=True)
    (conf / "odd.yaml").write_text("name: odd\n_target_: odd.Odd\nconditional: false\n")
    words = ["maf-run", "--config-dir", "c", "plugins=[odd]", "model=odd", "trainer.max_epochs=1"]
    said = command(*words, check=code).stderr
    assert "Traceback" not in said
    assert (
        "odd.Odd.log_prob must return" in said if code == 2 else "odd on digits: diverged" in said
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no module 'broken'"),
        ("import nothing_of_this_name", "no module 'nothing_of_this_name' which broken imports"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_plugins_that_cannot_be_imported(tmp_path, command, text, message):
    if text:
        (tmp_path / "broken.py").write_text(text)
    refused = command("maf-run", "plugins=[broken]", check=2).stderr
    assert message in refused and "Traceback" not in refused
    for wrong in ("plugins=[maf_runner.flows]", "plugins=['a/b']", "plugins=x"):
        assert "plugin" in command("maf-run", wrong, check=2).stderr


def test_nothing_is_imported_because_a_file_names_it(tmp_path, command):
    (tmp_path / "evil.py").write_text("open('done', 'w')\nclass M: pass\n")
    conf = tmp_path / "c" / "model"
    conf.mkdir(parents=True)
    (conf / "evil.yaml").write_text("name: evil\n_target_: evil.M\nconditional: false\n")
    refused = command("maf-run", "--config-dir", "c", "model=evil", check=2).stderr
    assert "given as a plugin" in refused and not (tmp_path / "done").exists()


ZUKO = ["maf", "nsf", "nice", "naf", "sospf", "bpf", "gf", "cnf", "unaf", "ncsf"]
SMALL = {"hidden_features": "[8]", "transforms": "1", "signal": "2", "degree": "2"}


@pytest.mark.parametrize("name", ZUKO)
def test_flows_of_zuko(tmp_path, command, name):
    zuko = pytest.importorskip("zuko")
    text = (ROOT / "conf" / "model" / "zuko" / f"{name}.yaml").read_text()
    small = [f"model.settings.{k}={v}" for k, v in SMALL.items() if f"{k}:" in text]
    words = [f"model=zuko/{name}", "trainer.max_epochs=2", "trainer.max_updates=4", *small]
    if name in ("cnf", "unaf", "ncsf"):  # 64 features take minutes, or are no angles
        words += ["dataset=toy/circles"]
    given = ["model.conditional=true"] if name == "maf" else []
    folder = command("maf-run", *words, *given, "threads=1", check=0).stdout.strip()
    record = json.loads((tmp_path / folder / "record.json").read_text())
    assert record["environment"]["zuko"] == zuko.__version__
    assert record["model"] == f"zuko {name.upper()}"
    run = TrainedRun.load(tmp_path / folder)
    rows, _ = run.draw_samples(20, seed=1)
    again, _ = run.draw_samples(20, seed=1)
    assert rows.shape == (20, record["features"]) and (rows == again).all()
    assert run.log_prob(rows).shape == (20,)


def test_without_zuko_the_command_is_named(command):
    code = (
        "import sys\nsys.modules['zuko'] = None\nfrom maf_runner.commands.run import main\n"
        "sys.argv = ['maf-run', 'model=zuko/maf']\nsys.exit(main())\n"
    )
    assert "pip install '.[zuko]'" in command("python", "-c", code, check=2).stderr


BODY = """import torch
from helper_of_mine import SHIFT
print("imported")
class Mine(torch.nn.Module):
    title = "My own"
    def __init__(self, features, *, fails="", context=0):
        super().__init__()
        if fails == "init":
            raise RuntimeError("no room\\x1b[31m here")
        if fails == "exit":
            raise SystemExit(7)
        self.fails = fails
        self.w = torch.nn.Parameter(torch.zeros(features))
    def log_prob(self, x, context=None):
        if self.fails == "log_prob":
            raise KeyError("gone")
        found = -0.5 * (x - self.w - SHIFT).square().sum(1)
        return found.detach() if self.fails == "gradient" else found
    def sample(self, n, context=None):
        return torch.full((n, len(self.w)), float("nan"))
"""
MINE = "name: mine\n_target_: mine.Mine\nconditional: false\nfails: ''\n"


@pytest.fixture
def mine(tmp_path, command):
    """A model of one's own with a helper beside it; returns what trains it."""
    (tmp_path / "mine.py").write_text(BODY)
    (tmp_path / "helper_of_mine.py").write_text("SHIFT = 0.0\n")
    conf = tmp_path / "c" / "model"
    conf.mkdir(parents=True)
    (conf / "mine.yaml").write_text(MINE)
    (conf / "heir.yaml").write_text("defaults: [maf, _self_]\nname: heir\nlayers: 2\n")
    words = ["maf-run", "plugins=[mine]", "dataset=toy/moons", "trainer.max_epochs=1"]
    return lambda *more, check=0: command(*words, "--config-dir", "c", *more, check=check)


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("init", "model=mine: mine.Mine raised RuntimeError: no room�[31m here"),
        ("exit", "model=mine: mine.Mine raised SystemExit: 7"),
        ("log_prob", "mine.Mine.log_prob raised KeyError: 'gone'"),
        ("gradient", "mine.Mine.log_prob returns a tensor without gradient"),
    ],
)
def test_what_a_model_raises_is_one_line(mine, tmp_path, fails, message):
    said = mine("model=mine", f"model.fails={fails}", check=2).stderr
    assert message in said and "Traceback" not in said
    if fails == "log_prob":
        (log,) = tmp_path.rglob("run.log")
        assert "mine.py, line 16)" in said
        assert "Traceback" in log.read_text() and "KeyError" in log.read_text()


def test_a_model_that_builds_on_one_of_ours(mine, tmp_path):
    assert "MAF (2) on toy/moons: test" in mine("model=heir").stderr
    gaussian = "name: own\n_target_: maf_runner.flows.Gaussian\nconditional: false\n"
    (tmp_path / "c" / "model" / "own.yaml").write_text(gaussian)
    assert "Gaussian on toy/moons: test" in mine("model=own").stderr


def test_a_mask_of_something_else_than_weights_is_not_counted():
    module = torch.nn.Linear(3, 2)
    module.register_buffer("mask", torch.zeros(3))
    module.log_prob = lambda x, context=None: module(x).sum(1)
    assert Foreign(module, 3, 0, "mine").parameter_count() == 8


def test_samples_differ_from_part_to_part(monkeypatch):
    monkeypatch.setattr(base, "SAMPLED_AT_ONCE", 10)
    module = torch.nn.Linear(3, 2)
    module.log_prob, module.sample = module.forward, lambda n: torch.randn(n, 3)
    model = Foreign(module, 3, 0, "mine")
    assert len(model.sample(25).unique(dim=0)) == 25
    one, again = (model.sample(25, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, again) and not torch.equal(one, model.sample(25))


def test_options_of_ones_own_do_not_have_the_names_of_ours(mine, tmp_path):
    own = tmp_path / "c" / "model" / "made.yaml"
    own.write_text(MINE)
    assert "rename it" in mine("model=made", check=2).stderr
    own = own.rename(own.with_name("other.yaml"))
    for text, message in (
        ("name: other\n", "other.yaml must have _target_"),
        ("- 1\n", "other.yaml must have name and _target_"),
        ("name: other\n\t_target_: x\n", "other.yaml is no YAML"),
    ):
        own.write_text(text)
        said = mine("model=other", check=2).stderr
        assert message in said and len(said.splitlines()) == 1


def test_code_beside_a_plugin_belongs_to_it(mine, tmp_path, command):
    folder = mine("model=mine").stdout.strip()
    assert "already there" in mine("model=mine").stderr
    rows = ["maf-sample", folder, "--plugin", "mine", "--n", "2"]
    sampled = command(*rows, check=0).stderr
    assert "2 of 2 samples are not finite" in sampled and "no sample is finite" in sampled
    for picture in ("noise", "pairs", "calibration"):
        words = ["maf-plot", picture, folder, "--plugin", "mine"]
        said = command(*words, check=2).stderr
        assert f"{picture}: " in said and "Traceback" not in said
    (tmp_path / "helper_of_mine.py").write_text("SHIFT = 1.0\n")
    assert "the code of mine has changed since" in command(*rows, check=0).stderr
    assert mine("model=mine").stdout.strip() != folder
