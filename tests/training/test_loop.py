"""The optimiser by hand, the order of the batches, early stopping, and the way back."""

import errno
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.engine import driver, products
from maf_runner.engine.adam import AdamSettings, PaperAdam
from maf_runner.engine.driver import GRAPH, Driver
from maf_runner.engine.graph import Graph
from maf_runner.engine.products import fast_products
from maf_runner.engine.rows import log_prob_of_rows
from maf_runner.flows import MADE, MAF, NSF, Density
from maf_runner.flows.foreign import Foreign
from maf_runner.system.errors import Interrupted
from maf_runner.system.interrupts import Interrupts
from maf_runner.training import Checkpoint, DamagedCheckpointError, TrainerSettings, fit
from maf_runner.training import checkpoint as checkpoints
from maf_runner.training.batches import Batches
from maf_runner.training.course import TensorRows
from maf_runner.training.noise import FreshNoise
from maf_runner.training.schedule import Schedule
from maf_runner.training.state import State, divergence
from tests.helpers.models import MAP
from tests.helpers.progress import Silent
from tests.helpers.settings import TRAINER


def data(n=90, features=3):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(n, features, generator=generator)
    return TensorRows(x, None)


IMAGE = LogitSpace((1, 3), levels=16, alpha=0.01)


def train(
    tmp_path, *, image=IMAGE, stop_at=None, model="maf", name="last.pt", rows=None, **changes
):
    torch.manual_seed(0)
    network = {"hidden": [8], "activation": "relu", "degrees": "sequential", "mask": "paper"}
    model = MAF(3, layers=2, **network) if model == "maf" else MADE(3, **network)
    interrupts = Interrupts()
    outcome = fit(
        model,
        rows or data(),
        data(30),
        TrainerSettings(**{**TRAINER, **changes}),
        image=image,
        seed=7,
        checkpoint=Checkpoint(tmp_path / name, {"run_id": "x"}),
        interrupts=interrupts,
        progress=Silent(interrupts, stop_at),
        on_validation=lambda state: None,
    )
    return model, outcome


def test_adam_against_the_authors_formula_by_hand():
    """Epsilon inside the root, beta^(t+1) at step t = 1, 2, ..., L2 in the gradient."""
    theta, m, v = [0.5, -2.0], [0.0, 0.0], [0.0, 0.0]
    parameters = [torch.nn.Parameter(torch.tensor([t], dtype=torch.float64)) for t in theta]
    adam = PaperAdam(parameters, AdamSettings(betas=(0.9, 0.999), epsilon=1e-8, l2=0.01))
    adam.rate.fill_(0.1)
    for t in (1, 2, 3):
        adam.zero_grad()
        (parameters[0] ** 2 * 1e-4 + 3 * parameters[1]).sum().backward()
        adam.step()
        slopes = [2e-4 * theta[0], 3.0]
        for i in range(2):
            g = slopes[i] + 0.01 * theta[i]
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            m_hat, v_hat = m[i] / (1 - 0.9 ** (t + 1)), v[i] / (1 - 0.999 ** (t + 1))
            theta[i] -= 0.1 * m_hat / math.sqrt(v_hat + 1e-8)
        assert [p.item() for p in parameters] == pytest.approx(theta, rel=1e-12)


def test_adam_is_not_the_textbook_one():
    """The first step is 0.1/0.19 : 1 of m over sqrt(v) as they correct it, not 1."""
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    adam = PaperAdam([parameter], AdamSettings(betas=(0.9, 0.999), epsilon=1e-8, l2=0.0))
    adam.rate.fill_(1.0)
    parameter.grad = torch.ones(1, dtype=torch.float64)
    adam.step()
    assert parameter.item() == pytest.approx(-(0.1 / 0.19) / math.sqrt(0.001 / 0.001999), rel=1e-6)


