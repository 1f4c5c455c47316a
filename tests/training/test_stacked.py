"""Runs trained as one stack against the same runs, each trained alone."""

import math

import pytest
import torch

from maf_runner.flows import MAF, RealNVP
from maf_runner.system.errors import Interrupted
from maf_runner.system.interrupts import Interrupts
from maf_runner.training import Checkpoint, TrainerSettings, fit
from maf_runner.training import checkpoint as checkpoints
from maf_runner.training.course import TensorRows
from maf_runner.training.stacked import Member, fit_stacked
from tests.helpers.progress import Silent
from tests.helpers.settings import TRAINER

RUNS = [
    {"learning_rate": 3e-2, "patience": 2},
    {"learning_rate": 1e-2, "patience": 4, "l2": 1e-2},
    {
        "learning_rate": 1e-2,
        "patience": 30,
        "max_epochs": 9,
        "averaging": 0.9,
        "schedule": "cosine",
    },
    {"learning_rate": 3e-3, "patience": 30, "max_updates": 58},
]


def other_run(monkeypatch, settings):
    """The second run has these settings."""
    runs = [RUNS[0], settings, *RUNS[2:]]
    monkeypatch.setattr("tests.training.test_stacked.RUNS", runs)


def rows(n, seed, context=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, dtype=torch.float64, generator=generator)
    given = torch.eye(3, dtype=torch.float64)[torch.arange(n) % 3] if context else None
    return TensorRows(x if given is None else x + given, given)


def made(seed, context=0, kind=MAF):
    """A model whose vectors are not 0.

    The last shift of a flow has no gradient at 0 but rounding, and at a high rate Adam takes it
    away from there in steps that only rounding decides.
    """
    torch.manual_seed(seed)
    if kind is RealNVP:
        model = RealNVP(3, layers=2, hidden=[8], context=context).double()
    else:
        network = {"activation": "tanh", "degrees": "random", "mask": "paper", "context": context}
        model = MAF(3, layers=2, hidden=[8, 8], **network).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter) * (parameter.ndim == 1))
    return model


def given(tmp_path, k, **changes):
    """What `fit` and a member need of run k alike."""
    return {
        "settings": TrainerSettings(**{**TRAINER, **RUNS[k], **changes}),
        "seed": k,
        "checkpoint": Checkpoint(tmp_path / f"{k}.pt", {"run_id": str(k)}),
    }


def alone(tmp_path, k, *, context=0, kind=MAF, engine="eager", data=None, **changes):
    """The model and the outcome of run k by itself."""
    model = made(k, context, kind)
    train, validation = data or (rows(90, 5, context), rows(30, 6, context))
    options = given(tmp_path, k, **changes)
    outcome = fit(
        model, train, validation, options.pop("settings"), **options, engine=engine, image=None,
        interrupts=Interrupts(), progress=Silent(None), on_validation=lambda state: None,
    )  # fmt: skip
    return model, outcome


def stacked(
    tmp_path, runs=(0, 1, 2, 3), *, stop_at=None, context=0, kind=MAF, data=None, told=None
):
    """The models and the outcomes of these runs, trained together."""
    interrupts = Interrupts()
    told = [] if told is None else told
    members = [
        Member(
            model=made(k, context, kind),
            **given(tmp_path, k),
            progress=Silent(interrupts, stop_at if k == runs[-1] else None),
            on_validation=lambda state, k=k: told.append((k, state.epoch)),
            on_end=lambda outcome, k=k: told.append((k, outcome.reason)),
        )
        for k in runs
    ]
    train, validation = data or (rows(90, 5, context), rows(30, 6, context))
    outcomes = fit_stacked(
        members, train, validation, engine="eager", image=None, interrupts=interrupts
    )
    return [member.model for member in members], outcomes


def compare(found, expected):
    """Two pairs of model and outcome."""
    (model, outcome), (other, wanted) = found, expected
    assert outcome.reason == wanted.reason
    assert outcome.state.best_epoch == wanted.state.best_epoch
    for row, target in zip(outcome.state.history, wanted.state.history, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**target, "seconds": 0}, abs=1e-9)
    assert not model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "context"), [(MAF, 0), (MAF, 3), (RealNVP, 0)])
