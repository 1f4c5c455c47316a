"""Every decision that depends on the size of a model, for every model and width of conf/."""

from pathlib import Path

import pytest
import torch
import yaml

from maf_runner import flows
from maf_runner.engine.products import fast_products
from maf_runner.engine.width import ModelSize, PlannedSize
from tests.helpers import ROOT
from tests.helpers.models import MAP

FEATURES = {
    "power": 6, "gas": 8, "hepmass": 21, "miniboone": 43, "bsds300": 63, "mnist": 784,
    "cifar10": 3072, "digits": 64, "moons": 2, "file": 5,
}  # fmt: skip
NETWORK = {"activation": "relu", "degrees": "sequential", "mask": "paper"}
MODELS = [path.stem for path in sorted((ROOT / "conf" / "model").glob("*.yaml"))]


def yaml_of(group: str, name: str) -> dict:
    found = (ROOT / "conf" / group).rglob(f"{name}.yaml")
    path = min(found, key=lambda file: len(file.parts))  # not the one of a library
    return yaml.safe_load(Path(path).read_text())


def built(name, features, hidden):
    """A model of conf/ that takes no memory."""
    given = yaml_of("model", name)
    if "defaults" in given:  # another model's file with changes
        given = yaml_of("model", given["defaults"][0]) | given
    wanted = ("layers", "components", "batch_norm", "bins", "min_width")
    arguments = {k: given[k] for k in wanted if k in given}
    if "map" in given:
        arguments |= {**MAP, "linear": "lu"}
    if "dropout" in given:
        arguments["dropout"] = 0.0
    if "hidden" in given:
        arguments["hidden"] = hidden
    if "mask" in given:
        arguments |= NETWORK
    with torch.device("meta"):
        return getattr(flows, given["_target_"].split(".")[-1])(features, **arguments)


CASES = [
    (model, dataset, hidden)
    for model in MODELS
    for dataset in FEATURES
    for hidden in yaml_of("dataset", dataset)["sizes"]
]


@pytest.mark.parametrize(
    ("model", "dataset", "hidden"), CASES, ids=[f"{m}-{d}-{h}" for m, d, h in CASES]
)
def test_the_rules_spelled_out(model, dataset, hidden):
    density = built(model, FEATURES[dataset], hidden)
    matrices = [p.shape for p in density.parameters() if p.ndim == 2]
    most_outputs = max((out for out, _ in matrices), default=1)
    size = ModelSize.of(density)
    assert size.narrow == (most_outputs <= 512)
    assert size.rows_at_once == min(max(4 * 2**20 // most_outputs, 1024), 4096)
    assert size.widest_input == max((columns for _, columns in matrices), default=1)
    for rows in (1, 100, 1000):
        products = [rows * out * columns for out, columns in matrices]
        assert size.switches_products(rows) == (max(products, default=0) >= 4_000_000)
    planned = PlannedSize.of(hidden, FEATURES[dataset])
    assert planned.wants_one_thread == (max(hidden) < 512)
    assert not planned.may_exceed_memory


@pytest.mark.parametrize(
    ("model", "dataset", "hidden", "narrow", "rows", "switches"),
    [
        ("gaussian", "power", [100], True, 4096, False),
        ("made", "power", [100, 100], True, 4096, False),
        ("maf", "hepmass", [512, 512], True, 4096, True),
        ("realnvp", "miniboone", [512, 512], True, 4096, True),
        ("made_mog", "miniboone", [512], False, 3251, True),  # 30 x 43 outputs
        ("maf", "bsds300", [512, 512], True, 4096, True),
        ("maf", "bsds300", [1024, 1024], False, 4096, True),
        ("made", "mnist", [1024, 1024], False, 2674, True),
        ("made_mog", "mnist", [1024, 1024], False, 1024, True),
        ("maf", "cifar10", [2048, 2048], False, 1024, True),
        ("realnvp", "cifar10", [1024], False, 2730, True),
        ("iaf", "digits", [100], True, 4096, False),
    ],
)
def test_decisions_by_hand(model, dataset, hidden, narrow, rows, switches):
    density = built(model, FEATURES[dataset], hidden)
    size = ModelSize.of(density)
    found = size.narrow, size.rows_at_once, size.switches_products(100)
    assert found == (narrow, rows, switches)


@pytest.mark.parametrize(
    ("hidden", "widest"),
    [([100, 600], 600), (None, 0), ("[100]", 0), ([], 0), (["a", 7], 7), (7, 0)],
)
def test_the_setting_may_be_anything(hidden, widest):
    assert PlannedSize.of(hidden).hidden == widest


def test_planned_sizes():
    assert not PlannedSize.of(None).wants_one_thread  # no network: torch's own threads
    assert PlannedSize.of([511]).wants_one_thread and not PlannedSize.of([512]).wants_one_thread
    assert (
        PlannedSize.of([8192]).may_exceed_memory and not PlannedSize.of([8191]).may_exceed_memory
    )
    assert PlannedSize.of(None, features=8192).may_exceed_memory


def test_a_model_without_matrices_has_a_size():
    size = ModelSize.of(torch.nn.LayerNorm(7))
    assert size == ModelSize() and size.narrow and size.rows_at_once == 4096
    with fast_products(torch.nn.LayerNorm(7), 10**9) as switched:
        assert not switched