@pytest.mark.parametrize("clip", [None, 0.3])
def test_the_textbook_adam_is_that_of_torch(clip):
    """With and without a limit on the norm of the gradient."""
    ours, theirs = (
        [torch.nn.Parameter(torch.tensor(t, dtype=torch.float64)) for t in ([0.5, -2.0], [[1.0]])]
        for _ in range(2)
    )
    usual = {**TRAINER, "l2": 0.0, "optimiser": "textbook", "clip": clip}
    adam = PaperAdam(ours, TrainerSettings(**usual).adam)
    reference = torch.optim.Adam(theirs, lr=0.1, eps=1e-8)
    adam.rate.fill_(0.1)
    for scale in (1e-3, 1.0, 30.0, 1e-2):
        for parameters in (ours, theirs):
            for parameter in parameters:
                parameter.grad = None
            (scale * (parameters[0].square().sum() + parameters[1].sum().exp())).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(theirs, clip)
        adam.step()
        reference.step()
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_validations_by_number_of_updates(tmp_path):
    """Not by epoch; the limits and the schedule still count epochs and updates."""
    usual = {"validate_every": 4, "patience": None}
    _, outcome = train(tmp_path, name="epochs", max_epochs=2, **usual)  # of 5 updates each
    assert outcome.reason == "max_epochs" and outcome.state.update == 10
    assert [row["updates"] for row in outcome.state.history] == [4, 8, 10]
    _, outcome = train(tmp_path, name="updates", max_updates=7, **usual)
    assert outcome.reason == "max_updates"
    assert [row["updates"] for row in outcome.state.history] == [4, 7]
    _, outcome = train(tmp_path, name="patience", validate_every=2, patience=3)
    assert outcome.reason == "patience"
    assert outcome.state.update == 2 * outcome.state.epoch == 2 * (outcome.state.best_epoch + 3)
    with pytest.raises(ValueError, match="training would not end: give patience, max_epochs or"):
        TrainerSettings(**{**TRAINER, "patience": None})
    for bad in ({"clip": 0.0}, {"validate_every": 0}, {"optimiser": "sgd"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            TrainerSettings(**{**TRAINER, **bad})


class Noisy(torch.nn.Module):
    """A model from outside that draws numbers in its own way."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(3))

    def log_prob(self, x, context=None):
        noise = torch.randn_like(x) if self.training else 0
        return -0.5 * (x + noise - self.shift).square().sum(1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: NSF(3, layers=1, hidden=[16], dropout=0.5, linear="lu", **MAP),
        lambda: Foreign(Noisy(), 3, 0, "noisy"),
    ],
    ids=["dropout", "from outside"],
)
def test_a_resumed_run_draws_the_same(tmp_path, make):
    """What an update draws is a function of the seed and its number."""

    def run(name, stop_at=None):
        torch.manual_seed(0)
        model = make()
        torch.manual_seed(1 if stop_at is None else 2)
        interrupts = Interrupts()
        settings = TrainerSettings(
            **{**TRAINER, "max_epochs": 2, "optimiser": "textbook", "clip": 5.0}
        )
        fit(
            model, data(), data(30), settings, image=None, seed=7,
            checkpoint=Checkpoint(tmp_path / name, {}), interrupts=interrupts,
            progress=Silent(interrupts, stop_at), on_validation=lambda state: None,
        )  # fmt: skip
        return model.state_dict()

    whole = run("whole")
    with pytest.raises(Interrupted):
        run("parts", stop_at=3)
    for key, value in run("parts").items():
        assert torch.equal(value, whole[key]), key


def test_every_row_once_before_any_twice():
    batches = Batches(rows=7, size=3, seed=1)
    drawn = torch.cat([batches.at(i) for i in range(7)])
    for epoch in drawn.split(7):
        assert sorted(epoch.tolist()) == list(range(7))
    assert not torch.equal(drawn[:7], drawn[7:14])
    again = Batches(rows=7, size=3, seed=1)
    assert torch.equal(again.at(5), drawn[15:18])  # the place is the number of the update alone
    assert not torch.equal(Batches(rows=7, size=7, seed=2).at(0), drawn[:7])
    assert len(Batches(rows=2, size=5, seed=0).at(3)) == 5


def test_early_stopping_keeps_the_best(tmp_path):
    model, outcome = train(tmp_path)
    history = outcome.state.history
    best = max(history, key=lambda row: row["validation_nats"])
    assert outcome.reason == "patience"
    assert outcome.state.best_epoch == best["epoch"] == len(history) - 3
    assert [row["updates"] for row in history] == [5 * (i + 1) for i in range(len(history))]
    nats = float(log_prob_of_rows(model, data(30).x).mean())
    assert nats == best["validation_nats"] == outcome.state.best_validation


def test_limits(tmp_path):
    assert train(tmp_path, max_epochs=2, name="a")[1].reason == "max_epochs"
    _, outcome = train(tmp_path, max_updates=7, name="b")
    assert outcome.reason == "max_updates"
    assert (outcome.state.update, outcome.state.epoch) == (7, 2)


TUNED = {
    "averaging": 0.9,
    "schedule": "cosine",
    "warmup": 0.1,
    "fresh_noise": True,
    "max_epochs": 12,
}


@pytest.mark.parametrize("stop_at", [1, 5, 7, 23])
@pytest.mark.parametrize("changes", [{}, TUNED], ids=["paper", "tuned"])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, stop_at, changes):
    whole, expected = train(tmp_path, name="whole.pt", **changes)
    with pytest.raises(Interrupted):
        train(tmp_path, stop_at=stop_at, **changes)
    resumed, outcome = train(tmp_path, **changes)
    assert outcome.state.resumed == 1
    for row, other in zip(expected.state.history, outcome.state.history, strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}
    for (key, one), other in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), key


def test_a_run_begun_on_a_gpu_goes_on_without_one(tmp_path, monkeypatch):
    whole, _ = train(tmp_path, name="whole.pt")
    with pytest.raises(Interrupted):
        train(tmp_path, stop_at=7)
    state = checkpoints.load(tmp_path / "last.pt", {})
    checkpoints.save(tmp_path / "last.pt", {**state, "device": "cuda", "path": GRAPH})
    tried = []
    monkeypatch.setattr(Graph, "prepare", lambda *batch: tried.append(batch))
    resumed, outcome = train(tmp_path)
    assert outcome.state.resumed == 1 and not tried
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_the_earlier_layout_is_resumed(tmp_path):
    """Its state stood beside the other entries, and torch's generator with it."""
    whole, expected = train(tmp_path, name="whole.pt")
    with pytest.raises(Interrupted):
        train(tmp_path, stop_at=7)
    content = checkpoints.load(tmp_path / "last.pt", {})
    state = content.pop("state")
    earlier = {**content, **state, "generator": torch.get_rng_state()}
    torch.save(earlier, tmp_path / "last.pt")
    resumed, outcome = train(tmp_path)
    assert outcome.state.resumed == 1 and outcome.state.best_epoch == expected.state.best_epoch
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_field_that_a_checkpoint_does_not_have_gets_its_default():
    saved = {**vars(State(update=7, epoch=2)), "unknown": 1}
    del saved["best_epoch"]
    state = State.from_saved(saved)
    assert (state.update, state.epoch, state.best_epoch) == (7, 2, 0)


class Vectors(Density):
    """N(shift, diag(exp(scale)^2)): a model without any matrix."""

    title = "vectors"

    def __init__(self, features):
        super().__init__(features)
        self.shift = torch.nn.Parameter(torch.zeros(features))
        self.scale = torch.nn.Parameter(torch.zeros(features))

    def forward(self, x, context=None):
        u = (x - self.shift) * torch.exp(-self.scale)
        return (-0.5 * (u.square() + math.log(2 * math.pi)) - self.scale).sum(dim=1)


@pytest.mark.parametrize("changes", [{}, {**TUNED, "width": 10}], ids=["paper", "tuned"])
def test_a_model_without_matrices_is_trained(tmp_path, changes):
    torch.manual_seed(0)
    model, rows = Vectors(3), data(200)
    rows = TensorRows(2 * rows.x + 1, None)
    outcome = fit(
        model, rows, rows, TrainerSettings(**{**TRAINER, "max_epochs": 40, **changes}),
        image=None, seed=1, checkpoint=Checkpoint(tmp_path / "last.pt", {}),
        interrupts=Interrupts(), progress=Silent(), on_validation=lambda state: None,
    )  # fmt: skip
    history = outcome.state.history
    assert history[-1]["validation_nats"] > history[0]["validation_nats"] + 0.5
    assert float(model(rows.x).mean().detach()) == pytest.approx(
        outcome.state.best_validation, abs=1e-5
    )


def test_the_rate_rises_then_falls_along_a_cosine():
    settings = TrainerSettings(
        **{**TRAINER, "max_epochs": 10, "schedule": "cosine", "warmup": 0.1, "learning_rate": 2.0}
    )
    rates = [Schedule(settings, 4).rate(update) for update in range(40)]
    cosine = [1 + math.cos(math.pi * update / 36) for update in range(36)]
    assert rates == pytest.approx([0.4, 0.8, 1.2, 1.6, *cosine])
    assert max(rates) == 2.0 and 0 < rates[-1] < 0.01
    assert Schedule(replace(settings, max_updates=20), 4).rate(11) == pytest.approx(1.0)
    assert Schedule(replace(settings, schedule="constant"), 4).rate(1) == pytest.approx(0.8)
    assert Schedule(replace(settings, schedule="constant"), 4).rate(39) == 2.0
    constant = Schedule(TrainerSettings(**TRAINER), 4)
    assert {constant.rate(update) for update in (0, 10**6)} == {1e-2}


def test_patience_is_not_lost_while_the_rate_rises(tmp_path):
    """Of a rate far too high, which makes nothing better after the first updates."""
    too_high = {"learning_rate": 0.3, "max_epochs": 20}
    _, plain = train(tmp_path, name="plain", **too_high)
    _, warm = train(tmp_path, name="warm", **too_high, warmup=0.5)
    assert plain.reason == warm.reason == "patience"
    assert plain.state.epoch == plain.state.best_epoch + 3 < 10
    assert warm.state.best_epoch < 10 and warm.state.epoch == 13


def test_the_rate_is_for_the_width():
    settings = TrainerSettings(**TRAINER, width=100)
    assert settings.for_width(1000).learning_rate == pytest.approx(1e-3)
    assert settings.for_width(10).learning_rate == 1e-2
    assert TrainerSettings(**TRAINER).for_width(1000).learning_rate == 1e-2


def test_pictures_with_new_noise_keep_their_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 784))
    space = LogitSpace((28, 28), levels=256, alpha=1e-6)
    noise = np.random.default_rng(1).random(pixels.shape)
    x = torch.from_numpy(space.to_logits((pixels + noise) / 256).astype(np.float32))
    fresh, rows = FreshNoise(x, space, seed=3), torch.tensor([4, 0, 9])
    first, second = fresh.batch(rows, 0), fresh.batch(rows, 1)
    assert first.dtype == x.dtype and torch.equal(first, FreshNoise(x, space, 3).batch(rows, 0))
    assert not torch.equal(first, FreshNoise(x, space, 4).batch(rows, 0))
    drawn = [space.to_unit(batch.numpy()) * 256 - pixels[rows] for batch in (first, second)]
    for u in drawn:
        assert (u > -1e-3).all() and (u < 1 + 1e-3).all()  # to float32
        assert abs(u.mean() - 0.5) < 0.03 and abs(u.var() - 1 / 12) < 0.01
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.1