def test_every_run_ends_as_it_would_alone(tmp_path, kind, context):
    told = []
    models, outcomes = stacked(tmp_path, context=context, kind=kind, told=told)
    for k, found in enumerate(zip(models, outcomes, strict=True)):
        (tmp_path / "alone").mkdir(exist_ok=True)
        compare(found, expected := alone(tmp_path / "alone", k, context=context, kind=kind))
        epochs = list(range(1, expected[1].state.epoch + 1))
        assert [what for run, what in told if run == k] == [*epochs, expected[1].reason]
        assert found[1].engine == "stacked"
    assert len({outcome.state.epoch for outcome in outcomes}) > 2  # they left one by one
    assert {outcome.reason for outcome in outcomes} == {"patience", "max_epochs", "max_updates"}


@pytest.mark.parametrize("stop_at", [1, 13, 15, 47])
def test_an_interrupted_stack_leaves_runs_that_go_on_alone(tmp_path, stop_at):
    """In the middle of an epoch, at its end, and when some have ended."""
    with pytest.raises(Interrupted):
        stacked(tmp_path, stop_at=stop_at)
    (tmp_path / "alone").mkdir()
    for k in range(4):
        saved = checkpoints.load(tmp_path / f"{k}.pt", {"run_id": str(k)})
        assert saved["path"] == "stacked" and saved["state"]["update"] <= stop_at
        model, outcome = alone(tmp_path, k)
        assert outcome.state.resumed == 1 and outcome.engine == "eager"
        compare((model, outcome), alone(tmp_path / "alone", k))


def test_runs_at_different_places_go_on_in_a_stack(tmp_path):
    """One has not begun, one was interrupted earlier, one has ended."""
    with pytest.raises(Interrupted):
        stacked(tmp_path, (1, 3), stop_at=12)
    with pytest.raises(Interrupted):
        stacked(tmp_path, (0, 3), stop_at=20)
    alone(tmp_path, 2)
    models, outcomes = stacked(tmp_path)
    assert [outcome.state.resumed for outcome in outcomes] == [1, 1, 1, 2]
    (tmp_path / "alone").mkdir()
    for k, found in enumerate(zip(models, outcomes, strict=True)):
        compare(found, alone(tmp_path / "alone", k))


def test_what_goes_on_alone_takes_the_engine_of_a_run_alone(tmp_path):
    with pytest.raises(Interrupted):
        stacked(tmp_path, stop_at=20)
    _, outcome = alone(tmp_path, 3, engine="auto")
    _, fresh = alone(tmp_path, 3, engine="auto", max_updates=1)
    assert outcome.state.resumed == 1 and outcome.engine == fresh.engine != "stacked"


def test_a_run_that_diverges_leaves_the_others_alone(tmp_path, monkeypatch):
    other_run(monkeypatch, {"learning_rate": 1e200})
    models, outcomes = stacked(tmp_path)
    assert outcomes[1].reason == "diverged" and not outcomes[1].has_model
    assert outcomes[1].divergence["update"] <= 5
    (tmp_path / "alone").mkdir()
    for k in (0, 2, 3):
        compare((models[k], outcomes[k]), alone(tmp_path / "alone", k))


def test_weights_of_rows(tmp_path):
    train, validation = rows(90, 5), rows(30, 6)
    weights = torch.linspace(0.5, 1.5, 90, dtype=torch.float64)
    data = train._replace(weights=weights), validation._replace(weights=weights[::3])
    models, outcomes = stacked(tmp_path, data=data)
    (tmp_path / "alone").mkdir()
    for k, found in enumerate(zip(models, outcomes, strict=True)):
        compare(found, alone(tmp_path / "alone", k, data=data))
    assert math.isfinite(outcomes[0].state.best_validation)


def test_runs_with_other_batches_are_refused(tmp_path, monkeypatch):
    other_run(monkeypatch, {"batch_size": 10})
    with pytest.raises(ValueError, match="the same batch_size"):
        stacked(tmp_path)
