"""A trained model as a file for others: the same densities and rows, in the units of its data."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.experiment import export
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows.foreign import Foreign
from maf_runner.records.folder import RunFolder
from maf_runner.records.record import Record
from maf_runner.system.errors import UsageError
from tests.helpers import models
from tests.helpers.records import made_up

FEATURES, PRIOR = 3, [0.5, 0.3, 0.2]
TABLE = TableSpace(
    ("seconds", "share", "count"),
    mean=(1.7e9, 0.4, 12.0),  # seconds that float32 cannot tell apart
    deviation=(20.0, 1e-3, 5.0),
    steps=(0.0, 0.0, 1.0),
    origins=(0.0, 0.0, 1.0),
)
HERE = str(Path(export.__file__).parent).encode()
WITHOUT_ONNX = ("iaf", "nsf-gaussian-mixture")
# Each operation once. To an export, masks, orders and widths are only other numbers.
IN_TORCH = [(name, 0) for name in ("maf", *WITHOUT_ONNX)]
IN_TORCH += [(name, models.CLASSES) for name in ("gaussian", "made-mog", "realnvp", "iaf")]
IN_ONNX = [
    *((name, 0) for name in ("gaussian", "every-layer", "maf-bounded", "maf-residual")),
    *((name, 0) for name in ("maf-student", "realnvp-bounded", "realnvp-logistic")),
    *((name, 0) for name in ("nsf", "nsf-quadratic", "nsf-coupling-sigmoidal")),
    *((name, 0) for name in ("elementwise", "elementwise-cdf", "binned-made-order")),
    *((name, models.CLASSES) for name in ("gaussian", "maf-mog", "nsf-coupling")),
]


def of_model(model, name="a model", table=TABLE, prior=None):
    data = {"fingerprint": "f", "recipe": "own", "class_prior": prior}
    return TrainedRun(RunFolder(Path("run")), made_up(model=name, data=data), model, None, table)


def trained(name, context=0, table=TABLE):
    """A run of a model of the table of models; of its classes, with an unequal prior."""
    model = models.build(name, FEATURES, context)
    model = model if name == "gaussian" else model.float()
    model.load_state_dict(model.state_dict())  # as of a model that has computed nothing yet
    return of_model(model, name, table, PRIOR if context else None)


def check(program, run):
    """Compare the program of a run with `TrainedRun.log_prob`, in the units of its data."""
    for n in (17, 1):
        rows, nats = models.rows(n, FEATURES)[0].numpy(), 0.0
        if run.table is not None:
            rows, nats = run.table.to_table(rows), run.table.log_det(rows)
        nats += run.log_prob(rows if run.table is None else run.table.to_model(rows))
        found = program(rows)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, nats, rtol=1e-5, atol=1e-4)


def loaded(content):
    """The program of a .pt2 file, for numpy."""
    program = torch.export.load(io.BytesIO(content)).module()
    return lambda *inputs: program(*map(torch.as_tensor, inputs)).numpy()


def in_runtime(content):
    """What onnxruntime makes of an .onnx file."""
    runtime = pytest.importorskip("onnxruntime", reason="not tested: the extra export is missing")
    session = runtime.InferenceSession(content)
    (rows,) = session.get_inputs()
    assert (rows.name, rows.shape[0]) == ("rows", "N")
    return lambda rows: session.run(["log_prob"], {"rows": rows})[0]


@pytest.mark.parametrize(("name", "context"), IN_TORCH)
def test_a_program_of_torch_gives_the_densities_of_the_run(name, context):
    run = trained(name, context)
    content = export.torch_program(run)
    assert HERE not in content  # no paths of this computer
    program = loaded(content)
    check(program, run)
    assert program(np.empty((0, FEATURES))).shape == (0,)
    assert all(parameter.requires_grad for parameter in run.model.parameters())  # as they were


@pytest.mark.parametrize(("name", "context"), IN_ONNX)
def test_an_onnx_file_gives_the_densities_of_the_run(name, context):
    pytest.importorskip("onnxscript", reason="not tested: the extra export is missing")
    run = trained(name, context)
    content = export.onnx_program(run)
    assert HERE not in content
    program = in_runtime(content)
    check(program, run)
    assert program(np.empty((0, FEATURES))).shape == (0,)


@pytest.mark.parametrize("name", WITHOUT_ONNX)
def test_what_onnx_cannot_express_is_refused(name):
    pytest.importorskip("onnxscript", reason="not tested: the extra export is missing")
    with pytest.raises(UsageError, match=f"{name} cannot be exported to ONNX"):
        export.onnx_program(trained(name))


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("gaussian", 0),
        ("iaf", 0),
        ("elementwise", 0),
        *((n, models.CLASSES) for n in ("realnvp", "nsf-coupling")),
    ],
)
def test_a_program_draws_the_rows_of_the_run_in_one_pass(name, context):
    """The rows lead back to the noise; with steps they are those of maf-sample."""
    plain = replace(TABLE, steps=(), origins=())
    run = trained(name, context, plain)
    noise, given = models.rows(17, FEATURES, context)
    inputs = [noise] if given is None else [noise, given.argmax(dim=1)]
    rows = loaded(export.torch_sampler(run))(*inputs)
    assert rows.dtype == np.float64
    inside = torch.from_numpy(plain.to_model(rows)).to(run.model.reference)
    given = None if given is None else given.to(inside)
    again = run.model.standard_noise(inside, given).detach()
    np.testing.assert_allclose(again, noise, atol=2e-3)
    if name == "realnvp":
        whole = loaded(export.torch_sampler(replace(run, table=TABLE)))(*inputs)
        np.testing.assert_allclose(whole, TABLE.without_noise(rows))


def test_a_program_draws_categories_that_there_are():
    table = replace(TABLE, categories=((), (), ("a", "b")), origins=(0.0, 0.0, 0.0))
    noise = 9 * models.rows(200, FEATURES)[0]
    codes = loaded(export.torch_sampler(trained("gaussian", table=table)))(noise)[:, 2]
    assert set(codes) == {0, 1}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("maf", "maf computes one variable after another"),
        ("made-mog", "made-mog has no map from noise to rows"),
        ("realnvp-logistic", "the noise of realnvp-logistic is not standard normal"),
        (
            "nsf-coupling-sigmoidal",
            "torch cannot export the way of nsf-coupling",
        ),
    ],
)
def test_it_is_said_why_there_is_no_program_for_sampling(name, reason):
    with pytest.raises(UsageError, match=reason):
        export.torch_sampler(trained(name))


class Shifted(torch.nn.Module):
    """A model from outside, of which `kind` says what is odd."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.shift = kind, torch.nn.Parameter(torch.full((FEATURES,), 0.5))

    def log_prob(self, x, context=None):
        nats = torch.distributions.Normal(self.shift, 1.0).log_prob(x).sum(dim=1)
        if self.kind == "random":
            return nats + torch.rand(len(x))
        if self.kind == "branching" and x.sum() > 0:
            return 2 * nats
        return nats