def test_only_pictures_get_new_noise(tmp_path):
    def weights(name, **options):
        return train(tmp_path, name=name, max_epochs=2, **options)[0].state_dict()

    plain, fresh = weights("a"), weights("b", fresh_noise=True)
    table = weights("c", fresh_noise=True, image=None)
    assert all(torch.equal(plain[key], table[key]) for key in plain)
    assert not all(torch.equal(plain[key], fresh[key]) for key in plain)


def test_a_prior_is_a_penalty_that_falls_with_the_rows():
    settings = TrainerSettings(**{**TRAINER, "l2": 0.5}, prior_precision=30.0)
    assert settings.for_rows(60).l2 == 1.0 and settings.for_rows(60).for_rows(9).l2 == 1.0


def test_what_is_validated_and_kept_is_the_average():
    torch.manual_seed(0)
    model = MADE(3, hidden=[8], activation="tanh", degrees="sequential", mask="paper")
    engine = Driver(model, TrainerSettings(**TRAINER).adam, "eager", averaging=0.9)
    seen = [engine.engine.parameters.clone()]
    for update in range(1, 41):
        engine.step(data().x, None, 1e-2)
        if update == 9:  # there is no average yet, and the first parameters are no model
            known = engine.averaged_model()["transforms.0.network.layers.0.weight"]
            assert torch.equal(known, model.state_dict()["transforms.0.network.layers.0.weight"])
        if update % 10 == 0:
            seen.append(engine.engine.parameters.clone())
    expected, decay = seen[0], 0.9**10
    for turn, parameters in enumerate(seen[1:], 1):
        kept = min(decay, turn / (turn + 9))
        expected = kept * expected + (1 - kept) * parameters
    averaged = engine.averaged_model()
    inside = torch.cat([averaged[name].reshape(-1) for name, _ in model.named_parameters()])
    torch.testing.assert_close(inside, expected)
    assert torch.equal(engine.engine.parameters, seen[-1]) and not torch.equal(inside, seen[-1])


