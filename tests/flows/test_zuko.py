"""The flows of zuko behind our protocol."""

import logging
import math

import pytest
import torch

from maf_runner.experiment.settings import build
from maf_runner.flows.uniform import UniformMixture
from maf_runner.flows.zuko import Zuko
from maf_runner.system.errors import DataError, UsageError

pytest.importorskip("zuko", reason="not tested: the extra zuko is missing")
SMALL = {"transforms": 2, "hidden_features": [8]}


@pytest.mark.parametrize("half", [4, 16])
@torch.no_grad()
def test_the_circular_flow_is_a_density(half):
    torch.manual_seed(0)
    flow = Zuko(2, kind="NCSF", settings=SMALL)
    middles = ((torch.arange(800) + 0.5) / 400 - 1) * half
    square = torch.cartesian_prod(middles, middles)
    total = flow.log_prob(square).double().exp().sum() * (half / 400) ** 2
    assert float(total) == pytest.approx(1, abs=0.02)


@torch.no_grad()
def test_the_circular_flow_ends_at_pi():
    flow = Zuko(2, kind="NCSF", settings=SMALL)
    rows = torch.tensor([[math.pi, -math.pi], [3.15, 0], [0, -torch.inf], [-4, 9]])
    nats = flow.log_prob(rows)
    assert nats[0].isfinite() and (nats[1:] == -torch.inf).all()
    flow.look_at(rows[:1])
    Zuko(2, kind="NSF", settings=SMALL).look_at(rows)
    with pytest.raises(DataError, match=r"zuko/ncsf is .*and 3 of 4 training rows .*zuko/nsf"):
        flow.look_at(rows)
    assert flow.log_prob(flow.sample(1000)).isfinite().all()


def test_training_rows_beyond_pi_are_refused(command):
    words = ["model=zuko/ncsf", "dataset=toy/checkerboard", "threads=1"]
    refused = command("maf-run", *words, check=3).stderr
    assert "training rows have others" in refused and "Traceback" not in refused


@pytest.mark.parametrize("context", [0, 3])
def test_samples_that_are_cut_off_are_counted(context, caplog):
    flow = Zuko(2, kind="GF", settings={"transforms": 1}, context=context)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.zero_()
        shift = flow.flow.transform.transforms[0].hyper[-1].bias if context else None
        for value in [shift[:8]] if context else [flow.flow.transform.transforms[0].phi[0][:1]]:
            value.fill_(30)  # the first variable lies around 30, or -30
    given = torch.zeros(50, context) if context else None
    with caplog.at_level(logging.WARNING):
        rows = flow.sample(50, given)
    cut = int((rows.abs() > 9.99999).any(dim=1).sum())
    assert cut > 10
    assert [r.getMessage() for r in caplog.records] == [
        f"{cut} of 50 samples are cut off and do not follow this density: the inverse of zuko/gf "
        "searches from -10 to 10, and what they come from lies beyond"
    ]


@pytest.mark.parametrize("kind", ["GF", "NAF", "SOSPF", "NSF"])
def test_samples_are_those_of_zuko(kind, caplog):
    torch.manual_seed(2)
    flow = Zuko(2, kind=kind, settings=SMALL)
    torch.manual_seed(3)
    rows, more = flow.sample(20), flow.sample(20)
    torch.manual_seed(3)
    assert (rows == flow.flow().sample((20,))).all() and not torch.equal(rows, more)
    assert UniformMixture([flow, flow]).sample(20).isfinite().all()
    assert (kind == "GF") == bool(caplog.records)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("NSF", {"bins": 0}, r"settings\.bins must be .*, got 0"),
        ("NSF", {"bins": -2}, r"settings\.bins must be .*, got -2"),
        ("NSF", {"bins": 10**9}, r"settings\.bins must be"),
        ("NSF", {"transforms": 0}, r"settings\.transforms must be"),
        ("NSF", {"hidden_features": [1e9]}, r"settings\.hidden_features must be"),
        ("NSF", {"hidden_features": 8}, r"settings\.hidden_features must be"),
        ("NSF", {"hidden_features": [10**6, 10**7]}, r"needs .*settings\.hidden_features"),
        ("NSF", {"slope": "a"}, r"settings\.slope=a"),
        ("NSF", {"foo": 1}, r"settings\.foo=1"),
        ("GF", {"components": 0}, r"settings\.components must be"),
        ("SOSPF", {"polynomials": 0}, r"settings\.polynomials must be"),
        ("NAF", {"network": 3}, r"settings\.network=3"),
        ("NSF", None, r"model\.settings must be settings by name, got null"),
        ("NSF", 5, r"model\.settings must be settings by name, got 5"),
    ],
)
def test_settings_that_cannot_be(kind, settings, message):
    name = f"zuko/{kind.lower()}"
    node = {"_target_": "maf_runner.flows.zuko.Zuko", "name": name, "kind": kind}
    with pytest.raises(UsageError, match=f"^model={name}.*{message}") as refused:
        build("model", {**node, "settings": settings}, features=2, context=0)
    assert "\n" not in str(refused.value)