def test_a_model_from_outside_as_far_as_it_goes():
    def run(kind):
        return of_model(Foreign(Shifted(kind), FEATURES, 0, "Shifted"))

    check(loaded(export.torch_program(run("plain"))), run("plain"))
    with pytest.raises(UsageError, match="a model cannot be exported by torch"):
        export.torch_program(run("branching"))
    with pytest.raises(UsageError, match="the program gives other densities than the model"):
        export.torch_program(run("random"))
    with pytest.raises(UsageError, match="has no map from noise to rows"):
        export.torch_sampler(run("plain"))


def test_zuko_as_far_as_it_goes():
    pytest.importorskip("zuko", reason="not tested: the extra zuko is missing")
    from maf_runner.flows.zuko import Zuko

    nsf = Zuko(FEATURES, kind="NSF", settings={"transforms": 2, "hidden_features": [8]})
    check(loaded(export.torch_program(of_model(nsf.eval()))), of_model(nsf))
    with pytest.raises(UsageError, match="cannot be exported by torch"):
        export.torch_program(of_model(Zuko(2, kind="CNF", settings={}).eval(), table=None))


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch):
    for form, module in (("onnx_program", "onnxscript"), ("safetensors", "safetensors")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, f"{module}.torch", None)
        with pytest.raises(UsageError, match=rf"needs {module}.*pip install '\.\[export\]'"):
            getattr(export, form)(trained("made"))


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """Runs on a user's table: Real NVP given the class, and MAF. And one on pictures."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 3)) * [20, 0.1, 3] + [1.7e9, 4, 50]
    frame = pd.DataFrame(rows, columns=["seconds", "share", "weight"])
    load = np.where(rng.random(600) < 0.1, np.nan, rng.normal(40, 5, 600))
    frame.assign(load=load, kind=np.where(rng.random(600) < 0.25, "rare", "usual")).to_csv(
        folder / "table.csv", index=False
    )

    def run(*words):
        words = [*words, "model.layers=2", "trainer.max_epochs=3", "threads=1"]
        done = server("maf-run", "model.hidden=[16]", *words, cwd=folder, check=0)
        return Path(done.stdout.strip())

    table = ["dataset=file", "dataset.path=table.csv", "dataset.columns=[seconds,share,weight]"]
    label = ["dataset.label=kind", "dataset.class_prior=empirical", "model.conditional=true"]
    return {
        "by class": run("model=realnvp", *table, *label),
        "maf": run("model=maf", *table),
        "given": run("model=realnvp", *table, "dataset.context=[load,kind]",
                     "dataset.missing=indicator", "dataset.bounded={share: [0,null]}"),
        "digits": run("model=maf"),
        "table": frame,
        "load": load,
    }  # fmt: skip


def test_the_installed_command_writes_onnx(runs, installed, tmp_path):
    """The marginal by the prior of the classes, in the units of the table; what it prints."""
    pytest.importorskip("onnxscript", reason="not tested: the extra export is missing")
    done = installed("maf-export", runs["by class"], "--format", "onnx", check=0)
    assert (done.stdout, done.stderr) == ("model.onnx\n", "")
    content = (tmp_path / "model.onnx").read_bytes()
    run = TrainedRun.load(runs["by class"])
    assert run.prior is not None and run.prior[0] != run.prior[1]
    rows = runs["table"].to_numpy()
    nats = run.log_prob(run.table.to_model(rows)) + run.table.log_det(rows)
    np.testing.assert_allclose(in_runtime(content)(rows), nats, atol=1e-4)
    import onnx

    (about,) = onnx.load_from_string(content).metadata_props
    assert about.key == "record"
    assert Record.from_json(json.loads(about.value)) == run.record


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_a_model_given_columns_takes_their_values(runs, command, tmp_path, form):
    """Numbers in the units of the table, a flag where one is missing, categories one-hot."""
    if form == "onnx":
        pytest.importorskip("onnxscript", reason="not tested: the extra export is missing")
    ending = {"torch": "pt2", "onnx": "onnx"}[form]
    said = command(
        "maf-export", runs["given"], "--format", form, "--out", f"m.{ending}", check=0
    ).stderr
    assert "context [N, 4]: load, load is missing, kind=rare, kind=usual\n" in said
    run, rows = TrainedRun.load(runs["given"]), runs["table"].to_numpy()[:50]
    load, kind = runs["load"][:50], ["rare", "usual"] * 25
    frame = pd.DataFrame({"load": load, "kind": kind})
    expected = run.log_prob(run.table.to_model(rows), run.context.encode(frame, ""))
    expected += run.table.log_det(rows)
    flag = np.isnan(load)
    one_hot = np.array([[1.0, 0.0], [0.0, 1.0]] * 25)
    context = np.column_stack([np.nan_to_num(load), flag, one_hot])
    content = (tmp_path / f"m.{ending}").read_bytes()
    rows, expected = rows.copy(), expected.copy()
    rows[0, 1], expected[0] = -1.0, -np.inf  # outside of its bound
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(content)
        nats = session.run(None, {"rows": rows, "context": context})[0]
    else:
        nats = loaded(content)(rows, context)
        sampler = loaded((tmp_path / "m_sample.pt2").read_bytes())
        noise = np.random.default_rng(0).normal(size=(50, 3))
        drawn = sampler(noise, context)
        assert np.isfinite(drawn).all() and (drawn[:, 1] > 0).all()
    assert flag.any()
    np.testing.assert_allclose(nats, expected, rtol=1e-5, atol=1e-4)


def test_files_of_torch_and_safetensors(runs, command, tmp_path):
    out = ("--format", "torch", "--out")
    done = command("maf-export", runs["by class"], *out, "a.pt2", check=0)
    assert done.stdout.split() == ["a.pt2", "a_sample.pt2"] and not done.stderr
    rows = loaded((tmp_path / "a_sample.pt2").read_bytes())(np.zeros((2, 3)), [0, 1])
    assert (np.abs(rows - runs["table"].mean().to_numpy()) < [100, 0.5, 15]).all()
    done = command("maf-export", runs["digits"], *out, "digits.pt2", check=0)
    assert done.stdout.split() == ["digits.pt2"]
    assert "maf-export: no program for sampling: MAF (2) computes one" in done.stderr
    check_digits = loaded((tmp_path / "digits.pt2").read_bytes())
    run = TrainedRun.load(runs["digits"])
    logits, _ = run.draw_samples(20, seed=3)
    np.testing.assert_allclose(
        check_digits(logits.astype(np.float64)), run.log_prob(logits), rtol=1e-5, atol=1e-4
    )
    # The parameters of a run share one buffer, which is not written once for each of them.
    stored = sum(tensor.nbytes for tensor in run.model.state_dict().values())
    assert (tmp_path / "digits.pt2").stat().st_size < 2 * stored + 200_000
    record = {"record.json": ""}
    torch.export.load(tmp_path / "digits.pt2", extra_files=record)
    assert Record.from_json(json.loads(record["record.json"])) == run.record

    tensors = pytest.importorskip("safetensors", reason="not tested: the extra export is missing")
    done = command("maf-export", runs["maf"], "--format", "safetensors", check=0)
    assert done.stdout.split() == ["model.safetensors", "model.record.json"]
    run = TrainedRun.load(runs["maf"])
    with tensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert file.metadata()["record"] == (tmp_path / "model.record.json").read_text()
    assert Record.read(tmp_path / "model.record.json") == run.record
    state = run.model.state_dict()
    assert kept.keys() == state.keys() and all(kept[name].equal(state[name]) for name in state)


def test_out_has_the_rules_of_maf_sample(runs, command, tmp_path):
    def export_to(out, code, form="safetensors"):
        return command("maf-export", runs["maf"], "--format", form, "--out", out, check=code)

    assert "--out must end in .pt2 for --format torch" in export_to("a.onnx", 2, "torch").stderr
    assert "is a folder" in export_to(tmp_path, 2).stderr
    assert "cannot be written" in export_to("no/where.safetensors", 3).stderr
    assert export_to("/dev/null", 0).stdout == ""
    assert "invalid choice: 'h5'" in export_to("a.h5", 2, "h5").stderr
    assert (
        "is not a run folder"
        in command("maf-export", "nowhere", "--format", "onnx", check=3).stderr
    )
    assert not list(tmp_path.iterdir())