def test_divergence_is_a_status_with_its_place(tmp_path):
    rows = data()
    poisoned = TensorRows(rows.x.clone(), None)
    victim = int(Batches(rows=90, size=20, seed=7).at(2)[4])
    poisoned.x[victim] = 1e30
    _, outcome = train(tmp_path, rows=poisoned)
    assert outcome.reason == "diverged"
    assert outcome.divergence["update"] == 3
    assert math.isfinite(outcome.divergence["last_finite_loss"])


def test_a_validation_that_is_not_finite_costs_one_of_the_patience(tmp_path, monkeypatch):
    """As in the authors' program: no improvement, and training goes on."""
    nats = iter([-5.0, -4.0, -math.inf, math.nan, -3.0, math.nan, math.inf, -3.5])
    monkeypatch.setattr(driver, "log_prob_of_rows", lambda *a, **k: torch.tensor([next(nats)]))
    _, outcome = train(tmp_path, patience=3)
    assert outcome.reason == "patience" and outcome.divergence is None
    assert (outcome.state.epoch, outcome.state.best_epoch) == (8, 5)
    assert outcome.state.best_validation == -3.0


def test_no_finite_validation_is_a_divergence(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "log_prob_of_rows", lambda *a, **k: torch.tensor([-math.inf]))
    _, outcome = train(tmp_path, patience=3)
    assert outcome.reason == "diverged" and not outcome.has_model
    assert outcome.divergence["of"] == "validation" and outcome.divergence["update"] == 15


def test_the_best_parameters_outlive_a_divergence(tmp_path, monkeypatch):
    """Steps far too large, from the middle of the third epoch of five updates."""
    rate = Schedule.rate
    monkeypatch.setattr(
        Schedule, "rate", lambda self, update: 1e30 if update > 11 else rate(self, update)
    )
    model, outcome = train(tmp_path)
    assert outcome.reason == "diverged" and outcome.has_model
    assert 13 <= outcome.divergence["update"] <= 15 and outcome.state.epoch == 2
    best = outcome.state.history[outcome.state.best_epoch - 1]["validation_nats"]
    assert log_prob_of_rows(model, data(30).x).mean() == pytest.approx(best, abs=1e-6)


def test_a_loss_that_falls_without_end_is_told_from_one_that_rises():
    history = [{"train_nats": 4.0}, {"train_nats": 5.0}]
    for last, falling in ((-90.0, True), (7.0, False)):
        losses = torch.tensor([-6.0, last, math.nan, math.nan])
        found = divergence(losses, 20, history)
        assert found == {
            "of": "loss", "update": 23, "last_finite_loss": last, "falling": falling
        }  # fmt: skip


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, monkeypatch):
    complaints = []
    checkpoint = Checkpoint(tmp_path / "last.pt", {"run_id": "x"}, complain=complaints.append)
    assert checkpoint.load() is None
    checkpoint.save({"update": 1})
    checkpoint.save({"update": 2})
    content = checkpoint.path.read_bytes()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    for cut in (0, 10, len(content) // 2, len(content) - 1):
        checkpoint.path.write_bytes(content[:cut])
        assert checkpoint.load()["update"] == 1
        assert "last.pt cannot be read" in complaints.pop()
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints.atomic, "write", full)
            with pytest.raises(OSError, match="No space left"):
                checkpoint.save({"update": 3})
        assert checkpoint.load()["update"] == 1
        checkpoint.save({"update": 2})
    checkpoint.save({"update": 4})
    checkpoint.save({"incomplete": 5})
    assert checkpoint.load(["update"])["update"] == 4
    assert "it lacks update" in complaints.pop()
    assert Checkpoint(tmp_path / "last.pt", {"run_id": "y"}).load() is None


def test_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"schema": 1, "evil": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(DamagedCheckpointError):
        checkpoints.load(tmp_path / "evil.pt", {})
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", -1),
        ("learning_rate", "fast"),
        ("betas", [0.9]),
        ("betas", [0.9, 1.0]),
        ("epsilon", 0),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("patience", True),
        ("l2", float("nan")),
        ("max_epochs", 0),
    ],
)
def test_impossible_settings_are_named(key, value):
    with pytest.raises(ValueError, match=key):
        TrainerSettings(**{**TRAINER, key: value})


def test_routed_products_are_float32(monkeypatch):
    """Whatever the switch does on this machine, no product is worse than float32."""
    monkeypatch.setattr(products, "_on_amd", lambda: True)
    a, b = torch.randn(100, 1024), torch.randn(1024, 1024)
    exact = a.double() @ b.double()
    before = torch.backends.mkldnn.matmul.fp32_precision
    with fast_products(torch.nn.Linear(1024, 1024), 100):
        assert float((a @ b - exact).norm() / exact.norm()) < 1e-6
    with fast_products(torch.nn.Linear(100, 100), 100) as routed:
        assert not routed
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_routing_is_off_where_it_is_not_exact(monkeypatch):
    said = []
    monkeypatch.setattr(products.log, "info", said.append)
    monkeypatch.setattr(products, "_on_amd", lambda: True)
    monkeypatch.setattr(products, "TOLERANCE", 0.0)
    products._exact_enough.cache_clear()
    with fast_products(torch.nn.Linear(1024, 1024), 100) as routed:
        assert not routed and "not exact" in said[0]
    products._exact_enough.cache_clear()
    monkeypatch.setattr(products, "_on_amd", lambda: False)
    with fast_products(torch.nn.Linear(1024, 1024), 100) as routed:
        assert not routed and len(said) == 1
